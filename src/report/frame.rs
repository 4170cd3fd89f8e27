//! The text around a picture: title and subtitle above it, notes below.

use super::style::{MUTED, TEXT};
use super::svg::{Anchor, Document, Font, Span, wrap};

/// The margin around everything, in pixels.
pub const MARGIN: f64 = 12.0;
const TITLE: f64 = 15.0;
const SUBTITLE: f64 = 12.0;
const NOTE: f64 = 10.5;
/// The relative width of a bold letter.
pub const BOLD: f64 = 1.12;

/// The text around a picture, broken into lines.
pub struct Frame {
    titles: Vec<String>,
    subtitles: Vec<String>,
    notes: Vec<String>,
}

impl Frame {
    /// The text for a picture that is `inner` pixels wide.
    pub fn new(title: &str, subtitle: &str, notes: &[String], inner: f64) -> Frame {
        Frame {
            titles: wrap(title, BOLD * TITLE, inner),
            subtitles: wrap(subtitle, SUBTITLE, inner),
            notes: notes.iter().flat_map(|note| wrap(note, NOTE, inner)).collect(),
        }
    }

    /// The position where the picture begins.
    pub fn head(&self) -> f64 {
        MARGIN + self.titles.len() as f64 * (TITLE + 4.0) + self.subtitles.len() as f64 * (SUBTITLE + 4.0)
    }

    /// The space needed from the picture's end to the end of the page.
    pub fn foot(&self) -> f64 {
        let gap = if self.notes.is_empty() { 0.0 } else { 6.0 };
        gap + self.notes.len() as f64 * (NOTE + 4.0) + MARGIN
    }

    /// Draws the text around a picture that ends at `end`.
    pub fn draw(&self, svg: &mut Document, end: f64) {
        let mut y = MARGIN;
        for line in &self.titles {
            y += TITLE + 4.0;
            let font = Font { bold: true, ..Font::new(TITLE, TEXT, Anchor::Start) };
            svg.text(MARGIN, y - 5.0, font, &[Span::plain(line)]);
        }
        for line in &self.subtitles {
            y += SUBTITLE + 4.0;
            svg.text(MARGIN, y - 5.0, Font::new(SUBTITLE, MUTED, Anchor::Start), &[Span::plain(line)]);
        }
        for (i, line) in self.notes.iter().enumerate() {
            let y = end + 6.0 + (i as f64 + 1.0) * (NOTE + 4.0) - 2.0;
            svg.text(MARGIN, y, Font::new(NOTE, MUTED, Anchor::Start), &[Span::plain(line)]);
        }
    }
}
