//! `normscape train`

use super::device::{self, Device, Job};
use super::device_options::Precision;
use super::interrupt;
use super::progress::{Progress, duration};
use super::spread::Spread;
use super::terminal::line;
use super::train_options::TrainOptions;
use super::words::quoted;
use super::{Answer, Globals, resume};
use crate::ops::backend::Backend;
use crate::report::significant;
use crate::train::held_folder::{HeldFolder, Start};
use crate::train::metrics::Row;
use crate::train::{Finished, Place, Settings, Source, Trainer, footprint};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Trains a new run, or continues one.
pub fn run(options: &TrainOptions, globals: &Globals) -> Result<Answer> {
    let start = match (options.resume, options.resume_if_there) {
        (true, _) => Start::Resumed,
        (false, true) => Start::Either,
        (false, false) => Start::Fresh,
    };
    let fresh = || {
        // The pair first: the settings would only say that the precision is wrong.
        let deep_linear = options.model.as_deref() == Some("dln");
        let device = Device::of_network(globals.device, globals.precision, deep_linear)?;
        judged(options.settings(device.precision().name())?, globals)
    };
    // What can be wrong with a new run is looked at before its folder is made, and before the data, which take longest to read.
    let new = (start != Start::Resumed).then(fresh).transpose()?;
    let held = HeldFolder::take(&options.out, start)?;
    held.warning().iter().for_each(|text| line(&format!("warning: {text}")));
    let (settings, device) = match held.record() {
        Some(record) => {
            let stored = &record.settings;
            judged(resume::settings(stored, options, globals.precision.map(Precision::name))?, globals)?
        }
        None => new.map_or_else(fresh, Ok)?,
    };
    let stop = interrupt::flag()?;
    device.run(Run { settings, options, globals, device, stop, held })
}

/// The settings and their device, once the settings make a network that fits into memory.
fn judged(settings: Settings, globals: &Globals) -> Result<(Settings, Device)> {
    let precision = Precision::named(&settings.precision).unwrap_or(Precision::F32);
    let device = Device::choose(globals.device, precision)?;
    let network = settings.network()?;
    if device.on_host() {
        footprint::require(&settings, &network)?;
    }
    Ok((settings, device))
}

/// A training run as a job for any device.
struct Run<'a> {
    settings: Settings,
    options: &'a TrainOptions,
    globals: &'a Globals,
    device: Device,
    stop: Arc<AtomicBool>,
    held: HeldFolder,
}

impl Job for Run<'_> {
    type Output = Answer;
    fn run<B: Backend>(self, backend: B) -> Result<Answer> {
        let Run { settings, options, globals, device, stop, held } = self;
        let source = Source::open(&settings)?;
        let about = source.describe();
        let mut opening = device::announcement(device, device.precision().name(), globals);
        let named = held.record().is_none() && options.takes_data_from_environment(&settings);
        opening.push(format!("data: {}{}", about.text, if named { ", named by NORMSCAPE_DATA" } else { "" }));
        let steps = settings.steps;
        let mut progress = Progress::new(globals.quiet, opening, held.record().is_some());
        let place = Place { folder: held, device: device.name(), tensorboard: options.tensorboard };
        let trainer = Trainer::open(backend, settings, source, place, stop, &mut progress)?;
        let spare = Spread::new(device.spread(globals.device)?, 1).spare();
        let ended = trainer.helped_by(spare).saving_within(options.save_within()).run(&mut progress);
        progress.end();
        match ended {
            Ok(finished) => Ok(summary(&finished, steps, &options.out, globals)),
            Err(Error::Interrupted) => {
                let (step, out) = (progress.step(), options.out.display().to_string());
                let again = format!("normscape train --resume --out {}", quoted(&out));
                let line = format!("interrupted: step {step} is saved in {out}; go on with: {again}");
                Ok(Answer::default().with(line, interrupt::CODE))
            }
            Err(error) => Err(error),
        }
    }
}

fn summary(finished: &Finished, steps: u64, out: &Path, globals: &Globals) -> Answer {
    let answer = match (&finished.last, globals.json) {
        (last, true) => Answer::json(&as_json(finished, last.as_ref(), steps, out)),
        (Some(row), false) => Answer::text(in_words(row, out)),
        (None, false) => Answer::default(),
    };
    let answer = answer.in_files();
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

/// A number as JSON; null where it is not finite, which JSON cannot hold.
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
