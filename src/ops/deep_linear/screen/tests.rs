//! Tests of the screening in f32 against the values of all samples in f64.

use super::super::spread::by_values;
use super::*;
use crate::runtime::rng::{Purpose, normal, word};

/// s and its slope as both methods compute them, for a basis and coordinates that need not be orthonormal or of similar size.
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
