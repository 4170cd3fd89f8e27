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
        let ColumnGrid { grid, rows, columns, parts, rows_per_part, width } = sums;
        kernels::norm_tangent_sums(
            driver,
            grid,
            &x,
            &xt,
            &mean,
            &spread,
            &mut partials,
            eps,
            p,
            law,
            rows,
            columns,
            rows_per_part,
            width,
        )?;
        let merging = sums.per_column();
        let (mt, dt) = (&mut mean_t, &mut divisor_t);
        kernels::norm_tangent_finish(driver, merging, &partials.read(), mt, dt, law, rows, columns, parts)?;
        if law == INFINITE {
            kernels::lp_ties(driver, grid, &x, &spread, &mut partials, rows, columns, rows_per_part, width)?;
            kernels::lp_ties_finish(driver, merging, &mut partials, columns, parts)?;
            kernels::linf_tangent(driver, Grid::cover(columns as usize, 1, 256), &partials.read(), dt, columns)?;
        }
        let ColumnGrid { grid, rows_per_part, width, .. } = each;
        kernels::norm_tangent_apply(
            driver,
            grid,
            &x,
            &xt,
            relu.as_ref(),
            &weight,
            weight_t.as_ref(),
            bias_t.as_ref(),
            &mean,
            &spread,
            &mean_t.read(),
            &divisor_t.read(),
            &mut y,
            eps,
            law,
            rows,
            columns,
            rows_per_part,
            width,
        )
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
        let ColumnGrid { grid, rows, columns, parts, rows_per_part, width } = sums;
        kernels::norm_tangent_gradient_sums(
            driver,
            grid,
            &x,
            &xt,
            relu.as_ref(),
            &dy,
            &dyt,
            &mean,
            &spread,
            &mean_t,
            &divisor_t,
            &mut partials,
            eps,
            law,
            rows,
            columns,
            rows_per_part,
            width,
        )?;
        let merging = sums.per_column();
        kernels::norm_gradient_finish(driver, merging, &partials.read(), &mut dwt, &mut dbt, columns, parts)?;
        if law == INFINITE {
            kernels::lp_ties(driver, grid, &x, &spread, &mut partials, rows, columns, rows_per_part, width)?;
            kernels::lp_ties_finish(driver, merging, &mut partials, columns, parts)?;
        }
        let ties = (law == INFINITE).then(|| partials.read());
        kernels::norm_tangent_gradient(
            driver,
            each.grid,
            &x,
            &xt,
            relu.as_ref(),
            &dy,
            &dyt,
            &weight,
            weight_t.as_ref(),
            &mean,
            &spread,
            &mean_t,
            &divisor_t,
            &dw,
            &db,
            &dwt.read(),
            &dbt.read(),
            ties.as_ref(),
            &mut dxt,
            eps,
            p,
            law,
            rows,
            columns,
            each.rows_per_part,
            each.width,
        )
    }
}
