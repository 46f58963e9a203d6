// The maze lab: the maze with the chosen state and the paths driven from it, and four panels over that state's actions.

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const CONTROLS = [
  { name: "vx", label: "velocity v_x", kind: "range", min: -2.5, max: 2.5, step: 0.1, hint: "metres per second" },
  { name: "vy", label: "v_y", kind: "range", min: -2.5, max: 2.5, step: 0.1, hint: "metres per second" },
  { name: "t", label: "noise level t", kind: "range", min: 0.02, max: 1, step: 0.02, hint: "Of the energies" },
  { name: "scale", label: "scale s", kind: "range", min: 0, max: 10, step: 0.25, hint: "Multiplies the guidance" },
  { name: "seed", label: "seed", kind: "number", min: 0, max: 999999, step: 1 },
];
const PANELS = ["behaviour and its support", "Q(s, a)", "exact E_t and its field", "learned E_t and its field"];
const GUIDED = "#D55E00", WALL = "#7f7f7f", GOAL = "#009E73", BALL = 0.1;

function disc(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function render({ model, el }) {
  const setup = model.get("setup"), luts = setup.luts;
  const root = element("div", { className: "cepkit-root cepkit-maze", "data-lm-suppress-shortcuts": "true" });
  const bar = element("div", { className: "cepkit-bar" });
  const drive = element("button", { type: "button", className: "cepkit-drive" });
  const figure = (title, canvas, ...rest) => element("figure", {}, element("h4", { textContent: title }), canvas, element("figcaption", {}, ...rest));
  const map = element("canvas", { tabIndex: 0, role: "application" });
  const where = element("p", { className: "cepkit-where" }), returns = element("ul", { className: "cepkit-returns" });
  const status = element("p", { className: "cepkit-status", role: "status" });
  const panels = PANELS.map((title) => ({ title, canvas: element("canvas", { role: "img" }), words: element("p") }));
  const left = element("div", { className: "cepkit-left" }, figure("the maze", map, where, returns, status));
  const right = element("div", { className: "cepkit-panels" }, ...panels.map((one) => figure(one.title, one.canvas, one.words)));
  root.append(bar, element("div", { className: "cepkit-sides" }, left, right));
  el.appendChild(root);

  const bound = CONTROLS.map((spec) => bind(model, spec));
  bar.append(...bound.map((one) => one.root), drive);
  let view = null;

  // -- input ---------------------------------------------------------------------------------------------------------

  const moveTo = (place) => model.send({ type: "place", place });
  map.addEventListener("pointerdown", (event) => {
    const box = map.getBoundingClientRect();
    if (view && event.button === 0) moveTo(view.back(event.clientX - box.left, event.clientY - box.top));
  });
  map.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    const stride = event.shiftKey ? 0.02 : 0.1;
    moveTo(model.get("place").map((value, axis) => Number((value + stride * move[axis]).toFixed(4))));
  });
  root.addEventListener("keydown", (event) => event.stopPropagation());
  drive.addEventListener("click", () => {
    model.set("rollout", !model.get("rollout"));
    model.save_changes();
  });

  // -- pictures ------------------------------------------------------------------------------------------------------

  function decoded(stored, side) {
    return pictureAt({ times: [0], side, only: [stored] }, "only", 0, 0);
  }

  function paint() {
    if (!map.clientWidth) return;
    const ink = { text: getComputedStyle(root).color, blank: "rgba(128, 128, 128, 0.25)" };
    paintMaze(ink);
    paintActions(ink);
    paintEnergies(ink);
    drive.textContent = model.get("rollout") ? "■ clear paths" : "▶ rollout";
    if (status.textContent !== model.get("status")) status.textContent = model.get("status");
    root.dataset.frames = String(Number(root.dataset.frames || 0) + 1);
    root.dataset.drawn = JSON.stringify({ state: model.get("actions").state, t: model.get("energies").t, steps: model.get("paths").steps || 0, rollout: model.get("rollout") });
  }

  function paintMaze(ink) {
    view = openPanel(map, { centre: [0, 0], extent: setup.extent }, ink);
    const { pen } = view, [x, y] = model.get("place"), v = [model.get("vx"), model.get("vy")], paths = model.get("paths");
    clipped(view, () => {
      pen.fillStyle = WALL;
      for (const [a, b, w, h] of setup.walls) pen.fillRect(view.px(a), view.py(b + h), w * view.unit, h * view.unit + 0.6); // no seam between rows
      pen.globalAlpha = 0.35;
      pen.fillStyle = GOAL;
      disc(pen, view.px(setup.goal[0]), view.py(setup.goal[1]), setup.goal[2] * view.unit);
      pen.globalAlpha = 1;
      for (const [name, path] of Object.entries(paths.paths || {})) drawPath(view, typed(path, Float32Array), setup.colours[name], 1.8);
      pen.fillStyle = ink.text;
      disc(pen, view.px(x), view.py(y), Math.max(BALL * view.unit, 4));
      if (v[0] || v[1]) strokeTwice(pen, () => arrow(pen, view.px(x), view.py(y), v[0] * view.unit / 3, -v[1] * view.unit / 3));
    });
    drawAxes(view);
    where.textContent = `state: at (${short(x)}, ${short(y)}) m, velocity (${short(v[0])}, ${short(v[1])}) m/s`;
    map.setAttribute("aria-label", `The maze. ${where.textContent}. Click, or press arrow keys (Shift: finer), to move the ball.`);
    const rows = Object.entries(paths.returns || {}).map(([name, value]) => {
      const label = name === "guided" ? `guided, s = ${short(paths.scale)}` : name === "best of K" ? `best of ${setup.k}` : name;
      const row = element("li", { textContent: `${label}: ${value} paid steps of ${paths.steps}` });
      row.style.setProperty("--swatch", setup.colours[name]);
      return row;
    });
    returns.replaceChildren(...rows);
  }

  function dots(view, points, colours, size) {
    const { pen } = view;
    pen.strokeStyle = LIGHT;
    pen.lineWidth = 1;
    for (let i = 0; i < points.length; i += 2) {
      pen.fillStyle = colours(i / 2);
      disc(pen, view.px(points[i]), view.py(points[i + 1]), size);
      if (size > 3) pen.stroke();
    }
  }

  function paintActions(ink) {
    const actions = model.get("actions"), square = { centre: [0, 0], extent: 1.1 };
    const [behaviour, q] = panels.slice(0, 2).map(({ canvas }) => openPanel(canvas, square, ink));
    if (!actions.side) return;
    const colours = typed(luts.energy, Uint8Array), known = actions.support_q, low = Math.min(...known), high = Math.max(...known);
    const shade = (value) => {
      const k = 3 * Math.round(255 * (high - value) / (high - low || 1));
      return `rgb(${colours[k]}, ${colours[k + 1]}, ${colours[k + 2]})`;
    };
    const support = typed(actions.support, Float32Array), guided = typed(model.get("guided"), Float32Array);
    inset(behaviour, decoded(actions.density, actions.side), actions.side, [0, 1], typed(luts.density, Uint8Array));
    clipped(behaviour, () => dots(behaviour, support, (k) => shade(known[k]), 5));
    const least = decoded(actions.minus_q, actions.side), range = rangeOf([least]);
    inset(q, least, actions.side, range, colours);
    clipped(q, () => guided && dots(q, guided, () => GUIDED, 2));
    drawAxes(behaviour);
    drawAxes(q);
    panels[0].words.textContent = `${known.length} support actions, Q from ${short(low)} (yellow) to ${short(high)} (dark)`;
    panels[1].words.textContent = `Q from ${short(-range[1])} (yellow) to ${short(-range[0])} (dark); orange: guided actions, s = ${short(model.get("scale"))}`;
    panels[0].canvas.setAttribute("aria-label", panels[0].words.textContent);
    panels[1].canvas.setAttribute("aria-label", panels[1].words.textContent);
  }

  // A picture of [-1, 1]^2 inside a slightly larger panel.
  function inset(panel, picture, side, limits, colours) {
    const width = 2 * panel.unit;
    const inner = { ...panel, left: panel.px(-1), top: panel.py(1), side: width };
    clipped(inner, () => drawHeat(inner, picture, side, limits, colours));
  }

  function paintEnergies(ink) {
    const energies = model.get("energies"), square = { centre: [0, 0], extent: setup.reach };
    const opened = panels.slice(2).map(({ canvas }) => openPanel(canvas, square, ink));
    if (!energies.side) return;
    const pictures = energies.pictures.map((stored) => decoded(stored, energies.side)), limits = rangeOf([pictures[0]]);
    const fields = energies.fields.map((stored) => typed(stored, Float32Array)), longest = longestOf([fields[0]]);
    opened.forEach((panel, p) => {
      clipped(panel, () => {
        drawHeat(panel, pictures[p], energies.side, limits, typed(luts.energy, Uint8Array));
        const edge = energies.spread * (energies.arrows - 1) / 2; // arrows stand on a slightly smaller square
        const inner = { ...panel, left: panel.px(-edge), top: panel.py(edge), side: 2 * edge * panel.unit };
        drawArrows(inner, fields[p], energies.arrows, longest, 1);
      });
      drawAxes(panel);
      drawLegend(panel, limits, typed(luts.energy, Uint8Array));
    });
    panels[2].words.textContent = `t = ${short(energies.t)}, β = ${short(setup.beta)}; arrows as long as the root of the force`;
    panels[3].words.textContent = `error of the field at t: ${short(100 * energies.error, 2)} % (100 %: as bad as none)`;
    for (const one of panels.slice(2)) one.canvas.setAttribute("aria-label", `${one.title}. ${one.words.textContent}`);
  }

  const watched = ["place", "vx", "vy", "scale", "rollout", "actions", "energies", "guided", "paths", "status"];
  const { stop } = keepDrawn(model, root, watched, paint);
  return () => {
    stop();
    for (const made of bound) made.stop();
  };
}

export default { render };
