//! What every part of the document is made of: escaping, links, anchors, tables, verdicts.

use super::super::page::{Captioned, Verdict};
use super::super::table::Cell;
use std::collections::BTreeSet;
use std::fmt::Write;

pub use super::super::svg::escape;

/// Anchors of the document's own.
const TAKEN: [&str; 8] = ["main", "theme", "claims", "filter", "count", "settings", "cost", "explorers"];

/// Hands out anchors: letters, digits, `.`, `_` and `-`, each once.
pub struct Ids(BTreeSet<String>);

impl Default for Ids {
    fn default() -> Ids {
        Ids(TAKEN.map(String::from).into())
    }
}

impl Ids {
    /// An anchor like `wish`: that itself where it is one and nobody has it.
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

/// A path relative to the report as a link's target. Nothing in it can be taken for a scheme or a query.
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

/// Each text as a paragraph of this class.
pub fn paragraphs(out: &mut String, class: &str, texts: &[String]) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    for text in texts {
        let _ = writeln!(out, "<p{class}>{}</p>", escape(text));
    }
}

/// Name and value, as a list of definitions.
pub fn pairs(out: &mut String, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        return;
    }
    out.push_str("<dl class=\"measured\">");
    for (name, value) in pairs {
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
}

/// A table under its caption, in a window of its own that scrolls where the page is too narrow.
pub fn table(out: &mut String, captioned: &Captioned) {
    let table = &captioned.table;
    let columns = table.rows().iter().map(Vec::len).chain([table.headers().len()]).max().unwrap_or(0);
    let numeric: Vec<bool> = (0..columns).map(|column| table.is_numeric(column)).collect();
    let class = |column: usize| if numeric.get(column) == Some(&true) { " class=\"n\"" } else { "" };
    let caption = escape(&captioned.caption);
    let _ = write!(out, "<div class=\"scroll\"><table>\n<caption>{caption}</caption>\n");
    if !table.headers().is_empty() {
        out.push_str("<thead><tr>");
        for (column, header) in table.headers().iter().enumerate() {
            let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(column), escape(header));
        }
        out.push_str("</tr></thead>\n");
    }
    out.push_str("<tbody>\n");
    for row in table.rows() {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            // A few words stay on one line, however wide their neighbours are.
            let class = match (class(column), cell.shown().chars().count()) {
                ("", ..=SHORT) => " class=\"short\"",
                (class, _) => class,
            };
            let shown = escape(cell.shown());
            // What a row is called is its header.
            let _ = match (column, cell) {
                (0, Cell::Text(_)) => write!(out, "<th scope=\"row\"{class}>{shown}</th>"),
                _ => write!(out, "<td{class}>{shown}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// Letters of a cell that is not broken into lines.
const SHORT: usize = 24;

/// A verdict as a class.
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

/// A verdict's sign: tick, plus and minus, tick on a line, cross, arrow, dash; drawn, since not every font has them.
pub fn sign(verdict: Verdict) -> String {
    let path = match verdict {
        Verdict::Reproduced => "M2.5 6.5 5 9l4.5-6",
        Verdict::InPart => "M3 4h6M6 1v6M3 10h6",
        Verdict::Corrected => "M2.5 5 5 7.5l4.5-6M2 10.5h8",
        Verdict::NotBorneOut => "M3 3l6 6M9 3 3 9",
        Verdict::LargerScale => "M6 10V2.5M3 5.5l3-3 3 3",
        Verdict::NotTested => "M3 6h6",
    };
    format!(
        "<svg class=\"sign\" viewBox=\"0 0 12 12\" aria-hidden=\"true\" focusable=\"false\"><path d=\"{path}\"/></svg>"
    )
}

/// A verdict as sign and word.
pub fn badge(verdict: Verdict) -> String {
    format!("<span class=\"badge {}\">{}{}</span>", class(verdict), sign(verdict), verdict.word())
}

/// How many of each verdict, small, behind a link; nothing where there are none.
pub fn tally(verdicts: impl Iterator<Item = Verdict> + Clone) -> String {
    let mut out = String::new();
    for verdict in Verdict::ALL {
        let count = verdicts.clone().filter(|v| *v == verdict).count();
        if count > 0 {
            let _ = write!(
                out,
                "<span class=\"{}\">{}{count}<span class=\"unseen\"> {}</span></span>",
                class(verdict),
                sign(verdict),
                verdict.word()
            );
        }
    }
    if out.is_empty() { out } else { format!(" <span class=\"tally\">{out}</span>") }
}
