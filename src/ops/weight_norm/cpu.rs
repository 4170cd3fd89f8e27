//! Weight normalisation on the CPU: several columns at a time, each summed down all rows in f64.

use super::{Parts, PartsOut, WeightNorm, extents};
use crate::Result;
use crate::ops::channel_reduce::Shared;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Out};
use rayon::prelude::*;

/// The number of columns that one thread takes at a time.
const GROUP: usize = 32;
/// The number of elements below which the work is not worth sharing.
const SMALL: usize = 1 << 15;
/// One number for each column of a group.
type Each = [f64; GROUP];

/// Several columns of a matrix of `rows` × `columns`.
#[derive(Clone, Copy)]
struct Group {
    rows: usize,
    columns: usize,
    first: usize,
    count: usize,
}

impl Group {
    /// Calls `work` for every group of columns.
    fn each((rows, columns): (usize, usize), work: impl Fn(Group) + Sync + Send) {
        let group = |index: usize| {
            let first = index * GROUP;
            work(Group { rows, columns, first, count: GROUP.min(columns - first) });
        };
        let groups = columns.div_ceil(GROUP);
        if rows * columns <= SMALL {
            return (0..groups).for_each(group);
        }
        (0..groups).into_par_iter().for_each(group);
    }

    /// The group's part of row `r` of a matrix.
    #[inline(always)]
    fn row<T>(self, x: &[T], r: usize) -> &[T] {
        &x[r * self.columns + self.first..][..self.count]
    }

    /// The same for a matrix that is written.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    fn row_of<T>(self, x: &Shared<T>, r: usize) -> &mut [T] {
        let start = r * self.columns + self.first;
        // SAFETY: no two groups have a column in common.
        unsafe { x.range(start..start + self.count) }
    }

    /// The group's part of a vector `[K]`, widened to f64.
    fn part<T: Float>(self, x: &[T]) -> Each {
        let part = &x[self.first..][..self.count];
        std::array::from_fn(|c| part.get(c).map_or(0.0, |v| v.f64()))
    }

    /// Writes the group's part of a vector `[K]`.
    fn put<T: Float>(self, values: &Each, to: &Shared<T>) {
        // SAFETY: no two groups have a column in common.
        let to = unsafe { to.range(self.first..self.first + self.count) };
        to.iter_mut().zip(values).for_each(|(to, &v)| *to = T::of(v));
    }

    /// n, the length, of every column, computed without overflow.
    fn lengths<T: Float>(self, v: &[T]) -> Each {
        let mut lengths = [0.0; GROUP];
        squares(self, v, &mut lengths);
        for (c, n) in lengths.iter_mut().enumerate().take(self.count) {
            let column = || v[self.first + c..].iter().step_by(self.columns).map(|v| v.f64());
            *n = match *n {
                sum if (1e-280..1e280).contains(&sum) || sum.is_nan() => sum.sqrt(),
                // The squares have left the numbers' range, or there is nothing but zeros.
                _ => match column().fold(0.0, |most: f64, v| most.max(v.abs())) {
                    most if most == 0.0 || most.is_infinite() => most,
                    most => most * column().map(|v| (v / most) * (v / most)).sum::<f64>().sqrt(),
                },
            };
        }
        lengths
    }
}

/// a/n, or 0 where n is 0.
#[inline(always)]
fn over(a: f64, n: f64) -> f64 {
    if n == 0.0 { 0.0 } else { a / n }
}

fn each(of: impl Fn(usize) -> f64) -> Each {
    std::array::from_fn(of)
}

/// n, g/n, ṅ and dg of every column.
#[derive(Clone, Copy)]
struct Columns {
    length: Each,
    gain: Each,
    length_tangent: Each,
    grad_gain: Each,
}

