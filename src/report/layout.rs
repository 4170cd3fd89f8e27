//! A figure as an SVG document: title, legend, rows of panels, notes.

use super::axes::{Axes, BELOW, RIGHT, line_attributes, marker_attributes, markers};
use super::plot::{Entry, Figure, Kind, Panel, Scale, Series, legend};
use super::style::{MUTED, PAPER, TEXT, sheet, style};
use super::svg::{Anchor, Document, Font, Span, fill, number, polyline, width, wrap};
use super::table::significant;

/// Sizes in pixels.
const MARGIN: f64 = 12.0;
const GAP: f64 = 14.0;
const TITLE: f64 = 15.0;
const SUBTITLE: f64 = 12.0;
const PANEL_TITLE: f64 = 12.5;
const NOTE: f64 = 10.5;
const LEGEND: f64 = 12.0;
const LEGEND_ROW: f64 = 19.0;
const SWATCH: f64 = 30.0;

impl Figure {
    /// The figure as an SVG document of its own, which can also be set into an HTML page as it is.
    ///
    /// It follows the reader's choice of a light or dark page; a program that reads no style sheets gets the light one.
    pub fn svg(&self) -> String {
        let columns = self.columns_used();
        // As printed: a panel alone fills a column of text, two or three share the width of a page.
        let (cell, height) = match columns {
            1 => (440.0, 250.0),
            2 => (360.0, 215.0),
            _ => (310.0, 190.0),
        };
        let page = columns as f64 * cell + (columns as f64 - 1.0) * GAP + 2.0 * MARGIN;
        let inner = page - 2.0 * MARGIN;

        // Axes in one column of panels begin at the same place. How wide the tick labels are depends only on the heights.
        let left = |column: usize| {
            let lefts =
                self.panels.iter().skip(column).step_by(columns).map(|panel| Axes::new(panel, cell, height).left());
            lefts.fold(0.0, f64::max)
        };
        let lefts: Vec<f64> = (0..columns).map(left).collect();

        let titles = wrap(&self.title, 1.08 * TITLE, inner);
        let subtitles = wrap(&self.subtitle, SUBTITLE, inner);
        let notes: Vec<String> = self.notes.iter().flat_map(|note| wrap(note, NOTE, inner)).collect();
        let entries = legend(&self.panels);
        let rows = legend_rows(&entries, inner);
        let panel_titles = self.panels.len() > 1 || self.panels.iter().any(|panel| !panel.title.is_empty());
        let above = if panel_titles { PANEL_TITLE + 9.0 } else { 6.0 };
        let panel_rows = self.panels.len().div_ceil(columns);

        let head = MARGIN + titles.len() as f64 * (TITLE + 4.0) + subtitles.len() as f64 * (SUBTITLE + 4.0);
        let legend_top = head + if rows.is_empty() { 0.0 } else { 4.0 };
        let panels_top = legend_top + rows.len() as f64 * LEGEND_ROW + 4.0;
        let row_height = above + height + BELOW;
        let notes_top = panels_top + panel_rows as f64 * row_height + (panel_rows as f64 - 1.0).max(0.0) * GAP;
        let notes_top = notes_top + if notes.is_empty() { 0.0 } else { 6.0 };
        let total = notes_top + notes.len() as f64 * (NOTE + 4.0) + MARGIN;

        let mut used: Vec<usize> =
            self.panels.iter().flat_map(|p| &p.series).map(|s| s.style % super::STYLES.len()).collect();
        used.sort_unstable();
        used.dedup();
        let mut svg = Document::new(page, total, &self.title, &self.description(), &sheet(&used));
        svg.rectangle(0.0, 0.0, page, total, PAPER);

        let mut y = MARGIN;
        for line in &titles {
            y += TITLE + 4.0;
            svg.text(
                MARGIN,
                y - 5.0,
                Font { bold: true, ..Font::new(TITLE, TEXT, Anchor::Start) },
                &[Span::plain(line)],
            );
        }
        for line in &subtitles {
            y += SUBTITLE + 4.0;
            svg.text(MARGIN, y - 5.0, Font::new(SUBTITLE, MUTED, Anchor::Start), &[Span::plain(line)]);
        }
        for (i, row) in rows.iter().enumerate() {
            let y = legend_top + (i as f64 + 0.5) * LEGEND_ROW;
            row.iter().for_each(|(x, entry)| draw_entry(&mut svg, MARGIN + x, y, entry));
        }
        for (i, panel) in self.panels.iter().enumerate() {
            let (column, row) = (i % columns, i / columns);
            let x = MARGIN + column as f64 * (cell + GAP);
            let y = panels_top + row as f64 * (row_height + GAP);
            let left = lefts[column];
            let font = Font::new(PANEL_TITLE, TEXT, Anchor::Start);
            let mut title_x = x + left;
            if self.panels.len() > 1 {
                svg.text(title_x, y + PANEL_TITLE, Font { bold: true, ..font }, &[Span::plain(letter(i))]);
                title_x += width(&letter(i), PANEL_TITLE) + 8.0;
            }
            svg.text(title_x, y + PANEL_TITLE, font, &[Span::plain(&panel.title)]);
            // A very wide tick label may not squeeze the panel away.
            let across = (cell - left - RIGHT).max(0.4 * cell);
            Axes::new(panel, across, height).draw(&mut svg, x + left, y + above, left);
        }
        for (i, line) in notes.iter().enumerate() {
            let y = notes_top + (i as f64 + 1.0) * (NOTE + 4.0) - 2.0;
            svg.text(MARGIN, y, Font::new(NOTE, MUTED, Anchor::Start), &[Span::plain(line)]);
        }
        svg.finish()
    }

