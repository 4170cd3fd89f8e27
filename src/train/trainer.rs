//! The training loop: rows, probes, updates, checkpoints, in an order that an interruption cannot spoil.
//!
//! Step t makes its permanent changes (θ, velocity, logs) after its last pass over the network. Only the running statistics must be moved
//! earlier, before the probes overwrite the batch's statistics; they are restored if a probe is interrupted. Interruptions are noticed only
//! inside passes, so they always leave the state of a finished step.

use super::checkpoint::{self, Keep, State, Vectors};
use super::held_folder::{HeldFolder, Start};
use super::helpers::{Helpers, Spare};
use super::metrics::{Metrics, Row};
use super::probes::{Due, Probes, Work};
use super::run_folder::{Record, RunFolder};
use super::settings::Settings;
use super::source::Source;
use super::step_work::{StepPass, StepWork};
use crate::files::disk;
use crate::files::tfevents::EventLog;
use crate::network::{Engine, Loss, Update, initial_parameters};
use crate::ops::backend::Backend;
use crate::ops::step;
use crate::probe::portion::Portion;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most steps that are issued to an asynchronous device before the host looks at their losses; at most this many rows are logged at once.
pub const BURST: u64 = 64;

/// Receives the progress of a run.
pub trait Observer {
    /// The run begins or continues at step `first` of `last`.
    fn begin(&mut self, first: u64, last: u64);
    /// A row was logged.
    fn row(&mut self, row: &Row);
    /// A message that the user should see, but that does not stop the run.
    fn warn(&mut self, message: &str);
}

/// An observer that ignores everything.
pub struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, _: &Row) {}
    fn warn(&mut self, _: &str) {}
}

/// Where a run's files go, and how.
#[derive(Debug)]
pub struct Place<'a> {
    /// The run's folder. A run that is there is continued.
    pub folder: HeldFolder,
    /// The name of the device, for the record.
    pub device: &'a str,
    /// Whether to write TensorBoard events next to the logs.
    pub tensorboard: bool,
}

