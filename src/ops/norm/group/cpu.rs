//! Norms over groups on the CPU. The forward pass reads a chunk of samples three times, the backward pass twice. Where a sample is one short row of
//! channels, [`super::rows`] has the passes.

use super::chunks::{self, Chunk, PIECE, Workspace, for_chunks, per_channel, total};
use super::{Grouped, rows};
use crate::Result;
use crate::ops::affine::{self, floor};
use crate::ops::channel_reduce::{Extremes, Shared, add_lines, add_lines_about, as_f64, not_below_0, out_of_range};
use crate::ops::norm::batch::std::sums;
use crate::ops::norm::{NormGrads, NormPass, NormSpec};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Shape};

/// Writes `y = γ (x − μ)/S + β`, followed by the ReLU if it is set, and the statistics.
///
/// The mean is computed first. The variance comes from sums about that mean, corrected for what is left of their own mean; so it is exact to rounding
/// even where the mean is far from 0, or one value is far from the mean. Where that leaves T's range, it is computed again in f64.
fn forward_chunks<T: Float>(
    of: Grouped,
    x: &[T],
    (weight, bias): (&[T], &[T]),
    spec: NormSpec,
    y: &mut [T],
    (mean, var): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let (y, mean, var, size) = (Shared::new(y), Shared::new(mean), Shared::new(var), of.size());
    let floor = floor(spec.relu);
    for_chunks::<T>(of, workspace, |chunk, room| {
        let Workspace { sums: [a, b, ..], lines: [sum, square, origin, gain, shift, ..], .. } = room;
        // SAFETY: chunks do not overlap.
        let (mean, var) = unsafe { (mean.range(chunk.groups()), var.range(chunk.groups())) };
        chunk.sum(PIECE, [&mut *sum], [&mut *a], |row, [sum]| add_lines(&x[row], sum));
        chunk.each_group(|group, lanes| mean[group] = T::of(sum_of(&a[lanes]) / size));
        chunk.fill(origin, |group, _| mean[group]);
        chunk.sum(PIECE, [sum, square], [&mut *a, &mut *b], |row, [sum, square]| {
            add_lines_about(&x[row], origin, sum, square);
        });
        chunk.each_group(|group, lanes| {
            let (s1, s2) = (sum_of(&a[lanes.clone()]), sum_of(&b[lanes]));
            mean[group] = T::of(mean[group].f64() + s1 / size);
            var[group] = T::of(not_below_0(s2 - s1 * s1 / size) / size);
        });
        if mean.iter().zip(&*var).any(|(mean, var)| out_of_range::<T>(mean.f64(), var.f64())) {
            moments_again(chunk, x, mean, var);
        }
        for (mean, var) in mean.iter_mut().zip(&mut *var) {
            (*mean, *var) = of.statistics(*mean, *var);
        }
        chunk.fill(origin, |group, _| mean[group]);
        chunk.fill(gain, |group, c| T::of(weight[c].f64() / spec.divisor_of(var[group].f64())));
        chunk.fill(shift, |_, c| bias[c]);
        for row in chunk.rows() {
            // SAFETY: likewise.
            let y = unsafe { y.range(row.clone()) };
            affine::lines(&x[row], origin, gain, shift, floor, y);
        }
    });
}

fn sum_of(values: &[f64]) -> f64 {
    total(values.len(), |i| values[i])
}

/// Mean and variance, in f64, of the groups whose sums in T are not reliable; constant groups are left as they are.
#[cold]
#[inline(never)]
fn moments_again<T: Float>(chunk: Chunk, x: &[T], mean: &mut [T], var: &mut [T]) {
    chunk.each_group(|group, lanes| {
        let values = chunk.rows().flat_map(|row| &x[row][lanes.clone()]).map(|v| v.f64());
        let again = out_of_range::<T>(mean[group].f64(), var[group].f64());
        if let Some(found) = again.then(|| Extremes::of(values.clone()).moments(values)).flatten() {
            (mean[group], var[group]) = (T::of(found.mean), T::of(found.var));
        }
    });
}

