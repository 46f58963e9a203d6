// A saved page: a model without a kernel, whose answers were computed beforehand at some scales and are interpolated in between.

function revived(value) {
  if (Array.isArray(value)) return value.map(revived);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.base64 === "string") {
    const text = atob(value.base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
    return new DataView(bytes.buffer);
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revived(inner)]));
}

function pageModel(values) {
  const listeners = {};
  const fire = (name) => (listeners[name] || []).slice().forEach((listener) => listener());

  function update(name, value) {
    if (values[name] === value) return;
    values[name] = value;
    fire(`change:${name}`);
  }

  // The particles at this scale: those of the two computed scales around it, mixed point by point.
  function recompute() {
    const { scales, seeds, runs } = values, scale = values.scale, row = runs[seeds.indexOf(values.seed)];
    let k = scales.findIndex((one) => one >= scale - 1e-9);
    if (k < 0) k = scales.length - 1;
    const exact = Math.abs(scales[k] - scale) < 1e-9;
    if (exact) {
      update("paths", { ...row[k].paths, scale });
      update("readout", row[k].readout);
    } else {
      const part = (scale - scales[k - 1]) / (scales[k] - scales[k - 1]);
      const a = typed(row[k - 1].paths.data, Int16Array), b = typed(row[k].paths.data, Int16Array), mixed = new Int16Array(a.length);
      for (let i = 0; i < a.length; i += 1) mixed[i] = Math.round(a[i] + part * (b[i] - a[i]));
      update("paths", { ...row[k].paths, scale, stage: "interpolated", data: new DataView(mixed.buffer) });
      update("readout", {});
    }
    update("status", { ...values.status, busy: exact ? "" : `Interpolated between s = ${scales[k - 1]} and s = ${scales[k]}.` });
    if (values.followed !== null) follow(values.followed);
  }

  // A click follows the nearest of the computed particles; it is the same noise in every panel.
  function nearest({ x, y, position }) {
    let best = 0, least = Infinity;
    for (let p = 0; p < values.setup.names.length; p += 1) {
      const points = particlesAt(values.paths, p, position, values.setup);
      for (let i = 0; i < points.length; i += 2) {
        const distance = (points[i] - x) ** 2 + (points[i + 1] - y) ** 2;
        if (distance < least) [best, least] = [i / 2, distance];
      }
    }
    return best;
  }

  function follow(particle) {
    values.followed = particle;
    const { times, count, span, data } = values.paths, stored = typed(data, Int16Array), centre = values.setup.centre;
    const panels = values.setup.names.map((_, p) => {
      const path = new Float32Array(2 * times.length);
      times.forEach((_time, k) => [0, 1].forEach((axis) => {
        path[2 * k + axis] = centre[axis] + stored[2 * ((p * times.length + k) * count + particle) + axis] * span / 32000;
      }));
      return new DataView(path.buffer);
    });
    update("drops", [{ panels }]);
  }

  const model = {
    get: (name) => values[name],
    set(name, value) {
      if (values[name] === value) return;
      update(name, value);
      if (name === "scale" || name === "seed") recompute();
    },
    save_changes() {},
    on: (name, listener) => (listeners[name] ||= []).push(listener),
    off: (name, listener) => { listeners[name] = (listeners[name] || []).filter((one) => one !== listener); },
    send(message) {
      if (message.type === "drop") follow(nearest(message));
      if (message.type === "clear") { values.followed = null; update("drops", []); }
    },
    listening: () => Object.values(listeners).reduce((sum, list) => sum + list.length, 0),
  };
  recompute();
  return model;
}

// The two controls that are left, and a note on what was computed.
function pageSetup({ setup, scales, seeds, method, steps }) {
  const scale = { ...SETTINGS[0], min: scales[0], max: scales[scales.length - 1] };
  const seed = { name: "seed", label: "seed", kind: "select", options: choices(seeds) };
  const computed = `Computed beforehand with ${METHODS[method]}, ${steps} steps, at s = ${scales.join(", ")}`;
  return { ...setup, controls: [scale, seed], note: `${computed}; between two of them particles are interpolated.` };
}

const stored = JSON.parse(document.getElementById("data").textContent);
stored.setup = pageSetup(stored);
const saved = pageModel({ ...revived(stored), paths: {}, readout: {}, drops: [], playing: false, followed: null });
window.cepkitLab = { model: saved, render };
render({ model: saved, el: document.getElementById("lab") });
