//! Running statistics: what a norm divides by at evaluation.
//!
//! They are moved by this operator, which the trainer calls after a step, and by nothing else: a forward pass has no side
//! effects, so a probe cannot disturb them. With momentum α: `r ← (1 − α) r + α v`; of BatchNorm the unbiased variance
//! `m/(m − 1) σ²` enters (as in PyTorch; for m = 1 the biased one), of the ℓp norms s itself.

mod cpu;
mod cuda;

use crate::Result;
use crate::ops::norm::{NormOptions, NormParams};
use crate::runtime::tensor::{In, Out};

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

/// Running statistics and their use.
pub trait Running {
    /// Moves the running statistics by one batch's `mean` and `spread`, from `samples` samples per unit.
    fn move_running(
        &mut self,
        kind: Spread,
        momentum: f64,
        samples: usize,
        mean: In,
        spread: In,
        running: RunningStatistics,
    ) -> Result<()>;
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
