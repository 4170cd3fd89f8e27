//! A figure's SVG as a PNG file.
//!
//! It depends on the SVG alone: on no font, setting or number of threads of the machine.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{FontResolver, ImageHrefResolver, Options, Tree, fontdb};

use super::font;
use crate::{Error, Result};

/// Pixels that a picture may have: 400 MB of memory.
const LARGEST: f64 = 1e8;

/// What makes a text bold without a second font: [`Document::text`](super::svg::Document::text) gives its outline no width.
const BOLD: &str = "text[font-weight=\"bold\"]{stroke-width:0.55px}";

/// An SVG document as a PNG file, `scale` pixels to each of its own; the file says that there are 96 of those to an inch, so
/// that it prints as large as the SVG does. Only the font of this program is used, and nothing that the document
/// refers to.
///
/// # Errors
/// [`Error::Input`] where it is no SVG document, or larger than 100 million pixels.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>> {
    let refused = |problem: String, remedy: &str| Error::input("SVG", problem, remedy);
    let tree = Tree::from_str(svg, &options())
        .map_err(|e| refused(e.to_string(), "give a whole SVG document, with a size"))?;
    let extent = |length: f32| (f64::from(length) * f64::from(scale)).round();
    let (width, height) = (extent(tree.size().width()), extent(tree.size().height()));
    let fits = width >= 1.0 && height >= 1.0 && width * height <= LARGEST;
    let pixels = fits.then(|| Pixmap::new(width as u32, height as u32)).flatten();
    let Some(mut pixels) = pixels else {
        let problem = format!("would be {width} by {height} pixels");
        return Err(refused(problem, "at least 1 by 1 and at most 100 million in all can be drawn: change the scale"));
    };
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    encode(&pixels, scale).map_err(|e| refused(format!("cannot be written as PNG: {e}"), "choose another scale"))
}

/// Nothing of the machine's.
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

/// The page is opaque, so colour alone is written.
fn encode(pixels: &Pixmap, scale: f32) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let colours: Vec<u8> = pixels.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let a_metre = (f64::from(scale) * 96.0 / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: a_metre, yppu: a_metre, unit: png::Unit::Meter }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&colours)?;
    writer.finish()?;
    Ok(out)
}
