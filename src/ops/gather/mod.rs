//! A batch of images, gathered from the bytes of the whole set. Order, crop, flip and standardisation are functions of the step state.
//!
//! With B images in a batch and I in the set, sample i of step t has position `t·B + i`. Its epoch is position / I, and its image is number position
//! mod I in the epoch's order. So a device that holds the set makes its own batches, and replaying a recorded step makes the next batch each time.
//! The bits are those of [`crate::data::batch::Batches::fill`].

mod cpu;
mod cuda;

use crate::runtime::rng::{self, Purpose};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// Height and width of an image.
pub const SIDE: usize = 32;
/// The number of colour channels.
pub const CHANNELS: usize = 3;
/// The number of bytes of an image, `[3, 32, 32]`.
pub const IMAGE: usize = CHANNELS * SIDE * SIDE;
/// The width of the black border that is put around an image before a 32×32 window is cropped from it.
pub const PADDING: usize = 4;

/// The position of an image's window in the padded image, and whether the image is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// The first row of the window in the padded image, 0 to 8; at 4 the window is the image itself.
    pub top: usize,
    /// The first column of the window, likewise.
    pub left: usize,
    /// Whether left and right are swapped, after the crop.
    pub flip: bool,
}

impl Augmentation {
    /// No augmentation: the image as it is.
    pub const NONE: Augmentation = Augmentation { top: PADDING, left: PADDING, flip: false };

    /// The augmentation of `image` in `epoch`: every window is equally likely, and the image is mirrored with probability ½.
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
    /// f32 `[3, 256]`: the standardised value of each byte, for each colour.
    pub table: In,
}

impl ImageBytes {
    /// The number of images in the set, and in the batch that `x` and `labels` hold. Errors: shapes that do not fit together.
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

/// Gathers batches from the bytes of a set.
pub trait Gather {
    /// Writes the batch of the step in the step state: `x [32, 32, N, 3]`, standardised, and with `augment` cropped and mirrored; and `labels` (u32
    /// `[N]`).
    fn gather(&mut self, set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) -> Result<()>;
}