    fn columns_used(&self) -> usize {
        let panels = self.panels.len().max(1);
        match self.columns {
            Some(columns) => columns.clamp(1, panels),
            // Two rows of two rather than three and one.
            None if panels == 4 => 2,
            None => panels.min(3),
        }
    }

    /// What the figure shows, in words: for those who do not see it.
    fn description(&self) -> String {
        let mut lines = Vec::new();
        for (i, panel) in self.panels.iter().enumerate() {
            let name = if self.panels.len() > 1 { format!("Panel {}: ", letter(i)) } else { String::new() };
            let title = if panel.title.is_empty() { String::new() } else { format!("{}. ", panel.title) };
            let logarithmic = |scale| if scale == Scale::Log { " (logarithmic)" } else { "" };
            let (x, y) = (&panel.x, &panel.y);
            let axes = format!("{}{} against {}{}", y.label, logarithmic(y.scale), x.label, logarithmic(x.scale));
            lines.push(format!("{name}{title}{axes}. {}", series_in_words(panel)).trim_end().to_owned());
        }
        lines.join("\n")
    }
}

/// Each series of a panel with where it begins, ends, and reaches.
fn series_in_words(panel: &Panel) -> String {
    let words = |series: &Series| {
        let finite = || series.ys().filter(|y| y.is_finite());
        let shown = |value: f64| significant(value, 3);
        let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        let reach = if low > high { "no values".into() } else { format!("from {} to {}", shown(low), shown(high)) };
        let last = match (&series.kind, finite().last()) {
            (Kind::Line(_), Some(last)) => format!(", last {}", shown(last)),
            _ => String::new(),
        };
        let kind = match series.kind {
            Kind::Line(_) => "line",
            Kind::Points(_) => "points",
            Kind::Band(_) => "band",
        };
        format!("{} ({kind}): {reach}{last}.", if series.label.is_empty() { "unnamed" } else { &series.label })
    };
    panel.series.iter().map(words).collect::<Vec<_>>().join(" ")
}

/// a, b, c … z, then by number.
fn letter(panel: usize) -> String {
    match u8::try_from(panel) {
        Ok(i) if i < 26 => char::from(b'a' + i).to_string(),
        _ => (panel + 1).to_string(),
    }
}

/// The legend's entries with their places, in rows that fit.
fn legend_rows<'a>(entries: &'a [Entry<'a>], limit: f64) -> Vec<Vec<(f64, &'a Entry<'a>)>> {
    let mut rows: Vec<Vec<(f64, &Entry)>> = Vec::new();
    let mut x = 0.0;
    for entry in entries {
        let across = SWATCH + 6.0 + width(entry.label, LEGEND) + 16.0;
        if rows.is_empty() || x + across - 16.0 > limit {
            rows.push(Vec::new());
            x = 0.0;
        }
        rows.last_mut().into_iter().for_each(|row| row.push((x, entry)));
        x += across;
    }
    rows
}

/// A sample of the entry's look, and its label; y is the row's middle.
fn draw_entry(svg: &mut Document, x: f64, y: f64, entry: &Entry) {
    let look = style(entry.style);
    let class = entry.style % super::STYLES.len();
    if entry.band {
        let [left, top, across, down] = [x, y - 6.0, SWATCH, 12.0].map(number);
        svg.path(
            &format!("M{left} {top}h{across}v{down}h-{across}z"),
            &format!("{} fill-opacity=\"0.22\"", fill(class, look.light)),
        );
    }
    let ends = |y: f64| polyline([(x, y), (x + SWATCH, y)].into_iter());
    match (entry.line, entry.band) {
        (true, _) => svg.path(&ends(y), &line_attributes(entry.style, 1.6)),
        (false, true) => svg.path(&(ends(y - 6.0) + &ends(y + 6.0)), &line_attributes(entry.style, 0.8)),
        (false, false) => {}
    }
    if entry.line || entry.points {
        svg.path(&markers(look.marker, &[(x + SWATCH / 2.0, y)]), &marker_attributes(class, look.light));
    }
    svg.text(x + SWATCH + 6.0, y + 0.36 * LEGEND, Font::new(LEGEND, TEXT, Anchor::Start), &[Span::plain(entry.label)]);
}

