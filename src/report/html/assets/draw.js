// Part 4: an explorer's plot as SVG: axes, lines, points, bands, ridges.

const LOOKS = JSON.parse(document.getElementById("looks").textContent);

const two = (value) => String(Math.round(value * 100) / 100);

/** The commands of a line through these points, broken where one has no place. A lone point is a dot. */
function lineThrough(points) {
  let commands = "";
  let length = 0;
  for (const [x, y] of points) {
    if (Number.isNaN(x) || Number.isNaN(y)) {
      if (length === 1) commands += "h0";
      length = 0;
      continue;
    }
    commands += `${length === 0 ? "M" : "L"}${two(x)} ${two(y)}`;
    length += 1;
  }
  return length === 1 ? `${commands}h0` : commands;
}

function markersAt(style, points) {
  const places = points.filter(([x, y]) => !Number.isNaN(x) && !Number.isNaN(y));
  return places.map(([x, y]) => `M${two(x)} ${two(y)}${LOOKS[style].marker}`).join("");
}

/** A sample of an entry's look, for the legend. */
function swatch(style, kinds) {
  const sample = shape("svg", { class: `swatch s${style}`, viewBox: "0 0 26 12", "aria-hidden": "true" });
  if (kinds.has("band") || kinds.has("ridge")) sample.append(shape("path", { class: "area", d: "M0 0h26v12h-26z" }));
  if (kinds.has("line") || kinds.has("ridge")) {
    sample.append(shape("path", { class: "line", d: "M0 6h26", "stroke-dasharray": LOOKS[style].dash }));
  }
  if (kinds.has("line") || kinds.has("points")) sample.append(shape("path", { class: "mark", d: `M13 6${LOOKS[style].marker}` }));
  return sample;
}

/** Room that tick labels of this many letters need. */
const roomFor = (labels) => 7 * Math.max(2, ...labels.map((label) => [...label].length));

/** One drawing: settles the axes for what is shown, and draws it. */
class Plot {
  /** `all` are the series that the axes hold, `list` those that are drawn. */
  constructor(data, list, all, { logX, logY, yName, width }) {
    Object.assign(this, { data, list, yName, width });
    this.height = Math.round(Math.min(Math.max(0.52 * width, 250), 430));
    this.ridges = list.some(isRidge);
    const below = 46;
    const above = 10;
    this.inner = { top: above, height: this.height - above - below, right: 14 };
    // A range that was given is for the scale it was given with.
    const range = (axis, log) => (axis.log === log ? axis.range : null);
    // Above the last foot there must be room for its curve.
    this.rise = this.ridges ? 0.26 * this.inner.height : 0;
    this.y = Axis.over(all.flatMap(ysOf), {
      log: logY, range: range(data.y, logY), pad: this.ridges ? 0.02 : 0.05, length: this.inner.height - this.rise, upwards: true,
    });
    this.yTicks = this.y.ticks(Math.max(3, this.y.length / 44));
    this.inner.left = 30 + roomFor(this.yTicks.map((tick) => tick.label ?? ""));
    this.inner.width = Math.max(60, width - this.inner.left - this.inner.right);
    this.x = Axis.over(all.flatMap(xsOf), { log: logX, range: range(data.x, logX), pad: 0.015, length: this.inner.width });
    this.xTicks = this.x.ticks(Math.max(2, this.inner.width / 74));
    const densities = all.filter(isRidge).flatMap((series) => series.density.flat()).filter(Number.isFinite);
    this.highest = densities.reduce((a, b) => Math.max(a, b), 0) || 1;
  }

  draw() {
    const { left, top, width, height } = this.inner;
    const svg = shape("svg", { viewBox: `0 0 ${this.width} ${this.height}`, width: this.width, height: this.height, "aria-hidden": "true" });
    svg.append(this.frame());
    // A nested document cuts off what lies beyond it.
    this.window = shape("svg", {
      x: left - 4, y: top - 4, width: width + 8, height: height + 8, viewBox: `-4 -4 ${width + 8} ${height + 8}`, overflow: "hidden",
    });
    this.drawAll("band", (series, group) => this.band(series, group));
    this.drawRidges();
    this.drawAll("line", (series, group) => this.line(series, group));
    this.drawAll("points", (series, group) => this.points(series, group));
    this.cursor = shape("g", { class: "cursor" });
    this.window.append(this.cursor);
    svg.append(this.window);
    return svg;
  }

  group(series) {
    const group = shape("g", { class: `s${series.style}`, "data-entry": entryOf(series), "data-kind": series.kind });
    this.window.append(group);
    return group;
  }

  drawAll(kind, draw) {
    for (const series of this.list.filter((one) => one.kind === kind)) draw(series, this.group(series));
  }

  /** A pixel of the vertical axis, from the window's upper edge. */
  down(value) {
    return this.y.at(value) + this.rise;
  }

  line(series, group) {
    const points = series.x.map((x, i) => [this.x.at(x), this.down(series.y[i])]);
    group.append(shape("path", { class: "line", d: lineThrough(points), "stroke-dasharray": LOOKS[series.style].dash }));
    if (points.length <= 40) group.append(shape("path", { class: "mark", d: markersAt(series.style, points) }));
  }

