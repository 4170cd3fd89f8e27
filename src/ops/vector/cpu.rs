//! Flat vectors on the CPU. Pieces of fixed length are each summed in 16 lanes; lanes and pieces are merged in order.

use super::{COMPARED, Direction, NormKind, Vector, rows_of};
use crate::ops::channel_reduce::{Shared, for_pieces};
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::rng::{Purpose, WORDS, normal, words};
use crate::runtime::simd::vectorize;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// The number of lanes of a sum. They are independent chains, so that a register of any width can hold some of them.
const LANES: usize = 16;
/// The most pieces that a vector is summed in; their sums are kept on the stack.
const PIECES: usize = 256;

/// A sequence of random words: the words of one random direction at one step.
#[derive(Clone, Copy)]
struct Sequence {
    seed: u64,
    step: u32,
    index: u32,
}

impl Sequence {
    /// Calls `take(offset, words)` for the words of `range`, several at a time; `range` must start at a multiple of 4.
    #[inline(always)]
    fn each(self, range: Range<usize>, mut take: impl FnMut(usize, &[u32])) {
        for first in range.clone().step_by(WORDS) {
            let words = words(self.seed, Purpose::Direction, self.index, self.step, first as u64);
            take(first - range.start, &words[..WORDS.min(range.end - first)]);
        }
    }
}

vectorize! {
    fn drawn<T>(of: Sequence, kind: Direction, range: Range<usize>, out: &mut [T]) {
        match kind {
            Direction::Normal => of.each(range, |at, words| {
                for (to, &word) in out[at..].iter_mut().zip(words) {
                    *to = T::widen(normal(word));
                }
            }),
            Direction::Signs => of.each(range, |at, words| {
                for (to, &word) in out[at..].iter_mut().zip(words) {
                    *to = if word & 1 == 1 { -T::ONE } else { T::ONE };
                }
            }),
        }
    }

    fn jittered<T>(of: Sequence, part: T, range: Range<usize>, x: &[T], out: &mut [T]) {
        of.each(range, |at, words| {
            for ((to, &x), &word) in out[at..].iter_mut().zip(&x[at..]).zip(words) {
                *to = if word & 1 == 1 { -part } else { part }.fma(x, x);
            }
        });
    }

    fn displaced<T>(x: &[T], a: T, y: &[T], out: &mut [T]) {
        for ((o, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *o = a.fma(y, x);
        }
    }

    fn add<T>(a: T, x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = a.fma(x, *y);
        }
    }

    fn piece_dot<T>(x: &[T], y: &[T]) -> f64 {
        let mut sum = [0.0; LANES];
        for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
            for ((s, x), y) in sum.iter_mut().zip(x).zip(y) {
                *s = x.f64().mul_add(y.f64(), *s);
            }
        }
        sum.iter().sum()
    }

    fn piece_square<T>(x: &[T], y: &[T]) -> f64 {
        let mut sum = [0.0; LANES];
        for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
            for ((s, x), y) in sum.iter_mut().zip(x).zip(y) {
                let d = x.f64() - y.f64();
                *s = d.mul_add(d, *s);
            }
        }
        sum.iter().sum()
    }

    fn piece_compared<T>(x: &[T], y: &[T]) -> [f64; COMPARED] {
        let (mut apart, mut along, mut own) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                let (x, y) = (x.f64(), y.f64());
                let d = x - y;
                apart[i] = d.mul_add(d, apart[i]);
                along[i] = x.mul_add(y, along[i]);
                own[i] = x.mul_add(x, own[i]);
            }
        }
        [apart.iter().sum(), along.iter().sum(), own.iter().sum()]
    }

    fn piece_absolute<T>(x: &[T], y: &[T]) -> f64 {
        let mut sum = [0.0; LANES];
        for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
            for ((s, x), y) in sum.iter_mut().zip(x).zip(y) {
                *s += (x.f64() - y.f64()).abs();
            }
        }
        sum.iter().sum()
    }
}

/// max|x − y|; NaN if any difference is NaN.
fn piece_largest<T: Float>(x: &[T], y: &[T]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x.f64() - y.f64()).abs()).fold(0.0, larger)
}

fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// Computes `piece(range)` over pieces of a vector of `len` elements, and combines the results with `merge`, in order.
fn reduce(len: usize, piece: impl Fn(Range<usize>) -> f64 + Sync, merge: impl Fn(f64, f64) -> f64) -> f64 {
    reduce_all(len, |range| [piece(range)], merge)[0]
}

/// The same for several numbers at once.
fn reduce_all<const N: usize>(
    len: usize,
    piece: impl Fn(Range<usize>) -> [f64; N] + Sync,
    merge: impl Fn(f64, f64) -> f64,
) -> [f64; N] {
    let size = len.div_ceil(PIECES).max(1 << 14).next_multiple_of(LANES);
    let count = len.div_ceil(size);
    let range = |i: usize| i * size..((i + 1) * size).min(len);
    let mut sums = [[0.0; N]; PIECES];
    sums[..count].par_iter_mut().enumerate().for_each(|(i, sum)| *sum = piece(range(i)));
    sums[..count].iter().fold([0.0; N], |all, sum| std::array::from_fn(|i| merge(all[i], sum[i])))
}

fn same_length(op: &'static str, lengths: &[usize]) -> Result<()> {
    if lengths.windows(2).all(|w| w[0] == w[1]) {
        return Ok(());
    }
    Err(Error::operator(op, "vectors of one length", format!("{lengths:?}")))
}

fn norm_of<T: Float>(kind: NormKind, x: &[T], y: &[T]) -> f64 {
    let plus = |a: f64, b: f64| a + b;
    match kind {
        NormKind::L1 => reduce(x.len(), |r| piece_absolute(&x[r.clone()], &y[r]), plus),
        NormKind::L2 => reduce(x.len(), |r| piece_square(&x[r.clone()], &y[r]), plus).sqrt(),
        NormKind::LInf => reduce(x.len(), |r| piece_largest(&x[r.clone()], &y[r]), larger),
    }
}

