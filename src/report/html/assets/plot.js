// Part 3: an explorer's plot, drawn by uPlot: axes, lines, points and bands; ridges are drawn onto its canvas.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A colour of the style sheet, as it is when the plot is drawn: light, dark or on paper. */
const ink = (name) => () => colour(name);

const dashOf = (style) => PAGE.looks[style].dash.split(" ").filter(Boolean).map(Number);

/** Share of the height that is kept free above the last foot of ridges, for its curve. */
const RISE = 0.26;

/** The ends of an axis over these values, with the share `pad` of it free at both ends. */
function extent(values, { log, range }, pad, above = 0) {
  const [onto, back] = log ? [Math.log10, (power) => 10 ** power] : [(value) => value, (value) => value];
  const placed = (range ?? values).filter((value) => finite(value) && (!log || value > 0)).map(onto);
  let [low, high] = placed.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (low > high) [low, high] = [0, 1];
  const half = low < high ? (range ? 0 : pad * (high - low)) : log ? 0.5 : 0.1 * Math.abs(low) || 0.5;
  return [low - half, high + half + above * (high - low)].map(back);
}

/** Where a logarithmic axis has its ticks: 1 to 9 times the powers of ten; within a factor of a few, as if it were linear. */
function logTicks(low, high) {
  const within = (value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9);
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (let digit = 1; digit < 10; digit += 1) ticks.push(Number(`${digit}e${power}`));
  }
  if (ticks.filter(within).length >= 4) return ticks.filter(within);
  const step = 10 ** Math.floor(Math.log10((high - low) / 2));
  return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => Number(((Math.ceil(low / step) + i) * step).toPrecision(9))).filter(within);
}

/** Of a logarithmic axis's ticks those that have a label, the others null: every digit, 1, 2 and 5, or some powers, as there is room. */
function logLabels(u, ticks, name, space) {
  const digit = (pattern) => ticks.filter((tick) => pattern.test(tick.toExponential()));
  const powers = digit(/^1e/);
  const choices = [ticks, digit(/^[125]e/), ...powers.map((_, n) => powers.filter((_, i) => i % (n + 1) === 0))];
  const apart = (some) => some.slice(1).every((tick, i) => Math.abs(u.valToPos(tick, name) - u.valToPos(some[i], name)) >= space);
  const chosen = choices.find((some) => some.length > 1 && apart(some)) ?? ticks;
  return ticks.map((tick) => (chosen.includes(tick) ? tick : null));
}

