// The report's script, part 1: elements, light and dark, the filter of claims, what narrow pages and printing need.
// Nothing here is needed for reading: without it every figure and table is there, and the explorers say that they are not.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with these attributes and children. `true` is an attribute without value, `false` none. */
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/**
 * The button takes the place of what the system says: in the page, and in every figure, which asks by rules of its own. `colours` is the
 * event after which plots are drawn anew.
 */
function themeButton() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const rules = [...document.styleSheets]
    .flatMap((sheet) => [...sheet.cssRules])
    .filter((rule) => rule instanceof CSSMediaRule && rule.media.mediaText.includes("prefers-color-scheme: dark"))
    .map((rule) => ({ rule, asked: rule.media.mediaText }));
  let chosen = remembered();
  const isDark = () => (chosen === null ? system.matches : chosen === "dark");
  const show = () => {
    // On paper the page is light whatever was chosen.
    const forced = isDark() ? "screen" : "not all";
    for (const { rule, asked } of rules) rule.media.mediaText = chosen === null ? asked : forced;
    document.documentElement.style.colorScheme = chosen ?? "";
    button.setAttribute("aria-pressed", String(isDark()));
    dispatchEvent(new Event("colours"));
  };
  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    remember(chosen);
    show();
  });
  system.addEventListener("change", show);
  matchMedia("print").addEventListener("change", show);
  button.hidden = false;
  show();
}

// A browser may keep nothing for a file: then the choice lasts as long as the page.
function remembered() {
  try {
    const word = localStorage.getItem("normscape-theme");
    return word === "dark" || word === "light" ? word : null;
  } catch {
    return null;
  }
}

function remember(word) {
  try {
    localStorage.setItem("normscape-theme", word);
  } catch {
    // See above.
  }
}

/** Shows the claims whose verdict is ticked, and says how many. */
function claimFilter() {
  const filter = document.getElementById("filter");
  if (!filter) return;
  const rows = [...document.querySelectorAll("#claims tbody tr")];
  const boxes = [...filter.querySelectorAll("input")];
  const show = () => {
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const row of rows) row.hidden = !wanted.has(row.dataset.verdict);
    document.getElementById("count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  filter.addEventListener("change", show);
  filter.hidden = false;
  show();
  // A link to a claim that is filtered away shows it, and what is folded in it.
  const reveal = () => {
    const row = document.getElementById(anchorOf(location.hash));
    const folded = row?.matches("table.claims tr") && row.querySelector("details");
    if (folded) folded.open = true;
    if (!row?.matches("#claims tr[hidden]")) return;
    for (const box of boxes) box.checked ||= box.value === row.dataset.verdict;
    show();
    row.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
}

/** The anchor that an address ends with. What is no encoded text, such as `#100%`, is taken as it stands. */
function anchorOf(hash) {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return hash.slice(1);
  }
}

/** On a narrow page the contents are folded; on a wide one, and on paper, they never are. */
function foldedContents() {
  const contents = document.querySelector("nav details");
  const wide = matchMedia("(min-width: 64rem)");
  const fold = () => (contents.open = wide.matches);
  wide.addEventListener("change", fold);
  fold();
  addEventListener("beforeprint", () => (contents.open = true));
  addEventListener("afterprint", fold);
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a") && !wide.matches) contents.open = false;
  });
}

/** What is wider than the page scrolls within its window: the keyboard must reach that too. */
function reachableWindows() {
  const windows = new ResizeObserver((entries) => {
    for (const { target } of entries) reachable(target);
  });
  for (const scrolled of document.querySelectorAll(".scroll")) windows.observe(scrolled);
}

function reachable(scrolled) {
  if (scrolled.scrollWidth > scrolled.clientWidth + 1) {
    const name = scrolled.querySelector("caption, title")?.textContent || "Figure";
    filled(scrolled, { tabindex: 0, role: "group", "aria-label": `${name} (scrolls)` }, []);
  } else {
    for (const name of ["tabindex", "role", "aria-label"]) scrolled.removeAttribute(name);
  }
}

/** In the contents, the section that is being read. */
function currentSection() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) isIntersecting ? seen.add(target.id) : seen.delete(target.id);
      const current = [...links.keys()].find((id) => seen.has(id));
      for (const [id, link] of links) {
        id === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
      }
    },
    { rootMargin: "-10% 0px -70% 0px" },
  );
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) watch.observe(section);
  }
}
