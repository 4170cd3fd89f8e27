//! One panel of a figure: axes, ticks, labels, and the series between them.

use std::fmt::Write;

use super::font::width;
use super::marks::{line_attributes, marker_attributes, markers};
use super::plot::{Kind, Panel, Series};
use super::ridge;
use super::scale::{Label, Mapping, Ticks};
use super::style::{AXIS, GRID, MUTED, TEXT, style};
use super::svg::{Anchor, Document, Font, Span, fill, number, polyline, stroke, wrap};
use super::trace::Area;

/// Sizes in pixels. A figure is drawn larger than it is printed (see `layout.rs`): a letter of size 11 prints at 6.5 points.
const TICK_LABEL: f64 = 11.0;
const AXIS_LABEL: f64 = 12.0;
/// The smallest size of an axis label that has to fit its axis.
const SMALLEST_LABEL: f64 = 9.5;
const TICK: f64 = 4.0;
const LINE: f64 = 1.6;
/// The least space between two tick labels of a horizontal axis.
const AIR: f64 = 10.0;
/// The space below the axes: ticks, their labels, and the axis label.
pub const BELOW: f64 = 40.0;
/// The space to the right of the axes: half a tick label.
pub const RIGHT: f64 = 12.0;
/// The space between markers along a line.
const MARKER_SPACING: f64 = 56.0;

/// A panel with its axes computed, ready to be drawn.
pub struct Axes<'a> {
    panel: &'a Panel,
    area: Area,
    x: Ticks,
    y: Ticks,
    /// The label of the vertical axis, broken into lines; empty where the panel to the left has the same label.
    label: Vec<String>,
}

