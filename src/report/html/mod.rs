//! A report as one HTML file that needs nothing else: no network, no other file, and no script for reading.
//!
//! - here: the document, its navigation, and the part that may differ between two reports of the same results;
//! - `view.rs`: the page with its anchors · `parts.rs`: links, anchors that never clash, tables, verdicts, findings;
//! - `opening.rs`: the first screen: the question, the answer, and a card for each headline;
//! - `claims.rs`: the counts and the tables of claims;
//! - `section.rs`: an experiment: the paper's words next to the measurements, figures, files;
//! - `explorer.rs`: the data of the panels that the script draws;
//! - `assets/`: the style sheet, and the script in parts by subject, which are concatenated; `vendor/` has uPlot, which draws the panels whose
//!   content the reader chooses.
//!
//! The same page gives the same bytes. All words come from outside, and the templates escape every one. The document's own policy allows
//! only this script to run, and no request to leave.

mod claims;
mod explorer;
mod opening;
mod parts;
mod section;
#[cfg(test)]
mod tests;
mod view;

use super::page::{Captioned, ClaimKind, ClaimRow, Page, Section};
use super::style::STYLES;
use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use parts::{Ids, table, tally};
use sha2::{Digest, Sha256};
use view::View;

/// The mark before the only part in which two reports of the same results may differ.
pub const COST_START: &str = "<!-- cost -->";
/// The mark after that part.
pub const COST_END: &str = "<!-- /cost -->";

const CSS: &str = concat!(
    include_str!("assets/vendor/uPlot.min.css"),
    include_str!("assets/page.css"),
    include_str!("assets/explorer.css"),
    include_str!("assets/print.css")
);

const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n/*\n",
    include_str!("assets/vendor/uPlot-LICENSE"),
    "*/\n",
    include_str!("assets/vendor/uPlot.iife.min.js"),
    include_str!("assets/page.js"),
    include_str!("assets/data.js"),
    include_str!("assets/plot.js"),
    include_str!("assets/explorer.js"),
    "})();\n"
);

impl Page {
    /// The report as a standalone file.
    ///
    /// It should be stored next to what it links to: `runs/ID/` for a run, and [`super::Picture::files`].
    pub fn html(&self) -> String {
        let mut ids = Ids::default();
        let view = View {
            page: self,
            rows: self.claims.iter().map(|claim| ids.take(&format!("claim-{}", claim.id))).collect(),
            sections: self.sections.iter().map(|section| ids.take(&section.id)).collect(),
            entries: self
                .claims
                .iter()
                .map(|claim| self.section_of(claim).map(|_| ids.take(&format!("at-{}", claim.id))))
                .collect(),
        };
        let (of_paper, beyond): (Vec<_>, Vec<_>) =
            view.sections.iter().zip(&self.sections).partition(|(_, section)| !section.beyond);
        let mut written = |sections: &[(&String, &Section)]| {
            let one = |(id, section): &(&String, &Section)| section::section(section, id, &view, &mut ids);
            sections.iter().map(one).collect::<Vec<_>>()
        };
        let (of_paper, beyond) = (written(&of_paper), written(&beyond));
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy());
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content="normscape";
                    title { (self.title) }
                    link rel="icon" href="data:,";
                    style { (PreEscaped(colours())) (PreEscaped(CSS)) }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.bar {
                        span.name { "normscape" }
                        button #theme type="button" aria-pressed="false" hidden { "Dark page" }
                    }
                    main #main tabindex="-1" {
                        (opening::opening(&view))
                        div.page {
                            (view.navigation())
                            div.body {
                                (claims::of_paper(&view))
                                @for section in of_paper { (section) }
                                (claims::others(&view))
                                @for section in beyond { (section) }
                                section #settings { h2 { "What was run" } (captioned(&self.settings)) }
                                (PreEscaped(COST_START))
                                section #cost { h2 { "Cost" } (captioned(&self.cost)) }
                                (PreEscaped(COST_END))
                            }
                        }
                    }
                    (PreEscaped(explorer::data(self)))
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        document.into_string() + "\n"
    }

    /// The index of the section that a claim belongs to.
    fn section_of(&self, claim: &ClaimRow) -> Option<usize> {
        self.sections.iter().position(|section| section.id == claim.figure)
    }
}

impl View<'_> {
    /// The table of contents: each section with the counts of its verdicts, where sensitivity claims do not count.
    fn navigation(&self) -> Markup {
        let page = self.page;
        let entries = |beyond: bool| {
            let sections =
                self.sections.iter().zip(&page.sections).filter(move |(_, section)| section.beyond == beyond);
            html! {
                @for (id, section) in sections {
                    @let own = page.claims.iter().filter(|c| c.figure == section.id && c.kind != ClaimKind::Sensitivity);
                    li { a href=(format!("#{id}")) { (section.title) } (tally(own.map(|c| c.verdict))) }
                }
            }
        };
        html! {
            nav aria-label="Contents" {
                details open {
                    summary { "Contents" }
                    ol {
                        li { a href="#claims" { "Claims of the paper" } }
                        (entries(false))
                        @for kind in claims::OTHERS {
                            @if page.claims.iter().any(|claim| claim.kind == kind) {
                                li { a href=(format!("#{}", claims::anchor(kind))) { (claims::title(kind)) } }
                            }
                        }
                        (entries(true))
                        li { a href="#settings" { "What was run" } }
                        li { a href="#cost" { "Cost" } }
                    }
                }
            }
        }
    }
}

/// The report without the part between [`COST_START`] and [`COST_END`]: times, dates, costs. Without it, two reports of the same results
/// are the same bytes. A text without both marks is returned unchanged.
///
/// ```
/// use normscape::report::{Captioned, Page, without_cost};
/// let page = Page { title: "Report".into(), ..Page::default() };
/// let later = Page { cost: vec![Captioned { caption: "an hour".into(), ..Captioned::default() }], ..page.clone() };
/// assert_ne!(page.html(), later.html());
/// assert_eq!(without_cost(&page.html()), without_cost(&later.html()));
/// ```
pub fn without_cost(html: &str) -> String {
    // Neither mark can stand in anyone's words: those have no `<` left.
    let parts = html.split_once(COST_START).and_then(|(head, rest)| Some((head, rest.split_once(COST_END)?.1)));
    match parts {
        Some((head, tail)) => format!("{head}{COST_START}{COST_END}{tail}"),
        None => html.to_owned(),
    }
}

fn captioned(tables: &[Captioned]) -> Markup {
    html! {
        @if tables.is_empty() { p { "Nothing was recorded." } }
        @for of in tables { (table(of)) }
    }
}

/// The colours of the series as variables, for a light and a dark page, and a class for each that uses its colour.
fn colours() -> String {
    let list = |colour: fn(&super::Style) -> &'static str| {
        STYLES.iter().enumerate().map(|(n, style)| format!("--s{n}:{};", colour(style))).collect::<String>()
    };
    let (light, dark) = (list(|s| s.light), list(|s| s.dark));
    let classes: String = (0..STYLES.len()).map(|n| format!(".s{n}{{--c:var(--s{n})}}")).collect();
    format!(":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{classes}\n")
}

/// What the document allows a browser to do: apply its style, and run its own script, identified by hash.
fn policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         form-action 'none'"
    )
}
