//! A diagram as an SVG document. A network is a column of boxes joined by arrows; boxes of the same row are at the same height.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::diagram::{Block, Column, Diagram};
use super::font::width;
use super::frame::{BOLD, Frame, MARGIN};
use super::style::{AXIS, MUTED, PAPER, STYLES, TEXT, sheet, tint_attributes};
use super::svg::{Anchor, Document, Font, Span, fill, number, stroke, wrap};

/// Sizes in pixels.
const HEAD: f64 = 12.5;
const LABEL: f64 = 11.0;
/// The size of a detail relative to a label.
const DETAIL: f64 = 0.9;
/// The size of labels where there are many rows; the boxes are then closer together too.
const CLOSE_LABEL: f64 = 10.5;
/// The space between a box's frame and its words, and between label and detail.
const PAD: f64 = 8.0;
const BETWEEN: f64 = 14.0;
/// The space between two columns.
const GAP: f64 = 26.0;
/// The least width of a box.
const NARROWEST: f64 = 92.0;
/// The most rows with widely spaced boxes.
const ROOMY: usize = 16;
/// The least width of the picture, so that titles and notes have space.
const LEAST: f64 = 370.0;

impl Diagram {
    /// The diagram as an SVG document, like [`Figure::svg`](super::Figure::svg) for a figure.
    pub fn svg(&self) -> String {
        let columns: Vec<Placed> = self.columns.iter().map(Placed::new).collect();
        // Rows that no network has take no room.
        let rows: Vec<usize> =
            columns.iter().flat_map(|c| &c.boxes).map(|(row, _)| *row).collect::<BTreeSet<_>>().into_iter().collect();
        let (tall, gap, label) = if rows.len() <= ROOMY { (24.0, 15.0, LABEL) } else { (15.0, 6.5, CLOSE_LABEL) };

        let across = columns.iter().map(|c| c.width + GAP).sum::<f64>() - if columns.is_empty() { 0.0 } else { GAP };
        let inner = across.max(LEAST);
        let page = inner + 2.0 * MARGIN;
        let frame = Frame::new(&self.title, &self.subtitle, &self.notes, inner);
        let heads: Vec<Vec<String>> =
            self.columns.iter().zip(&columns).map(|(c, placed)| wrap(&c.title, BOLD * HEAD, placed.width)).collect();
        let lines = heads.iter().map(Vec::len).max().unwrap_or(0) as f64;
        let heads_top = frame.head() + 6.0;
        let top = heads_top + lines * (HEAD + 3.0) + if lines > 0.0 { 7.0 } else { 0.0 };
        let end = top + (rows.len() as f64 * (tall + gap) - gap).max(0.0);
        let total = end + 4.0 + frame.foot();

        let styles = columns.iter().flat_map(|c| &c.boxes).map(|(_, block)| block.style % STYLES.len());
        let used: Vec<usize> = styles.collect::<BTreeSet<_>>().into_iter().collect();
        let mut svg = Document::new(page, total, &self.title, &self.description(), &sheet(&used, true));
        svg.rectangle(0.0, 0.0, page, total, PAPER);
        frame.draw(&mut svg, end + 4.0);

        let place = |row: usize| top + rows.binary_search(&row).unwrap_or(0) as f64 * (tall + gap);
        let mut x = MARGIN + 0.5 * (inner - across);
        for (column, head) in columns.iter().zip(&heads) {
            let middle = x + 0.5 * column.width;
            // Heads stand on the boxes, however many lines the others have.
            let first = heads_top + (lines - head.len() as f64) * (HEAD + 3.0);
            for (i, line) in head.iter().enumerate() {
                let font = Font { bold: true, ..Font::new(HEAD, TEXT, Anchor::Middle) };
                svg.text(middle, first + HEAD + i as f64 * (HEAD + 3.0), font, &[Span::plain(line)]);
            }
            let mut arrows = (String::new(), String::new());
            for pair in column.boxes.windows(2) {
                arrow(&mut arrows, middle, place(pair[0].0) + tall, place(pair[1].0));
            }
            svg.path(&arrows.0, &stroke(AXIS.class, AXIS.light, 1.1));
            svg.path(&arrows.1, &fill(AXIS.class, AXIS.light));
            for (row, block) in &column.boxes {
                draw_box(&mut svg, (x, place(*row)), (column.width, tall), column.detailed, label, block);
            }
            x += column.width + GAP;
        }
        svg.finish()
    }

