//! The ℓp norm on a device: `kernels/lpnorm.cu`, and BatchNorm's passes with D = s + ε.

use super::LpNorm;
use crate::ops::batch_norm::cuda::{SCALE, gradient_sums};
use crate::ops::column_grid::{ColumnGrid, Over, of_norm};
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::runtime::cuda::driver::{Driver, Stored};
use crate::runtime::cuda::{Cuda, Mode, kernels};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};
use half::bf16;

const OP: &str = "lp_norm";

/// What the kernels call p: 1 and 2 by themselves, 3 for ∞, 0 for any other. Errors: p is below 1.
fn power(p: f64) -> Result<u32> {
    match p {
        1.0 => Ok(1),
        2.0 => Ok(2),
        f64::INFINITY => Ok(3),
        p if p > 1.0 => Ok(0),
        _ => Err(Error::operator(OP, "p of at least 1, or inf", format!("{p}"))),
    }
}

impl<D: Driver> Cuda<D> {
    fn lp_norm_in<T: Stored>(
        &mut self,
        p: f64,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let (at, power) = (ColumnGrid::sums(OP, x.0.shape)?, power(p)?);
        let ColumnGrid { grid, matrix, parts } = at;
        let kernels::Matrix { rows, columns, .. } = matrix;
        let (driver, mut views) = self.begin(OP);
        let input = views.read::<T>(x)?;
        let (mut mean, mut scale) = (views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let mut workspace = views.write::<f32>(workspace)?;
        let mut partials = at.partials(&mut workspace);
        // max|x| first: s itself at p = ∞, what keeps the powers in range at any p but 1 and 2.
        if matches!(power, 0 | 3) {
            kernels::LpMaximaPartial { x: input, partials: &mut partials, matrix }.launch(driver, grid)?;
            kernels::LpMaximaFinish { partials: partials.read(), scale: &mut scale, columns, parts }
                .launch(driver, at.per_column())?;
        }
        let most = scale.read();
        kernels::LpPowers { x: input, most, partials: &mut partials, p: p as f32, power, matrix }
            .launch(driver, grid)?;
        kernels::LpFinish {
            partials: partials.read(),
            mean: &mut mean,
            scale: &mut scale,
            p,
            power,
            rows,
            columns,
            parts,
        }
        .launch(driver, at.per_column())?;
        self.norm_apply::<T>(OP, x, params, options, (stats.mean.into(), stats.spread.into(), SCALE), y)
    }

    fn lp_norm_gradient_in<T: Stored>(
        &mut self,
        p: f64,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let (over, power) = (Over::of(OP, x.0.shape, options)?, power(p)?);
        let (sums, each) = (ColumnGrid::sums_over(OP, over)?, ColumnGrid::each(OP, over.shape)?);
        // How many are the largest, all of x tells.
        let of_x = ColumnGrid::sums(OP, x.0.shape)?;
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mean, scale) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (dy, mut dx) = (views.read::<T>(grad_y)?, views.write::<T>(grads.x)?);
        let (mut grad_weight, mut grad_bias) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let mut workspace = views.write::<f32>(workspace)?;
        let mut partials = sums.partials(&mut workspace);
        let (statistics, per_unit) = ((mean, scale, SCALE), (&mut grad_weight, &mut grad_bias));
        gradient_sums(driver, (sums, over), (x, dy), (weight, bias), statistics, options, per_unit, &mut partials)?;
        let largest = match power {
            3 => {
                let ColumnGrid { grid, matrix, parts } = of_x;
                let columns = matrix.columns;
                let mut ties = of_x.partials(&mut workspace);
                kernels::LpTies { x, scale, partials: &mut ties, matrix }.launch(driver, grid)?;
                kernels::LpTiesFinish { partials: &mut ties, columns, parts }.launch(driver, of_x.per_column())?;
                Some(ties)
            }
            _ => None,
        };
        let ties = largest.as_ref().map(|ties| ties.read());
        let (grad_weight, grad_bias) = (grad_weight.read(), grad_bias.read());
        let (eps, exponent, relu) = (options.eps, (p - 1.0) as f32, u32::from(options.relu));
        let ColumnGrid { grid, matrix, .. } = each;
        kernels::LpGradient {
            x,
            grad_y: dy,
            weight,
            bias,
            mean,
            scale,
            grad_weight,
            grad_bias,
            ties,
            grad_x: &mut dx,
            eps,
            exponent,
            power,
            relu,
            matrix,
            pool: over.pool,
        }
        .launch(driver, grid)
    }
}

impl<D: Driver> LpNorm for Cuda<D> {
    fn lp_norm(
        &mut self,
        p: f64,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        of_norm(OP, x.0.shape, options, (&[y.0.shape], &[]), &per_unit)?;
        match self.mode() {
            Mode::Bf16 => self.lp_norm_in::<bf16>(p, x, params, options, y, stats, workspace),
            _ => self.lp_norm_in::<f32>(p, x, params, options, y, stats, workspace),
        }
    }

    fn lp_norm_backward(
        &mut self,
        p: f64,
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
        of_norm(OP, x.0.shape, options, (&[grad_y.0.shape], &[grads.x.0.shape]), &per_unit)?;
        match self.mode() {
            Mode::Bf16 => self.lp_norm_gradient_in::<bf16>(p, x, params, options, stats, grad_y, grads, workspace),
            _ => self.lp_norm_gradient_in::<f32>(p, x, params, options, stats, grad_y, grads, workspace),
        }
    }
}
