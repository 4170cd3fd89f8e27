//! The tangents of norms over groups on the CPU.

use super::Grouped;
use super::chunks::{PIECE, Workspace, for_chunks, per_channel};
use crate::Result;
use crate::ops::affine::floor;
use crate::ops::channel_reduce::{Shared, as_f64};
use crate::ops::norm::batch::cpu_tangent::{add_upstream, apply};
use crate::ops::norm::tangent_views::TangentViews;
use crate::ops::norm::{NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;

vectorize! {
    /// Adds ẋ and x̂ ẋ to the sums.
    fn add_moving<T>(x: &[T], xt: &[T], mean: &[T], inverse: &[T], sum: &mut [T], sum_u: &mut [T]) {
        let sums = sum.iter_mut().zip(sum_u);
        for ((((&x, &xt), &m), &i), (s, su)) in x.iter().zip(xt).zip(mean).zip(inverse).zip(sums) {
            *s += xt;
            *su = ((x - m) * i).fma(xt, *su);
        }
    }

    /// Adds dy and dy x̂ to the sums, where the ReLU let y through.
    fn add_gradient<T>(
        x: &[T], y: &[T], floor: T, dy: &[T], mean: &[T], inverse: &[T], sum: &mut [T], sum_u: &mut [T],
    ) {
        let sums = sum.iter_mut().zip(sum_u);
        for (((((&x, &y), &dy), &m), &i), (s, su)) in x.iter().zip(y).zip(dy).zip(mean).zip(inverse).zip(sums) {
            let dy = if y <= floor { T::ZERO } else { dy };
            *s += dy;
            *su = dy.fma((x - m) * i, *su);
        }
    }

    /// ḋx, with q = γ dy; `means` are the means of q and q x̂, and their tangents.
    fn gradient<T>(
        x: &[T], xt: &[T], y: &[T], floor: T, dy: &[T], dyt: &[T], mean: &[T], inverse: &[T], mean_t: &[T], divisor_t: &[T],
        weight: &[T], weight_t: &[T], mean_q: &[T], mean_u: &[T], mean_qt: &[T], mean_ut: &[T], out: &mut [T],
    ) {
        let upstream = y.iter().zip(dy).zip(dyt);
        for (k, (((out, &x), &xt), ((&y, &dy), &dyt))) in out.iter_mut().zip(x).zip(xt).zip(upstream).enumerate() {
            let (dy, dyt) = if y <= floor { (T::ZERO, T::ZERO) } else { (dy, dyt) };
            let i = inverse[k];
            let u = (x - mean[k]) * i;
            let ut = (xt - mean_t[k] - u * divisor_t[k]) * i;
            let own = weight[k].fma(dy, -mean_q[k]) - u * mean_u[k];
            let moved = weight_t[k].fma(dy, weight[k].fma(dyt, -mean_qt[k])) - ut * mean_u[k] - u * mean_ut[k];
            *out = i * (-(divisor_t[k] * i)).fma(own, moved);
        }
    }
}

/// See [`crate::ops::norm::Norm::norm_tangent`].
pub fn forward<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass, tangents: NormTangents) -> Result<()> {
    let of = Grouped::of(&spec, &pass, &[], &[tangents.mean.0.shape, tangents.divisor.0.shape])?;
    let mut b = cpu.borrow(spec.name());
    let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread: var, relu } =
        TangentViews::<&[T]>::read(&mut b, &spec, &pass, &tangents)?;
    let bias_t = tangents.bias.map(|w| b.read::<T>(w)).transpose()?;
    let (mean_t, divisor_t) = (b.write::<T>(tangents.mean)?, b.write::<T>(tangents.divisor)?);
    let (mean_t, divisor_t) = (Shared::new(mean_t), Shared::new(divisor_t));
    let (mask, floor, out) = (relu.unwrap_or(x), floor(relu.is_some()), Shared::new(b.write::<T>(tangents.y)?));
    for_chunks::<T>(of, as_f64(b.write::<T>(pass.workspace)?), |chunk, room| {
        let Workspace { sums: [a, b, ..], lines: [m, i, mt, dt, w, wt, bt, sum, sum_u, ..], .. } = room;
        let (mean, var) = (&mean[chunk.groups()], &var[chunk.groups()]);
        // SAFETY: chunks do not overlap.
        let (mean_t, divisor_t) = unsafe { (mean_t.range(chunk.groups()), divisor_t.range(chunk.groups())) };
        chunk.fill(m, |group, _| mean[group]);
        chunk.fill(i, |group, _| T::of(1.0 / spec.divisor_of(var[group].f64())));
        chunk.sum(PIECE, [sum, sum_u], [&mut *a, &mut *b], |row, [sum, sum_u]| {
            add_moving(&x[row.clone()], &xt[row], m, i, sum, sum_u);
        });
        chunk.each_group(|group, lanes| {
            mean_t[group] = of.mean(T::of(a[lanes.clone()].iter().sum::<f64>() / of.size()));
            divisor_t[group] = T::of(b[lanes].iter().sum::<f64>() / of.size());
        });
        chunk.fill(mt, |group, _| mean_t[group]);
        chunk.fill(dt, |group, _| divisor_t[group]);
        chunk.fill(w, |_, c| weight[c]);
        chunk.fill(wt, |_, c| weight_t.map_or(T::ZERO, |w| w[c]));
        chunk.fill(bt, |_, c| bias_t.map_or(T::ZERO, |b| b[c]));
        for row in chunk.rows() {
            // SAFETY: likewise.
            let out = unsafe { out.range(row.clone()) };
            apply(&x[row.clone()], &xt[row.clone()], &mask[row], floor, m, i, mt, dt, w, wt, bt, out);
        }
    });
    Ok(())
}

