//! Makes the runs of a plan, one after the other; what is finished is not made again.

use super::plan::{Plan, PlannedRun};
use crate::Result;
use crate::data::image_set::ImageSet;
use crate::files::disk;
use crate::train::checkpoint;
use crate::train::run_folder::RunFolder;
use crate::train::source::load_images;
use crate::train::{Finished, Observer, Settings, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A finished run of a plan.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    /// What was planned.
    pub planned: PlannedRun,
    /// Its folder.
    pub folder: PathBuf,
}

/// Tells of a plan's progress, run by run.
pub trait PlanObserver: Observer {
    /// Run `number` of `count` is about to begin, or is `done` already.
    fn run_begins(&mut self, number: usize, count: usize, run: &PlannedRun, done: bool);
}

/// Makes every run of `plan` under `folder`, each in a folder of its id's name. `train` makes one run, on a device of its own.
///
/// A run that diverges is a result, not an error. Errors: as training's; a folder there that is not of this plan.
pub fn run_all(
    plan: &Plan,
    folder: &Path,
    observer: &mut dyn PlanObserver,
    mut train: impl FnMut(Settings, Source, &Path, bool, &mut dyn PlanObserver) -> Result<Finished>,
) -> Result<Vec<FinishedRun>> {
    disk::create_dir_all(folder)?;
    let mut images: Option<(String, Arc<ImageSet>)> = None;
    let mut finished = Vec::new();
    for (number, planned) in plan.runs.iter().enumerate() {
        let out = folder.join(&planned.id);
        let done = is_finished(planned, &out)?;
        observer.run_begins(number + 1, plan.runs.len(), planned, done);
        if !done {
            let source = source(planned, &mut images)?;
            // A folder without a record was left by a kill before the first byte: begin there anew.
            let resume = disk::exists(&out.join("run.toml"));
            train(planned.settings.clone(), source, &out, resume, observer)?;
        }
        finished.push(FinishedRun { planned: planned.clone(), folder: out });
    }
    Ok(finished)
}

/// Whether the run's last checkpoint is its last step's (or says that it diverged) and its settings are the plan's.
fn is_finished(planned: &PlannedRun, out: &Path) -> Result<bool> {
    if !disk::exists(&out.join("run.toml")) {
        return Ok(false);
    }
    let (folder, record) = RunFolder::open(out)?;
    // The images may have moved; which they are, the run's name says, and its record's hash when it goes on.
    let here = Settings { data: planned.settings.data.clone(), ..record.settings };
    if here != planned.settings {
        let problem = "is of another plan";
        return Err(crate::Error::file(out, problem, "choose another --out, or remove it"));
    }
    let Some(&last) = checkpoint::list(&folder.checkpoints())?.last() else { return Ok(false) };
    let state = checkpoint::state_of(&checkpoint::folder(&folder.checkpoints(), last));
    Ok(state.is_ok_and(|state| state.step == planned.settings.steps || state.diverged.is_some()))
}

/// The run's data; images are loaded once for runs that share them.
fn source(planned: &PlannedRun, loaded: &mut Option<(String, Arc<ImageSet>)>) -> Result<Source> {
    let settings = &planned.settings;
    if settings.deep_linear() {
        return Source::open(settings);
    }
    let key = format!("{} {:?} {:?} {}", settings.data, settings.limit_train, settings.limit_test, settings.seed);
    let set = match loaded {
        Some((same, set)) if *same == key => set.clone(),
        _ => {
            let set = Arc::new(load_images(settings)?);
            *loaded = Some((key, set.clone()));
            set
        }
    };
    Source::of(set, settings)
}
