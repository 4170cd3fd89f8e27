//! A figure as an SVG document: title, legend, rows of panels, notes.

use super::axes::{Axes, BELOW, RIGHT, vertical};
use super::font::width;
use super::frame::{BOLD, Frame, MARGIN};
use super::marks::{line_attributes, marker_attributes, markers};
use super::plot::{Entry, Figure, Kind, Scale, legend};
use super::ridge;
use super::style::{PAPER, STYLES, TEXT, sheet, style};
use super::svg::{Anchor, Document, Font, Span, fill, number, polyline, wrap};

/// Sizes in pixels.
const GAP: f64 = 14.0;
const PANEL_TITLE: f64 = 12.5;
const LEGEND: f64 = 12.0;
const LEGEND_ROW: f64 = 19.0;
const SWATCH: f64 = 30.0;
/// The width of a page, which three panels or more share. 862 pixels are 7 inches, so that a letter of size 11 prints at 6.5 points.
const PAGE: f64 = 862.0;

impl Figure {
    /// The figure as a standalone SVG document, which can also be embedded in an HTML page unchanged.
    ///
    /// It follows the reader's choice of a light or dark page. A program that reads no style sheets shows the light version.
    pub fn svg(&self) -> String {
        let columns = self.columns_used();
        let (cell, height) = cell(columns);
        let page = columns as f64 * cell + (columns as f64 - 1.0) * GAP + 2.0 * MARGIN;
        let inner = page - 2.0 * MARGIN;

        // Axes in one column of panels begin at the same place. How wide the tick labels are depends only on the heights.
        let left = |column: usize| {
            let panels = (column..self.panels.len()).step_by(columns);
            let lefts = panels.map(|i| Axes::new(&self.panels[i], cell, height, self.y_labelled(i, columns)).left());
            lefts.fold(0.0, f64::max)
        };
        let lefts: Vec<f64> = (0..columns).map(left).collect();
        let titles: Vec<Vec<String>> = self
            .panels
            .iter()
            .enumerate()
            .map(|(i, panel)| wrap(&panel.title, PANEL_TITLE, cell - lefts[i % columns] - self.letter_width(i)))
            .collect();
        // What each row of panels needs above its axes.
        let above = |titles: &[Vec<String>]| match titles.iter().map(Vec::len).max().unwrap_or(0) {
            0 if self.panels.len() < 2 => 6.0,
            lines => lines.max(1) as f64 * (PANEL_TITLE + 3.0) + 6.0,
        };
        let above: Vec<f64> = titles.chunks(columns).map(above).collect();

        let frame = Frame::new(&self.title, &self.subtitle, &self.notes, inner);
        let entries = legend(&self.panels);
        let rows = legend_rows(&entries, inner);
        let legend_top = frame.head() + if rows.is_empty() { 0.0 } else { 4.0 };
        let mut tops = vec![legend_top + rows.len() as f64 * LEGEND_ROW + 4.0];
        for above in &above {
            tops.push(tops[tops.len() - 1] + above + height + BELOW + GAP);
        }
        let end = tops[tops.len() - 1] - if above.is_empty() { 0.0 } else { GAP };
        let total = end + frame.foot();

        let series = || self.panels.iter().flat_map(|panel| &panel.series);
        let mut used: Vec<usize> = series().map(|s| s.style % STYLES.len()).collect();
        used.sort_unstable();
        used.dedup();
        let tinted = series().any(|s| matches!(s.kind, Kind::Ridge(_)));
        let dashed = self.panels.iter().any(|panel| ridge::mixed(&panel.series));
        let mut svg = Document::new(page, total, &self.title, &self.description(), &sheet(&used, tinted));
        svg.rectangle(0.0, 0.0, page, total, PAPER);
        frame.draw(&mut svg, end);
        for (i, row) in rows.iter().enumerate() {
            let y = legend_top + (i as f64 + 0.5) * LEGEND_ROW;
            row.iter().for_each(|(x, entry)| draw_entry(&mut svg, MARGIN + x, y, entry, dashed));
        }
        for (i, panel) in self.panels.iter().enumerate() {
            let (column, row) = (i % columns, i / columns);
            let (x, y) = (MARGIN + column as f64 * (cell + GAP), tops[row]);
            let left = lefts[column];
            let font = Font::new(PANEL_TITLE, TEXT, Anchor::Start);
            if self.panels.len() > 1 {
                svg.text(x + left, y + PANEL_TITLE, Font { bold: true, ..font }, &[Span::plain(letter(i))]);
            }
            for (line, title) in titles[i].iter().enumerate() {
                let y = y + PANEL_TITLE + line as f64 * (PANEL_TITLE + 3.0);
                svg.text(x + left + self.letter_width(i), y, font, &[Span::plain(title)]);
            }
            // A very wide tick label may not squeeze the panel away.
            let across = (cell - left - RIGHT).max(0.4 * cell);
            let axes = Axes::new(panel, across, height, self.y_labelled(i, columns));
            axes.draw(&mut svg, x + left, y + above[row], left);
        }
        svg.finish()
    }

