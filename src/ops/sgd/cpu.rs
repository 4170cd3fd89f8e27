//! SGD on the CPU.

use super::Sgd;
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
    fn sgd(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        let len = theta.0.shape.len();
        if grad.0.shape.len() != len || velocity.is_some_and(|v| v.0.shape.len() != len) {
            let found = format!("theta of {len}, gradient of {}", grad.0.shape.len());
            return Err(Error::operator("sgd", "vectors of one length", found));
        }
        let mut b = self.borrow("sgd");
        let state = read_state(&mut b, state)?;
        if state.halted != 0 {
            return Ok(());
        }
        let rate = T::of(state.learning_rate);
        let (theta, grad) = (Shared::new(b.write::<T>(theta)?), b.read::<T>(grad)?);
        let velocity = velocity.map(|v| b.write::<T>(v)).transpose()?.map(Shared::new);
        let (momentum, decay) = (T::of(momentum), T::of(weight_decay));
        for_pieces(len, 1, |r| {
            // SAFETY: pieces do not overlap.
            let theta = unsafe { theta.range(r.clone()) };
            match &velocity {
                // SAFETY: likewise.
                Some(v) => with_momentum(theta, &grad[r.clone()], unsafe { v.range(r) }, rate, decay, momentum),
                None => plain(theta, &grad[r], rate, decay),
            }
        });
        Ok(())
    }

    fn sgd_recast(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        operands: Out,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        self.sgd(theta, grad, velocity, momentum, weight_decay, state)?;
        self.recast(theta.into(), operands)
    }

    fn sgd_pieces(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        operands: Out,
        pieces: In,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()> {
        let pieces = self.borrow("sgd_pieces").read::<u32>(pieces)?.to_vec();
        for piece in pieces.chunks_exact(2) {
            let part = |of: View| of.slice(piece[0] as usize, Shape::new([piece[1] as usize]));
            let (theta, operands) = (Out(part(theta.0)), Out(part(operands.0)));
            let velocity = velocity.map(|of| Out(part(of.0)));
            self.sgd_recast(theta, In(part(grad.0)), velocity, operands, momentum, weight_decay, state)?;
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
