//! The ℓp norms' statistics and gradients on the CPU: D = s + ε.

use super::constants::Constants;
use super::faint::{FaintUnit, faint};
use super::powers::{BLOCK, MOST, Power};
use crate::mutant::{Mutant, made};
use crate::ops::channel_reduce::{self, Line, Shared, for_pieces, out_of_range, pair_sums, power_mean};
use crate::ops::norm::NormSpec;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;

/// The largest whole exponent for which x is not scaled first. With larger exponents, powers of ordinary numbers leave f32's range.
const UNSCALED: f64 = 4.0;

/// Computes μ and s of every unit.
pub fn statistics<T: Float>(p: f64, x: &[T], columns: usize, mean: &mut [T], scale: &mut [T], workspace: &mut [f64]) {
    let shape = (x.len() / columns, columns);
    let count = shape.0 as f64;
    let power = Power::of(p);
    // max|x| first: s itself at p = ∞, else what keeps the powers in range.
    let scaled = !matches!(power, Power::Whole(_)) || p > UNSCALED;
    if scaled {
        channel_reduce::maxima(x, columns, scale, workspace);
    }
    if p == f64::INFINITY {
        return channel_reduce::sums(x, columns, mean, workspace, |sum| sum / count);
    }
    let factor = Line::new(columns, |c| if scaled { inverse_of_most(p, scale[c]) } else { T::ONE });
    let factor = factor.get();
    let add = |r: std::ops::Range<usize>, sum: &mut [T], power_sum: &mut [T]| match p {
        1.0 => add_first(&x[r], sum, power_sum),
        2.0 => add_second(&x[r], sum, power_sum),
        _ => add_power(&x[r], factor, power, sum, power_sum),
    };
    pair_sums(shape, workspace, add, |c, sum, power| {
        mean[c] = T::of(sum / count);
        let mean = power / count;
        // 1/3 is no number of f64, which shows in roots of what is far from 1; x over its largest has none.
        let root = if p == 3.0 { mean.cbrt() } else { mean.powf(1.0 / p) };
        scale[c] = T::of(root / factor[c].f64());
    });
    if p == 1.0 {
        return;
    }
    // Powers that have left the range of T, or lost digits below it.
    let again = |c: usize, s: T| out_of_range::<T>(0.0, (s.f64() * factor[c].f64()).powf(p));
    let units = scale.iter().enumerate().filter(|&(c, s)| again(c, *s));
    let (some, not_0) = units.fold((false, false), |(_, not_0), (_, s)| (true, not_0 || *s != T::ZERO));
    if not_0 || some && x.iter().any(|v| *v != T::ZERO) {
        for (c, scale) in scale.iter_mut().enumerate().filter(|(c, scale)| again(*c, **scale)) {
            *scale = T::of(power_mean(p, x[c..].iter().step_by(columns).map(|v| v.f64())));
        }
    }
}

/// The factor that brings |x| near 1, about 1/`most`. It is a power of two, which rounds nothing, unless the exponent is too large to leave room for
/// that. It is 1 where `most` is 0 or has no inverse.
fn inverse_of_most<T: Float>(p: f64, most: T) -> T {
    let near = match most.f64() {
        most if p > MOST => most,
        most => f64::from_bits(most.to_bits() & 0xFFF0_0000_0000_0000),
    };
    let inverse = T::of(1.0 / near);
    if inverse > T::ZERO && inverse.is_finite() { inverse } else { T::ONE }
}

