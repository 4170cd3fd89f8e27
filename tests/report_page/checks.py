"""What a report must do in a browser. The report is that of sample.rs."""

import math
import re

from drive import By, Keys
from reading import ALL as READING
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import Select

STEPS = [0, 500, 1000, 5000, 15000]


def value(layer, seed, step, x):
    """The numbers of the first explorer, as in sample.rs."""
    return layer * (x + 1) ** 2 + 10 * seed + step / 1000


def near(a, b, tolerance=0.02):
    assert abs(a - b) <= tolerance * max(1e-9, abs(b)), f"{a} is not {b}"


def expect(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


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


def drawn(browser, root, entry, kind="line"):
    """A series as values, read off the drawing: its path's points by the ticks' places and labels."""
    places = browser.run(
        """
        const [root, entry, kind] = arguments, plot = root.querySelector(".stage > svg"), inner = plot.querySelector("svg");
        const [left, top] = [+inner.getAttribute("x") + 4, +inner.getAttribute("y") + 4];
        const group = [...inner.querySelectorAll("g[data-entry]")].find((g) => g.dataset.entry === entry && g.dataset.kind === kind);
        const path = group?.querySelector(kind === "points" ? ".mark" : ".line")?.getAttribute("d") ?? "";
        const points = [...path.matchAll(/[ML](-?[\\d.]+) (-?[\\d.]+)/g)].map((m) => [+m[1] + left, +m[2] + top]);
        const texts = [...plot.querySelectorAll(".frame text:not(.name)")];
        const ticks = (anchor, place) => texts.filter((t) => t.getAttribute("text-anchor") === anchor).map((t) => [place(t), t.textContent]);
        return { points, pieces: path.split("M").length - 1,
          x: ticks("middle", (t) => +t.getAttribute("x")), y: ticks("end", (t) => t.getAttribute("y") - 4) };
        """,
        root, entry, kind,
    )
    log = {axis: ticked(browser, root, f"log {axis}").find_element(By.TAG_NAME, "input").is_selected() for axis in "xy"}

    def along(axis, pixel):
        onto, back = (math.log10, lambda v: 10**v) if log[axis] else (float, float)
        (p0, v0), *_, (p1, v1) = [(place, onto(number(label))) for place, label in places[axis]]
        return back(v0 + (pixel - p0) / (p1 - p0) * (v1 - v0))

    return [(along("x", x), along("y", y)) for x, y in places["points"]], places["pieces"]


def readout(browser, root):
    return browser.text(".readout", root)


def hostile_words_are_words(browser):
    expect(browser.run("return window.broken"), None)
    expect(browser.all("img, iframe, object, embed, main script:not([type])"), [])
    title = browser.text("#fig9 h2")
    assert title.startswith('Figure 9: </script></style><img src=x onerror="window.broken=1">'), title
    root = browser.explorer(1)
    assert "</script></style><img" in browser.all(".legend button", root)[2].text
    expect(len(browser.all(".explorer .stage > svg")), 4)


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
    assert not browser.all(".nothing", root)
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
    assert not browser.all(".nothing", root)
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
    raw = browser.one("g[data-kind=line] .line", root).get_attribute("d")
    ticked(browser, root, "log y").click()
    assert "logarithmic" not in browser.text(".chosen", root)
    assert browser.one("g[data-kind=line] .line", root).get_attribute("d") != raw, "the line is where it was"
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
    expect(len(browser.all("g[data-entry='0 none']", root)), 2)
    first.click()
    expect(first.get_attribute("aria-pressed"), "false")
    expect(browser.all("g[data-entry='0 none']", root), [])
    expect(browser.run("return document.activeElement === arguments[0]", first), True)
    # It stays hidden whatever is chosen, and comes back.
    choose(browser, root, "layer", 3)
    expect(browser.all("g[data-entry='0 none']", root), [])
    browser.all(".legend button", root)[0].click()
    expect(len(browser.all("g[data-entry='0 none']", root)), 2)


def every_style_is_seen(browser):
    """Lines, marks, rings and swatches of the styles that few experiments have take their colours."""
    root = browser.explorer(1)
    colour = "return getComputedStyle(arguments[0])[arguments[1]]"
    of = lambda selector, paint: browser.run(colour, browser.one(selector, root), paint)
    expect(of("g[data-entry='11 BatchNorm'] .line", "stroke"), "rgb(125, 125, 125)")
    expect(of(".legend .swatch.s11 .line", "stroke"), "rgb(125, 125, 125)")
    expect(of("g.s9[data-kind=points] .mark", "fill"), "rgb(75, 63, 181)")
    browser.one(".stage", root).send_keys(Keys.ARROW_RIGHT)
    expect(of(".cursor .ring.s9", "stroke"), "rgb(75, 63, 181)")


def any_address_opens_the_report(browser):
    """What follows the # may be no encoded text: the filter, the contents and the explorers work all the same."""
    for anchor in ("#100%", "#%E0%A4%A", "#nowhere"):
        browser.visit(browser.address + anchor)
        assert browser.one("#filter").is_displayed(), anchor
        expect(len(browser.all(".explorer .stage > svg")), 4)


def an_axis_is_called_by_what_is_chosen(browser):
    """Also on a phone, where a long name must not be cut off by the ends of the plot."""
    root = browser.explorer(1)
    name = lambda: browser.all(".stage > svg > .frame > .name", root)[1]
    expect(name().text, "training loss")
    long = browser.all("option", root)[1].get_attribute("textContent")
    choose(browser, root, "value", long)
    for width in (1280, 360):
        browser.size(width, 900, width < 600)
        browser.settle()
        expect(name().get_attribute("textContent"), long)
        top, bottom, high, low = browser.run(
            "const [a, b] = [...arguments].map((e) => e.getBoundingClientRect()); return [a.top, a.bottom, b.top, b.bottom]",
            name(), browser.one(".stage > svg", root),
        )
        assert high <= top and bottom <= low, (width, top, bottom, high, low)


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
    expect(rows[3], ["2", "9.5", "38", "19", "1.9000000000000001"])
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
    expect(len(browser.all(".cursor .ring", root)), 4)
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
    expect(browser.all(".cursor .ring", root), [])


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
        expect(len(browser.all(".cursor .ring", root)), 3 if step == 0 else 2)
    across = lambda style: float(browser.one(f".cursor .ring.s{style}", root).get_attribute("cx"))
    assert across(11) < across(0), "the ring lies at the value that is read"
    # Beyond its end a series has nothing to say.
    stage.send_keys(Keys.END)
    assert "none: " in readout(browser, root) and "BatchNorm" not in readout(browser, root), readout(browser, root)


def the_pointer_reads_values(browser):
    root = browser.explorer(1)
    box = browser.run("const b = arguments[0].getBoundingClientRect(); return [b.width, b.height]", browser.one(".stage > svg > svg", root))
    ActionChains(browser.driver).move_to_element(browser.one(".stage", root)).perform()
    said = readout(browser, root)
    match = re.match(r"step = (\d+); none: ([\d.e−]+); BatchNorm: ([\d.e−]+)( \(at \d+\))?$", said)
    assert match, said
    assert 5000 < int(match[1]) < 10000 and int(match[1]) % 25 == 0, said
    assert 0 < float(match[3].replace("−", "-")) < float(match[2].replace("−", "-")), said
    ActionChains(browser.driver).move_by_offset(-box[0] / 3, 0).perform()
    assert int(re.match(r"step = (\d+)", readout(browser, root))[1]) < int(match[1]), readout(browser, root)


def ridges_are_read_by_step_and_bin(browser):
    root = browser.explorer(2)
    expect(len(browser.all("g[data-kind=ridge] .line", root)), 16)
    stage = browser.one(".stage", root)
    stage.send_keys(Keys.ARROW_RIGHT)
    parts = re.fullmatch(r"step = 0, value = (.+) to (.+); none: density (.+); BatchNorm: density (.+)", readout(browser, root))
    assert parts, readout(browser, root)
    low, high, density = (float(parts[i].replace("−", "-")) for i in (1, 2, 3))
    width, middle = 0.65, (low + high) / 2 + 0.5
    near(density, math.exp(-0.5 * (middle / width) ** 2) / (width * math.sqrt(2 * math.pi)), 1e-9)
    stage.send_keys(Keys.ARROW_UP)
    assert readout(browser, root).startswith("step = 2000, "), readout(browser, root)
    before = readout(browser, root)
    stage.send_keys(Keys.ARROW_RIGHT)
    assert readout(browser, root) != before
    raw = browser.one("g[data-kind=ridge] .line", root).get_attribute("d")
    choose(browser, root, "layer", 11)
    assert browser.one("g[data-kind=ridge] .line", root).get_attribute("d") != raw
    ActionChains(browser.driver).move_to_element(stage).perform()
    assert re.match(r"step = \d+, value = ", readout(browser, root)), readout(browser, root)


def claims_are_filtered(browser):
    shown = lambda: [row.get_attribute("data-verdict") for row in browser.all("table.claims tbody tr") if row.is_displayed()]
    everything = shown()
    counts = {"reproduced": 5, "in-part": 1, "corrected": 1, "not-borne-out": 2, "larger-scale": 1, "untested": 2}
    expect({word: everything.count(word) for word in counts}, counts)
    expect([count.text for count in browser.all(".counts .number")], [str(count) for count in counts.values()])
    # A verdict's words stay within their cell.
    within = "const inner = cell.firstElementChild.getBoundingClientRect(), outer = cell.getBoundingClientRect(); return inner.right <= outer.right"
    assert browser.run(f"return [...document.querySelectorAll('td.verdict')].every((cell) => {{ {within} }})")
    boxes = {box.get_attribute("value"): box for box in browser.all("#filter input")}
    boxes["reproduced"].click()
    expect(shown(), [word for word in everything if word != "reproduced"])
    expect(browser.text("#count"), "7 of 12 claims")
    for word in ("untested", "in-part", "corrected", "larger-scale"):
        boxes[word].click()
    expect(shown(), ["not-borne-out"] * 2)
    # A link to a claim that is filtered away shows it.
    link = browser.one("#fig4 .claim-list .rule a")
    browser.run("arguments[0].click()", link)
    browser.settle()
    assert browser.one("[id='claim-fig4.range']").is_displayed()
    assert browser.one("[id='claim-fig4.range'] .judged").get_attribute("open"), "the rule is folded that the link leads to"
    for word in ("untested", "in-part", "corrected", "larger-scale"):
        boxes[word].click()
    expect(shown(), everything)


def the_first_screen_answers_the_question(browser):
    """Question, five sentences and a card for each headline: without scrolling on a desktop, and in reading order."""
    browser.size(1280, 800)
    browser.settle()
    assert browser.text(".question").endswith("smoother?")
    expect(len(browser.all(".sentences li")), 5)
    cards = browser.all(".card")
    expect(len(cards), 8)
    bottom = browser.run("return Math.max(...[...document.querySelectorAll('.sentences, .cards')].map((e) => e.getBoundingClientRect().bottom))")
    assert bottom <= 800, f"the first screen ends at {bottom}"
    expect(len(browser.all(".card svg[role=img]")), 7)
    # The curves are drawn as large as they were meant: their letters can be read.
    scales = browser.run("return [...document.querySelectorAll('.card svg[role=img]')].map((e) => e.getBoundingClientRect().width / e.getAttribute('width'))")
    assert min(scales) > 0.8, scales
    for at, card in enumerate(cards):
        link = browser.one("a", card)
        target = link.get_attribute("href").split("#")[1]
        entry = browser.one(f"[id='{target}']")
        badge = lambda root: browser.text(".badge", root)
        expect(badge(card), badge(entry))
        expect(browser.text(".place", card), browser.text(".place", entry))
        section = ["fig4", "fig9"][at // 4]
        expect(browser.run("return arguments[0].closest('section').id", entry), section)
        assert "91 %" in link.text and browser.one("b", link).text == "91 %"
    # The whole card is the link.
    ActionChains(browser.driver).move_to_element_with_offset(cards[1], 0, -20).click().perform()
    expect(browser.run("return location.hash"), "#at-fig4.gradient")
    for width in (390, 360):
        browser.size(width, 800, True)
        browser.settle()
        wide = browser.run("return [...document.querySelectorAll('.opening *')].filter((e) => !e.closest('svg') && e.getBoundingClientRect().right > innerWidth).map((e) => e.className)")
        assert not wide, (width, wide)
        scales = browser.run("return [...document.querySelectorAll('.card svg[role=img]')].map((e) => e.getBoundingClientRect().width / e.getAttribute('width'))")
        assert min(scales) >= 1, scales


def claims_are_read_at_a_glance(browser):
    """The sentence first, the verdict beside it, and no cell narrower than its words."""
    for width in (1280, 820, 390):
        browser.size(width, 800, width < 600)
        browser.settle()
        rows = browser.run(
            """const box = (e) => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] };
            return [...document.querySelectorAll("#claims tbody tr")].map((row) => ({
              cells: [...row.cells].map(box), badge: box(row.querySelector(".badge")), sentence: box(row.querySelector("th p")),
              cut: [...row.querySelectorAll("*")].filter((e) => !e.closest("svg, .unseen") && e.getBoundingClientRect().right > row.getBoundingClientRect().right + 1).length }))"""
        )
        expect(len(rows), 12)
        for row in rows:
            (sentence, badge), cells = (row["sentence"], row["badge"]), row["cells"]
            expect(row["cut"], 0)
            if width > 832:
                assert sentence[2] <= badge[0] and badge[1] - sentence[1] < 40, row
                assert all(a[2] <= b[0] + 1 for a, b in zip(cells, cells[1:])), cells
                assert sentence[2] - sentence[0] > 200, "a sentence has room"
            else:
                assert sentence[3] <= badge[1] and sentence[2] - sentence[0] > 0.8 * width - 40, row


ALL = [
    the_first_screen_answers_the_question,
    claims_are_read_at_a_glance,
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
    claims_are_filtered,
    *READING,
]
