//! Colours, dashes and markers, and the style sheet with its dark half.
//!
//! The colours are those of Okabe and Ito, which readers with any kind of colour vision can tell apart. Dash and marker differ as well, so
//! that a grey print is readable. Every element carries its light colour as an attribute, for programs that read no style sheets; the style
//! sheet only states what changes on a dark page.

use std::fmt::Write;

/// The look of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// The colour on a white page, as `#rrggbb`.
    pub light: &'static str,
    /// The colour on a dark page.
    pub dark: &'static str,
    /// The SVG dash pattern; empty for an unbroken line.
    pub dash: &'static str,
    /// The marker's outline in relative SVG path commands, from its middle, about 6 units across.
    pub marker: &'static str,
}

/// All looks. A series names one by its number; numbers repeat after the last. The first seven are easiest to tell apart.
pub const STYLES: [Style; 17] = [
    look("#0072b2", "#4aa8e0", "", "m3 0a3 3 0 1 1-6 0 3 3 0 1 1 6 0z"),
    look("#d55e00", "#f2834a", "6 2.5", "m-2.7-2.7h5.4v5.4h-5.4z"),
    look("#009e73", "#2bc79c", "2 2", "m0-3.6l3.3 6h-6.6z"),
    look("#b8639a", "#e2a0c8", "8 2.5 2 2.5", "m0-3.8l3.4 3.8-3.4 3.8-3.4-3.8z"),
    look("#222222", "#eeeeee", "4 2", "m0 3.6l3.3-6h-6.6z"),
    look("#e69f00", "#f0b840", "8 2 2 2 2 2", "m-1-3.2h2v2.2h2.2v2h-2.2v2.2h-2v-2.2h-2.2v-2h2.2z"),
    look("#56b4e9", "#a5d8f5", "1 2", "m-3-1.6h6v3.2h-6z"),
    // A ring: its inner circle runs the other way round.
    look(
        "#882255",
        "#d9739f",
        "11 3",
        "m3.4 0a3.4 3.4 0 1 1-6.8 0 3.4 3.4 0 1 1 6.8 0zm-1.6 0a1.8 1.8 0 1 0-3.6 0 1.8 1.8 0 1 0 3.6 0z",
    ),
    look(
        "#8a8a1f",
        "#c9c95a",
        "5 1.5 1.5 1.5",
        "m0-1.6l1.6-1.6 1.6 1.6-1.6 1.6 1.6 1.6-1.6 1.6-1.6-1.6-1.6 1.6-1.6-1.6 1.6-1.6-1.6-1.6 1.6-1.6z",
    ),
    look(
        "#4b3fb5",
        "#a79cf5",
        "3 3",
        "m0-3.9l0.9 2.6 2.8 0.1 -2.2 1.7 0.8 2.7 -2.3-1.6 -2.3 1.6 0.8-2.7 -2.2-1.7 2.8-0.1z",
    ),
    look("#7a4419", "#c99a6b", "12 3 3 3", "m3.6 0l-6 3.3v-6.6z"),
    look("#7d7d7d", "#a6a6a6", "1.5 1.5", "m-3.6 0l6-3.3v6.6z"),
    look("#1b6b34", "#7fcf94", "7 2 2 2 2 2 2 2", "m-1.6-3.1h3.2v6.2h-3.2z"),
    look("#c4475f", "#f29aa9", "3 1.5 1 1.5", "m-3.4-1.6h6.8a3.4 3.4 0 0 1-6.8 0z"),
    look("#00707a", "#5cc8d0", "9 2 1 2 1 2", "m-1.7-3h3.4l1.7 3-1.7 3h-3.4l-1.7-3z"),
    look("#34495e", "#9fb6cd", "6 1 1 1", "m-3.4 1.6h6.8a3.4 3.4 0 0 0-6.8 0z"),
    look("#2a9db0", "#7fd4e2", "4 1 4 3", "m-3.2-3.2l3.2 2 3.2-2-2 3.2 2 3.2-3.2-2-3.2 2 2-3.2z"),
];

const fn look(light: &'static str, dark: &'static str, dash: &'static str, marker: &'static str) -> Style {
    Style { light, dark, dash, marker }
}

/// The share of its style's colour in a tinted area; the rest is the page's colour.
const TINT: f64 = 0.25;

/// The style with this number; numbers repeat after the last.
pub fn style(number: usize) -> &'static Style {
    &STYLES[number % STYLES.len()]
}