impl<'a> Place<'a> {
    /// Takes a folder for a run on `device`, without TensorBoard events. Errors: those of [`HeldFolder::take`].
    pub fn take(root: &Path, start: Start, device: &'a str) -> Result<Place<'a>> {
        Ok(Place { folder: HeldFolder::take(root, start)?, device, tensorboard: false })
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The last row.
    pub last: Option<Row>,
    /// The step whose loss was not finite, and that loss.
    pub diverged: Option<(u64, f64)>,
}

/// What a checkpoint says about the run's end. After the last update the step number is already the last one, but its row is still missing.
#[derive(Debug, Clone, Copy)]
enum End {
    /// More rows follow.
    NotYet,
    /// The last step's row was logged.
    LastRow,
    /// The row of this step was logged, and its loss is not finite.
    Diverged(u64),
}

/// A run in progress.
pub struct Trainer<B> {
    settings: Settings,
    engine: Engine<B>,
    source: Source,
    folder: RunFolder,
    metrics: Metrics,
    probes: Probes<B>,
    events: Option<EventLog>,
    theta: View,
    grad: View,
    velocity: Option<View>,
    /// The running statistics from before the step's batch moved them.
    running_before: View,
    /// Loss and number of right answers of the last steps, f64 `[BURST, 2]`.
    journal: View,
    /// Devices that take points of the run's lines.
    helpers: Option<Helpers>,
    stop: Arc<AtomicBool>,
    step: u64,
    began: Instant,
    /// The longest time between two saves, if there is a limit.
    save_within: Option<Duration>,
    /// When the run was last saved, or began.
    saved: Instant,
    seconds_before: f64,
    _held: HeldFolder,
}

impl<B: Backend> Trainer<B> {
    /// Starts a run, or continues an earlier part of it. `settings` must be resolved.
    ///
    /// Errors: the folder holds another run; there is no valid checkpoint; not enough memory; a bad setting.
    pub fn open(
        mut backend: B,
        settings: Settings,
        source: Source,
        place: Place<'_>,
        stop: Arc<AtomicBool>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let network = settings.network()?;
        if settings.direct_convolution {
            backend.convolve_directly();
        }
        let mut engine = Engine::new(backend, network, settings.batch, stop.clone())?;
        let (theta, grad) = (engine.vector()?, engine.vector()?);
        let velocity = (settings.momentum > 0.0).then(|| engine.vector()).transpose()?;
        if let Some(velocity) = velocity {
            // Where memory is watched it starts as NaN.
            engine.backend().upload_f32(&vec![0.0; velocity.shape.len()], Out(velocity))?;
        }
        let running_before = engine.running_vector()?;
        engine.plan_updates()?;
        let probed = Work::plan(&mut engine, &settings)?;
        let mut plan = engine.backend().plan();
        let journal = plan.view(Shape::new([BURST as usize, step::COLUMNS]), DType::F64);
        engine.backend().commit(&plan)?;
        let start = initial_parameters(engine.network(), settings.seed);
        engine.backend().upload_f32(&start, Out(theta))?;
        drop(start);

        let Place { folder: mut held, device, tensorboard } = place;
        let resume = held.record().is_some();
        let hardware = engine.observe().hardware();
        let mut record = Record::new(&settings, engine.network(), source.describe(), device).on(hardware);
        if let Some(old) = held.record() {
            record.check_same(old, held.root())?;
            if let Some(other_card) = record.continues(old) {
                observer.warn(&other_card);
            }
        }
        let folder = held.begin(&record)?;
        folder.remove_partials()?;
        let mut state = State { step: 0, diverged: None, ended: false };
        if resume {
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
        // All logs are read before one is cut.
        let probes = Probes::open(probed, &folder, &settings, state.step, resume)?;
        let reopen = state.step > 0 || (resume && disk::exists(&folder.metrics()));
        let (metrics, seconds_before) = match reopen {
            true => Metrics::reopen(&folder.metrics(), state.step)?,
            false => (Metrics::create(&folder.metrics())?, 0.0),
        };
        let events = tensorboard.then(|| EventLog::create(folder.root(), state.step)).transpose()?;
        Ok(Trainer {
            settings,
            engine,
            source,
            folder,
            metrics,
            probes,
            events,
            theta,
            grad,
            velocity,
            running_before,
            journal,
            helpers: None,
            stop,
            step: state.step,
            began: Instant::now(),
            save_within: None,
            saved: Instant::now(),
            seconds_before,
            _held: held,
        })
    }

    /// Also save whenever this much time has passed since the last save, so that a kill costs no more. This is not a setting of the run,
    /// because it does not affect the results. Checkpoints saved only for this reason are removed when the run ends.
    pub fn saving_within(mut self, time: Option<Duration>) -> Self {
        self.save_within = time;
        self
    }

    /// Also has devices of `spare` take points of the run's lines: see [`super::helpers`]. This changes no bit of the results.
    pub fn helped_by(mut self, spare: Arc<Spare>) -> Self {
        self.helpers = Helpers::new(spare, &self.settings, &mut self.engine);
        self
    }

    /// Runs to the end. On an interruption, the finished steps are saved first. After any other error, the last checkpoint remains.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Finished> {
        observer.begin(self.step, self.settings.steps);
        let ended = self.steps(observer);
        match ended {
            Ok(finished) => Ok(finished),
            Err(Error::Interrupted) => {
                self.save(End::NotYet)?;
                Err(Error::Interrupted)
            }
            Err(error) => Err(error),
        }
    }

    fn steps(&mut self, observer: &mut dyn Observer) -> Result<Finished> {
        // Written once: from here on the device advances it.
        self.engine.set_state(&StepState::new(self.settings.seed, self.step, self.settings.lr))?;
        loop {
            let rows = self.burst(observer)?;
            let Some(row) = rows.last().copied() else { return Err(Error::Interrupted) };
            if !row.loss.is_finite() {
                self.save(End::Diverged(row.step))?;
                return Ok(Finished { last: Some(row), diverged: Some((row.step, row.loss)) });
            }
            if row.step == self.settings.steps {
                self.save(End::LastRow)?;
                return Ok(Finished { last: Some(row), diverged: None });
            }
            let asked = self.settings.checkpoint_every.is_some_and(|every| self.step.is_multiple_of(every));
            let late = self.save_within.is_some_and(|time| self.saved.elapsed() >= time);
            if (asked || late) && self.step < self.settings.steps {
                self.save(End::NotYet)?;
            }
        }
    }

    /// Whether the test set is measured at step `t`.
    fn tests_at(&self, t: u64) -> bool {
        let last = t == self.settings.steps;
        self.settings.eval_every.is_some_and(|every| t.is_multiple_of(every) || last)
    }

    /// The number of steps, from the current one, that can be issued before the host must look. It is 1, except on an asynchronous device.
    /// A burst ends before a test, and with a step that has a probe, a checkpoint or the run's end.
    fn burst_length(&mut self) -> u64 {
        if !self.engine.is_async() {
            return 1;
        }
        let first = self.step;
        let ends = |t: u64| {
            t == self.settings.steps
                || self.settings.probes_at(t)
                || self.tests_at(t + 1)
                || self.settings.checkpoint_every.is_some_and(|every| (t + 1).is_multiple_of(every))
        };
        (0..BURST).find(|&i| ends(first + i)).map_or(BURST, |i| i + 1)
    }

    /// Issues some steps, then logs their rows. An interruption leaves the state after the finished steps.
    fn burst(&mut self, observer: &mut dyn Observer) -> Result<Vec<Row>> {
        let first = self.step;
        // The test comes first: the batch's statistics, which the running ones need, must survive until they are moved.
        let test = if self.tests_at(first) { self.source.test(&mut self.engine, In(self.theta))? } else { None };
        let (mut asked, mut ended) = (0, Ok(()));
        for t in first..first + self.burst_length() {
            ended = if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { self.ask(t, observer) };
            if ended.is_err() {
                break;
            }
            asked += 1;
        }
        let rows = match (self.collect(first, asked, test), &ended) {
            (Ok(rows), _) => rows,
            // A device that failed at a step does not give what earlier ones came to either: what it failed of first is told.
            (Err(_), Err(first)) if !matches!(first, Error::Interrupted) => return ended.map(|()| Vec::new()),
            (Err(later), _) => return Err(later),
        };
        rows.iter().for_each(|row| observer.row(row));
        match (ended, rows.last()) {
            // What diverged is told first: the interruption changes nothing of it.
            (Err(error), last) if last.is_none_or(|row| row.loss.is_finite()) => Err(error),
            _ => Ok(rows),
        }
    }

    /// Issues step t to the device: loss and gradient, probes, update. Its results stay on the device.
    fn ask(&mut self, t: u64, observer: &mut dyn Observer) -> Result<()> {
        let (last, due) = (t == self.settings.steps, Due::at(&self.settings, t));
        self.source.hand_over(t, &mut self.engine)?;
        let helped = match &mut self.helpers {
            Some(helpers) => {
                let mut warn = |text: &str| observer.warn(text);
                helpers.ask(t, &mut self.engine, self.theta, &self.source, &mut warn)?
            }
            None => 0,
        };
        let Settings { momentum, weight_decay, .. } = self.settings;
        let pass = StepPass {
            gather: self.source.resident(),
            theta: self.theta,
            grad: self.grad,
            update: Update { velocity: self.velocity, momentum, weight_decay },
            last,
            probe: (!due.none()).then(|| (due, self.probes.work())),
            portion: Portion::own(helped),
        };
        let work = StepWork { pass, running_before: self.running_before, journal: self.journal };
        self.engine.keep_running(self.running_before)?;
        let made = self.engine.as_graph(work.pass.key(), |engine| work.ask(engine));
        if made.is_err() {
            // Where the device has failed this fails too; what it failed of is told.
            let _ = self.engine.restore_running(self.running_before);
        }
        made
    }

    /// Reads and logs the results of `asked` steps, from `first` on, up to the first whose loss is not finite.
    fn collect(&mut self, first: u64, asked: u64, test: Option<(f64, f64)>) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(asked as usize);
        if asked == 0 {
            return Ok(rows);
        }
        let journal = self.engine.read(self.journal)?;
        for t in first..first + asked {
            let at = (t % BURST) as usize * step::COLUMNS;
            let (loss, correct) = (journal[at], journal[at + 1]);
            let due = Due::at(&self.settings, t);
            if !due.none() {
                let others = match &mut self.helpers {
                    Some(helpers) => helpers.answers(&mut self.engine)?,
                    None => Vec::new(),
                };
                self.probes.read(&mut self.engine, due, t, loss, others)?;
            }
            let row = self.row(t, loss, correct, test.filter(|_| t == first));
            self.metrics.append(&row)?;
            self.tell(&row, !due.none())?;
            rows.push(row);
            if !loss.is_finite() {
                return Ok(rows);
            }
            self.step = if t == self.settings.steps { t } else { t + 1 };
        }
        Ok(rows)
    }

    /// Writes a row, and what the probes found at its step, to TensorBoard's log if there is one.
    fn tell(&mut self, row: &Row, probed: bool) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        let of_row = [
            ("train/loss", Some(row.loss)),
            // In a row NaN says that nothing is right or wrong.
            ("train/accuracy", Some(row.train_accuracy).filter(|accuracy| !accuracy.is_nan())),
            ("test/loss", row.test.map(|(loss, _)| loss)),
            ("test/accuracy", row.test.map(|(_, accuracy)| accuracy)),
        ];
        events.scalars(row.step, of_row)?;
        if probed {
            events.scalars(row.step, self.probes.last().iter().map(|(name, value)| (name.as_str(), *value)))?;
        }
        // Often enough to be looked on at, seldom enough to cost nothing.
        if probed || row.test.is_some() || row.step.is_multiple_of(BURST) { events.flush() } else { Ok(()) }
    }

