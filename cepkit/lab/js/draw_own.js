// A canvas to paint points and energies on. A stroke is drawn here; the kernel hears of it when it ends.

const TOOLS = { points: "spray points", energy: "paint energy", distance: "energy = distance", erase: "erase" };
const HINTS = {
  points: "New points take the brush's energy.",
  energy: "Points under the brush take its energy.",
  distance: "One click: the energy of every point becomes its distance from there.",
  erase: "Points under the brush go.",
};
const SLIDERS = [
  { name: "brush_radius", label: "brush radius", kind: "range", min: 0.05, max: 2, step: 0.05 },
  { name: "brush_density", label: "points in a dab", kind: "range", min: 1, max: 40, step: 1 },
  { name: "brush_energy", label: "brush energy", kind: "range", min: 0, max: 1, step: 0.05 },
];
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const KEYS_HINT = "Keys on the canvas: arrows move the brush (Shift: finer), Space paints, U undoes.";
const MOST_UNDONE = 100;
let views = 0;

const bytes = (values) => new DataView(new Float32Array(values).buffer);
const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

function render({ model, el }) {
  const { limit, toys, luts } = model.get("setup"), lut = typed(luts.energy, Uint8Array), group = `cepkit-draw-${(views += 1)}`;
  const colour = (part) => `rgb(${lut.subarray(3 * Math.round(255 * part), 3 * Math.round(255 * part) + 3).join(" ")})`;
  const undone = [];
  let xy = [], energy = [], sent = [[], []], stroke = null, cursor = [0, 0], inside = false, view = null;

  // -- the page ------------------------------------------------------------------------------------------------------

  const canvas = element("canvas", { tabIndex: 0, role: "application" });
  const count = element("p", { className: "cepkit-draw-count" });
  const status = element("p", { className: "cepkit-draw-status", role: "status" });
  const hint = element("p");
  const radios = Object.entries(TOOLS).map(([name, label]) => {
    const input = element("input", { type: "radio", name: group, value: name });
    input.addEventListener("change", () => store({ tool: name }));
    return { input, root: element("label", { className: "cepkit-control" }, input, label) };
  });
  const sliders = SLIDERS.map((spec) => bind(model, spec));
  const button = (textContent, click) => {
    const made = element("button", { type: "button", textContent });
    made.addEventListener("click", click);
    return made;
  };
  const undoButton = button("undo", undo), clear = button("clear", () => edit(() => ([xy, energy] = [[], []])));
  const box = (title, ...children) => element("fieldset", { className: "cepkit-bar" }, element("legend", { textContent: title }), ...children);
  const root = element("div", { className: "cepkit-root cepkit-draw", "data-lm-suppress-shortcuts": "true" },
    element("figure", {}, canvas, element("figcaption", {}, count, status)),
    element("div", { className: "cepkit-draw-controls" },
      box("brush", ...radios.map((radio) => radio.root), hint, ...sliders.map((slider) => slider.root)),
      box("all points at once", button("energy = height", height), undoButton, clear),
      box("start from", ...toys.map((toy) => button(toy, () => model.send({ start: toy })))),
      element("p", { textContent: KEYS_HINT })));
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.appendChild(root);

  // -- the drawing ---------------------------------------------------------------------------------------------------

  function store(values) {
    Object.entries(values).forEach(([name, value]) => model.set(name, value));
    model.save_changes();
  }

  function remember(before) {
    undone.push(before);
    if (undone.length > MOST_UNDONE) undone.shift();
  }

  function send() {
    [xy, energy] = [Array.from(new Float32Array(xy)), Array.from(new Float32Array(energy))];
    sent = [xy.slice(), energy.slice()];
    store({ points: bytes(xy), energies: bytes(energy) });
  }

  function edit(change) {
    const before = [xy.slice(), energy.slice()];
    if (model.get("message")) store({ message: "" });
    change();
    if (same(before[0], xy) && same(before[1], energy)) return;
    remember(before);
    send();
  }

  function undo() {
    if (!undone.length) return;
    [xy, energy] = undone.pop();
    send();
  }

  function receive() {
    const next = ["points", "energies"].map((name) => Array.from(typed(model.get(name), Float32Array) || []));
    const known = (drawing) => same(next[0], drawing[0]) && same(next[1], drawing[1]);
    // the kernel echoes what was sent, perhaps in the middle of the next stroke
    if (next[0].length !== 2 * next[1].length || known(sent) || known([xy, energy])) return;
    remember([xy, energy]);
    [xy, energy] = next;
    sent = [xy.slice(), energy.slice()];
  }

  function height() {
    const extent = model.get("extent");
    edit(() => (energy = energy.map((_, i) => (xy[2 * i + 1] + extent) / (2 * extent))));
  }

  function spray([x, y], radius) {
    const room = limit - energy.length, extent = model.get("extent");
    for (let k = 0; k < Math.min(room, model.get("brush_density")); k += 1) {
      const angle = 2 * Math.PI * Math.random(), r = radius * Math.sqrt(Math.random());
      const point = [x + r * Math.cos(angle), y + r * Math.sin(angle)];
      if (point.some((value) => Math.abs(value) > extent)) continue;
      xy.push(...point);
      energy.push(model.get("brush_energy"));
    }
    stroke.full = energy.length >= limit;
  }

  function dab(at) {
    const tool = model.get("tool"), radius = model.get("brush_radius");
    const far = (i) => Math.hypot(xy[2 * i] - at[0], xy[2 * i + 1] - at[1]);
    if (tool === "points") spray(at, radius);
    if (tool === "energy") energy = energy.map((value, i) => (far(i) <= radius ? model.get("brush_energy") : value));
    if (tool === "erase") {
      const kept = energy.map((_, i) => i).filter((i) => far(i) > radius);
      [xy, energy] = [kept.flatMap((i) => [xy[2 * i], xy[2 * i + 1]]), kept.map((i) => energy[i])];
    }
    if (tool === "distance") {
      const distances = energy.map((_, i) => far(i)), most = Math.max(1e-9, ...distances);
      energy = distances.map((distance) => distance / most);
    }
    stroke.last = at;
    draw();
  }

  function begin(at) {
    stroke = { before: [xy.slice(), energy.slice()], last: at, full: false };
    if (model.get("message")) store({ message: "" });
    dab(at);
  }

  function go(at) {
    const [x, y] = stroke.last, length = Math.hypot(at[0] - x, at[1] - y), step = model.get("brush_radius") / 2;
    if (model.get("tool") === "distance") return;
    const dabs = Math.floor(length / step);
    for (let k = 1; k <= dabs; k += 1) dab([x + ((at[0] - x) * k * step) / length, y + ((at[1] - y) * k * step) / length]);
  }

  function end() {
    if (!stroke) return;
    const { before, full } = stroke;
    stroke = null;
    if (!same(before[0], xy) || !same(before[1], energy)) {
      remember(before);
      send();
    }
    if (full) store({ message: `${limit} points is the most this canvas holds: erase some to add others.` });
  }

  // -- pointer and keys ----------------------------------------------------------------------------------------------

  const held = (value) => Math.max(-model.get("extent"), Math.min(model.get("extent"), value));

  function place(event) {
    const area = canvas.getBoundingClientRect();
    return view.back(event.clientX - area.left, event.clientY - area.top).map(held);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stroke) return;
    canvas.setPointerCapture(event.pointerId);
    begin((cursor = place(event)));
  });
  canvas.addEventListener("pointermove", (event) => {
    [cursor, inside] = [place(event), true];
    if (stroke && event.buttons) go(cursor);
    draw();
  });
  for (const name of ["pointerup", "pointercancel", "blur"]) canvas.addEventListener(name, end);
  for (const name of ["pointerleave", "focus", "blur"]) canvas.addEventListener(name, () => ((inside = false), draw()));
  canvas.addEventListener("keydown", (event) => {
    const extent = model.get("extent"), step = event.shiftKey ? extent / 100 : Math.max(extent / 40, model.get("brush_radius") / 2);
    if (event.key in KEYS) {
      cursor = cursor.map((value, axis) => held(value + step * KEYS[event.key][axis]));
      if (stroke) go(cursor);
    } else if (event.key === " ") {
      if (stroke) dab(cursor);
      else begin(cursor);
    } else if (event.key.toLowerCase() === "u" || (event.key === "z" && (event.ctrlKey || event.metaKey))) undo();
    else return;
    event.preventDefault();
    draw();
  });
  canvas.addEventListener("keyup", (event) => event.key === " " && end());

  // -- the picture ---------------------------------------------------------------------------------------------------

  function paint() {
    if (!canvas.clientWidth) return;
    if (!stroke) receive();
    view = openPanel(canvas, { centre: [0, 0], extent: model.get("extent") }, { text: getComputedStyle(root).color });
    const { pen, px, py, side } = view;
    const bottom = energy.reduce((a, b) => Math.min(a, b), 0), top = energy.reduce((a, b) => Math.max(a, b), 1);
    drawAxes(view);
    drawLegend(view, [bottom, top], lut);
    pen.lineWidth = 0.7;
    energy.forEach((value, i) => {
      pen.beginPath();
      pen.arc(px(xy[2 * i]), py(xy[2 * i + 1]), Math.max(2.2, side / 170), 0, 2 * Math.PI);
      pen.fillStyle = colour((value - bottom) / (top - bottom));
      pen.fill();
      pen.globalAlpha = 0.6; // an edge, so that neither end of the colours sinks into the page
      pen.stroke();
      pen.globalAlpha = 1;
    });
    if (inside || document.activeElement === canvas) clipped(view, drawBrush);
    describe();
  }

  function drawBrush() {
    const { pen, unit } = view, tool = model.get("tool"), [x, y] = [view.px(cursor[0]), view.py(cursor[1])];
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(x, y, tool === "distance" ? 9 : model.get("brush_radius") * unit, 0, 2 * Math.PI);
    pen.fillStyle = colour(model.get("brush_energy"));
    pen.globalAlpha = tool === "points" || tool === "energy" ? 0.25 : 0;
    pen.fill();
    pen.globalAlpha = 1;
    pen.stroke();
    drawCross(view, ...cursor);
  }

  function describe() {
    const n = energy.length, tool = model.get("tool"), at = cursor.map((value) => value.toFixed(2)).join(", ");
    count.textContent = `${n} of ${limit} points; low energy is good; brush at (${at})`;
    if (status.textContent !== model.get("message")) status.textContent = model.get("message");
    hint.textContent = HINTS[tool];
    canvas.setAttribute("aria-label", `Drawing with ${n} points. Brush: ${TOOLS[tool]}. ${KEYS_HINT}`);
    undoButton.disabled = !undone.length;
    radios.forEach(({ input }) => (input.checked = input.value === tool));
    root.dataset.points = String(n);
  }

  const watched = ["points", "energies", "extent", "tool", "message", ...SLIDERS.map(({ name }) => name)];
  receive();
  undone.length = 0;
  const { draw, stop } = keepDrawn(model, root, watched, paint);
  return () => {
    stop();
    for (const slider of sliders) slider.stop();
  };
}

export default { render };
