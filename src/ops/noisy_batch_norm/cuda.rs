//! Noisy BatchNorm on a device: BatchNorm's statistics, then one pass that draws the noise (`kernels/noise.cu`).

use super::NoisyBatchNorm;
use crate::Result;
use crate::ops::column_grid::{ColumnGrid, Over, of_norm};
use crate::ops::noise::NoiseOptions;
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::runtime::cuda::driver::{Driver, Stored};
use crate::runtime::cuda::{Cuda, Mode, kernels};
use crate::runtime::tensor::{In, Out};
use half::bf16;

const OP: &str = "noisy_batch_norm";

impl<D: Driver> Cuda<D> {
    /// The norm and the noise, the statistics being there.
    fn noisy_in<T: Stored>(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        y: Out,
        stats: Statistics,
    ) -> Result<()> {
        let over = Over::of(OP, x.0.shape, options)?;
        let ColumnGrid { grid, matrix, .. } = ColumnGrid::pairs(OP, over.shape)?;
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mean, var) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (state, mut y) = (views.read::<u64>(state)?, views.write::<T>(y)?);
        let (eps, relu) = (options.eps, u32::from(options.relu));
        kernels::NoisyApply {
            x,
            weight,
            bias,
            mean,
            var,
            state,
            y: &mut y,
            eps,
            relu,
            noise: noise.into(),
            matrix,
            pool: over.pool,
        }
        .launch(driver, grid)
    }

    fn noisy_gradient_in<T: Stored>(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let over = Over::of(OP, x.0.shape, options)?;
        let (sums, each) = (ColumnGrid::pair_sums_over(OP, over)?, ColumnGrid::pairs(OP, over.shape)?);
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mean, var) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (state, dy, mut dx) = (views.read::<u64>(state)?, views.read::<T>(grad_y)?, views.write::<T>(grads.x)?);
        let (mut grad_weight, mut grad_bias) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut workspace = views.write::<f32>(workspace)?;
        let mut partials = sums.partials(&mut workspace);
        let (eps, relu) = (options.eps, u32::from(options.relu));
        let ColumnGrid { grid, matrix, parts } = sums;
        kernels::NoisyGradientSums {
            x,
            grad_y: dy,
            weight,
            bias,
            mean,
            var,
            state,
            partials: &mut partials,
            eps,
            relu,
            noise: noise.into(),
            matrix,
            pool: over.pool,
        }
        .launch(driver, grid)?;
        let finish = sums.per_column();
        kernels::NormGradientFinish {
            partials: partials.read(),
            grad_weight: &mut grad_weight,
            grad_bias: &mut grad_bias,
            columns: matrix.columns,
            parts,
        }
        .launch(driver, finish)?;
        let ColumnGrid { grid, matrix, .. } = each;
        let (grad_weight, grad_bias) = (grad_weight.read(), grad_bias.read());
        kernels::NoisyGradient {
            x,
            grad_y: dy,
            weight,
            bias,
            mean,
            var,
            grad_weight,
            grad_bias,
            state,
            grad_x: &mut dx,
            eps,
            relu,
            noise: noise.into(),
            matrix,
            pool: over.pool,
        }
        .launch(driver, grid)
    }
}

impl<D: Driver> NoisyBatchNorm for Cuda<D> {
    fn noisy_batch_norm(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        of_norm(OP, x.0.shape, options, (&[y.0.shape], &[]), &per_unit)?;
        match self.mode() {
            Mode::Bf16 => {
                self.moments::<bf16>(OP, x, stats, workspace)?;
                self.noisy_in::<bf16>(noise, x, params, options, state, y, stats)
            }
            _ => {
                self.moments::<f32>(OP, x, stats, workspace)?;
                self.noisy_in::<f32>(noise, x, params, options, state, y, stats)
            }
        }
    }

    fn noisy_batch_norm_from_sums(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        of_norm(OP, x.0.shape, options, (&[y.0.shape], &[]), &per_unit)?;
        self.moments_from_sums(OP, x, stats, workspace)?;
        match self.mode() {
            Mode::Bf16 => self.noisy_in::<bf16>(noise, x, params, options, state, y, stats),
            _ => self.noisy_in::<f32>(noise, x, params, options, state, y, stats),
        }
    }

    fn noisy_batch_norm_backward(
        &mut self,
        noise: NoiseOptions,
        x: In,
        params: NormParams,
        options: NormOptions,
        state: In,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let per_unit =
            [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, grads.weight.0.shape, grads.bias.0.shape];
        of_norm(OP, x.0.shape, options, (&[grad_y.0.shape], &[grads.x.0.shape]), &per_unit)?;
        match self.mode() {
            Mode::Bf16 => {
                self.noisy_gradient_in::<bf16>(noise, x, params, options, state, stats, grad_y, grads, workspace)
            }
            _ => self.noisy_gradient_in::<f32>(noise, x, params, options, state, stats, grad_y, grads, workspace),
        }
    }
}
