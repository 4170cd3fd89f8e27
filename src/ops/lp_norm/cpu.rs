//! The ℓp norm on the CPU.

use super::LpNorm;
use super::faint::{FaintUnit, faint};
use crate::mutant::{Mutant, made};
use crate::ops::affine::{Affine, floor};
use crate::ops::columns::{self, Line, Shared, as_f64, for_pieces, out_of_range, pair_sums, power_mean};
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics, units};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// μ and s of every unit.
fn statistics<T: Float>(p: f64, x: &[T], columns: usize, mean: &mut [T], scale: &mut [T], workspace: &mut [f64]) {
    let shape = (x.len() / columns, columns);
    let count = shape.0 as f64;
    // max|x| first: s itself at p = ∞, what keeps the powers in range at any p but 1 and 2.
    let powers = p != 1.0 && p != 2.0;
    if powers {
        columns::maxima(x, columns, scale, workspace);
    }
    if p == f64::INFINITY {
        return columns::sums(x, columns, mean, workspace, |sum| sum / count);
    }
    // An infinity is to reach the sum as one.
    let fits = |most: T| most > T::ZERO && most.is_finite();
    let most = Line::new(columns, |c| if powers && fits(scale[c]) { scale[c] } else { T::ONE });
    let exponent = T::of(p);
    let add = |r: std::ops::Range<usize>, sum: &mut [T], power: &mut [T]| match p {
        1.0 => add_first(&x[r], sum, power),
        2.0 => add_second(&x[r], sum, power),
        _ => add_power(&x[r], most.get(), exponent, sum, power),
    };
    pair_sums(shape, workspace, add, |c, sum, power| {
        mean[c] = T::of(sum / count);
        scale[c] = T::of(most.get()[c].f64() * (power / count).powf(1.0 / p));
    });
    if p != 2.0 {
        return;
    }
    // Squares that have left the range of T, or lost digits below it.
    let again = |s: T| out_of_range::<T>(0.0, s.f64() * s.f64());
    let (some, not_0) =
        scale.iter().filter(|s| again(**s)).fold((false, false), |(_, not_0), s| (true, not_0 || *s != T::ZERO));
    if not_0 || some && x.iter().any(|v| *v != T::ZERO) {
        for (c, scale) in scale.iter_mut().enumerate().filter(|(_, scale)| again(**scale)) {
            *scale = T::of(power_mean(p, x[c..].iter().step_by(columns).map(|v| v.f64())));
        }
    }
}

/// The constants of a backward pass, as lines.
struct Backward<T> {
    mean: Line<T>,
    inverse: Line<T>,
    gain: Line<T>,
    shift: Line<T>,
    floor: T,
}

