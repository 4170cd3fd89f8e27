// Part 3: an explorer's data: what is chosen, which values there are, and what they are at the cursor.

/** The JSON of an explorer, with the arrays that its series name by number put in their places. */
function readData(text) {
  const data = JSON.parse(text);
  const array = (number) => data.pool[number];
  for (const series of data.series) {
    for (const name of ["x", "y", "low", "high", "at"]) {
      if (name in series) series[name] = array(series[name]);
    }
    if (series.kind === "ridge") {
      series.edges = series.edges.map(array);
      series.density = series.density.map(array);
    }
  }
  return data;
}

/** Whether a series is among those chosen: `chosen` holds the number of each facet's value. */
function isChosen(series, chosen) {
  return series.facets.every((value, facet) => value === -1 || value === chosen[facet]);
}

/** What a series is called in the legend: series of one label and style share an entry. */
const entryOf = (series) => `${series.style} ${series.label}`;

const isRidge = (series) => series.kind === "ridge";

function xsOf(series) {
  return isRidge(series) ? series.edges.flat() : series.x;
}

function ysOf(series) {
  if (series.kind === "band") return series.low.concat(series.high);
  return isRidge(series) ? series.at : series.y;
}

const rising = (a, b) => a - b;

/** Every place along the horizontal axis at which a series has a value. */
function placesOf(list, axis) {
  const all = new Set(list.filter((series) => !isRidge(series)).flatMap((series) => series.x));
  return [...all].filter((x) => !Number.isNaN(axis.at(x))).sort(rising);
}

/** The steps of the ridges. */
function stepsOf(list, axis) {
  const all = new Set(list.filter(isRidge).flatMap((series) => series.at));
  return [...all].filter((at) => !Number.isNaN(axis.at(at))).sort(rising);
}

/** The bins at a step: the ends of the first series that has one there. */
function binsAt(list, step) {
  for (const series of list.filter(isRidge)) {
    const curve = series.at.indexOf(step);
    if (curve !== -1) return series.edges[curve];
  }
  return [];
}

/** The number of the entry nearest to a pixel. */
function nearest(values, axis, pixel) {
  let best = 0;
  values.forEach((value, i) => {
    if (Math.abs(axis.at(value) - pixel) < Math.abs(axis.at(values[best]) - pixel)) best = i;
  });
  return best;
}

/** Where a series is read for x: there, or between two of a line's or a band's places at the one before. NaN where it has nothing to say. */
function placeFor(series, x) {
  if (series.x.includes(x)) return x;
  if (series.kind === "points" || !series.x.some((other) => other > x)) return NaN;
  const before = series.x.reduce((best, other) => (other < x && other > best ? other : best), -Infinity);
  return Number.isFinite(before) ? before : NaN;
}

/** Values of a series at x, in words; null where it has none. `marks` are the heights to be marked, at the place `at`. */
function valueAt(series, x) {
  const at = placeFor(series, x);
  const place = at === x ? "" : ` (at ${exact(at)})`;
  if (Number.isNaN(at)) return null;
  if (series.kind === "band") {
    const i = series.x.indexOf(at);
    return { text: `${exact(series.low[i])} to ${exact(series.high[i])}${place}`, marks: [series.low[i], series.high[i]], at };
  }
  const found = [];
  for (let i = series.x.indexOf(at); i !== -1; i = series.x.indexOf(at, i + 1)) found.push(series.y[i]);
  const more = found.length > 4 ? ` and ${found.length - 4} more` : "";
  return { text: found.slice(0, 4).map(exact).join(", ") + more + place, marks: found, at };
}

/** Density of a series of ridges at a step, in the bin that holds x. */
function densityAt(series, step, x) {
  const curve = series.at.indexOf(step);
  if (curve === -1) return null;
  const bin = series.edges[curve].findLastIndex((edge) => edge <= x);
  const density = series.density[curve][bin];
  return density === undefined ? null : { text: exact(density), density };
}

/** What is shown as a table: headers and rows of numbers. */
function tableOf(list, data) {
  const name = (series) => series.label || "value";
  const ridges = list.filter(isRidge);
  if (ridges.length > 0) return ridgeTable(ridges, data, name);
  const columns = list.flatMap((series) => {
    if (series.kind !== "band") return [{ header: name(series), values: series.y, series }];
    const end = (word, values) => ({ header: `${name(series)}, ${word}`, values, series });
    return [end("lowest", series.low), end("highest", series.high)];
  });
  // A place that a series has twice has as many rows.
  const times = new Map();
  const indices = columns.map(({ series }) => {
    const byPlace = new Map();
    series.x.forEach((x, i) => byPlace.set(x, [...(byPlace.get(x) ?? []), i]));
    for (const [x, all] of byPlace) times.set(x, Math.max(times.get(x) ?? 0, all.length));
    return byPlace;
  });
  const rows = [];
  for (const x of [...times.keys()].sort(rising)) {
    for (let i = 0; i < times.get(x); i += 1) {
      rows.push([x, ...columns.map(({ values }, column) => values[indices[column].get(x)?.[i]])]);
    }
  }
  return { headers: [data.x.label || "x", ...columns.map((column) => column.header)], rows };
}

function ridgeTable(ridges, data, name) {
  const rows = [];
  const steps = [...new Set(ridges.flatMap((series) => series.at))].sort(rising);
  for (const step of steps) {
    const edges = binsAt(ridges, step);
    for (let bin = 0; bin + 1 < edges.length; bin += 1) {
      const middle = (edges[bin] + edges[bin + 1]) / 2;
      const density = (series) => densityAt(series, step, middle)?.density;
      rows.push([step, edges[bin], edges[bin + 1], ...ridges.map(density)]);
    }
  }
  const x = data.x.label || "x";
  return { headers: [data.y.label || "step", `${x}, from`, `${x}, to`, ...ridges.map(name)], rows };
}

