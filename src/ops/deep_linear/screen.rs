//! The spread at p = 1 and p = ∞, for which a sample's value need not be known: only on which side of 0 it lies, or whether it is the largest.
//!
//! So values are made in f32, of which a register holds twice as many, beside a bound on what they are wrong by; the few that the bound leaves
//! open are made in f64. What is decided is what f64 decides, whatever f32 said.
//!
//! With q_i the basis at sample i, `∂s/∂a = Σ sign(a·q_i) q_i / m` at p = 1, and `s = a·∂s/∂a`. That sum takes four samples at a time from a table
//! of the sixteen ways to add or subtract their q, which is made once for a batch.

use super::ChainNorm;
use super::layout::{SAMPLES, WIDEST, width};
use super::rows::Row;
use super::spread::{APART, Spread};
use crate::runtime::simd::{Lanes, Portable};

/// Samples that have a place in the table together.
const GROUP: usize = 4;
/// Signs of a group.
const SIGNS: usize = 1 << GROUP;
/// Doubles that a register of a table's row has.
const LANES: usize = 8;
/// Doubles that a table may have: one that stays near.
const MOST: usize = 1 << 17;
/// Units that are made room for: an even number, as widths are.
const UNITS: usize = 2;
/// Units whose values are made together, where there are so many left.
const TOGETHER: usize = 4;
/// Registers of a unit's values that are made together.
const REGISTERS: usize = 2;
/// What a row of coordinates has as its largest, if it is to be looked at in f32.
const RANGE: (f64, f64) = (1e-280, 1e280);

/// Doubles of a table's row.
fn row(dim: usize) -> usize {
    (dim + 1).next_multiple_of(LANES)
}

/// Doubles of the table.
fn table(dim: usize, padded: usize) -> usize {
    padded / GROUP * SIGNS * row(dim)
}

/// Whether a spread of this power is found so.
pub fn screens(p: f64, dim: usize, padded: usize) -> bool {
    p == f64::INFINITY || p == 1.0 && table(dim, padded) <= MOST
}

/// Doubles of a chain's basis `[dim + 1, padded]`, and of what follows it: the bound, the basis in f32, and the table.
pub fn room(norm: ChainNorm, dim: usize, padded: usize) -> usize {
    let basis = (dim + 1) * padded;
    match norm {
        ChainNorm::Lp { p, .. } if screens(p, dim, padded) => {
            basis + LANES + basis / 2 + if p == 1.0 { table(dim, padded) } else { 0 }
        }
        _ => basis,
    }
}

/// Where that lies, from the basis on.
struct Places {
    bound: usize,
    singles: usize,
    table: usize,
}

fn places(dim: usize, padded: usize) -> Places {
    let basis = (dim + 1) * padded;
    Places { bound: basis, singles: basis + LANES, table: basis + LANES + basis / 2 }
}

/// Makes what follows the basis in `room`.
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

/// A register of floats that can be judged.
pub trait Judge: Lanes<f32> {
    /// Of the register at `values` the lanes that are negative, and those of an absolute value up to `bound`: a bit each.
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2];
}

/// Eight doubles, and a register of floats of the same instruction set.
pub trait Eights: Row {
    /// The register.
    type Singles: Judge;
}

impl Eights for [f64; 8] {
    type Singles = Portable<f32>;
}

