//! A network on a backend. All memory is planned once (`plan`, `allocate`), and there are two explicit loops, forward and backward (`passes`). Other
//! files have the tangents of their results, for Hessian-vector products (`tangents`); weights that are made of other parameters (`effective`,
//! `weights`); the update of θ (`update`); the input of a layer's non-linearity (`activations`); and companion engines that evaluate other θ at the same
//! time (`companions`).

mod activations;
mod allocate;
mod companions;
mod effective;
mod passes;
mod plan;
mod tangents;
mod update;
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
pub use update::Update;

/// Scalar slots on the device (f64). The host reads them when it needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Scalar {
    /// L(θ) of the step's batch.
    Loss,
    /// The number of right answers in the step's batch.
    Correct,
    /// ‖g‖
    GradNorm,
    /// ‖d‖ of a random direction.
    DirectionNorm,
    /// L of a pass that is run for its gradient alone.
    Aside,
    /// The number of right answers in such a pass.
    AsideCorrect,
    /// The loss of a test batch.
    TestLoss,
    /// The number of right answers in a test batch.
    TestCorrect,
}

/// The number of scalar slots.
const SCALARS: usize = 16;

/// The length of a row of [`Engine::vectors`] is a multiple of this many elements.
const ROW: usize = 64;

/// A network, a batch size and a backend, with every tensor in its place.
pub struct Engine<B> {
    backend: B,
    network: Network,
    batch: usize,
    planned: Vec<Planned>,
    workspace: View,
    /// Gradients of activations: each layer reads one and writes the other.
    gradients: [View; 2],
    input: View,
    /// The labels, or the target.
    answer: View,
    samples: View,
    scalars: View,
    state: View,
    running: View,
    /// The statistics that the norms save of a batch, with the slots of the running statistics; and the factors with which they update the running
    /// ones.
    statistics: View,
    factors: View,
    /// θ of the present pass as operands of matrix products, if the backend holds those in another type.
    operands: Option<View>,
    /// What updates of weights beside their gradients need, if they are planned.
    beside: Option<Beside>,
    /// The weights that are made for a pass, under weight normalisation.
    effective: Option<Effective>,
    /// The vector whose rounding `operands` is known to hold, except for weights that are made; nobody else has used the backend since.
    rounded: Option<View>,
    graphs: Vec<Recorded>,
    /// The whole network as one operator, if the backend has it.
    whole: Option<Whole>,
    /// The number of bytes planned for the engine, without vectors; and the companion engines.
    planned_bytes: usize,
    companions: Vec<Companion<B>>,
    stop: Arc<AtomicBool>,
}

/// The whole network as one operator.
#[derive(Debug, Clone, Copy)]
struct Whole {
    chain: Chain,
    /// The backend's workspace, which also holds what it computes from a batch.
    room: View,
    /// Whether the batch is prepared.
    prepared: bool,
    /// Whether the prediction and the sample losses of the last pass still have to be computed from what it left.
    unmade: bool,
}

/// What updates of weights beside their gradients need ([`Engine::plan_updates`]).
#[derive(Debug, Clone, Copy)]
struct Beside {
    /// Where they leave the next pass's operands.
    next: View,
    /// The pieces of θ that are left to [`Engine::update`], u32 `[P, 2]`.
    pieces: View,
    /// Whether the last pass has made its updates, and the rest is to follow.
    begun: bool,
}

/// Work that was asked for as a graph. The recording is valid only if the operands are the same at its beginning, and hold the same.
struct Recorded {
    key: u64,
    before: Operands,
    after: Standing,
}

/// Where the operands are, and the vector that they were made of.
type Operands = [Option<View>; 2];

/// What the engine notes of the work that it has done.
#[derive(Debug, Clone, Copy)]
struct Standing {
    operands: Operands,
    /// Whether the prediction of a chain that ran as a whole still has to be computed.
    unmade: bool,
}

/// An engine that works beside another, with a place for a θ and its gradient.
struct Companion<B> {
    engine: Engine<B>,
    theta: View,
    grad: View,
}

impl<B: Backend> Engine<B> {
    /// A new flat vector with the network's slots, filled with zeros: for θ, a gradient, a velocity, or a point of a probe.
    pub fn vector(&mut self) -> Result<View> {
        let mut plan = self.backend.plan();
        let view = plan.view(Shape::new([self.network.slots().len()]), self.backend.dtype());
        self.backend.commit(&plan)?;
        Ok(view)
    }

