//! A batch of images, gathered from the bytes of the whole set: order, crop, flip and standardisation are functions of the step state.
//!
//! With B images in a batch and I in the set, sample i of step t stands at position `t·B + i`: epoch = position / I, and the image is
//! the one at place position mod I of the epoch's order. So a device that holds the set makes its own batches, and a step that it has
//! recorded makes the next one each time. The same bits as [`crate::data::batch::Batches::fill`].

mod cpu;
mod cuda;

use crate::runtime::rng::{self, Purpose};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// Height and width of an image.
pub const SIDE: usize = 32;
/// Colours.
pub const CHANNELS: usize = 3;
/// Bytes of an image, `[3, 32, 32]`.
pub const IMAGE: usize = CHANNELS * SIDE * SIDE;
/// Black pixels around an image before a 32×32 window is cropped from it.
pub const PADDING: usize = 4;

/// Where an image's window lies in the padded image, and whether it is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// First row of the window in the padded image: 0 to 8; 4 is the image itself.
    pub top: usize,
    /// First column of the window, likewise.
    pub left: usize,
    /// Whether left and right change places, after the crop.
    pub flip: bool,
}

impl Augmentation {
    /// The image as it is.
    pub const NONE: Augmentation = Augmentation { top: PADDING, left: PADDING, flip: false };

    /// The augmentation of `image` in `epoch`: every window equally likely, mirrored with probability ½.
    pub fn of(seed: u64, epoch: u32, image: u32) -> Self {
        let [top, left, flip, _] = rng::draw(seed, Purpose::Augment, 0, epoch, image, 0);
        let place = |word: u32| ((u64::from(word) * (2 * PADDING as u64 + 1)) >> 32) as usize;
        Augmentation { top: place(top), left: place(left), flip: flip >> 31 == 1 }
    }
}

/// A set of images on the device.
#[derive(Debug, Clone, Copy)]
pub struct ImageBytes {
    /// u8 `[images, 3072]`, each `[3, 32, 32]`.
    pub pixels: In,
    /// u8 `[images]`
    pub labels: In,
    /// f32 `[3, 256]`: what each byte of each colour becomes.
    pub table: In,
}

impl ImageBytes {
    /// Images of the set, and of the batch that `x` and `labels` hold. Errors: shapes that do not fit together.
    fn extents(&self, x: Shape, labels: Shape) -> Result<(u32, usize)> {
        let (images, batch) = (self.labels.0.shape.len(), labels.len());
        let fits = self.pixels.0.shape.len() == images * IMAGE
            && self.table.0.shape.len() == CHANNELS * 256
            && x.hwnc() == [SIDE, SIDE, batch, CHANNELS]
            && batch > 0;
        match u32::try_from(images) {
            Ok(count) if fits && count > 0 => Ok((count, batch)),
            _ => {
                let found = format!("{} pixels, {images} labels, x {x} and {batch} labels", self.pixels.0.shape.len());
                Err(Error::operator(
                    "gather",
                    "images of 3072 bytes with a label each, x 32×32×N×3 and N labels",
                    found,
                ))
            }
        }
    }
}

/// Batches from the bytes of a set.
pub trait Gather {
    /// Writes the batch of the step state's step: `x [32, 32, N, 3]` standardised, with `augment` cropped and mirrored, and `labels` (u32
    /// `[N]`).
    fn gather(&mut self, set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) -> Result<()>;
}
