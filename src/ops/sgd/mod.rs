//! Stochastic gradient descent on the flat parameter vector, with momentum and weight decay as PyTorch defines them.
//!
//! `d = g + λ θ`; without momentum `θ ← θ − lr d`; with momentum μ `v ← μ v + d`, `θ ← θ − lr v`, v starting at 0. The learning
//! rate is read from the step state. The paper's optimiser is μ = λ = 0.

mod cpu;
mod cuda;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// The update.
pub trait Sgd {
    /// Updates `theta` in place (and `velocity`, which stands for momentum) by `grad`; all three of one length. Where the step
    /// state has halted, nothing changes.
    fn sgd(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()>;
    /// The same, and `operands ← theta`, rounded as [`crate::ops::vector::Vector::recast`] does: the next pass need not read θ for that.
    fn sgd_recast(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        operands: Out,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()>;
    /// Advances the step state to the next step, unless it has halted.
    fn advance(&mut self, state: Out) -> Result<()>;
}