#[cfg(test)]
mod tests {
    use super::super::Axis;
    use super::*;

    fn curve(n: u32, scale: f64) -> Vec<(f64, f64)> {
        (0..n)
            .map(|i| (f64::from(i), scale * (1.0 + f64::from(i * 7919 % 101) / 50.0) / (1.0 + f64::from(i))))
            .collect()
    }

    fn panel() -> Panel {
        Panel {
            title: "training".into(),
            x: Axis::linear("step"),
            y: Axis::log("loss"),
            series: vec![
                Series::band("none", 0, curve(300, 1.0).into_iter().map(|(x, y)| (x, 0.5 * y, 2.0 * y)).collect()),
                Series::line("none", 0, curve(300, 1.0)),
                Series::line("BatchNorm", 1, curve(300, 0.1)),
                Series::points("test", 2, curve(9, 0.5)),
            ],
        }
    }

    fn figure(panels: usize) -> Figure {
        Figure {
            title: "Loss".into(),
            notes: vec!["A note.".into()],
            panels: vec![panel(); panels],
            ..Figure::default()
        }
    }

    #[test]
    fn the_same_figure_gives_the_same_bytes() {
        assert_eq!(figure(3).svg(), figure(3).svg());
        assert_ne!(figure(3).svg(), figure(2).svg());
    }

    #[test]
    fn a_figure_is_named_and_described() {
        let svg = figure(2).svg();
        for part in [
            "role=\"img\"",
            "<title>Loss</title>",
            "<desc>Panel a: training. loss (logarithmic) against step. none (band): from ",
            "prefers-color-scheme:dark",
            ">A note.</text>",
        ] {
            assert!(svg.contains(part), "{part}");
        }
        assert_eq!(svg.matches(">BatchNorm</text>").count(), 1, "one legend for all panels");
    }

    #[test]
    fn users_words_cannot_break_out_of_their_element() {
        let evil = "</text><script>alert(\"1\")</script> & ' ]]>";
        let mut figure = figure(1);
        figure.title = evil.into();
        figure.subtitle = evil.into();
        figure.notes = vec![evil.into()];
        figure.panels[0].title = evil.into();
        figure.panels[0].x.label = evil.into();
        figure.panels[0].y.label = evil.into();
        figure.panels[0].series[0].label = evil.into();
        let svg = figure.svg();
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"));
        balanced(&svg);
    }

    /// Every element that is opened is closed, in order; attributes are quoted and numbers finite.
    fn balanced(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("an end of the tag");
            assert!(tag.matches('"').count() % 2 == 0, "{tag}");
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) => assert_eq!(open.pop(), Some(name)),
                (false, false) => open.push(name),
                (false, true) => {}
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "a coordinate that is no number");
    }

    #[test]
    fn every_shape_of_figure_is_well_formed() {
        let nan = f64::NAN;
        let odd = [
            vec![],
            vec![Series::line("", 0, vec![])],
            vec![Series::line("a", 9, vec![(nan, 1.0), (1.0, nan), (2.0, f64::INFINITY)])],
            vec![
                Series::band("a", 1, vec![(0.0, -1.0, 5.0)]),
                Series::points("b", 2, vec![(1e300, 1e300), (-1e300, -1e308)]),
            ],
        ];
        for columns in [None, Some(0), Some(1), Some(2), Some(100)] {
            for panels in 0..6 {
                balanced(&Figure { columns, ..figure(panels) }.svg());
            }
            for scale in [Scale::Linear, Scale::Log] {
                let panels = odd.iter().map(|series| Panel {
                    x: Axis { scale, ..Axis::linear("x") },
                    y: Axis { scale, ..Axis::linear("y") },
                    series: series.clone(),
                    ..Panel::default()
                });
                balanced(&Figure { columns, panels: panels.collect(), ..Figure::default() }.svg());
            }
        }
        balanced(&Figure::default().svg());
    }

    #[test]
    fn a_long_run_gives_a_small_file() {
        let mut figure = figure(1);
        figure.panels[0].series =
            (0..5).map(|style| Series::line(format!("run {style}"), style, curve(200_000, 1.0))).collect();
        let svg = figure.svg();
        assert!(svg.len() < 5 * 30_000, "{} bytes", svg.len());
    }

    #[test]
    fn a_missing_value_breaks_the_line() {
        let mut figure = figure(1);
        let line = vec![(0.0, 1.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 1.0)];
        figure.panels[0].series = vec![Series::line("", 0, line)];
        let svg = figure.svg();
        let path = svg.lines().find(|line| line.contains("stroke-linejoin")).unwrap();
        assert_eq!(path.split('"').nth(1).unwrap().matches('M').count(), 2, "{path}");
    }
}
