//! The tangents of norms over groups on a device: `kernels/groupnorm.cu`.

use super::cuda::{Places, Shared};
use super::{GroupSpec, Grouped, OP};
use crate::Result;
use crate::ops::column_grid::ColumnGrid;
use crate::ops::norm::{NormGrads, Statistics};
use crate::ops::norm_tangent::{Moving, Normed, Upstream};
use crate::runtime::cuda::driver::Driver;
use crate::runtime::cuda::{Cuda, kernels};
use crate::runtime::tensor::Out;

impl<D: Driver> Cuda<D> {
    /// See [`super::GroupNorm::group_norm_tangent`].
    pub(super) fn group_tangent_in(
        &mut self,
        groups: GroupSpec,
        norm: Normed,
        moving: Moving,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_group = [norm.mean, norm.spread, stats.mean.into(), stats.spread.into()].map(|view| view.0.shape);
        let of = Grouped::of(norm.x.0.shape, groups, &[norm.weight.0.shape], &per_group)?;
        let Shared { sums, each, per_group, groups, .. } = Shared::new(of)?;
        let (driver, mut views) = self.begin(OP);
        let (x, xt, weight) =
            (views.read::<f32>(norm.x)?, views.read::<f32>(moving.x)?, views.read::<f32>(norm.weight)?);
        let (mean, var) = (views.read::<f32>(norm.mean)?, views.read::<f32>(norm.spread)?);
        let relu = views.read_some::<f32>(norm.relu)?;
        let (weight_t, bias_t) = (views.read_some::<f32>(moving.weight)?, views.read_some::<f32>(moving.bias)?);
        let (mut mean_t, mut divisor_t) = (views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let (mut y, mut room) = (views.write::<f32>(y)?, views.write::<f32>(Places::of(workspace, of).sums)?);
        let ColumnGrid { grid, matrix, parts } = sums;
        let kernels::Matrix { rows: pixels, columns, .. } = matrix;
        let (mut partials, eps) = (sums.partials(&mut room), norm.eps);
        kernels::GroupTangentSums { x, x_tangent: xt, mean, var, partials: &mut partials, eps, groups, matrix }
            .launch(driver, grid)?;
        let (partials, mt, dt) = (partials.read(), &mut mean_t, &mut divisor_t);
        kernels::GroupMeans { partials, weight: None, mean_a: mt, mean_b: dt, pixels, columns, parts, groups }
            .launch(driver, per_group)?;
        let ColumnGrid { grid, matrix, .. } = each;
        kernels::GroupTangentApply {
            x,
            x_tangent: xt,
            y: relu,
            weight,
            weight_tangent: weight_t,
            bias_tangent: bias_t,
            mean,
            var,
            mean_tangent: mean_t.read(),
            divisor_tangent: divisor_t.read(),
            y_tangent: &mut y,
            eps,
            groups,
            matrix,
        }
        .launch(driver, grid)
    }

    /// See [`super::GroupNorm::group_norm_tangent_backward`].
    pub(super) fn group_tangent_backward_in(
        &mut self,
        groups: GroupSpec,
        norm: Normed,
        moving: Moving,
        stats: Statistics,
        upstream: Upstream,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let per_channel = [norm.weight, grads.weight.into(), grads.bias.into()].map(|view| view.0.shape);
        let per_group = [norm.mean, norm.spread, stats.mean.into(), stats.spread.into()].map(|view| view.0.shape);
        let of = Grouped::of(norm.x.0.shape, groups, &per_channel, &per_group)?;
        let Shared { sums, each, per_group, per_channel, groups } = Shared::new(of)?;
        let (driver, mut views) = self.begin(OP);
        let (x, xt, weight) =
            (views.read::<f32>(norm.x)?, views.read::<f32>(moving.x)?, views.read::<f32>(norm.weight)?);
        let (mean, var) = (views.read::<f32>(norm.mean)?, views.read::<f32>(norm.spread)?);
        let (relu, weight_t) = (views.read_some::<f32>(norm.relu)?, views.read_some::<f32>(moving.weight)?);
        let (mean_t, divisor_t) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (dy, dyt) = (views.read::<f32>(upstream.grad_y)?, views.read::<f32>(upstream.moving)?);
        let (mut dwt, mut dbt) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut out = views.write::<f32>(grads.x)?;
        let places = Places::of(workspace, of);
        let (mut room, mut room_t) = (views.write::<f32>(places.sums)?, views.write::<f32>(places.moving)?);
        let [q, u, qt, ut] = places.means;
        let (mut q, mut u) = (views.write::<f32>(q)?, views.write::<f32>(u)?);
        let (mut qt, mut ut) = (views.write::<f32>(qt)?, views.write::<f32>(ut)?);
        let ColumnGrid { grid, matrix, parts } = sums;
        let kernels::Matrix { rows: pixels, columns, .. } = matrix;
        let (mut partials, mut partials_t) = (sums.partials(&mut room), sums.partials(&mut room_t));
        kernels::GroupTangentGradientSums {
            x,
            x_tangent: xt,
            y: relu,
            grad_y: dy,
            grad_y_tangent: dyt,
            mean,
            var,
            mean_tangent: mean_t,
            divisor_tangent: divisor_t,
            partials: &mut partials,
            partials_tangent: &mut partials_t,
            eps: norm.eps,
            groups,
            matrix,
        }
        .launch(driver, grid)?;
        let (partials, partials_t, given) = (partials.read(), partials_t.read(), Some(weight));
        kernels::GroupMeans { partials, weight: given, mean_a: &mut q, mean_b: &mut u, pixels, columns, parts, groups }
            .launch(driver, per_group)?;
        kernels::GroupMeansTangent {
            partials,
            partials_tangent: partials_t,
            weight,
            weight_tangent: weight_t,
            mean_a: &mut qt,
            mean_b: &mut ut,
            pixels,
            columns,
            parts,
            groups,
        }
        .launch(driver, per_group)?;
        kernels::GroupChannels {
            partials: partials_t,
            grad_weight: &mut dwt,
            grad_bias: &mut dbt,
            columns,
            channels: groups.channels,
            parts,
        }
        .launch(driver, per_channel)?;
        let ColumnGrid { grid, matrix, .. } = each;
        kernels::GroupTangentGradient {
            x,
            x_tangent: xt,
            y: relu,
            grad_y: dy,
            grad_y_tangent: dyt,
            weight,
            weight_tangent: weight_t,
            mean,
            var,
            mean_tangent: mean_t,
            divisor_tangent: divisor_t,
            mean_q: q.read(),
            mean_u: u.read(),
            mean_q_tangent: qt.read(),
            mean_u_tangent: ut.read(),
            grad_x_tangent: &mut out,
            eps: norm.eps,
            groups,
            matrix,
        }
        .launch(driver, grid)
    }
}
