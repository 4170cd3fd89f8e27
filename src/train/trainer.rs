//! The training loop: rows, probes, updates, checkpoints, in an order that an interruption cannot spoil.
//!
//! What step t changes for good (θ, velocity, the logs) it changes after its last pass over the network. Running statistics
//! must be moved before the probes overwrite what the batch left; they are put back where a probe is interrupted. So an
//! interruption, which is only looked for inside passes, always leaves the state of a finished step.

use super::checkpoint::{self, State, Vectors};
use super::landscape_log::LandscapeLog;
use super::metrics::{Metrics, Row};
use super::run_folder::{Record, RunFolder};
use super::settings::Settings;
use super::source::Source;
use crate::files::disk;
use crate::files::lock::FolderLock;
use crate::network::{Engine, Loss, Scalar, initial_parameters};
use crate::ops::backend::Backend;
use crate::probe::line::{Landscape, Room, landscape};
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out, View};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Momentum of the running statistics, as PyTorch counts it.
const RUNNING_MOMENTUM: f64 = 0.1;

/// What a run tells while it goes.
pub trait Observer {
    /// The run begins (or goes on) at step `first` of `last`.
    fn begin(&mut self, first: u64, last: u64);
    /// A row was logged.
    fn row(&mut self, row: &Row);
    /// Something that the user should know, and that does not stop the run.
    fn warn(&mut self, message: &str);
}

/// An observer that says nothing.
pub struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, _: &Row) {}
    fn warn(&mut self, _: &str) {}
}

/// Where a run's files go and whether it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The run's folder.
    pub out: &'a Path,
    /// Continue what is there.
    pub resume: bool,
    /// What computes, for the record.
    pub device: &'a str,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The last row.
    pub last: Option<Row>,
    /// The step whose loss was not finite, and that loss.
    pub diverged: Option<(u64, f64)>,
}

/// A run in progress.
pub struct Trainer<B> {
    settings: Settings,
    engine: Engine<B>,
    source: Source,
    folder: RunFolder,
    metrics: Metrics,
    landscapes: Option<(LandscapeLog, Room)>,
    theta: View,
    grad: View,
    velocity: Option<View>,
    /// The running statistics before the step's batch moved them.
    running_before: View,
    step: u64,
    began: Instant,
    seconds_before: f64,
    _lock: FolderLock,
}

impl<B: Backend> Trainer<B> {
    /// Starts a run, or takes up an earlier part of it. `settings` are resolved.
    ///
    /// Errors: the folder is there (or, to resume, is not, or is of another run); no valid checkpoint; no memory; a bad setting.
    pub fn open(
        backend: B,
        settings: Settings,
        source: Source,
        place: Place<'_>,
        stop: Arc<AtomicBool>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let network = settings.network()?;
        let mut engine = Engine::new(backend, network, settings.batch, stop)?;
        let (theta, grad) = (engine.vector()?, engine.vector()?);
        let velocity = (settings.momentum > 0.0).then(|| engine.vector()).transpose()?;
        let running_before = engine.running_vector()?;
        let room = if settings.probe.is_empty() { None } else { Some(Room::new(&mut engine)?) };
        let start = initial_parameters(engine.network(), settings.seed);
        engine.backend().upload_f32(&start, Out(theta))?;

        let record = Record::new(&settings, engine.network(), source.describe(), place.device);
        let folder = if place.resume {
            let (folder, old) = RunFolder::open(place.out)?;
            same_run(&old, &record, &folder)?;
            folder
        } else {
            RunFolder::create(place.out, &record)?
        };
        let lock = FolderLock::acquire(folder.root())?;
        folder.remove_partials()?;
        let mut state = State { step: 0, seconds: 0.0, diverged: None };
        if place.resume {
            let vectors = Vectors { theta, velocity };
            let warn = |error: &Error| observer.warn(&format!("{error} (passed over)"));
            let found = checkpoint::load_newest(&folder.checkpoints(), &mut engine, vectors, warn)?;
            state = found.unwrap_or(state);
            folder.write_record(&record)?;
        }
        if state.step > settings.steps {
            let problem = format!("the run is at step {} already", state.step);
            return Err(Error::input(format!("--steps {}", settings.steps), problem, "a larger number continues it"));
        }
        // A log that is missing cannot be made up: only a run without a checkpoint begins anew. All are read before one is cut.
        let landscapes = match room {
            None => None,
            Some(room) => {
                let (path, s) = (folder.landscape(), settings.step_lengths()?);
                let log = match state.step > 0 || (place.resume && disk::exists(&path)) {
                    true => LandscapeLog::reopen(path, s, (0..state.step).filter(|&t| settings.probes_at(t)))?,
                    false => LandscapeLog::new(path, s),
                };
                Some((log, room))
            }
        };
        let reopen = state.step > 0 || (place.resume && disk::exists(&folder.metrics()));
        let metrics =
            if reopen { Metrics::reopen(&folder.metrics(), state.step)? } else { Metrics::create(&folder.metrics())? };
        Ok(Trainer {
            settings,
            engine,
            source,
            folder,
            metrics,
            landscapes,
            theta,
            grad,
            velocity,
            running_before,
            step: state.step,
            began: Instant::now(),
            seconds_before: state.seconds,
            _lock: lock,
        })
    }

