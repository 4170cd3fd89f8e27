//! Unit tests of the document's text. `tests/outside/report_page` opens it in a browser.

use super::super::page::Verdict;
use super::super::plot::{Axis, Ridge, Series};
use super::super::{
    Cell, ClaimKind, ClaimRow, Explorer, Faceted, Figure, Finding, Headline, Kind, Line, Panel, Picture, Section, Table,
};
use super::*;
use crate::files::hash::sha256;
use std::collections::BTreeSet;

const EVIL: &str = "</script></style><!-- cost --><script>alert(\"1\")</script> & ' <!-- /cost --> ]]>";

fn claim(id: &str, figure: &str, verdict: Verdict) -> ClaimRow {
    ClaimRow {
        id: id.into(),
        kind: ClaimKind::Paper,
        figure: figure.into(),
        place: "Fig 4 (a)".into(),
        statement: format!("statement of {id}"),
        measured: vec![finding("loss", "no norm", "3.5")],
        rule: "ratio above 2".into(),
        verdict,
        remark: "a remark".into(),
        runs: vec!["vgg none/1".into()],
    }
}

fn finding(of: &str, who: &str, value: &str) -> Finding {
    let line = Line { met: Some(true), values: vec![(who.into(), value.into())], note: "in 2 of 2 draws".into() };
    Finding { of: of.into(), lines: vec![line] }
}

fn page() -> Page {
    let mut table = Table::new(["norm", "loss"]);
    table.row(["none".into(), Cell::number("1.5")]).row(["".into(), "".into()]);
    let captioned = |caption: &str| Captioned { caption: caption.into(), table: table.clone() };
    let ridge = Ridge { at: 1.0, edges: vec![0.0, 1.0], density: vec![1.0] };
    let series = [
        Series::line("a", 0, vec![(0.0, f64::NAN), (1.0, f64::INFINITY)]),
        Series { label: "b".into(), style: 1, kind: Kind::Ridge(vec![ridge]) },
    ];
    let explorer = Explorer {
        title: "explorer".into(),
        note: "what was left out".into(),
        first: Vec::new(),
        x: Axis::linear("step"),
        y: Axis::log("loss"),
        series: series.map(|series| Faceted { facets: vec![("seed".into(), "1".into())], series }).into(),
    };
    let svg = Figure { title: "figure".into(), panels: vec![Panel::default()], ..Figure::default() }.svg();
    let section = |id: &str| Section {
        id: id.into(),
        title: format!("section {id}"),
        beyond: id == "fig9",
        paper: vec!["the paper's words".into()],
        deviations: vec!["fewer steps".into()],
        pictures: vec![Picture { svg: svg.clone(), files: vec!["figures/a b.svg".into(), "//evil/x".into()] }; 2],
        explorers: vec![explorer.clone()],
        tables: vec![captioned("a table")],
    };
    Page {
        title: "Report".into(),
        question: "why?".into(),
        answer: vec!["because of one".into(), "and of another".into()],
        setting: "scale small".into(),
        headlines: ["fig4.a", "other", "nowhere"]
            .map(|claim| headline(claim, Panel::default().small_svg("small")))
            .into(),
        summary: vec!["first".into(), "second".into()],
        claims: vec![
            claim("fig4.a", "fig4", Verdict::Reproduced),
            claim("fig4.a", "fig4", Verdict::NotBorneOut),
            claim("fig9.a", "fig9", Verdict::NotTested),
            claim("other", "nowhere", Verdict::Reproduced),
        ],
        // The last two would clash with the page's own anchors and with one another.
        sections: ["fig4", "fig9", "cost", "cost"].map(section).into(),
        settings: vec![captioned("settings")],
        cost: vec![captioned("cost")],
    }
}

fn headline(claim: &str, svg: String) -> Headline {
    let (title, words) = ("what it shows".into(), "lower at {} of the steps".into());
    Headline { claim: claim.into(), title, svg, number: "91 %".into(), words }
}

