// Drawing on a 2-D canvas: heat, contours, arrows, streamlines, particles, paths and axes of one panel.

const MARGIN = { left: 26, right: 6, top: 6, bottom: 20 };
const PARTICLE = "#D55E00", HALO = "rgba(0,0,0,0.65)", LIGHT = "#ffffff";

// Sets up a canvas of the width it is shown at; returns the pen and the map from data units to pixels.
function openPanel(canvas, setup, ink) {
  const width = canvas.clientWidth, ratio = Math.min(window.devicePixelRatio || 1, 2);
  const pixels = Math.round(width * ratio);
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, width);
  const side = width - MARGIN.left - MARGIN.right, top = width - MARGIN.bottom - side;
  const unit = side / (2 * setup.extent), low = setup.centre.map((c) => c - setup.extent);
  return {
    pen, side, top, left: MARGIN.left, unit, ink, setup,
    px: (x) => MARGIN.left + (x - low[0]) * unit,
    py: (y) => top + side - (y - low[1]) * unit,
    back: (px, py) => [low[0] + (px - MARGIN.left) / unit, low[1] + (top + side - py) / unit],
  };
}

function clipped(view, paint) {
  view.pen.save();
  view.pen.beginPath();
  view.pen.rect(view.left, view.top, view.side, view.side);
  view.pen.clip();
  paint();
  view.pen.restore();
}

const imageCanvas = typeof document === "undefined" ? null : document.createElement("canvas");

function drawHeat(view, picture, side, limits, colours) {
  view.pen.fillStyle = view.ink.blank;
  view.pen.fillRect(view.left, view.top, view.side, view.side);
  if (!picture) return;
  imageCanvas.width = imageCanvas.height = side;
  const pen = imageCanvas.getContext("2d"), image = pen.createImageData(side, side);
  const range = limits[1] - limits[0] || 1;
  for (let row = 0; row < side; row += 1) {
    for (let column = 0; column < side; column += 1) {
      const value = picture[(side - 1 - row) * side + column];
      if (Number.isNaN(value)) continue;
      const shade = 3 * Math.round(255 * Math.min(Math.max((value - limits[0]) / range, 0), 1)), i = 4 * (row * side + column);
      image.data[i] = colours[shade];
      image.data[i + 1] = colours[shade + 1];
      image.data[i + 2] = colours[shade + 2];
      image.data[i + 3] = 255;
    }
  }
  pen.putImageData(image, 0, 0);
  view.pen.imageSmoothingEnabled = true;
  const half = view.side / (side - 1) / 2; // values sit on the grid's points, the outermost on the frame
  view.pen.drawImage(imageCanvas, view.left - half, view.top - half, view.side + 2 * half, view.side + 2 * half);
}

// Marching squares: for each cell, the sides that a level crosses are joined in pairs.
function drawContours(view, picture, side, limits, levels = 8) {
  if (!picture) return;
  const { pen } = view, cell = view.side / (side - 1);
  pen.strokeStyle = LIGHT;
  pen.globalAlpha = 0.7;
  pen.lineWidth = 0.8;
  pen.beginPath();
  for (let k = 1; k <= levels; k += 1) {
    const level = limits[0] + (limits[1] - limits[0]) * k / (levels + 1);
    for (let j = 0; j < side - 1; j += 1) {
      for (let i = 0; i < side - 1; i += 1) {
        const corners = [picture[j * side + i], picture[j * side + i + 1], picture[(j + 1) * side + i + 1], picture[(j + 1) * side + i]];
        if (corners.some(Number.isNaN)) continue;
        const crossings = [];
        for (let e = 0; e < 4; e += 1) {
          const a = corners[e], b = corners[(e + 1) % 4];
          if ((a < level) === (b < level)) continue;
          const part = (level - a) / (b - a), [x, y, dx, dy] = [[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, -1, 0], [0, 1, 0, -1]][e];
          crossings.push([view.left + (i + x + part * dx) * cell, view.top + view.side - (j + y + part * dy) * cell]);
        }
        for (let c = 0; c + 1 < crossings.length; c += 2) {
          pen.moveTo(...crossings[c]);
          pen.lineTo(...crossings[c + 1]);
        }
      }
    }
  }
  pen.stroke();
  pen.globalAlpha = 1;
}

