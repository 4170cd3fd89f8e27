//! Norms over the batch on a device: `kernels/batchnorm.cu` and `kernels/batchnorm_wide.cu`, `kernels/lpnorm.cu`, and
//! `kernels/noise.cu` and `kernels/noise_wide.cu` where their passes draw noise.

use crate::Error;
use crate::Result;
use crate::ops::implicit_gemm::aligned;
use crate::ops::launch_grid::{ColumnGrid, Over, counted_in_32_bits};
use crate::ops::norm::{Divisor, NormGrads, NormPass, NormSpec};
use crate::runtime::cuda::driver::{Driver, Region, Slice, SliceMut, Stored};
use crate::runtime::cuda::{Cuda, kernels};
use crate::runtime::tensor::{In, Shape};

/// The kernels' code for p = ∞.
pub(super) const INFINITE: u32 = 3;

/// The kernels' code for p: p itself for 1 and 2, [`INFINITE`] for ∞, and 0 for any other.
pub(super) fn power(p: f64) -> u32 {
    match p {
        1.0 => 1,
        2.0 => 2,
        f64::INFINITY => INFINITE,
        _ => 0,
    }
}

/// The tensor that a pass goes over. `outputs` must be shaped like y, `inputs` like x. Errors: shapes that do not fit.
fn over(spec: &NormSpec, pass: &NormPass, outputs: &[Shape], inputs: &[Shape], per_channel: &[Shape]) -> Result<Over> {
    pass.channels(spec, per_channel)?;
    let over = Over::of(spec.name(), pass.x.0.shape, spec.pool)?;
    for (shapes, like) in [(outputs, over.shape), (inputs, pass.x.0.shape)] {
        if let Some(other) = shapes.iter().find(|other| other.len() != like.len()) {
            return Err(Error::operator(spec.name(), format!("tensors like {like}"), other.to_string()));
        }
    }
    Ok(over)
}

/// Whether wide passes take an x of this shape, and these tensors like it: rows are then whole vectors of 16 bytes.
fn is_wide<T: Stored>(x: Shape, tensors: &[Region]) -> bool {
    aligned::<T>(tensors, &[x.matrix().1]) == 1 && counted_in_32_bits::<T>(x)
}

/// A pass over every element, wide or not.
fn each<T: Stored>(wide: bool, op: &'static str, shape: Shape) -> Result<ColumnGrid> {
    if wide { ColumnGrid::wide_each::<T>(op, shape) } else { ColumnGrid::each(op, shape) }
}

/// A pass that leaves sums of the columns, wide or not.
fn summing<T: Stored>(wide: bool, op: &'static str, shape: Shape) -> Result<ColumnGrid> {
    if wide { ColumnGrid::wide_sums::<T>(op, shape) } else { ColumnGrid::sums(op, shape) }
}

/// A pass over every element that draws noise, wide or not.
fn drawing<T: Stored>(wide: bool, op: &'static str, shape: Shape) -> Result<ColumnGrid> {
    if wide { ColumnGrid::wide_each::<T>(op, shape) } else { ColumnGrid::pairs(op, shape) }
}

/// Launches the first kernel, or where `wide` the second, or the third where a pool follows; all take the same operands.
macro_rules! launch {
    ($driver:expr, $grid:expr, $wide:expr, $pool:expr, [$narrow:ident, $vectors:ident, $pooled:ident] $operands:tt) => {
        match ($wide, $pool.width) {
            (false, _) => kernels::$narrow $operands.launch($driver, $grid),
            (true, 0) => kernels::$vectors $operands.launch($driver, $grid),
            (true, _) => kernels::$pooled $operands.launch($driver, $grid),
        }
    };
}

/// Counts the elements of largest |x| in each column, and leaves the counts in the first part of `partials`. `at` is a grid of wide sums where `wide`.
pub(super) fn count_ties<D: Driver, T: Stored>(
    driver: &mut D,
    (at, wide): (ColumnGrid, bool),
    x: Slice<'_, T>,
    scale: Slice<'_, f32>,
    partials: &mut SliceMut<'_, f64>,
) -> Result<()> {
    let ColumnGrid { grid, matrix, parts } = at;
    if wide {
        kernels::LpTiesWide { x, scale, partials, matrix }.launch(driver, grid)?;
    } else {
        kernels::LpTies { x, scale, partials, matrix }.launch(driver, grid)?;
    }
    kernels::LpTiesFinish { partials, columns: matrix.columns, parts }.launch(driver, at.per_column())
}