    fn row(&self, t: u64, loss: f64, correct: f64, test: Option<(f64, f64)>) -> Row {
        let batch = self.settings.batch as u64;
        let train_accuracy = match self.engine.network().loss() {
            Loss::CrossEntropy => correct / batch as f64,
            Loss::SquaredError(_) => f64::NAN,
        };
        let epoch = t * batch / self.source.train_len();
        Row { step: t, epoch, loss, train_accuracy, test, lr: self.settings.lr, seconds: self.seconds() }
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.began.elapsed().as_secs_f64()
    }

    /// Saves what is finished. Logs and probes come first, so that a checkpoint never refers to steps that they lack.
    fn save(&mut self, end: End) -> Result<()> {
        self.metrics.sync()?;
        self.probes.write()?;
        self.events.as_mut().map_or(Ok(()), EventLog::flush)?;
        let vectors = Vectors { theta: self.theta, velocity: self.velocity };
        let (diverged, ended) = match end {
            End::NotYet => (None, false),
            End::LastRow => (None, true),
            End::Diverged(step) => (Some(step), true),
        };
        let state = State { step: self.step, diverged, ended };
        let keep = Keep { asked_for: self.settings.checkpoint_every, most: self.settings.keep_checkpoints };
        checkpoint::save(&self.folder.checkpoints(), &mut self.engine, vectors, &state, keep)?;
        self.saved = Instant::now();
        Ok(())
    }
}