/// Computes the gradients; `mean` and `scale` are what the forward pass wrote.
pub fn backward<T: Float>(
    p: f64,
    x: &[T],
    (weight, bias): (&[T], &[T]),
    spec: NormSpec,
    (mean, scale): (&[T], &[T]),
    dy: &[T],
    dx: &mut [T],
    (grad_weight, grad_bias): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let columns = weight.len();
    let rows = x.len() / columns;
    let l = Constants::new(mean, (weight, bias), |c| spec.divisor_of(scale[c].f64()), spec.relu);
    let (m, i, g, b) = (l.mean.get(), l.inverse.get(), l.gain.get(), l.shift.get());
    let add = |r: std::ops::Range<usize>, sum: &mut [T], sum_u: &mut [T]| {
        super::std::sums(&x[r.clone()], &dy[r], m, i, g, b, l.floor, sum, sum_u);
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
        channel_reduce::counts_of(x, columns, scale, &mut dx[..columns], workspace);
    }
    let factor = Line::new(columns, |c| {
        let share = if p.is_infinite() { dx[c].f64() } else { count };
        if made(Mutant::M2) { T::ZERO } else { T::of(grad_weight[c].f64() / share) }
    });
    let (md, si, sf) = (mean_dy.get(), spread.get(), factor.get());
    let power = Power::of(p);
    let shared = Shared::new(&mut *dx);
    for_pieces(x.len(), columns, |range| {
        // SAFETY: pieces do not overlap.
        let dx = unsafe { shared.range(range.clone()) };
        let (x, dy) = (&x[range.clone()], &dy[range]);
        match p {
            1.0 => apply_first(x, dy, m, g, b, l.floor, md, sf, dx),
            2.0 => apply_second(x, dy, m, g, b, l.floor, md, si, sf, dx),
            f64::INFINITY => apply_largest(x, dy, m, g, b, l.floor, md, si, sf, dx),
            _ => apply_power(x, dy, m, g, b, l.floor, md, si, sf, power, dx),
        }
    });
    for c in (0..columns).filter(|&c| faint::<T>(p, spec.eps, scale[c], weight[c])) {
        let unit = FaintUnit::of(p, &spec, x, (columns, c), (weight[c], bias[c]));
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

    fn add_power<T>(x: &[T], factor: &[T], power: Power, sum: &mut [T], power_sum: &mut [T]) {
        for line in x.chunks(sum.len()) {
            let sums = sum.chunks_mut(BLOCK).zip(power_sum.chunks_mut(BLOCK)).zip(factor.chunks(BLOCK));
            for (x, ((sum, power_sum), factor)) in line.chunks(BLOCK).zip(sums) {
                let mut powers = [T::ZERO; BLOCK];
                for ((to, &v), &factor) in powers.iter_mut().zip(x).zip(factor) {
                    *to = v.abs() * factor;
                }
                let powers = power.raise(0, powers);
                for (((s, q), &v), &power) in sum.iter_mut().zip(power_sum).zip(x).zip(&powers) {
                    *s += v;
                    *q += power;
                }
            }
        }
    }

    /// The gradient for p = 1: ∂s/∂x = sign(x)/m.
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

    /// The gradient for p = 2: ∂s/∂x = x/(m s).
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

    /// The gradient for p = ∞: the elements of largest |x|, which is `most`, share ∂s/∂x.
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

    /// The gradient for any other p.
    fn apply_power<T>(
        x: &[T], dy: &[T], mean: &[T], gain: &[T], shift: &[T], floor: T, mean_dy: &[T], inverse: &[T], factor: &[T], power: Power, dx: &mut [T],
    ) {
        let span = mean.len();
        for ((x, dy), dx) in x.chunks(span).zip(dy.chunks(span)).zip(dx.chunks_mut(span)) {
            // (|x|/s)ᵖ⁻¹ waits where dx will stand.
            for ((x, dx), inverse) in x.chunks(BLOCK).zip(dx.chunks_mut(BLOCK)).zip(inverse.chunks(BLOCK)) {
                let mut shares = [T::ZERO; BLOCK];
                for ((to, &v), &inverse) in shares.iter_mut().zip(x).zip(inverse) {
                    *to = v.abs() * inverse;
                }
                let shares = power.raise(1, shares);
                dx.copy_from_slice(&shares[..dx.len()]);
            }
            let constants = mean.iter().zip(gain).zip(shift).zip(mean_dy).zip(factor);
            for (((dx, &x), &dy), ((((&m, &g), &b), &md), &f)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
                let dy = if (x - m).fma(g, b) <= floor { T::ZERO } else { dy };
                let slope = if x < T::ZERO { -(f * *dx) } else { f * *dx };
                *dx = g * (dy - md - slope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::{Purpose, normal, word};

    /// The largest relative error of s, in units of the last place, over units whose numbers are 1e-30 to 1e30 (in f64 1e-250 to 1e250).
    fn off<T: Float>(p: f64, reach: f64, place: f64) -> f64 {
        let (rows, columns) = (300, 13);
        let of = |i: usize| {
            let size = 10f64.powf(reach * ((i % columns) as f64 / 6.0 - 1.0));
            T::of(size * f64::from(normal(word(5, Purpose::Case, 0, 0, i as u64))))
        };
        let x: Vec<T> = (0..rows * columns).map(of).collect();
        let (mut mean, mut scale) = (vec![T::ZERO; columns], vec![T::ZERO; columns]);
        let mut room = vec![0.0; channel_reduce::workspace(rows, columns)];
        statistics(p, &x, columns, &mut mean, &mut scale, &mut room);
        let exact = |c: usize| power_mean(p, x[c..].iter().step_by(columns).map(|v| v.f64()));
        (0..columns).map(|c| ((scale[c].f64() - exact(c)) / exact(c) / place).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn the_power_mean_is_right_for_any_power_and_at_both_ends_of_the_range() {
        for p in [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 17.0, 64.0, 65.0, 70.5, 200.0] {
            // A piece's 128 terms, each some places off.
            let (narrow, wide) = (off::<f32>(p, 30.0, f64::from(f32::EPSILON)), off::<f64>(p, 250.0, f64::EPSILON));
            assert!(narrow < 12.0 && wide < 24.0, "p {p}: {narrow} and {wide} places");
        }
    }

    #[test]
    fn what_is_not_finite_reaches_the_power_mean() {
        for p in [1.0, 2.0, 2.5, 3.0, 5.0, 70.0] {
            let x = [1.0f32, f32::INFINITY, f32::NAN, 0.0, 2.0, 3.0, 1.0, 0.0];
            let (mut mean, mut scale) = ([0.0f32; 4], [0.0f32; 4]);
            statistics(p, &x, 4, &mut mean, &mut scale, &mut [0.0; 500]);
            assert!(
                scale[0].is_finite() && scale[1] == f32::INFINITY && scale[2].is_nan() && scale[3] == 0.0,
                "{scale:?}"
            );
        }
    }
}
