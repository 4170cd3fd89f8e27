//! The noise on the CPU, drawn sixteen pairs of units at a time.

use super::{Noise, NoiseOptions};
use crate::mutant::{Mutant, made};
use crate::ops::affine::floor;
use crate::ops::columns::{Line, Shared, for_pieces};
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::rng::{Purpose, draw, normal, philox4x32, uniform_in};
use crate::runtime::simd::vectorize;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// Pairs of units drawn together: a register of 32-bit words.
const PAIRS: usize = 16;

/// The noise of one layer at one step: the units' draws, and the key of the samples'.
pub struct Draws {
    options: NoiseOptions,
    seed: u64,
    step: u32,
    columns: usize,
    /// N and H·W, for the index of a sample.
    batch: usize,
    pixels: usize,
    /// μ_j − r_μ
    low: Line<f32>,
    /// σ_j
    sigma: Line<f32>,
}

impl Draws {
    /// The draws for a tensor `shape` under the step state `state`.
    pub fn new(options: NoiseOptions, shape: Shape, state: &StepState) -> Self {
        let [h, w, n, columns] = shape.hwnc();
        let (seed, step) = (state.seed, state.step as u32);
        let unit = |j: usize| draw(seed, Purpose::NoiseUnit, options.layer, step, j as u32, 0);
        let low = Line::new(columns, |j| uniform_in(unit(j)[0], -options.mean, 2.0 * options.mean) - options.spread);
        let sigma = Line::new(columns, |j| uniform_in(unit(j)[1], 1.0, options.scale - 1.0));
        Draws { options, seed, step, columns, batch: n, pixels: h * w, low, sigma }
    }

    /// Calls `work(elements, shift, scale)` over rows `range` of elements (whole rows), a few units at a time.
    #[inline(always)]
    fn for_rows(&self, range: std::ops::Range<usize>, mut work: impl FnMut(std::ops::Range<usize>, &[f32], &[f32])) {
        for row in range.start / self.columns..range.end / self.columns {
            let sample = ((row % self.batch) * self.pixels + row / self.batch) as u32;
            let sample = if made(Mutant::E12) { 0 } else { sample };
            for first in (0..self.columns).step_by(2 * PAIRS) {
                let count = (self.columns - first).min(2 * PAIRS);
                let (shift, scale) = self.block(sample, first, count);
                let at = row * self.columns + first;
                work(at..at + count, &shift[..count], &scale[..count]);
            }
        }
    }

    /// m_ij and s_ij of sample i and units `first..first + count`.
    #[inline(always)]
    fn block(&self, sample: u32, first: usize, count: usize) -> ([f32; 2 * PAIRS], [f32; 2 * PAIRS]) {
        let layer = (Purpose::NoiseSample as u32) << 24 | (self.options.layer & 0x00FF_FFFF);
        let key = crate::runtime::rng::key(self.seed);
        let mut words = [[0u32; PAIRS]; 4];
        for pair in 0..PAIRS {
            let w = philox4x32([sample, (first / 2 + pair) as u32, self.step, layer], key);
            for (to, w) in words.iter_mut().zip(w) {
                to[pair] = w;
            }
        }
        let (low, sigma) = (&self.low.get()[first..first + count], &self.sigma.get()[first..first + count]);
        let (mut shift, mut scale) = ([0.0; 2 * PAIRS], [0.0; 2 * PAIRS]);
        for pair in 0..PAIRS {
            for half in 0..2 {
                shift[2 * pair + half] = uniform_in(words[2 * half][pair], 0.0, 2.0 * self.options.spread);
                scale[2 * pair + half] = normal(words[2 * half + 1][pair]);
            }
        }
        for ((m, s), (&low, &sigma)) in shift.iter_mut().zip(&mut scale).zip(low.iter().zip(sigma)) {
            *m += low;
            *s = s.mul_add(self.options.spread, sigma);
        }
        (shift, scale)
    }
}

