"""The second half of the checks: what everyone needs for reading, whatever they read with."""

import base64

from drive import Keys
from selenium.webdriver.common.action_chains import ActionChains

# What the keyboard must reach, in the order of the document.
CONTROLS = "a[href], button, select, input, summary, [tabindex='0']"

# Text nodes that do not stand out from what lies behind them, by WCAG 2.
PALE = """
const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return { rgb: m.slice(0, 3), alpha: m[3] ?? 1 } };
const luminance = (rgb) => { const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b };
const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.alpha === 1) return c.rgb } return [255, 255, 255] };
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), pale = [];
while (walker.nextNode()) {
  const text = walker.currentNode, e = text.parentElement;
  if (!text.textContent.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest("script, style, .unseen, figure svg, title, desc, option")) continue;
  const style = getComputedStyle(e), ink = parse(e.closest("svg") ? style.fill : style.color).rgb;
  const [a, b] = [luminance(ink), luminance(behind(e))].sort((x, y) => y - x), contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) pale.push(`${contrast.toFixed(2)}: ${text.textContent.trim().slice(0, 40)}`);
}
return pale;
"""

# The colour that the first explorer's canvas has where the second value of the style 1 lies.
PAINTED = """
const plot = document.querySelector(".explorer .stage").plot, at = plot.columns.findIndex(({ series }) => series.style === 1) + 1;
const [x, y] = [plot.valToPos(plot.data[0][2], "x", true), plot.valToPos(plot.data[at][2], "y", true)].map(Math.round);
const painted = () => `rgb(${[...plot.ctx.getImageData(x, y, 1, 1).data.slice(0, 3)].join(", ")})`;
"""


def the_theme_is_toggled_everywhere(browser):
    colours = lambda: browser.run(
        PAINTED + """const fill = (s) => getComputedStyle(document.querySelector(s)).fill, body = getComputedStyle(document.body);
        return [body.backgroundColor, fill("figure .nsc-paper-f"), fill("figure .nsc-text-f"),
          getComputedStyle(document.querySelector(".explorer .s1 .line")).stroke, painted(), document.documentElement.style.colorScheme]"""
    )
    button = browser.one("#theme")
    pressed = lambda: button.get_attribute("aria-pressed")
    light = ["rgb(255, 255, 255)", "rgb(255, 255, 255)", "rgb(26, 26, 26)", *["rgb(213, 94, 0)"] * 2]
    dark = ["rgb(21, 24, 28)", "rgb(21, 24, 28)", "rgb(237, 237, 237)", *["rgb(242, 131, 74)"] * 2]
    for system, own, other in [("light", light, dark), ("dark", dark, light)]:
        browser.run("localStorage.clear()")
        browser.scheme(system)
        browser.driver.refresh()
        button = browser.one("#theme")
        assert colours() == own + [""], colours()
        assert pressed() == str(system == "dark").lower()
        button.click()
        assert colours()[:5] == other, colours()
        assert pressed() == str(system == "light").lower()
        # It is remembered.
        browser.driver.refresh()
        button = browser.one("#theme")
        assert colours()[:5] == other, colours()
        button.click()
        assert colours()[:5] == own, colours()


def every_control_is_reached_by_tab(browser):
    for width in (1280, 360):
        browser.size(width, 900)
        browser.settle()
        wanted = browser.run(
            """const controls = [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility() && e.tabIndex >= 0);
            window.visited = [];
            window.outlineless = [];
            document.activeElement.blur();
            addEventListener("focusin", ({ target }) => {
              visited.push(controls.indexOf(target));
              if (getComputedStyle(target).outlineStyle === "none") outlineless.push(target.outerHTML.slice(0, 90));
            });
            controls[0].focus();
            return controls.length""",
            CONTROLS,
        )
        assert wanted > 60, wanted
        ActionChains(browser.driver).send_keys(Keys.TAB * (wanted - 1)).perform()
        visited, outlineless = browser.run("return [visited, outlineless]")
        assert visited == list(range(wanted)), visited
        assert not outlineless, outlineless[:3]
        browser.driver.refresh()
    # The skip link leads past the contents.
    browser.run("document.querySelector('.skip').focus()")
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    assert browser.run("return document.activeElement.id") == "main"


def nothing_is_wider_than_the_page(browser):
    for mobile in (False, True):
        for width in (360, 768, 1280):
            browser.size(width, 800, mobile)
            browser.settle()
            for state in ("closed", "tables shown"):
                if state != "closed":
                    for button in browser.all(".as-table[aria-expanded=false]"):
                        browser.run("arguments[0].click()", button)
                    browser.settle()
                wide = browser.run(
                    """const root = document.documentElement, width = arguments[0];
                    const out = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, svg, .unseen, .skip, thead, script"))
                      .filter((e) => e.getBoundingClientRect().right > width + 1).map((e) => e.outerHTML.slice(0, 80));
                    return [root.scrollWidth, innerWidth, out.slice(0, 5)]""",
                    width,
                )
                assert wide[0] <= width and wide[1] == width and not wide[2], (width, mobile, state, wide)
            # What is drawn by the script fits too.
            plots = browser.run("return [...document.querySelectorAll('.stage')].map((s) => [s.clientWidth, s.plot.width])")
            assert all(stage == plot for stage, plot in plots), plots


