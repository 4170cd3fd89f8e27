//! Gathering on the CPU, pixel by pixel, as the contract says. Training on the CPU uses [`crate::data::batch`] instead, which is faster.

use super::{Augmentation, CHANNELS, Gather, IMAGE, ImageBytes, PADDING, SIDE};
use crate::Result;
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::rng::shuffled;
use crate::runtime::tensor::{In, Out};

impl<T: Float> Gather for Cpu<T> {
    fn gather(&mut self, set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) -> Result<()> {
        let (images, batch) = set.extents(x.0.shape, labels.0.shape)?;
        let mut b = self.borrow("gather");
        let state = read_state(&mut b, state)?;
        let (pixels, classes) = (b.read::<u8>(set.pixels)?, b.read::<u8>(set.labels)?);
        let table = b.read::<T>(set.table)?;
        let (x, labels) = (b.write::<T>(x)?, b.write::<u32>(labels)?);
        for (n, label) in labels.iter_mut().enumerate() {
            let position = u128::from(state.step) * batch as u128 + n as u128;
            let epoch = (position / u128::from(images)) as u32;
            let image = shuffled(state.seed, epoch, (position % u128::from(images)) as u32, images);
            let at = if augment { Augmentation::of(state.seed, epoch, image) } else { Augmentation::NONE };
            *label = u32::from(classes[image as usize]);
            let bytes = &pixels[image as usize * IMAGE..][..IMAGE];
            for (place, x) in x.chunks_exact_mut(batch * CHANNELS).enumerate() {
                let (h, w) = (place / SIDE, place % SIDE);
                let row = h + at.top;
                let column = if at.flip { SIDE - 1 - w } else { w } + at.left;
                let whole = PADDING..PADDING + SIDE;
                let inside = whole.contains(&row) && whole.contains(&column);
                for c in 0..CHANNELS {
                    let source = || (c * SIDE + row - PADDING) * SIDE + column - PADDING;
                    let byte = if inside { bytes[source()] } else { 0 };
                    x[n * CHANNELS + c] = table[c * 256 + usize::from(byte)];
                }
            }
        }
        Ok(())
    }
}
