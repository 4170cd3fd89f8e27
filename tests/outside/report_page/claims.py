"""The checks of what a reader sees of the claims: the first screen, and the tables."""

from drive import expect
from selenium.webdriver.common.action_chains import ActionChains


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
    claims_are_filtered,
]
