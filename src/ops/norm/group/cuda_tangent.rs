//! The tangents of norms over groups on a device: `kernels/groupnorm.cu`.

use super::Grouped;
use super::cuda::{Places, Shared};
use crate::Result;
use crate::ops::launch_grid::ColumnGrid;
use crate::ops::norm::tangent_views::TangentViews;
use crate::ops::norm::{NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::cuda::driver::Driver;
use crate::runtime::cuda::{Cuda, kernels};

impl<D: Driver> Cuda<D> {
    /// See [`crate::ops::norm::Norm::norm_tangent`].
    pub(in crate::ops::norm) fn group_norm_tangent(
        &mut self,
        spec: &NormSpec,
        pass: NormPass,
        tangents: NormTangents,
    ) -> Result<()> {
        let of = Grouped::of(spec, &pass, &[], &[tangents.mean.0.shape, tangents.divisor.0.shape])?;
        let Shared { sums, each, per_group, groups, .. } = Shared::new(spec, of)?;
        let (driver, mut views) = self.begin(spec.name());
        let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread: var, relu } =
            TangentViews::of(&mut views, spec, &pass, &tangents)?;
        let bias_t = views.read_some::<f32>(tangents.bias)?;
        let (mut mean_t, mut divisor_t) = (views.write::<f32>(tangents.mean)?, views.write::<f32>(tangents.divisor)?);
        let (mut y, mut room) =
            (views.write::<f32>(tangents.y)?, views.write::<f32>(Places::of(pass.workspace, of).sums)?);
        let ColumnGrid { grid, matrix, parts } = sums;
        let kernels::Matrix { rows: pixels, columns, .. } = matrix;
        let (mut partials, eps) = (sums.partials(&mut room), spec.eps);
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

    /// See [`crate::ops::norm::Norm::norm_tangent_backward`].
    pub(in crate::ops::norm) fn group_norm_tangent_backward(
        &mut self,
        spec: &NormSpec,
        pass: NormPass,
        io: NormTangentBackward,
    ) -> Result<()> {
        let NormTangentBackward { tangents, grads, .. } = io;
        let per_group = [tangents.mean.0.shape, tangents.divisor.0.shape];
        let of = Grouped::of(spec, &pass, &[grads.weight.0.shape, grads.bias.0.shape], &per_group)?;
        let Shared { sums, each, per_group, per_channel, groups } = Shared::new(spec, of)?;
        let (driver, mut views) = self.begin(spec.name());
        let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread: var, relu } =
            TangentViews::of(&mut views, spec, &pass, &tangents)?;
        let (mean_t, divisor_t) =
            (views.read::<f32>(tangents.mean.into())?, views.read::<f32>(tangents.divisor.into())?);
        let (dy, dyt) = (views.read::<f32>(io.grad_y)?, views.read::<f32>(io.grad_y_tangent)?);
        let (mut dwt, mut dbt) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut out = views.write::<f32>(grads.x)?;
        let places = Places::of(pass.workspace, of);
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
            eps: spec.eps,
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
            eps: spec.eps,
            groups,
            matrix,
        }
        .launch(driver, grid)
    }
}
