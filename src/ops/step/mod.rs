//! The bookkeeping of a training step on the device: whether the loss is finite, the step's measurements, and the move to the next step.
//!
//! A device that works asynchronously is given many steps before the host looks at one. So the device itself must stop where a loss is not finite.
//! [`Step::judge`] then sets `halted` in the step state. From then on updates change nothing, running statistics are put back ([`Step::put_back`])
//! and the step does not advance. So the host finds θ as it was at the step that diverged, as if it had looked at every loss.

mod cpu;
mod cuda;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// The columns of a journal: the loss, and the number of right answers.
pub const COLUMNS: usize = 2;

/// Bookkeeping of a step.
pub trait Step {
    /// Sets `halted` in the step state if `loss` (a scalar slot) is not finite.
    fn judge(&mut self, loss: In, state: Out) -> Result<()>;
    /// `running ← before`, if the step state has halted.
    fn put_back(&mut self, before: In, running: Out, state: In) -> Result<()>;
    /// Writes the loss and the right answers (scalar slots) into row `step mod rows` of `journal` (f64 `[rows, 2]`).
    fn note(&mut self, loss: In, correct: In, journal: Out, state: In) -> Result<()>;
}
