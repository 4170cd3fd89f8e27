//! BatchNorm on a device: `kernels/batchnorm.cu`.

use super::BatchNorm;
use crate::Result;
use crate::ops::column_grid::{self, ColumnGrid, Over, merging, of_norm};
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::ops::tap_product::tile_rows;
use crate::runtime::cuda::driver::{Driver, Slice, SliceMut, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use half::bf16;

/// What the kernels call a spread that is σ²: S = √(σ² + ε).
pub const VARIANCE: u32 = 0;
/// What the kernels call a spread that is s: S = s + ε.
pub const SCALE: u32 = 1;

/// The sums of a norm's gradient, by its kernels: writes dβ and dγ. The grid goes over grad_y.
pub fn gradient_sums<D: Driver, T: Stored>(
    driver: &mut D,
    (at, over): (ColumnGrid, Over),
    (x, grad_y): (Slice<'_, T>, Slice<'_, T>),
    (weight, bias): (Slice<'_, f32>, Slice<'_, f32>),
    (mean, spread, kind): (Slice<'_, f32>, Slice<'_, f32>, u32),
    options: NormOptions,
    (grad_weight, grad_bias): (&mut SliceMut<'_, f32>, &mut SliceMut<'_, f32>),
    partials: &mut SliceMut<'_, f64>,
) -> Result<()> {
    let ColumnGrid { grid, matrix, parts } = at;
    let kernels::Matrix { columns, .. } = matrix;
    let (eps, relu) = (options.eps, u32::from(options.relu));
    kernels::NormGradientSums {
        x,
        grad_y,
        weight,
        bias,
        mean,
        spread,
        partials,
        eps,
        kind,
        relu,
        matrix,
        pool: over.pool,
    }
    .launch(driver, grid)?;
    kernels::NormGradientFinish { partials: partials.read(), grad_weight, grad_bias, columns, parts }
        .launch(driver, at.per_column())
}

impl<D: Driver> Cuda<D> {
    /// μ and σ² of every unit, as BatchNorm has them.
    pub(crate) fn moments<T: Stored>(
        &mut self,
        op: &'static str,
        x: In,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let at = ColumnGrid::sums(op, x.0.shape)?;
        let ColumnGrid { grid, matrix, parts } = at;
        let kernels::Matrix { rows, columns, .. } = matrix;
        let (driver, mut views) = self.begin(op);
        let (x, mut mean, mut var) =
            (views.read::<T>(x)?, views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let mut workspace = views.write::<f32>(workspace)?;
        let mut partials = at.partials(&mut workspace);
        kernels::MomentsPartial { x, partials: &mut partials, matrix }.launch(driver, grid)?;
        kernels::MomentsFinish { partials: partials.read(), mean: &mut mean, var: &mut var, rows, columns, parts }
            .launch(driver, at.per_column())
    }

    /// The same from the sums that a convolution has left.
    pub(crate) fn moments_from_sums(&mut self, op: &'static str, x: In, stats: Statistics, sums: Out) -> Result<()> {
        let (rows, columns) = x.0.shape.matrix();
        let (grid, parts) = (merging(columns), count(op, rows.div_ceil(tile_rows(self.mode(), rows, columns)))?);
        let (driver, mut views) = self.begin(op);
        let (mut mean, mut var) = (views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let mut workspace = views.write::<f32>(sums)?;
        let (rows, columns) = (count(op, rows)?, count(op, columns)?);
        let partials = workspace.cast::<f64>(2 * parts as usize * columns as usize);
        kernels::MomentsFinish { partials: partials.read(), mean: &mut mean, var: &mut var, rows, columns, parts }
            .launch(driver, grid)
    }

    /// `y = γ (x − mean)/S + β`, then ReLU and pool if asked for; `kind` says what `spread` is.
    pub(crate) fn norm_apply<T: Stored>(
        &mut self,
        op: &'static str,
        x: In,
        params: NormParams,
        options: NormOptions,
        (mean, spread, kind): (In, In, u32),
        y: Out,
    ) -> Result<()> {
        let over = Over::of(op, x.0.shape, options)?;
        let ColumnGrid { grid, matrix, .. } = ColumnGrid::each(op, over.shape)?;
        let (driver, mut views) = self.begin(op);
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mean, spread, mut y) = (views.read::<f32>(mean)?, views.read::<f32>(spread)?, views.write::<T>(y)?);
        let (eps, relu) = (options.eps, u32::from(options.relu));
        kernels::NormApply { x, weight, bias, mean, spread, y: &mut y, eps, kind, relu, matrix, pool: over.pool }
            .launch(driver, grid)
    }

    fn batch_norm_in<T: Stored>(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        self.moments::<T>("batch_norm", x, stats, workspace)?;
        self.norm_apply::<T>("batch_norm", x, params, options, (stats.mean.into(), stats.spread.into(), VARIANCE), y)
    }

    fn batch_norm_gradient<T: Stored>(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let over = Over::of("batch_norm", x.0.shape, options)?;
        let (sums, each) = (ColumnGrid::sums_over("batch_norm", over)?, ColumnGrid::each("batch_norm", over.shape)?);
        let (driver, mut views) = self.begin("batch_norm");
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mean, var) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (grad_y, mut grad_x) = (views.read::<T>(grad_y)?, views.write::<T>(grads.x)?);
        let (mut grad_weight, mut grad_bias) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut workspace = views.write::<f32>(workspace)?;
        let per_unit = (&mut grad_weight, &mut grad_bias);
        let statistics = (mean, var, VARIANCE);
        let partials = &mut sums.partials(&mut workspace);
        gradient_sums(driver, (sums, over), (x, grad_y), (weight, bias), statistics, options, per_unit, partials)?;
        let ColumnGrid { grid, matrix, .. } = each;
        let (eps, relu) = (options.eps, u32::from(options.relu));
        let (grad_weight, grad_bias) = (grad_weight.read(), grad_bias.read());
        kernels::BatchNormGradient {
            x,
            grad_y,
            weight,
            bias,
            mean,
            var,
            grad_weight,
            grad_bias,
            grad_x: &mut grad_x,
            eps,
            relu,
            matrix,
            pool: over.pool,
        }
        .launch(driver, grid)
    }
}

impl<D: Driver> BatchNorm for Cuda<D> {
    fn norm_workspace(&self, x: Shape) -> Shape {
        column_grid::workspace(x)
    }

    fn norm_pools(&self) -> bool {
        true
    }

    fn batch_norm(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        of_norm("batch_norm", x.0.shape, options, (&[y.0.shape], &[]), &per_unit)?;
        match self.mode() {
            Mode::Bf16 => self.batch_norm_in::<bf16>(x, params, options, y, stats, workspace),
            _ => self.batch_norm_in::<f32>(x, params, options, y, stats, workspace),
        }
    }

    fn batch_norm_from_sums(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        of_norm("batch_norm", x.0.shape, options, (&[y.0.shape], &[]), &per_unit)?;
        self.moments_from_sums("batch_norm", x, stats, workspace)?;
        let statistics = (stats.mean.into(), stats.spread.into(), VARIANCE);
        match self.mode() {
            Mode::Bf16 => self.norm_apply::<bf16>("batch_norm", x, params, options, statistics, y),
            _ => self.norm_apply::<f32>("batch_norm", x, params, options, statistics, y),
        }
    }

    fn batch_norm_backward(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let per_unit =
            [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, grads.weight.0.shape, grads.bias.0.shape];
        let op = "batch_norm";
        of_norm(op, x.0.shape, options, (&[grad_y.0.shape], &[grads.x.0.shape]), &per_unit)?;
        match self.mode() {
            Mode::Bf16 => self.batch_norm_gradient::<bf16>(x, params, options, stats, grad_y, grads, workspace),
            _ => self.batch_norm_gradient::<f32>(x, params, options, stats, grad_y, grads, workspace),
        }
    }
}
