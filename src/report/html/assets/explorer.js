// Part 4: an explorer: its controls, its state, its cursor, and what happens when one changes. Then everything is started.

const HINT = "Point at the plot, or move to it and use the arrow keys.";
const MOST_ROWS = 1000;
let controlCount = 0;

/** A choice among a facet's values, with buttons to its neighbours where there are many. */
function facetControl(facet, onChange) {
  const id = `control-${(controlCount += 1)}`;
  const select = element("select", { id }, ...facet.values.map((value, i) => element("option", { value: i }, value)));
  select.addEventListener("change", () => onChange(select.selectedIndex));
  const step = (by, sign, word) => {
    const button = element("button", { type: "button", class: "step", "aria-label": `${word} ${facet.name}` }, sign);
    button.addEventListener("click", () => {
      const next = held(select.selectedIndex + by, facet.values.length);
      if (next !== select.selectedIndex) onChange((select.selectedIndex = next));
    });
    return button;
  };
  const row = facet.values.length > 3 ? [step(-1, "‹", "previous"), select, step(1, "›", "next")] : [select];
  return element("div", { class: "field" }, element("label", { for: id }, facet.name), element("span", { class: "row" }, ...row));
}

/** A box to tick. */
function tick(words, checked, onChange) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => onChange(box.checked));
  return element("label", { class: "tick" }, box, words);
}

/** The number held between 0 and `count` − 1. */
const held = (number, count) => Math.max(0, Math.min(number, count - 1));

class Explorer {
  constructor(root, number) {
    this.root = root;
    this.data = readData(number);
    this.chosen = [...this.data.first];
    this.selects = [];
    this.log = { x: this.data.x.log, y: this.data.y.log };
    this.hidden = new Set();
    this.same = false;
    this.tabled = false;
    // The cursor: the number of a place along x; with ridges that of a step, and that of a bin.
    this.place = null;
    this.bin = 0;
    this.build();
    this.refresh();
    new ResizeObserver(() => this.canvas.clientWidth !== this.plot.width && this.redraw()).observe(this.stage);
    addEventListener("colours", () => this.plot.batch(() => this.plot.redraw()));
  }

  build() {
    const controls = element("div", { class: "controls", role: "group", "aria-label": `Controls: ${this.data.title}` });
    const change = (edit) => (value) => {
      edit(value);
      this.refresh();
    };
    this.data.facets.forEach((facet, i) => {
      if (facet.values.length < 2) return;
      const field = facetControl(facet, change((value) => this.choose(i, value)));
      this.selects[i] = field.querySelector("select");
      this.selects[i].selectedIndex = this.chosen[i];
      controls.append(field);
    });
    const ticks = ["x", "y"].map((axis) => tick(`log ${axis}`, this.log[axis], change((on) => (this.log[axis] = on))));
    if (this.selects.length > 0) ticks.push(tick("same axes for every choice", false, change((on) => (this.same = on))));
    controls.append(element("div", { class: "ticks" }, ...ticks));
    this.legend = element("div", { class: "legend", role: "group", "aria-label": "Series shown" });
    this.yName = element("p", { class: "name" });
    this.canvas = element("div", { class: "canvas" });
    this.nothing = element("p", { class: "nothing", hidden: true }, "There are no data for this choice.");
    const xName = element("p", { class: "name below" }, this.data.x.label);
    this.stage = element("div", { class: "stage", tabindex: 0, role: "application", "aria-roledescription": "plot" }, this.yName, this.canvas, xName, this.nothing);
    this.readout = element("output", { class: "readout", "aria-live": "polite" });
    this.caption = element("p", { class: "chosen" });
    this.tableButton = element("button", { type: "button", class: "as-table" });
    this.tablePlace = element("div", {});
    this.root.append(controls, this.legend, this.stage, this.readout, this.caption, this.tableButton, this.tablePlace);

    this.tableButton.addEventListener("click", change(() => (this.tabled = !this.tabled)));
    for (const name of ["pointermove", "pointerdown"]) this.canvas.addEventListener(name, (event) => this.point(event));
    this.stage.addEventListener("keydown", (event) => this.key(event));
  }

