// Part 2: an explorer's data: what is chosen, and the values of its series side by side.

const PAGE = JSON.parse(document.getElementById("explorers").textContent);

/** The data of the explorer of this number, with the arrays that its series name by number put in their places. */
function readData(number) {
  const data = PAGE.explorers[number];
  const array = (place) => (Array.isArray(place) ? place.map(array) : PAGE.arrays[place]);
  for (const series of data.series) {
    for (const name of ["x", "y", "low", "high", "at", "edges", "density"]) {
      if (name in series) series[name] = array(series[name]);
    }
  }
  return data;
}

/** Whether a series is among those chosen: `chosen` holds the number of each facet's value. */
const isChosen = (series, chosen) => series.facets.every((value, facet) => value === null || value === chosen[facet]);

/** What a series is called in the legend: series of one label and style share an entry. */
const entryOf = (series) => `${series.style} ${series.label}`;

const isRidge = (series) => series.kind === "ridge";

/** Neither missing nor infinite; what is infinite is written as the largest number. */
const finite = (value) => typeof value === "number" && Math.abs(value) < 1e300;

const rising = (values) => [...new Set(values)].sort((a, b) => a - b);

/** A value as the page has it: to four digits, steps in full. */
function shown(value) {
  if (value === null) return "not a number";
  if (!finite(value)) return value > 0 ? "infinite" : "−infinite";
  return String(value).replace(/-/g, "−");
}

/** The series side by side: every place that one of them has, and the columns of each, undefined where it has no such place. */
function aligned(list) {
  const columns = list.filter((series) => !isRidge(series)).flatMap((series) => {
    const column = (values, end) => ({ series, values, end, header: (series.label || "value") + (end ? `, ${end}` : "") });
    return series.kind === "band" ? [column(series.low, "lowest"), column(series.high, "highest")] : [column(series.y)];
  });
  const [places, ...values] = columns.length === 0 ? [[]] : uPlot.join(columns.map((column) => [column.series.x, column.values]));
  columns.forEach((column, i) => (column.values = values[i]));
  return { places, columns };
}

/** Where a column is read for a place: there, or between two of a line's places at the one before. Null where it has nothing to say. */
function readAt({ series, values }, place) {
  if (series.kind !== "points" && place <= values.findLastIndex((value) => value !== undefined)) {
    while (place > 0 && values[place] === undefined) place -= 1;
  }
  return values[place] === undefined ? null : place;
}

/** The bins at a step: the ends of the first series that has one there. */
function binsAt(ridges, step) {
  const series = ridges.find((one) => one.at.includes(step));
  return series ? series.edges[series.at.indexOf(step)] : [];
}

/** Density of a series of ridges at a step, in the bin that holds x; undefined where it has none. */
function densityAt(series, step, x) {
  const curve = series.at.indexOf(step);
  return series.density[curve]?.[series.edges[curve].findLastIndex((edge) => edge <= x)];
}

/** What is shown as a table: headers and rows of numbers. */
function tableOf(list, data) {
  const x = data.x.label || "x";
  const ridges = list.filter(isRidge);
  if (ridges.length === 0) {
    const { places, columns } = aligned(list);
    return { headers: [x, ...columns.map((column) => column.header)], rows: places.map((at, i) => [at, ...columns.map((column) => column.values[i])]) };
  }
  const rows = rising(ridges.flatMap((series) => series.at)).flatMap((step) => {
    const edges = binsAt(ridges, step);
    return edges.slice(1).map((to, bin) => [step, edges[bin], to, ...ridges.map((series) => densityAt(series, step, (edges[bin] + to) / 2))]);
  });
  return { headers: [data.y.label || "step", `${x}, from`, `${x}, to`, ...ridges.map((series) => series.label || "value")], rows };
}
