// Along t: how long the score and each guidance are, and how wrong each guidance is, on logarithmic axes with a cursor at t.

function drawChart(canvas, chart, setup, position, scale, ink) {
  const width = canvas.clientWidth, height = 190, ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!chart.times || !chart.times.length || !width) return;
  const norms = setup.names.map((name, p) => ({ name, colour: setup.colours[p], values: chart.guidance[p].map((v) => v * Math.abs(scale)) }));
  const errors = setup.names.map((name, p) => ({ name, colour: setup.colours[p], values: chart.errors[p] }));
  const half = width / 2;
  plotLines(pen, { left: 44, top: 22, width: half - 74, height: height - 46 }, "length of score (dashed) and of s × guidance",
    [{ name: "score", colour: ink.text, dash: [4, 3], values: chart.score }, ...norms], chart.times, position, ink);
  plotLines(pen, { left: half + 44, top: 22, width: half - 74, height: height - 46 }, "error of the guidance, relative (1: as bad as none)",
    errors, chart.times, position, ink);
}

// Powers of ten between two of them, or where there are fewer than two, 1, 2 and 5 times them.
function decades(low, high) {
  const between = (...parts) => {
    const found = [];
    for (let k = Math.floor(low); k <= high; k += 1) for (const part of parts) found.push(Number((part * 10 ** k).toPrecision(1)));
    return found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
  };
  const powers = between(1);
  return powers.length > 1 ? powers : between(1, 2, 5);
}

function plotLines(pen, box, title, lines, times, position, ink) {
  const shown = lines.flatMap((line) => line.values).filter((v) => v > 0 && Number.isFinite(v));
  const high = Math.log10(Math.max(...shown, 1e-3)) + 0.1, low = Math.max(Math.log10(Math.min(...shown, 10 ** high)), high - 4) - 0.1;
  const x = (k) => box.left + box.width * k / Math.max(times.length - 1, 1);
  const y = (v) => box.top + box.height * Math.min((high - Math.log10(Math.max(v, 1e-12))) / (high - low), 1);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = pen.strokeStyle = ink.text;
  pen.lineWidth = 1;
  pen.textAlign = "left";
  pen.textBaseline = "bottom";
  pen.fillText(title, box.left, box.top - 5);
  pen.strokeRect(box.left, box.top, box.width, box.height);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const value of decades(low, high)) {
    pen.fillText(String(value), box.left - 5, y(value));
    pen.fillRect(box.left, y(value), 4, 1);
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  const marks = Math.min(5, times.length - 1);
  for (let m = 0; m <= marks; m += 1) {
    const k = Math.round((times.length - 1) * m / marks);
    pen.fillText(`${m === 0 ? "t = " : ""}${Number(times[k].toPrecision(2))}`, x(k), box.top + box.height + 5);
  }
  pen.save();
  pen.beginPath();
  pen.rect(box.left, box.top, box.width, box.height);
  pen.clip();
  for (const line of lines) {
    pen.strokeStyle = line.colour;
    pen.setLineDash(line.dash || []);
    pen.lineWidth = 1.8;
    pen.beginPath();
    line.values.forEach((v, k) => (Number.isFinite(v) && v > 0 ? pen.lineTo(x(k), y(v)) : undefined));
    pen.stroke();
  }
  pen.setLineDash([]);
  pen.fillStyle = PARTICLE;
  pen.fillRect(x(Math.min(position, times.length - 1)) - 1, box.top, 2, box.height);
  pen.restore();
}