    /// Runs to the end. On an interruption what was finished is saved first; after any other error the last checkpoint stands.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Finished> {
        observer.begin(self.step, self.settings.steps);
        let ended = self.steps(observer);
        match ended {
            Ok(finished) => Ok(finished),
            Err(Error::Interrupted) => {
                self.save(None)?;
                Err(Error::Interrupted)
            }
            Err(error) => Err(error),
        }
    }

    fn steps(&mut self, observer: &mut dyn Observer) -> Result<Finished> {
        // Written once: from here on the device advances it.
        self.engine.set_state(&StepState::new(self.settings.seed, self.step, self.settings.lr))?;
        loop {
            let last = self.step == self.settings.steps;
            let row = self.one_step(last)?;
            observer.row(&row);
            if !row.loss.is_finite() {
                self.save(Some(row.step))?;
                return Ok(Finished { last: Some(row), diverged: Some((row.step, row.loss)) });
            }
            if last {
                self.save(None)?;
                return Ok(Finished { last: Some(row), diverged: None });
            }
            self.step += 1;
            if self.settings.checkpoint_every.is_some_and(|every| self.step.is_multiple_of(every))
                && self.step < self.settings.steps
            {
                self.save(None)?;
            }
        }
    }

    /// Step t: test, loss and gradient, probes, update, row.
    fn one_step(&mut self, last: bool) -> Result<Row> {
        let t = self.step;
        // The test comes first: the batch's statistics, which the running ones need, must survive until they are moved.
        let measured = self.settings.eval_every.is_some_and(|every| t.is_multiple_of(every) || last);
        let test = if measured { self.source.test(&mut self.engine, In(self.theta))? } else { None };
        self.source.hand_over(t, &mut self.engine)?;
        let (loss, correct) = (self.engine.slot(Scalar::Loss), self.engine.slot(Scalar::Correct));
        self.engine.loss_and_grad(In(self.theta), Out(self.grad), Out(loss), Out(correct))?;
        let loss = self.engine.scalar(Scalar::Loss)?;
        let running = self.engine.running();
        self.engine.backend().copy(In(running), Out(self.running_before))?;
        self.engine.move_running(RUNNING_MOMENTUM)?;
        let found = match self.probe(t, loss) {
            Err(error) => {
                self.engine.backend().copy(In(self.running_before), Out(running))?;
                return Err(error);
            }
            Ok(found) => found,
        };
        // From here on nothing can be interrupted.
        let diverged = !loss.is_finite();
        if last || diverged {
            self.engine.backend().copy(In(self.running_before), Out(running))?;
        } else {
            let Settings { momentum, weight_decay, .. } = self.settings;
            let (theta, grad, velocity) = (Out(self.theta), In(self.grad), self.velocity.map(Out));
            let state = self.engine.state();
            self.engine.backend().sgd(theta, grad, velocity, momentum, weight_decay, In(state))?;
            self.engine.backend().advance(Out(state))?;
        }
        if let (Some((log, _)), Some(found)) = (&mut self.landscapes, &found) {
            log.push(t, found);
        }
        let row = self.row(t, loss, test)?;
        self.metrics.append(&row)?;
        Ok(row)
    }

    fn row(&mut self, t: u64, loss: f64, test: Option<(f64, f64)>) -> Result<Row> {
        let batch = self.settings.batch as u64;
        let correct = self.engine.scalar(Scalar::Correct)?;
        let train_accuracy = match self.engine.network().loss() {
            Loss::CrossEntropy => correct / batch as f64,
            Loss::SquaredError { .. } => f64::NAN,
        };
        let epoch = t * batch / self.source.train_len();
        Ok(Row { step: t, epoch, loss, train_accuracy, test, lr: self.settings.lr, seconds: self.seconds() })
    }

    fn probe(&mut self, t: u64, loss: f64) -> Result<Option<Landscape>> {
        let Some((log, room)) = self.landscapes.as_ref().filter(|_| self.settings.probes_at(t)) else {
            return Ok(None);
        };
        if !loss.is_finite() {
            return Ok(Some(Landscape::unknown(loss, log.s())));
        }
        landscape(&mut self.engine, In(self.theta), In(self.grad), log.s(), *room).map(Some)
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.began.elapsed().as_secs_f64()
    }

    /// Saves what is finished: logs and probes first, so that a checkpoint never knows of steps that they do not.
    fn save(&mut self, diverged: Option<u64>) -> Result<()> {
        self.metrics.sync()?;
        if let Some((log, _)) = &self.landscapes {
            log.write()?;
        }
        let vectors = Vectors { theta: self.theta, velocity: self.velocity };
        let state = State { step: self.step, seconds: self.seconds(), diverged };
        checkpoint::save(&self.folder.checkpoints(), &mut self.engine, vectors, &state, self.settings.keep_checkpoints)
    }
}

/// Refuses to continue a run as another one. What may differ (steps, checkpoints, the data's place) is not looked at.
fn same_run(old: &Record, new: &Record, folder: &RunFolder) -> Result<()> {
    let differs = |what: &str, was: &str, is: &str| {
        Err(Error::file(&folder.record(), format!("the run's {what} is {was}"), format!("it cannot go on with {is}")))
    };
    if old.network.sha256 != new.network.sha256 {
        return differs("network", &old.network.sha256, &new.network.sha256);
    }
    if old.data.sha256 != new.data.sha256 {
        return differs("data", &old.data.sha256, &new.data.sha256);
    }
    if old.program.device != new.program.device {
        return differs("device", &old.program.device, &new.program.device);
    }
    Ok(())
}
