//! `normscape train`

use super::device::{self, Device, Job, Precision};
use super::interrupt;
use super::progress::{Progress, duration};
use super::train_options::TrainOptions;
use super::{Answer, Globals, resume};
use crate::files::disk;
use crate::files::lookup::{self, Kind};
use crate::ops::backend::Backend;
use crate::report::significant;
use crate::train::metrics::Row;
use crate::train::run_folder::RunFolder;
use crate::train::{Finished, Place, Settings, Source, Trainer, footprint};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Trains, or goes on training.
pub fn run(options: &TrainOptions, globals: &Globals) -> Result<Answer> {
    let settings = if options.resume {
        let (_, record) = RunFolder::open(&options.out)?;
        resume::settings(&record.settings, options, globals.precision.map(Precision::name))?
    } else {
        let precision = globals.precision.unwrap_or(Precision::F32);
        // The pair first: the settings would only say that the precision is wrong.
        Device::choose(globals.device, precision)?;
        options.settings(precision.name())?
    };
    let precision = Precision::named(&settings.precision).unwrap_or(Precision::F32);
    let device = Device::choose(globals.device, precision)?;
    // What can be wrong is looked at before the data, which take longest to read.
    let network = settings.network()?;
    if device.on_host() {
        footprint::require(&settings, &network)?;
    }
    if !options.resume {
        refuse_taken(&options.out)?;
    }
    let stop = interrupt::flag()?;
    device.run(Run { settings, options, globals, device, stop })
}

/// Refuses a folder that holds something. Making the folder refuses it too, and without a race, but later.
fn refuse_taken(out: &Path) -> Result<()> {
    match lookup::kind(out)? {
        None => Ok(()),
        Some(Kind::Folder) if disk::list_dir(out)?.is_empty() => Ok(()),
        Some(_) => Err(Error::file(out, "exists", "choose another --out, or continue that run with --resume")),
    }
}

/// A run on a device that is yet to be matched.
struct Run<'a> {
    settings: Settings,
    options: &'a TrainOptions,
    globals: &'a Globals,
    device: Device,
    stop: Arc<AtomicBool>,
}

impl Job for Run<'_> {
    type Output = Answer;
    fn run<B: Backend>(self, backend: B) -> Result<Answer> {
        let Run { settings, options, globals, device, stop } = self;
        let source = Source::open(&settings)?;
        let about = source.describe();
        let mut opening = device::announcement(device, globals);
        opening.push(format!("data: {}", about.text));
        let steps = settings.steps;
        let mut progress = Progress::new(globals.quiet, opening);
        let place = Place {
            out: &options.out,
            resume: options.resume,
            device: device.name(),
            tensorboard: options.tensorboard,
        };
        let trainer = Trainer::open(backend, settings, source, place, stop, &mut progress)?;
        let ended = trainer.run(&mut progress);
        progress.end();
        match ended {
            Ok(finished) => Ok(summary(&finished, steps, &options.out, globals)),
            Err(Error::Interrupted) => {
                let (step, out) = (progress.step(), options.out.display().to_string());
                let again = format!("normscape train --resume --out {}", shell_word(&out));
                let line = format!("interrupted: step {step} is saved in {out}; go on with: {again}");
                Ok(Answer::default().with(line, interrupt::CODE))
            }
            Err(error) => Err(error),
        }
    }
}

/// A name as a shell reads it back.
fn shell_word(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,%@".contains(c);
    if name.chars().all(plain) { name.into() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

fn summary(finished: &Finished, steps: u64, out: &Path, globals: &Globals) -> Answer {
    let answer = match (&finished.last, globals.json) {
        (last, true) => Answer::json(&as_json(finished, last.as_ref(), steps, out)),
        (Some(row), false) => Answer::text(in_words(row, out)),
        (None, false) => Answer::default(),
    };
    match finished.diverged {
        None => answer,
        Some((step, loss)) => {
            let error = Error::Diverged { step, loss };
            answer.with(format!("{error}; the run is saved in {}", out.display()), error.exit_code())
        }
    }
}

fn in_words(row: &Row, out: &Path) -> String {
    let mut text = format!("step {} after {}: loss {}", row.step, duration(row.seconds), significant(row.loss, 6));
    if row.train_accuracy.is_finite() {
        text += &format!(", accuracy {:.2} % on its batch", 100.0 * row.train_accuracy);
    }
    if let Some((loss, accuracy)) = row.test {
        text += &format!("\ntest: loss {}, accuracy {:.2} %", significant(loss, 6), 100.0 * accuracy);
    }
    text + &format!("\nwritten to {}\n", out.display())
}

/// A number, or null where it is not finite: JSON has no other.
fn number(value: f64) -> Value {
    json!(value)
}

fn as_json(finished: &Finished, last: Option<&Row>, steps: u64, out: &Path) -> Value {
    let last = last.map(|row| {
        json!({
            "step": row.step,
            "epoch": row.epoch,
            "loss": number(row.loss),
            "train_accuracy": number(row.train_accuracy),
            "test_loss": row.test.map(|(loss, _)| number(loss)),
            "test_accuracy": row.test.map(|(_, accuracy)| number(accuracy)),
            "seconds": number(row.seconds),
        })
    });
    json!({ "out": out.to_string_lossy(), "steps": steps, "diverged": finished.diverged.map(|(step, _)| step), "last": last })
}
