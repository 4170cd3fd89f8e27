//! The coordinates of a batch: an orthonormal basis of the span of its inputs, and the inputs and targets in that basis.
//!
//! The basis comes from the Gram-Schmidt process, one input feature after another. Each is orthogonalised repeatedly, until only rounding is left of
//! its part along the basis (Daniel and others 1976). A feature that is linearly dependent, such as a constant or a copy of another, adds nothing to
//! the basis: its vector is 0. Every sample is treated alike, so that equal samples stay equal.

use super::layout::{Layout, needs_samples};
use super::{Chain, ChainNorm, screen};
use crate::runtime::simd::vectorize;

/// The number of independent chains in a sum over samples; the padded number of samples is a multiple of it.
const LANES: usize = 32;

vectorize! {
    fn dot<T>(x: &[T], y: &[T]) -> T {
        let mut sum = [T::ZERO; LANES];
        for (x, y) in x.chunks_exact(LANES).zip(y.chunks_exact(LANES)) {
            for ((s, &x), &y) in sum.iter_mut().zip(x).zip(y) {
                *s = x.fma(y, *s);
            }
        }
        sum.iter().copied().sum()
    }

    /// `x ← x − a y`
    fn take_off<T>(a: T, y: &[T], x: &mut [T]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = (-a).fma(y, *x);
        }
    }

    fn scale<T>(a: T, x: &mut [T]) {
        for x in x {
            *x *= a;
        }
    }
}

/// A power of two near the largest absolute value, by which values are divided to keep squares in range; 1 where there is no such power.
fn magnitude(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, |most: f64, v| most.max(v.abs()));
    if most > 0.0 && most.is_finite() { 2f64.powi((most.log2().floor() as i32).clamp(-1000, 1000)) } else { 1.0 }
}

/// Subtracts from `vector` its components along the rows of `basis`, and adds them to `parts`. If the constant is in the basis, it is the last row.
fn project(basis: &[f64], padded: usize, along: usize, constant: bool, vector: &mut [f64], parts: &mut [f64]) {
    if constant {
        let last = parts.len() - 1;
        let row = &basis[last * padded..][..padded];
        let part = dot(row, vector);
        parts[last] += part;
        take_off(part, row, vector);
    }
    for (row, to) in basis.chunks_exact(padded).zip(parts.iter_mut()).take(along) {
        let part = dot(row, vector);
        *to += part;
        take_off(part, row, vector);
    }
}

/// Writes a batch's coordinates into `room`, in the layout for single numbers. `x` and `target` are `[samples, dim]`.
pub fn prepare(chain: &Chain, layout: &Layout, x: &[f64], target: &[f64], room: &mut [f64]) {
    let Chain { dim, samples, .. } = *chain;
    let constant = chain.norm != ChainNorm::None && chain.norms() > 0;
    let (padded, stride) = (layout.padded, layout.stride);
    let (before, rest) = room.split_at_mut(layout.basis);
    let (of_basis, rest) = rest.split_at_mut(layout.theta - layout.basis);
    let basis = &mut of_basis[..(dim + 1) * padded];
    let column = &mut rest[layout.values - layout.theta..][..padded];
    basis.fill(0.0);
    before[layout.x..layout.basis].fill(0.0);
    if constant {
        basis[dim * padded..][..samples].fill(1.0 / (samples as f64).sqrt());
    }
    let mut parts = [0.0; super::widths::WIDEST + 1];
    let parts = &mut parts[..=dim];
    for unit in 0..dim {
        let scaled = magnitude((0..samples).map(|n| x[n * dim + unit]));
        column.fill(0.0);
        column.iter_mut().zip(x[unit..].iter().step_by(dim)).for_each(|(to, &x)| *to = x / scaled);
        parts.fill(0.0);
        let mut length = dot(column, column).sqrt();
        let mut found = 0.0;
        for time in 0..5 {
            project(basis, padded, unit, constant, column, parts);
            let left = dot(column, column).sqrt();
            let stays = left > 0.5 * length;
            length = left;
            if stays && time > 0 {
                found = left;
                break;
            }
        }
        if found > 0.0 {
            parts[unit] = found;
            let row = &mut basis[unit * padded..][..padded];
            row.copy_from_slice(column);
            scale(1.0 / found, row);
        } else if length.is_nan() {
            parts[unit] = f64::NAN;
        }
        for (p, part) in parts.iter().enumerate() {
            before[layout.x + p * stride + unit] = part * scaled;
        }
    }
    let mut outside = 0.0;
    for unit in 0..dim {
        let scaled = magnitude((0..samples).map(|n| target[n * dim + unit]));
        column.fill(0.0);
        column.iter_mut().zip(target[unit..].iter().step_by(dim)).for_each(|(to, &t)| *to = t / scaled);
        parts.fill(0.0);
        for _ in 0..2 {
            project(basis, padded, dim, constant, column, parts);
        }
        outside += dot(column, column) * scaled * scaled;
        for (p, part) in parts.iter().enumerate() {
            before[layout.target + p * stride + unit] = part * scaled;
        }
    }
    before[layout.outside] = outside;
    before[layout.outside + 1] = 1.0;
    if needs_samples(chain.norm) && constant {
        screen::prepare(chain.norm, dim, padded, of_basis);
    }
}