/// See [`crate::ops::norm::Norm::norm_tangent_backward`].
pub fn backward<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass, io: NormTangentBackward) -> Result<()> {
    let NormTangentBackward { tangents, grads, .. } = io;
    let per_group = [tangents.mean.0.shape, tangents.divisor.0.shape];
    let of = Grouped::of(&spec, &pass, &[grads.weight.0.shape, grads.bias.0.shape], &per_group)?;
    let mut b = cpu.borrow(spec.name());
    let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread: var, relu } =
        TangentViews::<&[T]>::read(&mut b, &spec, &pass, &tangents)?;
    let (mean_t, divisor_t) = (b.read::<T>(tangents.mean.into())?, b.read::<T>(tangents.divisor.into())?);
    let (dy, dyt) = (b.read::<T>(io.grad_y)?, b.read::<T>(io.grad_y_tangent)?);
    let (dwt, dbt) = (b.write::<T>(grads.weight)?, b.write::<T>(grads.bias)?);
    let (out, workspace) = (Shared::new(b.write::<T>(grads.x)?), as_f64(b.write::<T>(pass.workspace)?));
    let (mask, floor) = (relu.unwrap_or(x), floor(relu.is_some()));
    for_chunks::<T>(of, workspace, |chunk, mut room| {
        let Workspace { sums: [a, b, at, bt], lines: [m, i, mt, dt, w, wt, mean_q, mean_u, mean_qt, mean_ut], .. } =
            &mut room;
        let (mean, var) = (&mean[chunk.groups()], &var[chunk.groups()]);
        let (mean_t, divisor_t) = (&mean_t[chunk.groups()], &divisor_t[chunk.groups()]);
        chunk.fill(m, |group, _| mean[group]);
        chunk.fill(i, |group, _| T::of(1.0 / spec.divisor_of(var[group].f64())));
        chunk.fill(mt, |group, _| mean_t[group]);
        chunk.fill(dt, |group, _| divisor_t[group]);
        chunk.fill(w, |_, c| weight[c]);
        chunk.fill(wt, |_, c| weight_t.map_or(T::ZERO, |w| w[c]));
        let lines = [&mut **mean_q, &mut **mean_u, &mut **mean_qt, &mut **mean_ut];
        chunk.sum(PIECE, lines, [&mut **a, &mut **b, &mut **at, &mut **bt], |row, [sum, sum_u, sum_t, sum_ut]| {
            let (x, xt, y) = (&x[row.clone()], &xt[row.clone()], &mask[row.clone()]);
            let (dy, dyt) = (&dy[row.clone()], &dyt[row]);
            add_gradient(x, y, floor, dy, m, i, sum, sum_u);
            add_upstream(x, xt, y, floor, dy, dyt, m, i, mt, dt, sum_t, sum_ut);
        });
        chunk.each_group(|_, lanes| {
            let mean = |value: &dyn Fn(usize) -> f64| T::of(lanes.clone().map(value).sum::<f64>() / of.size());
            let (q, u) = (mean(&|k| w[k].f64() * a[k]), mean(&|k| w[k].f64() * b[k]));
            let qt = mean(&|k| wt[k].f64() * a[k] + w[k].f64() * at[k]);
            let ut = mean(&|k| wt[k].f64() * b[k] + w[k].f64() * bt[k]);
            mean_q[lanes.clone()].fill(of.mean(q));
            mean_u[lanes.clone()].fill(u);
            mean_qt[lanes.clone()].fill(of.mean(qt));
            mean_ut[lanes.clone()].fill(ut);
        });
        for row in chunk.rows() {
            // SAFETY: chunks do not overlap.
            let out = unsafe { out.range(row.clone()) };
            let (x, xt, y) = (&x[row.clone()], &xt[row.clone()], &mask[row.clone()]);
            let (dy, dyt) = (&dy[row.clone()], &dyt[row]);
            gradient(x, xt, y, floor, dy, dyt, m, i, mt, dt, w, wt, mean_q, mean_u, mean_qt, mean_ut, out);
        }
        room.leave(2, 3);
    });
    per_channel(of, workspace, |c, sum, sum_u| {
        dbt[c] = T::of(sum);
        dwt[c] = T::of(sum_u);
    });
    Ok(())
}
