// A canvas to paint points and energies on. A stroke is drawn here; the kernel hears of it when it ends.

const TOOLS = { points: "spray points", energy: "paint energy", distance: "energy = distance", erase: "erase" };
const HINTS = {
  points: "New points take the brush's energy.",
  energy: "Points under the brush take its energy.",
  distance: "One click: the energy of every point becomes its distance from there.",
  erase: "Points under the brush go.",
};
const SLIDERS = {
  brush_radius: { label: "brush radius", min: 0.05, max: 2, step: 0.05 },
  brush_density: { label: "points in a dab", min: 1, max: 40, step: 1 },
  brush_energy: { label: "brush energy", min: 0, max: 1, step: 0.05 },
};
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const KEYS_HINT = "Keys on the canvas: arrows move the brush (Shift: finer), Space paints, U undoes.";
const MARGIN = { left: 30, right: 8, top: 8, bottom: 24 };
const MOST_UNDONE = 100;
let views = 0;

function make(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function floats(view) {
  if (!view || view.byteLength === 0) return [];
  return Array.from(new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)));
}

const bytes = (values) => new DataView(new Float32Array(values).buffer);
const same = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

function tickStep(extent) {
  const power = 10 ** Math.floor(Math.log10(extent / 2));
  return [1, 2, 5, 10].map((k) => k * power).find((k) => k >= extent * 0.4);
}

