//! The deep linear network on the CPU, in f64 and on coordinates. A batch's inputs span `dim` directions and the constant, and all values between the
//! layers lie in that span. The part of the target outside the span contributes only a constant to the loss. So sums over a thousand samples are sums
//! over eleven coordinates, exactly.
//!
//! Each run is computed by one thread, however many there are; several runs follow one another.

use super::coordinates::prepare;
use super::layout::{Layout, fits, needs_samples};
use super::pass::Net;
use super::rows::{Dual, Row};
use super::widths::width;
use super::{Chain, ChainBatch, ChainNorm, ChainOut, DeepLinear};
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::simd::{Isa, isa, vectorize};
use crate::runtime::tensor::{DType, In, Out};
use crate::{Error, Result};

const OP: &str = "deep_linear";

/// The computation that is asked for.
#[derive(Clone, Copy)]
enum Work {
    /// The loss, and the gradient if there is a place for it.
    Pass(Option<*mut f64>),
    /// The gradients after the layers before have moved to the first pointer's parameters; they are written to the second.
    Shift(*const f64, *mut f64),
    /// A gradient on pairs, that is a gradient with its tangent.
    Moving(*mut f64),
}

/// Returns the loss, or `None` where numbers have left their range.
///
/// # Safety
/// The instruction set of `R` is there, and the net's pointers are right.
#[inline(always)]
unsafe fn with<R: Row, const N: usize, const M: usize>(net: &Net, work: Work) -> Option<f64> {
    // SAFETY: the caller's promise.
    unsafe {
        match work {
            Work::Pass(grad) => net.pass::<R, N>(grad),
            Work::Shift(next, moved) => net.shift::<R, N>(next, moved).then_some(0.0),
            Work::Moving(grad) => net.pass::<Dual<R>, M>(Some(grad)),
        }
    }
}