/// The gradients of the forward pass; `mean` and `scale` are what it wrote.
fn backward<T: Float>(
    p: f64,
    x: &[T],
    (weight, bias): (&[T], &[T]),
    options: NormOptions,
    (mean, scale): (&[T], &[T]),
    dy: &[T],
    dx: &mut [T],
    (grad_weight, grad_bias): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let columns = weight.len();
    let rows = x.len() / columns;
    let d = |c: usize| scale[c].f64() + options.eps;
    // A unit whose D is 0 (all x = 0, ε = 0) has y = NaN, as 0/0 does.
    let l = Backward {
        mean: Line::new(columns, |c| mean[c]),
        inverse: Line::new(columns, |c| T::of(1.0 / d(c))),
        gain: Line::new(columns, |c| T::of(weight[c].f64() / d(c))),
        shift: Line::new(columns, |c| bias[c]),
        floor: floor(options.relu),
    };
    let (m, i, g, b) = (l.mean.get(), l.inverse.get(), l.gain.get(), l.shift.get());
    let add = |r: std::ops::Range<usize>, sum: &mut [T], sum_u: &mut [T]| {
        crate::ops::batch_norm::cpu::sums(&x[r.clone()], &dy[r], m, i, g, b, l.floor, sum, sum_u);
    };
    pair_sums((rows, columns), workspace, add, |c, sum, sum_u| {
        grad_bias[c] = T::of(sum);
        grad_weight[c] = T::of(sum_u);
    });
    let count = rows as f64;
    let mean_dy = Line::new(columns, |c| T::of(grad_bias[c].f64() / count));
    // 1/s, 0 where s = 0; of p = ∞ s itself.
    let inverse = |s: T| if s > T::ZERO { T::of(1.0 / s.f64()) } else { T::ZERO };
    let spread = Line::new(columns, |c| if p.is_infinite() { scale[c] } else { inverse(scale[c]) });
    // What ∂s/∂x is multiplied by: dγ/m; at p = ∞ the elements of largest |x| share dγ, and their number waits where dx will stand.
    if p.is_infinite() {
        columns::counts_of(x, columns, scale, &mut dx[..columns], workspace);
    }
    let factor = Line::new(columns, |c| {
        let share = if p.is_infinite() { dx[c].f64() } else { count };
        if made(Mutant::M2) { T::ZERO } else { T::of(grad_weight[c].f64() / share) }
    });
    let (md, si, sf) = (mean_dy.get(), spread.get(), factor.get());
    let exponent = T::of(p - 1.0);
    let shared = Shared::new(&mut *dx);
    for_pieces(x.len(), columns, |range| {
        // SAFETY: pieces do not overlap.
        let dx = unsafe { shared.range(range.clone()) };
        let (x, dy) = (&x[range.clone()], &dy[range]);
        match p {
            1.0 => apply_first(x, dy, m, g, b, l.floor, md, sf, dx),
            2.0 => apply_second(x, dy, m, g, b, l.floor, md, si, sf, dx),
            f64::INFINITY => apply_largest(x, dy, m, g, b, l.floor, md, si, sf, dx),
            _ => apply_power(x, dy, m, g, b, l.floor, md, si, sf, exponent, dx),
        }
    });
    for c in (0..columns).filter(|&c| faint::<T>(p, options.eps, scale[c], weight[c])) {
        let unit = FaintUnit::of(p, options, x, (columns, c), (weight[c], bias[c]));
        (grad_weight[c], grad_bias[c]) = unit.backward(x, dy, dx);
    }
}

vectorize! {
    fn add_first<T>(x: &[T], sum: &mut [T], power: &mut [T]) {
        for line in x.chunks(sum.len()) {
            for ((s, q), &v) in sum.iter_mut().zip(power.iter_mut()).zip(line) {
                *s += v;
                *q += v.abs();
            }
        }
    }

    fn add_second<T>(x: &[T], sum: &mut [T], power: &mut [T]) {
        for line in x.chunks(sum.len()) {
            for ((s, q), &v) in sum.iter_mut().zip(power.iter_mut()).zip(line) {
                *s += v;
                *q = v.fma(v, *q);
            }
        }
    }

    fn add_power<T>(x: &[T], most: &[T], p: T, sum: &mut [T], power: &mut [T]) {
        for line in x.chunks(sum.len()) {
            for (((s, q), &v), &most) in sum.iter_mut().zip(power.iter_mut()).zip(line).zip(most) {
                *s += v;
                *q += (v.abs() / most).powf(p);
            }
        }
    }

    /// p = 1: ∂s/∂x = sign(x)/m.
    fn apply_first<T>(x: &[T], dy: &[T], mean: &[T], gain: &[T], shift: &[T], floor: T, mean_dy: &[T], factor: &[T], dx: &mut [T]) {
        let span = mean.len();
        for ((x, dy), dx) in x.chunks(span).zip(dy.chunks(span)).zip(dx.chunks_mut(span)) {
            let constants = mean.iter().zip(gain).zip(shift).zip(mean_dy).zip(factor);
            for (((dx, &x), &dy), ((((&m, &g), &b), &md), &f)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
                let dy = if (x - m).fma(g, b) <= floor { T::ZERO } else { dy };
                let slope = if x > T::ZERO { f } else if x < T::ZERO { -f } else { T::ZERO };
                *dx = g * (dy - md - slope);
            }
        }
    }

    /// p = 2: ∂s/∂x = x/(m s).
    fn apply_second<T>(
        x: &[T], dy: &[T], mean: &[T], gain: &[T], shift: &[T], floor: T, mean_dy: &[T], inverse: &[T], factor: &[T], dx: &mut [T],
    ) {
        let span = mean.len();
        for ((x, dy), dx) in x.chunks(span).zip(dy.chunks(span)).zip(dx.chunks_mut(span)) {
            let constants = mean.iter().zip(gain).zip(shift).zip(mean_dy).zip(inverse).zip(factor);
            for (((dx, &x), &dy), (((((&m, &g), &b), &md), &i), &f)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
                let dy = if (x - m).fma(g, b) <= floor { T::ZERO } else { dy };
                *dx = g * (-(x * i)).fma(f, dy - md);
            }
        }
    }

    /// p = ∞: the elements of largest |x|, which is `most`, share ∂s/∂x.
    fn apply_largest<T>(
        x: &[T], dy: &[T], mean: &[T], gain: &[T], shift: &[T], floor: T, mean_dy: &[T], most: &[T], factor: &[T], dx: &mut [T],
    ) {
        let span = mean.len();
        for ((x, dy), dx) in x.chunks(span).zip(dy.chunks(span)).zip(dx.chunks_mut(span)) {
            let constants = mean.iter().zip(gain).zip(shift).zip(mean_dy).zip(most).zip(factor);
            for (((dx, &x), &dy), (((((&m, &g), &b), &md), &most), &f)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
                let dy = if (x - m).fma(g, b) <= floor { T::ZERO } else { dy };
                let slope = if x.abs() != most || x == T::ZERO { T::ZERO } else { f };
                let slope = if x < T::ZERO { -slope } else { slope };
                *dx = g * (dy - md - slope);
            }
        }
    }

    /// Any other p.
    fn apply_power<T>(
        x: &[T], dy: &[T], mean: &[T], gain: &[T], shift: &[T], floor: T, mean_dy: &[T], inverse: &[T], factor: &[T], exponent: T, dx: &mut [T],
    ) {
        let span = mean.len();
        for ((x, dy), dx) in x.chunks(span).zip(dy.chunks(span)).zip(dx.chunks_mut(span)) {
            let constants = mean.iter().zip(gain).zip(shift).zip(mean_dy).zip(inverse).zip(factor);
            for (((dx, &x), &dy), (((((&m, &g), &b), &md), &i), &f)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
                let dy = if (x - m).fma(g, b) <= floor { T::ZERO } else { dy };
                // sign(0) = 0 also at p = 1.x, where 0^(p−1) is 0 anyway.
                let slope = if f == T::ZERO || x == T::ZERO { T::ZERO } else { f * (x.abs() * i).powf(exponent) };
                let slope = if x < T::ZERO { -slope } else { slope };
                *dx = g * (dy - md - slope);
            }
        }
    }
}