/// The page with all its texts replaced by words that would break it.
fn hostile(mut page: Page) -> Page {
    let evil = || EVIL.to_owned();
    (page.title, page.question, page.setting) = (evil(), evil(), evil());
    (page.answer, page.summary) = (vec![evil()], vec![evil()]);
    for headline in &mut page.headlines {
        (headline.claim, headline.title, headline.number, headline.words) =
            (evil(), evil(), evil(), format!("{EVIL}{{}}"));
        headline.svg = Panel { title: evil(), ..Panel::default() }.small_svg(EVIL);
    }
    let mut table = Table::new([EVIL]);
    table.row([EVIL.into()]).row([Cell::number(EVIL)]);
    for claim in &mut page.claims {
        claim.figure = evil();
        (claim.id, claim.place, claim.statement, claim.rule, claim.remark) = (evil(), evil(), evil(), evil(), evil());
        claim.measured = vec![finding(EVIL, EVIL, EVIL)];
        claim.measured[0].lines[0].note = evil();
        claim.runs = vec![evil()];
    }
    for section in &mut page.sections {
        (section.id, section.title) = (evil(), evil());
        (section.paper, section.deviations) = (vec![evil()], vec![evil()]);
        section.pictures =
            vec![Picture { svg: Figure { title: evil(), ..Figure::default() }.svg(), files: vec![evil()] }];
        for explorer in &mut section.explorers {
            (explorer.title, explorer.note) = (evil(), evil());
            (explorer.x.label, explorer.y.label) = (evil(), evil());
            for faceted in &mut explorer.series {
                faceted.facets = vec![(evil(), evil())];
                faceted.series.label = evil();
            }
        }
        section.tables = vec![Captioned { caption: evil(), table: table.clone() }];
    }
    page.settings = vec![Captioned { caption: evil(), table: table.clone() }];
    page.cost = page.settings.clone();
    page
}

fn ids(html: &str) -> Vec<&str> {
    html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_same_page_gives_the_same_bytes() {
    assert_eq!(page().html(), page().html());
    assert_eq!(hostile(page()).html(), hostile(page()).html());
}

#[test]
fn every_section_and_claim_is_there() {
    let (page, html) = (page(), page().html());
    for claim in &page.claims {
        // In the table, and in the section that it belongs to.
        let copies = 1 + page.sections.iter().filter(|s| s.id == claim.figure).count();
        let both = page.claims.iter().filter(|c| c.statement == claim.statement).count();
        assert_eq!(html.matches(&format!("<p>{}</p>", claim.statement)).count(), copies * both, "{}", claim.id);
    }
    for section in &page.sections {
        assert!(html.contains(&format!("<h2>{}</h2>", section.title)));
    }
    for part in [
        "<html lang=\"en\">",
        "<p>second</p>",
        "<li>fewer steps</li>",
        "<p class=\"note\">what was left out</p>",
        "<caption>settings</caption>",
        "<th scope=\"row\" class=\"short\">none</th><td class=\"n\">1.5</td>",
        "href=\"figures/a%20b.svg\">a b.svg<",
        "href=\"./evil/x\">",
        "href=\"runs/vgg%20none/1/\">vgg none/1<",
        "<span class=\"number\">2</span>",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

/// Claims at other settings are shown in a section of their own and counted nowhere; so are the claims that this project adds.
#[test]
fn what_is_not_the_papers_stands_apart_and_is_not_counted() {
    let before = page();
    let mut after = before.clone();
    after.claims.push(ClaimRow { kind: ClaimKind::Sensitivity, ..claim("fig4.other", "fig4", Verdict::NotBorneOut) });
    after.claims.push(ClaimRow { kind: ClaimKind::Project, ..claim("own.other", "elsewhere", Verdict::NotBorneOut) });
    let (before, after) = (before.html(), after.html());
    let part = |html: &str, from: &str, to: &str| {
        let at = html.find(from).unwrap();
        html[at..at + html[at..].find(to).unwrap()].to_owned()
    };
    for (from, to) in [("<ul class=\"counts\"", "</ul>"), ("<section id=\"claims\"", "</section>")] {
        assert_eq!(part(&after, from, to), part(&before, from, to));
    }
    let tallies = |html: &str| part(html, "<nav", "</nav>").matches("class=\"tally\"").count();
    assert_eq!(tallies(&after), tallies(&before));
    for (section, statement) in [("sensitivity", "fig4.other"), ("project", "own.other")] {
        let own = part(&after, &format!("<section id=\"{section}\""), "</section>");
        assert!(own.contains(&format!("statement of {statement}")) && !before.contains(&format!("id=\"{section}\"")));
        assert!(part(&after, "<nav", "</nav>").contains(&format!("href=\"#{section}\"")));
    }
    // Sections that go beyond the paper stand behind those that do not.
    assert!(before.find("<h2>section cost").unwrap() < before.find("<h2>section fig9").unwrap());
}

/// The first screen has the question, the answer, and a card for each headline whose claim exists.
#[test]
fn a_card_leads_to_its_claim_in_its_section() {
    let html = page().html();
    let opening = &html[html.find("<div class=\"opening").unwrap()..html.find("<nav").unwrap()];
    for part in [
        "<p class=\"question\">why?</p>",
        "<li>because of one</li><li>and of another</li>",
        "scale small",
        "<b>91 %</b> of the steps",
    ] {
        assert!(opening.contains(part), "{part}");
    }
    assert_eq!(
        opening.matches("<li class=\"card reproduced\">").count(),
        2,
        "a headline without its claim is left out"
    );
    assert_eq!(opening.matches("<title>small</title>").count(), 2);
    // A claim of no section is found in the table.
    for link in ["at-fig4.a", "claim-other"] {
        assert!(opening.contains(&format!("href=\"#{link}\"")) && html.contains(&format!(" id=\"{link}\"")), "{link}");
    }
    let mut without = page();
    without.headlines = vec![headline("fig4.a", String::new())];
    assert!(without.html().contains("<p class=\"large\" aria-hidden=\"true\">91 %</p>"));
    // A report that answers nothing begins with how it came out.
    let plain = Page { question: String::new(), answer: Vec::new(), headlines: Vec::new(), ..page() }.html();
    assert!(plain.find("<p>first</p>").unwrap() < plain.find("<nav").unwrap() && !plain.contains("class=\"cards\""));
}

#[test]
fn anchors_are_unique_and_links_lead_somewhere() {
    for html in [page().html(), hostile(page()).html(), Page::default().html()] {
        let all = ids(&html);
        let once: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(once.len(), all.len(), "{all:?}");
        for link in html.split(" href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(once.contains(link), "{link}");
        }
        assert!(all.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))));
    }
}

