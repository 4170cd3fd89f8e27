"""What a report must do in a browser, here with what the reader chooses. The report is that of sample.rs."""

import math
import re

from claims import ALL as CLAIMS
from drive import By, Keys, expect
from reading import ALL as READING
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import Select

STEPS = [0, 500, 1000, 5000, 15000]


def value(layer, seed, step, x):
    """The numbers of the first explorer, as in sample.rs."""
    return layer * (x + 1) ** 2 + 10 * seed + step / 1000


def near(a, b, tolerance=0.02):
    assert abs(a - b) <= tolerance * max(1e-9, abs(b)), f"{a} is not {b}"


def number(text):
    """A number as the page writes it: 1.5, −2, 10⁻³, 5×10⁶."""
    text = text.replace("−", "-")
    raised = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
    match = re.fullmatch(r"(?:(-?[\d.]+)×|(-)?)10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", text)
    if match:
        return float(match[1] or f"{match[2] or ''}1") * 10 ** int(match[3].translate(raised))
    return float(text)


def choose(browser, root, name, shown):
    labels = [label for label in browser.all(".field label", root) if label.text == name]
    select = Select(browser.one(f"#{labels[0].get_attribute('for')}", root))
    select.select_by_visible_text(str(shown))


def ticked(browser, root, words):
    return next(label for label in browser.all("label", root) if label.text == words)


# What the checks ask of a plot, in the page: `stage.plot` is uPlot's object, with the columns that it draws. The canvas is what is believed:
# a value counts as drawn where its place, by the plot's scales, has the colour of its style.
CANVAS = """
const [root, entry, kind, colour] = arguments, u = root.querySelector(".stage").plot, ratio = u.ctx.canvas.width / u.width;
const inked = (x, y, reach = 2) => {
  const side = 2 * reach + 1, { data } = u.ctx.getImageData(Math.round(x) - reach, Math.round(y) - reach, side, side);
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && Math.hypot(...colour.map((c, k) => c - data[i + k])) < 30) return true;
  return false;
};
const at = u.columns.findIndex(({ series }) => `${series.style} ${series.label}` === entry && series.kind === kind) + 1;
const values = at ? u.data[at] : [], places = values.map((y, i) => [u.valToPos(u.data[0][i], "x", true), u.valToPos(y, "y", true)]);
const along = ([x0, y0], [x1, y1], from = 0.25, to = 0.75) =>
  Array.from({ length: 41 }, (_, i) => from + ((to - from) * i) / 40).map((t) => inked(x0 + t * (x1 - x0), y0 + t * (y1 - y0), 1));
"""

# Colours of styles on a light page, as style.rs has them.
LIGHT = {0: [0, 114, 178], 1: [213, 94, 0], 9: [75, 63, 181], 11: [125, 125, 125]}


def canvas(browser, root, script, entry="", kind="line"):
    return browser.run(CANVAS + script, root, entry, kind, LIGHT[int(entry.split()[0])] if entry else None)


def drawn(browser, root, entry, kind="line"):
    """A series as values, each of which the canvas has at its place; and in how many pieces its line is."""
    points, joined, axes = canvas(
        browser, root,
        """
        const points = [], joined = [];
        values.forEach((y, i) => {
          if (typeof y !== "number") return;
          points.push([u.data[0][i], y, inked(...places[i])]);
          const before = values.slice(0, i).findLastIndex((value) => typeof value === "number");
          if (before >= 0) joined.push(along(places[before], places[i]).some(Boolean));
        });
        return [points, joined, u.axes.map((axis) => [u.scales[axis.scale].distr === 3, axis._splits, axis._values])];
        """,
        entry, kind,
    )
    assert all(ink for _, _, ink in points), [point for point in points if not point[2]]
    # Its axes say so: logarithmic as ticked, and each tick is labelled with its value.
    for axis, (log, ticks, labels) in zip("xy", axes):
        expect(log, ticked(browser, root, f"log {axis}").find_element(By.TAG_NAME, "input").is_selected())
        pairs = [(tick, label) for tick, label in zip(ticks, labels) if label]
        assert len(pairs) >= 2, labels
        for tick, label in pairs:
            assert abs(number(label) - tick) <= 1e-6 * abs(tick), (tick, label)
    return [(x, y) for x, y, _ in points], 1 + joined.count(False)