fn check(p: f64) -> Result<()> {
    if p >= 1.0 {
        return Ok(());
    }
    Err(Error::operator("lp_norm", "p of at least 1, or inf", format!("{p}")))
}

impl<T: Float> LpNorm for Cpu<T> {
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
        check(p)?;
        let per_unit = [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, stats.spread.0.shape];
        options.without_pool("lp_norm")?;
        let columns = units("lp_norm", x.0.shape, &per_unit)?;
        let mut b = self.borrow("lp_norm");
        let (x, weight, bias) = (b.read::<T>(x)?, b.read::<T>(params.weight)?, b.read::<T>(params.bias)?);
        let (mean, scale) = (b.write::<T>(stats.mean)?, b.write::<T>(stats.spread)?);
        statistics(p, x, columns, mean, scale, as_f64(b.write::<T>(workspace)?));
        let divisor = |c: usize| scale[c].f64() + options.eps;
        let y = b.write(y)?;
        Affine::new(mean, weight, bias, divisor, options.relu).apply(x, columns, y);
        for c in (0..columns).filter(|&c| faint::<T>(p, options.eps, scale[c], weight[c])) {
            FaintUnit::of(p, options, x, (columns, c), (weight[c], bias[c])).forward(x, y);
        }
        Ok(())
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
        check(p)?;
        let per_unit =
            [params.weight.0.shape, params.bias.0.shape, stats.mean.0.shape, grads.weight.0.shape, grads.bias.0.shape];
        options.without_pool("lp_norm")?;
        units("lp_norm", x.0.shape, &per_unit)?;
        let mut b = self.borrow("lp_norm");
        let params = (b.read::<T>(params.weight)?, b.read::<T>(params.bias)?);
        let statistics = (b.read::<T>(stats.mean.into())?, b.read::<T>(stats.spread.into())?);
        let per_unit = (b.write::<T>(grads.weight)?, b.write::<T>(grads.bias)?);
        let (x, dy, dx) = (b.read(x)?, b.read(grad_y)?, b.write(grads.x)?);
        backward(p, x, params, options, statistics, dy, dx, per_unit, as_f64(b.write::<T>(workspace)?));
        Ok(())
    }
}