vectorize! {
    fn squares<T>(group: Group, v: &[T], sums: &mut Each) {
        for r in 0..group.rows {
            for (sum, v) in sums.iter_mut().zip(group.row(v, r)) {
                *sum = v.f64().mul_add(v.f64(), *sum);
            }
        }
    }

    /// Σ u x
    fn along<T>(group: Group, n: &Each, v: &[T], x: &[T], sums: &mut Each) {
        for r in 0..group.rows {
            for (((sum, v), x), n) in sums.iter_mut().zip(group.row(v, r)).zip(group.row(x, r)).zip(n) {
                *sum = over(v.f64(), *n).mul_add(x.f64(), *sum);
            }
        }
    }

    /// ġ u + g/n (x − u s). For the weight itself, g takes the place of ġ and x is `None`.
    fn combined<T>(group: Group, at: &Columns, gain: &Each, v: &[T], x: Option<&[T]>, out: &Shared<T>) {
        for r in 0..group.rows {
            let (v, out) = (group.row(v, r), group.row_of(out, r));
            match x {
                None => {
                    for (c, (out, v)) in out.iter_mut().zip(v).enumerate() {
                        *out = T::of(gain[c] * over(v.f64(), at.length[c]));
                    }
                }
                Some(x) => {
                    for (c, ((out, v), x)) in out.iter_mut().zip(v).zip(group.row(x, r)).enumerate() {
                        let u = over(v.f64(), at.length[c]);
                        *out = T::of(gain[c].mul_add(u, at.gain[c] * (x.f64() - u * at.length_tangent[c])));
                    }
                }
            }
        }
    }

    /// g/n (dw − u dg)
    fn gradient<T>(group: Group, at: &Columns, v: &[T], dw: &[T], out: &Shared<T>) {
        for r in 0..group.rows {
            let (v, dw, out) = (group.row(v, r), group.row(dw, r), group.row_of(out, r));
            for (c, ((out, v), dw)) in out.iter_mut().zip(v).zip(dw).enumerate() {
                let u = over(v.f64(), at.length[c]);
                *out = T::of(at.gain[c] * (dw.f64() - u * at.grad_gain[c]));
            }
        }
    }

    /// Σ ḋw u + dw u̇; `of` are v, v̇, dw and ḋw.
    fn turned<T>(group: Group, at: &Columns, of: [&[T]; 4], sums: &mut Each) {
        for r in 0..group.rows {
            let [v, vt, dw, dwt] = of.map(|x| group.row(x, r));
            for (c, sum) in sums.iter_mut().enumerate().take(group.count) {
                let u = over(v[c].f64(), at.length[c]);
                let ut = over(vt[c].f64() - u * at.length_tangent[c], at.length[c]);
                *sum += dwt[c].f64() * u + dw[c].f64() * ut;
            }
        }
    }

    /// (ġ − g ṅ/n)/n (dw − u dg) + g/n (ḋw − u̇ dg − u ḋg); `rates` are the first factor and ḋg.
    fn gradient_tangent<T>(group: Group, at: &Columns, rates: [&Each; 2], of: [&[T]; 4], out: &Shared<T>) {
        let [rate, grad_gain_tangent] = rates;
        for r in 0..group.rows {
            let [v, vt, dw, dwt] = of.map(|x| group.row(x, r));
            for (c, out) in group.row_of(out, r).iter_mut().enumerate() {
                let (n, dg) = (at.length[c], at.grad_gain[c]);
                let u = over(v[c].f64(), n);
                let ut = over(vt[c].f64() - u * at.length_tangent[c], n);
                let across = dw[c].f64() - u * dg;
                let moved = dwt[c].f64() - u * grad_gain_tangent[c] - ut * dg;
                *out = T::of(rate[c] * across + at.gain[c] * moved);
            }
        }
    }
}

impl Columns {
    /// The numbers of a group. ṅ is taken along v̇, and dg from dw, if these are given.
    fn of<T: Float>(group: Group, v: &[T], g: &[T], vt: Option<&[T]>, dw: Option<&[T]>) -> Self {
        let (length, g) = (group.lengths(v), group.part(g));
        let sum = |x: Option<&[T]>| {
            let mut sums = [0.0; GROUP];
            if let Some(x) = x {
                along(group, &length, v, x, &mut sums);
            }
            sums
        };
        let (length_tangent, grad_gain) = (sum(vt), sum(dw));
        Columns { length, gain: each(|c| over(g[c], length[c])), length_tangent, grad_gain }
    }
}

