//! A network on a backend: all memory planned once (`plan`, `allocate`), and two visible loops, forward and backward (`passes`); how their
//! results move with θ (`tangents`), for Hessian-vector products; weights that are made of other parameters (`effective`, `weights`); what enters a
//! layer's non-linearity (`activations`); and engines beside it that evaluate other θ at the same time (`companions`).

mod activations;
mod allocate;
mod companions;
mod effective;
mod passes;
mod plan;
mod tangents;
mod weights;

use super::chain::Network;
use crate::ops::backend::Backend;
use crate::ops::deep_linear::Chain;
use crate::ops::gather::ImageBytes;
use crate::runtime::state::StepState;
use crate::runtime::storage::Graph;
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};
pub use activations::Unactivated;
use effective::Effective;
use plan::Planned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
pub use tangents::{Linearised, Tangents};

/// Scalar slots on the device (f64). The host reads them when it wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Scalar {
    /// L(θ) of the step's batch.
    Loss,
    /// Right answers in the step's batch.
    Correct,
    /// ‖g‖
    GradNorm,
    /// ‖d‖ of a random direction.
    DirectionNorm,
    /// L of a pass that is made for its gradient alone.
    Aside,
    /// Right answers of it.
    AsideCorrect,
    /// The loss of a test batch.
    TestLoss,
    /// Right answers in a test batch.
    TestCorrect,
}

/// Number of scalar slots.
const SCALARS: usize = 16;

/// Rows of [`Engine::vectors`] are a multiple of so many elements long.
const ROW: usize = 64;

/// A network, a batch size and a backend, with every tensor in its place.
pub struct Engine<B> {
    backend: B,
    network: Network,
    batch: usize,
    planned: Vec<Planned>,
    workspace: View,
    /// Gradients of activations: a layer reads one and writes the other.
    gradients: [View; 2],
    input: View,
    /// Labels, or the target.
    answer: View,
    samples: View,
    scalars: View,
    state: View,
    running: View,
    /// What the norms keep of a batch, with the slots of the running statistics; and what moves these by it.
    statistics: View,
    factors: View,
    /// θ of the present pass as operands of matrix products, where the backend holds those in another type.
    operands: Option<View>,
    /// Weights that are made for a pass, under weight normalisation.
    effective: Option<Effective>,
    /// The vector whose rounding `operands` holds for certain, but for weights that are made: nobody else has had the backend since.
    rounded: Option<View>,
    graphs: Vec<Recorded>,
    /// The whole network as one operator, where the backend has that.
    whole: Option<Whole>,
    /// Bytes that were planned for it, vectors aside; and engines that work beside it.
    planned_bytes: usize,
    companions: Vec<Companion<B>>,
    stop: Arc<AtomicBool>,
}

/// The whole network as one operator.
#[derive(Debug, Clone, Copy)]
struct Whole {
    chain: Chain,
    /// What the backend keeps of a batch, and works in.
    room: View,
    /// The batch is prepared.
    prepared: bool,
    /// The last pass has left what prediction and losses of samples are made of, and not them.
    unmade: bool,
}

/// Work that was asked for as a graph: it is the same only where `rounded` is the same at its beginning.
struct Recorded {
    key: u64,
    before: Option<View>,
    after: Option<View>,
}

/// An engine beside another, with a place for a θ and its gradient.
struct Companion<B> {
    engine: Engine<B>,
    theta: View,
    grad: View,
}

impl<B: Backend> Engine<B> {
    /// A new flat vector with the network's slots, zero: θ, a gradient, a velocity, a point of a probe.
    pub fn vector(&mut self) -> Result<View> {
        let mut plan = self.backend.plan();
        let view = plan.view(Shape::new([self.network.slots().len()]), self.backend.dtype());
        self.backend.commit(&plan)?;
        Ok(view)
    }

    /// `count` new vectors as the rows of a matrix, zero; each begins where a vector of its own might, so that rows are longer than it.
    pub fn vectors(&mut self, count: usize) -> Result<View> {
        let mut plan = self.backend.plan();
        let stride = self.network.slots().len().next_multiple_of(ROW);
        let view = plan.view(Shape::new([count, stride]), self.backend.dtype());
        self.backend.commit(&plan)?;
        Ok(view)
    }

    /// A new flat vector like the running statistics, zero.
    pub fn running_vector(&mut self) -> Result<View> {
        let mut plan = self.backend.plan();
        let view = plan.view(self.running.shape, self.backend.dtype());
        self.backend.commit(&plan)?;
        Ok(view)
    }

    /// The backend, for operations on vectors and slots. What the caller writes with it the engine cannot know.
    pub fn backend(&mut self) -> &mut B {
        self.rounded = None;
        &mut self.backend
    }

