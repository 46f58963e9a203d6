// The guidance lab: panels side by side over the same controls. It holds the particles at every step of the sampler and every map,
// so time, layers and play need no kernel; new settings are sent to Python, whose answers replace what is held.

const SECONDS_TO_PLAY = 4;
const METHODS = { dpmpp2m: "DPM-Solver++(2M)", ddim: "DDIM", sde: "SDE" };
const SETTINGS = [
  { name: "scale", label: "scale s", kind: "range", min: 0, max: 10, step: 0.05, hint: "Multiplies the guidance" },
  { name: "beta", label: "β", kind: "range", min: 0, max: 20, step: 0.25, hint: "Inverse temperature" },
  { name: "steps", label: "steps", kind: "range", min: 1, max: 100, step: 1, hint: "Steps of the sampler" },
  { name: "method", label: "sampler", kind: "select", options: Object.entries(METHODS).map(([value, label]) => ({ value, label })) },
  { name: "particles", label: "particles", kind: "number", min: 1, max: 20000, step: 1 },
  { name: "seed", label: "seed", kind: "number", min: 0, max: 999999, step: 1 },
];
const PANELS_HINT = "CEP, MSE and exp-MSE are trained here, in some seconds each";
const LAYERS = [
  { name: "heat", label: "heat", kind: "select", options: [
    { value: "none", label: "none" }, { value: "target", label: "target density p_t" }, { value: "data", label: "data density q_t" },
    { value: "energies", label: "intermediate energy" }, { value: "errors", label: "error against the truth" }] },
  { name: "field", label: "field", kind: "select", options: [
    { value: "none", label: "none" }, { value: "guidance", label: "s × guidance" }, { value: "score", label: "score" },
    { value: "sum", label: "score + s × guidance" }] },
  { name: "streamlines", label: "as streamlines", kind: "check", hint: "Draw the field as streamlines instead of arrows" },
  { name: "show_particles", label: "particles", kind: "check" },
  { name: "trajectories", label: "trajectories", kind: "check", hint: "Paths of forty particles" },
  { name: "contours", label: "contours", kind: "check" },
  { name: "locked", label: "lock scales", kind: "check", hint: "One colour scale for all panels and t, arrows in units of the score" },
  { name: "show_chart", label: "chart over t", kind: "check" },
];

