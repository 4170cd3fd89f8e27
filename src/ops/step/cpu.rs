//! A step's bookkeeping on the CPU.

use super::{COLUMNS, Step, same_length};
use crate::Result;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out};

impl<T: Float> Step for Cpu<T> {
    fn judge(&mut self, loss: In, state: Out) -> Result<()> {
        let mut b = self.borrow("judge");
        let (loss, words) = (b.read::<f64>(loss)?, b.write::<u64>(state)?);
        if loss.iter().any(|loss| !loss.is_finite()) {
            words[StepState::HALTED] = 1;
        }
        Ok(())
    }

    fn settle(&mut self, loss: In, correct: In, journal: Out, running: Option<[Out; 2]>, state: Out) -> Result<()> {
        same_length(running)?;
        let mut b = self.borrow("settle");
        let words = b.write::<u64>(state)?;
        let (loss, correct, journal) = (b.read::<f64>(loss)?, b.read::<f64>(correct)?, b.write::<f64>(journal)?);
        let rows = (journal.len() / COLUMNS).max(1) as u64;
        let at = (words[StepState::STEP] % rows) as usize * COLUMNS;
        journal[at] = loss[0];
        journal[at + 1] = correct[0];
        let Some([before, running]) = running else { return Ok(()) };
        if words[StepState::HALTED] == 0 {
            words[StepState::STEP] += 1;
        } else {
            let (before, running) = (b.read::<T>(before.into())?, b.write::<T>(running)?);
            running.copy_from_slice(before);
        }
        Ok(())
    }
}
