//! The spread at p = 1 and p = ∞. Here a sample's exact value is not needed: only its sign (p = 1), or whether it is the largest (p = ∞).
//!
//! So values are first computed in f32, where a register holds twice as many, with a bound on their error. The few values that the bound leaves
//! undecided are computed in f64. Every decision is therefore the one that f64 makes.
//!
//! With q_i the basis at sample i, `∂s/∂a = Σ sign(a·q_i) q_i / m` at p = 1, and `s = a·∂s/∂a`. The sum takes four samples at a time from a table,
//! computed once for a batch, of the sixteen ways to add or subtract their q.

use super::ChainNorm;
use super::judge::{Eights, Judge};
use super::samples::{APART, Spread};
use super::widths::{SAMPLES, WIDEST, width};
use crate::runtime::simd::Lanes;

/// The number of samples that share an entry of the table.
const GROUP: usize = 4;
/// The number of ways to choose the signs of a group.
const SIGNS: usize = 1 << GROUP;
/// The number of doubles in a register of the table's rows.
const LANES: usize = 8;
/// The most doubles that a table may have, so that it stays in the cache.
const MOST: usize = 1 << 17;
/// Room is made for a multiple of this many units; it is even, as widths are.
const UNITS: usize = 2;
/// The number of units whose values are computed together, while so many are left.
const TOGETHER: usize = 4;
/// The number of registers of a unit's values that are computed together.
const REGISTERS: usize = 2;
/// The range in which the largest coordinate of a unit must lie, for the unit to be screened in f32.
const RANGE: (f64, f64) = (1e-280, 1e280);

/// The length of a table's row, in doubles.
fn row(dim: usize) -> usize {
    (dim + 1).next_multiple_of(LANES)
}

/// The size of the table, in doubles.
fn table(dim: usize, padded: usize) -> usize {
    padded / GROUP * SIGNS * row(dim)
}

/// Whether the spread of this power is computed in this way.
pub fn screens(p: f64, dim: usize, padded: usize) -> bool {
    p == f64::INFINITY || p == 1.0 && table(dim, padded) <= MOST
}

/// The size, in doubles, of a chain's basis `[dim + 1, padded]` and of what follows it: the bound, the basis in f32, and the table.
pub fn room(norm: ChainNorm, dim: usize, padded: usize) -> usize {
    let basis = (dim + 1) * padded;
    match norm {
        ChainNorm::Lp { p, .. } if screens(p, dim, padded) => {
            basis + LANES + basis / 2 + if p == 1.0 { table(dim, padded) } else { 0 }
        }
        _ => basis,
    }
}

/// The offsets of these, from the start of the basis.
struct Places {
    bound: usize,
    singles: usize,
    table: usize,
}

fn places(dim: usize, padded: usize) -> Places {
    let basis = (dim + 1) * padded;
    Places { bound: basis, singles: basis + LANES, table: basis + LANES + basis / 2 }
}

/// Computes what follows the basis in `room`.
pub fn prepare(norm: ChainNorm, dim: usize, padded: usize, room: &mut [f64]) {
    let ChainNorm::Lp { p, .. } = norm else { return };
    if !screens(p, dim, padded) {
        return;
    }
    let Places { bound, singles, table } = places(dim, padded);
    let (basis, rest) = room.split_at_mut(bound);
    let single: &mut [f32] = bytemuck::cast_slice_mut(&mut rest[singles - bound..table - bound]);
    single.iter_mut().zip(&*basis).for_each(|(to, &q)| *to = q as f32);
    let sample = |i: usize| basis[i..].iter().step_by(padded).map(|q| q.abs()).sum::<f64>();
    // Coordinates are at most 1 then. Each product's factors are rounded and so is each sum, by half a unit in the last place of f32; a hundredth
    // more is for products of these, and for f64's own.
    let most = (0..padded).map(sample).fold(0.0, f64::max);
    rest[0] = 1.01 * (dim + 4) as f64 * 2f64.powi(-24) * most;
    if p == 1.0 {
        let rows = rest[table - bound..][..self::table(dim, padded)].chunks_exact_mut(row(dim));
        for (at, row) in rows.enumerate() {
            let (group, signs) = (at / SIGNS, at % SIGNS);
            row.fill(0.0);
            for (q, to) in basis.chunks_exact(padded).zip(row) {
                let of_group = q[group * GROUP..][..GROUP].iter().enumerate();
                *to = of_group.map(|(i, q)| if signs >> i & 1 == 1 { -q } else { *q }).sum();
            }
        }
    }
}