    /// `count` new vectors as the rows of a matrix, filled with zeros. Each row begins where a separate vector could, so rows are longer than the
    /// vectors.
    pub fn vectors(&mut self, count: usize) -> Result<View> {
        let mut plan = self.backend.plan();
        let stride = self.network.slots().len().next_multiple_of(ROW);
        let view = plan.view(Shape::new([count, stride]), self.backend.dtype());
        self.backend.commit(&plan)?;
        Ok(view)
    }

    /// A new flat vector like the running statistics, filled with zeros.
    pub fn running_vector(&mut self) -> Result<View> {
        let mut plan = self.backend.plan();
        let view = plan.view(self.running.shape, self.backend.dtype());
        self.backend.commit(&plan)?;
        Ok(view)
    }

    /// The backend, for operations on vectors and slots. The engine cannot know what the caller writes with it.
    pub fn backend(&mut self) -> &mut B {
        self.rounded = None;
        &mut self.backend
    }

    /// The backend, for operations that write to no tensor: marks, waiting, sizes. Unlike after [`Engine::backend`], the engine forgets nothing, so
    /// recorded work stays valid.
    pub fn observe(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Whether a pass runs the network as one operator; the layers one by one would then round differently.
    pub fn takes_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// From now on, runs the layers one by one, whatever the backend has. Everything else is checked against this.
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

    /// Restores what [`Engine::keep_running`] copied.
    pub fn restore_running(&mut self, from: View) -> Result<()> {
        self.backend.copy(In(from), Out(self.running))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The number of samples in a batch.
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

    /// The output of the last layer in the last pass: logits, or the network's prediction. It is computed now if the pass has not done so.
    pub fn output(&mut self) -> Result<View> {
        self.make_kept()?;
        Ok(self.prediction())
    }

    /// The losses of the single samples in the last pass, f64 `[N]`; computed now if the pass has not done so.
    pub fn samples(&mut self) -> Result<View> {
        self.make_kept()?;
        Ok(self.samples)
    }

    /// The output of the last layer.
    fn prediction(&self) -> View {
        self.planned.last().map_or(self.input, |p| p.y)
    }

    /// Notes that another batch has been set.
    fn renew(&mut self) {
        if let Some(whole) = &mut self.whole {
            (whole.prepared, whole.unmade) = (false, false);
        }
    }

    /// Resets the running statistics to their start: mean 0, spread 1.
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

    /// Gathers the batch of the step in the step state, from a set of images on the device.
    pub fn gather(&mut self, set: ImageBytes, augment: bool) -> Result<()> {
        self.backend.gather(set, augment, In(self.state), Out(self.input), Out(self.answer))
    }

    /// Writes the step state.
    pub fn set_state(&mut self, state: &StepState) -> Result<()> {
        self.backend.set_state(state, Out(self.state))
    }

    /// Does `work`, which must be the same each time that `key` is given; a device may record and replay it as a whole. `work` begins with a pass: it
    /// does not ask for what the pass before it has left.
    pub fn as_graph(&mut self, key: u64, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.check_interrupted()?;
        // A batch is prepared outside of the graph: a replay would not do it.
        self.whole_batch()?;
        let before = [self.operands, self.rounded];
        let known = self.graphs.iter().position(|graph| graph.key == key && graph.before == before);
        let place = known.unwrap_or_else(|| {
            self.graphs.push(Recorded { key, before, after: self.standing() });
            self.graphs.len() - 1
        });
        if self.backend.begin_graph(place as u64)? == Graph::Replayed {
            let after = self.graphs[place].after;
            self.stand(after.operands);
            self.leave_unmade(after.unmade);
            return Ok(());
        }
        let made = work(self);
        if made.is_err() {
            self.rounded = None;
        }
        self.graphs[place].after = self.standing();
        let ended = self.backend.end_graph(place as u64, made.is_ok());
        made.and(ended)
    }

    fn standing(&self) -> Standing {
        Standing { operands: [self.operands, self.rounded], unmade: self.whole.is_some_and(|whole| whole.unmade) }
    }

    /// Rotates the values of the batch by one place, which makes another batch.
    #[cfg(debug_assertions)]
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

/// A vector as a matrix with one row.
fn one_row(vector: View) -> View {
    vector.reshape(Shape::new([1, vector.shape.len()]))
}
