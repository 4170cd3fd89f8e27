//! An experiment: the paper's words beside what was measured, what differs, figures, panels, tables.

use super::super::page::{Page, Picture, Section};
use super::explorer;
use super::parts::{Ids, badge, class, escape, pairs, paragraphs, table, target};
use std::borrow::Cow;
use std::fmt::Write;

/// Writes the section under its anchor `id`. `anchors` are those of the page's claims.
pub fn write(out: &mut String, section: &Section, id: &str, page: &Page, anchors: &[String], ids: &mut Ids) {
    let _ = write!(out, "<section id=\"{id}\">\n<h2>{}</h2>\n<div class=\"beside\">\n", escape(&section.title));
    if !section.paper.is_empty() {
        out.push_str("<div class=\"says\">\n<h3>The paper</h3>\n");
        paragraphs(out, "", &section.paper);
        out.push_str("</div>\n");
    }
    out.push_str("<div class=\"found\">\n<h3>Measured</h3>\n");
    found(out, section, page, anchors);
    out.push_str("</div>\n</div>\n");
    if !section.deviations.is_empty() {
        out.push_str("<div class=\"deviations\">\n<h3>Other than in the paper</h3>\n<ul>\n");
        for deviation in &section.deviations {
            let _ = writeln!(out, "<li>{}</li>", escape(deviation));
        }
        out.push_str("</ul>\n</div>\n");
    }
    for (number, shown) in section.pictures.iter().enumerate() {
        picture(out, shown, &format!("{id}-p{number}-"), ids);
    }
    for shown in &section.explorers {
        explorer::write(out, shown);
    }
    section.tables.iter().for_each(|shown| table(out, shown));
    out.push_str("</section>\n");
}

/// The section's claims.
fn found(out: &mut String, section: &Section, page: &Page, anchors: &[String]) {
    let mut claims = page.claims.iter().zip(anchors).filter(|(claim, _)| claim.figure == section.id).peekable();
    if claims.peek().is_none() {
        out.push_str("<p>No claim is judged here.</p>\n");
        return;
    }
    out.push_str("<ul class=\"claim-list\">\n");
    for (claim, anchor) in claims {
        let _ = writeln!(
            out,
            "<li class=\"{}\"><p class=\"head\">{} <span class=\"place\">{}</span></p><p>{}</p>",
            class(claim.verdict),
            badge(claim.verdict),
            escape(&claim.place),
            escape(&claim.statement)
        );
        pairs(out, &claim.measured);
        if !claim.remark.is_empty() {
            let _ = write!(out, "<p class=\"remark\">{}</p>", escape(&claim.remark));
        }
        let _ = writeln!(out, "<p class=\"rule\"><a href=\"#{anchor}\">Rule and runs</a></p></li>");
    }
    out.push_str("</ul>\n");
}

/// A figure with its files. `prefix` begins every anchor in it.
fn picture(out: &mut String, picture: &Picture, prefix: &str, ids: &mut Ids) {
    let svg = embedded(&picture.svg, prefix, ids);
    let width = natural_width(&svg).map_or(String::new(), |w| format!(" style=\"--natural:{w}px\""));
    let _ = write!(out, "<figure class=\"picture\">\n<div class=\"scroll\"{width}>{}</div>\n", svg.trim_end());
    if !picture.files.is_empty() {
        out.push_str("<figcaption>Files: ");
        let link = |file: &String| {
            let name = file.rsplit('/').next().unwrap_or(file);
            format!("<a href=\"{}\">{}</a>", target(file), escape(name))
        };
        out.push_str(&picture.files.iter().map(link).collect::<Vec<_>>().join(" · "));
        out.push_str("</figcaption>\n");
    }
    out.push_str("</figure>\n");
}

/// The document's root element alone, its anchors renamed: two figures of one page may have the same.
///
/// Words within a figure have no quotation marks left that are not escaped, so what is looked for is found in attributes only.
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

/// The width of a figure in pixels, as its root element says.
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
