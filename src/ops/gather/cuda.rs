//! Gathering on a device: `kernels/batch.cu`.

use super::{Gather, ImageBytes};
use crate::Result;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use half::bf16;

impl<D: Driver> Cuda<D> {
    fn gather_in<T: Stored>(&mut self, set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) -> Result<()> {
        let (images, batch) = set.extents(x.0.shape, labels.0.shape)?;
        let (driver, mut views) = self.begin("gather");
        let (pixels, classes) = (views.read::<u8>(set.pixels)?, views.read::<u8>(set.labels)?);
        let (table, state) = (views.read::<f32>(set.table)?, views.read::<u64>(state)?);
        let (mut x, mut labels) = (views.write::<T>(x)?, views.write::<u32>(labels)?);
        // A block takes 32 images and an eighth of their pixels.
        let grid = Grid::of([batch.div_ceil(32), 8, 1], 256);
        let (batch, augment) = (count("gather", batch)?, u32::from(augment));
        kernels::Gather { pixels, classes, table, state, x: &mut x, labels: &mut labels, images, batch, augment }
            .launch(driver, grid)
    }
}

impl<D: Driver> Gather for Cuda<D> {
    fn gather(&mut self, set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.gather_in::<bf16>(set, augment, state, x, labels),
            _ => self.gather_in::<f32>(set, augment, state, x, labels),
        }
    }
}
