//! The companions of an engine: more engines of the same network, each with memory of its own, so that several θ are evaluated on one batch at the
//! same time.
//!
//! A pass over a narrow network leaves threads idle between its operators, even if each operator is well shared out; but passes at different θ need
//! not wait for one another. Which engine evaluates a θ changes no bit of the result.

use super::{Companion, Engine, Scalar};
use crate::Result;
use crate::files::limits;
use crate::ops::backend::Backend;
use crate::runtime::storage::Movable;
use crate::runtime::tensor::{In, Out, View};
use rayon::prelude::*;
use std::iter::once;

/// The most bytes that all companions of an engine may take together; and the fraction of the remaining memory that they may take, one in `PART`.
/// Each companion has room for at least four vectors like θ, so the three quarters that are left are more than a checkpoint takes.
const MOST: u64 = 256 << 20;
const PART: u64 = 4;

/// The results at one θ, in the memory of the engine that computes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub theta: View,
    pub grad: View,
    pub loss: View,
    pub correct: View,
}

impl<B: Backend> Engine<B> {
    /// Prepares [`Engine::losses_and_grads`] to evaluate up to `count` θ at the same time, and returns how many it can. There are at most as many as
    /// threads, and as many as memory allows without anyone missing it. It is 1 if the device itself runs work in parallel, or if the network is one
    /// operator.
    ///
    /// Errors: not enough memory.
    pub fn accompany(&mut self, count: usize) -> Result<usize> {
        let wanted = count.min(rayon::current_num_threads()).max(1);
        let missing = wanted.saturating_sub(1 + self.companions.len());
        if missing > 0 && self.whole.is_none() {
            // Besides what it plans, its own place for a θ and a gradient, and the rows that these are copied from and to.
            let each = self.planned_bytes + 4 * self.network.slots().len() * self.backend.dtype().size();
            let left = limits::memory().map_or(u64::MAX, |bound| bound.left);
            let taken: usize = self.companions.iter().map(Companion::bytes).sum();
            let more = MOST.saturating_sub(taken as u64).min(left / PART) / each.max(1) as u64;
            for _ in 0..missing.min(more as usize) {
                let Some(backend) = self.backend.beside() else { break };
                let companion = Companion::new(backend, self)?;
                self.companions.push(companion);
            }
        }
        Ok(wanted.min(1 + self.companions.len()))
    }

    /// The bytes that it has allocated, companions included.
    pub fn bytes(&self) -> usize {
        self.backend.bytes() + self.companions.iter().map(Companion::bytes).sum::<usize>()
    }

    /// Evaluates each of `rows`, as many at the same time as there are engines.
    pub(super) fn evaluate_together(&mut self, rows: &[At]) -> Result<()> {
        // A pass takes the engine as a whole, and so what works beside it lies elsewhere for as long.
        let mut companions = std::mem::take(&mut self.companions);
        let found = rows.chunks(1 + companions.len()).try_for_each(|rows| self.evaluate_with(&mut companions, rows));
        self.companions = companions;
        found
    }

    /// Evaluates the first of `rows`, while each companion evaluates one of the others.
    fn evaluate_with(&mut self, companions: &mut [Companion<B>], rows: &[At]) -> Result<()> {
        let Some((&own, others)) = rows.split_first() else { return Ok(()) };
        if others.is_empty() {
            return self.loss_and_grad(In(own.theta), Out(own.grad), Out(own.loss), Out(own.correct));
        }
        for (companion, at) in companions.iter_mut().zip(others) {
            companion.take_up(self, at.theta)?;
        }
        let tasks = companions.iter_mut().zip(others).map(|(companion, _)| {
            let at = companion.place();
            Task(&mut companion.engine, at)
        });
        let tasks: Vec<_> = once(Task(self, own)).chain(tasks).collect();
        tasks.into_par_iter().with_max_len(1).try_for_each(Task::evaluate)?;
        companions.iter_mut().zip(others).try_for_each(|(companion, &at)| companion.hand_over(self, at))
    }
}

impl<B: Backend> Companion<B> {
    /// A companion of `of`. Its backend may move to another thread, and so may an engine of that backend: see [`Task`].
    fn new(backend: Movable<B>, of: &Engine<B>) -> Result<Self> {
        let mut engine = Engine::new(backend.into_inner(), of.network.clone(), of.batch, of.stop.clone())?;
        engine.whole = None;
        let (theta, grad) = (engine.vector()?, engine.vector()?);
        Ok(Companion { engine, theta, grad })
    }

    /// The bytes that it has allocated.
    fn bytes(&self) -> usize {
        self.engine.bytes()
    }

    fn place(&self) -> At {
        let [loss, correct] = [Scalar::Aside, Scalar::AsideCorrect].map(|slot| self.engine.slot(slot));
        At { theta: self.theta, grad: self.grad, loss, correct }
    }

    /// Copies the batch and the step state from `of`, and `theta`.
    fn take_up(&mut self, of: &mut Engine<B>, theta: View) -> Result<()> {
        let own = &mut self.engine;
        let pairs = [(of.input, own.input), (of.answer, own.answer), (of.state, own.state), (theta, self.theta)];
        pairs.into_iter().try_for_each(|(from, to)| own.backend.copy_from(&mut of.backend, In(from), Out(to)))
    }

    /// Copies the results to the place that `to` names in the memory of `of`.
    fn hand_over(&mut self, of: &mut Engine<B>, to: At) -> Result<()> {
        let from = self.place();
        let pairs = [(from.grad, to.grad), (from.loss, to.loss), (from.correct, to.correct)];
        let own = &mut self.engine.backend;
        pairs.into_iter().try_for_each(|(from, to)| of.backend.copy_from(own, In(from), Out(to)))
    }
}

/// An engine and the θ that it evaluates, on any thread.
struct Task<'a, B>(&'a mut Engine<B>, At);

// SAFETY: a task is only made where there are companions, whose backend was a `Movable`: its type is `Send` therefore. `movable` below has the
// compiler say that an engine with such a backend is.
unsafe impl<B> Send for Task<'_, B> {}

const _: () = {
    const fn sent<T: Send>() {}
    #[allow(dead_code)]
    const fn movable<B: Send>() {
        sent::<Engine<B>>();
    }
};

impl<B: Backend> Task<'_, B> {
    fn evaluate(self) -> Result<()> {
        let Task(engine, at) = self;
        engine.loss_and_grad(In(at.theta), Out(at.grad), Out(at.loss), Out(at.correct))
    }
}
