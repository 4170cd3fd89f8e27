//! A report as one HTML file, which needs nothing but itself: no network, no other file, and for reading no script.
//!
//! - here: the document, its navigation, and what of it may differ between two reports of the same results;
//! - `parts.rs`: escaping, links, anchors that never clash, tables, verdicts;
//! - `claims.rs`: the counts and the table of claims;
//! - `section.rs`: an experiment: the paper's words beside what was measured, figures, files;
//! - `explorer.rs`: the data of the panels that the script draws;
//! - `assets/`: the style sheet, and the script in parts by subject, which are laid end to end; `vendor/` has uPlot, which draws what
//!   the reader chooses.
//!
//! The same page gives the same bytes. Words come from outside: every one is escaped, and the document's own policy lets no
//! script run but the one written here, and no request leave.

mod claims;
mod explorer;
mod parts;
mod section;
#[cfg(test)]
mod tests;

use super::page::{Captioned, ClaimKind, Page, Verdict};
use super::style::STYLES;
use base64::prelude::{BASE64_STANDARD, Engine};
use parts::{Ids, escape, paragraphs, table, tally};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Stands before the only part in which two reports of the same results may differ.
pub const COST_START: &str = "<!-- cost -->";
/// Stands behind it.
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
    /// The report as a file of its own.
    ///
    /// It is meant to lie beside what it links to: `runs/ID/` for a run, and [`super::Picture::files`].
    pub fn html(&self) -> String {
        let mut ids = Ids::default();
        let claims: Vec<String> = self.claims.iter().map(|claim| ids.take(&format!("claim-{}", claim.id))).collect();
        let sections: Vec<String> = self.sections.iter().map(|section| ids.take(&section.id)).collect();

        let title = escape(&self.title);
        let mut out = String::with_capacity(1 << 16);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"normscape\">\n\
             <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{}{CSS}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">Skip to the content</a>\n\
             <header class=\"bar\"><span class=\"name\">normscape</span>\
             <button type=\"button\" id=\"theme\" aria-pressed=\"false\" hidden>Dark page</button></header>\n\
             <div class=\"page\">\n",
            policy(),
            colours(),
        );
        self.navigation(&mut out, &sections);
        let _ = write!(out, "<main id=\"main\" tabindex=\"-1\">\n<div class=\"opening\">\n<h1>{title}</h1>\n");
        paragraphs(&mut out, "", &self.summary);
        out.push_str("</div>\n");
        claims::overview(&mut out, self, &claims, &sections);
        for (section, id) in self.sections.iter().zip(&sections) {
            section::write(&mut out, section, id, self, &claims, &mut ids);
        }
        out.push_str("<section id=\"settings\">\n<h2>What was run</h2>\n");
        captioned(&mut out, &self.settings, "Nothing was recorded.");
        out.push_str("</section>\n");
        let _ = write!(out, "{COST_START}<section id=\"cost\">\n<h2>Cost</h2>\n");
        captioned(&mut out, &self.cost, "Nothing was recorded.");
        let _ = write!(out, "</section>{COST_END}\n</main>\n</div>\n");
        let _ = write!(out, "{}<script>{SCRIPT}</script>\n</body>\n</html>\n", explorer::data(self));
        out
    }

    /// The list of contents, each section with how its claims came out; what is sensitivity counts as none.
    fn navigation(&self, out: &mut String, sections: &[String]) {
        out.push_str(
            "<nav aria-label=\"Contents\">\n<details open><summary>Contents</summary>\n<ol>\n\
             <li><a href=\"#claims\">Claims</a></li>\n",
        );
        for (section, id) in self.sections.iter().zip(sections) {
            let own = self.claims.iter().filter(|c| c.figure == section.id && c.kind != ClaimKind::Sensitivity);
            let counts = tally(own.map(|c| c.verdict));
            let _ = writeln!(out, "<li><a href=\"#{id}\">{}</a>{counts}</li>", escape(&section.title));
        }
        out.push_str(
            "<li><a href=\"#settings\">What was run</a></li>\n<li><a href=\"#cost\">Cost</a></li>\n\
             </ol>\n</details>\n</nav>\n",
        );
    }

    /// How many of the paper's claims came out so.
    fn count(&self, verdict: Verdict) -> usize {
        let of_paper = self.claims.iter().filter(|claim| claim.kind == ClaimKind::Paper);
        of_paper.filter(|claim| claim.verdict == verdict).count()
    }
}

/// The report without what stands between [`COST_START`] and [`COST_END`]: times, dates, costs. Two reports of the same results
/// are the same bytes then. A text without the two marks is given back as it is.
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

fn captioned(out: &mut String, tables: &[Captioned], otherwise: &str) {
    if tables.is_empty() {
        let _ = writeln!(out, "<p>{otherwise}</p>");
    }
    tables.iter().for_each(|t| table(out, t));
}

/// The colours of the series as variables, on a light and on a dark page, and a class for each that takes its colour.
fn colours() -> String {
    let list = |colour: fn(&super::Style) -> &'static str| {
        STYLES.iter().enumerate().map(|(n, style)| format!("--s{n}:{};", colour(style))).collect::<String>()
    };
    let (light, dark) = (list(|s| s.light), list(|s| s.dark));
    let classes: String = (0..STYLES.len()).map(|n| format!(".s{n}{{--c:var(--s{n})}}")).collect();
    format!(":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{classes}\n")
}

/// What the document lets a browser do: style itself and run its own script, known by its hash.
fn policy() -> String {
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        BASE64_STANDARD.encode(Sha256::digest(SCRIPT))
    )
}
