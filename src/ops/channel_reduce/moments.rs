//! Mean and variance per unit, correct over the whole range of the type.
//!
//! Sums are first taken fast, in the tensor's own type over short pieces. Where the sums or squares overflow or underflow, the units concerned are
//! summed again, more slowly, in f64 and with scaling; the other units keep their bits.

use super::*;

/// Mean and sum of squared deviations of some samples.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// The moments of both sets of samples together (Chan, Golub, LeVeque 1983).
    fn and(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        let mean = self.mean + delta * (other.count / count);
        Moments { count, mean, m2: self.m2 + other.m2 + delta * delta * (self.count * other.count / count) }
    }
}

/// Mean and biased variance per unit, exact to rounding even where the mean is far from 0, or one sample is far from the mean.
///
/// A piece is read from memory once; its second pass, for the sums about its own mean, finds it in the cache.
pub fn moments<T: Float>(x: &[T], columns: usize, mean: &mut [T], var: &mut [T], workspace: &mut [f64]) {
    let rows = x.len() / columns;
    reduce::<T>((rows, columns), workspace, |piece, [sum, square, origin], totals| {
        let x = &x[piece.first * columns..(piece.first + piece.count) * columns];
        let n = piece.count as f64;
        sum.fill(T::ZERO);
        add_lines(x, sum);
        repeat(columns, |c| T::of(fold(sum, columns, c).f64() / n), origin);
        sum.fill(T::ZERO);
        square.fill(T::ZERO);
        add_lines_about(x, origin, sum, square);
        for (c, total) in totals.chunks_exact_mut(2).enumerate() {
            let (s1, s2) = (fold(sum, columns, c).f64(), fold(square, columns, c).f64());
            let these = Moments { count: n, mean: origin[c].f64() + s1 / n, m2: not_below_0(s2 - s1 * s1 / n) };
            let all = Moments { count: piece.before as f64, mean: total[0], m2: total[1] }.and(these);
            total.copy_from_slice(&[all.mean, all.m2]);
        }
    });
    let size = part_size(columns);
    let mut again = false;
    for c in 0..columns {
        let mut all = Moments { count: 0.0, mean: 0.0, m2: 0.0 };
        for (i, part) in workspace[..parts(rows, columns) * size].chunks_exact(size).enumerate() {
            let first = |part: usize| (part * rows.div_ceil(PIECE) / parts(rows, columns) * PIECE).min(rows);
            let count = (first(i + 1) - first(i)) as f64;
            all = all.and(Moments { count, mean: part[2 * c], m2: part[2 * c + 1] });
        }
        mean[c] = T::of(all.mean);
        var[c] = T::of(all.m2 / all.count);
        again |= is_again(mean[c], var[c]);
    }
    if again {
        again_one_by_one(x, columns, mean, var);
    }
}

/// [`out_of_range`], for a mean and variance as stored in T.
fn is_again<T: Float>(mean: T, var: T) -> bool {
    out_of_range::<T>(mean.f64(), var.f64())
}

/// `v`, or 0 where rounding has left it slightly negative; a NaN stays a NaN.
#[inline(always)]
pub fn not_below_0(v: f64) -> f64 {
    if v < 0.0 { 0.0 } else { v }
}

/// Whether sums or squares in T may have overflowed or underflowed; [`Extremes`] then computes them again.
pub fn out_of_range<T: Float>(mean: f64, variance: f64) -> bool {
    !(mean.is_finite() && variance >= T::FAINT && variance.is_finite())
}

/// Computes the moments again for the units whose sums may have left the range of T, unless the unit is constant.
#[cold]
fn again_one_by_one<T: Float>(x: &[T], columns: usize, mean: &mut [T], var: &mut [T]) {
    // Units that are constant are common: all of them where nothing reaches a layer any more.
    let first = Line::new(columns, |c| x[c]);
    let watched = Line::new(columns, |c| if is_again(mean[c], var[c]) { T::ONE } else { T::ZERO });
    let piece = span(columns) * (SMALL / span(columns)).max(1);
    if !x.par_chunks(piece).any(|x| differences(x, first.get(), watched.get()) != T::ZERO) {
        return;
    }
    for c in 0..columns {
        if !is_again(mean[c], var[c]) {
            continue;
        }
        let unit = x[c..].iter().step_by(columns).map(|v| v.f64());
        if let Some(found) = Extremes::of(unit.clone()).moments(unit) {
            (mean[c], var[c]) = (T::of(found.mean), T::of(found.var));
        }
    }
}

