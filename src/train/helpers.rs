//! Devices that no run uses help a run with the points of its lines.
//!
//! A helper is a thread with a device, an engine, the run's data and its lines of its own. At a probed step it gets θ, the running statistics and the
//! step state, makes the step's pass anew while the run's own device does the same, and takes its portion of every line that is due. So nothing need
//! be cut out of the step that the run's device records, and the gradient does not travel. The bits are those of one device: every device does the
//! same work in the same order, on the same card. That each came to the same loss and gradient at θ is checked at each of these steps.
//!
//! A device that is spare at a probed step is opened there, while the run goes on, and helps from the next one on. If it does not open, or has too
//! little memory, it is left out with a message. Once it helps, the run depends on it, and ends with its error if it fails. A helper is never
//! interrupted: what a run's own device was asked for is done, too, before the run looks whether to stop.

use super::probe_entry;
use super::probes::{Due, Work};
use super::settings::Settings;
use super::source::Source;
use super::step_work::StepPass;
use crate::network::{Engine, Scalar, Update};
use crate::ops::backend::Backend;
use crate::probe::portion::{Points, Portion};
use crate::probe::table;
use crate::runtime::memory::Element;
use crate::runtime::state::StepState;
use crate::runtime::storage::Hardware;
use crate::runtime::tensor::{DType, In, Out, View};
use crate::{Error, Result};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// A device that any thread can open.
pub trait Opens: Send + Sync {
    /// Its name, as `--device` takes it.
    fn name(&self) -> String;
    /// Opens it on this thread, and calls [`Serving::serve`].
    fn serve(&self, serving: Serving) -> Result<()>;
}

/// The devices that no run uses, and the number of runs among which they are divided.
pub struct Spare(Mutex<(Vec<Arc<dyn Opens>>, usize)>);

impl Spare {
    /// `devices`, for `runs` runs that go at once.
    pub fn new(devices: Vec<Arc<dyn Opens>>, runs: usize) -> Spare {
        Spare(Mutex::new((devices, runs)))
    }

    /// Adds a device, whose own runs have all ended, for the remaining `runs`.
    pub fn add(&self, device: Option<Arc<dyn Opens>>, runs: usize) {
        let mut there = self.there();
        there.0.extend(device);
        there.1 = runs;
    }

    /// Takes a run's part of the devices that are there, and at most `most`.
    fn take(&self, most: usize) -> Vec<Arc<dyn Opens>> {
        let mut there = self.there();
        let part = there.0.len().div_ceil(there.1.max(1));
        there.0.drain(..part.min(most)).collect()
    }

    fn give_back(&self, device: Arc<dyn Opens>) {
        self.there().0.push(device);
    }