/// A unit's coordinates, f64 `[dim + 1]`, and its values in f32, `[padded]`.
#[derive(Clone, Copy)]
struct Unit {
    a: *const f64,
    values: *const f32,
}

/// Does what [`super::spread::spread`] does; returns `false` if the work has to be done there.
///
/// # Safety
/// As there; and the basis must be followed by what [`prepare`] computed.
#[inline(always)]
pub unsafe fn screened<E: Eights>(
    of: Spread,
    (rows, constant): (*const f64, *const f64),
    to: *mut f64,
    slope: Option<*mut f64>,
) -> bool {
    let Spread { p, padded, dim, stride, basis, values, sums, .. } = of;
    let at = places(dim, padded);
    // SAFETY: the caller's promise. The width is even; sums have eight doubles for each coordinate of a unit, of which the first take the
    // coordinates, others these in f32, and the rest two rows for each unit. Values in f32 take the first half of the place of values.
    unsafe {
        let coordinates = sums;
        let singles = sums.add(width(dim) * (dim + 1)).cast::<f32>();
        let units = dim.next_multiple_of(UNITS);
        for unit in 0..units {
            let (a, single) = (coordinates.add(unit * (dim + 1)), singles.add(unit * (dim + 1)));
            let mut most = 0.0f64;
            for p in 0..=dim {
                let row = if p < dim { rows.add(p * stride) } else { constant };
                let value = if unit < dim { *row.add(unit) } else { 1.0 };
                *a.add(p) = value;
                // NaN stays NaN.
                most = if value.abs() <= most || most.is_nan() { most } else { value.abs() };
            }
            if !(RANGE.0 <= most && most <= RANGE.1) {
                return false;
            }
            for p in 0..=dim {
                *single.add(p) = (*a.add(p) / most) as f32;
            }
        }
        let single_basis = basis.add(at.singles).cast::<f32>();
        let bound = *basis.add(at.bound) as f32;
        let coordinates = coordinates.cast_const();
        let found = match p == 1.0 {
            true => {
                let places = Signed {
                    bound,
                    table: basis.add(at.table),
                    sums: singles.cast::<f64>().add(width(dim) * (dim + 1)),
                };
                let found = match row(dim) / LANES {
                    1 => signed::<E, 1>(of, coordinates, singles, single_basis, places),
                    2 => signed::<E, 2>(of, coordinates, singles, single_basis, places),
                    3 => signed::<E, 3>(of, coordinates, singles, single_basis, places),
                    4 => signed::<E, 4>(of, coordinates, singles, single_basis, places),
                    _ => signed::<E, 5>(of, coordinates, singles, single_basis, places),
                };
                for unit in 0..dim {
                    let s = (0..=dim).fold(0.0, |s, p| {
                        (*coordinates.add(unit * (dim + 1) + p)).mul_add(*found.add(unit * row(dim) + p), s)
                    });
                    *to.add(unit) = s;
                }
                found
            }
            false => {
                let floats = values.cast::<f32>();
                for first in (0..padded).step_by(SAMPLES) {
                    let to = (floats.add(first), padded);
                    all_values_of::<E::Singles>(dim, padded, singles, single_basis.add(first), to);
                }
                let found = singles.cast::<f64>().add(width(dim) * (dim + 1));
                // The upper half of the place of values.
                let spare = values.add(width(dim) * padded / 2);
                for unit in 0..dim {
                    let one = Unit { a: coordinates.add(unit * (dim + 1)), values: floats.add(unit * padded) };
                    let v =
                        slope.is_some().then(|| std::slice::from_raw_parts_mut(found.add(unit * row(dim)), dim + 1));
                    *to.add(unit) = largest(of, one, bound, spare, v);
                }
                found.cast_const()
            }
        };
        if let Some(slope) = slope {
            for unit in 0..dim {
                for p in 0..dim + 1 {
                    *slope.add(p * stride + unit) = *found.add(unit * row(dim) + p);
                }
            }
        }
        true
    }
}

