//! The norms' tangents on a device: `kernels/norm_tangent.cu`.

use super::{Law, Moving, NormTangent, Normed, Upstream};
use crate::Result;
use crate::ops::column_grid::ColumnGrid;
use crate::ops::norm::{NormGrads, Statistics, units};
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, kernels};
use crate::runtime::tensor::Out;

const OP: &str = "norm_tangent";

/// What the kernels call a law, and p.
fn law_of(law: Law) -> (u32, f32) {
    match law {
        Law::Variance => (4, 0.0),
        Law::Power(1.0) => (1, 1.0),
        Law::Power(2.0) => (2, 2.0),
        Law::Power(p) if p.is_infinite() => (INFINITE, 0.0),
        Law::Power(p) => (0, p as f32),
    }
}

/// p = ∞
const INFINITE: u32 = 3;

impl<D: Driver> NormTangent for Cuda<D> {
    fn norm_tangent(&mut self, norm: Normed, moving: Moving, y: Out, stats: Statistics, workspace: Out) -> Result<()> {
        let shape = norm.x.0.shape;
        units(OP, shape, &[norm.weight.0.shape, norm.mean.0.shape, stats.mean.0.shape, stats.spread.0.shape])?;
        let ((law, p), eps) = (law_of(norm.law), norm.eps);
        let (sums, each) = (ColumnGrid::sums(OP, shape)?, ColumnGrid::each(OP, shape)?);
        let (driver, mut views) = self.begin(OP);
        let (x, xt, weight) =
            (views.read::<f32>(norm.x)?, views.read::<f32>(moving.x)?, views.read::<f32>(norm.weight)?);
        let (mean, spread) = (views.read::<f32>(norm.mean)?, views.read::<f32>(norm.spread)?);
        let relu = views.read_some::<f32>(norm.relu)?;
        let (weight_t, bias_t) = (views.read_some::<f32>(moving.weight)?, views.read_some::<f32>(moving.bias)?);
        let (mut mean_t, mut divisor_t) = (views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let mut y = views.write::<f32>(y)?;
        let mut workspace = views.write::<f32>(workspace)?;
        let mut partials = sums.partials(&mut workspace);
        let ColumnGrid { grid, matrix, parts } = sums;
        let kernels::Matrix { rows, columns, .. } = matrix;
        kernels::NormTangentSums { x, x_tangent: xt, mean, spread, partials: &mut partials, eps, p, law, matrix }
            .launch(driver, grid)?;
        let merging = sums.per_column();
        let (mt, dt) = (&mut mean_t, &mut divisor_t);
        kernels::NormTangentFinish {
            partials: partials.read(),
            mean_tangent: mt,
            divisor_tangent: dt,
            law,
            rows,
            columns,
            parts,
        }
        .launch(driver, merging)?;
        if law == INFINITE {
            kernels::LpTies { x, scale: spread, partials: &mut partials, matrix }.launch(driver, grid)?;
            kernels::LpTiesFinish { partials: &mut partials, columns, parts }.launch(driver, merging)?;
            kernels::LinfTangent { ties: partials.read(), divisor_tangent: dt, columns }
                .launch(driver, Grid::cover(columns as usize, 1, 256))?;
        }
        let ColumnGrid { grid, matrix, .. } = each;
        kernels::NormTangentApply {
            x,
            x_tangent: xt,
            y: relu,
            weight,
            weight_tangent: weight_t,
            bias_tangent: bias_t,
            mean,
            spread,
            mean_tangent: mean_t.read(),
            divisor_tangent: divisor_t.read(),
            y_tangent: &mut y,
            eps,
            law,
            matrix,
        }
        .launch(driver, grid)
    }

    fn norm_tangent_backward(
        &mut self,
        norm: Normed,
        moving: Moving,
        stats: Statistics,
        upstream: Upstream,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let shape = norm.x.0.shape;
        units(OP, shape, &[norm.weight.0.shape, stats.mean.0.shape, grads.weight.0.shape, grads.bias.0.shape])?;
        let ((law, p), eps) = (law_of(norm.law), norm.eps);
        let (sums, each) = (ColumnGrid::sums(OP, shape)?, ColumnGrid::each(OP, shape)?);
        let (driver, mut views) = self.begin(OP);
        let (x, xt, weight) =
            (views.read::<f32>(norm.x)?, views.read::<f32>(moving.x)?, views.read::<f32>(norm.weight)?);
        let (mean, spread) = (views.read::<f32>(norm.mean)?, views.read::<f32>(norm.spread)?);
        let (relu, weight_t) = (views.read_some::<f32>(norm.relu)?, views.read_some::<f32>(moving.weight)?);
        let (mean_t, divisor_t) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (dy, dyt) = (views.read::<f32>(upstream.grad_y)?, views.read::<f32>(upstream.moving)?);
        let (dw, db) = (views.read::<f32>(upstream.grad_weight)?, views.read::<f32>(upstream.grad_bias)?);
        let (mut dwt, mut dbt) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut dxt = views.write::<f32>(grads.x)?;
        let mut workspace = views.write::<f32>(workspace)?;
        let mut partials = sums.partials(&mut workspace);
        let ColumnGrid { grid, matrix, parts } = sums;
        let kernels::Matrix { columns, .. } = matrix;
        kernels::NormTangentGradientSums {
            x,
            x_tangent: xt,
            y: relu,
            grad_y: dy,
            grad_y_tangent: dyt,
            mean,
            spread,
            mean_tangent: mean_t,
            divisor_tangent: divisor_t,
            partials: &mut partials,
            eps,
            law,
            matrix,
        }
        .launch(driver, grid)?;
        let merging = sums.per_column();
        kernels::NormGradientFinish {
            partials: partials.read(),
            grad_weight: &mut dwt,
            grad_bias: &mut dbt,
            columns,
            parts,
        }
        .launch(driver, merging)?;
        if law == INFINITE {
            kernels::LpTies { x, scale: spread, partials: &mut partials, matrix }.launch(driver, grid)?;
            kernels::LpTiesFinish { partials: &mut partials, columns, parts }.launch(driver, merging)?;
        }
        let ties = (law == INFINITE).then(|| partials.read());
        kernels::NormTangentGradient {
            x,
            x_tangent: xt,
            y: relu,
            grad_y: dy,
            grad_y_tangent: dyt,
            weight,
            weight_tangent: weight_t,
            mean,
            spread,
            mean_tangent: mean_t,
            divisor_tangent: divisor_t,
            grad_weight: dw,
            grad_bias: db,
            grad_weight_tangent: dwt.read(),
            grad_bias_tangent: dbt.read(),
            ties,
            grad_x_tangent: &mut dxt,
            eps,
            p,
            law,
            matrix: each.matrix,
        }
        .launch(driver, each.grid)
    }
}