def rings(browser, root):
    """Colours of the rings that the cursor has set, and how far right they are."""
    shown = browser.all(".u-cursor-pt:not(.u-off)", root)
    place = "const b = arguments[0].getBoundingClientRect(); return [getComputedStyle(arguments[0]).borderColor, b.left + b.width / 2]"
    return [tuple(browser.run(place, ring)) for ring in shown]


def readout(browser, root):
    return browser.text(".readout", root)


def hostile_words_are_words(browser):
    expect(browser.run("return window.broken"), None)
    expect(browser.all("img, iframe, object, embed, main script:not([type])"), [])
    title = browser.text("#fig9 h2")
    assert title.startswith('Figure 9: </script></style><img src=x onerror="window.broken=1">'), title
    root = browser.explorer(1)
    assert "</script></style><img" in browser.all(".legend button", root)[2].text
    expect(len(browser.all(".explorer .stage canvas")), 4)


def choices_draw_their_data(browser):
    root = browser.explorer(0)
    expect([select.text for select in browser.all(".field label", root)], ["layer", "seed", "step"])
    for layer, seed, step in [(1, 1, 0), (11, 1, 0), (11, 2, 0), (3, 2, 5000)]:
        choose(browser, root, "layer", layer)
        choose(browser, root, "seed", seed)
        choose(browser, root, "step", step)
        points, _ = drawn(browser, root, "0 none")
        expect(len(points), 9)
        for i, (x, y) in enumerate(points):
            near(x, i, 0.02 if i else math.inf)
            near(y, value(layer, seed, step, i))
        # A value that is missing breaks the line.
        points, pieces = drawn(browser, root, "1 BatchNorm")
        expect((len(points), pieces), (8, 2))
    # The buttons beside a long choice move to its neighbours.
    browser.one("button[aria-label='next step']", root).click()
    assert "step 15000" in browser.text(".chosen", root), browser.text(".chosen", root)
    assert browser.one(".nothing", root).is_displayed(), "a choice without data says so"
    browser.one("button[aria-label='next step']", root).click()
    browser.one("button[aria-label='previous step']", root).click()
    assert "step 5000" in browser.text(".chosen", root)
    assert not browser.one(".nothing", root).is_displayed()
    # The same axes for all: what is drawn is the same data.
    ticked(browser, root, "same axes for every choice").click()
    for i, (_, y) in enumerate(drawn(browser, root, "0 none")[0]):
        near(y, value(3, 2, 5000, i), 0.03)
    choose(browser, root, "layer", 1)
    for i, (_, y) in enumerate(drawn(browser, root, "0 none")[0]):
        near(y, value(1, 2, 5000, i), 0.03)


def choices_without_data_give_way(browser):
    """The last step was measured of the first seed alone: with the other seed another step is shown, and said."""
    root = browser.explorer(0)
    choose(browser, root, "layer", 11)
    choose(browser, root, "step", 15000)
    choose(browser, root, "seed", 2)
    assert not browser.one(".nothing", root).is_displayed()
    assert browser.text(".chosen", root).startswith("layer 11 · seed 2 · step 0"), browser.text(".chosen", root)
    shown = [Select(select).first_selected_option.text for select in browser.all("select", root)]
    expect(shown, ["11", "2", "0"])
    near(drawn(browser, root, "0 none")[0][8][1], value(11, 2, 0, 8))


def what_is_shown_at_first_is_chosen_by_the_page(browser):
    root = browser.explorer(3)
    expect(browser.text(".chosen", root), "seed 2")
    expect(Select(browser.one("select", root)).first_selected_option.text, "2")
    near(drawn(browser, root, "0 none")[0][4][1], 6)
    choose(browser, root, "seed", 1)
    near(drawn(browser, root, "0 none")[0][4][1], 5)


def scales_are_switched(browser):
    root = browser.explorer(0)
    assert "y logarithmic" in browser.text(".chosen", root)
    before = drawn(browser, root, "0 none")[0]
    pixels = "return places"
    raw = canvas(browser, root, pixels, "0 none")
    ticked(browser, root, "log y").click()
    assert "logarithmic" not in browser.text(".chosen", root)
    assert canvas(browser, root, pixels, "0 none") != raw, "the line is where it was"
    after = drawn(browser, root, "0 none")[0]
    for i, ((_, a), (_, b)) in enumerate(zip(before, after, strict=True)):
        near(a, value(1, 1, 0, i))
        near(b, value(1, 1, 0, i))
    # What is not positive has no place on a logarithmic axis.
    ticked(browser, root, "log x").click()
    points = drawn(browser, root, "0 none")[0]
    expect(len(points), 8)
    for i, (x, y) in enumerate(points):
        near(x, i + 1)
        near(y, value(1, 1, 0, i + 1))


