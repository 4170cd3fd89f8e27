//! The few SVG elements that a figure needs, with escaping and fixed number formats.

use std::borrow::Cow;
use std::fmt::Write;

use super::font::{FAMILIES, width};
use super::style::{Ink, PREFIX};

/// An SVG document under construction. Coordinates are pixels from the upper left corner.
pub struct Document {
    out: String,
}

/// The place of a text's anchor point in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Font {
    pub size: f64,
    pub bold: bool,
    pub ink: Ink,
    pub anchor: Anchor,
    /// Rotated to read upwards.
    pub upright: bool,
}

impl Font {
    pub fn new(size: f64, ink: Ink, anchor: Anchor) -> Font {
        Font { size, bold: false, ink, anchor, upright: false }
    }
}

/// A part of a text. A raised part is drawn small, like an exponent.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub text: String,
    pub raised: bool,
}

impl Span {
    pub fn plain(text: impl Into<String>) -> Span {
        Span { text: text.into(), raised: false }
    }

    pub fn raised(text: impl Into<String>) -> Span {
        Span { text: text.into(), raised: true }
    }
}

impl Document {
    /// A document of this size. `title` and `description` are for readers who cannot see it.
    pub fn new(width: f64, height: f64, title: &str, description: &str, sheet: &str) -> Document {
        let (w, h) = (number(width), number(height));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\" \
             font-family=\"{FAMILIES}\">\n"
        );
        for (element, text) in [("title", title), ("desc", description), ("style", sheet)] {
            if !text.is_empty() {
                let _ = writeln!(out, "<{element}>{}</{element}>", escape(text));
            }
        }
        Document { out }
    }

    /// The finished SVG text.
    pub fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    /// A filled rectangle.
    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, ink: Ink) {
        let [x, y, width, height] = [x, y, width, height].map(number);
        let (fill, rect) =
            (fill(ink.class, ink.light), format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""));
        let _ = writeln!(self.out, "<rect {rect} {fill}/>");
    }

    /// A path with these attributes; nothing where `commands` is empty.
    pub fn path(&mut self, commands: &str, attributes: &str) {
        if !commands.is_empty() {
            let _ = writeln!(self.out, "<path d=\"{commands}\" {attributes}/>");
        }
    }

    /// What `draw` draws, moved to (x, y) and clipped `margin` beyond a window of this size.
    pub fn window(&mut self, x: f64, y: f64, width: f64, height: f64, margin: f64, draw: impl FnOnce(&mut Document)) {
        // A nested document clips by itself: no clip path, so no identifier that two figures of one page could share.
        let (m, w, h) = (number(-margin), number(width + 2.0 * margin), number(height + 2.0 * margin));
        let (x, y) = (number(x - margin), number(y - margin));
        let place = format!("x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" viewBox=\"{m} {m} {w} {h}\"");
        let _ = writeln!(self.out, "<svg {place} overflow=\"hidden\">");
        draw(self);
        self.out.push_str("</svg>\n");
    }

    /// A text on one line.
    pub fn text(&mut self, x: f64, y: f64, font: Font, spans: &[Span]) {
        if spans.iter().all(|span| span.text.is_empty()) {
            return;
        }
        let anchor = match font.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        // Where there is no bold font, an outline can be given to a bold text; here it has no width.
        let weight = if font.bold {
            format!(" font-weight=\"bold\" stroke=\"{}\" stroke-width=\"0\"", font.ink.light)
        } else {
            String::new()
        };
        let (x, y) = (number(x), number(y));
        let turn = if font.upright { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
        let (size, mut fill) = (number(font.size), fill(font.ink.class, font.ink.light));
        if font.bold {
            fill = fill.replacen("-f\"", &format!("-f {PREFIX}{}-s\"", font.ink.class), 1);
        }
        let _ = write!(self.out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" {fill}{anchor}{weight}{turn}>");
        // A shift moves all that follows: what comes after a raised part is lowered again.
        let (mut raised, up) = (false, 0.36 * font.size);
        for span in spans.iter().filter(|span| !span.text.is_empty()) {
            let shift = match (raised, span.raised) {
                (false, true) => format!(" dy=\"{}\"", number(-up)),
                (true, false) => format!(" dy=\"{}\"", number(up)),
                _ => String::new(),
            };
            let small =
                if span.raised { format!(" font-size=\"{}\"", number(0.75 * font.size)) } else { String::new() };
            let text = escape(&span.text);
            let _ = match (shift.as_str(), small.as_str()) {
                ("", "") => write!(self.out, "{text}"),
                _ => write!(self.out, "<tspan{shift}{small}>{text}</tspan>"),
            };
            raised = span.raised;
        }
        self.out.push_str("</text>\n");
    }
}

