//! Stochastic gradient descent on the flat parameter vector, with momentum and weight decay as PyTorch defines them.
//!
//! `d = g + λ θ`; without momentum `θ ← θ − lr d`; with momentum μ `v ← μ v + d`, `θ ← θ − lr v`, where v starts at 0. The learning rate is read from
//! the step state. The paper's optimiser has μ = λ = 0.

mod cpu;
mod cuda;

pub use cuda::Descending;

use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// The parameters that an update moves, all of θ or a part of it, and how. The vectors have one length.
#[derive(Debug, Clone, Copy)]
pub struct Descent {
    /// θ
    pub theta: Out,
    /// v, which turns momentum on.
    pub velocity: Option<Out>,
    /// Where the new θ goes, rounded as [`crate::ops::vector::Vector::recast`] rounds, if anywhere: the next pass then need not read θ again for that.
    pub operands: Option<Out>,
    /// μ
    pub momentum: f64,
    /// λ
    pub weight_decay: f64,
    /// The step state, which has the learning rate. If it has halted, θ and v stay.
    pub state: In,
}

impl Descent {
    /// Without momentum, weight decay and operands.
    pub fn plain(theta: Out, state: In) -> Self {
        Descent { theta, velocity: None, operands: None, momentum: 0.0, weight_decay: 0.0, state }
    }

    /// Errors: the vectors are not as long as their gradient.
    fn check(&self, grad: In) -> Result<()> {
        let len = grad.0.shape.len();
        let vectors = [Some(self.theta), self.velocity, self.operands];
        match vectors.iter().flatten().all(|of| of.0.shape.len() == len) {
            true => Ok(()),
            false => {
                let found = format!("theta of {}, gradient of {len}", self.theta.0.shape.len());
                Err(Error::operator("sgd", "vectors of one length", found))
            }
        }
    }
}

/// The update of the parameters.
pub trait Sgd {
    /// Updates θ in place by its gradient, and the velocity too.
    fn sgd(&mut self, grad: In, of: Descent) -> Result<()>;
    /// Does the same to the elements in `pieces` alone, u32 `[P, 2]`: the first element of each piece, and the number of elements. All of them lie in the
    /// vectors.
    fn sgd_pieces(&mut self, grad: In, of: Descent, pieces: In) -> Result<()>;
    /// Advances the step state to the next step, unless it has halted.
    fn advance(&mut self, state: Out) -> Result<()>;
}
