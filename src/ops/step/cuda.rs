//! A step's bookkeeping on a device: `kernels/step.cu`.

use super::{COLUMNS, Step};
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

    fn put_back(&mut self, before: In, running: Out, state: In) -> Result<()> {
        let len = running.0.shape.len();
        if before.0.shape.len() != len {
            let found = format!("{} and {len}", before.0.shape.len());
            return Err(Error::operator("put_back", "vectors of one length", found));
        }
        if len == 0 {
            return Ok(());
        }
        let (driver, mut views) = self.begin("put_back");
        let (before, mut running) = (views.read::<f32>(before)?, views.write::<f32>(running)?);
        let state = views.read::<u64>(state)?;
        kernels::PutBack { before, running: &mut running, state, len: count("put_back", len)? }
            .launch(driver, Grid::cover(len, 4, 256))
    }

    fn note(&mut self, loss: In, correct: In, journal: Out, state: In) -> Result<()> {
        let rows = journal.0.shape.len() / COLUMNS;
        if rows == 0 {
            return Err(Error::operator("note", "a journal of at least one row", "none"));
        }
        let (driver, mut views) = self.begin("note");
        let (loss, correct, state) = (views.read::<f64>(loss)?, views.read::<f64>(correct)?, views.read::<u64>(state)?);
        let mut journal = views.write::<f64>(journal)?;
        kernels::Note { loss, correct, journal: &mut journal, state, rows: count("note", rows)? }
            .launch(driver, Grid::new(1, 32))
    }
}
