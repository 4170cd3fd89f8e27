//! A panel as text for a terminal: lines in Braille dots, eight to a character, with a marker for each series now and
//! then, so that it can be read without colours too.

use super::plot::{Kind, Panel, Ridge, Series, legend};
use super::scale::{Label, Mapping, Ticks};
use super::style::{STYLES, style};
use super::trace::Area;

/// How large a text plot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSize {
    /// Characters across, everything included. At least 24 are taken.
    pub columns: usize,
    /// Lines of the plot between the axes; titles, labels and legend come on top. At least 4 are taken.
    pub rows: usize,
    /// Whether to colour it, with the escape sequences that terminals with 256 colours know.
    pub colour: bool,
}

impl Default for TextSize {
    /// 72 by 16, without colours.
    fn default() -> Self {
        TextSize { columns: 72, rows: 16, colour: false }
    }
}

/// Between the markers of a line, in characters.
const MARKER_SPACING: usize = 16;

impl Panel {
    /// The panel as lines of text, each ended.
    pub fn text(&self, size: TextSize) -> String {
        // More than a terminal has would only cost memory.
        let (columns, rows) = (size.columns.clamp(24, 1000), size.rows.clamp(4, 1000));
        let y = Mapping::new(&self.y, self.series.iter().flat_map(Series::ys), 0.02);
        let x = Mapping::new(&self.x, self.series.iter().flat_map(Series::xs), 0.0);
        let y_ticks = y.ticks((rows / 4).max(2));
        let y_labels = placed(&y_ticks, |at| ((1.0 - at) * (rows - 1) as f64).round() as usize, rows);
        let left = y_labels.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0).min(columns / 3);
        let across = columns - left - 2;
        let x_ticks = x.ticks((across / 11).max(2));

        let mut canvas = Canvas::new(across, rows);
        let area = Area { x, y, width: 2.0 * across as f64 - 1.0, height: 4.0 * rows as f64 - 1.0 };
        // Bands first, so that lines lie on top of them.
        let (bands, others): (Vec<_>, Vec<_>) = self.series.iter().partition(|s| matches!(s.kind, Kind::Band(_)));
        let ordered: Vec<&Series> = bands.into_iter().chain(others).collect();
        ordered.iter().for_each(|series| canvas.series(&area, series));
        ordered.iter().for_each(|series| canvas.markers(&area, series));

