//! The font of all figures, and the width of texts in it.
//!
//! DejaVu Sans Condensed has Greek, mathematical signs, and raised and lowered digits. It is about as wide as Helvetica and Arial, which
//! replace it where a reader's program does not have it. An SVG only names the font: embedding its 40 kB would multiply a figure's size,
//! once in every figure of a page. PNG files are drawn with it.

use std::sync::OnceLock;

use resvg::usvg::fontdb;
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

/// The font, cut down to what labels use by `assets/fonts/subset.sh`.
pub static FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSansCondensed.ttf");

/// The requested fonts, by names that the common systems know.
pub const FAMILIES: &str = "'DejaVu Sans Condensed',Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif";

/// The width of a character that the font does not have.
const UNKNOWN: f64 = 0.6;

/// A font collection that holds only this font.
pub fn database() -> fontdb::Database {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(FONT.to_vec());
    fonts
}

/// The font's characters, rising, with their widths in ems.
fn advances() -> &'static [(u32, f64)] {
    static ADVANCES: OnceLock<Vec<(u32, f64)>> = OnceLock::new();
    ADVANCES.get_or_init(|| {
        let Ok(font) = FontRef::new(FONT) else { return Vec::new() };
        let metrics = font.glyph_metrics(Size::new(1.0), LocationRef::default());
        let mut all: Vec<(u32, f64)> =
            font.charmap().mappings().map(|(c, g)| (c, f64::from(metrics.advance_width(g).unwrap_or(0.0)))).collect();
        all.sort_unstable_by_key(|(c, _)| *c);
        all
    })
}

/// The width of a text.
pub fn width(text: &str, size: f64) -> f64 {
    size * text.chars().map(em).sum::<f64>()
}

fn em(c: char) -> f64 {
    match advances().binary_search_by_key(&u32::from(c), |(c, _)| *c) {
        // Marks stand over the letter before them.
        _ if ('\u{300}'..='\u{36f}').contains(&c) => 0.0,
        Ok(at) => advances()[at].1,
        Err(_) if u32::from(c) < 0x2E80 => UNKNOWN,
        Err(_) => 1.0,
    }
}

/// Whether the font has all characters of a text.
#[cfg(test)]
pub fn covers(text: &str) -> bool {
    text.chars().all(|c| advances().binary_search_by_key(&u32::from(c), |(c, _)| *c).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        assert!((width("0", 1.0) - 0.572).abs() < 1e-3 && (width("m", 10.0) - 8.765).abs() < 1e-2);
        assert_eq!(width("L\u{302}", 12.0), width("L", 12.0));
        assert_eq!(width("語", 10.0), 10.0);
        assert_eq!(database().len(), 1);
    }

    #[test]
    fn every_sign_of_the_papers_labels_is_there() {
        let ascii: String = (' '..='~').collect();
        assert!(covers(&ascii));
        let signs =
            "ŷβσμγηθλκρεδΔ∇‖ℓ₀₁₂₃₄₅₆₇₈₉ₚₘᵢⱼ∞−×·±≤≥≈≠→←↦∂∑√∈⟨⟩∼½²³⁰¹⁴⁵⁶⁷⁸⁹⁻⁺ᵀ%°…–—“”‘’ĝĤéüß✓✗\u{302}\u{303}\u{304}";
        for sign in signs.chars() {
            assert!(covers(&sign.to_string()), "{sign}");
        }
    }

    #[test]
    fn no_word_of_a_figure_lacks_a_letter() {
        use super::super::samples;
        for svg in [samples::lines().svg(), samples::ridges().svg(), samples::networks().svg()] {
            for text in svg.lines().filter(|line| line.starts_with("<text")) {
                assert!(covers(text), "{text}");
            }
        }
    }
}
