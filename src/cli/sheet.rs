//! Contact sheets: a row of images for each class, as PNG or PPM.

use crate::data::image_set::{Images, PLANE, SIDE};
use crate::files::atomic;
use crate::{Error, Result};
use std::io;
use std::path::Path;

/// Pixels of the sheet per pixel of an image: 32×32 alone is too small to look at.
const ZOOM: usize = 2;
/// White pixels around every image.
const GAP: usize = 2;

/// A picture format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics
    Png,
    /// Portable pixmap, binary
    Ppm,
}

impl Format {
    /// The format that a file's name asks for.
    pub fn of(file: &Path) -> Result<Format> {
        match file.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
            Some("png") => Ok(Format::Png),
            Some("ppm") => Ok(Format::Ppm),
            _ => Err(Error::input(
                format!("--out {}", file.display()),
                "no picture that is known",
                "FILE.png or FILE.ppm is needed",
            )),
        }
    }
}

/// A picture: three bytes per pixel, row by row.
struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

/// Writes the images whose indices are in `rows`, one row below another.
pub fn write(file: &Path, format: Format, images: &Images, rows: &[Vec<usize>]) -> Result<()> {
    let picture = paint(images, rows);
    atomic::write(file, |to| match format {
        Format::Ppm => {
            write!(to, "P6\n{} {}\n255\n", picture.width, picture.height)?;
            to.write_all(&picture.rgb)
        }
        Format::Png => {
            let (width, height) = (picture.width as u32, picture.height as u32);
            let mut encoder = png::Encoder::new(to, width, height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            // The disk's own error, where it is that: the encoder would hide what kind it is.
            let plain = |error| match error {
                png::EncodingError::IoError(error) => error,
                other => io::Error::from(other),
            };
            let mut writer = encoder.write_header().map_err(plain)?;
            writer.write_image_data(&picture.rgb).map_err(plain)?;
            writer.finish().map_err(plain)
        }
    })
}

fn paint(images: &Images, rows: &[Vec<usize>]) -> Picture {
    let step = ZOOM * SIDE + GAP;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (columns * step + GAP, rows.len() * step + GAP);
    let mut rgb = vec![255; 3 * width * height];
    for (row, indices) in rows.iter().enumerate() {
        for (column, &index) in indices.iter().enumerate() {
            let (top, left, image) = (row * step + GAP, column * step + GAP, images.image(index));
            for y in 0..ZOOM * SIDE {
                for x in 0..ZOOM * SIDE {
                    let (to, from) = ((top + y) * width + left + x, y / ZOOM * SIDE + x / ZOOM);
                    for channel in 0..3 {
                        rgb[3 * to + channel] = image[channel * PLANE + from];
                    }
                }
            }
        }
    }
    Picture { width, height, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::image_set::IMAGE;

    fn two() -> Images {
        let mut images = Images::blank(2);
        // Image 1 is red but for its last pixel, which is blue.
        images.pixels[IMAGE..IMAGE + PLANE - 1].fill(200);
        images.pixels[2 * IMAGE - 1] = 100;
        images
    }

    #[test]
    fn images_stand_in_rows_with_gaps_around_them() {
        let picture = paint(&two(), &[vec![0, 1], vec![1]]);
        let step = ZOOM * SIDE + GAP;
        assert_eq!((picture.width, picture.height), (2 * step + GAP, 2 * step + GAP));
        let at = |x: usize, y: usize| &picture.rgb[3 * (y * picture.width + x)..][..3];
        assert_eq!(at(0, 0), [255; 3]);
        assert_eq!(at(GAP, GAP), [0; 3]);
        assert_eq!(at(step + GAP, GAP), [200, 0, 0]);
        assert_eq!(at(2 * step - 1, step - 1), [0, 0, 100]);
        assert_eq!(at(GAP, step + GAP), [200, 0, 0]);
        // The second row is shorter.
        assert_eq!(at(step + GAP, step + GAP), [255; 3]);
    }

    #[test]
    fn both_formats_hold_the_same_picture() {
        let dir = tempfile::tempdir().unwrap();
        let (png, ppm) = (dir.path().join("a.PNG"), dir.path().join("a.ppm"));
        for file in [&png, &ppm] {
            write(file, Format::of(file).unwrap(), &two(), &[vec![0], vec![1]]).unwrap();
        }
        let mut reader =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&png).unwrap())).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        let header = format!("P6\n{} {}\n255\n", info.width, info.height);
        let plain = std::fs::read(&ppm).unwrap();
        assert_eq!(plain.strip_prefix(header.as_bytes()).unwrap(), rgb);
        assert!(Format::of(Path::new("a.jpg")).is_err() && Format::of(Path::new("png")).is_err());
    }
}
