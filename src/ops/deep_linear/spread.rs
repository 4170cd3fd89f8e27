//! The spread of an ℓp norm with p ≠ 2. It is not a function of the coordinates alone, so the samples' values are computed from them, unit by unit;
//! the gradient that flows back is the projection of `∂s/∂a` onto the basis.
//!
//! At p = 1 and p = ∞ there is a shorter way, [`super::screen`], unless numbers are far out of range.
//!
//! At p = ∞ the samples of largest |a| share the gradient, as in [`crate::ops::norm::batch`]. Samples that rounding alone could set apart from the
//! largest count as equal to it.

use super::judge::Eights;
use super::rows::Row;
use super::samples::{APART, Spread};
use super::screen::{screened, screens};
use super::widths::{SAMPLES, width};
use crate::runtime::simd::{Isa, isa};
use std::ops::Range;

/// The number of samples that are worked on together: each is a chain of a sum.
const LANES: usize = 8;
/// The number of blocks of lanes that share one load of a coordinate; the number of samples is padded to a multiple of them.
const BLOCKS: usize = SAMPLES / LANES;
/// The number of units that share one load of the basis.
const UNITS: usize = 2;
/// The number of rows of the basis that share one load of values.
const ROWS: usize = 4;
/// The number of samples that stay in the cache while all units and all rows of the basis are gone through.
const NEAR: usize = 128;
/// The largest whole power that is computed by repeated multiplication.
const MOST_FACTORS: f64 = 16.0;
/// Writes s of every unit into `to`; `a` points to the coordinates' rows and to the constant's row. If `slope` is given, it gets v, the derivative of
/// s with respect to each coordinate, as `dim + 1` rows.
///
/// # Safety
/// Pointers are valid for rows of `stride` doubles.
pub unsafe fn spread(of: Spread, a: (*const f64, *const f64), to: *mut f64, slope: Option<*mut f64>) {
    // SAFETY: the caller's promise; `isa` saw on this machine what it names.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match isa() {
            Isa::Avx512 => return x86::avx512(of, a, to, slope),
            Isa::Avx2 => return x86::avx2(of, a, to, slope),
            Isa::Portable => {}
        }
        spread_in::<[f64; 8]>(of, a, to, slope)
    }
}

/// The entry points, each compiled once for its instruction set; the passes, of which there are many kinds, call them.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::rows::Pair;
    use super::super::rows::x86::{Eight, Four};
    use super::{Spread, spread_in};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
    pub unsafe fn avx512(of: Spread, a: (*const f64, *const f64), to: *mut f64, slope: Option<*mut f64>) {
        // SAFETY: the caller's promise.
        unsafe { spread_in::<Eight>(of, a, to, slope) }
    }

    #[target_feature(enable = "avx2,fma,bmi2")]
    pub unsafe fn avx2(of: Spread, a: (*const f64, *const f64), to: *mut f64, slope: Option<*mut f64>) {
        // SAFETY: the caller's promise.
        unsafe { spread_in::<Pair<Four, Four>>(of, a, to, slope) }
    }
}

#[inline(always)]
unsafe fn spread_in<E: Eights>(of: Spread, a: (*const f64, *const f64), to: *mut f64, slope: Option<*mut f64>) {
    // SAFETY: the caller's promise.
    unsafe {
        if !(screens(of.p, of.dim, of.padded) && screened::<E>(of, a, to, slope)) {
            by_values::<E>(of, a, to, slope);
        }
    }
}

/// Does the same from the values of all samples, for any power.
///
/// # Safety
/// As for [`spread`].
#[inline(always)]
pub unsafe fn by_values<E: Row>(of: Spread, a: (*const f64, *const f64), to: *mut f64, slope: Option<*mut f64>) {
    let Spread { p, samples, padded, dim, stride, values, sums, .. } = of;
    let m = samples as f64;
    // SAFETY: the caller's promise.
    unsafe {
        // A few samples of the basis at a time, which stay near, for all units.
        for first in (0..padded).step_by(SAMPLES) {
            for unit in (0..dim).step_by(UNITS) {
                samples_of::<E>(of, a, unit, first);
            }
        }
        for unit in 0..dim {
            let values = std::slice::from_raw_parts_mut(values.add(unit * padded), padded);
            *to.add(unit) = judge(p, m, values, slope.is_some());
        }
        let Some(slope) = slope else { return };
        for row in 0..(dim + 1) * width(dim) {
            E::splat(0.0).store(sums.add(row * LANES));
        }
        for first in (0..padded).step_by(NEAR) {
            let range = first..(first + NEAR).min(padded);
            for unit in (0..dim).step_by(UNITS) {
                let mut row = 0;
                while row + ROWS <= dim + 1 {
                    project::<E, ROWS>(of, unit, row, range.clone());
                    row += ROWS;
                }
                match dim + 1 - row {
                    3 => project::<E, 3>(of, unit, row, range.clone()),
                    2 => project::<E, 2>(of, unit, row, range.clone()),
                    1 => project::<E, 1>(of, unit, row, range.clone()),
                    _ => {}
                }
            }
        }
        for row in 0..=dim {
            for unit in 0..dim {
                let lanes = sums.add((row * width(dim) + unit) * LANES);
                *slope.add(row * stride + unit) = std::slice::from_raw_parts(lanes, LANES).iter().sum();
            }
        }
    }
}

