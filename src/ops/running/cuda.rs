//! Running statistics on a device: `kernels/batchnorm.cu`.

use super::{Running, RunningStatistics, Spread, same_length};
use crate::Result;
use crate::ops::batch_norm::cuda::{SCALE, VARIANCE};
use crate::ops::column_grid::of_norm;
use crate::ops::norm::{NormOptions, NormParams};
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use half::bf16;

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

    fn norm_eval(
        &mut self,
        kind: Spread,
        x: In,
        params: NormParams,
        options: NormOptions,
        running: RunningStatistics,
        y: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, running.mean.0.shape, running.spread.0.shape];
        of_norm("norm_eval", x.0.shape, options, (&[y.0.shape], &[]), &per_unit)?;
        let kind = if kind == Spread::Variance { VARIANCE } else { SCALE };
        let stats = (running.mean.into(), running.spread.into(), kind);
        match self.mode() {
            Mode::Bf16 => self.norm_apply::<bf16>("norm_eval", x, params, options, stats, y),
            _ => self.norm_apply::<f32>("norm_eval", x, params, options, stats, y),
        }
    }
}
