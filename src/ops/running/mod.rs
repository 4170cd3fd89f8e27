//! Running statistics: the means and spreads that norms use at evaluation.
//!
//! This operator alone updates them; the trainer calls it after a step. A forward pass has no side effects, so a probe cannot disturb them. With
//! momentum α: `r ← (1 − α) r + α v`. Here v is the mean, BatchNorm's unbiased variance `m/(m − 1) σ²` (as in PyTorch; for m = 1 the biased one), or
//! an ℓp norm's s itself.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// The common length of a call's three vectors. Errors: the lengths differ.
fn same_length(batch: In, factors: In, running: Out) -> Result<usize> {
    let lengths = [batch.0.shape.len(), factors.0.shape.len(), running.0.shape.len()];
    match lengths {
        [a, b, c] if a == b && b == c => Ok(a),
        _ => Err(Error::operator("running", "vectors of one length", format!("{lengths:?}"))),
    }
}

/// Running statistics.
pub trait Running {
    /// `running ← (1 − α) running + α f · batch`, element by element, where α is the momentum. It updates the statistics of all norms at once;
    /// `factors` (f64) holds each one's f, which is [`crate::ops::norm::Divisor::running_factor`], or 1 for a mean.
    fn move_running(&mut self, momentum: f64, batch: In, factors: In, running: Out) -> Result<()>;
}
