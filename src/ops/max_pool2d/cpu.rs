//! Max-pooling on the CPU. A task is a row of windows, which owns two rows of the input map.

use super::{MaxPool2d, pooled};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use rayon::prelude::*;

/// The number of elements of a pixel that the backward pass takes at a time; nine pixels of that size fit in the first-level cache.
const BLOCK: usize = 512;

/// The four pixels of window `w` in two rows of the input map. A pixel has `pixel` elements, and a row has `width` pixels.
#[inline(always)]
fn window<T>(rows: &[T], width: usize, pixel: usize, w: usize) -> [&[T]; 4] {
    [0, 1, width, width + 1].map(|at| &rows[(2 * w + at) * pixel..][..pixel])
}

vectorize! {
    /// Pools one row of windows.
    fn forward<T>(rows: &[T], width: usize, pixel: usize, y: &mut [T]) {
        for (w, y) in y.chunks_exact_mut(pixel).enumerate() {
            let [a, b, c, d] = window(rows, width, pixel, w);
            for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *y = largest([a, b, c, d]).0;
            }
        }
    }

    fn tangent<T>(rows: &[T], moving: &[T], width: usize, pixel: usize, y: &mut [T]) {
        for (w, y) in y.chunks_exact_mut(pixel).enumerate() {
            let ([a, b, c, d], moving) = (window(rows, width, pixel, w), window(moving, width, pixel, w));
            for (i, y) in y.iter_mut().enumerate() {
                *y = moving[largest([a[i], b[i], c[i], d[i]]).1 as usize][i];
            }
        }
    }

    fn backward<T>(rows: &[T], width: usize, pixel: usize, dy: &[T], dx: &mut [T]) {
        for (w, dy) in dy.chunks_exact(pixel).enumerate() {
            let [a, b, c, d] = window(rows, width, pixel, w);
            // One pass for each of the window's pixels: four short loops that the compiler turns into vectors. A block at a time, so that
            // only the first of them reads from memory.
            for start in (0..pixel).step_by(BLOCK) {
                let block = start..pixel.min(start + BLOCK);
                let [a, b, c, d] = [a, b, c, d].map(|of| &of[block.clone()]);
                for (k, at) in (0..).zip([0, 1, width, width + 1]) {
                    let dx = &mut dx[(2 * w + at) * pixel..][block.clone()];
                    for (((((dx, &dy), &a), &b), &c), &d) in dx.iter_mut().zip(&dy[block.clone()]).zip(a).zip(b).zip(c).zip(d) {
                        *dx = if largest([a, b, c, d]).1 == k { dy } else { T::ZERO };
                    }
                }
            }
        }
        if width % 2 == 1 {
            let (top, bottom) = dx.split_at_mut(width * pixel);
            top[(width - 1) * pixel..].fill(T::ZERO);
            bottom[(width - 1) * pixel..].fill(T::ZERO);
        }
    }
}

/// The first of the largest values, and its position; a NaN counts as the largest.
#[inline(always)]
fn largest<T: Float>(v: [T; 4]) -> (T, u32) {
    let (mut best, mut place) = (v[0], 0);
    for (k, &v) in (1..).zip(&v[1..]) {
        #[allow(clippy::eq_op)] // v != v is NaN
        let better = v > best || v != v;
        best = if better { v } else { best };
        place = if better { k } else { place };
    }
    (best, place)
}

fn shapes(x: Shape, y: Shape) -> Result<(usize, usize)> {
    let expected = pooled(x)?;
    if expected.hwnc() != y.hwnc() {
        return Err(Error::operator("max_pool2d", format!("{expected}"), format!("{y}")));
    }
    let [_, w, n, c] = x.hwnc();
    Ok((w, n * c))
}

impl<T: Float> MaxPool2d for Cpu<T> {
    fn max_pool2d(&mut self, x: In, y: Out) -> Result<()> {
        let (width, pixel) = shapes(x.0.shape, y.0.shape)?;
        let mut b = self.borrow("max_pool2d");
        let (x, y) = (b.read::<T>(x)?, b.write::<T>(y)?);
        let rows = x.par_chunks_exact(2 * width * pixel).zip(y.par_chunks_exact_mut(width / 2 * pixel));
        rows.for_each(|(x, y)| forward(x, width, pixel, y));
        Ok(())
    }

    fn max_pool2d_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()> {
        let (width, pixel) = shapes(x.0.shape, grad_y.0.shape)?;
        let mut b = self.borrow("max_pool2d");
        let (x, dy, dx) = (b.read::<T>(x)?, b.read::<T>(grad_y)?, b.write::<T>(grad_x)?);
        let two = 2 * width * pixel;
        dx[x.len() / two * two..].fill(T::ZERO);
        let rows =
            x.par_chunks_exact(two).zip(dy.par_chunks_exact(width / 2 * pixel)).zip(dx.par_chunks_exact_mut(two));
        rows.for_each(|((x, dy), dx)| backward(x, width, pixel, dy, dx));
        Ok(())
    }

    fn max_pool2d_tangent(&mut self, x: In, x_tangent: In, y_tangent: Out) -> Result<()> {
        let (width, pixel) = shapes(x.0.shape, y_tangent.0.shape)?;
        let mut b = self.borrow("max_pool2d");
        let (x, xt, yt) = (b.read::<T>(x)?, b.read::<T>(x_tangent)?, b.write::<T>(y_tangent)?);
        let two = 2 * width * pixel;
        let rows =
            x.par_chunks_exact(two).zip(xt.par_chunks_exact(two)).zip(yt.par_chunks_exact_mut(width / 2 * pixel));
        rows.for_each(|((x, xt), yt)| tangent(x, xt, width, pixel, yt));
        Ok(())
    }
}
