//! The tangents of norms over the batch on the CPU.

use super::faint::{FaintUnit, Moves, faint};
use crate::Result;
use crate::ops::affine::floor;
use crate::ops::channel_reduce::{self, Line, Shared, as_f64, for_pieces, pair_sums};
use crate::ops::norm::tangent_views::TangentViews;
use crate::ops::norm::{Divisor, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;

/// The kinds of r; see the contract.
#[derive(Clone, Copy)]
enum Slope<T> {
    /// r = u
    Std,
    /// r = sign(x)(|x|/s)^(p−1), for this p.
    Power(T),
    /// r = sign(x) m/k, for the k elements of largest |x|.
    Largest,
}

impl<T: Float> Slope<T> {
    fn of(divisor: Divisor) -> Self {
        match divisor {
            Divisor::Std => Slope::Std,
            Divisor::PowerMean(p) if p.is_infinite() => Slope::Largest,
            Divisor::PowerMean(p) => Slope::Power(T::of(p)),
        }
    }

    /// r. `scaled` is 1/s, or m/k at p = ∞; `most` is s.
    #[inline(always)]
    fn r(self, x: T, u: T, scaled: T, most: T) -> T {
        match self {
            Slope::Std => u,
            Slope::Power(_) | Slope::Largest if x == T::ZERO => T::ZERO,
            Slope::Largest => {
                let share = if x.abs() == most { scaled } else { T::ZERO };
                if x > T::ZERO { share } else { -share }
            }
            Slope::Power(p) if p == T::ONE => {
                if x > T::ZERO {
                    T::ONE
                } else {
                    -T::ONE
                }
            }
            Slope::Power(p) if p == T::of(2.0) => x * scaled,
            Slope::Power(p) => {
                let size = (x.abs() * scaled).powf(p - T::ONE);
                if x > T::ZERO { size } else { -size }
            }
        }
    }

    /// ṙ. The arguments are the tangents of x, u and D.
    #[inline(always)]
    fn moving(self, x: T, r: T, [xt, ut, dt]: [T; 3], scaled: T) -> T {
        match self {
            Slope::Std => ut,
            Slope::Largest => T::ZERO,
            Slope::Power(p) if p == T::ONE || x == T::ZERO && p != T::of(2.0) => T::ZERO,
            Slope::Power(p) if p == T::of(2.0) => (xt - r * dt) * scaled,
            Slope::Power(p) => {
                let size = (x.abs() * scaled).powf(p - T::of(2.0));
                (p - T::ONE) * (size * xt - r * dt) * scaled
            }
        }
    }
}

/// The constants of the units, each repeated along a line.
struct Lines<T> {
    mean: Line<T>,
    /// 1/D
    inverse: Line<T>,
    /// 1/s of an ℓp norm, 0 where s = 0; m/k at p = ∞.
    scaled: Line<T>,
    /// s
    most: Line<T>,
}

impl<T: Float> Lines<T> {
    /// The lines for x. `room` is scratch space with one number for each unit.
    #[inline(always)]
    fn new(spec: &NormSpec, x: &[T], (mean, spread): (&[T], &[T]), room: &mut [T], workspace: &mut [f64]) -> Self {
        let s = |c: usize| spread[c].f64();
        let columns = mean.len();
        let largest = spec.divisor == Divisor::PowerMean(f64::INFINITY);
        if largest {
            channel_reduce::counts_of(x, columns, spread, room, workspace);
        }
        let rows = (x.len() / columns) as f64;
        Lines {
            mean: Line::new(columns, |c| mean[c]),
            inverse: Line::new(columns, |c| T::of(1.0 / spec.divisor_of(s(c)))),
            scaled: Line::new(columns, |c| match s(c) {
                _ if largest => T::of(rows / room[c].f64()),
                s if s > 0.0 => T::of(1.0 / s),
                _ => T::ZERO,
            }),
            most: Line::new(columns, |c| spread[c]),
        }
    }
}

vectorize! {
    /// Adds ẋ and r ẋ to the sums.
    fn add_moving<T>(slope: Slope<T>, x: &[T], xt: &[T], mean: &[T], inverse: &[T], scaled: &[T], most: &[T], sum: &mut [T], sum_r: &mut [T]) {
        let span = sum.len();
        for (x, xt) in x.chunks(span).zip(xt.chunks(span)) {
            for (i, (&x, &xt)) in x.iter().zip(xt).enumerate() {
                let r = slope.r(x, (x - mean[i]) * inverse[i], scaled[i], most[i]);
                sum[i] += xt;
                sum_r[i] = r.fma(xt, sum_r[i]);
            }
        }
    }

    /// ẏ
    pub fn apply<T>(
        x: &[T], xt: &[T], y: &[T], floor: T, mean: &[T], inverse: &[T], mean_t: &[T], divisor_t: &[T], weight: &[T], weight_t: &[T],
        bias_t: &[T], out: &mut [T],
    ) {
        let span = mean.len();
        for (((x, xt), y), out) in x.chunks(span).zip(xt.chunks(span)).zip(y.chunks(span)).zip(out.chunks_mut(span)) {
            for (i, (((out, &x), &xt), &y)) in out.iter_mut().zip(x).zip(xt).zip(y).enumerate() {
                let u = (x - mean[i]) * inverse[i];
                let ut = (xt - mean_t[i] - u * divisor_t[i]) * inverse[i];
                let yt = weight_t[i].fma(u, weight[i].fma(ut, bias_t[i]));
                *out = if y <= floor { T::ZERO } else { yt };
            }
        }
    }

    /// Adds ḋy, and ḋy u + dy u̇, to the sums.
    pub fn add_upstream<T>(
        x: &[T], xt: &[T], y: &[T], floor: T, dy: &[T], dyt: &[T], mean: &[T], inverse: &[T], mean_t: &[T], divisor_t: &[T],
        sum: &mut [T], sum_u: &mut [T],
    ) {
        let span = sum.len();
        let upstream = y.chunks(span).zip(dy.chunks(span)).zip(dyt.chunks(span));
        for ((x, xt), ((y, dy), dyt)) in x.chunks(span).zip(xt.chunks(span)).zip(upstream) {
            for (i, ((((&x, &xt), &y), &dy), &dyt)) in x.iter().zip(xt).zip(y).zip(dy).zip(dyt).enumerate() {
                let (dy, dyt) = if y <= floor { (T::ZERO, T::ZERO) } else { (dy, dyt) };
                let u = (x - mean[i]) * inverse[i];
                let ut = (xt - mean_t[i] - u * divisor_t[i]) * inverse[i];
                sum[i] += dyt;
                sum_u[i] = dyt.fma(u, dy.fma(ut, sum_u[i]));
            }
        }
    }

    /// ḋx. `means` are dβ/m, dγ/m, ḋβ/m and ḋγ/m; `gains` are γ/D and its tangent.
    fn gradient<T>(
        slope: Slope<T>, x: &[T], xt: &[T], y: &[T], floor: T, dy: &[T], dyt: &[T], mean: &[T], inverse: &[T], scaled: &[T], most: &[T],
        mean_t: &[T], divisor_t: &[T], gain: &[T], gain_t: &[T], mean_b: &[T], mean_w: &[T], mean_bt: &[T], mean_wt: &[T], out: &mut [T],
    ) {
        let span = mean.len();
        let upstream = y.chunks(span).zip(dy.chunks(span)).zip(dyt.chunks(span));
        for (((x, xt), ((y, dy), dyt)), out) in x.chunks(span).zip(xt.chunks(span)).zip(upstream).zip(out.chunks_mut(span)) {
            for (i, (((((out, &x), &xt), &y), &dy), &dyt)) in out.iter_mut().zip(x).zip(xt).zip(y).zip(dy).zip(dyt).enumerate() {
                let (dy, dyt) = if y <= floor { (T::ZERO, T::ZERO) } else { (dy, dyt) };
                let u = (x - mean[i]) * inverse[i];
                let ut = (xt - mean_t[i] - u * divisor_t[i]) * inverse[i];
                let r = slope.r(x, u, scaled[i], most[i]);
                let rt = slope.moving(x, r, [xt, ut, divisor_t[i]], scaled[i]);
                let own = dy - mean_b[i] - mean_w[i] * r;
                let moved = dyt - mean_bt[i] - mean_wt[i] * r - mean_w[i] * rt;
                *out = gain_t[i].fma(own, gain[i] * moved);
            }
        }
    }
}

/// The units that [`super::faint`] has to compute, if the norm divides by a power mean.
fn faint_units<'a, T: Float>(
    spec: &NormSpec,
    spread: &'a [T],
    weight: &'a [T],
) -> impl Iterator<Item = (usize, f64)> + use<'a, T> {
    let eps = spec.eps;
    let power = if let Divisor::PowerMean(p) = spec.divisor { Some(p) } else { None };
    let all = power.map(|p| (0..spread.len()).map(move |c| (c, p)));
    all.into_iter().flatten().filter(move |&(c, p)| faint(p, eps, spread[c], weight[c]))
}