    fn there(&self) -> MutexGuard<'_, (Vec<Arc<dyn Opens>>, usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a helper is asked for: its portion of the lines that are due at a step.
struct Ask {
    step: u64,
    portion: Portion,
    at: Arc<At>,
}

/// What the points of a line depend on, besides the batch.
struct At {
    theta: Vec<f32>,
    running: Vec<f32>,
    state: Vec<u64>,
}

/// What a helper answers.
enum Answer {
    /// It can be asked from now on.
    Ready(Option<Hardware>),
    /// The loss at θ and the length of its gradient, and its portion of each line that is due.
    Found([f64; 2], Vec<Points>),
}

/// A helper's side: the run, and the ends of its channels.
pub struct Serving {
    settings: Settings,
    source: Source,
    asks: Receiver<Ask>,
    answers: Sender<Result<Answer>>,
}

impl Serving {
    /// Answers until nobody asks any more. Errors: not enough memory; the device fails.
    pub fn serve<B: Backend>(self, mut backend: B) -> Result<()> {
        let Serving { settings, mut source, asks, answers } = self;
        if settings.direct_convolution {
            backend.convolve_directly();
        }
        let mut engine = Engine::new(backend, settings.network()?, settings.batch, Arc::default())?;
        let (theta, grad) = (engine.vector()?, engine.vector()?);
        let work = Work::plan(&mut engine, &settings)?;
        let update = Update { velocity: None, momentum: 0.0, weight_decay: 0.0 };
        let pass = |source: &Source, last, probe, portion| StepPass {
            gather: source.resident(),
            theta,
            grad,
            update,
            last,
            probe,
            portion,
        };
        // A pass as a rehearsal: what it needs is loaded and allocated before anyone depends on this device.
        engine.set_state(&StepState::new(settings.seed, 0, settings.lr))?;
        source.hand_over(0, &mut engine)?;
        pass(&source, false, None, Portion::WHOLE).ask(&mut engine)?;
        engine.scalar(Scalar::Loss)?;
        let mut answer = Answer::Ready(engine.observe().hardware());
        while answers.send(Ok(answer)).is_ok() {
            let Ok(Ask { step, portion, at }) = asks.recv() else { break };
            let due = Due::at(&settings, step);
            source.hand_over(step, &mut engine)?;
            let (running, state) = (engine.running(), engine.state());
            engine.backend().upload(&at.theta, Out(theta))?;
            engine.backend().upload(&at.running, Out(running))?;
            engine.backend().upload(&at.state, Out(state))?;
            let pass = pass(&source, step == settings.steps, Some((due, &work)), portion);
            engine.as_graph(pass.key(), |engine| pass.ask(engine))?;
            let found = at_theta(&mut engine)?;
            answer = Answer::Found(found, work.points(&mut engine, due, portion)?);
        }
        Ok(())
    }
}

/// The loss at θ and the length of its gradient, as a line's work has left them.
fn at_theta<B: Backend>(engine: &mut Engine<B>) -> Result<[f64; 2]> {
    Ok([engine.scalar(Scalar::Loss)?, engine.scalar(Scalar::GradNorm)?])
}

/// A device that helps, or is being opened.
struct Helper {
    device: Arc<dyn Opens>,
    asks: Option<Sender<Ask>>,
    answers: Receiver<Result<Answer>>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    fn open(device: Arc<dyn Opens>, settings: Settings, source: Source) -> Result<Helper> {
        let ((asks, asked), (told, answers)) = (channel(), channel());
        let serving = Serving { settings, source, asks: asked, answers: told.clone() };
        let opened = device.clone();
        let work = move || {
            if let Err(error) = opened.serve(serving) {
                // Where nobody listens any more the run has ended.
                let _ = told.send(Err(error));
            }
        };
        let failed = |error: std::io::Error| Error::device(&device.name(), "start its thread", error.to_string());
        let thread = Builder::new().name(device.name()).spawn(work).map_err(failed)?;
        Ok(Helper { device, asks: Some(asks), answers, thread: Some(thread) })
    }

    fn failed(&self, problem: impl Into<String>) -> Error {
        Error::device(&self.device.name(), "take points of a line", problem)
    }