vectorize! {
    /// Counts the elements that differ from the line `first`, in the lanes where `watched` is 1.
    fn differences<T>(x: &[T], first: &[T], watched: &[T]) -> T {
        let mut count = T::ZERO;
        for x in x.chunks(first.len()) {
            for ((&v, &first), &watched) in x.iter().zip(first).zip(watched) {
                count += if v == first { T::ZERO } else { watched };
            }
        }
        count
    }
}

/// Mean and biased variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// μ
    pub mean: f64,
    /// σ²
    pub var: f64,
}

/// The extremes of some values. The values are scaled by them, so that no square leaves the range of f64.
#[derive(Debug, Clone, Copy)]
pub struct Extremes {
    count: f64,
    first: f64,
    most: f64,
    constant: bool,
    /// The sum of the values that are not finite, if there are any.
    unbounded: Option<f64>,
}

impl Extremes {
    /// The extremes of at least one value.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut all = Extremes { count: 0.0, first: f64::NAN, most: 0.0, constant: true, unbounded: None };
        for v in values {
            if all.count == 0.0 {
                all.first = v;
            }
            all.count += 1.0;
            all.most = all.most.max(v.abs());
            all.constant &= v == all.first;
            if !v.is_finite() {
                all.unbounded = Some(all.unbounded.map_or(v, |sum| sum + v));
            }
        }
        all
    }

    /// The exponent of the power of two by which the values are divided.
    fn exponent(&self) -> i32 {
        // Of subnormal numbers the least exponent there is: at worst they are below 1 by 52 binary digits.
        ((self.most.to_bits() >> 52) as i32 - 1023).max(-1022)
    }

    /// Mean and variance of the same values; `None` where all are the same finite number. If a value is infinite the mean is infinite, and the
    /// variance is NaN. With infinities of both signs, or a NaN, the mean is NaN too.
    pub fn moments(&self, values: impl Iterator<Item = f64> + Clone) -> Option<Found> {
        if let Some(sum) = self.unbounded {
            return Some(Found { mean: sum, var: f64::NAN });
        }
        if self.constant {
            return None;
        }
        let e = self.exponent();
        let scaled = values.map(|v| times_power(v, -e));
        let mean = scaled.clone().sum::<f64>() / self.count;
        let (s1, s2) = scaled.fold((0.0, 0.0), |(s1, s2), v| {
            let d = v - mean;
            (s1 + d, d.mul_add(d, s2))
        });
        let var = not_below_0(s2 - s1 * s1 / self.count) / self.count;
        Some(Found { mean: times_power(mean + s1 / self.count, e), var: times_power(times_power(var, e), e) })
    }
}

/// `(mean |x|ᵖ)^(1/p)`; infinite if a value is infinite, NaN if a value is NaN.
pub fn power_mean(p: f64, values: impl Iterator<Item = f64> + Clone) -> f64 {
    let all = Extremes::of(values.clone());
    match all.unbounded {
        Some(sum) if sum.is_nan() && values.clone().any(f64::is_nan) => f64::NAN,
        Some(_) => f64::INFINITY,
        None if all.most == 0.0 || p.is_infinite() => all.most,
        None => {
            let share = values.map(|v| (v.abs() / all.most).powf(p)).sum::<f64>() / all.count;
            all.most * share.powf(1.0 / p)
        }
    }
}

/// `x · 2ᵉ`, rounded once if the result is a normal number. |e| must be at most 1,100.
fn times_power(x: f64, e: i32) -> f64 {
    let half = e / 2;
    x * 2f64.powi(half) * 2f64.powi(e - half)
}