/// A colour of the page itself: its class in the style sheet, and its light value.
#[derive(Debug, Clone, Copy)]
pub struct Ink {
    pub class: &'static str,
    pub light: &'static str,
    dark: &'static str,
}

/// The page's background.
pub const PAPER: Ink = Ink { class: "paper", light: "#ffffff", dark: "#15181c" };
/// Titles and axis labels.
pub const TEXT: Ink = Ink { class: "text", light: "#1a1a1a", dark: "#ededed" };
/// Tick labels and small print.
pub const MUTED: Ink = Ink { class: "muted", light: "#4d4d4d", dark: "#b8bcc2" };
/// Axis lines and ticks.
pub const AXIS: Ink = Ink { class: "axis", light: "#333333", dark: "#a8adb4" };
/// Grid lines.
pub const GRID: Ink = Ink { class: "grid", light: "#e8e8e8", dark: "#2b3037" };

/// The prefix of all class names, so that a figure embedded in an HTML page does not affect the page's own classes.
pub const PREFIX: &str = "nsc-";

/// The style sheet: the dark half, for the inks and the styles in use. `-f` classes are filled, `-s` classes stroked, and `-t` classes,
/// where there are any, filled with a tint.
pub fn sheet(used: &[usize], tinted: bool) -> String {
    let inks = [PAPER, TEXT, MUTED, AXIS, GRID].map(|ink| (ink.class.to_owned(), ink.dark));
    let styles = used.iter().map(|&n| (format!("{}", n % STYLES.len()), style(n).dark));
    let mut rules = String::new();
    for (name, dark) in inks.into_iter().chain(styles) {
        let _ = write!(rules, ".{PREFIX}{name}-f{{fill:{dark}}}.{PREFIX}{name}-s{{stroke:{dark}}}");
    }
    for &n in used.iter().filter(|_| tinted) {
        let _ = write!(rules, ".{PREFIX}{}-t{{fill:{}}}", n % STYLES.len(), mixed(style(n).dark, PAPER.dark));
    }
    format!("@media (prefers-color-scheme:dark){{{rules}}}")
}

/// The attributes of an area in a style's tint, with this outline as `line_attributes` gives it. What is behind the area hardly shows through.
pub fn tint_attributes(class: usize, outline: &str) -> String {
    let tint = mixed(style(class).light, PAPER.light);
    let outline = outline.replacen("class=\"", &format!("class=\"{PREFIX}{class}-t "), 1);
    outline.replacen("fill=\"none\"", &format!("fill=\"{tint}\" fill-opacity=\"0.9\""), 1)
}

/// A colour tinted by [`TINT`] on a page of another colour.
fn mixed(colour: &str, page: &str) -> String {
    let channel = |text: &str, at: usize| {
        f64::from(text.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0))
    };
    let mix = |at: usize| (TINT * channel(colour, at) + (1.0 - TINT) * channel(page, at)).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(1), mix(3), mix(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_styles_look_alike_in_grey() {
        for (i, a) in STYLES.iter().enumerate() {
            for b in &STYLES[..i] {
                assert!(a.dash != b.dash && a.marker != b.marker && a.light != b.light && a.dark != b.dark);
            }
        }
    }

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn there_are_looks_for_every_variant_of_an_experiment() {
        assert!(STYLES.len() >= 16);
        let sheet = sheet(&[1], true);
        assert!(sheet.contains(".nsc-1-t{fill:") && sheet.starts_with("@media"), "{sheet}");
        assert_eq!(mixed("#000000", "#ffffff"), "#bfbfbf");
        let tinted = tint_attributes(1, "class=\"nsc-1-s\" fill=\"none\"");
        assert_eq!(tinted, "class=\"nsc-1-t nsc-1-s\" fill=\"#f5d7bf\" fill-opacity=\"0.9\"");
    }

    #[test]
    fn words_and_lines_stand_out_from_the_page() {
        for ink in [TEXT, MUTED, AXIS] {
            assert!(contrast(ink.light, PAPER.light) >= 4.5 && contrast(ink.dark, PAPER.dark) >= 4.5, "{}", ink.class);
        }
        for style in STYLES {
            assert!(
                contrast(style.light, PAPER.light) >= 2.2 && contrast(style.dark, PAPER.dark) >= 3.0,
                "{}",
                style.light
            );
        }
    }
}