        let mut lines = Vec::new();
        lines.extend((!self.title.is_empty()).then(|| self.title.clone()));
        let label = with_factor(&self.y.label, y_ticks.multiplier);
        lines.extend((!label.is_empty()).then(|| format!("{:left$} {label}", "")));
        for row in 0..rows {
            let label = y_labels.iter().find(|(place, _)| *place == row).map(|(_, label)| label.as_str());
            let axis = if label.is_some() { '┤' } else { '│' };
            lines.push(format!("{:>left$} {axis}{}", label.unwrap_or(""), canvas.row(row, size.colour)));
        }
        lines.extend(bottom(&x_ticks, across).map(|line| format!("{:left$} {line}", "")));
        let label = with_factor(&self.x.label, x_ticks.multiplier);
        let indent = left + 2 + across.saturating_sub(label.chars().count()) / 2;
        lines.extend((!label.is_empty()).then(|| format!("{:indent$}{label}", "")));
        lines.extend(legend_lines(self, columns, left + 2, size.colour));
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Where a label stands, and the label.
fn placed(ticks: &Ticks, place: impl Fn(f64) -> usize, limit: usize) -> Vec<(usize, String)> {
    let labels = ticks.ticks.iter().filter_map(|tick| Some((place(tick.at), plain(tick.label.as_ref()?))));
    labels.filter(|(place, _)| *place < limit).collect()
}

/// A label with its power in raised digits.
fn plain(label: &Label) -> String {
    let power = label.power.map_or(String::new(), raised);
    format!("{}{power}", label.text).replace('-', "−")
}

fn raised(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    power.to_string().chars().map(|c| c.to_digit(10).map_or('⁻', |digit| DIGITS[digit as usize])).collect()
}

fn with_factor(label: &str, multiplier: i32) -> String {
    match (label, multiplier) {
        (label, 0) => label.into(),
        ("", power) => format!("×10{}", raised(power)),
        (label, power) => format!("{label} (×10{})", raised(power)),
    }
}

/// The horizontal axis and the line of labels under it.
fn bottom(ticks: &Ticks, across: usize) -> [String; 2] {
    let mut axis = vec!['─'; across];
    let mut line = vec![' '; across];
    let mut free = 0;
    for (place, label) in placed(ticks, |at| (at * (across - 1) as f64).round() as usize, across) {
        axis[place] = '┬';
        let length = label.chars().count();
        let start = place.saturating_sub(length / 2).min(across.saturating_sub(length));
        // Where two labels would touch, the first stays.
        if start >= free && start + length <= across {
            label.chars().zip(&mut line[start..]).for_each(|(c, at)| *at = c);
            free = start + length + 1;
        }
    }
    ["└", " "]
        .into_iter()
        .zip([axis, line])
        .map(|(lead, chars)| lead.to_owned() + &String::from_iter(chars))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_default()
}

/// The legend, wrapped.
fn legend_lines(panel: &Panel, columns: usize, indent: usize, colour: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = columns;
    for entry in legend(std::slice::from_ref(panel)) {
        let look = style(entry.style);
        let sample = match (entry.line, entry.points, entry.band) {
            (true, _, false) => format!("─{}─", look.glyph),
            (_, _, true) => format!("░{}░", look.glyph),
            (false, _, false) => format!(" {} ", look.glyph),
        };
        let length = sample.chars().count() + 1 + entry.label.chars().count() + 3;
        if used + length > columns + 3 {
            lines.push(" ".repeat(indent));
            used = indent;
        }
        let sample = if colour { coloured(&sample, entry.style) } else { sample };
        lines.last_mut().into_iter().for_each(|line| *line += &format!("{sample} {}   ", entry.label));
        used += length;
    }
    lines
}

/// Foot, mean and standard deviation of each ridge.
fn moments(ridges: &[Ridge]) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
    ridges.iter().filter_map(|ridge| ridge.moments().map(|(mean, spread)| (ridge.at, mean, spread)))
}

fn coloured(text: &str, number: usize) -> String {
    format!("\x1b[38;5;{}m{text}\x1b[0m", style(number).terminal)
}

/// Characters with eight dots each, two across and four down.
struct Canvas {
    across: usize,
    rows: usize,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    /// The dots, as Unicode numbers them.
    dots: u8,
    marker: Option<char>,
    /// The style that drew here last.
    style: usize,
}

impl Canvas {
    fn new(across: usize, rows: usize) -> Canvas {
        Canvas { across, rows, cells: vec![Cell::default(); across * rows] }
    }

    fn cell(&mut self, column: f64, row: f64) -> Option<&mut Cell> {
        let inside = column >= 0.0 && row >= 0.0 && column < self.across as f64 && row < self.rows as f64;
        inside.then(|| &mut self.cells[row as usize * self.across + column as usize])
    }