/// Computes the values of all units at the 32 samples that start at `basis`. The units' coordinates `a` follow one another; their values are stored
/// at a pointer, a number of floats apart.
#[inline(always)]
unsafe fn all_values_of<S: Lanes<f32>>(
    dim: usize,
    padded: usize,
    a: *const f32,
    basis: *const f32,
    (to, apart): (*mut f32, usize),
) {
    let units = dim.next_multiple_of(UNITS);
    let mut unit = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while unit + TOGETHER <= units {
            let (a, to) = (a.add(unit * (dim + 1)), to.add(unit * apart));
            values_of::<S, TOGETHER>(dim, padded, a, basis, (to, apart));
            unit += TOGETHER;
        }
        while unit < units {
            let (a, to) = (a.add(unit * (dim + 1)), to.add(unit * apart));
            values_of::<S, UNITS>(dim, padded, a, basis, (to, apart));
            unit += UNITS;
        }
    }
}

/// The same for `U` units.
#[inline(always)]
unsafe fn values_of<S: Lanes<f32>, const U: usize>(
    dim: usize,
    padded: usize,
    a: *const f32,
    basis: *const f32,
    (to, apart): (*mut f32, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        for first in (0..SAMPLES).step_by(REGISTERS * S::WIDTH) {
            let mut sums = [[S::splat(0.0); REGISTERS]; U];
            for p in 0..dim + 1 {
                let q: [S; REGISTERS] = std::array::from_fn(|r| S::load(basis.add(p * padded + first + r * S::WIDTH)));
                for (u, sums) in sums.iter_mut().enumerate() {
                    let a = S::splat(*a.add(u * (dim + 1) + p));
                    for (sum, q) in sums.iter_mut().zip(q) {
                        *sum = sum.fma(a, q);
                    }
                }
            }
            for (u, sums) in sums.into_iter().enumerate() {
                for (r, sum) in sums.into_iter().enumerate() {
                    sum.store(to.add(u * apart + first + r * S::WIDTH));
                }
            }
        }
    }
}

/// The operands of [`signed`]: the bound on f32's error, the table, and two rows of sums for each unit.
#[derive(Clone, Copy)]
struct Signed {
    bound: f32,
    table: *const f64,
    sums: *mut f64,
}