impl Judge for Portable<f32> {
    #[inline(always)]
    unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2] {
        // SAFETY: the caller vouches for as many values.
        let values = unsafe { values.cast::<[f32; 8]>().read_unaligned() };
        let bits =
            |of: fn(f32, f32) -> bool| values.iter().rev().fold(0, |bits, &v| bits << 1 | u32::from(of(v, bound)));
        [bits(|v, _| v.is_sign_negative()), bits(|v, bound| v.abs() <= bound)]
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::rows::Pair;
    use super::super::rows::x86::{Eight, Four};
    use super::{Eights, Judge};
    use crate::runtime::simd::x86::{F32x8, F32x16};
    use std::arch::x86_64::*;

    impl Eights for Eight {
        type Singles = F32x16;
    }

    impl Eights for Pair<Four, Four> {
        type Singles = F32x8;
    }

    impl Judge for F32x16 {
        #[inline(always)]
        unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2] {
            // SAFETY: the caller vouches for AVX-512 and for the values.
            unsafe {
                let values = _mm512_loadu_ps(values);
                let near = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(values), _mm512_set1_ps(bound));
                [_mm512_movepi32_mask(_mm512_castps_si512(values)).into(), near.into()]
            }
        }
    }

    impl Judge for F32x8 {
        #[inline(always)]
        unsafe fn judge(values: *const f32, bound: f32) -> [u32; 2] {
            // SAFETY: the caller vouches for AVX2 and for the values.
            unsafe {
                let values = _mm256_loadu_ps(values);
                let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), values);
                let near = _mm256_cmp_ps::<_CMP_LE_OQ>(size, _mm256_set1_ps(bound));
                [values, near].map(|of| _mm256_movemask_ps(of) as u32)
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

/// As [`super::spread::spread`]; `false` where it is to be found there.
///
/// # Safety
/// As there; the basis is followed by what [`prepare`] made.
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

/// Values of all units, whose coordinates `a` follow one another, at 32 samples from `basis` on: to a place, so many floats apart.
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

/// Those of `U` units.
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

/// What [`signed`] works with: the bound on what f32 is wrong by, the table, and two rows of sums for each unit.
#[derive(Clone, Copy)]
struct Signed {
    bound: f32,
    table: *const f64,
    sums: *mut f64,
}

/// `Σ sign(a·q_i) q_i / m` of all units, a row each. The samples of a block, and their part of the table, stay near for all units.
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

/// The largest |a·q_i|; and how it moves with each coordinate: those that rounding alone may set apart from the largest share it.
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
mod tests {
    use super::super::layout::SAMPLES;
    use super::super::spread::by_values;
    use super::*;
    use crate::runtime::rng::{Purpose, normal, word};

    /// What both ways find of s and of its slope, for a basis and coordinates that need not be orthonormal or of one size.
    fn both(p: f64, dim: usize, samples: usize, basis: &[f64], a: &[f64]) -> [Option<(Vec<f64>, Vec<f64>)>; 2] {
        let (padded, stride) = (samples.next_multiple_of(SAMPLES), width(dim));
        let norm = ChainNorm::Lp { p, eps: 0.0 };
        let mut room = vec![0.0; super::room(norm, dim, padded)];
        for (from, to) in basis.chunks_exact(samples).zip(room.chunks_exact_mut(padded)) {
            to[..samples].copy_from_slice(from);
        }
        prepare(norm, dim, padded, &mut room);
        let mut values = vec![0.0; width(dim) * padded];
        let mut sums = vec![0.0; (dim + 1) * width(dim) * 8];
        let mut rows = vec![0.0; (dim + 1) * stride];
        for (from, to) in a.chunks_exact(dim).zip(rows.chunks_exact_mut(stride)) {
            to[..dim].copy_from_slice(from);
        }
        let (values, sums, basis) = (values.as_mut_ptr(), sums.as_mut_ptr(), room.as_ptr());
        let of = Spread { p, samples, padded, dim, stride, basis, values, sums };
        [true, false].map(|screens| {
            let (mut s, mut slope) = (vec![0.0; stride], vec![0.0; (dim + 1) * stride]);
            // SAFETY: all is as long as the layout has it, and plain Rust runs anywhere.
            let found = unsafe {
                let (rows, to, v) = (rows.as_ptr(), s.as_mut_ptr(), Some(slope.as_mut_ptr()));
                let a = (rows, rows.add(dim * stride));
                match screens {
                    true => screened::<[f64; 8]>(of, a, to, v),
                    false => {
                        by_values::<[f64; 8]>(of, a, to, v);
                        true
                    }
                }
            };
            found.then_some((s, slope))
        })
    }

    fn random(len: usize, of: u32) -> Vec<f64> {
        (0..len).map(|i| f64::from(normal(word(3, Purpose::Case, of, 0, i as u64)))).collect()
    }

    #[test]
    fn what_f32_screens_is_what_all_values_say() {
        for p in [1.0, f64::INFINITY] {
            for (dim, samples) in [(1, 17), (3, 32), (7, 40), (8, 1000), (10, 1000), (15, 64), (24, 100), (32, 500)] {
                let mut basis = random((dim + 1) * samples, 1);
                let mut a = random((dim + 1) * dim, 2);
                // A unit of very small coordinates and one of large ones; a sample of zeros; two that are equal; and one that is another's negative.
                a.iter_mut().step_by(dim).for_each(|a| *a *= 1e-200);
                a.iter_mut().skip(dim - 1).step_by(dim).for_each(|a| *a *= 1e90);
                for row in basis.chunks_exact_mut(samples) {
                    (row[3], row[7], row[9]) = (0.0, row[5], -row[5]);
                }
                let [screened, all] = both(p, dim, samples, &basis, &a);
                let ((s, slope), (right, right_slope)) = (screened.unwrap(), all.unwrap());
                for (found, right) in s.iter().chain(&slope).zip(right.iter().chain(&right_slope)) {
                    // A slope is a sum of numbers near 1, which may cancel.
                    let bound = if right.abs() < 100.0 { 1e-13 } else { 1e-12 * right.abs() };
                    assert!((found - right).abs() <= bound, "p {p}, {dim} units, {samples}: {found} for {right}");
                }
            }
        }
    }

    #[test]
    fn a_sample_next_to_a_units_plane_is_on_the_side_that_f64_says() {
        // Two coordinates that cancel but for the last places of f64: in f32 the value is 0.
        let (dim, samples) = (1, 33);
        let mut basis = vec![1.0; 2 * samples];
        for i in 0..samples {
            basis[i] = -1.0 + [1e-12, -1e-12, 0.0][i % 3];
        }
        let [screened, all] = both(1.0, dim, samples, &basis, &[1.0, 1.0]);
        let ((s, slope), (right, right_slope)) = (screened.unwrap(), all.unwrap());
        assert!((s[0] - right[0]).abs() < 1e-15 && (s[0] - 2e-12 / 3.0).abs() < 1e-15, "{} for {}", s[0], right[0]);
        assert!(slope.iter().zip(&right_slope).all(|(v, right)| (v - right).abs() < 1e-15), "{slope:?}");
        // Nothing but zeros; and numbers out of range, which are left to all values.
        let basis = [[-1.0; 33], [1.0; 33]].concat();
        assert!(
            both(1.0, dim, samples, &basis, &[1.0, 1.0])[0]
                .as_ref()
                .is_some_and(|(s, v)| [s, v].into_iter().flatten().all(|v| *v == 0.0))
        );
        assert!(both(1.0, dim, samples, &basis, &[1.0, 1e300])[0].is_none());
        assert!(both(f64::INFINITY, dim, samples, &basis, &[f64::NAN, 1.0])[0].is_none());
    }
}
