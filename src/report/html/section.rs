//! An experiment's section: the paper's words next to the measurements, deviations, figures, panels, tables.

use super::super::page::{ClaimKind, ClaimRow, Picture, Section};
use super::explorer;
use super::parts::{Ids, badge, class, findings, paragraphs, table, target};
use super::view::View;
use maud::{Markup, PreEscaped, html};
use std::borrow::Cow;

/// The section, with anchor `id`.
pub fn section(section: &Section, id: &str, view: &View, ids: &mut Ids) -> Markup {
    let pictures = section.pictures.iter().enumerate();
    let pictures: Vec<Markup> = pictures.map(|(number, of)| picture(of, &format!("{id}-p{number}-"), ids)).collect();
    let mut explorers = String::new();
    section.explorers.iter().for_each(|shown| explorer::write(&mut explorers, shown));
    html! {
        section id=(id) {
            h2 { (section.title) }
            div.beside {
                @if !section.paper.is_empty() {
                    div.says { h3 { @if section.beyond { "What it is about" } @else { "The paper" } } (paragraphs(&section.paper)) }
                }
                div.found { h3 { "Measured" } (found(section, view)) }
            }
            @if !section.deviations.is_empty() {
                div.deviations {
                    h3 { "Other than in the paper" }
                    ul { @for deviation in &section.deviations { li { (deviation) } } }
                }
            }
            @for picture in pictures { (picture) }
            (PreEscaped(explorers))
            @for shown in &section.tables { (table(shown)) }
        }
    }
}

/// The section's claims. Claims at other settings are collapsed.
fn found(section: &Section, view: &View) -> Markup {
    let claims = view.page.claims.iter().enumerate().filter(|(_, claim)| claim.figure == section.id);
    let (other, own): (Vec<_>, Vec<_>) = claims.partition(|(_, claim)| claim.kind == ClaimKind::Sensitivity);
    // Of two sections of one name the first has the claims' anchors.
    let first = view.page.sections.iter().find(|of| of.id == section.id).is_some_and(|of| std::ptr::eq(of, section));
    let anchor = |at: usize| view.entries[at].as_deref().filter(|_| first);
    let list = |claims: &[(usize, &ClaimRow)]| {
        html! { @if !claims.is_empty() { ul.claim-list { @for (at, claim) in claims { (entry(view, claim, *at, anchor(*at))) } } } }
    };
    html! {
        @if own.is_empty() && other.is_empty() { p { "No claim is judged here." } }
        (list(&own))
        @if !other.is_empty() { details.others { summary { "At other settings (" (other.len()) ")" } (list(&other)) } }
    }
}

fn entry(view: &View, claim: &ClaimRow, at: usize, anchor: Option<&str>) -> Markup {
    html! {
        li.(class(claim.verdict)) id=[anchor] {
            p.head { (badge(claim.verdict)) " " span.place { (claim.place) } }
            p { (claim.statement) }
            (findings(&claim.measured))
            @if !claim.remark.is_empty() { p.remark { (claim.remark) } }
            p.rule { a href=(format!("#{}", view.rows[at])) { "Rule and runs" } }
        }
    }
}

/// A figure with its files. All anchors in it begin with `prefix`.
fn picture(picture: &Picture, prefix: &str, ids: &mut Ids) -> Markup {
    let svg = embedded(&picture.svg, prefix, ids);
    let width = natural_width(&svg).map(|width| format!("--natural:{width}px"));
    html! {
        figure.picture {
            div.scroll style=[width] { (PreEscaped(svg.trim_end())) }
            @if !picture.files.is_empty() {
                figcaption {
                    "Files: "
                    @for (i, file) in picture.files.iter().enumerate() {
                        @if i > 0 { " · " }
                        a href=(target(file)) { (file.rsplit('/').next().unwrap_or(file)) }
                    }
                }
            }
        }
    }
}

/// The document's root element alone, with its anchors renamed, because two figures of one page may use the same.
///
/// All quotation marks in a figure's texts are escaped, so the search finds attributes only.
fn embedded<'a>(svg: &'a str, prefix: &str, ids: &mut Ids) -> Cow<'a, str> {
    let svg = svg.find("<svg").map_or("", |at| &svg[at..]);
    if !svg.contains(" id=\"") {
        return Cow::Borrowed(svg);
    }
    let names: Vec<&str> = svg.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut text = svg.to_owned();
    for name in names {
        let new = ids.take(&format!("{prefix}{name}"));
        text = text
            .replace(&format!(" id=\"{name}\""), &format!(" id=\"{new}\""))
            .replace(&format!("=\"url(#{name})\""), &format!("=\"url(#{new})\""))
            .replace(&format!("href=\"#{name}\""), &format!("href=\"#{new}\""));
        for attribute in ["aria-labelledby", "aria-describedby"] {
            text = text.replace(&format!(" {attribute}=\"{name}\""), &format!(" {attribute}=\"{new}\""));
        }
    }
    Cow::Owned(text)
}

/// The width of a figure in pixels, from its root element.
fn natural_width(svg: &str) -> Option<f64> {
    let (root, _) = svg.split_once('>')?;
    let width = root.split(" width=\"").nth(1)?.split('"').next()?;
    width.trim_end_matches("px").parse().ok().filter(|w: &f64| w.is_finite() && *w > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figures_anchors_are_its_own() {
        let svg = "<?xml version=\"1.0\"?>\n<svg width=\"300\" role=\"img\"><marker id=\"tip\"/><path \
                   marker-end=\"url(#tip)\"/><use href=\"#tip\"/><text>url(#tip)</text></svg>";
        let mut ids = Ids::default();
        let first = embedded(svg, "a-", &mut ids).into_owned();
        let second = embedded(svg, "a-", &mut ids).into_owned();
        assert_eq!(
            first,
            "<svg width=\"300\" role=\"img\"><marker id=\"a-tip\"/><path marker-end=\"url(#a-tip)\"/>\
             <use href=\"#a-tip\"/><text>url(#tip)</text></svg>"
        );
        assert!(second.contains("id=\"a-tip-2\"") && second.contains("url(#a-tip-2)"));
        assert_eq!(natural_width(&first), Some(300.0));
        assert_eq!(embedded("no picture", "a-", &mut ids), "");
    }
}
