//! The tangents of norms over the batch on a device: `kernels/norm_tangent.cu`.

use super::cuda::{INFINITE, count_ties, power};
use crate::Result;
use crate::ops::launch_grid::ColumnGrid;
use crate::ops::norm::tangent_views::TangentViews;
use crate::ops::norm::{Divisor, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, kernels};

/// The kernels' code for a divisor, and p.
fn law_of(divisor: Divisor) -> (u32, f32) {
    match divisor {
        Divisor::Std => (4, 0.0),
        Divisor::PowerMean(p) if p.is_infinite() => (INFINITE, 0.0),
        Divisor::PowerMean(p) => (power(p), p as f32),
    }
}

impl<D: Driver> Cuda<D> {
    /// See [`crate::ops::norm::Norm::norm_tangent`].
    pub(in crate::ops::norm) fn batch_norm_tangent(
        &mut self,
        spec: &NormSpec,
        pass: NormPass,
        tangents: NormTangents,
    ) -> Result<()> {
        pass.channels(spec, &[tangents.mean.0.shape, tangents.divisor.0.shape])?;
        let ((law, p), eps, (op, shape)) = (law_of(spec.divisor), spec.eps, (spec.name(), pass.x.0.shape));
        let (sums, each) = (ColumnGrid::sums(op, shape)?, ColumnGrid::each(op, shape)?);
        let (driver, mut views) = self.begin(op);
        let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread, relu } =
            TangentViews::of(&mut views, spec, &pass, &tangents)?;
        let bias_t = views.read_some::<f32>(tangents.bias)?;
        let (mut mean_t, mut divisor_t) = (views.write::<f32>(tangents.mean)?, views.write::<f32>(tangents.divisor)?);
        let mut y = views.write::<f32>(tangents.y)?;
        let mut workspace = views.write::<f32>(pass.workspace)?;
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
            count_ties(driver, (sums, false), x, spread, &mut partials)?;
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

    /// See [`crate::ops::norm::Norm::norm_tangent_backward`].
    pub(in crate::ops::norm) fn batch_norm_tangent_backward(
        &mut self,
        spec: &NormSpec,
        pass: NormPass,
        io: NormTangentBackward,
    ) -> Result<()> {
        let NormTangentBackward { tangents, grads, .. } = io;
        pass.channels(spec, &[grads.weight.0.shape, grads.bias.0.shape])?;
        let ((law, p), eps, (op, shape)) = (law_of(spec.divisor), spec.eps, (spec.name(), pass.x.0.shape));
        let (sums, each) = (ColumnGrid::sums(op, shape)?, ColumnGrid::each(op, shape)?);
        let tickets = self.tickets();
        let (driver, mut views) = self.begin(op);
        let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread, relu } =
            TangentViews::of(&mut views, spec, &pass, &tangents)?;
        let (mean_t, divisor_t) =
            (views.read::<f32>(tangents.mean.into())?, views.read::<f32>(tangents.divisor.into())?);
        let (dy, dyt) = (views.read::<f32>(io.grad_y)?, views.read::<f32>(io.grad_y_tangent)?);
        let (dw, db) = (views.read::<f32>(io.grad_weight)?, views.read::<f32>(io.grad_bias)?);
        let (mut dwt, mut dbt) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut dxt = views.write::<f32>(grads.x)?;
        let (mut workspace, mut tickets) = (views.write::<f32>(pass.workspace)?, views.write::<u32>(tickets)?);
        let mut partials = sums.partials(&mut workspace);
        let ColumnGrid { grid, matrix, .. } = sums;
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
            grad_weight: &mut dwt,
            grad_bias: &mut dbt,
            tickets: &mut sums.tickets(op, &mut tickets)?,
            eps,
            law,
            matrix,
        }
        .launch(driver, grid)?;
        if law == INFINITE {
            count_ties(driver, (sums, false), x, spread, &mut partials)?;
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