    /// The backend, for what writes to no tensor: marks, waiting, sizes. Unlike [`Engine::backend`] this makes the engine forget nothing,
    /// and so work that is recorded stays the same.
    pub fn observe(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Whether a pass takes the network as one operator: then the layers one by one round elsewhere.
    pub fn takes_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Takes the layers one by one from now on, whatever the backend has: what all else is held against.
    pub fn take_layers(&mut self) {
        self.whole = None;
    }

    /// See [`crate::runtime::storage::Storage::is_async`].
    pub fn is_async(&self) -> bool {
        self.backend.is_async()
    }

    /// The values of any tensor, widened.
    pub fn read(&mut self, view: View) -> Result<Vec<f64>> {
        self.backend.download_f64(In(view))
    }

    /// Copies the running statistics to `to`, which [`Engine::running_vector`] made.
    pub fn keep_running(&mut self, to: View) -> Result<()> {
        self.backend.copy(In(self.running), Out(to))
    }

    /// Puts back what [`Engine::keep_running`] kept.
    pub fn restore_running(&mut self, from: View) -> Result<()> {
        self.backend.copy(In(from), Out(self.running))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Samples per batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// A scalar slot.
    pub fn slot(&self, scalar: Scalar) -> View {
        self.scalars.slice(scalar as usize, Shape::new([1]))
    }

    /// The value of a scalar slot.
    pub fn scalar(&mut self, scalar: Scalar) -> Result<f64> {
        let slot = self.slot(scalar);
        self.backend.scalar(In(slot))
    }

    /// The step state's buffer.
    pub fn state(&self) -> View {
        self.state
    }

    /// The running statistics, a flat vector with the slots of [`Network::running`].
    pub fn running(&self) -> View {
        self.running
    }

    /// The output of the last layer of the last pass: logits, or the network's prediction. It is made now, where the pass has not.
    pub fn output(&mut self) -> Result<View> {
        self.make_kept()?;
        Ok(self.prediction())
    }

    /// Losses of the single samples of the last pass, f64 `[N]`; made now, where the pass has not.
    pub fn samples(&mut self) -> Result<View> {
        self.make_kept()?;
        Ok(self.samples)
    }

    /// The output of the last layer.
    fn prediction(&self) -> View {
        self.planned.last().map_or(self.input, |p| p.y)
    }

    /// Another batch is set.
    fn renew(&mut self) {
        if let Some(whole) = &mut self.whole {
            (whole.prepared, whole.unmade) = (false, false);
        }
    }

    /// Running statistics at their start: mean 0, spread 1.
    pub fn reset_running(&mut self) -> Result<()> {
        let mut start = vec![0.0f32; self.network.running().len()];
        for slot in self.network.running().iter().filter(|s| s.name.ends_with("var")) {
            start[slot.start..slot.start + slot.shape.len()].fill(1.0);
        }
        self.backend.upload_f32(&start, Out(self.running))
    }

    /// Writes the batch: `x` in `[H, W, N, C]` order, and the labels that the cross-entropy wants.
    pub fn set_labelled(&mut self, x: &[f32], labels: &[u32]) -> Result<()> {
        self.renew();
        self.backend.upload_f32(x, Out(self.input))?;
        self.backend.upload(labels, Out(self.answer))
    }

    /// Writes the batch: `x` in `[H, W, N, C]` order, and the target `[N, D]` that the squared error wants.
    pub fn set_target(&mut self, x: &[f32], target: &[f32]) -> Result<()> {
        self.renew();
        self.backend.upload_f32(x, Out(self.input))?;
        self.backend.upload_f32(target, Out(self.answer))
    }

    /// Writes the batch from f64 values, for the reference precision.
    pub fn set_batch_f64(&mut self, x: &[f64], target: Option<&[f64]>, labels: Option<&[u32]>) -> Result<()> {
        self.renew();
        self.backend.upload_f64(x, Out(self.input))?;
        if let Some(target) = target {
            self.backend.upload_f64(target, Out(self.answer))?;
        }
        if let Some(labels) = labels {
            self.backend.upload(labels, Out(self.answer))?;
        }
        Ok(())
    }

    /// Gathers the batch of the step state's step from a set of images on the device.
    pub fn gather(&mut self, set: ImageBytes, augment: bool) -> Result<()> {
        self.backend.gather(set, augment, In(self.state), Out(self.input), Out(self.answer))
    }

    /// Writes the step state.
    pub fn set_state(&mut self, state: &StepState) -> Result<()> {
        self.backend.set_state(state, Out(self.state))
    }

    /// The update of [`crate::ops::sgd`] by the step state's learning rate; θ's rounding for the next pass comes with it.
    pub fn update(
        &mut self,
        theta: Out,
        grad: In,
        velocity: Option<Out>,
        momentum: f64,
        weight_decay: f64,
    ) -> Result<()> {
        let state = In(self.state);
        self.rounded = None;
        let Some(operands) = self.operands else {
            return self.backend.sgd(theta, grad, velocity, momentum, weight_decay, state);
        };
        self.backend.sgd_recast(theta, grad, velocity, Out(operands), momentum, weight_decay, state)?;
        self.rounded = Some(theta.0);
        Ok(())
    }

    /// Asks for `work`, which is the same each time that `key` is given: a device may record and replay it as one.
    pub fn as_graph(&mut self, key: u64, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.check_interrupted()?;
        let before = self.rounded;
        let known = self.graphs.iter().position(|graph| graph.key == key && graph.before == before);
        let place = known.unwrap_or_else(|| {
            self.graphs.push(Recorded { key, before, after: None });
            self.graphs.len() - 1
        });
        if self.backend.begin_graph(place as u64)? == Graph::Replayed {
            self.rounded = self.graphs[place].after;
            return Ok(());
        }
        let made = work(self);
        if made.is_err() {
            self.rounded = None;
        }
        self.graphs[place].after = self.rounded;
        let ended = self.backend.end_graph(place as u64, made.is_ok());
        made.and(ended)
    }

    /// Puts each value of the batch in the place of the one before: another batch.
    #[cfg(feature = "mutants")]
    pub fn turn_batch(&mut self) -> Result<()> {
        self.renew();
        let mut values = self.read(self.input)?;
        values.rotate_left(1);
        self.backend.upload_f64(&values, Out(self.input))
    }

    fn check_interrupted(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
