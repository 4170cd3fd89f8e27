//! Renders a figure's SVG as a PNG file.
//!
//! The result depends only on the SVG, not on any font, setting or number of threads of the machine.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{FontResolver, ImageHrefResolver, Options, Tree, fontdb};

use super::font;
use crate::{Error, Result};

/// The most pixels of a picture; they take 400 MB of memory.
const LARGEST: f64 = 1e8;

/// Makes a text bold without a second font, by giving its outline a width. [`Document::text`](super::svg::Document::text) gives it none.
const BOLD: &str = "text[font-weight=\"bold\"]{stroke-width:0.55px}";

/// An SVG document as a PNG file with `scale` pixels per SVG pixel, or fewer where the picture would have more than 100 million. So a
/// picture of very many panels is coarser, but never refused for its size. The file declares 96 SVG pixels per inch, so that it prints as
/// large as the SVG. Only this program's font is used, and nothing that the document refers to.
///
/// # Errors
/// [`Error::Input`] where the text is not an SVG document, or has no size.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>> {
    let refused = |problem: String| Error::input("SVG", problem, "give a whole SVG document, with a size");
    let tree = Tree::from_str(svg, &options()).map_err(|e| refused(e.to_string()))?;
    let scale = fitting(&tree, scale, LARGEST);
    let (width, height) = extent(&tree, scale);
    let mut pixels =
        Pixmap::new(width, height).ok_or_else(|| refused(format!("cannot be drawn as {width} by {height} pixels")))?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    encode(&pixels, scale).map_err(|e| refused(format!("cannot be written as PNG: {e}")))
}

/// The largest scale up to `wanted` at which the picture has no more than `largest` pixels.
fn fitting(tree: &Tree, wanted: f32, largest: f64) -> f32 {
    let area = f64::from(tree.size().width()) * f64::from(tree.size().height());
    wanted.min((largest / area).sqrt() as f32)
}

/// The size in whole pixels at a scale, at least one each way.
fn extent(tree: &Tree, scale: f32) -> (u32, u32) {
    let of = |length: f32| ((length * scale) as u32).max(1);
    (of(tree.size().width()), of(tree.size().height()))
}

/// Options that use nothing of the machine's.
fn options() -> Options<'static> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    Options {
        fontdb: FONTS.get_or_init(|| Arc::new(font::database())).clone(),
        font_resolver: FontResolver {
            select_font: Box::new(|_, fonts| fonts.faces().next().map(|face| face.id)),
            select_fallback: Box::new(|_, _, _| None),
        },
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        style_sheet: Some(BOLD.into()),
        ..Options::default()
    }
}

/// Encodes the picture. The page is opaque, so only colours are written.
fn encode(pixels: &Pixmap, scale: f32) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let colours: Vec<u8> = pixels.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let a_metre = (f64::from(scale) * 96.0 / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: a_metre, yppu: a_metre, unit: png::Unit::Meter }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&colours)?;
    writer.finish()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn decoded(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn a_picture_is_the_same_each_time_and_on_every_thread() {
        let svg = samples::lines().svg();
        let first = png(&svg, 1.0).unwrap();
        let others: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| png(&svg, 1.0).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(others.iter().all(|other| *other == first));
    }

    #[test]
    fn it_is_as_large_as_asked_for_and_white() {
        let figure = samples::lines();
        let (w1, h1, page) = decoded(&png(&figure.svg(), 1.0).unwrap());
        let (w2, h2, _) = decoded(&png(&figure.svg(), 2.0).unwrap());
        assert!(w2.abs_diff(2 * w1) <= 1 && h2.abs_diff(2 * h1) <= 1, "{w1} {h1} {w2} {h2}");
        // The reader's choice is not known here: light.
        assert_eq!(page[..3], [255; 3]);
    }

    /// The number of pixels of a text that are not white.
    fn inked(attributes: &str, text: &str) -> usize {
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"200\" height=\"40\" font-family=\"Unheard Of\">\
             <text x=\"5\" y=\"30\" font-size=\"20\" {attributes}>{text}</text></svg>"
        );
        decoded(&png(&svg, 1.0).unwrap()).2.iter().filter(|byte| **byte < 128).count()
    }

    #[test]
    fn text_is_drawn_whatever_font_is_asked_for() {
        assert!(inked("", "loss ŷ ℓ₁ ‖∇L‖₂") > 300);
        assert!(inked("", "L\u{302}") > inked("", "L"), "a hat stands over its letter");
        let plain = inked("fill=\"#000\" stroke=\"#000\" stroke-width=\"0\"", "title");
        let bold = inked("fill=\"#000\" stroke=\"#000\" stroke-width=\"0\" font-weight=\"bold\"", "title");
        assert!(bold > plain, "{bold} {plain}");
    }

    #[test]
    fn letters_are_as_wide_as_they_are_measured() {
        for text in ["loss at θ − s·g", "‖∇L(θ) − g‖₂", "BatchNorm, ℓ∞: 1.5×10", "Tokyo AVATAR f_i"]
        {
            let width = font::width(text, 100.0);
            let svg = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><text font-size=\"100\" y=\"5\">{text}</text></svg>"
            );
            let tree = Tree::from_str(&svg, &options()).unwrap();
            let end = f64::from(tree.root().abs_bounding_box().right());
            assert!((end - width).abs() < 0.5, "{text}: {end} against {width}");
        }
    }

    #[test]
    fn a_picture_with_too_many_pixels_is_coarser() {
        let sized = |width: u32, height: u32| {
            let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\"/>");
            Tree::from_str(&svg, &options()).unwrap()
        };
        for (width, height, largest) in
            [(100, 50, 1e6), (100, 50, 19_999.0), (1000, 90_000, 1e8), (777, 3_000_001, 1e8)]
        {
            let tree = sized(width, height);
            let (w, h) = extent(&tree, fitting(&tree, 2.0, largest));
            let (pixels, all) = (f64::from(w) * f64::from(h), f64::from(width) * f64::from(height));
            assert!(pixels <= largest && w >= 1 && h >= 1, "{width} {height}: {w} {h}");
            // It is no coarser than it must be.
            assert!(pixels >= 0.97 * largest.min(4.0 * all), "{width} {height}: {w} {h}");
        }
        assert_eq!(fitting(&sized(100, 50), 2.0, 1e6), 2.0);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for svg in ["no", "", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"0\" height=\"10\"/>"] {
            assert!(matches!(png(svg, 1.0), Err(Error::Input { .. })), "{svg}");
        }
    }
}
