//! The verdicts on the claims: counts, and a table of all claims of each kind.

use super::super::page::{ClaimKind, ClaimRow, Verdict};
use super::parts::{badge, class, findings, paragraphs, sign, target};
use super::view::View;
use maud::{Markup, html};

/// The kinds of claims that are not the paper's, in the order shown.
pub const OTHERS: [ClaimKind; 2] = [ClaimKind::Sensitivity, ClaimKind::Project];

/// The anchor of a kind's section.
pub fn anchor(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Paper => "claims",
        ClaimKind::Sensitivity => "sensitivity",
        ClaimKind::Project => "project",
    }
}

/// The title of that section.
pub fn title(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Paper => "Claims of the paper",
        ClaimKind::Sensitivity => "Sensitivity",
        ClaimKind::Project => "Beyond the paper",
    }
}

/// The paper's claims: counts, a filter, and the table.
pub fn of_paper(view: &View) -> Markup {
    let page = view.page;
    let of_paper = || page.claims.iter().filter(|claim| claim.kind == ClaimKind::Paper);
    let count = |verdict: Verdict| of_paper().filter(|claim| claim.verdict == verdict).count();
    let verdicts: Vec<Verdict> = Verdict::ALL.into_iter().filter(|verdict| count(*verdict) > 0).collect();
    let total = of_paper().count();
    html! {
        section #claims {
            h2 { (title(ClaimKind::Paper)) }
            @if !page.answer.is_empty() { (paragraphs(&page.summary)) }
            @if total == 0 { p { "No claim of the paper was judged." } } @else {
                ul.counts {
                    @for verdict in &verdicts {
                        li.(class(*verdict)) {
                            span.number { (count(*verdict)) } " "
                            span.word { (sign(*verdict)) (verdict.word()) }
                        }
                    }
                }
                div.share aria-hidden="true" {
                    @for verdict in &verdicts {
                        span.(class(*verdict)) style=(format!("flex-grow:{}", count(*verdict))) {}
                    }
                }
                fieldset #filter.controls hidden {
                    legend { "Show the verdicts" }
                    @for verdict in &verdicts {
                        label { input type="checkbox" value=(class(*verdict)) checked; (verdict.word()) }
                    }
                    output #count { (total) " of " (total) " claims" }
                }
                (table(view, ClaimKind::Paper, "Every claim of the paper, how it came out, and what was measured"))
            }
        }
    }
}

/// A section for each other kind that has claims.
pub fn others(view: &View) -> Markup {
    let words = |kind| match kind {
        ClaimKind::Project => "What this project claims of its own.",
        _ => {
            "The paper's claims at other settings. They say how much a verdict depends on the setting, and count as none."
        }
    };
    html! {
        @for kind in OTHERS {
            @if view.page.claims.iter().any(|claim| claim.kind == kind) {
                section id=(anchor(kind)) { h2 { (title(kind)) } (table(view, kind, words(kind))) }
            }
        }
    }
}

/// The claims of one kind. Roles are stated explicitly, because on a narrow page the style sheet turns each row into a card.
fn table(view: &View, kind: ClaimKind, caption: &str) -> Markup {
    let rows = view.page.claims.iter().enumerate().filter(|(_, claim)| claim.kind == kind);
    html! {
        table.claims role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for header in ["Claim", "Verdict", "Measured"] { th scope="col" role="columnheader" { (header) } }
                }
            }
            tbody role="rowgroup" { @for (at, claim) in rows { (row(view, claim, at)) } }
        }
    }
}

fn row(view: &View, claim: &ClaimRow, at: usize) -> Markup {
    let section = view.page.section_of(claim).and_then(|at| view.sections.get(at));
    let remark = html! { @if !claim.remark.is_empty() { p.remark { (claim.remark) } } };
    html! {
        tr role="row" id=(view.rows[at]) data-verdict=(class(claim.verdict)) {
            th scope="row" role="rowheader" {
                p { (claim.statement) }
                p.place {
                    @match section {
                        Some(section) => a href=(format!("#{section}")) { (claim.place) },
                        None => (claim.place),
                    }
                    " " code { (claim.id) }
                }
            }
            td.verdict role="cell" { (badge(claim.verdict)) }
            td role="cell" {
                (findings(&claim.measured))
                // Where nothing was measured, why not is what there is to say.
                @if claim.measured.is_empty() { (remark) }
                @if !(claim.rule.is_empty() && claim.runs.is_empty()) {
                    details.judged {
                        summary { "Rule and runs" }
                        @if !claim.rule.is_empty() { p { (claim.rule) } }
                        @if !claim.measured.is_empty() { (remark) }
                        @if !claim.runs.is_empty() {
                            p.runs {
                                "Runs: "
                                @for (i, run) in claim.runs.iter().enumerate() {
                                    // A comma stays with its run where lines are broken.
                                    span { a href=(format!("runs/{}/", target(run))) { (run) } @if i + 1 < claim.runs.len() { "," } } " "
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