/// See [`crate::ops::norm::Norm::norm_tangent`].
pub fn forward<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass, tangents: NormTangents) -> Result<()> {
    let columns = pass.channels(&spec, &[tangents.mean.0.shape, tangents.divisor.0.shape])?;
    let mut b = cpu.borrow(spec.name());
    let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread, relu } =
        TangentViews::<&[T]>::read(&mut b, &spec, &pass, &tangents)?;
    let bias_t = tangents.bias.map(|w| b.read::<T>(w)).transpose()?;
    let (mean_t, divisor_t) = (b.write::<T>(tangents.mean)?, b.write::<T>(tangents.divisor)?);
    let (out, workspace) = (b.write::<T>(tangents.y)?, as_f64(b.write::<T>(pass.workspace)?));
    let lines = Lines::new(&spec, x, (mean, spread), &mut out[..columns], workspace);
    let (slope, rows) = (Slope::of(spec.divisor), x.len() / columns);
    let (m, i, s, most) = (lines.mean.get(), lines.inverse.get(), lines.scaled.get(), lines.most.get());
    pair_sums(
        (rows, columns),
        workspace,
        |r, sum, sum_r| add_moving(slope, &x[r.clone()], &xt[r], m, i, s, most, sum, sum_r),
        |c, sum, sum_r| {
            mean_t[c] = T::of(sum / rows as f64);
            divisor_t[c] = T::of(sum_r / rows as f64);
        },
    );
    let of = |values: Option<&[T]>, c: usize| values.map_or(T::ZERO, |v| v[c]);
    let (mt, dt) = (Line::new(columns, |c| mean_t[c]), Line::new(columns, |c| divisor_t[c]));
    let (w, wt) = (Line::new(columns, |c| weight[c]), Line::new(columns, |c| of(weight_t, c)));
    let bt = Line::new(columns, |c| of(bias_t, c));
    let (mt, dt, w, wt, bt) = (mt.get(), dt.get(), w.get(), wt.get(), bt.get());
    let (mask, floor) = (relu.unwrap_or(x), floor(relu.is_some()));
    let pieces = Shared::new(&mut *out);
    for_pieces(x.len(), columns, |range| {
        // SAFETY: pieces do not overlap.
        let out = unsafe { pieces.range(range.clone()) };
        apply(&x[range.clone()], &xt[range.clone()], &mask[range], floor, m, i, mt, dt, w, wt, bt, out);
    });
    for (c, p) in faint_units(&spec, spread, weight) {
        let unit = FaintUnit::of(p, &spec, x, (columns, c), (weight[c], T::ZERO));
        let moves = Moves { x: xt, relu, weight: of(weight_t, c).f64(), bias: of(bias_t, c).f64() };
        (mean_t[c], divisor_t[c]) = unit.tangent(x, &moves, out);
    }
    Ok(())
}

