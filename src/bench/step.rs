//! A training step for benchmarks: forward, backward, running statistics, update. It runs on random data, never on zeros.

use crate::Result;
use crate::network::{Engine, Network, Scalar, Update, initial_parameters};
use crate::ops::backend::Backend;
use crate::probe::activations::{self, Look};
use crate::probe::ics;
use crate::probe::line::{self, Along, Workspace};
use crate::probe::units;
use crate::runtime::rng::{Purpose, normal, word};
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out, View};
use std::sync::Arc;

/// A network with its parameters, a batch and its vectors in place.
pub struct Bench<B> {
    /// The engine.
    pub engine: Engine<B>,
    theta: View,
    grad: View,
    room: Workspace,
    shift: Option<ics::Workspace>,
    distributions: activations::Workspace,
}

/// Units per layer whose distributions are measured, where a layer has that many.
const UNITS: usize = 2;
/// The paper's update.
const PLAIN: Update = Update { velocity: None, momentum: 0.0, weight_decay: 0.0 };

impl<B: Backend> Bench<B> {
    /// `network` at its initial parameters, with a batch of `n`. Probes take `points` steps.
    pub fn new(backend: B, network: Network, n: usize, rate: f64, points: usize) -> Result<Self> {
        let start = initial_parameters(&network, 1);
        let mut engine = Engine::new(backend, network, n, Arc::default())?;
        let (theta, grad) = (engine.vector()?, engine.vector()?);
        engine.backend().upload_f32(&start, Out(theta))?;
        let len = engine.network().input(n).len();
        let x: Vec<f32> = (0..len).map(|i| normal(word(1, Purpose::Data, 0, 0, i as u64))).collect();
        if len == n * 3 * 32 * 32 {
            let labels: Vec<u32> = (0..n as u32).map(|i| i % 10).collect();
            engine.set_labelled(&x, &labels)?;
        } else {
            let target: Vec<f32> = x.iter().rev().copied().collect();
            engine.set_target(&x, &target)?;
        }
        engine.set_state(&StepState::new(1, 0, rate))?;
        engine.plan_updates()?;
        let s: Vec<_> = (1..=points).map(|i| rate * i as f64).collect();
        let room = Workspace::new(&mut engine, &s, Along::Gradient)?;
        let layers = units::default_layers(engine.network());
        // The thinnest networks have layers of one unit.
        let choose = |count| units::choose(engine.network(), &layers, count, 1);
        let chosen = choose(UNITS).or_else(|_| choose(1))?;
        let look = Look { chosen, pre_norm: false, range: [-4.0, 4.0], bins: 64 };
        let distributions = activations::Workspace::new(&mut engine, look)?;
        // A network of one layer has none.
        let shift = ics::Workspace::new(&mut engine, false).ok();
        Ok(Bench { engine, theta, grad, room, shift, distributions })
    }

    /// Number of layers whose covariate shift [`Bench::shift`] measures.
    pub fn layers(&self) -> usize {
        self.shift.as_ref().map_or(0, |room| room.layers().len())
    }

    /// Number of units whose distributions [`Bench::distributions`] finds.
    pub fn units(&self) -> usize {
        self.distributions.look().chosen.iter().map(|(_, units)| units.len()).sum()
    }

    /// Makes one forward and backward pass, as one graph.
    pub fn pass(&mut self) -> Result<()> {
        let (theta, grad) = (self.theta, self.grad);
        self.engine.as_graph(0, |engine| {
            let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
            engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct))
        })
    }

    /// Measures the internal covariate shift of every layer, as one graph. It uses the gradient of the last [`Bench::pass`].
    pub fn shift(&mut self) -> Result<()> {
        let (theta, grad, room) = (self.theta, self.grad, self.shift.clone());
        let Some(room) = room else { return Ok(()) };
        self.engine.as_graph(3, |engine| ics::ask(engine, In(theta), In(grad), PLAIN, &room))
    }

    /// Histograms and moments of some units of each layer but the last, as one graph. They describe the last pass's activations.
    pub fn distributions(&mut self) -> Result<()> {
        let (theta, room) = (self.theta, self.distributions.clone());
        self.engine.as_graph(4, |engine| activations::ask(engine, In(theta), &room))
    }

    /// Makes one training step, as one graph.
    pub fn step(&mut self) -> Result<()> {
        let (theta, grad) = (self.theta, self.grad);
        self.engine.as_graph(1, |engine| {
            let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
            if engine.whole_step(Out(theta), Out(grad), [Out(loss), Out(correct)], 0.1, PLAIN)? {
                return Ok(());
            }
            engine.loss_and_update(Out(theta), Out(grad), [Out(loss), Out(correct)], false, PLAIN)?;
            engine.move_running(0.1)?;
            engine.update(Out(theta), In(grad), PLAIN)
        })
    }

    /// Probes the landscape once, as one graph. It uses the gradient of the last [`Bench::pass`].
    pub fn probe(&mut self) -> Result<()> {
        let (theta, grad, room) = (self.theta, self.grad, self.room);
        self.engine.as_graph(2, |engine| line::ask(engine, In(theta), In(grad), room))
    }
}
