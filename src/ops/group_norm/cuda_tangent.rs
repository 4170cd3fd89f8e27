//! The tangents of norms over groups on a device: `kernels/groupnorm.cu`.

use super::cuda::{Places, Shared};
use super::{Grouped, OP};
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
        groups: usize,
        norm: Normed,
        moving: Moving,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_group = [norm.mean, norm.spread, stats.mean.into(), stats.spread.into()].map(|view| view.0.shape);
        let of = Grouped::of(norm.x.0.shape, groups, &[norm.weight.0.shape], &per_group)?;
        let Shared { sums, each, per_group, channels, groups, .. } = Shared::new(of)?;
        let (driver, mut views) = self.begin(OP);
        let (x, xt, weight) =
            (views.read::<f32>(norm.x)?, views.read::<f32>(moving.x)?, views.read::<f32>(norm.weight)?);
        let (mean, var) = (views.read::<f32>(norm.mean)?, views.read::<f32>(norm.spread)?);
        let relu = views.read_some::<f32>(norm.relu)?;
        let (weight_t, bias_t) = (views.read_some::<f32>(moving.weight)?, views.read_some::<f32>(moving.bias)?);
        let (mut mean_t, mut divisor_t) = (views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let (mut y, mut room) = (views.write::<f32>(y)?, views.write::<f32>(Places::of(workspace, of).sums)?);
        let ColumnGrid { grid, rows, columns, parts, rows_per_part, width } = sums;
        let (mut partials, eps) = (sums.partials(&mut room), norm.eps);
        kernels::group_tangent_sums(
            driver,
            grid,
            &x,
            &xt,
            &mean,
            &var,
            &mut partials,
            eps,
            rows,
            columns,
            rows_per_part,
            width,
            channels,
            groups,
        )?;
        let (partials, mt, dt) = (partials.read(), &mut mean_t, &mut divisor_t);
        kernels::group_means(driver, per_group, &partials, None, mt, dt, rows, columns, channels, groups, parts)?;
        let ColumnGrid { grid, rows_per_part, width, .. } = each;
        kernels::group_tangent_apply(
            driver,
            grid,
            &x,
            &xt,
            relu.as_ref(),
            &weight,
            weight_t.as_ref(),
            bias_t.as_ref(),
            &mean,
            &var,
            &mean_t.read(),
            &divisor_t.read(),
            &mut y,
            eps,
            rows,
            columns,
            rows_per_part,
            width,
            channels,
            groups,
        )
    }

    /// See [`super::GroupNorm::group_norm_tangent_backward`].
    pub(super) fn group_tangent_backward_in(
        &mut self,
        groups: usize,
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
        let Shared { sums, each, per_group, per_channel, channels, groups } = Shared::new(of)?;
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
        let ColumnGrid { grid, rows, columns, parts, rows_per_part, width } = sums;
        let (mut partials, mut partials_t) = (sums.partials(&mut room), sums.partials(&mut room_t));
        kernels::group_tangent_gradient_sums(
            driver,
            grid,
            &x,
            &xt,
            relu.as_ref(),
            &dy,
            &dyt,
            &mean,
            &var,
            &mean_t,
            &divisor_t,
            &mut partials,
            &mut partials_t,
            norm.eps,
            rows,
            columns,
            rows_per_part,
            width,
            channels,
            groups,
        )?;
        let (partials, partials_t, given) = (partials.read(), partials_t.read(), Some(&weight));
        kernels::group_means(
            driver, per_group, &partials, given, &mut q, &mut u, rows, columns, channels, groups, parts,
        )?;
        kernels::group_means_tangent(
            driver,
            per_group,
            &partials,
            &partials_t,
            &weight,
            weight_t.as_ref(),
            &mut qt,
            &mut ut,
            rows,
            columns,
            channels,
            groups,
            parts,
        )?;
        kernels::group_channels(driver, per_channel, &partials_t, &mut dwt, &mut dbt, columns, channels, parts)?;
        let ColumnGrid { grid, rows_per_part, width, .. } = each;
        kernels::group_tangent_gradient(
            driver,
            grid,
            &x,
            &xt,
            relu.as_ref(),
            &dy,
            &dyt,
            &weight,
            weight_t.as_ref(),
            &mean,
            &var,
            &mean_t,
            &divisor_t,
            &q.read(),
            &u.read(),
            &qt.read(),
            &ut.read(),
            &mut out,
            norm.eps,
            rows,
            columns,
            rows_per_part,
            width,
            channels,
            groups,
        )
    }
}
