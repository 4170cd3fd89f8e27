//! A step's bookkeeping on a device: `kernels/step.cu`.

use super::{COLUMNS, Step, same_length};
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

impl<D: Driver> Step for Cuda<D> {
    fn judge(&mut self, loss: In, state: Out) -> Result<()> {
        let (driver, mut views) = self.begin("judge");
        let (loss, mut state) = (views.read::<f64>(loss)?, views.write::<u64>(state)?);
        kernels::Judge { loss, state: &mut state }.launch(driver, Grid::new(1, 32))
    }

    fn settle(&mut self, loss: In, correct: In, journal: Out, running: Option<[Out; 2]>, state: Out) -> Result<()> {
        let rows = journal.0.shape.len() / COLUMNS;
        if rows == 0 {
            return Err(Error::operator("settle", "a journal of at least one row", "none"));
        }
        let last = u32::from(running.is_none());
        let len = same_length(running)?;
        let running = running.filter(|_| len > 0);
        let (driver, mut views) = self.begin("settle");
        let (loss, correct) = (views.read::<f64>(loss)?, views.read::<f64>(correct)?);
        let (mut journal, mut state) = (views.write::<f64>(journal)?, views.write::<u64>(state)?);
        let before = views.read_some::<f32>(running.map(|[before, _]| before.into()))?;
        let mut running = views.write_some::<f32>(running.map(|[_, running]| running))?;
        let (rows, len) = (count("settle", rows)?, count("settle", len)?);
        let (journal, running, state) = (&mut journal, running.as_mut(), &mut state);
        kernels::Settle { loss, correct, journal, before, running, state, rows, len, last }
            .launch(driver, Grid::new(1, 256))
    }
}