  points(series, group) {
    const points = series.x.map((x, i) => [this.x.at(x), this.down(series.y[i])]);
    group.append(shape("path", { class: "mark", d: markersAt(series.style, points) }));
  }

  band(series, group) {
    const ends = series.x.map((x, i) => [this.x.at(x), this.y.edge(series.low[i]), this.y.edge(series.high[i])]);
    const missing = ([x, low, high]) => Number.isNaN(x + low + high);
    const shift = ([x, y]) => [x, y + this.rise];
    let piece = [];
    const close = () => {
      const [low, high] = [1, 2].map((end) => piece.map((place) => shift([place[0], place[end]])));
      if (piece.length > 1) {
        const back = lineThrough([...low].reverse()).replace("M", "L");
        group.append(shape("path", { class: "area", d: `${lineThrough(high)}${back}z` }));
        group.append(shape("path", { class: "rim", d: lineThrough(low) + lineThrough(high) }));
      } else if (piece.length === 1) {
        group.append(shape("path", { class: "rim", d: lineThrough([low[0], high[0]]) }));
      }
      piece = [];
    };
    for (const place of ends) missing(place) ? close() : piece.push(place);
    close();
  }

  /** Distributions from the last step, which lies behind, to the first; those of one step are seen through one another. */
  drawRidges() {
    const ridges = this.list.filter(isRidge);
    for (const step of stepsOf(ridges, this.y).reverse()) {
      const curves = ridges.flatMap((series) => {
        const i = series.at.indexOf(step);
        const points = i === -1 ? [] : this.curve(series, i).filter(([x, y]) => !Number.isNaN(x + y));
        return points.length === 0 ? [] : [{ series, points }];
      });
      const foot = two(this.down(step));
      const closed = (points) => {
        const [first, last] = [points[0][0], points[points.length - 1][0]];
        return `M${two(first)} ${foot}${lineThrough(points).replace("M", "L")}L${two(last)} ${foot}z`;
      };
      for (const { points } of curves) this.window.append(shape("path", { class: "paper", d: closed(points) }));
      for (const { series, points } of curves) {
        const group = this.group(series);
        group.append(shape("path", { class: "area", d: closed(points) }));
        group.append(shape("path", { class: "line", d: lineThrough(points), "data-at": step }));
      }
    }
  }

  /** The points of a curve: the middle of each bin, at its density above the foot. */
  curve(series, i) {
    const [edges, foot] = [series.edges[i], this.down(series.at[i])];
    return series.density[i].map((density, bin) => {
      const [from, to] = [this.x.at(edges[bin]), this.x.at(edges[bin + 1])];
      return [(from + to) / 2, density === null ? NaN : foot - (density / this.highest) * this.rise];
    });
  }

  frame() {
    const { left, top, width, height } = this.inner;
    const group = shape("g", { class: "frame" });
    const labelled = (ticks) => ticks.filter((tick) => tick.label !== null);
    const downTo = (tick) => top + this.rise + tick.at;
    const grid = labelled(this.xTicks).map((tick) => `M${two(left + tick.at)} ${top}v${height}`)
      .concat(labelled(this.yTicks).map((tick) => `M${left} ${two(downTo(tick))}h${width}`));
    group.append(shape("path", { class: "grid", d: grid.join("") }));
    const long = (tick) => (tick.label === null ? 2 : 4);
    const lines = this.xTicks.map((tick) => `M${two(left + tick.at)} ${top + height}v${long(tick)}`)
      .concat(this.yTicks.map((tick) => `M${left} ${two(downTo(tick))}h${-long(tick)}`));
    group.append(shape("path", { class: "axis", d: `M${left} ${top}v${height}h${width}${lines.join("")}` }));
    for (const tick of labelled(this.xTicks)) {
      group.append(shape("text", { x: two(left + tick.at), y: top + height + 18, "text-anchor": "middle" }, tick.label));
    }
    for (const tick of labelled(this.yTicks)) {
      group.append(shape("text", { x: left - 8, y: two(downTo(tick) + 4), "text-anchor": "end" }, tick.label));
    }
    const name = { class: "name", "text-anchor": "middle" };
    group.append(shape("text", { ...name, x: two(left + width / 2), y: this.height - 8 }, this.data.x.label));
    const middle = two(top + height / 2);
    // A name that is longer than the axis is set closer.
    const close = roomFor([this.yName]) > this.height ? { textLength: this.height - 8, lengthAdjust: "spacingAndGlyphs" } : {};
    const y = close.textLength ? two(this.height / 2) : middle;
    group.append(shape("text", { ...name, ...close, x: 14, y, transform: `rotate(-90 14 ${y})` }, this.yName));
    return group;
  }

  /** Marks the cursor: a rule at x, and a ring at each of these [style, x, y] in pixels. */
  mark(x, rings) {
    this.cursor.replaceChildren(
      shape("path", { class: "rule", d: `M${two(x)} 0v${this.inner.height}` }),
      ...rings
        .filter(([, at, y]) => !Number.isNaN(at + y))
        .map(([style, at, y]) => shape("circle", { class: `s${style} ring`, cx: two(at), cy: two(y), r: 4.5 })),
    );
  }
}