def a_wide_table_keeps_names_in_sight(browser):
    """On a phone a row's name and what the table is of stay where they are when the table is scrolled."""
    browser.size(360, 900, True)
    browser.settle()
    seen = browser.run(
        """const window_ = document.querySelector("#cost .scroll"), ends = (e) => { const b = e.getBoundingClientRect(); return [b.left, b.right] };
        const of = () => [ends(window_), ...["caption", "thead th", "tbody th"].map((s) => ends(window_.querySelector(s)))];
        const before = of(); window_.scrollLeft = 150; return [window_.scrollLeft, before, of()]"""
    )
    scrolled, before, after = seen
    assert scrolled == 150, "the table is as wide as before, or narrower than the page"
    for (left, right), *places in (before, after):
        assert all(abs(place[0] - left) < 1.5 and place[1] <= right + 1 for place in places), (left, right, places)


def everything_has_a_name(browser):
    browser.run("for (const button of document.querySelectorAll('.as-table')) button.click()")
    browser.size(360, 800)
    browser.settle()
    tree = browser.tree()
    roles = {}
    for role, name, _ in tree:
        roles.setdefault(role, []).append(name)
    named = "button link combobox checkbox image img table application heading group Figure status".split()
    for role in ("button", "link", "combobox", "checkbox", "table", "application", "heading", "navigation", "DisclosureTriangle"):
        names = roles.get(role, [])
        assert names and all(names), (role, names)
    images = [name for role in ("image", "img", "graphics-document") for name in roles.get(role, [])]
    assert len(images) == 10 and all(images), images
    assert any(name.startswith("Figure 4: the loss along the gradient") for name in images), images
    assert len(roles["application"]) == 4 and "Loss along the gradient, step by step: layer 1" in roles["application"][0]
    for name in ("layer", "seed", "step"):
        assert name in roles["combobox"], roles["combobox"]
    for landmark in ("banner", "main", "navigation"):
        assert len(roles.get(landmark, [])) == 1, (landmark, roles.get(landmark))
    levels = [properties.get("level") for role, _, properties in tree if role == "heading"]
    assert levels.count(1) == 1 and levels[0] == 1, levels
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), levels
    # A card of a narrow page is still a row of a table.
    assert len(roles["row"]) >= 13 and len(roles["rowheader"]) >= 12, len(roles["row"])
    assert browser.run("return document.documentElement.lang") == "en"


def text_stands_out_from_the_page(browser):
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.run("for (const button of document.querySelectorAll('.as-table[aria-expanded=false]')) button.click()")
        browser.run("document.querySelector('.legend button').click()")
        pale = browser.run(PALE)
        assert not pale, (scheme, pale)


def it_prints(browser):
    browser.all("#filter input")[0].click()
    # A page that is dark is light on paper, its plots too.
    browser.one("#theme").click()
    assert browser.run(PAINTED + "return painted()") == "rgb(242, 131, 74)"
    printed = browser.command("Page.printToPDF", printBackground=True, preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69)
    data = base64.b64decode(printed["data"])
    (browser.folder / "report.pdf").write_bytes(data)
    assert data.startswith(b"%PDF-"), data[:20]
    pages = data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type/Page\n")
    assert 3 <= pages <= 16, pages
    browser.command("Emulation.setEmulatedMedia", media="print")
    seen = browser.run(
        """const shown = (s) => [...document.querySelectorAll(s)].filter((e) => e.checkVisibility()).length;
        return [shown("select, input, .as-table, #theme, .skip"), shown("table.claims tbody tr"), shown(".stage canvas"), shown("figure svg[role=img]"), shown("nav a"), shown(".card svg[role=img]")]"""
    )
    assert seen == [0, 12, 4, 3, 6, 7], seen
    browser.settle()
    assert browser.run(PAINTED + "return painted()") == "rgb(213, 94, 0)"


def it_reads_without_a_script(browser):
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.visit(browser.address)
    tree = browser.tree()
    words = " ".join(name for role, name, _ in tree if role in ("StaticText", "paragraph"))
    roles = [role for role, _, _ in tree]
    assert words.count("This panel is drawn by a script") == 4, words.count("This panel is drawn by a script")
    assert not {"button", "checkbox", "combobox", "application"} & set(roles), "a control that does nothing"
    assert sum(role in ("image", "img", "graphics-document") for role in roles) == 10
    assert roles.count("row") >= 13
    browser.command("Emulation.setScriptExecutionDisabled", value=False)


def pictures_are_taken(browser):
    for scheme in ("light", "dark"):
        for name, width, mobile in (("desktop", 1280, False), ("phone", 360, True)):
            browser.size(width, 800, mobile)
            browser.scheme(scheme)
            browser.settle()
            root = browser.explorer(0)
            browser.one(".stage", root).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
            browser.run("scrollTo(0, 0); document.activeElement.blur()")
            browser.settle()
            picture = browser.command("Page.captureScreenshot", captureBeyondViewport=True, format="png")
            data = base64.b64decode(picture["data"])
            (browser.folder / f"{name}-{scheme}.png").write_bytes(data)
            assert len(data) > 20_000, len(data)


def nothing_is_logged_or_fetched(browser):
    browser.collect()
    # That the checks read canvases back is no matter of the report.
    logged = [entry for entry in browser.logged if entry["level"] not in ("DEBUG", "INFO") and "willReadFrequently" not in entry["message"]]
    assert not logged, logged[:5]
    report = [url for url in browser.requests if url.split("#")[0] == browser.address]
    others = {url for url in browser.requests if url.split("#")[0] != browser.address and url not in ("about:blank", "data:,")}
    assert report and not others, sorted(others)[:5]


ALL = [
    the_theme_is_toggled_everywhere,
    every_control_is_reached_by_tab,
    nothing_is_wider_than_the_page,
    a_wide_table_keeps_names_in_sight,
    everything_has_a_name,
    text_stands_out_from_the_page,
    it_prints,
    it_reads_without_a_script,
    pictures_are_taken,
    nothing_is_logged_or_fetched,
]