impl<T: Float> Vector for Cpu<T> {
    fn axpy(&mut self, a: f64, x: In, y: Out) -> Result<()> {
        same_length("axpy", &[x.0.shape.len(), y.0.shape.len()])?;
        let mut b = self.borrow("axpy");
        let (x, y) = (b.read::<T>(x)?, Shared::new(b.write::<T>(y)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| add(T::of(a), &x[r.clone()], unsafe { y.range(r) }));
        Ok(())
    }

    fn displace(&mut self, x: In, a: f64, y: In, out: Out) -> Result<()> {
        same_length("displace", &[x.0.shape.len(), y.0.shape.len(), out.0.shape.len()])?;
        let mut b = self.borrow("displace");
        let (x, y, out) = (b.read::<T>(x)?, b.read::<T>(y)?, Shared::new(b.write::<T>(out)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| displaced(&x[r.clone()], T::of(a), &y[r.clone()], unsafe { out.range(r) }));
        Ok(())
    }

    fn displace_rows(&mut self, x: In, a: In, y: In, out: Out) -> Result<()> {
        let len = x.0.shape.len();
        same_length("displace_rows", &[len, y.0.shape.len()])?;
        let (_, stride) = rows_of("displace_rows", out.0.shape, len, (a.0.shape, 1))?;
        let mut b = self.borrow("displace_rows");
        let (x, a, y) = (b.read::<T>(x)?, b.read::<f64>(a)?, b.read::<T>(y)?);
        for (row, &a) in b.write::<T>(out)?.chunks_exact_mut(stride.max(1)).zip(a) {
            let row = Shared::new(row);
            // SAFETY: pieces do not overlap.
            for_pieces(len, 1, |r| displaced(&x[r.clone()], T::of(a), &y[r.clone()], unsafe { row.range(r) }));
        }
        Ok(())
    }

    fn compare_rows(&mut self, rows: In, y: In, out: Out) -> Result<()> {
        let len = y.0.shape.len();
        let (_, stride) = rows_of("compare_rows", rows.0.shape, len, (out.0.shape, COMPARED))?;
        let mut b = self.borrow("compare_rows");
        let (rows, y, out) = (b.read::<T>(rows)?, b.read::<T>(y)?, b.write::<f64>(out)?);
        for (row, found) in rows.chunks_exact(stride.max(1)).zip(out.chunks_exact_mut(COMPARED)) {
            let sums = reduce_all(len, |r| piece_compared(&row[r.clone()], &y[r]), |a, b| a + b);
            found.copy_from_slice(&sums);
        }
        Ok(())
    }

    fn direction(&mut self, kind: Direction, index: u32, state: In, out: Out) -> Result<()> {
        let mut b = self.borrow("direction");
        let StepState { seed, step, .. } = read_state(&mut b, state)?;
        let of = Sequence { seed, step: step as u32, index };
        let out = b.write::<T>(out)?;
        let (len, out) = (out.len(), Shared::new(out));
        // SAFETY: pieces do not overlap.
        for_pieces(len, 1, |r| drawn(of, kind, r.clone(), unsafe { out.range(r) }));
        Ok(())
    }

    fn jitter(&mut self, x: In, part: f64, index: u32, state: In, out: Out) -> Result<()> {
        same_length("jitter", &[x.0.shape.len(), out.0.shape.len()])?;
        let mut b = self.borrow("jitter");
        let StepState { seed, step, .. } = read_state(&mut b, state)?;
        let of = Sequence { seed, step: step as u32, index };
        let (x, out) = (b.read::<T>(x)?, Shared::new(b.write::<T>(out)?));
        // SAFETY: pieces do not overlap.
        for_pieces(x.len(), 1, |r| jittered(of, T::of(part), r.clone(), &x[r.clone()], unsafe { out.range(r) }));
        Ok(())
    }

    fn stretch(&mut self, lengths: In, by: In, over: In, out: Out) -> Result<()> {
        same_length("stretch", &[lengths.0.shape.len(), out.0.shape.len()])?;
        let mut b = self.borrow("stretch");
        let (lengths, by, over) = (b.read::<f64>(lengths)?, b.read::<f64>(by)?, b.read::<f64>(over)?);
        for (to, length) in b.write::<f64>(out)?.iter_mut().zip(lengths) {
            *to = length * (by[0] / over[0]);
        }
        Ok(())
    }

    fn dot(&mut self, x: In, y: In, slot: Out) -> Result<()> {
        same_length("dot", &[x.0.shape.len(), y.0.shape.len()])?;
        let mut b = self.borrow("dot");
        let (x, y, slot) = (b.read::<T>(x)?, b.read::<T>(y)?, b.write::<f64>(slot)?);
        slot[0] = reduce(x.len(), |r| piece_dot(&x[r.clone()], &y[r]), |a, b| a + b);
        Ok(())
    }

    fn norm(&mut self, kind: NormKind, x: In, slot: Out) -> Result<()> {
        let mut b = self.borrow("norm");
        let (x, slot) = (b.read::<T>(x)?, b.write::<f64>(slot)?);
        let plus = |a: f64, b: f64| a + b;
        slot[0] = match kind {
            NormKind::L1 => reduce(x.len(), |r| x[r].iter().map(|v| v.f64().abs()).sum(), plus),
            NormKind::L2 => reduce(x.len(), |r| piece_dot(&x[r.clone()], &x[r]), plus).sqrt(),
            NormKind::LInf => reduce(x.len(), |r| x[r].iter().map(|v| v.f64().abs()).fold(0.0, larger), larger),
        };
        Ok(())
    }

    fn diff_norm(&mut self, kind: NormKind, x: In, y: In, slot: Out) -> Result<()> {
        same_length("diff_norm", &[x.0.shape.len(), y.0.shape.len()])?;
        let mut b = self.borrow("diff_norm");
        let (x, y, slot) = (b.read::<T>(x)?, b.read::<T>(y)?, b.write::<f64>(slot)?);
        slot[0] = norm_of(kind, x, y);
        Ok(())
    }

    fn copy(&mut self, from: In, to: Out) -> Result<()> {
        same_length("copy", &[from.0.shape.len(), to.0.shape.len()])?;
        let mut b = self.borrow("copy");
        b.write::<T>(to)?.copy_from_slice(b.read::<T>(from)?);
        Ok(())
    }

    fn recast(&mut self, from: In, to: Out) -> Result<()> {
        // The CPU has one type for everything.
        self.copy(from, to)
    }
}
