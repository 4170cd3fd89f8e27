//! How far a run of a plan has come, by what is in its folder.

use crate::files::disk;
use crate::train::checkpoint;
use crate::train::run_folder::{Record, RunFolder};
use crate::train::{Settings, metrics};
use crate::{Error, Result};
use std::path::Path;

/// How far a run has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// There is no run yet.
    Untouched,
    /// There is a run, and rows or their checkpoint are missing.
    Begun(Record),
    /// The last checkpoint was made after the row of the last step, or says that the run diverged.
    Finished(Record),
}

impl Stage {
    /// How far the run in `out` has come, without its lock: another process may take it further at any moment.
    ///
    /// Errors: the run there has other settings than `settings`, where its data are aside; its record is invalid.
    pub fn of(out: &Path, settings: &Settings) -> Result<Stage> {
        if !disk::exists(&out.join("run.toml")) {
            return Ok(Stage::Untouched);
        }
        let (folder, record) = RunFolder::open(out)?;
        // The images may have moved: their hash says whether they are the same.
        let here = Settings { data: settings.data.clone(), ..record.settings.clone() };
        if here != *settings {
            let problem = "is a run with other settings than the plan's";
            return Err(Error::file(out, problem, "choose another --out, or remove it"));
        }
        let checkpoints = folder.checkpoints();
        let Some(&last) = checkpoint::list(&checkpoints)?.last() else { return Ok(Stage::Begun(record)) };
        let state = checkpoint::state_of(&checkpoint::folder(&checkpoints, last));
        let finished = state.is_ok_and(|state| state.step == settings.steps && state.ended || state.diverged.is_some());
        Ok(if finished { Stage::Finished(record) } else { Stage::Begun(record) })
    }

    /// The run's record, where there is a run.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Stage::Untouched => None,
            Stage::Begun(record) | Stage::Finished(record) => Some(record),
        }
    }
}

/// The last step that the run in `out` has logged on disk, and the seconds spent until then; zeros where there is none.
pub fn logged(out: &Path) -> (u64, f64) {
    metrics::last(&RunFolder::at(out).metrics()).unwrap_or((0, 0.0))
}
