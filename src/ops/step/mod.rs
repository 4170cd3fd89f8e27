//! The bookkeeping of a training step on the device: whether the loss is finite, what was measured, and the next step.
//!
//! A device that works on its own is asked for many steps before the host looks at one. So the device itself must stop where
//! a loss is not finite: [`Step::judge`] then sets the step state's `halted`, after which updates change nothing, running
//! statistics are put back ([`Step::put_back`]) and the step does not advance. Whatever is asked for later changes nothing
//! either: the host finds θ as it was at the step that diverged, as if it had looked at every loss.

mod cpu;
mod cuda;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// Columns of a journal: loss, right answers.
pub const COLUMNS: usize = 2;

/// Bookkeeping of a step.
pub trait Step {
    /// Sets `halted` in the step state where `loss` (a scalar slot) is not finite.
    fn judge(&mut self, loss: In, state: Out) -> Result<()>;
    /// `running ← before` where the step state has halted.
    fn put_back(&mut self, before: In, running: Out, state: In) -> Result<()>;
    /// Writes loss and right answers (scalar slots) into row `step mod rows` of `journal` (f64 `[rows, 2]`).
    fn note(&mut self, loss: In, correct: In, journal: Out, state: In) -> Result<()>;
}
