//! The noise on the CPU, drawn sixteen pairs of units at a time.

use super::{Noise, NoiseOptions};
use crate::mutant::{Mutant, made};
use crate::ops::affine::floor;
use crate::ops::channel_reduce::{Line, Shared, for_pieces};
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::rng::{Purpose, domain, draw, key, normal, philox_lanes, uniform_in};
use crate::runtime::simd::vectorize;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The number of pairs of units that are drawn together: a register of 32-bit words.
const PAIRS: usize = 16;

/// The number of elements that are drawn together.
const BLOCK: usize = 2 * PAIRS;

/// The noise of one layer at one step: the units' draws, and what is needed to draw the samples' noise.
pub struct Draws {
    options: NoiseOptions,
    seed: u64,
    step: u32,
    columns: usize,
    /// N and H·W, from which a sample's index is computed.
    batch: usize,
    pixels: usize,
    /// The number of rows that are drawn together. It is one, except where a row has so few units that it would leave most of a block idle.
    rows: usize,
    /// μ_j − r_μ for the elements of `rows` rows, continued up to a whole number of blocks.
    low: Line<f32>,
    /// σ_j, likewise.
    sigma: Line<f32>,
    /// For each pair in a block of several rows: its row, and its pair of units.
    lanes: [(usize, u32); PAIRS],
}

impl Draws {
    /// The draws for a tensor of shape `shape` at the step in `state`.
    pub fn new(options: NoiseOptions, shape: Shape, state: &StepState) -> Self {
        let [h, w, n, columns] = shape.hwnc();
        let (seed, step) = (state.seed, state.step as u32);
        // A pair of units stands in one row, so rows of an odd number of units are drawn one by one.
        let rows = if columns.is_multiple_of(2) { (BLOCK / columns.max(1)).max(1) } else { 1 };
        let unit = |j: usize| draw(seed, Purpose::NoiseUnit, options.layer, step, (j % columns) as u32, 0);
        let low = |j| uniform_in(unit(j)[0], -options.mean, 2.0 * options.mean) - options.spread;
        let sigma = |j| uniform_in(unit(j)[1], 1.0, options.scale - 1.0);
        Draws {
            options,
            seed,
            step,
            columns,
            batch: n,
            pixels: h * w,
            rows,
            low: Line::new((rows * columns).next_multiple_of(BLOCK), low),
            sigma: Line::new((rows * columns).next_multiple_of(BLOCK), sigma),
            lanes: std::array::from_fn(|lane| (2 * lane / columns.max(1), (2 * lane % columns.max(1) / 2) as u32)),
        }
    }

    /// Calls `work(elements, shift, scale)` for the elements of `range`, which must be whole rows, one block at a time.
    #[inline(always)]
    fn for_rows(&self, range: std::ops::Range<usize>, mut work: impl FnMut(std::ops::Range<usize>, &[f32], &[f32])) {
        let end = range.end / self.columns;
        for row in (range.start / self.columns..end).step_by(self.rows) {
            let elements = self.columns * self.rows.min(end - row);
            let mut samples = [0; PAIRS];
            for (row, sample) in (row..end).zip(&mut samples[..self.rows]) {
                *sample = self.sample(row);
            }
            for first in (0..elements).step_by(BLOCK) {
                let count = (elements - first).min(BLOCK);
                let (shift, scale) = self.block(&samples, first);
                let at = row * self.columns + first;
                work(at..at + count, &shift[..count], &scale[..count]);
            }
        }
    }

    /// The index of the sample (image and pixel) to which a row belongs.
    #[inline(always)]
    fn sample(&self, row: usize) -> u32 {
        if made(Mutant::E12) {
            return 0;
        }
        ((row % self.batch) * self.pixels + row / self.batch) as u32
    }

    /// m_ij and s_ij of the elements `first..first + BLOCK`, for rows that belong to the samples `samples`.
    #[inline(always)]
    fn block(&self, samples: &[u32; PAIRS], first: usize) -> ([f32; BLOCK], [f32; BLOCK]) {
        let (mut sample, mut pair) = ([samples[0]; PAIRS], [0; PAIRS]);
        if self.rows == 1 {
            for (lane, pair) in pair.iter_mut().enumerate() {
                *pair = (first / 2 + lane) as u32;
            }
        } else {
            for ((sample, pair), (row, of)) in sample.iter_mut().zip(&mut pair).zip(self.lanes) {
                (*sample, *pair) = (samples[row], of);
            }
        }
        let noise = [domain(Purpose::NoiseSample, self.options.layer); PAIRS];
        let words = philox_lanes([sample, pair, [self.step; PAIRS], noise], key(self.seed));
        let (mut shift, mut scale) = ([0.0; BLOCK], [0.0; BLOCK]);
        for half in 0..2 {
            // Drawn in arrays of their own: a loop that also interleaves them does not become vectors.
            let (mut m, mut s) = ([0.0; PAIRS], [0.0; PAIRS]);
            for ((m, s), (&of_m, &of_s)) in
                m.iter_mut().zip(&mut s).zip(words[2 * half].iter().zip(&words[2 * half + 1]))
            {
                *m = uniform_in(of_m, 0.0, 2.0 * self.options.spread);
                *s = normal(of_s);
            }
            for pair in 0..PAIRS {
                (shift[2 * pair + half], scale[2 * pair + half]) = (m[pair], s[pair]);
            }
        }
        let (low, sigma) = (&self.low.get()[first..first + BLOCK], &self.sigma.get()[first..first + BLOCK]);
        for at in 0..BLOCK {
            shift[at] += low[at];
            scale[at] = scale[at].mul_add(self.options.spread, sigma[at]);
        }
        (shift, scale)
    }
}

vectorize! {
    /// `y ← max(s y + m, floor)`, on whole rows; the first element is number `start`.
    pub fn apply<T>(draws: &Draws, start: usize, floor: T, y: &mut [T]) {
        draws.for_rows(start..start + y.len(), |r, shift, scale| {
            for ((y, &m), &s) in y[r.start - start..r.end - start].iter_mut().zip(shift).zip(scale) {
                let v = y.fma(T::widen(s), T::widen(m));
                *y = if v <= floor { floor } else { v };
            }
        });
    }

    /// `dx ← s dy` where `s v + m > floor`, and 0 elsewhere; `dx` holds v before. Works on whole rows; the first element is number `start`.
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