/// See [`crate::ops::norm::Norm::norm_tangent_backward`].
pub fn backward<T: Float>(cpu: &mut Cpu<T>, spec: NormSpec, pass: NormPass, io: NormTangentBackward) -> Result<()> {
    let NormTangentBackward { tangents, grads, .. } = io;
    let columns = pass.channels(&spec, &[grads.weight.0.shape, grads.bias.0.shape])?;
    let mut b = cpu.borrow(spec.name());
    let TangentViews { x, x_tangent: xt, weight, weight_tangent: weight_t, mean, spread, relu } =
        TangentViews::<&[T]>::read(&mut b, &spec, &pass, &tangents)?;
    let (mean_t, divisor_t) = (b.read::<T>(tangents.mean.into())?, b.read::<T>(tangents.divisor.into())?);
    let (dy, dyt) = (b.read::<T>(io.grad_y)?, b.read::<T>(io.grad_y_tangent)?);
    let (dw, db) = (b.read::<T>(io.grad_weight)?, b.read::<T>(io.grad_bias)?);
    let (dwt, dbt) = (b.write::<T>(grads.weight)?, b.write::<T>(grads.bias)?);
    let (out, workspace) = (b.write::<T>(grads.x)?, as_f64(b.write::<T>(pass.workspace)?));
    let lines = Lines::new(&spec, x, (mean, spread), &mut out[..columns], workspace);
    let (slope, rows) = (Slope::of(spec.divisor), x.len() / columns);
    let (mt, dt) = (Line::new(columns, |c| mean_t[c]), Line::new(columns, |c| divisor_t[c]));
    let (m, i, s, most) = (lines.mean.get(), lines.inverse.get(), lines.scaled.get(), lines.most.get());
    let (mt, dt) = (mt.get(), dt.get());
    let (mask, floor) = (relu.unwrap_or(x), floor(relu.is_some()));
    let add = |r: std::ops::Range<usize>, sum: &mut [T], sum_u: &mut [T]| {
        let (x, xt, y) = (&x[r.clone()], &xt[r.clone()], &mask[r.clone()]);
        add_upstream(x, xt, y, floor, &dy[r.clone()], &dyt[r], m, i, mt, dt, sum, sum_u);
    };
    pair_sums((rows, columns), workspace, add, |c, sum, sum_u| {
        dbt[c] = T::of(sum);
        dwt[c] = T::of(sum_u);
    });
    let of = |values: Option<&[T]>, c: usize| values.map_or(0.0, |v| v[c].f64());
    let inverse = |c: usize| i[c].f64();
    // γ/D, and how it moves: γ̇/D − γḊ/D².
    let gain = Line::new(columns, |c| T::of(weight[c].f64() * inverse(c)));
    let gain_t = Line::new(columns, |c| {
        T::of((of(weight_t, c) - weight[c].f64() * divisor_t[c].f64() * inverse(c)) * inverse(c))
    });
    let mean = |values: &[T], c: usize| T::of(values[c].f64() / rows as f64);
    let (mb, mw) = (Line::new(columns, |c| mean(db, c)), Line::new(columns, |c| mean(dw, c)));
    let (mbt, mwt) = (Line::new(columns, |c| mean(dbt, c)), Line::new(columns, |c| mean(dwt, c)));
    let (g, gt, mb, mw, mbt, mwt) = (gain.get(), gain_t.get(), mb.get(), mw.get(), mbt.get(), mwt.get());
    let pieces = Shared::new(&mut *out);
    for_pieces(x.len(), columns, |r| {
        // SAFETY: pieces do not overlap.
        let out = unsafe { pieces.range(r.clone()) };
        let (x, xt, y) = (&x[r.clone()], &xt[r.clone()], &mask[r.clone()]);
        let (dy, dyt) = (&dy[r.clone()], &dyt[r]);
        gradient(slope, x, xt, y, floor, dy, dyt, m, i, s, most, mt, dt, g, gt, mb, mw, mbt, mwt, out);
    });
    for (c, p) in faint_units(&spec, spread, weight) {
        let unit = FaintUnit::of(p, &spec, x, (columns, c), (weight[c], T::ZERO));
        let moves = Moves { x: xt, relu, weight: of(weight_t, c), bias: 0.0 };
        (dwt[c], dbt[c]) = unit.tangent_backward(x, &moves, [dy, dyt], out);
    }
    Ok(())
}
