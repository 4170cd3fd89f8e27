//! Building blocks for all parts of the document: links, anchors, tables, verdicts, findings.

use super::super::page::{Captioned, Finding, Verdict};
use super::super::table::Cell;
use maud::{Markup, html};
use std::collections::BTreeSet;
use std::fmt::Write;

pub use super::super::svg::escape;

/// The anchors that the document itself uses.
const TAKEN: [&str; 10] =
    ["main", "theme", "claims", "sensitivity", "project", "filter", "count", "settings", "cost", "explorers"];

/// Hands out unique anchors made of letters, digits, `.`, `_` and `-`.
pub struct Ids(BTreeSet<String>);

impl Default for Ids {
    fn default() -> Ids {
        Ids(TAKEN.map(String::from).into())
    }
}

impl Ids {
    /// An anchor like `wish`; exactly `wish` if that is a valid anchor and not taken.
    pub fn take(&mut self, wish: &str) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let mut id: String = wish.chars().map(allowed).collect();
        if !id.starts_with(|c: char| c.is_ascii_alphabetic()) {
            id.insert_str(0, "s-");
        }
        let mut free = id.clone();
        let mut number = 2;
        while !self.0.insert(free.clone()) {
            free = format!("{id}-{number}");
            number += 1;
        }
        free
    }
}

/// A path relative to the report, as a link's target. Nothing in it can be mistaken for a scheme or a query.
pub fn target(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    // Two slashes in front would name another machine.
    match out.strip_prefix('/') {
        Some(rest) => format!("./{}", rest.trim_start_matches('/')),
        None => out,
    }
}

/// Each text as a paragraph.
pub fn paragraphs(texts: &[String]) -> Markup {
    html! { @for text in texts { p { (text) } } }
}

/// The findings: each quantity with its comparisons, and a mark where a comparison agrees with the claim.
pub fn findings(findings: &[Finding]) -> Markup {
    html! {
        @for finding in findings {
            div.finding {
                @if !finding.of.is_empty() { p.of { (finding.of) } }
                ul {
                    @for line in &finding.lines {
                        li {
                            @match line.met {
                                Some(met) => (said(if met { Verdict::Reproduced } else { Verdict::NotBorneOut }, if met { "met: " } else { "not met: " })),
                                None => {},
                            }
                            @for (i, (who, value)) in line.values.iter().enumerate() {
                                @if i > 0 { ", " }
                                (who) @if !who.is_empty() { " " } b { (value) }
                            }
                            @if !line.note.is_empty() { span.note-of { "; " (line.note) } }
                        }
                    }
                }
            }
        }
    }
}

/// A verdict's sign in its colour, with words for readers who cannot see it.
fn said(verdict: Verdict, words: &str) -> Markup {
    html! { span.met.(class(verdict)) { (sign(verdict)) span.unseen { (words) } } }
}

/// A table under its caption, in an area of its own that scrolls where the page is too narrow.
pub fn table(captioned: &Captioned) -> Markup {
    let table = &captioned.table;
    let columns = table.rows().iter().map(Vec::len).chain([table.headers().len()]).max().unwrap_or(0);
    let numeric: Vec<bool> = (0..columns).map(|column| table.is_numeric(column)).collect();
    let class = |column: usize| (numeric.get(column) == Some(&true)).then_some("n");
    html! {
        div.scroll {
            table {
                caption { (captioned.caption) }
                @if !table.headers().is_empty() {
                    thead { tr {
                        @for (column, header) in table.headers().iter().enumerate() {
                            th scope="col" class=[class(column)] { (header) }
                        }
                    } }
                }
                tbody {
                    @for row in table.rows() {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                // A few words stay on one line, however wide their neighbours are.
                                @let short = (cell.shown().chars().count() <= SHORT).then_some("short");
                                @let class = class(column).or(short);
                                // What a row is called is its header.
                                @match (column, cell) {
                                    (0, Cell::Text(_)) => th scope="row" class=[class] { (cell.shown()) },
                                    _ => td class=[class] { (cell.shown()) },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The most letters of a cell that is never broken into lines.
const SHORT: usize = 24;

/// A verdict's CSS class.
pub fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::InPart => "in-part",
        Verdict::Corrected => "corrected",
        Verdict::NotBorneOut => "not-borne-out",
        Verdict::LargerScale => "larger-scale",
        Verdict::NotTested => "untested",
    }
}

/// A verdict's sign: tick, plus and minus, tick on a line, cross, arrow, dash. Signs are drawn, since not every font has them.
pub fn sign(verdict: Verdict) -> Markup {
    let path = match verdict {
        Verdict::Reproduced => "M2.5 6.5 5 9l4.5-6",
        Verdict::InPart => "M3 4h6M6 1v6M3 10h6",
        Verdict::Corrected => "M2.5 5 5 7.5l4.5-6M2 10.5h8",
        Verdict::NotBorneOut => "M3 3l6 6M9 3 3 9",
        Verdict::LargerScale => "M6 10V2.5M3 5.5l3-3 3 3",
        Verdict::NotTested => "M3 6h6",
    };
    html! { svg.sign viewBox="0 0 12 12" aria-hidden="true" focusable="false" { path d=(path) {} } }
}

/// A verdict as a sign and a word.
pub fn badge(verdict: Verdict) -> Markup {
    html! { span.badge.(class(verdict)) { (sign(verdict)) (verdict.word()) } }
}

/// The number of claims with each verdict, in small print after a link; empty where there are none.
pub fn tally(verdicts: impl Iterator<Item = Verdict> + Clone) -> Markup {
    let count = |verdict| verdicts.clone().filter(|of| *of == verdict).count();
    let there: Vec<(Verdict, usize)> =
        Verdict::ALL.into_iter().map(|verdict| (verdict, count(verdict))).filter(|(_, count)| *count > 0).collect();
    html! {
        @if !there.is_empty() {
            " " span.tally {
                @for (verdict, count) in there {
                    span.(class(verdict)) { (sign(verdict)) (count) span.unseen { " " (verdict.word()) } }
                }
            }
        }
    }
}
