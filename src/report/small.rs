//! One panel as a small figure for a card: its curves, their names, and a few ticks.

use super::axes::{Axes, BELOW};
use super::font::width;
use super::marks::line_attributes;
use super::plot::{Axis, Figure, Panel, legend};
use super::style::{PAPER, STYLES, TEXT, sheet, style};
use super::svg::{Anchor, Document, Font, Span, fill, number, polyline};

/// Sizes in pixels: the whole figure, and the names of the curves.
const WIDTH: f64 = 176.0;
const HEIGHT: f64 = 78.0;
const NAME: f64 = 10.5;
const ROW: f64 = 15.0;
const SWATCH: f64 = 13.0;
/// Half the width of the widest tick label, which is at the end of the axis.
const SIDE: f64 = 17.0;

impl Panel {
    /// The panel as a small SVG document, drawn as in its figure. The page states in words what the vertical axis shows. `name` is the
    /// picture's name for readers who cannot see it.
    pub fn small_svg(&self, name: &str) -> String {
        let panels = std::slice::from_ref(self);
        // A power of ten that all tick labels share still stands there.
        let unnamed = Panel { y: Axis { label: String::new(), ..self.y.clone() }, ..self.clone() };
        let left = Axes::new(&unnamed, WIDTH, HEIGHT, true).left().min(0.4 * WIDTH);
        let axes = Axes::new(&unnamed, WIDTH - left - SIDE, HEIGHT, true);
        let mut rows = vec![Vec::new()];
        let mut x = 0.0;
        let entries = legend(panels);
        for entry in &entries {
            let across = SWATCH + 4.0 + width(entry.label, NAME) + 9.0;
            if x > 0.0 && x + across - 9.0 > WIDTH {
                rows.push(Vec::new());
                x = 0.0;
            }
            rows.last_mut().into_iter().for_each(|row| row.push((x, entry)));
            x += across;
        }
        let top = rows.len() as f64 * ROW + 5.0;
        let total = top + HEIGHT + BELOW;
        let mut used: Vec<usize> = self.series.iter().map(|series| series.style % STYLES.len()).collect();
        used.sort_unstable();
        used.dedup();
        let words = Figure { panels: panels.to_vec(), ..Figure::default() }.description();
        let mut svg = Document::new(WIDTH, total, name, &words, &sheet(&used, false));
        svg.rectangle(0.0, 0.0, WIDTH, total, PAPER);
        for (i, row) in rows.iter().enumerate() {
            let y = (i as f64 + 0.5) * ROW;
            for (x, entry) in row {
                let class = entry.style % STYLES.len();
                if entry.band && !entry.line {
                    let [left, top, across, down] = [*x, y - 4.5, SWATCH, 9.0].map(number);
                    let shade = format!("{} fill-opacity=\"0.4\"", fill(class, style(entry.style).light));
                    svg.path(&format!("M{left} {top}h{across}v{down}h-{across}z"), &shade);
                } else {
                    let ends = [(*x, y), (x + SWATCH, y)];
                    svg.path(&polyline(ends.into_iter()), &line_attributes(entry.style, 2.2));
                }
                let font = Font::new(NAME, TEXT, Anchor::Start);
                svg.text(x + SWATCH + 4.0, y + 0.36 * NAME, font, &[Span::plain(entry.label)]);
            }
        }
        axes.draw(&mut svg, left, top, left);
        svg.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Series};
    use super::*;

    #[test]
    fn a_small_figure_names_its_curves_and_says_what_it_shows() {
        let line = |label: &str, style| Series::line(label, style, vec![(0.0, 1.0), (1.0, 2.0)]);
        let panel = Panel {
            title: "β".into(),
            x: Axis::linear("step"),
            y: Axis::linear("effective β"),
            series: vec![line("no norm", 0), line("BatchNorm", 1), Series::band("<ℓ1>", 3, vec![(0.0, 1.0, 2.0)])],
        };
        let svg = panel.small_svg("β over training");
        for part in [
            "<title>β over training</title>",
            ">no norm</text>",
            ">BatchNorm</text>",
            ">&lt;ℓ1&gt;</text>",
            ">step</text>",
        ] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.contains("effective β against step"), "what it shows is described");
        assert!(!svg.contains("rotate("), "the vertical axis has no label of its own");
        assert!(Panel::default().small_svg("").contains("<svg"));
    }
}
