//! Stochastic gradient descent on the flat parameter vector, with momentum and weight decay as PyTorch defines them.
//!
//! `d = g + λ θ`; without momentum `θ ← θ − lr d`; with momentum μ `v ← μ v + d`, `θ ← θ − lr v`, where v starts at 0. The learning rate is read from
//! the step state. The paper's optimiser has μ = λ = 0.

mod cpu;
mod cuda;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// The update of a weight by the launch that makes its gradient, on a device that can: see
/// [`crate::ops::conv2d::Conv2d::conv2d_updates_weight`]. The gradient then need not go through memory.
#[derive(Debug, Clone, Copy)]
pub struct WeightUpdate {
    /// The weight's part of θ.
    pub theta: Out,
    /// The same part of the velocity, with momentum.
    pub velocity: Option<Out>,
    /// Where the new weight goes as operands of the next pass's products. The present pass reads its own meanwhile, so these are others.
    pub operands: Out,
    /// μ
    pub momentum: f64,
    /// λ
    pub weight_decay: f64,
    /// The step state, which has the learning rate. If it has halted, θ and the velocity stay.
    pub state: In,
}

/// The update of the parameters.
pub trait Sgd {
    /// Updates `theta` in place by `grad`, and `velocity` too; passing a velocity turns momentum on. All have the same length. If the step state has
    /// halted, nothing changes.
    fn sgd(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        momentum: f64,
        weight_decay: f64,
        state: In,
    ) -> Result<()>;
    /// Does the same, and writes `operands ← theta`, rounded as [`crate::ops::vector::Vector::recast`] rounds; the next pass then need not read θ
    /// again for that.
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
    /// Does the same to the elements in `pieces` alone, u32 `[P, 2]`: the first element of each piece, and the number of elements. All of them lie in the
    /// vectors.
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
    ) -> Result<()>;
    /// Advances the step state to the next step, unless it has halted.
    fn advance(&mut self, state: Out) -> Result<()>;
}