impl<D: Driver> Cuda<D> {
    /// Computes the statistics, then applies the norm with them.
    pub(in crate::ops::norm) fn batch_norm<T: Stored>(&mut self, spec: &NormSpec, pass: NormPass) -> Result<()> {
        over(spec, &pass, &[pass.y.0.shape], &[], &[])?;
        self.batch_statistics::<T>(spec, &pass)?;
        self.norm_apply::<T>(spec, pass)
    }

    /// See [`crate::ops::norm::Norm::norm_statistics`].
    pub(in crate::ops::norm) fn batch_statistics<T: Stored>(&mut self, spec: &NormSpec, pass: &NormPass) -> Result<()> {
        pass.channels(spec, &[])?;
        match spec.divisor {
            Divisor::Std if pass.moments_left => Ok(()),
            Divisor::Std => self.moments::<T>(spec, pass),
            Divisor::PowerMean(p) => self.power_means::<T>(p, spec, pass),
        }
    }

    /// Computes μ and σ² of every channel.
    fn moments<T: Stored>(&mut self, spec: &NormSpec, pass: &NormPass) -> Result<()> {
        let (op, shape, tickets) = (spec.name(), pass.x.0.shape, self.tickets());
        let (driver, mut views) = self.begin(op);
        let (x, mut mean, mut var) =
            (views.read::<T>(pass.x)?, views.write::<f32>(pass.mean)?, views.write::<f32>(pass.spread)?);
        let (mut workspace, mut tickets) = (views.write::<f32>(pass.workspace)?, views.write::<u32>(tickets)?);
        let wide = is_wide::<T>(shape, &[x.region]);
        let at = summing::<T>(wide, op, shape)?;
        let ColumnGrid { grid, matrix, .. } = at;
        let (partials, tickets) = (&mut at.partials(&mut workspace), &mut at.tickets(op, &mut tickets)?);
        let (mean, var) = (&mut mean, &mut var);
        if wide {
            return kernels::MomentsWide { x, partials, mean, var, tickets, matrix }.launch(driver, grid);
        }
        let (mean, var, tickets) = (Some(mean), Some(var), Some(tickets));
        kernels::MomentsPartial { x, partials, mean, var, tickets, matrix }.launch(driver, grid)
    }

    /// Computes μ and s of every channel.
    fn power_means<T: Stored>(&mut self, p: f64, spec: &NormSpec, pass: &NormPass) -> Result<()> {
        let (op, shape, power) = (spec.name(), pass.x.0.shape, power(p));
        let (driver, mut views) = self.begin(op);
        let x = views.read::<T>(pass.x)?;
        let wide = is_wide::<T>(shape, &[x.region]);
        let at = summing::<T>(wide, op, shape)?;
        let ColumnGrid { grid, matrix, parts } = at;
        let kernels::Matrix { rows, columns, .. } = matrix;
        let (mut mean, mut scale) = (views.write::<f32>(pass.mean)?, views.write::<f32>(pass.spread)?);
        let mut workspace = views.write::<f32>(pass.workspace)?;
        let mut partials = at.partials(&mut workspace);
        // max|x| first: s itself at p = ∞, what keeps the powers in range at any p but 1 and 2.
        if matches!(power, 0 | INFINITE) {
            if wide {
                kernels::LpMaximaWide { x, partials: &mut partials, matrix }.launch(driver, grid)?;
            } else {
                kernels::LpMaximaPartial { x, partials: &mut partials, matrix }.launch(driver, grid)?;
            }
            kernels::LpMaximaFinish { partials: partials.read(), scale: &mut scale, columns, parts }
                .launch(driver, at.per_column())?;
        }
        let (most, sums, exponent) = (scale.read(), &mut partials, p as f32);
        match (wide, power) {
            (false, _) => {
                kernels::LpPowers { x, most, partials: sums, p: exponent, power, matrix }.launch(driver, grid)
            }
            (true, 0) => kernels::LpAnyPowersWide { x, most, partials: sums, p: exponent, matrix }.launch(driver, grid),
            (true, _) => kernels::LpPowersWide { x, partials: sums, power, matrix }.launch(driver, grid),
        }?;
        let (mean, scale) = (&mut mean, &mut scale);
        kernels::LpFinish { partials: partials.read(), mean, scale, p, power, rows, columns, parts }
            .launch(driver, at.per_column())
    }