def the_legend_hides_series(browser):
    root = browser.explorer(0)
    first, second = browser.all(".legend button", root)
    expect([first.text, second.text], ["none", "BatchNorm"])
    # Of the line, and of the band: an area between two rims.
    paint = """
    const { width, height } = u.ctx.canvas, { data } = u.ctx.getImageData(0, 0, width, height), near = (c) => (i) => Math.hypot(...c.map((v, k) => v - data[i + k])) < 12;
    const count = (is) => { let n = 0; for (let i = 0; i < data.length; i += 4) n += data[i + 3] > 200 || data[i + 3] === 51 ? is(i) : 0; return n };
    return [count(near(colour)), u.series.length - 1]
    """
    seen = lambda entry: canvas(browser, root, paint, entry)
    (ink, columns), (other, _) = seen("0 none"), seen("1 BatchNorm")
    assert ink > 5000 and other > 300 and columns == 4, (ink, other, columns)
    first.click()
    expect(first.get_attribute("aria-pressed"), "false")
    expect(seen("0 none"), [0, 1])
    assert seen("1 BatchNorm")[0] > 300
    expect(browser.run("return document.activeElement === arguments[0]", first), True)
    # It stays hidden whatever is chosen, and comes back.
    choose(browser, root, "layer", 3)
    expect(seen("0 none"), [0, 1])
    browser.all(".legend button", root)[0].click()
    assert seen("0 none")[0] > 5000, seen("0 none")


def every_style_is_seen(browser):
    """Lines, marks, rings and swatches of the styles that few experiments have take their colours; dash and marker tell them apart without."""
    root = browser.explorer(1)
    colour = "return getComputedStyle(arguments[0])[arguments[1]]"
    expect(browser.run(colour, browser.one(".legend .swatch.s11 .line", root), "stroke"), "rgb(125, 125, 125)")
    for entry, kind in (("11 BatchNorm", "line"), (f"9 {browser.all('.legend button', root)[2].text}", "points")):
        count, ink = canvas(browser, root, "return [places.length, places.filter(([x, y]) => inked(x, y, 3)).length]", entry, kind)
        assert ink > 0.9 * canvas(browser, root, "return values.filter((y) => typeof y === 'number').length", entry, kind), (entry, count, ink)
    browser.one(".stage", root).send_keys(Keys.ARROW_RIGHT)
    assert "rgb(75, 63, 181)" in [colour for colour, _ in rings(browser, root)], rings(browser, root)
    # One line is unbroken and has round markers; another is dashed and has square ones.
    share = "const on = places.slice(1).flatMap((end, i) => along(places[i], end)); return on.filter(Boolean).length / on.length"
    corner = "const [x, y] = places[2]; return [inked(x, y, 0), inked(x + 2.05 * ratio, y - 2.05 * ratio, 0)]"
    # On a screen with fine pixels.
    browser.size(1280, 900, True)
    browser.settle()
    expect(canvas(browser, browser.explorer(3), share, "0 none"), 1)
    expect(canvas(browser, browser.explorer(3), corner, "0 none"), [True, False])
    root = browser.explorer(0)
    expect(canvas(browser, root, corner, "1 BatchNorm"), [True, True])
    browser.all(".legend button", root)[0].click()
    dashed = canvas(browser, root, share.replace("places.slice(1)", "places.slice(1, 4)"), "1 BatchNorm")
    assert 0.6 < dashed < 0.97, dashed


def any_address_opens_the_report(browser):
    """What follows the # may be no encoded text: the filter, the contents and the explorers work all the same."""
    for anchor in ("#100%", "#%E0%A4%A", "#nowhere"):
        browser.visit(browser.address + anchor)
        assert browser.one("#filter").is_displayed(), anchor
        expect(len(browser.all(".explorer .stage canvas")), 4)


