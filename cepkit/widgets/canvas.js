// Panels with a heat map, arrows and particles. The kernel sends one frame; nothing is computed here.

const INK = { axis: "#444444", paper: "#ffffff", arrow: "#ffffff", arrowEdge: "#00000088", point: "#D55E00", pointEdge: "#ffffffaa" };
const MARGIN = { left: 30, right: 8, top: 8, bottom: 24 };

function floats(view) {
  if (!view || view.byteLength === 0) return new Float32Array(0);
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function heatImage(panel) {
  if (!panel.side) return null;
  const image = document.createElement("canvas");
  image.width = image.height = panel.side;
  const view = panel.heat;
  const bytes = new Uint8ClampedArray(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  image.getContext("2d").putImageData(new ImageData(bytes, panel.side, panel.side), 0, 0);
  return image;
}

function tickStep(extent) {
  const rough = extent / 2;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough * 0.8);
}

function draw(canvas, panel) {
  const width = canvas.clientWidth;
  if (!width) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(width * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = INK.paper;
  pen.fillRect(0, 0, width, width);

  const side = Math.min(width - MARGIN.left - MARGIN.right, width - MARGIN.top - MARGIN.bottom);
  const left = MARGIN.left, top = MARGIN.top;
  const unit = side / (2 * panel.extent);
  const px = (x) => left + (x - panel.centre[0] + panel.extent) * unit;
  const py = (y) => top + side - (y - panel.centre[1] + panel.extent) * unit;

  pen.save();
  pen.beginPath();
  pen.rect(left, top, side, side);
  pen.clip();
  const image = heatImage(panel);
  pen.imageSmoothingEnabled = true;
  if (image) pen.drawImage(image, left, top, side, side);
  drawPoints(pen, floats(panel.points), px, py);
  drawArrows(pen, floats(panel.arrows), px, py, unit);
  pen.restore();
  drawAxes(pen, panel, px, py, left, top, side);
}

function drawPoints(pen, points, px, py) {
  pen.fillStyle = INK.point;
  pen.strokeStyle = INK.pointEdge;
  pen.lineWidth = 0.6;
  for (let i = 0; i < points.length; i += 2) {
    pen.beginPath();
    pen.arc(px(points[i]), py(points[i + 1]), 2.2, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}

function drawArrows(pen, arrows, px, py, unit) {
  for (const [colour, thickness] of [[INK.arrowEdge, 3], [INK.arrow, 1.3]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    pen.beginPath();
    for (let i = 0; i < arrows.length; i += 4) {
      const dx = arrows[i + 2] * unit, dy = -arrows[i + 3] * unit;
      const length = Math.hypot(dx, dy);
      if (length < 1) continue;
      const x = px(arrows[i]), y = py(arrows[i + 1]), tipX = x + dx, tipY = y + dy;
      const head = Math.min(5, 0.5 * length), ux = dx / length, uy = dy / length;
      pen.moveTo(x, y);
      pen.lineTo(tipX, tipY);
      pen.moveTo(tipX - head * (ux + 0.6 * uy), tipY - head * (uy - 0.6 * ux));
      pen.lineTo(tipX, tipY);
      pen.lineTo(tipX - head * (ux - 0.6 * uy), tipY - head * (uy + 0.6 * ux));
    }
    pen.stroke();
  }
}

function drawAxes(pen, panel, px, py, left, top, side) {
  pen.strokeStyle = INK.axis;
  pen.fillStyle = INK.axis;
  pen.lineWidth = 1;
  pen.strokeRect(left, top, side, side);
  pen.font = "11px system-ui, sans-serif";
  const step = tickStep(panel.extent);
  const ticks = (centre) => {
    const found = [];
    for (let k = Math.ceil((centre - panel.extent) / step); k * step <= centre + panel.extent; k += 1) found.push(k * step);
    return found;
  };
  const label = (value) => String(Number(value.toPrecision(6)));
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const x of ticks(panel.centre[0])) pen.fillText(label(x), px(x), top + side + 5);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const y of ticks(panel.centre[1])) pen.fillText(label(y), left - 5, py(y));
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "cepkit-canvas";
  el.appendChild(root);
  let figures = [];

  function build(count) {
    root.replaceChildren();
    figures = Array.from({ length: count }, () => {
      const figure = document.createElement("figure");
      const title = document.createElement("h4");
      const canvas = document.createElement("canvas");
      const note = document.createElement("figcaption");
      canvas.setAttribute("role", "img");
      figure.append(title, canvas, note);
      root.appendChild(figure);
      return { title, canvas, note };
    });
  }

  function paint() {
    const panels = model.get("frame").panels;
    if (figures.length !== panels.length) build(panels.length);
    panels.forEach((panel, i) => {
      figures[i].title.textContent = panel.title;
      figures[i].note.textContent = panel.note;
      figures[i].canvas.setAttribute("aria-label", `${panel.title}. ${panel.note}`);
      draw(figures[i].canvas, panel);
    });
    root.dataset.frames = String(Number(root.dataset.frames || 0) + 1);
  }

  const observer = new ResizeObserver(() => paint());
  model.on("change:frame", paint);
  observer.observe(el);
  return () => {
    observer.disconnect();
    model.off("change:frame", paint);
  };
}

export default { render };
