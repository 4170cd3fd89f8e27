//! How the claims came out: counts, and the table of all of them.

use super::super::page::{ClaimKind, ClaimRow, Page, Verdict};
use super::parts::{badge, class, escape, pairs, sign, target};
use std::fmt::Write;

/// The section of all claims. `anchors` are those of the claims, `sections` those of the page's sections.
pub fn overview(out: &mut String, page: &Page, anchors: &[String], sections: &[String]) {
    out.push_str("<section id=\"claims\">\n<h2>Claims</h2>\n");
    if page.claims.is_empty() {
        out.push_str("<p>No claim was judged.</p>\n</section>\n");
        return;
    }
    // Only verdicts that there are, of the paper's own claims where there are any.
    let shown = |verdict: &Verdict| page.claims.iter().any(|claim| claim.verdict == *verdict);
    let verdicts = || Verdict::ALL.into_iter().filter(shown);
    out.push_str("<ul class=\"counts\">\n");
    for verdict in verdicts().filter(|verdict| page.count(*verdict) > 0) {
        let (count, class) = (page.count(verdict), class(verdict));
        let _ = writeln!(
            out,
            "<li class=\"{class}\"><span class=\"number\">{count}</span> <span class=\"word\">{}{}</span></li>",
            sign(verdict),
            verdict.word()
        );
    }
    out.push_str("</ul>\n<div class=\"share\" aria-hidden=\"true\">");
    for verdict in verdicts() {
        let count = page.count(verdict);
        if count > 0 {
            let _ = write!(out, "<span class=\"{}\" style=\"flex-grow:{count}\"></span>", class(verdict));
        }
    }
    out.push_str("</div>\n<fieldset id=\"filter\" class=\"controls\" hidden><legend>Show the verdicts</legend>\n");
    for verdict in verdicts() {
        let (class, word) = (class(verdict), verdict.word());
        let _ = writeln!(out, "<label><input type=\"checkbox\" value=\"{class}\" checked>{word}</label>");
    }
    let total = page.claims.len();
    let _ = writeln!(out, "<output id=\"count\">{total} of {total} claims</output></fieldset>");
    for kind in ClaimKind::ALL {
        let rows: Vec<_> = page.claims.iter().zip(anchors).filter(|(claim, _)| claim.kind == kind).collect();
        if !rows.is_empty() {
            table(out, page, kind, &rows, sections);
        }
    }
    out.push_str("</section>\n");
}

/// The claims of one kind.
fn table(out: &mut String, page: &Page, kind: ClaimKind, rows: &[(&ClaimRow, &String)], sections: &[String]) {
    let caption = match kind {
        ClaimKind::Paper => "Every claim of the paper, what was measured, and the rule that its verdict follows from",
        ClaimKind::Sensitivity => {
            "Sensitivity: the same claims at another setting. They say how much a verdict depends on it, and count as none"
        }
        ClaimKind::Project => "Beyond the paper: what this project claims of its own",
    };
    // Roles are said again, since on a narrow page the style sheet makes a card of each row.
    let _ = write!(
        out,
        "<table class=\"claims\" role=\"table\">\n<caption>{caption}</caption>\n\
         <thead role=\"rowgroup\"><tr role=\"row\">"
    );
    for header in ["Verdict", "Claim", "Measured", "Judged by"] {
        let _ = write!(out, "<th scope=\"col\" role=\"columnheader\">{header}</th>");
    }
    out.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for (claim, anchor) in rows {
        row(out, page, claim, anchor, sections);
    }
    out.push_str("</tbody>\n</table>\n");
}

fn row(out: &mut String, page: &Page, claim: &ClaimRow, anchor: &str, sections: &[String]) {
    let class = class(claim.verdict);
    let place = escape(&claim.place);
    let place = match page.sections.iter().position(|s| s.id == claim.figure).and_then(|i| sections.get(i)) {
        Some(section) => format!("<a href=\"#{section}\">{place}</a>"),
        None => place.into_owned(),
    };
    let _ = write!(
        out,
        "<tr role=\"row\" id=\"{anchor}\" data-verdict=\"{class}\"><td role=\"cell\" class=\"verdict\">{}</td>\
         <th scope=\"row\" role=\"rowheader\"><p class=\"place\">{place} <code>{}</code></p><p>{}</p></th>\
         <td role=\"cell\">",
        badge(claim.verdict),
        escape(&claim.id),
        escape(&claim.statement),
    );
    pairs(out, &claim.measured);
    out.push_str("</td><td role=\"cell\" class=\"judged\">");
    if !claim.rule.is_empty() {
        let _ = write!(out, "<p>{}</p>", escape(&claim.rule));
    }
    if !claim.remark.is_empty() {
        let _ = write!(out, "<p class=\"remark\">{}</p>", escape(&claim.remark));
    }
    if !claim.runs.is_empty() {
        let link = |run: &String| format!("<span><a href=\"runs/{}/\">{}</a>", target(run), escape(run));
        let links: Vec<String> = claim.runs.iter().map(link).collect();
        // A comma stays with its run where lines are broken.
        let _ = write!(out, "<p class=\"runs\">Runs: {}</span></p>", links.join(",</span> "));
    }
    out.push_str("</td></tr>\n");
}
