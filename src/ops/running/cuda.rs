//! Running statistics on a device: `kernels/batchnorm.cu`.

use super::{Running, same_length};
use crate::Result;
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::tensor::{In, Out};

impl<D: Driver> Running for Cuda<D> {
    fn move_running(&mut self, momentum: f64, batch: In, factors: In, running: Out) -> Result<()> {
        let len = same_length(batch, factors, running)?;
        let (driver, mut views) = self.begin("running");
        let (batch, factors) = (views.read::<f32>(batch)?, views.read::<f64>(factors)?);
        let mut running = views.write::<f32>(running)?;
        let grid = Grid::cover(len, 1, 256);
        kernels::MoveRunning { batch, factors, running: &mut running, momentum, len: count("running", len)? }
            .launch(driver, grid)
    }
}
