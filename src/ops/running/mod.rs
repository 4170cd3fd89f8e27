//! Running statistics: what a norm divides by at evaluation.
//!
//! They are moved by this operator, which the trainer calls after a step, and by nothing else: a forward pass has no side
//! effects, so a probe cannot disturb them. With momentum α: `r ← (1 − α) r + α v`; of BatchNorm the unbiased variance
//! `m/(m − 1) σ²` enters (as in PyTorch; for m = 1 the biased one), of the ℓp norms s itself.

mod cpu;
mod cuda;

use crate::ops::norm::{NormOptions, NormParams};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// Running mean and spread of one norm layer, `[C]` each.
#[derive(Debug, Clone, Copy)]
pub struct RunningStatistics {
    /// Starts at 0.
    pub mean: Out,
    /// Running variance, or running s; starts at 1.
    pub spread: Out,
}

/// What a norm's spread is, which decides how it divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// σ²: S = √(σ² + ε), unbiased in the running value.
    Variance,
    /// s: D = s + ε.
    Scale,
}

impl Spread {
    /// What a batch's spread over `samples` is multiplied by before it enters the running one.
    pub fn factor(self, samples: usize) -> f64 {
        match self {
            Spread::Variance if samples > 1 => samples as f64 / (samples as f64 - 1.0),
            _ => 1.0,
        }
    }
}

/// The lengths of a call's three vectors. Errors: they differ.
fn same_length(batch: In, factors: In, running: Out) -> Result<usize> {
    let lengths = [batch.0.shape.len(), factors.0.shape.len(), running.0.shape.len()];
    match lengths {
        [a, b, c] if a == b && b == c => Ok(a),
        _ => Err(Error::operator("running", "vectors of one length", format!("{lengths:?}"))),
    }
}

/// Running statistics and their use.
pub trait Running {
    /// `running ← (1 − α) running + α f · batch`, element by element, α being the momentum: the statistics of all norms at once, with each
    /// one's [`Spread::factor`] (1 for a mean) in `factors` (f64).
    fn move_running(&mut self, momentum: f64, batch: In, factors: In, running: Out) -> Result<()>;
    /// The norm at evaluation: `y = γ (x − running mean)/D + β`, then the ReLU if asked for.
    fn norm_eval(
        &mut self,
        kind: Spread,
        x: In,
        params: NormParams,
        options: NormOptions,
        running: RunningStatistics,
        y: Out,
    ) -> Result<()>;
}