  /** In words, what is chosen. */
  words() {
    const facets = this.data.facets.map((facet, i) => `${facet.name} ${facet.values[this.chosen[i]]}`);
    const scales = ["x", "y"].filter((axis) => this.log[axis]).map((axis) => `${axis} logarithmic`);
    return [...facets, ...scales].join(" · ");
  }

  /** Chooses a facet's value. Choices after it that have no data with it give way to some that have, as few as can be. */
  choose(facet, value) {
    this.chosen[facet] = value;
    if (this.data.series.some((series) => isChosen(series, this.chosen))) return;
    const same = (series) => series.facets.filter((own, i) => own === this.chosen[i]).length;
    const fits = this.data.series.filter((series) => isChosen({ facets: series.facets.slice(0, facet + 1) }, this.chosen));
    const best = fits.reduce((best, series) => (best === null || same(series) > same(best) ? series : best), null);
    best?.facets.forEach((own, i) => {
      if (own === null) return;
      this.chosen[i] = own;
      if (this.selects[i]) this.selects[i].selectedIndex = own;
    });
  }

  refresh() {
    this.chosenSeries = this.data.series.filter((series) => isChosen(series, this.chosen));
    this.list = this.chosenSeries.filter((series) => !this.hidden.has(entryOf(series)));
    this.nothing.hidden = this.chosenSeries.length > 0;
    this.refreshLegend();
    const words = this.words();
    const title = [this.data.title, words].filter(Boolean).join(": ");
    this.caption.textContent = words;
    this.caption.hidden = words === "";
    // An axis that is called as a choice is has the name of what is chosen there.
    const named = this.data.facets.findIndex((facet) => facet.name === this.data.y.label);
    this.yName.textContent = named === -1 ? this.data.y.label : this.data.facets[named].values[this.chosen[named]];
    this.stage.setAttribute("aria-label", `${title}. Arrow keys move along the values.`);
    this.tableButton.setAttribute("aria-expanded", String(this.tabled));
    this.tableButton.textContent = this.tabled ? "Hide the table" : "Show as table";
    this.tablePlace.replaceChildren(...(this.tabled ? [valueTable(this.list, this.data, title)] : []));
    this.redraw();
  }

  /** A button for each entry of the legend: pressed while its series are shown. */
  refreshLegend() {
    const entries = new Map();
    for (const series of this.chosenSeries.filter((one) => one.label !== "")) {
      const key = entryOf(series);
      entries.set(key, { ...series, kinds: (entries.get(key)?.kinds ?? new Set()).add(series.kind) });
    }
    // The same buttons stay where they are: focus must not be lost by pressing one.
    const names = JSON.stringify([...entries].map(([key, { kinds }]) => [key, ...kinds]));
    if (names === this.entries) return;
    this.entries = names;
    const buttons = [...entries].map(([key, { label, style, kinds }]) => {
      const button = element("button", { type: "button", class: "entry" }, swatch(style, kinds), label);
      const show = () => button.setAttribute("aria-pressed", String(!this.hidden.has(key)));
      button.addEventListener("click", () => {
        this.hidden.delete(key) || this.hidden.add(key);
        show();
        this.refresh();
      });
      show();
      return button;
    });
    this.legend.replaceChildren(...buttons);
  }

  redraw() {
    this.plot?.destroy();
    const axesHold = this.same ? this.data.series : this.list;
    this.plot = plotOf(this.canvas, { data: this.data, list: this.list, held: axesHold, log: this.log, onReady: (plot) => plot === this.plot && this.showCursor() });
    // For whoever examines the page.
    this.stage.plot = this.plot;
  }

  point(event) {
    const { plot } = this;
    if (plot.places.length === 0) return;
    const box = plot.over.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const nearest = (values, axis, at) => {
      const far = values.map((value) => Math.abs(plot.valToPos(value, axis) - at));
      return far.indexOf(Math.min(...far));
    };
    if (plot.ridges.length > 0) {
      this.place = nearest(plot.places, "y", y);
      const edges = binsAt(plot.ridges, plot.places[this.place]);
      this.bin = nearest(edges.slice(1).map((to, bin) => (edges[bin] + to) / 2), "x", x);
    } else {
      this.place = nearest(plot.places, "x", x);
    }
    this.showCursor();
  }