def an_axis_is_called_by_what_is_chosen(browser):
    """Also on a phone, where a long name must not be cut off by the ends of the plot."""
    root = browser.explorer(1)
    name = lambda: browser.one(".stage > .name", root)
    expect(name().text, "training loss")
    long = browser.all("option", root)[1].get_attribute("textContent")
    choose(browser, root, "value", long)
    for width in (1280, 360):
        browser.size(width, 900, width < 600)
        browser.settle()
        expect(name().get_attribute("textContent"), long)
        cut = browser.run("const e = arguments[0]; return [e.scrollWidth > e.clientWidth, e.scrollHeight > e.clientHeight]", name())
        expect((width, cut), (width, [False, False]))


def values_are_shown_as_a_table(browser):
    root = browser.explorer(0)
    button = browser.one(".as-table", root)
    button.click()
    expect(button.get_attribute("aria-expanded"), "true")
    rows_of = "return [...arguments[0].querySelectorAll('.values tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    cells = lambda: browser.run(rows_of, root)
    rows = cells()
    expect(rows[0], ["distance, in learning rates", "none, lowest", "none, highest", "none", "BatchNorm"])
    expect(len(rows), 10)
    expect(rows[3], ["2", "9.5", "38", "19", "1.9"])
    expect(rows[5][4], "not a number")
    choose(browser, root, "seed", 2)
    expect(cells()[3][3], "29")
    browser.all(".legend button", root)[0].click()
    expect(cells()[0], ["distance, in learning rates", "BatchNorm"])
    expect(browser.text(".values caption", root), "Loss along the gradient, step by step: layer 1 · seed 2 · step 0 · y logarithmic")
    button.click()
    expect(browser.all(".values", root), [])
    # Ridges: a row for each bin of each step.
    root = browser.explorer(2)
    browser.one(".as-table", root).click()
    rows = cells()
    expect(rows[0], ["step", "value, from", "value, to", "none", "BatchNorm"])
    expect(len(rows), 1 + 8 * 40)


def arrows_move_along_the_values(browser):
    root = browser.explorer(0)
    stage = browser.one(".stage", root)
    expect(browser.one(".readout", root).get_attribute("aria-live"), "polite")
    assert "arrow keys" in readout(browser, root)
    press = lambda *keys: [stage.send_keys(key) for key in keys]
    press(Keys.ARROW_RIGHT)
    expect(readout(browser, root), "distance, in learning rates = 0; none: 5.5 to 22; none: 11; BatchNorm: 1.1")
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "rates = 2; none: 9.5 to 38; none: 19;" in readout(browser, root)
    expect(len(rings(browser, root)), 4)
    press(Keys.ARROW_LEFT)
    assert "rates = 1;" in readout(browser, root)
    press(Keys.END)
    assert "rates = 8; none: 45.5 to 182; none: 91;" in readout(browser, root), readout(browser, root)
    press(Keys.ARROW_RIGHT)
    assert "rates = 8;" in readout(browser, root)
    press(Keys.HOME)
    assert "rates = 0;" in readout(browser, root)
    # The cursor stays where other data are chosen, and goes with Escape.
    choose(browser, root, "layer", 3)
    assert "rates = 0; none: 6.5 to 26; none: 13;" in readout(browser, root)
    press(Keys.ESCAPE)
    assert "arrow keys" in readout(browser, root)
    expect(rings(browser, root), [])


def one_press_reads_every_series(browser):
    """Also where one was looked at less often than another: then the place before is read, and said."""
    root = browser.explorer(1)
    stage = browser.one(".stage", root)
    for press in range(6):
        stage.send_keys(Keys.ARROW_RIGHT)
        step, between = 25 * press, press % 2 == 1
        said = readout(browser, root)
        wanted = f" \\(at {step - 25}\\)" if between else ""
        assert re.match(rf"step = {step}; none: [\d.]+; BatchNorm: [\d.]+{wanted}(;|$)", said), said
        expect(len(rings(browser, root)), 3 if step == 0 else 2)
    across = dict(rings(browser, root))
    assert across["rgb(125, 125, 125)"] < across["rgb(0, 114, 178)"], "the ring lies at the value that is read"
    # Beyond its end a series has nothing to say.
    stage.send_keys(Keys.END)
    assert "none: " in readout(browser, root) and "BatchNorm" not in readout(browser, root), readout(browser, root)


