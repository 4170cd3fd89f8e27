//! The bookkeeping of a training step on the device: whether the loss is finite, the step's measurements, and the move to the next step.
//!
//! A device that works asynchronously is given many steps before the host looks at one. So the device itself must stop where a loss is not finite.
//! [`Step::judge`] then sets `halted` in the step state. From then on updates change nothing, and [`Step::settle`] puts back the running statistics
//! and does not advance the step. So the host finds θ as it was at the step that diverged, as if it had looked at every loss.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// The columns of a journal: the loss, and the number of right answers.
pub const COLUMNS: usize = 2;

/// Bookkeeping of a step.
pub trait Step {
    /// Sets `halted` in the step state if `loss` (a scalar slot) is not finite.
    fn judge(&mut self, loss: In, state: Out) -> Result<()>;
    /// Ends a step: writes the loss and the right answers (scalar slots) into row `step mod rows` of `journal` (f64 `[rows, 2]`). `running` is none in the
    /// last step of a run; otherwise it has what the running statistics were before the step, and these. If the step state has halted, they are put
    /// back; if not, the step advances.
    fn settle(&mut self, loss: In, correct: In, journal: Out, running: Option<[Out; 2]>, state: Out) -> Result<()>;
}

/// The length of the two vectors; 0 where there are none. Errors: their lengths differ.
fn same_length(running: Option<[Out; 2]>) -> Result<usize> {
    match running.map(|both| both.map(|view| view.0.shape.len())) {
        None => Ok(0),
        Some([before, now]) if before == now => Ok(now),
        Some([before, now]) => Err(Error::operator("settle", "vectors of one length", format!("{before} and {now}"))),
    }
}
