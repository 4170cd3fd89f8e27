//! The passes of norms over the batch on the CPU. Each direction reads x twice. Noise is applied piece by piece, while the piece is in the cache.

use super::faint::{FaintUnit, faint};
use super::{power, std};
use crate::Result;
use crate::ops::affine::{Affine, floor};
use crate::ops::channel_reduce::{self, Shared, as_f64, for_pieces};
use crate::ops::noise::cpu::{Draws, apply, apply_backward};
use crate::ops::norm::{Divisor, NormGrads, NormPass, NormSpec};
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Shape};

/// The workspace of all passes over an x of this shape, as a shape.
pub fn workspace(x: Shape) -> Shape {
    let (rows, columns) = x.matrix();
    Shape::new([2 * channel_reduce::workspace(rows, columns)])
}

/// See [`crate::ops::norm::Norm::norm_forward`].
pub fn forward<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass) -> Result<()> {
    let (shape, columns) = (pass.x.0.shape, pass.channels(&spec, &[])?);
    let mut b = cpu.borrow(spec.name());
    let draws = match spec.noise {
        Some(noise) => Some(Draws::new(noise, shape, &read_state(&mut b, pass.noise_key(&spec)?)?)),
        None => None,
    };
    let (x, weight, bias) = (b.read::<T>(pass.x)?, b.read::<T>(pass.weight)?, b.read::<T>(pass.bias)?);
    let (mean, spread) = (b.write::<T>(pass.mean)?, b.write::<T>(pass.spread)?);
    let (y, workspace) = (b.write::<T>(pass.y)?, as_f64(b.write::<T>(pass.workspace)?));
    find_statistics(&spec, x, columns, mean, spread, workspace);
    let divisor = |c: usize| spec.divisor_of(spread[c].f64());
    let affine = Affine::new(mean, weight, bias, divisor, spec.relu && draws.is_none());
    match draws {
        None => affine.apply(x, columns, y),
        Some(draws) => {
            let y = Shared::new(y);
            for_pieces(x.len(), columns, |range| {
                // SAFETY: pieces do not overlap.
                let y = unsafe { y.range(range.clone()) };
                affine.piece(&x[range.clone()], y);
                apply(&draws, range.start, floor(spec.relu), y);
            });
            return Ok(());
        }
    }
    if let Divisor::PowerMean(p) = spec.divisor {
        for c in (0..columns).filter(|&c| faint::<T>(p, spec.eps, spread[c], weight[c])) {
            FaintUnit::of(p, &spec, x, (columns, c), (weight[c], bias[c])).forward(x, y);
        }
    }
    Ok(())
}

/// See [`crate::ops::norm::Norm::norm_statistics`].
pub fn statistics<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass) -> Result<()> {
    let columns = pass.channels(&spec, &[])?;
    let mut b = cpu.borrow(spec.name());
    let (mean, spread) = (b.write::<T>(pass.mean)?, b.write::<T>(pass.spread)?);
    let workspace = as_f64(b.write::<T>(pass.workspace)?);
    find_statistics(&spec, b.read::<T>(pass.x)?, columns, mean, spread, workspace);
    Ok(())
}

/// Computes μ, and σ² or s.
fn find_statistics<T: Float>(
    spec: &NormSpec,
    x: &[T],
    columns: usize,
    mean: &mut [T],
    spread: &mut [T],
    workspace: &mut [f64],
) {
    match spec.divisor {
        Divisor::Std => std::statistics(x, columns, mean, spread, workspace),
        Divisor::PowerMean(p) => power::statistics(p, x, columns, mean, spread, workspace),
    }
}

/// See [`crate::ops::norm::Norm::norm_eval`].
pub fn evaluate<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass) -> Result<()> {
    let columns = pass.channels(&spec, &[])?;
    let mut b = cpu.borrow(spec.name());
    let (x, weight, bias) = (b.read::<T>(pass.x)?, b.read::<T>(pass.weight)?, b.read::<T>(pass.bias)?);
    let (mean, spread) = (b.read::<T>(pass.mean.into())?, b.read::<T>(pass.spread.into())?);
    let divisor = |c: usize| spec.divisor_of(spread[c].f64());
    Affine::new(mean, weight, bias, divisor, spec.relu).apply(x, columns, b.write(pass.y)?);
    Ok(())
}

/// See [`crate::ops::norm::Norm::norm_backward`].
pub fn backward<T: Float>(
    cpu: &mut Cpu<T>,
    spec: NormSpec,
    pass: NormPass,
    grad_y: In,
    grads: NormGrads,
) -> Result<()> {
    let shape = pass.x.0.shape;
    let columns = pass.channels(&spec, &[grads.weight.0.shape, grads.bias.0.shape])?;
    let mut b = cpu.borrow(spec.name());
    let draws = match spec.noise {
        Some(noise) => Some(Draws::new(noise, shape, &read_state(&mut b, pass.noise_key(&spec)?)?)),
        None => None,
    };
    let (x, params) = (b.read::<T>(pass.x)?, (b.read::<T>(pass.weight)?, b.read::<T>(pass.bias)?));
    let statistics = (b.read::<T>(pass.mean.into())?, b.read::<T>(pass.spread.into())?);
    let per_channel = (b.write::<T>(grads.weight)?, b.write::<T>(grads.bias)?);
    let (dy, dx) = (b.read::<T>(grad_y)?, b.write::<T>(grads.x)?);
    let workspace = as_f64(b.write::<T>(pass.workspace)?);
    if let Divisor::PowerMean(p) = spec.divisor {
        power::backward(p, x, params, spec, statistics, dy, dx, per_channel, workspace);
        return Ok(());
    }
    let Some(draws) = draws else {
        std::backward(x, params, spec, statistics, std::Upstream::Apart(dy), dx, per_channel, workspace);
        return Ok(());
    };
    let (mean, spread) = statistics;
    let affine = Affine::new(mean, params.0, params.1, |c| spec.divisor_of(spread[c].f64()), false);
    // What reaches the norm from behind the noise, where dx will stand.
    let shared = Shared::new(&mut *dx);
    for_pieces(x.len(), columns, |range| {
        // SAFETY: pieces do not overlap.
        let dx = unsafe { shared.range(range.clone()) };
        affine.piece(&x[range.clone()], dx);
        apply_backward(&draws, range.start, floor(spec.relu), &dy[range], dx);
    });
    let plain = NormSpec { relu: false, ..spec };
    std::backward(x, params, plain, statistics, std::Upstream::InPlace, dx, per_channel, workspace);
    Ok(())
}