function render({ model, el }) {
  let xy = [], energy = [], sent = [[], []], stroke = null, cursor = [0, 0], inside = false, queued = false, sending = false;
  const undone = [], brushes = `cepkit-draw-${(views += 1)}`;
  const palette = new Uint8Array(model.get("palette").buffer.slice(model.get("palette").byteOffset));
  const colours = Array.from({ length: 256 }, (_, i) => `rgb(${palette[3 * i]} ${palette[3 * i + 1]} ${palette[3 * i + 2]})`);

  // -- the page ------------------------------------------------------------------------------------------------------

  const canvas = make("canvas", { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  const low = make("span"), high = make("span"), bar = make("div", { className: "cepkit-draw-bar" });
  bar.style.background = `linear-gradient(to right, ${[0, 64, 128, 192, 255].map((i) => colours[i]).join(", ")})`;
  const legend = make("div", { className: "cepkit-draw-legend" }, [low, bar, high]);
  const status = make("p", { className: "cepkit-draw-status" }), count = make("p", { className: "cepkit-draw-count" });
  status.setAttribute("role", "status");
  const hint = make("p", { className: "cepkit-draw-hint" });

  const radios = Object.entries(TOOLS).map(([name, label]) => {
    const input = make("input", { type: "radio", name: brushes, value: name });
    input.addEventListener("change", () => store({ tool: name }));
    return { name, input, label: make("label", {}, [input, make("span", { textContent: label })]) };
  });
  const sliders = Object.entries(SLIDERS).map(([name, { label, ...range }]) => {
    const input = make("input", { type: "range", ...range }), shown = make("output");
    input.addEventListener("input", () => store({ [name]: Number(input.value) }));
    return { name, input, shown, label: make("label", {}, [make("span", { textContent: label }), input, shown]) };
  });
  const button = (textContent, click) => {
    const element = make("button", { type: "button", textContent });
    element.addEventListener("click", click);
    return element;
  };
  const undoButton = button("undo", undo), clear = button("clear", () => edit(() => ([xy, energy] = [[], []])));
  const group = (title, children) => make("fieldset", {}, [make("legend", { textContent: title }), ...children]);
  const root = make("div", { className: "cepkit-draw" }, [
    make("div", { className: "cepkit-draw-board" }, [canvas, legend, count, status]),
    make("div", { className: "cepkit-draw-controls" }, [
      group("brush", [...radios.map(({ label }) => label), hint]),
      make("div", { className: "cepkit-draw-sliders" }, sliders.map(({ label }) => label)),
      group("all points at once", [button("energy = height", height), undoButton, clear]),
      group("start from", model.get("shapes").map((shape) => button(shape, () => model.send({ start: shape })))),
      make("p", { className: "cepkit-draw-hint", textContent: KEYS_HINT }),
    ]),
  ]);
  // JupyterLab takes arrow keys and letters for itself unless told not to
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.appendChild(root);

  // -- the drawing ---------------------------------------------------------------------------------------------------

  function store(values) {
    sending = true;
    Object.entries(values).forEach(([name, value]) => model.set(name, value));
    model.save_changes();
    sending = false;
    refresh();
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
    if (sending) return;
    const next = [floats(model.get("points")), floats(model.get("energies"))];
    const known = (drawing) => same(next[0], drawing[0]) && same(next[1], drawing[1]);
    // the kernel echoes what was sent, perhaps in the middle of the next stroke
    if (next[0].length !== 2 * next[1].length || known(sent) || known([xy, energy])) return;
    remember([xy, energy]);
    [xy, energy] = next;
    sent = [xy.slice(), energy.slice()];
    refresh();
  }

  function height() {
    const extent = model.get("extent");
    edit(() => (energy = energy.map((_, i) => (xy[2 * i + 1] + extent) / (2 * extent))));
  }

  function spray([x, y], radius) {
    const room = model.get("limit") - energy.length, extent = model.get("extent");
    for (let k = 0; k < Math.min(room, model.get("brush_density")); k += 1) {
      const angle = 2 * Math.PI * Math.random(), r = radius * Math.sqrt(Math.random());
      const point = [x + r * Math.cos(angle), y + r * Math.sin(angle)];
      if (point.some((value) => Math.abs(value) > extent)) continue;
      xy.push(...point);
      energy.push(model.get("brush_energy"));
    }
    stroke.full = energy.length >= model.get("limit");
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
    refresh();
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
    if (full) store({ message: `${model.get("limit")} points is the most this canvas holds: erase some to add others.` });
  }

  // -- hands ---------------------------------------------------------------------------------------------------------

  function frame() {
    const side = canvas.clientWidth - MARGIN.left - MARGIN.right, extent = model.get("extent"), unit = side / (2 * extent);
    const px = (x) => MARGIN.left + (x + extent) * unit, py = (y) => MARGIN.top + side - (y + extent) * unit;
    return { side, extent, unit, px, py };
  }

  function place(event) {
    const box = canvas.getBoundingClientRect(), { side, extent, unit } = frame();
    const at = [event.clientX - box.left - MARGIN.left, MARGIN.top + side - event.clientY + box.top];
    return at.map((pixels) => Math.max(-extent, Math.min(extent, pixels / unit - extent)));
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stroke) return;
    canvas.setPointerCapture(event.pointerId);
    begin((cursor = place(event)));
  });
  canvas.addEventListener("pointermove", (event) => {
    [cursor, inside] = [place(event), true];
    if (stroke && event.buttons) go(cursor);
    refresh();
  });
  for (const name of ["pointerup", "pointercancel", "blur"]) canvas.addEventListener(name, end);
  for (const name of ["pointerleave", "focus", "blur"]) canvas.addEventListener(name, () => ((inside = false), refresh()));
  canvas.addEventListener("keydown", (event) => {
    const extent = model.get("extent"), coarse = Math.max(extent / 40, model.get("brush_radius") / 2);
    const step = event.shiftKey ? extent / 100 : coarse;
    if (event.key in KEYS) {
      cursor = cursor.map((value, axis) => Math.max(-extent, Math.min(extent, value + step * KEYS[event.key][axis])));
      if (stroke) go(cursor);
    } else if (event.key === " ") {
      if (stroke) dab(cursor);
      else begin(cursor);
    } else if (event.key.toLowerCase() === "u" || (event.key === "z" && (event.ctrlKey || event.metaKey))) undo();
    else return;
    event.preventDefault();
    refresh();
  });
  canvas.addEventListener("keyup", (event) => event.key === " " && end());

  // -- the picture ---------------------------------------------------------------------------------------------------

  function refresh() {
    if (!queued) requestAnimationFrame(paint);
    queued = true;
  }

  function paint() {
    queued = false;
    const width = canvas.clientWidth;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d"), ink = getComputedStyle(root).color;
    canvas.width = canvas.height = Math.round(width * ratio);
    pen.scale(ratio, ratio);
    const { side, extent, unit, px, py } = frame(), step = tickStep(extent);
    pen.font = "11px system-ui, sans-serif";
    pen.strokeStyle = pen.fillStyle = ink;
    pen.textAlign = "center";
    for (let k = Math.ceil(-extent / step); k * step <= extent; k += 1) {
      const at = k * step, label = String(Number(at.toPrecision(6)));
      pen.textBaseline = "top";
      pen.fillText(label, px(at), MARGIN.top + side + 6);
      pen.textBaseline = "middle";
      pen.fillText(label, MARGIN.left / 2, py(at));
      pen.globalAlpha = 0.12;
      pen.strokeRect(px(at), MARGIN.top, 0, side);
      pen.strokeRect(MARGIN.left, py(at), side, 0);
      pen.globalAlpha = 1;
    }
    pen.strokeRect(MARGIN.left, MARGIN.top, side, side);
    const bottom = energy.reduce((a, b) => Math.min(a, b), 0), top = energy.reduce((a, b) => Math.max(a, b), 1);
    pen.lineWidth = 0.7;
    energy.forEach((value, i) => {
      pen.beginPath();
      pen.arc(px(xy[2 * i]), py(xy[2 * i + 1]), Math.max(2.2, side / 170), 0, 2 * Math.PI);
      pen.fillStyle = colours[Math.round((255 * (value - bottom)) / (top - bottom))];
      pen.fill();
      pen.globalAlpha = 0.6; // an edge, so that neither end of the colours sinks into the page
      pen.stroke();
      pen.globalAlpha = 1;
    });
    if (inside || document.activeElement === canvas) drawBrush(pen, px, py, unit);
    words(bottom, top);
  }

  function drawBrush(pen, px, py, unit) {
    const [x, y] = [px(cursor[0]), py(cursor[1])], r = model.get("tool") === "distance" ? 9 : model.get("brush_radius") * unit;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(x, y, r, 0, 2 * Math.PI);
    pen.moveTo(x - 5, y);
    pen.lineTo(x + 5, y);
    pen.moveTo(x, y - 5);
    pen.lineTo(x, y + 5);
    pen.stroke();
  }

  function words(bottom, top) {
    const n = energy.length, tool = model.get("tool"), short = (value) => String(Number(value.toFixed(2)));
    low.textContent = `energy ${short(bottom)}, good`;
    high.textContent = `${short(top)}, bad`;
    count.textContent = `${n} of ${model.get("limit")} points; brush at (${cursor.map((value) => value.toFixed(2)).join(", ")})`;
    if (status.textContent !== model.get("message")) status.textContent = model.get("message");
    hint.textContent = HINTS[tool];
    canvas.setAttribute("aria-label", `Drawing with ${n} points. Brush: ${TOOLS[tool]}. ${KEYS_HINT}`);
    undoButton.disabled = !undone.length;
    radios.forEach(({ name, input }) => (input.checked = name === tool));
    for (const { name, input, shown } of sliders) {
      if (Number(input.value) !== model.get(name)) input.value = model.get(name);
      shown.textContent = short(model.get(name));
      if (name === "brush_energy") shown.style.setProperty("--swatch", colours[Math.round(255 * model.get(name))]);
    }
    root.dataset.points = String(n);
  }

  const shape = new ResizeObserver(refresh), theme = new MutationObserver(() => setTimeout(refresh, 100));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const others = ["extent", "limit", "tool", "message", ...Object.keys(SLIDERS)].map((name) => `change:${name}`);
  shape.observe(canvas);
  theme.observe(document.body, { attributes: true });
  dark.addEventListener("change", refresh);
  for (const name of ["change:points", "change:energies"]) model.on(name, receive);
  for (const name of others) model.on(name, refresh);
  receive();
  undone.length = 0;
  refresh();
  return () => {
    [shape, theme].forEach((observer) => observer.disconnect());
    dark.removeEventListener("change", refresh);
    for (const name of ["change:points", "change:energies"]) model.off(name, receive);
    for (const name of others) model.off(name, refresh);
  };
}

export default { render };
