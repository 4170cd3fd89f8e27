//! The lines and markers that draw a series.

use super::style::{PAPER, PREFIX, STYLES, style};
use super::svg::{number, stroke};

/// The attributes of a line in this style.
pub fn line_attributes(number: usize, width: f64) -> String {
    let look = style(number);
    let dash = if look.dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{}\"", look.dash) };
    // Round ends would close the gaps between dashes.
    let cap = if look.dash.is_empty() { "round" } else { "butt" };
    let stroke = stroke(number % STYLES.len(), look.light, width);
    format!("{stroke}{dash} stroke-linecap=\"{cap}\" stroke-linejoin=\"round\"")
}

/// The attributes of a marker in this style.
pub fn marker_attributes(class: usize, light: &str) -> String {
    // A rim in the page's colour lifts a marker off the lines it lies on.
    let rim = format!("{PREFIX}{}-s", PAPER.class);
    format!("class=\"{PREFIX}{class}-f {rim}\" fill=\"{light}\" stroke=\"{}\" stroke-width=\"0.7\"", PAPER.light)
}

/// One path that draws the marker at every place.
pub fn markers(outline: &str, places: &[(f64, f64)]) -> String {
    places.iter().map(|&(x, y)| format!("M{} {}{outline}", number(x), number(y))).collect()
}