function longestOf(fields) {
  let longest = 0;
  for (const field of fields) if (field) for (let i = 0; i < field.length; i += 2) longest = Math.max(longest, Math.hypot(field[i], field[i + 1]));
  return longest;
}

function strokeTwice(pen, trace) {
  for (const [colour, width] of [[HALO, 2.6], [LIGHT, 1.1]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    trace();
    pen.stroke();
  }
}

function arrow(pen, x, y, dx, dy) {
  const length = Math.hypot(dx, dy);
  if (!(length > 1)) return;
  const tipX = x + dx, tipY = y + dy, head = Math.min(5, 0.5 * length), ux = dx / length, uy = dy / length;
  pen.moveTo(x, y);
  pen.lineTo(tipX, tipY);
  pen.moveTo(tipX - head * (ux + 0.6 * uy), tipY - head * (uy - 0.6 * ux));
  pen.lineTo(tipX, tipY);
  pen.lineTo(tipX - head * (ux - 0.6 * uy), tipY - head * (uy + 0.6 * ux));
}

// Arrows of length sqrt(|v| / longest) cells, so that weak forces stay visible; the caption says so.
function drawArrows(view, field, grid, longest, every = 2) {
  if (!field || !(longest > 0)) return;
  const cell = every * view.side / (grid - 1);
  strokeTwice(view.pen, () => {
    for (let row = 0; row < grid; row += every) {
      for (let column = 0; column < grid; column += every) {
        const k = 2 * (row * grid + column), size = Math.hypot(field[k], field[k + 1]);
        if (!(size > 0)) continue;
        const length = 0.95 * cell * Math.sqrt(Math.min(size / longest, 1)) / size;
        const x = view.left + column * view.side / (grid - 1), y = view.top + view.side - row * view.side / (grid - 1);
        arrow(view.pen, x, y, field[k] * length, -field[k + 1] * length);
      }
    }
  });
}

function drawStreamlines(view, field, maps, every = 3) {
  if (!field) return;
  const { setup, pen } = view, grid = maps.arrows, stride = 0.025 * setup.extent, least = 1e-3 * longestOf([field]);
  strokeTwice(pen, () => {
    for (let row = 1; row < grid; row += every) {
      for (let column = 1; column < grid; column += every) {
        let x = setup.centre[0] + setup.extent * (2 * column / (grid - 1) - 1), y = setup.centre[1] + setup.extent * (2 * row / (grid - 1) - 1);
        pen.moveTo(view.px(x), view.py(y));
        let dx = 0, dy = 0;
        for (let n = 0; n < 14; n += 1) {
          const v = vectorAt(field, maps, setup, x, y), size = v && Math.hypot(...v);
          if (!(size > least)) break;
          [dx, dy] = [stride * v[0] / size, stride * v[1] / size];
          x += dx;
          y += dy;
          pen.lineTo(view.px(x), view.py(y));
        }
        const size = Math.hypot(dx, dy);
        if (size > 0) arrow(pen, view.px(x - dx), view.py(y - dy), 5 * dx / size, -5 * dy / size);
      }
    }
  });
}

function drawParticles(view, points) {
  const { pen } = view, size = points.length > 2400 ? 1.8 : points.length > 800 ? 2.4 : 3.2;
  pen.fillStyle = PARTICLE;
  for (let i = 0; i < points.length; i += 2) pen.fillRect(view.px(points[i]) - size / 2, view.py(points[i + 1]) - size / 2, size, size);
}

// Paths of the first particles: all of each faintly, the part already walked strongly.
function drawTrajectories(view, paths, panel, position, count = 40) {
  const { pen, setup } = view, times = paths.times.length, stored = typed(paths.data, Int16Array), factor = paths.span / 32000;
  const upTo = Math.floor(Math.min(position, times - 1));
  for (const [last, alpha] of [[times - 1, 0.25], [upTo, 0.9]]) {
    pen.strokeStyle = LIGHT;
    pen.globalAlpha = alpha;
    pen.lineWidth = 0.9;
    pen.beginPath();
    for (let n = 0; n < Math.min(count, paths.count); n += 1) {
      for (let k = 0; k <= last; k += 1) {
        const i = 2 * ((panel * times + k) * paths.count + n);
        const x = view.px(setup.centre[0] + factor * stored[i]), y = view.py(setup.centre[1] + factor * stored[i + 1]);
        if (k === 0) pen.moveTo(x, y); else pen.lineTo(x, y);
      }
    }
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function drawPath(view, points, colour, width) {
  const { pen } = view;
  for (const [ink, thickness] of [[LIGHT, width + 2], [colour, width]]) {
    pen.strokeStyle = pen.fillStyle = ink;
    pen.lineWidth = thickness;
    pen.beginPath();
    for (let i = 0; i < points.length; i += 2) pen.lineTo(view.px(points[i]), view.py(points[i + 1]));
    pen.stroke();
    pen.beginPath();
    pen.arc(view.px(points[points.length - 2]), view.py(points[points.length - 1]), thickness + 1, 0, 2 * Math.PI);
    pen.fill();
  }
}

function drawCross(view, x, y) {
  strokeTwice(view.pen, () => {
    const px = view.px(x), py = view.py(y);
    view.pen.moveTo(px - 7, py);
    view.pen.lineTo(px + 7, py);
    view.pen.moveTo(px, py - 7);
    view.pen.lineTo(px, py + 7);
  });
}

// Round numbers, about `wanted` of them, within [low, high].
function ticks(low, high, wanted = 4) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough * 0.8);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(Number((k * step).toPrecision(10)));
  return found;
}

// How the coordinates of the picture are written: in units of one's own where `setup.units` has them.
function unitsOf(setup) {
  return setup.units || { mean: [0, 0], std: [1, 1] };
}

function drawAxes(view) {
  const { pen, setup } = view, { mean, std } = unitsOf(setup);
  const shown = (axis) => [-1, 1].map((side) => mean[axis] + std[axis] * (setup.centre[axis] + side * setup.extent));
  const place = (axis, value) => (value - mean[axis]) / std[axis];
  pen.strokeStyle = pen.fillStyle = view.ink.text;
  pen.lineWidth = 1;
  pen.strokeRect(view.left, view.top, view.side, view.side);
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const x of ticks(...shown(0))) pen.fillText(String(x), view.px(place(0, x)), view.top + view.side + 5);
  pen.textBaseline = "middle";
  for (const y of ticks(...shown(1))) {
    const label = String(y), long = label.length > 4; // a long one stands upright
    pen.save();
    pen.translate(view.left - (long ? 12 : 5), view.py(place(1, y)));
    if (long) pen.rotate(-Math.PI / 2);
    pen.textAlign = long ? "center" : "right";
    pen.fillText(label, 0, 0);
    pen.restore();
  }
}

// The colours of a picture with their two ends, in the upper right corner.
function drawLegend(view, limits, colours) {
  const { pen } = view, width = Math.min(90, view.side / 3), x = view.left + view.side - width - 8, y = view.top + 8;
  const label = (value) => Number(value.toPrecision(2)).toString();
  pen.fillStyle = "rgba(0,0,0,0.55)";
  pen.fillRect(x - 5, y - 5, width + 10, 27);
  for (let i = 0; i < width; i += 1) {
    const k = 3 * Math.round(255 * i / (width - 1));
    pen.fillStyle = `rgb(${colours[k]},${colours[k + 1]},${colours[k + 2]})`;
    pen.fillRect(x + i, y, 1.5, 6);
  }
  pen.fillStyle = LIGHT;
  pen.font = "10px system-ui, sans-serif";
  pen.textBaseline = "top";
  pen.textAlign = "left";
  pen.fillText(label(limits[0]), x, y + 9);
  pen.textAlign = "right";
  pen.fillText(label(limits[1]), x + width, y + 9);
}