impl<'a> Axes<'a> {
    /// Computes the axes of a panel that is `width` by `height` pixels between the axes. `labelled` says that its vertical axis needs its label.
    pub fn new(panel: &'a Panel, width: f64, height: f64, labelled: bool) -> Axes<'a> {
        let x = Mapping::new(&panel.x, panel.series.iter().flat_map(Series::xs), 0.015);
        let y = vertical(panel, height);
        let x_ticks = fitting(&x, width);
        let mut y_ticks = y.ticks((height / 38.0) as usize);
        // In the head-room of ridges there is nothing to be read off.
        let highest = ridge::highest_foot(&panel.series).and_then(|foot| y.at(foot));
        let below = |at: f64| highest.is_none_or(|highest| at <= highest + 0.01);
        if labelled_places(&y_ticks).filter(|at| below(*at)).count() >= 2 {
            y_ticks.ticks.retain(|tick| below(tick.at));
        }
        let shown = labelled && !(panel.y.label.is_empty() && y_ticks.multiplier == 0);
        let mut label = if shown { wrap(&panel.y.label, AXIS_LABEL, height) } else { Vec::new() };
        if shown && label.is_empty() {
            label.push(String::new());
        }
        Axes { panel, area: Area { x, y, width, height }, x: x_ticks, y: y_ticks, label }
    }

    /// The width that the vertical axis needs to its left: ticks, their labels, and the axis label.
    pub fn left(&self) -> f64 {
        let labels = self.y.ticks.iter().filter_map(|tick| tick.label.as_ref());
        let widest = labels.map(label_width).fold(0.0, f64::max);
        let label = if self.label.is_empty() { 0.0 } else { self.label.len() as f64 * (AXIS_LABEL + 2.0) + 5.0 };
        (TICK + 3.0 + widest + label).ceil()
    }

    /// Draws the panel with the upper left corner of its axes at (x, y). `left` is the space for vertical axes in its column of panels.
    pub fn draw(&self, svg: &mut Document, x: f64, y: f64, left: f64) {
        let (w, h) = (self.area.width, self.area.height);
        self.grid(svg, x, y);
        svg.window(x, y, w, h, 3.0, |svg| {
            // Bands lie below all lines, whatever the order, and ridges between them.
            let (bands, others): (Vec<_>, Vec<_>) =
                self.panel.series.iter().partition(|s| matches!(s.kind, Kind::Band(_)));
            bands.into_iter().for_each(|series| self.series(svg, series));
            ridge::draw(svg, &self.area, &self.panel.series);
            others.into_iter().for_each(|series| self.series(svg, series));
        });
        self.frame(svg, x, y);
        let font = Font::new(AXIS_LABEL, TEXT, Anchor::Middle);
        let label = axis_label(&self.panel.x.label, self.x.multiplier);
        let across: f64 = label.iter().map(|span| width(&span.text, AXIS_LABEL)).sum();
        // It may reach a little beyond the axis on both sides.
        let size = (AXIS_LABEL * ((w + 2.0 * RIGHT) / across).min(1.0)).max(SMALLEST_LABEL);
        svg.text(x + w / 2.0, y + h + BELOW - 5.0, Font { size, ..font }, &label);
        for (i, line) in self.label.iter().enumerate() {
            let factor = if i + 1 == self.label.len() { self.y.multiplier } else { 0 };
            let place = x - left + AXIS_LABEL + i as f64 * (AXIS_LABEL + 2.0);
            svg.text(place, y + h / 2.0, Font { upright: true, ..font }, &axis_label(line, factor));
        }
    }

    /// Grid lines at the labelled ticks.
    fn grid(&self, svg: &mut Document, x: f64, y: f64) {
        let mut lines = String::new();
        for at in labelled_places(&self.x) {
            let _ = write!(lines, "M{} {}v{}", number(x + at * self.area.width), number(y), number(self.area.height));
        }
        for at in labelled_places(&self.y) {
            let _ = write!(
                lines,
                "M{} {}h{}",
                number(x),
                number(y + (1.0 - at) * self.area.height),
                number(self.area.width)
            );
        }
        svg.path(&lines, &stroke(GRID.class, GRID.light, 1.0));
    }

    /// The two axis lines with their ticks and labels.
    fn frame(&self, svg: &mut Document, x: f64, y: f64) {
        let (w, h) = (self.area.width, self.area.height);
        let mut lines = format!("M{} {}v{}h{}", number(x), number(y), number(h), number(w));
        let font = Font::new(TICK_LABEL, MUTED, Anchor::Middle);
        let mut free = f64::NEG_INFINITY;
        for tick in &self.x.ticks {
            let length = if tick.label.is_some() { TICK } else { TICK / 2.0 };
            let at = x + tick.at * w;
            let _ = write!(lines, "M{} {}v{}", number(at), number(y + h), number(length));
            // Where two labels would touch, the first stays.
            if let Some(label) = &tick.label
                && at - 0.5 * label_width(label) >= free
            {
                svg.text(at, y + h + TICK + TICK_LABEL, font, &spans(label));
                free = at + 0.5 * label_width(label) + 4.0;
            }
        }
        for tick in &self.y.ticks {
            let length = if tick.label.is_some() { TICK } else { TICK / 2.0 };
            let at = y + (1.0 - tick.at) * h;
            let _ = write!(lines, "M{} {}h{}", number(x), number(at), number(-length));
            if let Some(label) = &tick.label {
                let font = Font { anchor: Anchor::End, ..font };
                svg.text(x - TICK - 3.0, at + 0.36 * TICK_LABEL, font, &spans(label));
            }
        }
        svg.path(&lines, &format!("{} stroke-linecap=\"square\"", stroke(AXIS.class, AXIS.light, 1.0)));
    }

    fn series(&self, svg: &mut Document, series: &Series) {
        let look = style(series.style);
        let class = series.style % super::STYLES.len();
        match &series.kind {
            Kind::Line(points) => {
                let pieces = self.area.line(points);
                let commands: String = pieces.iter().map(|piece| polyline(piece.iter().copied())).collect();
                svg.path(&commands, &line_attributes(series.style, LINE));
                let places = self.marked(points, series.style);
                svg.path(&markers(look.marker, &places), &marker_attributes(class, look.light));
            }
            Kind::Points(points) => {
                let mut places: Vec<_> = points.iter().filter_map(|&(x, y)| self.area.point(x, y)).collect();
                // Markers in the same place are one marker: a long series stays a small file.
                let mut seen = std::collections::HashSet::new();
                places.retain(|&(x, y)| seen.insert(((2.0 * x).round() as i64, (2.0 * y).round() as i64)));
                svg.path(&markers(look.marker, &places), &marker_attributes(class, look.light));
            }
            Kind::Band(points) => {
                let (mut area, mut edges) = (String::new(), String::new());
                for piece in self.area.band(points) {
                    let top = polyline(piece.iter().map(|p| (p.0, p.1)));
                    let foot = polyline(piece.iter().map(|p| (p.0, p.2)));
                    let back = polyline(piece.iter().rev().map(|p| (p.0, p.2)));
                    if let [(x, top, foot)] = piece[..] {
                        // A band at one place only is a stroke from end to end.
                        edges.push_str(&polyline([(x, top), (x, foot)].into_iter()));
                        continue;
                    }
                    let _ = write!(area, "{top}{}z", back.replacen('M', "L", 1));
                    edges.push_str(&top);
                    edges.push_str(&foot);
                }
                svg.path(&area, &format!("{} fill-opacity=\"0.22\"", fill(class, look.light)));
                svg.path(&edges, &format!("{} stroke-opacity=\"0.85\"", line_attributes(series.style, 0.8)));
            }
            // Drawn together: those of one series may lie in front of another's.
            Kind::Ridge(_) => {}
        }
    }

    /// The places of a line's markers: every point of a short line, otherwise points spaced about evenly. Each style starts at another
    /// place, so that lines on top of each other can still be told apart.
    fn marked(&self, points: &[(f64, f64)], number: usize) -> Vec<(f64, f64)> {
        let inside = |p: &(f64, f64)| {
            (-0.5..=self.area.width + 0.5).contains(&p.0) && (-0.5..=self.area.height + 0.5).contains(&p.1)
        };
        let placed = points.iter().filter_map(|&(x, y)| self.area.point(x, y)).filter(inside);
        if points.len() <= 12 {
            return placed.collect();
        }
        let number = number % super::STYLES.len();
        let share = (number % 7) as f64 / 7.0 + (number / 7) as f64 / 14.0;
        let mut next = (0.25 + share) * MARKER_SPACING;
        let mut places = Vec::new();
        for place in placed {
            if place.0 >= next {
                places.push(place);
                next += (((place.0 - next) / MARKER_SPACING).floor() + 1.0) * MARKER_SPACING;
            }
        }
        places
    }
}

/// The ticks of a horizontal axis: as many as fit with space between their labels. If fewer than two fit, more ticks are tried until two
/// have labels.
fn fitting(axis: &Mapping, across: f64) -> Ticks {
    let airy = |ticks: &Ticks| {
        let labels = ticks.ticks.iter().filter_map(|tick| Some((tick.at * across, label_width(tick.label.as_ref()?))));
        let labels: Vec<(f64, f64)> = labels.collect();
        labels.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 0.5 * (pair[0].1 + pair[1].1) + AIR)
    };
    let most = ((across / 45.0) as usize).max(2);
    let fewer = (2..=most).rev().map(|about| axis.ticks(about)).find(airy);
    let several = |ticks: &Ticks| labelled_places(ticks).count() >= 2;
    let more = || (2..=most + 4).map(|about| axis.ticks(about)).find(several);
    fewer.filter(several).or_else(more).unwrap_or_else(|| axis.ticks(2))
}