    /// Sets the dot nearest to (x, y), where it is on the canvas.
    fn dot(&mut self, x: f64, y: f64, style: usize) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let (x, y) = (x.round(), y.round());
        if let Some(cell) = self.cell((x / 2.0).floor(), (y / 4.0).floor()) {
            cell.dots |= BITS[y as usize % 4][x as usize % 2];
            cell.style = style;
        }
    }

    fn segment(&mut self, from: (f64, f64), to: (f64, f64), style: usize) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
        for i in 0..=steps as usize {
            let t = i as f64 / steps;
            self.dot(from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1), style);
        }
    }

    fn polyline(&mut self, points: impl Iterator<Item = (f64, f64)>, style: usize) {
        let mut last = None;
        for point in points {
            self.segment(last.unwrap_or(point), point, style);
            last = Some(point);
        }
    }

    fn series(&mut self, area: &Area, series: &Series) {
        match &series.kind {
            Kind::Line(points) => {
                area.line(points).into_iter().for_each(|piece| self.polyline(piece.into_iter(), series.style));
            }
            Kind::Points(_) => {}
            // Curves have no room: from one standard deviation below the mean to one above it.
            Kind::Ridge(ridges) => {
                for (at, mean, spread) in moments(ridges) {
                    if let (Some(low), Some(high)) = (area.point(mean - spread, at), area.point(mean + spread, at)) {
                        self.segment(low, high, series.style);
                    }
                }
            }
            Kind::Band(points) => {
                for piece in area.band(points) {
                    self.polyline(piece.iter().map(|p| (p.0, p.1)), series.style);
                    self.polyline(piece.iter().map(|p| (p.0, p.2)), series.style);
                    // A thin screen of dots between the two.
                    for pair in piece.windows(2) {
                        let (a, b) = (pair[0], pair[1]);
                        for x in a.0.round().max(0.0) as usize..=b.0.round().clamp(0.0, area.width) as usize {
                            let t = if b.0 > a.0 { ((x as f64 - a.0) / (b.0 - a.0)).clamp(0.0, 1.0) } else { 0.0 };
                            let (top, foot) = (a.1 + t * (b.1 - a.1), a.2 + t * (b.2 - a.2));
                            for y in top.max(0.0).ceil() as usize..=foot.clamp(0.0, area.height) as usize {
                                if y % 2 == 0 && (x + y) % 4 == 0 {
                                    self.dot(x as f64, y as f64, series.style);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Markers: at every one of a series of points; along a line, or the middle of a band, at even distances, each style
    /// beginning elsewhere.
    fn markers(&mut self, area: &Area, series: &Series) {
        let (places, spacing): (Vec<_>, _) = match &series.kind {
            Kind::Line(points) => (points.iter().filter_map(|&(x, y)| area.point(x, y)).collect(), MARKER_SPACING),
            Kind::Points(points) => (points.iter().filter_map(|&(x, y)| area.point(x, y)).collect(), 0),
            Kind::Band(points) => {
                let middle = |&(x, top, foot): &(f64, f64, f64)| (x, 0.5 * (top + foot));
                (area.band(points).iter().flatten().map(middle).collect(), MARKER_SPACING)
            }
            Kind::Ridge(ridges) => (moments(ridges).filter_map(|(at, mean, _)| area.point(mean, at)).collect(), 0),
        };
        let glyph = style(series.style).glyph;
        let mut next = if spacing > 0 { 2 + 5 * (series.style % STYLES.len()) % spacing } else { 0 };
        let mut drawn = false;
        for &(x, y) in &places {
            let column = (x.round().max(0.0) / 2.0) as usize;
            let Some(cell) = self.cell((x.round() / 2.0).floor(), (y.round() / 4.0).floor()) else { continue };
            // On a place that is taken the other series keeps its marker: this one has others.
            if column >= next && (spacing == 0 || cell.marker.is_none()) {
                (cell.marker, cell.style, drawn) = (Some(glyph), series.style, true);
                next = if spacing > 0 { column + spacing } else { 0 };
            }
        }
        // Every series shows itself somewhere.
        if let (false, Some(&(x, y))) = (drawn, places.last())
            && let Some(cell) = self.cell((x.round() / 2.0).floor(), (y.round() / 4.0).floor())
        {
            (cell.marker, cell.style) = (Some(glyph), series.style);
        }
    }

    /// One line of characters.
    fn row(&self, row: usize, colour: bool) -> String {
        let cells = &self.cells[row * self.across..][..self.across];
        let mut line = String::new();
        for part in cells.chunk_by(|a, b| {
            a.shown() == ' ' && b.shown() == ' ' || a.shown() != ' ' && b.shown() != ' ' && a.style == b.style
        }) {
            let text: String = part.iter().map(Cell::shown).collect();
            let blank = part.first().is_none_or(|cell| cell.shown() == ' ');
            line += &if colour && !blank { coloured(&text, part[0].style) } else { text };
        }
        line
    }
}

impl Cell {
    fn shown(&self) -> char {
        match (self.marker, self.dots) {
            (Some(marker), _) => marker,
            (None, 0) => ' ',
            (None, dots) => char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Axis;
    use super::*;

    fn panel(series: Vec<Series>) -> Panel {
        Panel { title: "Loss".into(), x: Axis::linear("step"), y: Axis::log("loss"), series }
    }

    fn curve(n: u32, rate: f64) -> Vec<(f64, f64)> {
        (0..n).map(|i| (f64::from(i), 2.0 * (-rate * f64::from(i) / f64::from(n)).exp())).collect()
    }

    #[test]
    fn a_plot_has_the_size_asked_for() {
        for (columns, rows) in [(72, 16), (40, 8), (0, 0)] {
            let text =
                panel(vec![Series::line("none", 0, curve(900, 1.0)), Series::line("BatchNorm", 1, curve(900, 6.0))])
                    .text(TextSize { columns, rows, colour: false });
            assert!(text.lines().all(|line| line.chars().count() <= columns.max(24)), "{text}");
            assert_eq!(text.lines().filter(|line| line.contains(['│', '┤'])).count(), rows.max(4), "{text}");
        }
    }

    #[test]
    fn it_names_what_it_shows() {
        let text = panel(vec![Series::line("none", 0, curve(900, 1.0)), Series::line("BatchNorm", 1, curve(900, 6.0))])
            .text(TextSize::default());
        for part in ["Loss", "step", "loss", "─●─ none", "─□─ BatchNorm", "0.01", "0.1", "400"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        // Both series can be told apart without colour.
        let plot: String = text.lines().filter(|line| line.contains(['│', '┤'])).collect();
        assert!(plot.matches('●').count() >= 2 && plot.matches('□').count() >= 2, "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colours_change_no_character() {
        let panel = panel(vec![
            Series::band("none", 0, curve(50, 1.0).into_iter().map(|(x, y)| (x, 0.5 * y, y)).collect()),
            Series::points("BatchNorm", 1, curve(5, 6.0)),
        ]);
        let mut bare = panel.text(TextSize { colour: true, ..TextSize::default() });
        assert!(bare.contains("\x1b[38;5;"));
        while let Some(start) = bare.find('\x1b') {
            let end = start + bare[start..].find('m').unwrap();
            bare.replace_range(start..=end, "");
        }
        assert_eq!(bare, panel.text(TextSize::default()));
    }

    #[test]
    fn a_falling_line_falls() {
        let text = Panel { series: vec![Series::line("a", 0, vec![(0.0, 1.0), (1.0, 0.0)])], ..Panel::default() }
            .text(TextSize { columns: 40, rows: 10, colour: false });
        let first_dot = |line: &str| line.chars().position(|c| ('\u{2801}'..='\u{28ff}').contains(&c) || c == '●');
        let places: Vec<_> = text.lines().filter(|line| line.contains(['│', '┤'])).map(first_dot).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{text}");
    }

    #[test]
    fn nothing_to_show_is_shown_all_the_same() {
        let nan = f64::NAN;
        let cases = [
            vec![],
            vec![Series::line("a", 0, vec![])],
            vec![Series::line("a", 0, vec![(nan, nan), (0.0, -1.0), (1.0, f64::INFINITY)])],
            vec![Series::band("a", 9, vec![(0.0, nan, 1.0), (0.0, 0.0, f64::INFINITY)])],
            vec![Series::points("a", 100, vec![(5.0, 5.0); 3]), Series::line("b", 1, vec![(5.0, 5.0)])],
        ];
        for series in cases {
            let text = panel(series).text(TextSize::default());
            assert_eq!(text.lines().filter(|line| line.contains(['│', '┤'])).count(), 16, "{text}");
        }
    }
}
