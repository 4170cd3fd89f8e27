//! Running statistics on a device: `kernels/batchnorm.cu`.

use super::{Running, RunningStatistics, Spread};
use crate::Result;
use crate::ops::batch_norm::cuda::{SCALE, VARIANCE};
use crate::ops::column_grid::of_norm;
use crate::ops::norm::{NormOptions, NormParams, units};
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out};
use half::bf16;

impl<D: Driver> Running for Cuda<D> {
    fn move_running(
        &mut self,
        kind: Spread,
        momentum: f64,
        samples: usize,
        mean: In,
        spread: In,
        running: RunningStatistics,
    ) -> Result<()> {
        let others = [spread.0.shape, running.mean.0.shape, running.spread.0.shape];
        let columns = units("running", mean.0.shape, &others)?;
        let unbias = match kind {
            Spread::Variance if samples > 1 => samples as f64 / (samples as f64 - 1.0),
            _ => 1.0,
        };
        let (driver, mut views) = self.begin("running");
        let (mean, spread) = (views.read::<f32>(mean)?, views.read::<f32>(spread)?);
        let (mut to_mean, mut to_spread) = (views.write::<f32>(running.mean)?, views.write::<f32>(running.spread)?);
        let (grid, columns) = (Grid::cover(columns, 1, 256), count("running", columns)?);
        kernels::move_running(driver, grid, &mean, &spread, &mut to_mean, &mut to_spread, momentum, unbias, columns)
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