  key(event) {
    const { places, ridges } = this.plot;
    if (event.altKey || event.ctrlKey || event.metaKey || places.length === 0) return;
    const along = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
    const up = { ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (event.key === "Escape") this.place = null;
    else if (along === undefined && up === undefined) return;
    else if (this.place === null) {
      // The first key puts the cursor onto an end, with ridges into the middle of the first.
      this.place = along === Infinity ? places.length - 1 : 0;
      this.bin = Math.floor((binsAt(ridges, places[0]).length - 2) / 2);
    } else if (ridges.length > 0 && up === undefined) this.bin += along;
    else this.place += along ?? up;
    event.preventDefault();
    this.showCursor();
  }

  showCursor() {
    const { plot } = this;
    const { places, ridges } = plot;
    if (this.place === null || places.length === 0) {
      plot.setCursor({ left: -10, top: -10 });
      if (plot.ring) plot.redraw((plot.ring = null));
      this.readout.replaceChildren(places.length === 0 ? "" : HINT);
      return;
    }
    this.place = held(this.place, places.length);
    const at = places[this.place];
    if (ridges.length > 0) return this.showDensity(at);
    plot.setCursor({ left: plot.valToPos(at, "x"), top: 0 });
    const values = plot.columns.flatMap((column, i) => {
      const read = readAt(column, this.place);
      if (read === null || column.end === "highest") return [];
      const text = [column, plot.columns[i + 1]].slice(0, column.end ? 2 : 1).map(({ values }) => shown(values[read])).join(" to ");
      return [[column.series, text + (read === this.place ? "" : ` (at ${shown(places[read])})`)]];
    });
    this.say(`${this.data.x.label || "x"} = ${shown(at)}`, values);
  }

  showDensity(step) {
    const { plot } = this;
    const edges = binsAt(plot.ridges, step);
    this.bin = held(this.bin, edges.length - 1);
    const [from, to] = [edges[this.bin], edges[this.bin + 1]];
    const x = (from + to) / 2;
    plot.ring = { step, x };
    plot.redraw(false);
    plot.setCursor({ left: plot.valToPos(x, "x"), top: 0 });
    const values = plot.ridges.filter((series) => series.at.includes(step)).map((series) => [series, densityAt(series, step, x)]).filter(([, density]) => density !== undefined);
    const place = `${this.data.y.label || "step"} = ${shown(step)}, ${this.data.x.label || "x"} = ${shown(from)} to ${shown(to)}`;
    this.say(place, values.map(([series, density]) => [series, `density ${shown(density)}`]));
  }

  /** Place and values, to be read and to be heard. */
  say(place, values) {
    const parts = values.flatMap(([{ label, style, kind }, text]) => {
      const name = label === "" ? [] : [element("span", { class: "label" }, `${label}: `)];
      return [element("span", { class: "unseen" }, "; "), element("span", { class: "value" }, swatch(style, new Set([kind])), ...name, element("b", {}, text))];
    });
    this.readout.replaceChildren(element("span", { class: "place" }, place), ...parts);
  }
}

/** The values shown, as a table in a window of its own. */
function valueTable(list, data, caption) {
  const { headers, rows } = tableOf(list, data);
  const cut = rows.length > MOST_ROWS ? `; the first ${MOST_ROWS} of ${rows.length} rows` : "";
  const cells = (row) => row.map((value, i) => element(i === 0 ? "th" : "td", { class: "n", ...(i === 0 ? { scope: "row" } : {}) }, value === undefined ? "" : shown(value)));
  const head = element("tr", {}, ...headers.map((header) => element("th", { scope: "col", class: "n" }, header)));
  const body = rows.slice(0, MOST_ROWS).map((row) => element("tr", {}, ...cells(row)));
  const table = element("table", {}, element("caption", {}, caption + cut), element("thead", {}, head), element("tbody", {}, ...body));
  // It scrolls both ways, so the keyboard must reach it.
  return element("div", { class: "scroll values", tabindex: 0, role: "group", "aria-label": "Table of the values shown" }, table);
}

themeButton();
claimFilter();
foldedContents();
document.querySelectorAll(".explorer").forEach((root, number) => new Explorer(root, number));
reachableWindows();
currentSection();
