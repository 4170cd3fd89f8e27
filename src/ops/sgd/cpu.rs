//! SGD on the CPU.

use super::{Descent, Sgd};
use crate::ops::channel_reduce::{Shared, for_pieces};
use crate::ops::vector::Vector;
use crate::runtime::cpu::{Cpu, read_state};
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

vectorize! {
    fn plain<T>(theta: &mut [T], grad: &[T], rate: T, decay: T) {
        for (t, &g) in theta.iter_mut().zip(grad) {
            *t = (-rate).fma(t.fma(decay, g), *t);
        }
    }

    fn with_momentum<T>(theta: &mut [T], grad: &[T], velocity: &mut [T], rate: T, decay: T, momentum: T) {
        for ((t, &g), v) in theta.iter_mut().zip(grad).zip(velocity) {
            *v = v.fma(momentum, t.fma(decay, g));
            *t = (-rate).fma(*v, *t);
        }
    }
}

impl<T: Float> Sgd for Cpu<T> {
    fn sgd(&mut self, grad: In, of: Descent) -> Result<()> {
        of.check(grad)?;
        let Descent { theta, velocity, operands, .. } = of;
        let mut b = self.borrow("sgd");
        let state = read_state(&mut b, of.state)?;
        if state.halted == 0 {
            let len = theta.0.shape.len();
            let (theta, grad) = (Shared::new(b.write::<T>(theta)?), b.read::<T>(grad)?);
            let velocity = velocity.map(|v| b.write::<T>(v)).transpose()?.map(Shared::new);
            let [rate, momentum, decay] = [state.learning_rate, of.momentum, of.weight_decay].map(T::of);
            for_pieces(len, 1, |r| {
                // SAFETY: pieces do not overlap.
                let theta = unsafe { theta.range(r.clone()) };
                match &velocity {
                    // SAFETY: likewise.
                    Some(v) => with_momentum(theta, &grad[r.clone()], unsafe { v.range(r) }, rate, decay, momentum),
                    None => plain(theta, &grad[r], rate, decay),
                }
            });
        }
        operands.map_or(Ok(()), |operands| self.recast(of.theta.into(), operands))
    }

    fn sgd_pieces(&mut self, grad: In, of: Descent, pieces: In) -> Result<()> {
        let pieces = self.borrow("sgd").read::<u32>(pieces)?.to_vec();
        for piece in pieces.chunks_exact(2) {
            let part = |of: View| of.slice(piece[0] as usize, Shape::new([piece[1] as usize]));
            let [velocity, operands] = [of.velocity, of.operands].map(|of| of.map(|of| Out(part(of.0))));
            self.sgd(In(part(grad.0)), Descent { theta: Out(part(of.theta.0)), velocity, operands, ..of })?;
        }
        Ok(())
    }

    fn advance(&mut self, state: Out) -> Result<()> {
        let mut b = self.borrow("advance");
        let words = b.write::<u64>(state)?;
        if words.len() != 4 {
            return Err(Error::operator("advance", "4 words of step state", format!("{}", words.len())));
        }
        if words[StepState::HALTED] == 0 {
            words[1] += 1;
        }
        Ok(())
    }
}