def the_pointer_reads_values(browser):
    root = browser.explorer(1)
    box = browser.run("const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", browser.one(".stage .u-over", root))
    # Beside the middle, where there is a point.
    ActionChains(browser.driver).move_to_element_with_offset(browser.one(".stage .u-over", root), 30, 0).perform()
    said = readout(browser, root)
    match = re.match(r"step = (\d+); none: ([\d.e−]+); BatchNorm: ([\d.e−]+)( \(at \d+\))?$", said)
    assert match, said
    assert 5000 < int(match[1]) < 10000 and int(match[1]) % 25 == 0, said
    assert 0 < float(match[3].replace("−", "-")) < float(match[2].replace("−", "-")), said
    ActionChains(browser.driver).move_by_offset(-box[0] / 3, 0).perform()
    assert int(re.match(r"step = (\d+)", readout(browser, root))[1]) < int(match[1]), readout(browser, root)


def ridges_are_read_by_step_and_bin(browser):
    root = browser.explorer(2)
    # The curves rise to their densities, from the front to behind; at the first step the two lie on one another.
    peaks = """
    const [step, style, rgb] = [arguments[4], arguments[5], arguments[6]], series = u.ridges.find((one) => one.style === style);
    const edges = series.edges[step], density = series.density[step], bin = density.indexOf(Math.max(...density));
    colour.splice(0, 3, ...rgb);
    const x = (u.valToPos(edges[bin], "x", true) + u.valToPos(edges[bin + 1], "x", true)) / 2;
    return [u.ridges.length, series.at.length, inked(x, u.valToPos(series.at[step], "y", true) - (density[bin] / u.highest) * 0.26 * u.bbox.height)]
    """
    peak = lambda step, style: browser.run(CANVAS + peaks, root, "", "", [0, 0, 0], step, style, LIGHT[style])
    expect(peak(0, 1), [2, 8, True])
    for step in (2, 7):
        expect([peak(step, 0), peak(step, 1)], [[2, 8, True], [2, 8, True]])
    stage = browser.one(".stage", root)
    stage.send_keys(Keys.ARROW_RIGHT)
    parts = re.fullmatch(r"step = 0, value = (.+) to (.+); none: density (.+); BatchNorm: density (.+)", readout(browser, root))
    assert parts, readout(browser, root)
    low, high, density = (float(parts[i].replace("−", "-")) for i in (1, 2, 3))
    width, middle = 0.65, (low + high) / 2 + 0.5
    near(density, math.exp(-0.5 * (middle / width) ** 2) / (width * math.sqrt(2 * math.pi)), 1e-3)
    # Its ring stands on the curve, as high as the density that was read.
    ring = canvas(browser, root, """
      const series = u.ridges[1], x = (u.valToPos(%s, "x", true) + u.valToPos(%s, "x", true)) / 2, high = (%s / u.highest) * 0.26 * u.bbox.height;
      return inked(x + 4.5 * ratio, u.valToPos(0, "y", true) - high, 1)""" % (low, high, density), "1 BatchNorm")
    expect(ring, True)
    stage.send_keys(Keys.ARROW_UP)
    assert readout(browser, root).startswith("step = 2000, "), readout(browser, root)
    before = readout(browser, root)
    stage.send_keys(Keys.ARROW_RIGHT)
    assert readout(browser, root) != before
    picture = lambda: canvas(browser, root, "return u.ctx.canvas.toDataURL()")
    raw = picture()
    choose(browser, root, "layer", 11)
    assert picture() != raw
    ActionChains(browser.driver).move_to_element(browser.one(".u-over", root)).perform()
    assert re.match(r"step = \d+, value = ", readout(browser, root)), readout(browser, root)


ALL = [
    hostile_words_are_words,
    choices_draw_their_data,
    choices_without_data_give_way,
    what_is_shown_at_first_is_chosen_by_the_page,
    scales_are_switched,
    the_legend_hides_series,
    every_style_is_seen,
    any_address_opens_the_report,
    an_axis_is_called_by_what_is_chosen,
    values_are_shown_as_a_table,
    arrows_move_along_the_values,
    one_press_reads_every_series,
    the_pointer_reads_values,
    ridges_are_read_by_step_and_bin,
    *CLAIMS,
    *READING,
]