impl<T: Float> WeightNorm for Cpu<T> {
    fn weight_norm(&mut self, of: Parts, weight: Out) -> Result<()> {
        let extents = extents(of, &[weight.into()], &[])?;
        let mut b = self.borrow("weight_norm");
        let (v, g) = (b.read::<T>(of.direction)?, b.read::<T>(of.gain)?);
        let weight = Shared::new(b.write::<T>(weight)?);
        Group::each(extents, |group| {
            let at = Columns::of(group, v, g, None, None);
            combined(group, &at, &group.part(g), v, None, &weight);
        });
        Ok(())
    }

    fn weight_norm_backward(&mut self, of: Parts, grad_weight: In, grads: PartsOut) -> Result<()> {
        let extents = extents(of, &[grad_weight, grads.direction.into()], &[grads.gain.into()])?;
        let mut b = self.borrow("weight_norm");
        let (v, g, dw) = (b.read::<T>(of.direction)?, b.read::<T>(of.gain)?, b.read::<T>(grad_weight)?);
        let (dv, dg) = (Shared::new(b.write::<T>(grads.direction)?), Shared::new(b.write::<T>(grads.gain)?));
        Group::each(extents, |group| {
            let at = Columns::of(group, v, g, None, Some(dw));
            group.put(&at.grad_gain, &dg);
            gradient(group, &at, v, dw, &dv);
        });
        Ok(())
    }

    fn weight_norm_tangent(&mut self, of: Parts, moving: Parts, weight_tangent: Out) -> Result<()> {
        let extents = extents(of, &[moving.direction, weight_tangent.into()], &[moving.gain])?;
        let mut b = self.borrow("weight_norm");
        let (v, g) = (b.read::<T>(of.direction)?, b.read::<T>(of.gain)?);
        let (vt, gt) = (b.read::<T>(moving.direction)?, b.read::<T>(moving.gain)?);
        let weight_tangent = Shared::new(b.write::<T>(weight_tangent)?);
        Group::each(extents, |group| {
            let at = Columns::of(group, v, g, Some(vt), None);
            combined(group, &at, &group.part(gt), v, Some(vt), &weight_tangent);
        });
        Ok(())
    }

    fn weight_norm_tangent_backward(
        &mut self,
        of: Parts,
        moving: Parts,
        (grad_weight, grad_weight_tangent): (In, In),
        grads_tangent: PartsOut,
    ) -> Result<()> {
        let like = [moving.direction, grad_weight, grad_weight_tangent, grads_tangent.direction.into()];
        let extents = extents(of, &like, &[moving.gain, grads_tangent.gain.into()])?;
        let mut b = self.borrow("weight_norm");
        let (v, g) = (b.read::<T>(of.direction)?, b.read::<T>(of.gain)?);
        let (vt, gt) = (b.read::<T>(moving.direction)?, b.read::<T>(moving.gain)?);
        let (dw, dwt) = (b.read::<T>(grad_weight)?, b.read::<T>(grad_weight_tangent)?);
        let dvt = Shared::new(b.write::<T>(grads_tangent.direction)?);
        let dgt = Shared::new(b.write::<T>(grads_tangent.gain)?);
        Group::each(extents, |group| {
            let (at, gt) = (Columns::of(group, v, g, Some(vt), Some(dw)), group.part(gt));
            let mut grad_gain_tangent = [0.0; GROUP];
            turned(group, &at, [v, vt, dw, dwt], &mut grad_gain_tangent);
            group.put(&grad_gain_tangent, &dgt);
            let rate = each(|c| over(gt[c] - at.gain[c] * at.length_tangent[c], at.length[c]));
            gradient_tangent(group, &at, [&rate, &grad_gain_tangent], [v, vt, dw, dwt], &dvt);
        });
        Ok(())
    }
}