#[test]
fn words_cannot_break_out_of_their_place() {
    let (plain, html) = (page().html(), hostile(page()).html());
    let count = |text: &str, part: &str| text.matches(part).count();
    for part in ["</style>", COST_START, COST_END, "</html>"] {
        // A figure fewer in each section, and a card more, since every claim has the same id now.
        assert_eq!(count(&html, part), count(&plain, part) - if part == "</style>" { 3 } else { 0 }, "{part}");
    }
    // The page's data, and its script.
    assert_eq!((count(&html, "<script"), count(&html, "</script>")), (2, 2));
    assert!(!html.contains("<script>alert"));
    let data = html.split("<script type=\"application/json\" id=\"explorers\">").nth(1).unwrap();
    let read: serde_json::Value = serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
    for explorer in read["explorers"].as_array().unwrap() {
        assert_eq!(explorer["title"], EVIL);
        assert_eq!(explorer["series"][1]["label"], EVIL);
    }
}

#[test]
fn costs_are_the_only_difference() {
    let mut later = page();
    later.cost = vec![Captioned { caption: EVIL.into(), ..Captioned::default() }; 3];
    assert_ne!(page().html(), later.html());
    assert_eq!(without_cost(&page().html()), without_cost(&later.html()));
    let without = without_cost(&page().html());
    assert!(!without.contains("<caption>cost</caption>") && without.contains("<caption>settings</caption>"));
    assert_eq!(without_cost("no marks"), "no marks");
    assert_eq!(without_cost(COST_START), COST_START);
}

#[test]
fn every_style_has_a_colour_in_the_explorers() {
    let html = page().html();
    for n in 0..STYLES.len() {
        // On a light page and on a dark one, and in the class by which what is drawn takes it.
        assert_eq!(html.matches(&format!("--s{n}:#")).count(), 2, "{n}");
        assert!(html.contains(&format!(".s{n}{{--c:var(--s{n})}}")), "{n}");
    }
}

#[test]
fn the_policy_names_the_script() {
    let html = page().html();
    assert!(html.contains(&format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(SCRIPT)))));
    assert!(html.contains(&format!("<script>{SCRIPT}</script>")) && !SCRIPT.contains("</") && !SCRIPT.contains('\r'));
}

/// The hashes of the files in uplot-1.6.32.tgz from the npm registry. The embedded files are the same, byte for byte.
#[test]
fn the_plotting_library_is_the_published_one() {
    let (script, sheet) =
        (include_str!("assets/vendor/uPlot.iife.min.js"), include_str!("assets/vendor/uPlot.min.css"));
    assert_eq!(
        [script, sheet].map(|text| sha256(text.as_bytes())),
        [
            "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
            "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        ]
    );
    assert!(script.starts_with("/*! https://github.com/leeoniya/uPlot (v1.6.32) */"));
    // The policy lets no text be run as a program.
    assert!(!script.contains("eval(") && !script.contains("new Function"));
}