function render({ model, el }) {
  const setup = () => model.get("setup");
  const root = element("div", { className: "cepkit-root cepkit-lab", "data-lm-suppress-shortcuts": "true" });
  const controls = element("div", { className: "cepkit-bar" }), layers = element("div", { className: "cepkit-bar" });
  const play = element("button", { type: "button", className: "cepkit-play" });
  const panels = element("div", { className: "cepkit-panels" });
  const chart = element("canvas", { className: "cepkit-chart", role: "img" });
  const status = element("div", { className: "cepkit-status", role: "status" });
  const note = element("div", { className: "cepkit-note" });
  root.append(controls, layers, panels, chart, status, note);
  el.appendChild(root);
  chart.setAttribute("aria-label", "Norms of score and guidance and the error of the guidance over time");

  let figures = [], built = "", probe = null, playedAt = 0;
  const bound = [];
  const add = (bar, spec, shown) => {
    const made = spec.kind === "many" ? bindMany(model, spec) : bind(model, spec, shown);
    bound.push(made);
    bar.append(made.root);
    return made;
  };
  const { toys, known, controls: given } = setup();
  const toy = { name: "toy_name", label: "toy", kind: "select", options: choices(toys) };
  const shown = { name: "panels", label: "panels", kind: "many", options: choices(known), hint: PANELS_HINT };
  for (const spec of given || [toy, ...SETTINGS, shown]) add(controls, spec);
  const steps = () => (model.get("paths").times || [0, 0]).length - 1;
  const clock = add(controls, { name: "position", label: "time t", kind: "range", min: 0, max: steps(), step: 0.01, hint: "From noise (left) to data (right)" },
    (value) => short(timeAt(model.get("paths").times || [1, 0], value), 2));
  controls.append(play);
  for (const spec of LAYERS) add(layers, spec);

  function build() {
    panels.replaceChildren();
    built = setup().names.join("\n");
    figures = setup().names.map((name, p) => {
      const canvas = element("canvas", { tabIndex: 0, role: "img" });
      const words = element("p", { className: "cepkit-words" }), vectors = element("p", { className: "cepkit-vectors" });
      const failure = element("p", { className: "cepkit-failure", role: "alert" });
      const figure = element("figure", {}, element("h4", { textContent: name }), canvas, element("figcaption", {}, failure, words, vectors));
      canvas.addEventListener("pointermove", (event) => point(p, event));
      canvas.addEventListener("pointerleave", () => { probe = null; draw(); });
      canvas.addEventListener("click", (event) => { point(p, event); drop(); });
      canvas.addEventListener("keydown", (event) => steer(event));
      panels.append(figure);
      return { canvas, words, vectors, failure, view: null };
    });
  }

  function point(p, event) {
    const box = figures[p].canvas.getBoundingClientRect();
    if (!figures[p].view) return;
    const [x, y] = figures[p].view.back(event.clientX - box.left, event.clientY - box.top);
    const { centre, extent } = setup();
    probe = Math.abs(x - centre[0]) <= extent && Math.abs(y - centre[1]) <= extent ? [x, y] : null;
    draw();
  }

  function steer(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (move) {
      const { centre, extent } = setup(), stride = extent * (event.shiftKey ? 0.2 : 0.04);
      probe = (probe || centre).map((value, k) => Math.min(Math.max(value + stride * move[k], centre[k] - extent), centre[k] + extent));
      event.preventDefault();
      draw();
    } else if (event.key === "Enter") drop();
    else if (event.key === "Escape") { probe = null; model.send({ type: "clear" }); draw(); }
  }

  function drop() {
    if (probe) model.send({ type: "drop", x: probe[0], y: probe[1], position: Math.min(model.get("position"), steps()) });
  }

  function toggle() {
    model.set("playing", !model.get("playing"));
    model.save_changes();
  }

  function tick(now) {
    if (!model.get("playing") || !root.isConnected) return;
    const passed = Math.min((now - playedAt) / 1000, 0.25);
    playedAt = now;
    const place = model.get("position") + passed * steps() / SECONDS_TO_PLAY;
    model.set("position", place > steps() * 1.25 ? 0 : place); // rests a second on the finished samples
    requestAnimationFrame(tick);
  }

  function startOrStop() {
    play.textContent = model.get("playing") ? "❚❚ pause" : "▶ play";
    if (model.get("playing")) {
      if (model.get("position") >= steps()) model.set("position", 0);
      playedAt = performance.now();
      requestAnimationFrame(tick);
    } else {
      model.set("position", Math.min(model.get("position"), steps()));
      model.save_changes();
    }
  }

  function paint() {
    const { names, luts } = setup(), paths = model.get("paths"), maps = model.get("maps");
    if (built !== names.join("\n")) build();
    if (!figures.length || !figures[0].canvas.clientWidth || !paths.times) return;
    clock.input.max = steps();
    clock.refresh();
    const style = getComputedStyle(root), ink = { text: style.color, blank: "rgba(128, 128, 128, 0.25)" };
    const position = Math.min(model.get("position"), steps()), scale = model.get("scale"), layer = model.get("heat"), kind = model.get("field");
    // maps of another number of steps stand at the same fraction of the way until their successors arrive
    const place = maps.times ? position * (maps.times.length - 1) / Math.max(steps(), 1) : 0;
    const each = (read) => names.map((_, p) => (maps.times ? read(p) : null));
    const pictures = layer === "none" ? names.map(() => null) : each((p) => pictureAt(maps, layer, p, place));
    const limits = layer === "none" ? [] : colourLimits(maps, layer, pictures, model.get("locked"));
    const fields = kind === "none" ? names.map(() => null) : each((p) => fieldAt(maps, kind, p, place, scale));
    const colours = typed(luts[{ energies: "energy", errors: "error" }[layer] || "density"], Uint8Array);
    // arrows are no longer than the score's at that time: a force without effect beside it looks like one
    const shared = maps.times ? Math.max(longestOf(fields), maps.sizes[Math.round(place)]) : 0;
    figures.forEach((figure, p) => {
      const view = openPanel(figure.canvas, setup(), ink);
      figure.view = view;
      clipped(view, () => {
        if (layer !== "none") drawHeat(view, pictures[p], maps.side, limits[p], colours);
        else drawHeat(view, null);
        if (model.get("contours") && pictures[p]) drawContours(view, pictures[p], maps.side, limits[p]);
        if (model.get("trajectories")) drawTrajectories(view, paths, p, position);
        if (model.get("show_particles")) drawParticles(view, particlesAt(paths, p, position, setup()));
        if (model.get("streamlines")) drawStreamlines(view, fields[p], maps);
        else drawArrows(view, fields[p], maps.arrows, model.get("locked") ? shared : longestOf([fields[p]]));
        for (const one of model.get("drops")) {
          one.panels.forEach((path, q) => q !== p && drawPath(view, typed(path, Float32Array), inked(q, ink), 1));
          drawPath(view, typed(one.panels[p], Float32Array), inked(p, ink), 2.5);
        }
        if (probe) drawCross(view, ...probe);
      });
      drawAxes(view);
      if (pictures[p]) drawLegend(view, limits[p], colours);
      describe(figure, p, place, position);
    });
    chart.hidden = !model.get("show_chart");
    if (!chart.hidden) drawChart(chart, model.get("chart"), { names, colours: names.map((_, p) => inked(p, ink)) }, place, scale, ink);
    status.textContent = model.get("status").busy || "";
    note.textContent = setup().note || "";
    root.dataset.frames = String(Number(root.dataset.frames || 0) + 1);
    const settings = Object.fromEntries(["scale", "beta", "steps", "method", "particles", "seed", "stage"].map((key) => [key, paths[key]]));
    root.dataset.drawn = JSON.stringify({ ...settings, count: paths.count, position, toy: setup().toy, panels: names, mapsBeta: maps.beta, drops: model.get("drops").length });
  }

  function inked(p, ink) {
    return setup().colours[p] === "#000000" ? ink.text : setup().colours[p];
  }

  // The caption: what is measured, and the vectors at the pointer.
  function describe(figure, p, place, position) {
    const maps = model.get("maps"), readout = model.get("readout"), chart = model.get("chart"), { failures, notes } = model.get("status");
    const words = notes && notes[p] ? [notes[p]] : [];
    const wrong = (failures && failures[p]) || "";
    if (chart.times && chart.times.length) {
      const { first, second, part } = around(place, chart.times.length), [a, b] = [chart.errors[p][first], chart.errors[p][second]];
      if (a !== null && b !== null) words.push(`field error at t: ${short(100 * (a + part * (b - a)), 2)} %`);
      else if (chart.guidance[p][first] !== null && !wrong) words.push("no field error at t: the exact force is negligible");
    }
    if (readout.mmd2) {
      words.push(`MMD² ${short(readout.mmd2[p], 2)} (exact sets: up to ${short(readout.floor, 2)})`);
      if (readout.modes[p] !== null) words.push(`mode masses off by ${short(readout.modes[p], 2)}`);
      words.push(`average E ${short(readout.energy[p], 2)} (target ${short(readout.target_energy, 2)})`);
    }
    if (figure.failure.textContent !== wrong) figure.failure.textContent = wrong;
    const text = words.join(" · ");
    if (figure.words.textContent !== text) figure.words.textContent = text;
    let vectors = "";
    if (probe && maps.times) {
      const say = (kind) => {
        const v = vectorAt(fieldAt(maps, kind, p, place, model.get("scale")), maps, setup(), ...probe);
        return v ? `(${short(v[0])}, ${short(v[1])})` : "–";
      };
      const { mean, std } = unitsOf(setup());
      vectors = `at (${probe.map((value, axis) => short(mean[axis] + std[axis] * value)).join(", ")}): score ${say("score")}, s × guidance ${say("guidance")}`;
    }
    figure.vectors.textContent = vectors;
    const label = `${setup().names[p]}, t = ${short(timeAt(model.get("paths").times, position), 2)}. ${wrong} ${text}`;
    if (figure.canvas.ariaLabel !== label) figure.canvas.ariaLabel = label;
  }

  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const native = event.target.matches("button, select, input[type=checkbox], input[type=number]");
    if (event.key === " " && !native) {
      event.preventDefault();
      toggle();
    }
  });
  play.addEventListener("click", toggle);
  const watched = ["setup", "paths", "maps", "readout", "chart", "drops", "status", "position", "scale", ...LAYERS.map((spec) => spec.name)];
  const { draw, stop } = keepDrawn(model, root, watched, paint);
  model.on("change:playing", startOrStop);
  startOrStop();
  return () => {
    stop();
    for (const made of bound) made.stop();
    model.off("change:playing", startOrStop);
  };
}

export default { render };