    /// Writes `y = γ (x − μ)/D + β` with the statistics that `pass` holds; then noise, ReLU and pool, as the spec says.
    pub(in crate::ops::norm) fn norm_apply<T: Stored>(&mut self, spec: &NormSpec, pass: NormPass) -> Result<()> {
        let chosen = pass.chosen.map_or(pass.y, |chosen| chosen);
        let over = over(spec, &pass, &[pass.y.0.shape, chosen.0.shape], &[], &[])?;
        if pass.chosen.is_some() && (spec.noise.is_some() || !spec.pool) {
            let found = "one that draws noise, or that does not pool";
            return Err(Error::operator(spec.name(), "a norm that pools, to keep what the pool chose", found));
        }
        let key = spec.noise.map(|noise| Ok((noise.into(), pass.noise_key(spec)?))).transpose()?;
        let (driver, mut views) = self.begin(spec.name());
        let (x, weight, bias) =
            (views.read::<T>(pass.x)?, views.read::<f32>(pass.weight)?, views.read::<f32>(pass.bias)?);
        let (mean, spread) = (views.read::<f32>(pass.mean.into())?, views.read::<f32>(pass.spread.into())?);
        let (mut y, mut chosen) = (views.write::<T>(pass.y)?, views.write_some::<T>(pass.chosen)?);
        let (y, eps, relu, pool) = (&mut y, spec.eps, u32::from(spec.relu), over.pool);
        let kept = chosen.as_ref().map_or(y.region, |chosen| chosen.region);
        let wide = is_wide::<T>(pass.x.0.shape, &[x.region, y.region, kept]);
        let Some((noise, state)) = key else {
            let kind = spec.divisor.kind();
            let ColumnGrid { grid, matrix, .. } = each::<T>(wide, spec.name(), over.shape)?;
            return launch!(driver, grid, wide, pool, [NormApply, NormApplyWide, NormApplyWidePool] {
                x, weight, bias, mean, spread, y, chosen: chosen.as_mut(), eps, kind, relu, matrix, pool
            });
        };
        let (state, ColumnGrid { grid, matrix, .. }) =
            (views.read::<u64>(state)?, drawing::<T>(wide, spec.name(), over.shape)?);
        launch!(driver, grid, wide, pool, [NoisyApply, NoisyApplyWide, NoisyApplyWidePool] {
            x, weight, bias, mean, var: spread, state, y, eps, relu, noise, matrix, pool
        })
    }

