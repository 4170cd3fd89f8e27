//! A step's bookkeeping on the CPU.

use super::{COLUMNS, Step};
use crate::Result;
use crate::runtime::cpu::{Cpu, read_state};
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

    fn put_back(&mut self, before: In, running: Out, state: In) -> Result<()> {
        let mut b = self.borrow("put_back");
        let halted = read_state(&mut b, state)?.halted != 0;
        let (before, running) = (b.read::<T>(before)?, b.write::<T>(running)?);
        if halted {
            running.copy_from_slice(before);
        }
        Ok(())
    }

    fn note(&mut self, loss: In, correct: In, journal: Out, state: In) -> Result<()> {
        let mut b = self.borrow("note");
        let step = read_state(&mut b, state)?.step;
        let (loss, correct, journal) = (b.read::<f64>(loss)?, b.read::<f64>(correct)?, b.write::<f64>(journal)?);
        let rows = (journal.len() / COLUMNS).max(1) as u64;
        let at = (step % rows) as usize * COLUMNS;
        journal[at] = loss[0];
        journal[at + 1] = correct[0];
        Ok(())
    }
}