/** A tick's value, which is a round number: 0.5, 20000, 3×10⁶. */
function tickLabel(value) {
  const round = Number(value.toPrecision(6));
  if (round === 0 || (Math.abs(round) >= 1e-4 && Math.abs(round) < 1e6)) return String(round).replace("-", "−");
  const [digits, power] = round.toExponential().split("e");
  const raised = [...String(+power)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");
  return (digits === "1" ? "" : `${digits}×`).replace("-", "−") + `10${raised}`;
}

/** The marker of a style at each value of a series, as uPlot asks for it. */
const markers = (style) => (u, index, from, to, chosen) => {
  const marker = new Path2D(`M0 0${PAGE.looks[style].marker}`);
  const path = new Path2D();
  for (const i of chosen ?? Array.from({ length: to - from + 1 }, (_, n) => from + n)) {
    const [x, y] = [u.data[0][i], u.data[index][i]];
    if (typeof y !== "number") continue;
    path.addPath(marker, new DOMMatrix([uPlot.pxRatio, 0, 0, uPlot.pxRatio, u.valToPos(x, "x", true), u.valToPos(y, "y", true)]));
  }
  return { fill: path, stroke: path, flags: 3 };
};

/** What uPlot draws of a column: a line, its markers where there are few or nothing else, the rim of a band. */
function drawn({ series: { style, kind }, values }) {
  const look = { class: `s${style}`, stroke: ink(`s${style}`), cap: "butt" };
  const count = values.filter((value) => value !== undefined).length;
  const show = count <= { line: 40, band: 1, points: Infinity }[kind];
  const points = { show, paths: markers(style), fill: look.stroke, stroke: ink("paper"), width: 0.7 };
  if (kind === "band") return { ...look, width: 0.8, points };
  if (kind === "points") return { ...look, paths: () => null, points };
  return { ...look, width: 1.7, dash: dashOf(style), points };
}

/**
 * Draws `list` into `target`; the axes hold `held`. `log` says of x and y whether it is logarithmic; `onReady` is called once the axes are
 * settled. The plot has `places` (along x; with ridges the steps), `columns` and `ridges` besides what uPlot gives it.
 */
function plotOf(target, { data, list, held, log, onReady }) {
  const width = target.clientWidth || 640;
  const height = Math.round(Math.min(Math.max(0.52 * width, 250), 430));
  const ridges = list.filter(isRidge);
  // A range that was given is for the scale it was given with.
  const axis = (name) => ({ log: log[name], range: data[name].log === log[name] ? data[name].range : null });
  const xs = extent(held.flatMap((series) => (isRidge(series) ? series.edges.flat() : series.x)), axis("x"), 0.015);
  const ys = extent(held.flatMap((series) => (isRidge(series) ? series.at : series.kind === "band" ? [...series.low, ...series.high] : series.y)),
    axis("y"), ridges.length ? 0.02 : 0.05, ridges.length ? RISE / (1 - RISE) : 0);
  const all = aligned([...list].sort((a, b) => (a.kind !== "band") - (b.kind !== "band")));
  // What has no place on a logarithmic axis is left out; an end of a band that lies beyond the axis is put there.
  const here = all.places.map((x) => finite(x) && (!log.x || x > 0));
  const kept = (values) => values.filter((_, i) => here[i]);
  const columns = all.columns.map((column) => ({ ...column, values: kept(column.values) }));
  const place = (band) => (value) => {
    if (value === undefined || value === null || (finite(value) && (!log.y || value > 0))) return value;
    return band ? ys[Number(value > 0)] : null;
  };
  const steps = rising(ridges.flatMap((series) => series.at)).filter((step) => !log.y || step > 0);
  const places = ridges.length ? rising(ridges.flatMap((series) => series.edges.flat())).filter((x) => !log.x || x > 0) : kept(all.places);

  const scale = (name, range) => ({ time: false, distr: log[name] ? 3 : 1, range: () => range });
  // Whole pixels: uPlot takes no others.
  const font = `12px ${colour("sans")}`;
  const axisOf = (name, space, size, filter = (u, ticks) => (log[name] ? logLabels(u, ticks, name, space / 2) : ticks)) => ({
    stroke: ink("muted"), font, space, size, filter, gap: 4, grid: { stroke: ink("rule"), width: 1, filter }, ticks: { stroke: ink("strong"), width: 1, size: 4 },
    border: { show: true, stroke: ink("strong"), width: 1 },
    values: (_, ticks) => ticks.map((tick) => (tick === null ? null : tickLabel(tick))),
    ...(log[name] ? { splits: (_, __, low, high) => logTicks(low, high) } : {}),
  });
  const u = new uPlot({
    width, height, legend: { show: false }, pxAlign: 0, padding: [10, 14, 0, 0],
    scales: { x: scale("x", xs), y: scale("y", ys) },
    axes: [axisOf("x", 74, 26), axisOf("y", 40, (_, labels) => 18 + 7 * Math.max(2, ...(labels ?? []).map((label) => (label ?? "").length)))],
    series: [{}, ...(ridges.length ? [{}] : columns.map(drawn))],
    // A band's highest is the column behind its lowest; 33 is a fifth of 255.
    bands: columns.flatMap(({ series, end }, i) => (end === "lowest" ? [{ series: [i + 2, i + 1], fill: () => `${colour(`s${series.style}`)}33` }] : [])),
    cursor: {
      y: false, drag: { setScale: false, x: false }, dataIdx: (_, index, place) => (index === 0 || ridges.length ? place : readAt(columns[index - 1], place)),
      points: { size: 9, width: 2, stroke: (u, index) => u.series[index].stroke(), fill: ink("paper") },
      // The explorer moves it, for pointer and keyboard alike.
      bind: Object.fromEntries(["mousedown", "mouseup", "click", "dblclick", "mousemove", "mouseleave", "mouseenter"].map((name) => [name, () => null])),
    },
    hooks: { ready: [onReady], draw: [drawRidges] },
  }, ridges.length ? [places, places.map(() => null)] : [places, ...columns.map(({ series, values }) => values.map(place(series.kind === "band")))], target);
  const densities = held.filter(isRidge).flatMap((series) => series.density.flat()).filter(finite);
  return Object.assign(u, { places: ridges.length ? steps : places, columns, ridges, highest: densities.reduce((a, b) => Math.max(a, b), 0) || 1, ring: null });
}

/** Height of a density above its foot, in pixels of the canvas. */
const heightOf = (u, density) => (density / u.highest) * RISE * u.bbox.height;

/** Distributions from the last step, which lies behind, to the first; those of one step are seen through one another. */
function drawRidges(u) {
  const { ctx, bbox, ridges = [] } = u;
  if (ridges.length === 0) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineJoin = "round";
  const rings = [];
  for (const step of [...u.places].reverse()) {
    const foot = u.valToPos(step, "y", true);
    const curves = ridges.filter((series) => series.at.includes(step)).map((series) => {
      const curve = series.at.indexOf(step);
      const middle = (bin) => (u.valToPos(series.edges[curve][bin], "x", true) + u.valToPos(series.edges[curve][bin + 1], "x", true)) / 2;
      const points = series.density[curve].flatMap((density, bin) => (density === null ? [] : [[middle(bin), foot - heightOf(u, density)]]));
      const line = new Path2D();
      points.forEach((point) => line.lineTo(...point));
      const area = new Path2D(line);
      if (points.length > 0) [points.at(-1)[0], points[0][0]].forEach((x) => area.lineTo(x, foot));
      const read = u.ring?.step === step ? densityAt(series, step, u.ring.x) : null;
      if (finite(read)) rings.push({ series, at: [u.valToPos(u.ring.x, "x", true), foot - heightOf(u, read)] });
      return { series, line, area };
    });
    const fill = (path, name, alpha) => Object.assign(ctx, { fillStyle: colour(name), globalAlpha: alpha }).fill(path);
    for (const { area } of curves) fill(area, "paper", 0.82);
    for (const { series, area } of curves) fill(area, `s${series.style}`, 0.2);
    for (const { series: { style }, line } of curves) {
      ctx.setLineDash(dashOf(style).map((length) => length * uPlot.pxRatio));
      Object.assign(ctx, { strokeStyle: colour(`s${style}`), globalAlpha: 1, lineWidth: 1.7 * uPlot.pxRatio }).stroke(line);
    }
  }
  ctx.setLineDash([]);
  for (const { series, at } of rings) {
    const circle = new Path2D();
    circle.arc(...at, 4.5 * uPlot.pxRatio, 0, 2 * Math.PI);
    Object.assign(ctx, { fillStyle: colour("paper"), strokeStyle: colour(`s${series.style}`), globalAlpha: 1 }).fill(circle);
    ctx.stroke(circle);
  }
  ctx.restore();
}

/** A sample of an entry's look, for the legend. */
function swatch(style, kinds) {
  const sample = shape("svg", { class: `swatch s${style}`, viewBox: "0 0 26 12", "aria-hidden": "true" });
  const has = (...some) => some.some((kind) => kinds.has(kind));
  if (has("band", "ridge")) sample.append(shape("path", { class: "area", d: "M0 0h26v12h-26z" }));
  if (has("line", "ridge")) sample.append(shape("path", { class: "line", d: "M0 6h26", "stroke-dasharray": PAGE.looks[style].dash }));
  if (has("line", "points")) sample.append(shape("path", { class: "mark", d: `M13 6${PAGE.looks[style].marker}` }));
  return sample;
}
