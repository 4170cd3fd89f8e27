//! The data of a figure.

use super::distribution;
pub use super::distribution::Ridge;

/// A figure: panels side by side under one title and one legend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// The text on top, and the picture's name for a screen reader. May be empty.
    pub title: String,
    /// A line or two below the title: what was run, at which scale. May be empty.
    pub subtitle: String,
    /// Small print below the panels, one paragraph each: deviations, number of seeds.
    pub notes: Vec<String>,
    /// The panels in reading order. With more than one, each gets a letter: a, b, c.
    pub panels: Vec<Panel>,
    /// Panels in a row; `None` leaves it to the layout (at most three).
    pub columns: Option<usize>,
}

/// One pair of axes, with what is drawn between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Panel {
    /// The text above the axes. May be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series, drawn in this order with later ones on top. Bands are always below everything else.
    pub series: Vec<Series>,
}

/// One axis of a panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// The quantity shown, with its unit.
    pub label: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// The ends of the axis. `None` takes the range of the data; so do ends that are no range on this scale.
    pub range: Option<(f64, f64)>,
}

/// How values are placed along an axis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances for equal differences.
    #[default]
    Linear,
    /// Equal distances for equal ratios. Values that are not positive have no place and are left out.
    Log,
}

/// One named element of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The name in the legend. Series with the same label and style share an entry: a line and its band, or the same variant in several
    /// panels. An empty label has no entry.
    pub label: String,
    /// The look: colour, dash and marker number `style` of [`STYLES`](super::STYLES), which repeat after the last. A variant keeps the same
    /// style in every panel and figure.
    pub style: usize,
    /// What is drawn.
    pub kind: Kind,
}

/// What a series draws. A value that is NaN is missing.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// (x, y) in order, joined by a line that breaks where a value is not finite.
    Line(Vec<(f64, f64)>),
    /// (x, y), each a marker of its own.
    Points(Vec<(f64, f64)>),
    /// (x, lowest, highest) in order: the area between. An infinite end reaches the edge of the panel. So does a lower end that is not
    /// positive, on a logarithmic axis.
    Band(Vec<(f64, f64, f64)>),
    /// Distributions one behind another, as a ridge plot. Each is a curve over x whose foot is at its own y; lower feet are in front. All
    /// share one scale of heights. Where an axis has no range of its own, the horizontal one is trimmed to the visible parts, and the
    /// vertical one has space for the highest curve. A panel should use one look, named in the panel's title; then the outlines are
    /// unbroken, and look alike in a grey print.
    Ridge(Vec<Ridge>),
}

impl Axis {
    /// A linear axis over the data's own range.
    pub fn linear(label: impl Into<String>) -> Self {
        Axis { label: label.into(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis over the data's own range.
    pub fn log(label: impl Into<String>) -> Self {
        Axis { label: label.into(), scale: Scale::Log, range: None }
    }

    /// The same axis with these ends.
    pub fn with_range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}

impl Series {
    /// A line through (x, y).
    pub fn line(label: impl Into<String>, style: usize, points: Vec<(f64, f64)>) -> Self {
        Series { label: label.into(), style, kind: Kind::Line(points) }
    }

    /// A marker at every (x, y).
    pub fn points(label: impl Into<String>, style: usize, points: Vec<(f64, f64)>) -> Self {
        Series { label: label.into(), style, kind: Kind::Points(points) }
    }

    /// Distributions, each with its foot at its own y.
    pub fn ridge(label: impl Into<String>, style: usize, ridges: Vec<Ridge>) -> Self {
        Series { label: label.into(), style, kind: Kind::Ridge(ridges) }
    }

    /// The area between the lowest and the highest at every x: (x, lowest, highest).
    pub fn band(label: impl Into<String>, style: usize, points: Vec<(f64, f64, f64)>) -> Self {
        Series { label: label.into(), style, kind: Kind::Band(points) }
    }

    /// Every x of the series; for ridges only the ends of the visible parts.
    pub(super) fn xs(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match &self.kind {
            Kind::Line(points) | Kind::Points(points) => Box::new(points.iter().map(|p| p.0)),
            Kind::Band(points) => Box::new(points.iter().map(|p| p.0)),
            Kind::Ridge(ridges) => Box::new(distribution::span(ridges).into_iter()),
        }
    }

    /// Every y of the series: both ends of a band, the feet of ridges.
    pub fn ys(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match &self.kind {
            Kind::Line(points) | Kind::Points(points) => Box::new(points.iter().map(|p| p.1)),
            Kind::Band(points) => Box::new(points.iter().flat_map(|p| [p.1, p.2])),
            Kind::Ridge(ridges) => Box::new(ridges.iter().filter(|ridge| ridge.peak().is_some()).map(|ridge| ridge.at)),
        }
    }
}

/// An entry of a legend: a label in a style, with the kinds of series that use it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry<'a> {
    pub label: &'a str,
    pub style: usize,
    pub line: bool,
    pub points: bool,
    pub band: bool,
    pub ridge: bool,
}

/// The legend of these panels: each label and style once, in the order of first use.
pub(super) fn legend(panels: &[Panel]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        if series.label.is_empty() {
            continue;
        }
        let found = entries.iter().position(|e| e.label == series.label && e.style == series.style);
        let place = found.unwrap_or_else(|| {
            let (label, style) = (series.label.as_str(), series.style);
            entries.push(Entry { label, style, line: false, points: false, band: false, ridge: false });
            entries.len() - 1
        });
        match series.kind {
            Kind::Line(_) => entries[place].line = true,
            Kind::Points(_) => entries[place].points = true,
            Kind::Band(_) => entries[place].band = true,
            Kind::Ridge(_) => entries[place].ridge = true,
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_its_band_share_a_legend_entry() {
        let panel = |series| Panel { series, ..Panel::default() };
        let panels = [
            panel(vec![Series::band("a", 0, vec![]), Series::line("a", 0, vec![]), Series::line("", 3, vec![])]),
            panel(vec![Series::points("b", 1, vec![]), Series::line("a", 0, vec![]), Series::line("a", 2, vec![])]),
        ];
        let entry = |label, style, line, points, band| Entry { label, style, line, points, band, ridge: false };
        assert_eq!(
            legend(&panels),
            [entry("a", 0, true, false, true), entry("b", 1, false, true, false), entry("a", 2, true, false, false)]
        );
    }
}