/// Computes the values of [`UNITS`] units, starting at `unit`, for one block of samples.
#[inline(always)]
unsafe fn samples_of<E: Row>(of: Spread, (rows, constant): (*const f64, *const f64), unit: usize, first: usize) {
    let Spread { padded, dim, stride, basis, values, .. } = of;
    // SAFETY: units beyond the last are still within rows, which are of an even width, and have a place in `values`.
    unsafe {
        let mut sums = [[E::splat(0.0); BLOCKS]; UNITS];
        for p in 0..=dim {
            let row = if p < dim { rows.add(p * stride) } else { constant };
            let mut of_basis = [E::splat(0.0); BLOCKS];
            for (b, to) in of_basis.iter_mut().enumerate() {
                *to = E::load(basis.add(p * padded + first + b * LANES));
            }
            for (u, sums) in sums.iter_mut().enumerate() {
                let a = E::splat_at(row, unit + u);
                for (sum, basis) in sums.iter_mut().zip(of_basis) {
                    *sum = sum.fma(a, basis);
                }
            }
        }
        for (u, sums) in sums.into_iter().enumerate() {
            for (b, sum) in sums.into_iter().enumerate() {
                sum.store(values.add((unit + u) * padded + first + b * LANES));
            }
        }
    }
}

/// Returns s of one unit's values; with `sloped` the values are replaced by `∂s/∂a`. Padding is 0 and stays 0.
#[inline(always)]
fn judge(p: f64, m: f64, values: &mut [f64], sloped: bool) -> f64 {
    if p == 1.0 {
        let mut sums = [0.0f64; SAMPLES];
        for values in values.chunks_exact(SAMPLES) {
            for (s, v) in sums.iter_mut().zip(values) {
                *s += v.abs();
            }
        }
        if sloped {
            let each = 1.0 / m;
            for v in values {
                *v = if *v > 0.0 {
                    each
                } else if *v < 0.0 {
                    -each
                } else {
                    0.0
                };
            }
        }
        return sums.iter().sum::<f64>() / m;
    }
    // A coordinate that is no number makes all of a unit's values none: 0 then, which is out of range.
    let mut largest = [0.0f64; SAMPLES];
    for values in values.chunks_exact(SAMPLES) {
        for (most, v) in largest.iter_mut().zip(values) {
            *most = if v.abs() > *most { v.abs() } else { *most };
        }
    }
    let most = largest.into_iter().fold(0.0, f64::max);
    if !(most > 0.0 && most.is_finite()) {
        return most;
    }
    if p == f64::INFINITY {
        if sloped {
            let least = most * (1.0 - APART);
            let mut counts = [0.0f64; SAMPLES];
            for values in values.chunks_exact(SAMPLES) {
                counts.iter_mut().zip(values).for_each(|(count, v)| *count += if v.abs() >= least { 1.0 } else { 0.0 });
            }
            let each = 1.0 / counts.iter().sum::<f64>();
            values.iter_mut().for_each(|v| *v = if v.abs() >= least { each.copysign(*v) } else { 0.0 });
        }
        return most;
    }
    let mut sums = [0.0f64; LANES];
    let whole = (p.fract() == 0.0 && p <= MOST_FACTORS).then_some(p as u32);
    for values in values.chunks_exact(LANES) {
        match whole {
            Some(factors) => {
                let powers = powers(values, most, factors);
                sums.iter_mut().zip(powers).for_each(|(s, power)| *s += power);
            }
            None => {
                for (s, v) in sums.iter_mut().zip(values).filter(|(_, v)| **v != 0.0) {
                    *s += (v.abs() / most).powf(p);
                }
            }
        }
    }
    let s = most * (sums.iter().sum::<f64>() / m).powf(1.0 / p);
    match whole.filter(|_| sloped) {
        Some(factors) => {
            for values in values.chunks_exact_mut(LANES) {
                let powers = powers(values, s, factors - 1);
                values.iter_mut().zip(powers).for_each(|(v, power)| *v = (power / m).copysign(*v));
            }
        }
        None if sloped => {
            for v in values.iter_mut().filter(|v| **v != 0.0) {
                *v = ((v.abs() / s).powf(p - 1.0) / m).copysign(*v);
            }
        }
        None => {}
    }
    s
}

/// `(|v|/unit)ⁿ` of eight values, by n multiplications.
#[inline(always)]
fn powers(values: &[f64], unit: f64, factors: u32) -> [f64; LANES] {
    let mut found = [1.0f64; LANES];
    for _ in 0..factors {
        for (found, v) in found.iter_mut().zip(values) {
            *found *= v.abs() / unit;
        }
    }
    found
}

/// Adds the products of [`UNITS`] units' values with some rows of the basis, over a range of samples.
#[inline(always)]
unsafe fn project<E: Row, const ROWS: usize>(of: Spread, unit: usize, row: usize, samples: Range<usize>) {
    let Spread { padded, dim, basis, values, sums: place, .. } = of;
    // SAFETY: units beyond the last have places in `values` and `sums`, rows being of an even width.
    unsafe {
        let at = |r: usize, u: usize| ((row + r) * width(dim) + unit + u) * LANES;
        let mut sums = [[E::splat(0.0); UNITS]; ROWS];
        for (r, sums) in sums.iter_mut().enumerate() {
            for (u, sum) in sums.iter_mut().enumerate() {
                *sum = E::load(place.add(at(r, u)));
            }
        }
        for first in samples.step_by(LANES) {
            let mut of_units = [E::splat(0.0); UNITS];
            for (u, to) in of_units.iter_mut().enumerate() {
                *to = E::load(values.add((unit + u) * padded + first));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let basis = E::load(basis.add((row + r) * padded + first));
                for (sum, values) in sums.iter_mut().zip(of_units) {
                    *sum = sum.fma(basis, values);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (u, sum) in sums.into_iter().enumerate() {
                sum.store(place.add(at(r, u)));
            }
        }
    }
}