/// The gradients of [`forward_chunks`]; `mean` and `var` are what it wrote.
fn backward_chunks<T: Float>(
    of: Grouped,
    (x, dy): (&[T], &[T]),
    (weight, bias): (&[T], &[T]),
    spec: NormSpec,
    (mean, var): (&[T], &[T]),
    dx: &mut [T],
    (grad_weight, grad_bias): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let (dx, size, floor) = (Shared::new(dx), of.size(), floor(spec.relu));
    for_chunks::<T>(of, workspace, |chunk, mut room| {
        let (mean, var) = (&mean[chunk.groups()], &var[chunk.groups()]);
        let inverse = |group: usize| 1.0 / spec.divisor_of(var[group].f64());
        let Workspace { sums: [a, b, ..], lines: [m, i, g, s, w, mean_q, mean_u, ..], .. } = &mut room;
        chunk.fill(m, |group, _| mean[group]);
        chunk.fill(i, |group, _| T::of(inverse(group)));
        chunk.fill(g, |group, c| T::of(weight[c].f64() / spec.divisor_of(var[group].f64())));
        chunk.fill(s, |_, c| bias[c]);
        chunk.fill(w, |_, c| weight[c]);
        // The sum of a piece may leave T's range where its terms do not: then each is a piece.
        for piece in [PIECE, 1] {
            chunk.sum(piece, [&mut **mean_q, &mut **mean_u], [&mut **a, &mut **b], |row, [sum, sum_u]| {
                sums(&x[row.clone()], &dy[row], m, i, g, s, floor, sum, sum_u);
            });
            let mut finite = true;
            chunk.each_group(|_, lanes| {
                let w = &w[lanes.clone()];
                let mean = |sums: &[f64]| T::of(total(w.len(), |lane| w[lane].f64() * sums[lane]) / size);
                let (q, u) = (mean(&a[lanes.clone()]), mean(&b[lanes.clone()]));
                mean_q[lanes.clone()].fill(of.mean(q));
                mean_u[lanes].fill(u);
                finite &= (q + u).is_finite();
            });
            if finite {
                break;
            }
        }
        for row in chunk.rows() {
            // SAFETY: chunks do not overlap.
            let dx = unsafe { dx.range(row.clone()) };
            gradient(&x[row.clone()], &dy[row], m, i, g, s, floor, w, mean_q, mean_u, dx);
        }
        room.leave(0, 1);
    });
    per_channel(of, workspace, |c, sum, sum_u| {
        grad_bias[c] = T::of(sum);
        grad_weight[c] = T::of(sum_u);
    });
}

vectorize! {
    /// dx = (γ dy − mean(γ dy) − x̂ mean(γ dy·x̂))/S
    fn gradient<T>(
        x: &[T], dy: &[T], mean: &[T], inverse: &[T], gain: &[T], shift: &[T], floor: T, weight: &[T], mean_q: &[T], mean_u: &[T],
        dx: &mut [T],
    ) {
        let constants = mean.iter().zip(inverse).zip(gain).zip(shift).zip(weight).zip(mean_q).zip(mean_u);
        for (((dx, &x), &dy), ((((((&m, &i), &g), &b), &w), &mq), &mu)) in dx.iter_mut().zip(x).zip(dy).zip(constants) {
            let d = x - m;
            let dy = if d.fma(g, b) <= floor { T::ZERO } else { dy };
            *dx = i * (-(d * i)).fma(mu, w.fma(dy, -mq));
        }
    }
}

/// The workspace of all passes over an x of this shape, as a shape.
pub fn workspace(x: Shape) -> Shape {
    let [h, w, samples, channels] = x.hwnc();
    let of = Grouped { pixels: h * w, samples: samples.max(1), channels: channels.max(1), groups: 1, centre: true };
    let rows = if rows::takes(of) { rows::workspace(of) } else { 0 };
    Shape::new([2 * chunks::workspace(of).max(rows)])
}

/// See [`crate::ops::norm::Norm::norm_forward`].
pub fn forward<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass) -> Result<()> {
    let of = Grouped::of(&spec, &pass, &[], &[])?;
    let mut b = cpu.borrow(spec.name());
    let (x, params) = (b.read::<T>(pass.x)?, (b.read::<T>(pass.weight)?, b.read::<T>(pass.bias)?));
    let statistics = (b.write::<T>(pass.mean)?, b.write::<T>(pass.spread)?);
    let (y, workspace) = (b.write(pass.y)?, as_f64(b.write::<T>(pass.workspace)?));
    if rows::takes(of) {
        rows::forward(of, x, params, spec, y, statistics, workspace);
    } else {
        forward_chunks(of, x, params, spec, y, statistics, workspace);
    }
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
    let of = Grouped::of(&spec, &pass, &[grads.weight.0.shape, grads.bias.0.shape], &[])?;
    let mut b = cpu.borrow(spec.name());
    let params = (b.read::<T>(pass.weight)?, b.read::<T>(pass.bias)?);
    let statistics = (b.read::<T>(pass.mean.into())?, b.read::<T>(pass.spread.into())?);
    let per_channel = (b.write::<T>(grads.weight)?, b.write::<T>(grads.bias)?);
    let (tensors, dx) = ((b.read::<T>(pass.x)?, b.read::<T>(grad_y)?), b.write::<T>(grads.x)?);
    let workspace = as_f64(b.write::<T>(pass.workspace)?);
    if rows::takes(of) {
        rows::backward(of, tensors, params, spec, statistics, dx, per_channel, workspace);
    } else {
        backward_chunks(of, tensors, params, spec, statistics, dx, per_channel, workspace);
    }
    Ok(())
}