/// The vertical axis of a panel that is `height` pixels high.
pub fn vertical(panel: &Panel, height: f64) -> Mapping {
    let pad = match ridge::head_room(panel, height) {
        Some(above) => (0.02, above.max(0.05)),
        None => (0.05, 0.05),
    };
    Mapping::padded(&panel.y, panel.series.iter().flat_map(Series::ys), pad)
}

fn labelled_places(ticks: &Ticks) -> impl Iterator<Item = f64> + '_ {
    ticks.ticks.iter().filter(|tick| tick.label.is_some()).map(|tick| tick.at)
}

/// Replaces hyphens by minus signs: a minus sign is as wide as a plus, a hyphen is not.
fn minus(text: &str) -> String {
    text.replace('-', "−")
}

fn spans(label: &Label) -> Vec<Span> {
    let mut spans = vec![Span::plain(minus(&label.text))];
    spans.extend(label.power.map(|power| Span::raised(minus(&power.to_string()))));
    spans
}

fn label_width(label: &Label) -> f64 {
    let power = label.power.map_or(0.0, |power| width(&minus(&power.to_string()), 0.75 * TICK_LABEL));
    width(&minus(&label.text), TICK_LABEL) + power
}

/// An axis's label, followed by the factor of its tick labels.
fn axis_label(label: &str, multiplier: i32) -> Vec<Span> {
    let mut spans = vec![Span::plain(label)];
    if multiplier != 0 {
        spans.push(Span::plain(if label.is_empty() { "×10" } else { " (×10" }));
        spans.push(Span::raised(minus(&multiplier.to_string())));
        spans.push(Span::plain(if label.is_empty() { "" } else { ")" }));
    }
    spans
}
