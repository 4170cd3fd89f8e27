//! Running statistics: what a norm divides by at evaluation.
//!
//! They are moved by this operator, which the trainer calls after a step, and by nothing else: a forward pass has no side
//! effects, so a probe cannot disturb them. With momentum α: `r ← (1 − α) r + α v`; of BatchNorm the unbiased variance
//! `m/(m − 1) σ²` enters (as in PyTorch; for m = 1 the biased one), of the ℓp norms s itself.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// The lengths of a call's three vectors. Errors: they differ.
fn same_length(batch: In, factors: In, running: Out) -> Result<usize> {
    let lengths = [batch.0.shape.len(), factors.0.shape.len(), running.0.shape.len()];
    match lengths {
        [a, b, c] if a == b && b == c => Ok(a),
        _ => Err(Error::operator("running", "vectors of one length", format!("{lengths:?}"))),
    }
}

/// Running statistics.
pub trait Running {
    /// `running ← (1 − α) running + α f · batch`, element by element, α being the momentum: the statistics of all norms at once, with each
    /// one's [`crate::ops::norm::Divisor::running_factor`] (1 for a mean) in `factors` (f64).
    fn move_running(&mut self, momentum: f64, batch: In, factors: In, running: Out) -> Result<()>;
}