    /// The same figure with a common range for the vertical axes in each row of panels, where these show the same: label and scale. Only
    /// the first of them then has the label.
    pub fn with_shared_y(mut self) -> Figure {
        let columns = self.columns_used();
        let (_, height) = cell(columns);
        for row in self.panels.chunks_mut(columns) {
            let ranges: Vec<(f64, f64)> = row.iter().map(|panel| vertical(panel, height).range()).collect();
            let shows: Vec<(String, Scale)> = row.iter().map(|panel| (panel.y.label.clone(), panel.y.scale)).collect();
            for (panel, shown) in row.iter_mut().zip(&shows) {
                let same = shows.iter().zip(&ranges).filter(|(other, _)| *other == shown).map(|(_, range)| *range);
                panel.y.range = same.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            }
        }
        self
    }

    /// Whether a panel's vertical axis needs its label. It does not where the panel to its left has the same axis with an explicit range.
    fn y_labelled(&self, panel: usize, columns: usize) -> bool {
        panel.is_multiple_of(columns)
            || self.panels[panel].y.range.is_none()
            || self.panels[panel - 1].y != self.panels[panel].y
    }

    /// The width that a panel's letter takes from its title.
    fn letter_width(&self, panel: usize) -> f64 {
        if self.panels.len() > 1 { BOLD * width(&letter(panel), PANEL_TITLE) + 7.0 } else { 0.0 }
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
}

/// Width and height of a panel in a figure with this many columns, including its vertical axis but not its horizontal one. In print, a
/// single panel fills a column of text (3.3 inches), and two or more share the width of a page (7 inches).
fn cell(columns: usize) -> (f64, f64) {
    match columns {
        1 => (370.0, 225.0),
        2 => (350.0, 205.0),
        3 => ((PAGE - 2.0 * MARGIN - 2.0 * GAP) / 3.0, 180.0),
        n => (((PAGE - 2.0 * MARGIN + GAP) / n as f64 - GAP).max(140.0), 160.0),
    }
}

/// The panel's letter: a, b, c … z, then a number.
pub fn letter(panel: usize) -> String {
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

/// A sample of the entry's look, and its label; y is the row's middle. Ridges are dashed if they are dashed in a panel.
fn draw_entry(svg: &mut Document, x: f64, y: f64, entry: &Entry, dashed: bool) {
    let look = style(entry.style);
    let class = entry.style % STYLES.len();
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
    if entry.ridge {
        let hump = [(x, y + 6.0), (x + 7.0, y + 5.0), (x + 12.0, y - 5.0), (x + 15.0, y - 7.0), (x + 18.0, y - 5.0)];
        let rest = [(x + 23.0, y + 5.0), (x + SWATCH, y + 6.0)];
        let outline = format!("{}z", polyline(hump.into_iter().chain(rest)));
        svg.path(&outline, &ridge::attributes(entry.style, dashed));
    }
    if entry.line || entry.points {
        svg.path(&markers(look.marker, &[(x + SWATCH / 2.0, y)]), &marker_attributes(class, look.light));
    }
    svg.text(x + SWATCH + 6.0, y + 0.36 * LEGEND, Font::new(LEGEND, TEXT, Anchor::Start), &[Span::plain(entry.label)]);
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Panel, Series};
    use super::*;
    use resvg::usvg::{Options, Tree};

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
        well_formed(&svg);
    }

    /// Asserts that the text is an SVG document whose numbers are finite.
    fn well_formed(svg: &str) {
        let read = Tree::from_str(svg, &Options::default());
        assert!(read.is_ok(), "{read:?}");
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
                well_formed(&Figure { columns, ..figure(panels) }.svg());
            }
            for scale in [Scale::Linear, Scale::Log] {
                let panels = odd.iter().map(|series| Panel {
                    x: Axis { scale, ..Axis::linear("x") },
                    y: Axis { scale, ..Axis::linear("y") },
                    series: series.clone(),
                    ..Panel::default()
                });
                well_formed(&Figure { columns, panels: panels.collect(), ..Figure::default() }.svg());
            }
        }
        well_formed(&Figure::default().svg());
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