/// Defines a function for one instruction set. Each width has its row type, and the numbers of sums held in registers for plain rows and for pairs.
macro_rules! by_width {
    ($(#[$meta:meta])* $name:ident, $($width:literal => $row:ty, $rows:literal, $pairs:literal;)*) => {
        $(#[$meta])*
        unsafe fn $name(net: &Net, work: Work) -> Option<f64> {
            // SAFETY: the caller's promise.
            unsafe {
                match width(net.chain.dim) {
                    $($width => with::<$row, $rows, $pairs>(net, work),)*
                    _ => None,
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::ops::deep_linear::rows::Pair;
    use crate::ops::deep_linear::rows::x86::{Eight, Four, Two};

    type Wide<R> = Pair<R, R>;

    by_width!(
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
        avx512,
        8 => Eight, 8, 4;
        10 => Pair<Eight, Two>, 10, 5;
        16 => Wide<Eight>, 8, 4;
        32 => Wide<Wide<Eight>>, 4, 2;
    );
    by_width!(
        #[target_feature(enable = "avx2,fma,bmi2")]
        avx2,
        8 => Wide<Four>, 4, 2;
        10 => Pair<Wide<Four>, Two>, 3, 2;
        16 => Wide<Wide<Four>>, 2, 1;
        32 => Wide<Wide<Wide<Four>>>, 1, 1;
    );

    pub unsafe fn on_vectors(net: &Net, work: Work) -> Option<Option<f64>> {
        match isa() {
            // SAFETY: `isa` saw these features on this machine.
            Isa::Avx512 => Some(unsafe { avx512(net, work) }),
            // SAFETY: likewise.
            Isa::Avx2 => Some(unsafe { avx2(net, work) }),
            Isa::Portable => None,
        }
    }
}

by_width!(
    portable,
    8 => [f64; 8], 2, 1;
    10 => [f64; 10], 2, 1;
    16 => [f64; 16], 2, 1;
    32 => [f64; 32], 1, 1;
);

/// # Safety
/// The net's pointers are right.
unsafe fn run(net: &Net, work: Work) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    if let Some(done) = unsafe { x86::on_vectors(net, work) } {
        return done;
    }
    // SAFETY: likewise; portable code is always there.
    unsafe { portable(net, work) }
}

/// Copies parameters into rows, starting at offset `part` of each row; the rest of the row stays as it is.
fn into_rows(chain: &Chain, layout: &Layout, flat: &[f64], part: usize, rows: &mut [f64]) {
    let rows = rows.chunks_exact_mut(layout.stride);
    for (row, flat) in rows.zip(flat[..chain.parameters()].chunks_exact(chain.dim)) {
        row[part..][..chain.dim].copy_from_slice(flat);
    }
}

/// Copies parameters out of rows, starting at offset `part` of each row.
fn from_rows(chain: &Chain, layout: &Layout, rows: &[f64], part: usize, flat: &mut [f64]) {
    let flat = flat[..chain.parameters()].chunks_exact_mut(chain.dim);
    for (flat, row) in flat.zip(rows.chunks_exact(layout.stride)) {
        flat.copy_from_slice(&row[part..][..chain.dim]);
    }
}

impl<T: Float> Cpu<T> {
    fn layout_of(&mut self, chain: &Chain, batch: ChainBatch) -> Result<Layout> {
        if !self.has_deep_linear(chain) {
            let found = format!("{} layers of {} and {} samples", chain.depth, chain.dim, chain.samples);
            return Err(Error::operator(OP, "a chain that coordinates save work of, in f64", found));
        }
        let (layout, elements) = (Layout::of(chain, 1), chain.samples * chain.dim);
        let lengths = [batch.x.0, batch.target.0, batch.room.0].map(|view| view.shape.len());
        if lengths == [elements, elements, layout.total] {
            return Ok(layout);
        }
        let expected = format!("x and target of {elements}, room of {}", layout.total);
        Err(Error::operator(OP, expected, format!("{lengths:?}")))
    }
}

/// Checks that the views are vectors of the chain's parameters.
fn like_theta(chain: &Chain, views: &[In]) -> Result<()> {
    match views.iter().find(|view| view.0.shape.len() < chain.parameters()) {
        None => Ok(()),
        Some(view) => {
            let expected = format!("vectors of {} parameters", chain.parameters());
            Err(Error::operator(OP, expected, view.0.shape.to_string()))
        }
    }
}

impl<T: Float> DeepLinear for Cpu<T> {
    fn has_deep_linear(&mut self, chain: &Chain) -> bool {
        T::DTYPE == DType::F64 && fits(chain)
    }

    fn deep_linear_room(&self, chain: &Chain) -> usize {
        Layout::of(chain, 1).total
    }

    fn deep_linear_prepare(&mut self, chain: &Chain, batch: ChainBatch) -> Result<()> {
        let layout = self.layout_of(chain, batch)?;
        let mut b = self.borrow(OP);
        let (x, target) = (b.read::<f64>(batch.x)?, b.read::<f64>(batch.target)?);
        prepare(chain, &layout, x, target, b.write::<f64>(batch.room)?);
        Ok(())
    }

    fn deep_linear(&mut self, chain: &Chain, theta: In, batch: ChainBatch, out: ChainOut) -> Result<bool> {
        let layout = self.layout_of(chain, batch)?;
        let (runs, stride) = theta.0.shape.matrix();
        let per_run = out.loss.0.shape.len() == runs && out.correct.0.shape.len() == runs;
        let rows = out.grad.is_none_or(|grad| grad.0.shape.matrix() == (runs, stride));
        let statistics = out.saved.map(|kept| kept.statistics).filter(|view| view.0.shape.len() > 0);
        let of_one = statistics.is_none_or(|view| runs == 1 && view.0.shape.len() == chain.statistics().len());
        if runs == 0 || stride < chain.parameters() || !(per_run && rows && of_one) {
            let expected = format!("θ runs×{}, and results of as many runs", chain.parameters());
            return Err(Error::operator(OP, expected, theta.0.shape.to_string()));
        }
        let mut b = self.borrow(OP);
        let theta = b.read::<f64>(theta)?;
        let room = b.write::<f64>(batch.room)?;
        let (loss, correct) = (b.write::<f64>(out.loss)?, b.write::<f64>(out.correct)?);
        let mut grads = out.grad.map(|grad| b.write::<f64>(grad)).transpose()?;
        let statistics = statistics.map(|view| b.write::<f64>(view)).transpose()?;
        correct.fill(f64::NAN);
        // As they lie, or in rows that are longer than a layer is wide.
        let dense = layout.stride == chain.dim;
        for run_of in 0..runs {
            let theta = &theta[run_of * stride..][..stride];
            let mut grad = grads.as_mut().map(|grads| &mut grads[run_of * stride..][..stride]);
            if !dense {
                room[layout.theta..layout.turned].fill(0.0);
                into_rows(chain, &layout, theta, 0, &mut room[layout.theta..][..layout.parameters]);
            }
            let outside = room[layout.outside];
            let start = room.as_mut_ptr();
            // SAFETY: the layout's places lie in the room, whose length was compared; so was that of θ and its gradient.
            let found = unsafe {
                let (theta, to) = match dense {
                    true => (theta.as_ptr(), grad.as_mut().map(|grad| grad.as_mut_ptr())),
                    false => (start.add(layout.theta).cast_const(), grad.as_mut().map(|_| start.add(layout.grad))),
                };
                let basis = start.add(layout.basis);
                run(&Net { chain, layout: &layout, room: start, basis, outside, theta }, Work::Pass(to))
            };
            let Some(found) = found else { return Ok(false) };
            if let Some(grad) = grad {
                if !dense {
                    from_rows(chain, &layout, &room[layout.grad..], 0, grad);
                }
                if !all_finite(&grad[..chain.parameters()]) {
                    return Ok(false);
                }
            }
            loss[run_of] = found;
        }
        if let Some(to) = statistics {
            let inverse = 1.0 / (chain.samples as f64).sqrt();
            let tapes = room[layout.tape..].chunks_exact(layout.tape_layer);
            for (to, tape) in to.chunks_exact_mut(2 * chain.dim).zip(tapes) {
                let (mean, spread) = to.split_at_mut(chain.dim);
                let tape = &tape[(chain.dim + 1) * layout.stride..];
                scaled(inverse, &tape[..chain.dim], mean);
                spread.copy_from_slice(&tape[2 * layout.stride..][..chain.dim]);
            }
        }
        Ok(true)
    }

    fn deep_linear_kept(&mut self, chain: &Chain, batch: ChainBatch, y: Out, sample: Out) -> Result<()> {
        let layout = self.layout_of(chain, batch)?;
        let Chain { dim, samples, depth, .. } = *chain;
        let mut b = self.borrow(OP);
        let (room, target) = (b.read::<f64>(batch.room.into())?, b.read::<f64>(batch.target)?);
        let (y, sample) = (b.write::<f64>(y)?, b.write::<f64>(sample)?);
        if y.len() != samples * dim || sample.len() != samples {
            let expected = format!("a prediction of {} and {samples} losses", samples * dim);
            return Err(Error::operator(OP, expected, format!("{} and {}", y.len(), sample.len())));
        }
        let tape = &room[layout.tape + (depth - 1) * layout.tape_layer..];
        let gain = &room[layout.gain..][..dim];
        let basis = &room[layout.basis..][..(dim + 1) * layout.padded];
        for (n, ((y, target), sample)) in
            y.chunks_exact_mut(dim).zip(target.chunks_exact(dim)).zip(sample.iter_mut()).enumerate()
        {
            for (unit, y) in y.iter_mut().enumerate() {
                let along = |p: usize| basis[p * layout.padded + n] * tape[p * layout.stride + unit];
                let sum: f64 = (0..dim).map(along).sum();
                let constant = if chain.norms() > 0 { along(dim) } else { 0.0 };
                *y = sum * if chain.norms() == depth { gain[unit] } else { 1.0 } + constant;
            }
            let squares = y.iter().zip(target).map(|(y, t)| (y - t) * (y - t));
            *sample = chain.scale * squares.sum::<f64>();
        }
        Ok(())
    }

    fn has_deep_linear_shift(&self) -> bool {
        true
    }

    fn deep_linear_shift(&mut self, chain: &Chain, theta: In, next: In, batch: ChainBatch, moved: Out) -> Result<bool> {
        let layout = self.layout_of(chain, batch)?;
        like_theta(chain, &[theta, next, moved.into()])?;
        let mut b = self.borrow(OP);
        let (theta, next) = (b.read::<f64>(theta)?, b.read::<f64>(next)?);
        let (room, moved) = (b.write::<f64>(batch.room)?, b.write::<f64>(moved)?);
        let dense = layout.stride == chain.dim;
        if !dense {
            room[layout.theta..layout.turned].fill(0.0);
            into_rows(chain, &layout, theta, 0, &mut room[layout.theta..][..layout.parameters]);
            into_rows(chain, &layout, next, 0, &mut room[layout.next..][..layout.parameters]);
        }
        let outside = room[layout.outside];
        let start = room.as_mut_ptr();
        // SAFETY: the layout's places lie in the room, whose length was compared; so were those of the vectors.
        let found = unsafe {
            let [of, at, to] = match dense {
                true => [theta.as_ptr().cast_mut(), next.as_ptr().cast_mut(), moved.as_mut_ptr()],
                false => [layout.theta, layout.next, layout.grad].map(|at| start.add(at)),
            };
            let basis = start.add(layout.basis);
            run(&Net { chain, layout: &layout, room: start, basis, outside, theta: of }, Work::Shift(at, to))
        };
        if !dense {
            from_rows(chain, &layout, &room[layout.grad..], 0, moved);
        }
        Ok(found.is_some())
    }

    fn deep_linear_hessian_room(&self, chain: &Chain) -> Option<usize> {
        let smooth = match chain.norm {
            // How such a spread's slope moves is not on coordinates.
            ChainNorm::Lp { p, .. } => !needs_samples(chain.norm) || p == 1.0 || p.is_infinite(),
            _ => true,
        };
        smooth.then(|| Layout::of(chain, 2).total)
    }

    fn deep_linear_hessian(
        &mut self,
        chain: &Chain,
        theta: In,
        v: In,
        batch: ChainBatch,
        room: Out,
        out: Out,
    ) -> Result<bool> {
        let single = self.layout_of(chain, batch)?;
        let layout = Layout::of(chain, 2);
        like_theta(chain, &[theta, v, out.into()])?;
        let needed = self.deep_linear_hessian_room(chain);
        if needed != Some(room.0.shape.len()) {
            let expected = format!("room of {needed:?}");
            return Err(Error::operator(OP, expected, room.0.shape.to_string()));
        }
        let mut b = self.borrow(OP);
        let (theta, v) = (b.read::<f64>(theta)?, b.read::<f64>(v)?);
        let (from, room, out) = (b.read::<f64>(batch.room.into())?, b.write::<f64>(room)?, b.write::<f64>(out)?);
        let half = layout.stride / 2;
        // The batch stays where it is.
        room[layout.x..layout.basis].fill(0.0);
        for (at, wide) in [(single.x, layout.x), (single.target, layout.target)] {
            let rows = from[at..][..(chain.dim + 1) * single.stride].chunks_exact(single.stride);
            for (row, to) in rows.zip(room[wide..].chunks_exact_mut(layout.stride)) {
                to[..half].copy_from_slice(row);
            }
        }
        room[layout.theta..layout.grad].fill(0.0);
        let rows = &mut room[layout.theta..][..layout.parameters];
        into_rows(chain, &layout, theta, 0, rows);
        into_rows(chain, &layout, v, half, rows);
        let start = room.as_mut_ptr();
        // SAFETY: the layout's places lie in the room, whose length was compared.
        let found = unsafe {
            let basis = from[single.basis..].as_ptr();
            let (outside, theta) = (from[single.outside], start.add(layout.theta));
            let net = Net { chain, layout: &layout, room: start, basis, outside, theta };
            run(&net, Work::Moving(start.add(layout.grad)))
        };
        from_rows(chain, &layout, &room[layout.grad..], half, out);
        Ok(found.is_some() && all_finite(&out[..chain.parameters()]))
    }
}

vectorize! {
    /// The sum of 0 · v over all values v: 0 if all are finite, else NaN.
    fn zeros<T>(values: &[T]) -> T {
        let mut sums = [T::ZERO; 32];
        let (whole, rest) = values.as_chunks::<32>();
        for values in whole {
            for (s, &v) in sums.iter_mut().zip(values) {
                *s = v.fma(T::ZERO, *s);
            }
        }
        for (s, &v) in sums.iter_mut().zip(rest) {
            *s = v.fma(T::ZERO, *s);
        }
        sums.iter().copied().sum()
    }

    /// `to ← a from`
    fn scaled<T>(a: T, from: &[T], to: &mut [T]) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = a * from;
        }
    }
}

fn all_finite(values: &[f64]) -> bool {
    zeros(values) == 0.0
}