    fn ask(&self, ask: Ask) {
        // If it has ended its error is waiting where the answer is read.
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask);
        }
    }

    fn answer(&self) -> Result<Answer> {
        self.answers.recv().unwrap_or_else(|_| Err(self.failed("its thread has ended")))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.asks = None;
        // It ends once it has done what it was asked for; if it has panicked nothing is left of it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The helpers of a run.
pub(super) struct Helpers {
    spare: Arc<Spare>,
    /// The run's, with the lines as its only probes.
    settings: Settings,
    hardware: Option<Hardware>,
    /// The most helpers among whom a line is worth sharing.
    most: usize,
    ready: Vec<Helper>,
    opening: Vec<Helper>,
    /// How many of those that are ready were asked at the present step.
    asked: usize,
}

impl Helpers {
    /// Helpers for a run on `engine`; `None` if it has no lines, or lines that are not worth sharing: on the CPU, and where the device has the whole
    /// network as one operator, which takes all points at once.
    pub fn new<B: Backend>(spare: Arc<Spare>, settings: &Settings, engine: &mut Engine<B>) -> Option<Helpers> {
        let mut settings = settings.clone();
        settings.probe.retain(|entry| table::is_line(probe_entry::parts(entry).0));
        let most = Portion::most(settings.probe_points) - 1;
        let shares = engine.is_async() && !engine.takes_whole() && engine.observe().dtype() == DType::F32;
        if !shares || settings.probe.is_empty() || most == 0 {
            return None;
        }
        let hardware = engine.observe().hardware();
        Some(Helpers { spare, settings, hardware, most, ready: Vec::new(), opening: Vec::new(), asked: 0 })
    }

    /// Asks each helper for its portion of the lines that are due at `step`, and gives the number of helpers. `engine` is about to take the step.
    /// `warn` gets a message for each device that does not help.
    pub fn ask<B: Backend>(
        &mut self,
        step: u64,
        engine: &mut Engine<B>,
        theta: View,
        source: &Source,
        warn: &mut dyn FnMut(&str),
    ) -> Result<usize> {
        self.asked = 0;
        if Due::at(&self.settings, step).none() {
            return Ok(0);
        }
        self.welcome(warn);
        self.open(step, source, warn);
        if self.ready.is_empty() {
            return Ok(0);
        }
        let (running, state) = (engine.running(), engine.state());
        let at = Arc::new(At {
            theta: fetched(engine, theta, 0.0)?,
            running: fetched(engine, running, 0.0)?,
            state: fetched(engine, state, 0)?,
        });
        self.asked = self.ready.len();
        for (index, helper) in self.ready.iter().enumerate() {
            let portion = Portion { index: 1 + index, of: 1 + self.asked };
            helper.ask(Ask { step, portion, at: at.clone() });
        }
        Ok(self.asked)
    }

    /// What those that were asked have found, in their order. Errors: a helper's device failed; it did not come to the loss and the gradient at θ
    /// that `engine` came to.
    pub fn answers<B: Backend>(&mut self, engine: &mut Engine<B>) -> Result<Vec<Vec<Points>>> {
        let asked = std::mem::take(&mut self.asked);
        let own = if asked > 0 { at_theta(engine)? } else { [0.0; 2] };
        let found = |helper: &Helper| match helper.answer()? {
            Answer::Found(theirs, points) if theirs.map(f64::to_bits) == own.map(f64::to_bits) => Ok(points),
            // Where the loss is not finite nothing is known of the points.
            Answer::Found(theirs, points) if !own[0].is_finite() && !theirs[0].is_finite() => Ok(points),
            Answer::Found(theirs, _) => {
                let what = "its loss and the length of its gradient at the same parameters";
                Err(helper.failed(format!("{what} are {theirs:?}, and those of the run's own device {own:?}")))
            }
            Answer::Ready(_) => Err(helper.failed("it answered what it was not asked")),
        };
        self.ready[..asked].iter().map(found).collect()
    }

    /// Waits for the devices that are being opened. Those that did not open, and other cards, whose bits may differ, are left out.
    fn welcome(&mut self, warn: &mut dyn FnMut(&str)) {
        for helper in self.opening.drain(..) {
            let name = helper.device.name();
            match helper.answer() {
                Ok(Answer::Ready(hardware)) if hardware == self.hardware => self.ready.push(helper),
                Ok(_) => warn(&format!("{name} takes no points of lines: it is another card")),
                Err(error) => warn(&format!("{name} takes no points of lines: {error}")),
            }
        }
    }

    /// Begins to open spare devices, if a line is due at a later step.
    fn open(&mut self, step: u64, source: &Source, warn: &mut dyn FnMut(&str)) {
        let devices = self.spare.take(self.most - self.ready.len());
        if devices.is_empty() {
            return;
        }
        if (step + 1..=self.settings.steps).all(|t| Due::at(&self.settings, t).none()) {
            devices.into_iter().for_each(|device| self.spare.give_back(device));
            return;
        }
        for device in devices {
            match Helper::open(device, self.settings.clone(), source.twin()) {
                Ok(helper) => self.opening.push(helper),
                Err(error) => warn(&error.to_string()),
            }
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        for helper in self.ready.drain(..).chain(self.opening.drain(..)) {
            let device = helper.device.clone();
            drop(helper);
            self.spare.give_back(device);
        }
    }
}

/// The values of a tensor on a device, in its own type. The engine forgets nothing over it, so that recorded work stays valid.
fn fetched<B: Backend, E: Element>(engine: &mut Engine<B>, from: View, zero: E) -> Result<Vec<E>> {
    let mut values = vec![zero; from.shape.len()];
    engine.observe().download(In(from), &mut values)?;
    Ok(values)
}
