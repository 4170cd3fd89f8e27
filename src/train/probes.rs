//! The probes of a run: the work that they issue at a probed step, and the files that their results go to.

use super::probe_log::{ProbeLog, Series};
use super::run_folder::RunFolder;
use super::settings::Settings;
use crate::Result;
use crate::files::{Arrays, disk};
use crate::network::Engine;
use crate::ops::backend::Backend;
use crate::probe::measure::{Entry, Found, Measurement, Moment, Options, Order, Probe, Row};
use crate::probe::portion::{Points, Portion};
use crate::probe::table::{self, ROWS};

/// The probes that are due at a step: one bit for each of [`table::names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due(u32);

impl Due {
    /// The probes due at step `t`.
    pub fn at(settings: &Settings, t: u64) -> Due {
        if !settings.probes_at(t) {
            return Due(0);
        }
        let due = table::probes().map(|probe| settings.due(probe.name, t));
        Due(due.enumerate().map(|(bit, due)| u32::from(due) << bit).sum())
    }

    /// Whether no probe is due.
    pub fn none(self) -> bool {
        self.0 == 0
    }

    /// A number that identifies this set of probes; it distinguishes kinds of steps.
    pub fn key(self) -> u64 {
        self.0.into()
    }

    fn has(self, name: &str) -> bool {
        table::probes().position(|of| of.name == name).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }

    fn any(self, row: &Row) -> bool {
        row.probes.iter().any(|probe| self.has(probe.name))
    }
}

/// The measurements of a run, each with its workspace.
pub struct Work<B> {
    /// In the order of [`ROWS`], but those that must be asked first are at the beginning.
    measurements: Vec<(&'static Row, Box<dyn Measurement<B>>)>,
}

impl<B: Backend> Work<B> {
    /// Plans the measurements that `settings` ask for. Errors: a probe does not fit the network; not enough memory.
    pub fn plan(engine: &mut Engine<B>, settings: &Settings) -> Result<Work<B>> {
        let asked = |row: &Row| row.probes.iter().any(|probe| settings.asks(probe.name));
        let Settings { probe_lanczos: lanczos, probe_hutchinson: hutchinson, .. } = *settings;
        let options = Options {
            s: settings.step_lengths()?,
            seed: settings.seed,
            lr: settings.lr,
            momentum: settings.momentum > 0.0,
            eps: settings.eps,
            lanczos,
            hutchinson,
            look: settings.look(engine.network())?,
            tangents: ROWS.iter().any(|row| row.tangents && asked(row)).then(|| engine.tangents()).transpose()?,
        };
        let mut planned = Vec::new();
        for last in [false, true] {
            for (at, row) in ROWS.iter().enumerate() {
                if asked(row) && last == (row.order == Order::PlannedLast) {
                    planned.push((at, row, table::plan(at, engine, &options)?));
                }
            }
        }
        planned.sort_by_key(|(at, row, _)| (row.order != Order::First, *at));
        Ok(Work { measurements: planned.into_iter().map(|(_, row, of)| (row, of)).collect() })
    }

    /// Issues the work of the probes that are due, at this moment, to the device; of lines a portion.
    pub fn ask(&self, engine: &mut Engine<B>, due: Due, at: Moment, portion: Portion) -> Result<()> {
        let mut due = self.measurements.iter().filter(|(row, _)| due.any(row));
        due.try_for_each(|(_, measurement)| match measurement.shared() {
            Some(line) => line.ask_portion(engine, at, portion),
            None => measurement.ask(engine, at),
        })
    }

    /// What was found at a portion of the points of each line that is due.
    pub fn points(&self, engine: &mut Engine<B>, due: Due, portion: Portion) -> Result<Vec<Points>> {
        let due = self.measurements.iter().filter(|(row, _)| due.any(row));
        due.filter_map(|(_, of)| of.shared()).map(|line| line.points(engine, portion)).collect()
    }
}

/// The probes of a run, with their logs.
pub struct Probes<B> {
    work: Work<B>,
    /// For each measurement the logs of its probes, in the row's order; `None` for probes that the run does not ask for.
    logs: Vec<Vec<Option<ProbeLog>>>,
    /// The results of the last probed step, as single numbers by name.
    last: Vec<(String, Option<f64>)>,
}

impl<B: Backend> Probes<B> {
    /// The logs: new ones, or existing ones up to `step`. A missing log cannot be reconstructed; only a run without a checkpoint starts new
    /// ones.
    pub fn open(work: Work<B>, folder: &RunFolder, settings: &Settings, step: u64, resume: bool) -> Result<Self> {
        let log = |name: &str, fixed: Arrays, series: Vec<Series>| {
            let log = ProbeLog::new(folder.probe(name), fixed, series);
            match step > 0 || (resume && disk::exists(log.path())) {
                true => log.reopen((0..step).filter(|&t| settings.due(name, t))),
                false => Ok(log),
            }
        };
        let of_probe = |probe: &Probe, measurement: &dyn Measurement<B>| {
            let series = |&(name, entry): &(&'static str, Entry)| match entry.counts() {
                true => Series::counts(name, measurement.shape(entry)),
                false => Series::numbers(name, measurement.shape(entry)),
            };
            log(probe.name, measurement.fixed(probe.name), probe.arrays.iter().map(series).collect())
        };
        let of_row = |(row, measurement): &(&'static Row, Box<dyn Measurement<B>>)| {
            let asked = |probe: &'static Probe| settings.asks(probe.name).then_some(probe);
            row.probes.iter().map(|p| asked(p).map(|p| of_probe(p, &**measurement)).transpose()).collect()
        };
        let logs = work.measurements.iter().map(of_row).collect::<Result<_>>()?;
        Ok(Probes { work, logs, last: Vec::new() })
    }

    /// The results of the last probed step, as single numbers: `landscape/beta_max`, `ics/cosine_mean`, and the like. NaN means that the
    /// probes' files hold NaN, as at the step where a run diverged; `None` is a number that could not be measured.
    pub fn last(&self) -> &[(String, Option<f64>)] {
        &self.last
    }

    /// The measurements that issue the work at a probed step.
    pub fn work(&self) -> &Work<B> {
        &self.work
    }

    /// Reads the results of step `t`, whose loss is `loss`. If that is not finite, nothing is known. `others` are the portions of lines that other
    /// devices took, those of each device line by line.
    pub fn read(
        &mut self,
        engine: &mut Engine<B>,
        due: Due,
        t: u64,
        loss: f64,
        others: Vec<Vec<Points>>,
    ) -> Result<()> {
        self.last.clear();
        let mut others: Vec<_> = others.into_iter().map(Vec::into_iter).collect();
        for ((row, measurement), logs) in self.work.measurements.iter().zip(&mut self.logs) {
            if !due.any(row) {
                continue;
            }
            let Found { entries, numbers } = match measurement.shared() {
                Some(line) => line.read_with(engine, loss, others.iter_mut().filter_map(Iterator::next).collect())?,
                None => measurement.read(engine, loss)?,
            };
            for ((probe, log), entries) in row.probes.iter().zip(logs).zip(&entries) {
                if let Some(log) = log.as_mut().filter(|_| due.has(probe.name)) {
                    log.push(t, &entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
                    self.last.extend(numbers.iter().map(|(name, value)| (format!("{}/{name}", probe.name), *value)));
                }
            }
        }
        Ok(())
    }

    /// Writes the files.
    pub fn write(&self) -> Result<()> {
        self.logs.iter().flatten().flatten().try_for_each(ProbeLog::write)
    }
}
