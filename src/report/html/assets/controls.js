// Part 5: an explorer's controls: a choice for each facet, scales, legend, table.

let controlCount = 0;

/** A control's anchor: each once on the page. */
function controlId() {
  controlCount += 1;
  return `control-${controlCount}`;
}

/** A choice among a facet's values, with buttons to its neighbours where there are many. */
function facetControl(facet, onChange) {
  const id = controlId();
  const select = element("select", { id }, ...facet.values.map((value, i) => element("option", { value: i }, value)));
  const field = element("div", { class: "field" }, element("label", { for: id }, facet.name));
  const row = element("span", { class: "row" });
  if (facet.values.length > 3) {
    const move = (by) => {
      const next = Math.min(Math.max(select.selectedIndex + by, 0), facet.values.length - 1);
      if (next === select.selectedIndex) return;
      select.selectedIndex = next;
      onChange(next);
    };
    const step = (by, sign, word) => {
      const button = element("button", { type: "button", class: "step", "aria-label": `${word} ${facet.name}` }, sign);
      button.addEventListener("click", () => move(by));
      return button;
    };
    row.append(step(-1, "‹", "previous"), select, step(1, "›", "next"));
  } else {
    row.append(select);
  }
  select.addEventListener("change", () => onChange(select.selectedIndex));
  field.append(row);
  return field;
}

/** A box to tick. */
function tick(words, checked, onChange) {
  const box = element("input", { type: "checkbox", checked });
  box.addEventListener("change", () => onChange(box.checked));
  return element("label", { class: "tick" }, box, words);
}

/** A button for each entry of the legend: pressed while its series are shown. */
function legendOf(list, hidden, onChange) {
  const entries = new Map();
  for (const series of list) {
    if (series.label === "") continue;
    const key = entryOf(series);
    const entry = entries.get(key) ?? { label: series.label, style: series.style, kinds: new Set() };
    entry.kinds.add(series.kind);
    entries.set(key, entry);
  }
  return [...entries].map(([key, { label, style, kinds }]) => {
    const button = element("button", { type: "button", class: "entry", "aria-pressed": String(!hidden.has(key)) }, swatch(style, kinds), label);
    button.addEventListener("click", () => {
      hidden.has(key) ? hidden.delete(key) : hidden.add(key);
      button.setAttribute("aria-pressed", String(!hidden.has(key)));
      onChange();
    });
    return button;
  });
}

const MOST_ROWS = 1000;

/** The values shown, as a table in a window of its own. */
function valueTable(list, data, caption) {
  const { headers, rows } = tableOf(list, data);
  const shown = (value) => (value === undefined ? "" : exact(value));
  const cut = rows.length > MOST_ROWS ? `; the first ${MOST_ROWS} of ${rows.length} rows` : "";
  const head = element("tr", {}, ...headers.map((header) => element("th", { scope: "col", class: "n" }, header)));
  const body = rows.slice(0, MOST_ROWS).map(([first, ...rest]) => {
    const cells = rest.map((value) => element("td", { class: "n" }, shown(value)));
    return element("tr", {}, element("th", { scope: "row", class: "n" }, shown(first)), ...cells);
  });
  const table = element("table", {}, element("caption", {}, caption + cut), element("thead", {}, head), element("tbody", {}, ...body));
  // It scrolls both ways, so the keyboard must reach it.
  return element("div", { class: "scroll values", tabindex: 0, role: "group", "aria-label": "Table of the values shown" }, table);
}

