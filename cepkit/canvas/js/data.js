// What Python sent, decoded once and read at any time between two of the sampler's: everything here is plain arithmetic.

const decoded = new WeakMap();

// A binary view as a typed array; the views that arrive need not be aligned, hence the copy.
function typed(view, Kind) {
  if (!view) return null;
  if (!decoded.has(view)) {
    const start = view.byteOffset;
    decoded.set(view, new Kind(view.buffer.slice(start, start + view.byteLength)));
  }
  return decoded.get(view);
}

// The two times around a position along the sampler, and how far it is from the first to the second.
function around(position, count) {
  const place = Math.min(Math.max(position, 0), count - 1);
  const first = Math.min(Math.floor(place), Math.max(count - 2, 0));
  return { first, second: Math.min(first + 1, count - 1), part: count > 1 ? place - first : 0 };
}

function timeAt(times, position) {
  const { first, second, part } = around(position, times.length);
  return times[first] + part * (times[second] - times[first]);
}

// A slice of size numbers at this position of an array of `count` slices; null stays null.
function sliceAt(values, size, position, count, offset = 0, scale = 1, shift = 0) {
  if (!values) return null;
  const { first, second, part } = around(position, count);
  const a = offset + first * size, b = offset + second * size;
  const out = new Float32Array(size);
  for (let i = 0; i < size; i += 1) out[i] = shift + scale * (values[a + i] + part * (values[b + i] - values[a + i]));
  return out;
}

// Particles of one panel, x and y in turn, in data units.
function particlesAt(paths, panel, position, setup) {
  const count = paths.times.length, size = 2 * paths.count;
  const stored = typed(paths.data, Int16Array);
  const out = sliceAt(stored, size, position, count, panel * count * size, paths.span / 32000);
  for (let i = 0; i < size; i += 2) {
    out[i] += setup.centre[0];
    out[i + 1] += setup.centre[1];
  }
  return out;
}

const BLANK = 255;

// One picture as numbers (NaN is blank), with the range of its colours. Pictures are stored as bytes between two limits.
function pictureAt(maps, layer, panel, position) {
  const count = maps.times.length, size = maps.side * maps.side;
  const stored = layer === "target" || layer === "data" ? maps[layer] : maps[layer][panel];
  if (!stored || !stored.data) return null;
  const bytes = typed(stored.data, Uint8Array);
  const { first, second, part } = around(position, count);
  const out = new Float32Array(size);
  const step = (i) => (stored.high[i] - stored.low[i]) / 254;
  for (let i = 0; i < size; i += 1) {
    const a = bytes[first * size + i], b = bytes[second * size + i];
    const from = stored.low[first] + a * step(first), to = stored.low[second] + b * step(second);
    out[i] = a === BLANK && b === BLANK ? NaN : a === BLANK ? to : b === BLANK ? from : from + part * (to - from);
  }
  return out;
}

function rangeOf(pictures) {
  let low = Infinity, high = -Infinity;
  for (const picture of pictures) {
    if (!picture) continue;
    for (const value of picture) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

// Limits of every panel's colours: given ones for densities, one range for all panels and times when locked, else each its own.
function colourLimits(maps, layer, pictures, locked) {
  if (layer === "target" || layer === "data") return pictures.map(() => [0, 1]);
  if (!locked) return pictures.map((picture) => (layer === "errors" ? [0, rangeOf([picture])[1]] : rangeOf([picture])));
  if (layer === "errors") return pictures.map(() => [0, 2]);
  const stored = (maps[layer] || []).filter((one) => one && one.data);
  const low = Math.min(...stored.map((one) => Math.min(...one.low))), high = Math.max(...stored.map((one) => Math.max(...one.high)));
  return pictures.map(() => (stored.length ? [low, high] : [0, 1]));
}

// The vectors of one panel on the arrow grid: its guidance times the scale, the score, or their sum.
function fieldAt(maps, kind, panel, position, scale) {
  const count = maps.times.length, size = 2 * maps.arrows * maps.arrows;
  const read = (view, factor) => sliceAt(typed(view, Float32Array), size, position, count, 0, factor);
  if (kind === "score") return read(maps.score, 1);
  const guidance = read(maps.guidance[panel], scale);
  if (kind === "guidance" || !guidance) return guidance;
  const score = read(maps.score, 1);
  return guidance.map((value, i) => value + score[i]);
}

// Bilinear value of a field on the arrow grid at a point in data units; null outside.
function vectorAt(field, maps, setup, x, y) {
  const side = maps.arrows;
  const u = ((x - setup.centre[0]) / setup.extent + 1) / 2 * (side - 1), v = ((y - setup.centre[1]) / setup.extent + 1) / 2 * (side - 1);
  if (!field || !(u >= 0 && v >= 0 && u <= side - 1 && v <= side - 1)) return null;
  const i = Math.min(Math.floor(u), side - 2), j = Math.min(Math.floor(v), side - 2), a = u - i, b = v - j;
  const at = (column, row, k) => field[2 * (row * side + column) + k];
  const mix = (k) => (1 - b) * ((1 - a) * at(i, j, k) + a * at(i + 1, j, k)) + b * ((1 - a) * at(i, j + 1, k) + a * at(i + 1, j + 1, k));
  return [mix(0), mix(1)];
}