    /// What the diagram shows, in words, for readers who cannot see it.
    fn description(&self) -> String {
        let words = |block: &Block| match block.detail.as_str() {
            "" => block.label.clone(),
            detail => format!("{} ({detail})", block.label),
        };
        let line = |(i, column): (usize, &Column)| {
            let name = if column.title.is_empty() { format!("network {}", i + 1) } else { column.title.clone() };
            let boxes: Vec<String> = Placed::new(column).boxes.into_iter().map(|(_, block)| words(block)).collect();
            format!("{name}, from input to output: {}.", boxes.join(", then "))
        };
        self.columns.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A column with each box in its row.
struct Placed<'a> {
    boxes: Vec<(usize, &'a Block)>,
    width: f64,
    /// Whether labels are on the left of their boxes, because details are on the right.
    detailed: bool,
}

impl<'a> Placed<'a> {
    fn new(column: &'a Column) -> Placed<'a> {
        let mut blocks: Vec<&Block> = column.boxes.iter().collect();
        blocks.sort_by_key(|block| block.row);
        let mut boxes: Vec<(usize, &Block)> = Vec::new();
        for block in blocks {
            // Of two in one row the later one moves down.
            let row = boxes.last().map_or(block.row, |(last, _)| block.row.max(last.saturating_add(1)));
            boxes.push((row, block));
        }
        let detailed = boxes.iter().any(|(_, block)| !block.detail.is_empty());
        let needs = |(_, block): &(usize, &Block)| {
            let detail = if block.detail.is_empty() { 0.0 } else { BETWEEN + width(&block.detail, DETAIL * LABEL) };
            2.0 * PAD + width(&block.label, LABEL) + detail
        };
        let width = boxes.iter().map(needs).fold(NARROWEST, f64::max).ceil();
        Placed { boxes, width, detailed }
    }
}

/// A line down to a small arrowhead that touches the next box.
fn arrow((lines, heads): &mut (String, String), x: f64, from: f64, to: f64) {
    let _ = write!(lines, "M{} {}V{}", number(x), number(from), number(to - 4.0));
    let _ = write!(heads, "M{} {}l-2.7-4.5h5.4z", number(x), number(to));
}

fn draw_box(
    svg: &mut Document,
    (x, y): (f64, f64),
    (across, tall): (f64, f64),
    detailed: bool,
    size: f64,
    block: &Block,
) {
    let class = block.style % STYLES.len();
    // Labels say what a box is; a dashed frame would only be restless.
    let solid = stroke(class, STYLES[class].light, 1.1);
    let [left, top, w, h, r] = [x + 3.0, y, across - 6.0, tall - 6.0, 3.0].map(number);
    let round = format!(
        "M{left} {top}h{w}a{r} {r} 0 0 1 {r} {r}v{h}a{r} {r} 0 0 1-{r} {r}h-{w}a{r} {r} 0 0 1-{r}-{r}v-{h}a{r} {r} 0 0 1 {r}-{r}z"
    );
    svg.path(&round, &tint_attributes(class, &solid));
    let base = y + 0.5 * tall;
    let (at, anchor) = if detailed { (x + PAD, Anchor::Start) } else { (x + 0.5 * across, Anchor::Middle) };
    svg.text(at, base + 0.36 * size, Font::new(size, TEXT, anchor), &[Span::plain(&block.label)]);
    let size = DETAIL * size;
    let font = Font::new(size, MUTED, Anchor::End);
    svg.text(x + across - PAD, base + 0.36 * size, font, &[Span::plain(&block.detail)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(row: usize, label: &str) -> Block {
        Block { row, label: label.into(), detail: "32×32×64".into(), style: row }
    }

    fn diagram() -> Diagram {
        let column = |title: &str, boxes| Column { title: title.into(), boxes };
        let columns = vec![
            column("standard", vec![block(0, "input"), block(1, "conv"), block(3, "ReLU")]),
            column("BatchNorm", vec![block(0, "input"), block(1, "conv"), block(2, "norm"), block(3, "ReLU")]),
        ];
        Diagram { title: "Networks".into(), columns, ..Diagram::default() }
    }

    /// The y of each word's baseline, in order.
    fn heights(svg: &str, word: &str) -> Vec<String> {
        let lines = svg.lines().filter(|line| line.ends_with(&format!(">{word}</text>")));
        lines.map(|line| line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn boxes_of_one_row_stand_at_one_height() {
        let svg = diagram().svg();
        for (word, count) in [("conv", 2), ("norm", 1), ("ReLU", 2)] {
            let mut heights = heights(&svg, word);
            assert_eq!(heights.len(), count, "{word}");
            heights.dedup();
            assert_eq!(heights.len(), 1, "{word}");
        }
        assert_eq!(svg, diagram().svg());
    }

    #[test]
    fn a_diagram_is_told_in_words() {
        let svg = diagram().svg();
        assert!(svg.contains("<title>Networks</title>"));
        assert!(
            svg.contains("standard, from input to output: input (32×32×64), then conv (32×32×64), then ReLU"),
            "{svg}"
        );
    }

    #[test]
    fn every_table_of_layers_can_be_drawn() {
        let boxes = vec![block(7, "a"), block(7, "b"), block(usize::MAX, "c"), block(usize::MAX, "<d>"), block(0, "")];
        let odd = Diagram { columns: vec![Column { title: String::new(), boxes }, Column::default()], ..diagram() };
        let svg = odd.svg();
        assert!(svg.contains("&lt;d&gt;") && !svg.contains("NaN") && svg.len() < 20_000);
        assert_ne!(heights(&svg, "a"), heights(&svg, "b"));
        assert!(Diagram::default().svg().contains("</svg>"));
    }
}
