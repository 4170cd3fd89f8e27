//! BatchNorm's statistics and gradients on the CPU: D = √(σ² + ε).

use super::constants::Constants;
use crate::mutant::{Mutant, made};
use crate::ops::channel_reduce::{self, Line, Shared, for_pieces, pair_sums};
use crate::ops::norm::NormSpec;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;

/// Computes μ and σ² of every unit.
pub fn statistics<T: Float>(x: &[T], columns: usize, mean: &mut [T], var: &mut [T], workspace: &mut [f64]) {
    channel_reduce::moments(x, columns, mean, var, workspace);
    if made(Mutant::M6) {
        let m = (x.len() / columns) as f64;
        var.iter_mut().for_each(|v| *v = T::of(v.f64() * m / (m - 1.0)));
    }
}

/// Where dy is held: in a tensor of its own, or where dx will be written.
pub enum Upstream<'a, T> {
    /// In a tensor of its own.
    Apart(&'a [T]),
    /// In `grad_x`, which the pass overwrites.
    InPlace,
}

/// Computes the gradients; `mean` and `var` are what the forward pass wrote.
pub fn backward<T: Float>(
    x: &[T],
    (weight, bias): (&[T], &[T]),
    spec: NormSpec,
    (mean, var): (&[T], &[T]),
    grad_y: Upstream<'_, T>,
    grad_x: &mut [T],
    (grad_weight, grad_bias): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let columns = weight.len();
    let rows = x.len() / columns;
    let eps = if made(Mutant::M1) { 0.0 } else { spec.eps };
    let divisor = |c: usize| spec.divisor.of(var[c].f64(), eps);
    let line = Constants::new(mean, (weight, bias), divisor, spec.relu);
    let dy = match grad_y {
        Upstream::Apart(dy) => dy,
        Upstream::InPlace => &*grad_x,
    };
    let (l, (m, i, g, b)) = (&line, (line.mean.get(), line.inverse.get(), line.gain.get(), line.shift.get()));
    pair_sums(
        (rows, columns),
        workspace,
        |r, sum, sum_u| sums(&x[r.clone()], &dy[r], m, i, g, b, l.floor, sum, sum_u),
        |c, sum, sum_u| {
            grad_bias[c] = T::of(sum);
            grad_weight[c] = T::of(sum_u);
        },
    );
    // dx = γ/S (dy − Σdy/m − u Σdy·u/m)
    let count = rows as f64;
    let count = if made(Mutant::E16) { f64::INFINITY } else { count };
    let mean_dy = Line::new(columns, |c| T::of(grad_bias[c].f64() / count));
    let mean_u = Line::new(columns, |c| T::of(grad_weight[c].f64() / count));
    let (md, mu) = (mean_dy.get(), mean_u.get());
    let apart = match grad_y {
        Upstream::Apart(dy) => Some(dy),
        Upstream::InPlace => None,
    };
    let shared = Shared::new(grad_x);
    for_pieces(x.len(), columns, |range| {
        // SAFETY: pieces do not overlap.
        let dx = unsafe { shared.range(range.clone()) };
        match apart {
            Some(dy) => apply(&x[range.clone()], &dy[range], m, i, g, b, l.floor, md, mu, dx),
            None => apply_in_place(&x[range], m, i, g, md, mu, dx),
        }
    });
}

vectorize! {
    /// Adds dy and dy·u to the sums, where the ReLU let y through.
    pub fn sums<T>(x: &[T], dy: &[T], mean: &[T], inverse: &[T], gain: &[T], shift: &[T], floor: T, sum: &mut [T], sum_u: &mut [T]) {
        let span = sum.len();
        for (x, dy) in x.chunks(span).zip(dy.chunks(span)) {
            let constants = mean.iter().zip(inverse).zip(gain).zip(shift);
            for ((((&x, &dy), (((&m, &i), &g), &b)), s), su) in x.iter().zip(dy).zip(constants).zip(sum.iter_mut()).zip(sum_u.iter_mut()) {
                let d = x - m;
                let dy = if d.fma(g, b) <= floor { T::ZERO } else { dy };
                *s += dy;
                *su = dy.fma(d * i, *su);
            }
        }
    }

    fn apply<T>(
        x: &[T], dy: &[T], mean: &[T], inverse: &[T], gain: &[T], shift: &[T], floor: T, mean_dy: &[T], mean_u: &[T], dx: &mut [T],
    ) {
        let span = mean.len();
        for ((x, dy), dx) in x.chunks(span).zip(dy.chunks(span)).zip(dx.chunks_mut(span)) {
            let constants = mean.iter().zip(inverse).zip(gain).zip(shift).zip(mean_dy).zip(mean_u);
            for (((dx, &x), &dy), (((((&m, &i), &g), &b), &md), &mu)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
                let d = x - m;
                let dy = if d.fma(g, b) <= floor { T::ZERO } else { dy };
                *dx = g * (-(d * i)).fma(mu, dy - md);
            }
        }
    }

    /// Writes dx where `dx` holds dy before and no ReLU follows.
    fn apply_in_place<T>(x: &[T], mean: &[T], inverse: &[T], gain: &[T], mean_dy: &[T], mean_u: &[T], dx: &mut [T]) {
        let span = mean.len();
        for (x, dx) in x.chunks(span).zip(dx.chunks_mut(span)) {
            let constants = mean.iter().zip(inverse).zip(gain).zip(mean_dy).zip(mean_u);
            for ((dx, &x), ((((&m, &i), &g), &md), &mu)) in dx.iter_mut().zip(x).zip(constants) {
                *dx = g * (-((x - m) * i)).fma(mu, *dx - md);
            }
        }
    }
}