vectorize! {
    /// `y ← max(s y + m, floor)` on whole rows `start..`.
    pub fn apply<T>(draws: &Draws, start: usize, floor: T, y: &mut [T]) {
        draws.for_rows(start..start + y.len(), |r, shift, scale| {
            for ((y, &m), &s) in y[r.start - start..r.end - start].iter_mut().zip(shift).zip(scale) {
                let v = y.fma(T::widen(s), T::widen(m));
                *y = if v <= floor { floor } else { v };
            }
        });
    }

    /// `dx ← s dy` where `s v + m > floor`, `dx` holding v before; whole rows `start..`.
    pub fn apply_backward<T>(draws: &Draws, start: usize, floor: T, dy: &[T], dx: &mut [T]) {
        draws.for_rows(start..start + dx.len(), |r, shift, scale| {
            let r = r.start - start..r.end - start;
            for (((dx, &dy), &m), &s) in dx[r.clone()].iter_mut().zip(&dy[r]).zip(shift).zip(scale) {
                let s = T::widen(s);
                *dx = if dx.fma(s, T::widen(m)) <= floor { T::ZERO } else { s * dy };
            }
        });
    }

    fn write<T>(draws: &Draws, start: usize, shift: &mut [T], scale: &mut [T]) {
        draws.for_rows(start..start + shift.len(), |r, m, s| {
            let r = r.start - start..r.end - start;
            shift[r.clone()].iter_mut().zip(m).for_each(|(to, &m)| *to = T::widen(m));
            scale[r].iter_mut().zip(s).for_each(|(to, &s)| *to = T::widen(s));
        });
    }
}

fn same(shapes: [Shape; 2]) -> Result<()> {
    if shapes[0] == shapes[1] {
        return Ok(());
    }
    Err(Error::operator("noise", "tensors of one shape", format!("{} and {}", shapes[0], shapes[1])))
}

impl<T: Float> Noise for Cpu<T> {
    fn noise(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()> {
        same([x.0.shape, y.0.shape])?;
        let shape = x.0.shape;
        let mut b = self.borrow("noise");
        let draws = Draws::new(options, shape, &read_state(&mut b, state)?);
        let (x, y) = (b.read::<T>(x)?, Shared::new(b.write::<T>(y)?));
        for_pieces(x.len(), draws.columns, |range| {
            // SAFETY: pieces do not overlap.
            let y = unsafe { y.range(range.clone()) };
            y.copy_from_slice(&x[range.clone()]);
            apply(&draws, range.start, floor(relu), y);
        });
        Ok(())
    }

    fn noise_backward(
        &mut self,
        options: NoiseOptions,
        relu: bool,
        x: In,
        grad_y: In,
        state: In,
        grad_x: Out,
    ) -> Result<()> {
        same([x.0.shape, grad_x.0.shape])?;
        let shape = x.0.shape;
        let mut b = self.borrow("noise");
        let draws = Draws::new(options, shape, &read_state(&mut b, state)?);
        let (x, dy, dx) = (b.read::<T>(x)?, b.read::<T>(grad_y)?, Shared::new(b.write::<T>(grad_x)?));
        for_pieces(x.len(), draws.columns, |range| {
            // SAFETY: pieces do not overlap.
            let dx = unsafe { dx.range(range.clone()) };
            dx.copy_from_slice(&x[range.clone()]);
            apply_backward(&draws, range.start, floor(relu), &dy[range], dx);
        });
        Ok(())
    }

    fn noise_draws(&mut self, options: NoiseOptions, state: In, shift: Out, scale: Out) -> Result<()> {
        same([shift.0.shape, scale.0.shape])?;
        let shape = shift.0.shape;
        let mut b = self.borrow("noise");
        let draws = Draws::new(options, shape, &read_state(&mut b, state)?);
        let (shift, scale) = (b.write::<T>(shift)?, b.write::<T>(scale)?);
        write(&draws, 0, shift, scale);
        Ok(())
    }
}