/// Attributes of a filled element: its class, and its colour on a white page.
pub fn fill(class: impl std::fmt::Display, light: &str) -> String {
    format!("class=\"{PREFIX}{class}-f\" fill=\"{light}\"")
}

/// Attributes of a stroked element.
pub fn stroke(class: impl std::fmt::Display, light: &str, width: f64) -> String {
    format!("class=\"{PREFIX}{class}-s\" fill=\"none\" stroke=\"{light}\" stroke-width=\"{}\"", number(width))
}

/// The commands of a line through these points, to a tenth of a pixel. Each point is relative to the one before it, which is a third
/// shorter than absolute coordinates. A single point gives a dot, because the line's ends are round.
pub fn polyline(points: impl Iterator<Item = (f64, f64)>) -> String {
    let (mut commands, mut last) = (String::new(), None::<[i64; 2]>);
    let mut moves = 0;
    for (x, y) in points {
        let here = [x, y].map(|value| (10.0 * value).round() as i64);
        match last {
            None => commands = format!("M{} {}", number(here[0] as f64 / 10.0), number(here[1] as f64 / 10.0)),
            Some(last) if last == here => continue,
            Some(last) => {
                commands.push_str(if moves == 0 { "l" } else { " " });
                step(&mut commands, here[0] - last[0]);
                commands.push_str(if here[1] < last[1] { "" } else { " " });
                step(&mut commands, here[1] - last[1]);
                moves += 1;
            }
        }
        last = Some(here);
    }
    if last.is_some() && moves == 0 {
        commands.push_str("h0");
    }
    commands
}

/// A number of tenths, as short as SVG allows: `-.3`.
fn step(out: &mut String, tenths: i64) {
    let (sign, whole, rest) = (if tenths < 0 { "-" } else { "" }, tenths.abs() / 10, tenths.abs() % 10);
    let _ = match (whole, rest) {
        (whole, 0) => write!(out, "{sign}{whole}"),
        (0, rest) => write!(out, "{sign}.{rest}"),
        (whole, rest) => write!(out, "{sign}{whole}.{rest}"),
    };
}

/// A coordinate: at most two decimals, none where it is whole, and no negative zero.
pub fn number(value: f64) -> String {
    let hundredths = (value * 100.0).round();
    let value = if hundredths == 0.0 || !hundredths.is_finite() { 0.0 } else { hundredths / 100.0 };
    format!("{value}")
}

/// A text escaped for XML. Characters that XML 1.0 cannot hold become U+FFFD.
pub fn escape(text: &str) -> Cow<'_, str> {
    let special = |c: char| {
        matches!(c, '&' | '<' | '>' | '"' | '\'' | '\u{FFFE}' | '\u{FFFF}')
            || (c < ' ' && !matches!(c, '\t' | '\n' | '\r'))
    };
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if special(c) => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A text broken at spaces into lines no wider than this; a longer word gets a line of its own.
pub fn wrap(text: &str, size: f64, limit: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let joined = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && width(&joined, size) > limit {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = joined;
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a < b & \"c\" > 'd'"), "a &lt; b &amp; &quot;c&quot; &gt; &apos;d&apos;");
        assert_eq!(escape("‖∇L‖₂\tβ"), "‖∇L‖₂\tβ");
        assert_eq!(escape("\u{0}\u{1b}[31m"), "\u{FFFD}\u{FFFD}[31m");
    }

    #[test]
    fn coordinates_have_two_decimals_at_most() {
        let cases = [
            (1.0, "1"),
            (1.005, "1"),
            (2.346, "2.35"),
            (-0.001, "0"),
            (-1.5, "-1.5"),
            (f64::NAN, "0"),
            (0.1 + 0.2, "0.3"),
        ];
        for (value, shown) in cases {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn a_lone_point_is_a_dot() {
        assert_eq!(polyline([(1.0, 2.0)].into_iter()), "M1 2h0");
        assert_eq!(polyline([(1.0, 2.0), (1.01, 2.0)].into_iter()), "M1 2h0");
        assert_eq!(polyline([].into_iter()), "");
    }

    #[test]
    fn errors_of_rounding_do_not_add_up() {
        assert_eq!(polyline([(1.0, 2.0), (3.25, 4.0), (3.0, 3.0), (3.4, 13.0)].into_iter()), "M1 2l2.3 2 -.3-1 .4 10");
        let path = polyline((0..1000).map(|i| (0.14 * f64::from(i), 5.0)));
        let across: f64 =
            path[4..].replace('l', " ").split_whitespace().step_by(2).map(|x| x.parse::<f64>().unwrap()).sum();
        assert!((across - 0.14 * 999.0).abs() < 0.1, "{across}");
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        let text = "one two three four five six seven eight";
        let lines = wrap(text, 10.0, 80.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| width(line, 10.0) <= 80.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrap("unbreakableword next", 10.0, 5.0), ["unbreakableword", "next"]);
    }
}