/// Computes `Σ sign(a·q_i) q_i / m` of all units, one row each. A block's samples, and their part of the table, stay in the cache while all units are
/// gone through.
#[inline(always)]
unsafe fn signed<E: Eights, const C: usize>(
    of: Spread,
    coordinates: *const f64,
    singles: *const f32,
    basis: *const f32,
    places: Signed,
) -> *const f64 {
    let Spread { samples, padded, dim, .. } = of;
    let Signed { bound, table, sums } = places;
    let row = C * LANES;
    // SAFETY: the caller's promise.
    unsafe {
        std::slice::from_raw_parts_mut(sums, 2 * dim * row).fill(0.0);
        let mut values = [0.0f32; (WIDEST + UNITS) * SAMPLES];
        for first in (0..padded).step_by(SAMPLES) {
            all_values_of::<E::Singles>(dim, padded, singles, basis.add(first), (values.as_mut_ptr(), SAMPLES));
            for unit in 0..dim {
                let (mut signs, mut open) = (0, 0);
                for at in (0..SAMPLES).step_by(E::Singles::WIDTH) {
                    let [negative, near] = E::Singles::judge(values.as_ptr().add(unit * SAMPLES + at), bound);
                    (signs, open) = (signs | negative << at, open | near << at);
                }
                let place = sums.add(2 * unit * row);
                // What is padded is 0, and adds nothing with either sign.
                while open != 0 && first + (open.trailing_zeros() as usize) < samples {
                    let i = open.trailing_zeros();
                    open &= open - 1;
                    let sample = first + i as usize;
                    let value = value_of(of, coordinates.add(unit * (dim + 1)), sample);
                    signs = signs & !(1 << i) | u32::from(value < 0.0) << i;
                    if value == 0.0 {
                        // The table will add it.
                        for p in 0..dim + 1 {
                            *place.add(p) -= *of.basis.add(p * padded + sample);
                        }
                    }
                }
                let mut sums = [[E::splat(0.0); C]; 2];
                for (half, sums) in sums.iter_mut().enumerate() {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = E::load(place.add(half * row + c * LANES));
                    }
                }
                for group in 0..SAMPLES / GROUP {
                    let way = (signs >> (group * GROUP)) as usize % SIGNS;
                    let from = table.add(((first / GROUP + group) * SIGNS + way) * row);
                    for (c, sum) in sums[group % 2].iter_mut().enumerate() {
                        *sum = sum.add(E::load(from.add(c * LANES)));
                    }
                }
                for (half, sums) in sums.into_iter().enumerate() {
                    for (c, sum) in sums.into_iter().enumerate() {
                        sum.store(place.add(half * row + c * LANES));
                    }
                }
            }
        }
        // Rows of the result overtake no sums that are still to be read.
        let m = samples as f64;
        for unit in 0..dim {
            for p in 0..row {
                let [even, odd] = [0, row].map(|half| *sums.add(2 * unit * row + half + p));
                *sums.add(unit * row + p) = (even + odd) / m;
            }
        }
        sums
    }
}

/// Returns the largest |a·q_i|, and writes its derivative with respect to each coordinate. Samples that rounding alone could set apart from the
/// largest share the derivative.
#[inline(always)]
unsafe fn largest(of: Spread, unit: Unit, bound: f32, spare: *mut f64, slope: Option<&mut [f64]>) -> f64 {
    let Spread { samples, padded, dim, basis, .. } = of;
    // SAFETY: the caller's promise; `spare` has room for two doubles a sample.
    unsafe {
        let values = std::slice::from_raw_parts(unit.values, padded);
        let mut most = [0.0f32; SAMPLES];
        for values in values.chunks_exact(SAMPLES) {
            for (most, v) in most.iter_mut().zip(values) {
                *most = if v.abs() > *most { v.abs() } else { *most };
            }
        }
        let least = most.into_iter().fold(0.0, f32::max) - 2.0 * bound;
        let (mut count, mut found) = (0, 0.0f64);
        for (block, values) in values.chunks_exact(SAMPLES).enumerate() {
            if values.iter().fold(false, |any, v| any | (v.abs() >= least)) {
                for (i, _) in values.iter().enumerate().filter(|(_, v)| v.abs() >= least) {
                    let sample = block * SAMPLES + i;
                    if sample < samples {
                        let value = value_of(of, unit.a, sample);
                        found = found.max(value.abs());
                        *spare.add(2 * count) = sample as f64;
                        *spare.add(2 * count + 1) = value;
                        count += 1;
                    }
                }
            }
        }
        if let Some(slope) = slope {
            let open = || (0..count).map(|at| (*spare.add(2 * at) as usize, *spare.add(2 * at + 1)));
            let tied = || open().filter(|(_, value)| value.abs() >= found * (1.0 - APART));
            let each = 1.0 / tied().count() as f64;
            slope.fill(0.0);
            for (sample, value) in tied() {
                for (p, slope) in slope[..=dim].iter_mut().enumerate() {
                    *slope = each.copysign(value).mul_add(*basis.add(p * padded + sample), *slope);
                }
            }
        }
        found
    }
}

/// The value at a sample, in f64.
#[inline(always)]
unsafe fn value_of(of: Spread, a: *const f64, sample: usize) -> f64 {
    // SAFETY: the caller's promise.
    unsafe { (0..=of.dim).fold(0.0, |sum, p| (*a.add(p)).mul_add(*of.basis.add(p * of.padded + sample), sum)) }
}

#[cfg(test)]
mod tests;