    /// See [`crate::ops::norm::Norm::norm_backward`].
    pub(in crate::ops::norm) fn batch_norm_gradient<T: Stored>(
        &mut self,
        spec: &NormSpec,
        pass: NormPass,
        grad_y: In,
        grads: NormGrads,
    ) -> Result<()> {
        let per_channel = [grads.weight.0.shape, grads.bias.0.shape];
        let over = over(spec, &pass, &[grad_y.0.shape], &[grads.x.0.shape], &per_channel)?;
        let (op, tickets) = (spec.name(), self.tickets());
        let key = spec.noise.map(|noise| Ok((noise.into(), pass.noise_key(spec)?))).transpose()?;
        let (driver, mut views) = self.begin(op);
        let (x, weight, bias) =
            (views.read::<T>(pass.x)?, views.read::<f32>(pass.weight)?, views.read::<f32>(pass.bias)?);
        let (mean, spread) = (views.read::<f32>(pass.mean.into())?, views.read::<f32>(pass.spread.into())?);
        let key = match key {
            Some((noise, state)) => Some((noise, views.read::<u64>(state)?)),
            None => None,
        };
        let (grad_y, mut grad_x) = (views.read::<T>(grad_y)?, views.write::<T>(grads.x)?);
        let (mut grad_weight, mut grad_bias) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let (mut workspace, mut tickets) = (views.write::<f32>(pass.workspace)?, views.write::<u32>(tickets)?);
        let (eps, kind, relu, pool) = (spec.eps, spec.divisor.kind(), u32::from(spec.relu), over.pool);
        let wide = is_wide::<T>(pass.x.0.shape, &[x.region, grad_y.region, grad_x.region]);
        let sums = match key {
            _ if wide => ColumnGrid::wide_sums::<T>(op, over.shape)?,
            None => ColumnGrid::sums_over(op, over)?,
            Some(_) => ColumnGrid::pair_sums_over(op, over)?,
        };
        let each = match key {
            None => each::<T>(wide, op, over.shape)?,
            Some(_) => drawing::<T>(wide, op, over.shape)?,
        };

        let (partials, tickets) = (&mut sums.partials(&mut workspace), &mut sums.tickets(op, &mut tickets)?);
        let (to_weight, to_bias) = (&mut grad_weight, &mut grad_bias);
        let ColumnGrid { grid, matrix, .. } = sums;
        match key {
            None if grads.left => {}
            None => {
                launch!(driver, grid, wide, pool, [NormGradientSums, NormGradientSumsWide, NormGradientSumsWidePool] {
                    x, grad_y, weight, bias, mean, spread, partials, grad_weight: to_weight, grad_bias: to_bias, tickets, eps, kind, relu,
                    matrix, pool
                })?
            }
            Some((noise, state)) => {
                let var = spread;
                launch!(driver, grid, wide, pool, [NoisyGradientSums, NoisyGradientSumsWide, NoisyGradientSumsWidePool] {
                    x, grad_y, weight, bias, mean, var, state, partials, grad_weight: to_weight, grad_bias: to_bias, tickets, eps, relu, noise,
                    matrix, pool
                })?
            }
        }
        let (grad_weight, grad_bias, grad_x) = (grad_weight.read(), grad_bias.read(), &mut grad_x);
        let ColumnGrid { grid, matrix, .. } = each;
        match (spec.divisor, key) {
            (Divisor::Std, None) => {
                let var = spread;
                launch!(driver, grid, wide, pool, [BatchNormGradient, BatchNormGradientWide, BatchNormGradientWidePool] {
                    x, grad_y, weight, bias, mean, var, grad_weight, grad_bias, grad_x, eps, relu, matrix, pool
                })
            }
            (Divisor::Std, Some((noise, state))) => {
                let var = spread;
                launch!(driver, grid, wide, pool, [NoisyGradient, NoisyGradientWide, NoisyGradientWidePool] {
                    x, grad_y, weight, bias, mean, var, grad_weight, grad_bias, state, grad_x, eps, relu, noise, matrix, pool
                })
            }
            (Divisor::PowerMean(p), _) => {
                let (power, exponent, scale) = (power(p), (p - 1.0) as f32, spread);
                let mut ties = None;
                if power == INFINITE {
                    // How many are the largest, all of x tells.
                    let of_x = summing::<T>(wide, op, pass.x.0.shape)?;
                    let mut room = of_x.partials(&mut workspace);
                    count_ties(driver, (of_x, wide), x, scale, &mut room)?;
                    ties = Some(room);
                }
                let ties = ties.as_ref().map(|ties| ties.read());
                if power == 0 {
                    return launch!(driver, grid, wide, pool, [LpGradient, LpAnyGradientWide, LpAnyGradientWidePool] {
                        x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties, grad_x, eps, exponent, power, relu, matrix, pool
                    });
                }
                launch!(driver, grid, wide, pool, [LpGradient, LpGradientWide, LpGradientWidePool] {
                    x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties, grad_x, eps, exponent, power, relu, matrix, pool
                })
            }
        }
    }
}
