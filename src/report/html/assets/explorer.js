// Part 6: an explorer: its state, its cursor, and what happens when either changes. Then everything is started.

const HINT = "Point at the plot, or move to it and use the arrow keys.";

class Explorer {
  constructor(root) {
    this.root = root;
    this.data = readData(root.querySelector("script[type='application/json']").textContent);
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
    new ResizeObserver(() => {
      if (this.stage.clientWidth !== this.plot.width) this.redraw();
    }).observe(this.stage);
  }

  build() {
    const controls = element("div", { class: "controls", role: "group", "aria-label": `Controls: ${this.data.title}` });
    this.data.facets.forEach((facet, i) => {
      if (facet.values.length < 2) return;
      const field = facetControl(facet, (value) => this.change(() => this.choose(i, value)));
      this.selects[i] = field.querySelector("select");
      this.selects[i].selectedIndex = this.chosen[i];
      controls.append(field);
    });
    const scale = (axis) => tick(`log ${axis}`, this.log[axis], (on) => this.change(() => (this.log[axis] = on)));
    const ticks = element("div", { class: "ticks" }, scale("x"), scale("y"));
    if (this.data.facets.some((facet) => facet.values.length > 1)) {
      ticks.append(tick("same axes for every choice", false, (on) => this.change(() => (this.same = on))));
    }
    controls.append(ticks);
    this.legend = element("div", { class: "legend", role: "group", "aria-label": "Series shown" });
    this.stage = element("div", { class: "stage", tabindex: 0, role: "application", "aria-roledescription": "plot" });
    this.readout = element("output", { class: "readout", "aria-live": "polite" });
    this.caption = element("p", { class: "chosen" });
    this.tableButton = element("button", { type: "button", class: "as-table", "aria-expanded": "false" }, "Show as table");
    this.tablePlace = element("div", {});
    this.root.append(controls, this.legend, this.stage, this.readout, this.caption, this.tableButton, this.tablePlace);

    this.tableButton.addEventListener("click", () => this.change(() => (this.tabled = !this.tabled)));
    this.stage.addEventListener("pointermove", (event) => this.point(event));
    this.stage.addEventListener("pointerdown", (event) => this.point(event));
    this.stage.addEventListener("keydown", (event) => this.key(event));
  }

