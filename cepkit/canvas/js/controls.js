// Native controls bound to the model: each is an input with a label, so that Tab, arrows and a screen reader work.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const short = (value, digits = 3) => (Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : "–");

const choices = (values) => values.map((value) => ({ value, label: String(value) }));

// Check boxes folded away, for a list of names.
function bindMany(model, { name, label, hint = "", options }) {
  const boxes = options.map((option) => element("input", { type: "checkbox", value: option.value }));
  const labels = options.map((option, i) => element("label", { className: "cepkit-control" }, boxes[i], option.label));
  const refresh = () => boxes.forEach((box) => { box.checked = model.get(name).includes(box.value); });
  for (const box of boxes) {
    box.addEventListener("change", () => {
      const chosen = boxes.filter((one) => one.checked).map((one) => one.value);
      if (chosen.length) model.set(name, chosen);
      model.save_changes();
      refresh();
    });
  }
  model.on(`change:${name}`, refresh);
  const root = element("details", { className: "cepkit-many", title: hint }, element("summary", { textContent: label }), ...labels);
  root.dataset.control = name;
  refresh();
  return { root, refresh, stop: () => model.off(`change:${name}`, refresh) };
}

// A labelled control for one of the model's values; `shown` turns the value into the text beside it.
function bind(model, { name, label, kind, hint = "", options = [], min, max, step }, shown = (value) => short(value)) {
  let input;
  const output = element("output");
  const read = { number: () => Number(input.value), check: () => input.checked, select: () => options[input.selectedIndex].value };
  if (kind === "select") {
    input = element("select", {}, ...options.map((option) => element("option", { textContent: option.label, value: String(option.value) })));
  } else if (kind === "check") {
    input = element("input", { type: "checkbox" });
  } else {
    input = element("input", { type: kind === "number" ? "number" : "range", min, max, step });
  }
  const refresh = () => {
    const value = model.get(name);
    if (kind === "check") input.checked = value;
    else if (kind === "select") input.selectedIndex = options.findIndex((option) => option.value === value);
    else if (input.value === "" || Number(input.value) !== value) input.value = value;
    if (kind === "range") output.textContent = shown(value);
  };
  const send = () => {
    const value = read[kind === "range" ? "number" : kind]();
    if (kind !== "number" || (input.value !== "" && input.checkValidity())) {
      model.set(name, value);
      model.save_changes();
    }
    refresh();
  };
  input.addEventListener(kind === "number" ? "change" : "input", send);
  model.on(`change:${name}`, refresh);
  input.dataset.control = name;
  const parts = kind === "check" ? [input, label] : kind === "range" ? [label, input, output] : [label, input];
  const root = element("label", { className: `cepkit-control cepkit-${kind}`, title: hint }, ...parts);
  refresh();
  return { root, input, refresh, stop: () => model.off(`change:${name}`, refresh) };
}

// Paints at most once a frame, whenever one of these values, the size or the theme changes: `draw` asks for it, `stop` ends it.
function keepDrawn(model, root, names, paint) {
  let pending = 0;
  const draw = () => {
    if (!pending) pending = requestAnimationFrame(() => { pending = 0; paint(); });
  };
  const resize = new ResizeObserver(draw), dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = new MutationObserver(() => setTimeout(draw, 100)); // once its style sheet is there
  resize.observe(root);
  theme.observe(document.body, { attributes: true });
  dark.addEventListener("change", draw);
  for (const name of names) model.on(`change:${name}`, draw);
  draw();
  const stop = () => {
    resize.disconnect();
    theme.disconnect();
    dark.removeEventListener("change", draw);
    for (const name of names) model.off(`change:${name}`, draw);
  };
  return { draw, stop };
}