  change(edit) {
    edit();
    this.refresh();
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
      if (own === -1) return;
      this.chosen[i] = own;
      if (this.selects[i]) this.selects[i].selectedIndex = own;
    });
  }

  /** The vertical axis's name: one that is called as a choice is has what is chosen there. */
  yName() {
    const facet = this.data.facets.findIndex((one) => one.name === this.data.y.label);
    return facet === -1 ? this.data.y.label : this.data.facets[facet].values[this.chosen[facet]];
  }

  refresh() {
    this.chosenSeries = this.data.series.filter((series) => isChosen(series, this.chosen));
    this.list = this.chosenSeries.filter((series) => !this.hidden.has(entryOf(series)));
    // The same buttons stay where they are: focus must not be lost by pressing one.
    const entries = JSON.stringify([...new Set(this.chosenSeries.map((series) => `${entryOf(series)} ${series.kind}`))]);
    if (entries !== this.entries) {
      this.entries = entries;
      this.legend.replaceChildren(...legendOf(this.chosenSeries, this.hidden, () => this.refresh()));
    }
    const words = this.words();
    this.caption.textContent = words;
    this.caption.hidden = words === "";
    this.stage.setAttribute("aria-label", `${[this.data.title, words].filter(Boolean).join(": ")}. Arrow keys move along the values.`);
    this.tableButton.setAttribute("aria-expanded", String(this.tabled));
    this.tableButton.textContent = this.tabled ? "Hide the table" : "Show as table";
    const caption = [this.data.title, words].filter(Boolean).join(": ");
    this.tablePlace.replaceChildren(...(this.tabled ? [valueTable(this.list, this.data, caption)] : []));
    this.redraw();
  }

  redraw() {
    const { x: logX, y: logY } = this.log;
    const axesHold = this.same ? this.data.series : this.list;
    this.plot = new Plot(this.data, this.list, axesHold, { logX, logY, yName: this.yName(), width: this.stage.clientWidth || 640 });
    this.places = this.plot.ridges ? stepsOf(this.list, this.plot.y) : placesOf(this.list, this.plot.x);
    this.stage.replaceChildren(this.plot.draw());
    if (this.chosenSeries.length === 0) this.stage.append(element("p", { class: "nothing" }, "There are no data for this choice."));
    this.showCursor();
  }

  point(event) {
    if (this.places.length === 0) return;
    const box = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - this.plot.inner.left, event.clientY - box.top - this.plot.inner.top];
    if (this.plot.ridges) {
      this.place = nearest(this.places, this.plot.y, y - this.plot.rise);
      const edges = binsAt(this.list, this.places[this.place]);
      const bin = edges.findLastIndex((edge) => this.plot.x.at(edge) <= x);
      this.bin = Math.min(Math.max(bin, 0), edges.length - 2);
    } else {
      this.place = nearest(this.places, this.plot.x, x);
    }
    this.showCursor();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || this.places.length === 0) return;
    const along = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
    const up = { ArrowDown: -1, ArrowUp: 1 }[event.key];
    if (event.key === "Escape") this.place = null;
    else if (along === undefined && up === undefined) return;
    else if (this.place === null) this.enter(along ?? up);
    else if (!this.plot.ridges) this.place = held(this.place + (along ?? up), this.places.length);
    else if (up) this.place = held(this.place + up, this.places.length);
    else this.bin = held(this.bin + along, binsAt(this.list, this.places[this.place]).length - 1);
    event.preventDefault();
    this.showCursor();
  }

  /** The first key puts the cursor onto an end, with ridges into the middle of the first. */
  enter(direction) {
    this.place = direction === Infinity ? this.places.length - 1 : 0;
    this.bin = Math.max(0, Math.floor((binsAt(this.list, this.places[0]).length - 2) / 2));
  }

  showCursor() {
    if (this.place !== null) this.place = held(this.place, this.places.length);
    if (this.place === null || this.places.length === 0) {
      this.plot.cursor.replaceChildren();
      this.readout.replaceChildren(this.places.length === 0 ? "" : HINT);
      return;
    }
    this.plot.ridges ? this.showDensity() : this.showValues();
  }

  showValues() {
    const at = this.places[this.place];
    const rings = [];
    const values = [];
    for (const series of this.list) {
      const value = valueAt(series, at);
      if (value === null) continue;
      values.push([series, value.text]);
      rings.push(...value.marks.map((y) => [series.style, this.plot.x.at(value.at), this.plot.down(y)]));
    }
    this.plot.mark(this.plot.x.at(at), rings);
    this.say(`${this.data.x.label || "x"} = ${exact(at)}`, values);
  }

  showDensity() {
    const step = this.places[this.place];
    const edges = binsAt(this.list, step);
    this.bin = held(this.bin, edges.length - 1);
    const [from, to] = [edges[this.bin], edges[this.bin + 1]];
    const middle = (this.plot.x.at(from) + this.plot.x.at(to)) / 2;
    const rings = [];
    const values = [];
    for (const series of this.list.filter(isRidge)) {
      const value = densityAt(series, step, (from + to) / 2);
      if (value === null) continue;
      values.push([series, `density ${value.text}`]);
      const height = value.density === null ? NaN : (value.density / this.plot.highest) * this.plot.rise;
      rings.push([series.style, middle, this.plot.down(step) - height]);
    }
    this.plot.mark(middle, rings);
    this.say(`${this.data.y.label || "step"} = ${exact(step)}, ${this.data.x.label || "x"} = ${exact(from)} to ${exact(to)}`, values);
  }

  /** Place and values, to be read and to be heard. */
  say(place, values) {
    const item = ([series, text]) => {
      const name = series.label === "" ? [] : [element("span", { class: "label" }, `${series.label}: `)];
      return element("span", { class: "value" }, swatch(series.style, new Set([series.kind])), ...name, element("b", {}, text));
    };
    const parts = [element("span", { class: "place" }, place), ...values.map(item)];
    this.readout.replaceChildren(...parts.flatMap((part, i) => (i === 0 ? [part] : [element("span", { class: "unseen" }, "; "), part])));
  }
}

/** The number held between 0 and `count` − 1. */
function held(number, count) {
  return Math.max(0, Math.min(number, count - 1));
}

themeButton();
claimFilter();
foldedContents();
for (const root of document.querySelectorAll(".explorer")) new Explorer(root);
reachableWindows();
currentSection();
