//! A network on a backend: all memory planned once, and two visible loops, forward and backward.

use super::chain::{Loss, Network};
use crate::ops::backend::Backend;
use crate::ops::cross_entropy::LossOut;
use crate::ops::gather::ImageBytes;
use crate::ops::layer::{Backward, Forward, Fusion, Kept, Params};
use crate::runtime::state::StepState;
use crate::runtime::storage::Graph;
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// The loss of a test batch.
    TestLoss,
    /// Right answers in a test batch.
    TestCorrect,
}

/// Number of scalar slots.
const SCALARS: usize = 16;

/// What one layer's planned tensors are.
#[derive(Debug, Clone, Copy)]
struct Planned {
    x: View,
    y: View,
    kept: Kept,
    fusion: Fusion,
    /// A ReLU that the layer before applies: x is y, and forward has nothing to do.
    applied: bool,
}

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
    /// θ of the present pass as operands of matrix products, where the backend holds those in another type.
    operands: Option<View>,
    stop: Arc<AtomicBool>,
}

impl<B: Backend> Engine<B> {
    /// Plans and allocates everything but parameter vectors. `stop` is looked at between layers: once set, every pass ends in
    /// [`Error::Interrupted`].
    ///
    /// Errors: a norm would see one sample per unit; not enough memory.
    pub fn new(mut backend: B, network: Network, batch: usize, stop: Arc<AtomicBool>) -> Result<Self> {
        if batch == 0 {
            return Err(Error::input("--batch 0", "no samples", "a batch has at least 1"));
        }
        let (dtype, activation) = (backend.dtype(), backend.activation_dtype());
        let mut plan = backend.plan();
        let input = plan.view(checked(network.input(batch))?, activation);
        let (mut planned, mut x) = (Vec::with_capacity(network.links().len()), input);
        let (mut workspace, mut widest) = (0, 0);
        for (index, link) in network.links().iter().enumerate() {
            let before = index.checked_sub(1).map(|at| &network.links()[at].layer);
            let can = before.map_or(Fusion::default(), |layer| layer.epilogues(&backend));
            let take_sums = can.leave_sums && link.layer.takes_sums();
            let applied = can.relu && link.layer.is_relu();
            if let Some(before) = planned.last_mut() {
                let before: &mut Planned = before;
                before.fusion.leave_sums = take_sums;
                before.fusion.relu = applied;
            }
            let fusion = Fusion { take_sums, ..Fusion::default() };
            let y = match applied {
                true => x,
                false => plan.view(checked(link.layer.output(x.shape)?)?, activation),
            };
            let mut kept = Kept::default();
            if let Some(units) = link.layer.statistics(x.shape) {
                if x.shape.matrix().0 < 2 {
                    let place = format!("--batch {batch}");
                    let problem = format!("{} would see one sample per unit, and map it to 0", link.name);
                    return Err(Error::input(place, problem, "a norm on a 1×1 map needs a batch of at least 2"));
                }
                kept.mean = Some(plan.view(Shape::new([units]), dtype));
                kept.spread = Some(plan.view(Shape::new([units]), dtype));
            }
            workspace = workspace.max(link.layer.workspace(&backend, x.shape).len());
            widest = widest.max(y.shape.len());
            planned.push(Planned { x, y, kept, fusion, applied });
            x = y;
        }
        let gradients = [0, 1].map(|_| plan.view(Shape::new([widest]), activation));
        let workspace = plan.view(Shape::new([workspace]), dtype);
        let answer = match network.loss() {
            Loss::CrossEntropy => plan.view(Shape::new([batch]), DType::U32),
            Loss::SquaredError { .. } => plan.view(x.shape, activation),
        };
        let samples = plan.view(Shape::new([batch]), DType::F64);
        let scalars = plan.view(Shape::new([SCALARS]), DType::F64);
        let state = plan.view(StepState::shape(), StepState::DTYPE);
        let running = plan.view(Shape::new([network.running().len()]), dtype);
        let operands = (activation != dtype).then(|| plan.view(Shape::new([network.slots().len()]), activation));
        backend.commit(&plan)?;
        let mut engine = Engine {
            backend,
            network,
            batch,
            planned,
            workspace,
            gradients,
            input,
            answer,
            samples,
            scalars,
            state,
            running,
            operands,
            stop,
        };
        engine.reset_running()?;
        Ok(engine)
    }

    /// A new flat vector with the network's slots, zero: θ, a gradient, a velocity, a point of a probe.
    pub fn vector(&mut self) -> Result<View> {
        let mut plan = self.backend.plan();
        let view = plan.view(Shape::new([self.network.slots().len()]), self.backend.dtype());
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

    /// The backend, for operations on vectors and slots.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
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

    /// The output of the last layer of the last pass: logits, or the network's prediction.
    pub fn output(&self) -> View {
        self.planned.last().map_or(self.input, |p| p.y)
    }

    /// Losses of the single samples of the last pass, f64 `[N]`.
    pub fn samples(&self) -> View {
        self.samples
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
        self.backend.upload_f32(x, Out(self.input))?;
        self.backend.upload(labels, Out(self.answer))
    }

    /// Writes the batch: `x` in `[H, W, N, C]` order, and the target `[N, D]` that the squared error wants.
    pub fn set_target(&mut self, x: &[f32], target: &[f32]) -> Result<()> {
        self.backend.upload_f32(x, Out(self.input))?;
        self.backend.upload_f32(target, Out(self.answer))
    }

    /// Writes the batch from f64 values, for the reference precision.
    pub fn set_batch_f64(&mut self, x: &[f64], target: Option<&[f64]>, labels: Option<&[u32]>) -> Result<()> {
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

    /// The loss at `theta` on the batch, in training mode: a pure function of (network, θ, batch, noise key).
    pub fn loss(&mut self, theta: In, loss: Out, correct: Out) -> Result<()> {
        self.forward(theta)?;
        self.judge(loss, correct, None)
    }

    /// The loss and its gradient at `theta`. Every element of `grad` is assigned.
    pub fn loss_and_grad(&mut self, theta: In, grad: Out, loss: Out, correct: Out) -> Result<()> {
        self.forward(theta)?;
        let last = self.planned.len() - 1;
        let top = View { shape: self.planned[last].y.shape, ..self.gradients[last % 2] };
        self.judge(loss, correct, Some(Out(top)))?;
        self.backward(theta, grad)
    }

    /// Asks for `work`, which is the same each time that `key` is given: a device may record and replay it as one.
    pub fn as_graph(&mut self, key: u64, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.look_up()?;
        if self.backend.begin_graph(key)? == Graph::Replayed {
            return Ok(());
        }
        let made = work(self);
        let ended = self.backend.end_graph(key, made.is_ok());
        made.and(ended)
    }

    /// The loss at `theta` with the running statistics in place of the batch's.
    pub fn evaluate(&mut self, theta: In, loss: Out, correct: Out) -> Result<()> {
        self.recast(theta)?;
        for index in 0..self.planned.len() {
            self.look_up()?;
            if self.planned[index].applied {
                continue;
            }
            let (io, running) = (self.io(index, theta), self.running_of(index));
            self.network.links()[index].layer.evaluate(&mut self.backend, &io, running)?;
        }
        self.judge(loss, correct, None)
    }

    /// Moves the running statistics by the batch of the last training-mode pass.
    pub fn move_running(&mut self, momentum: f64) -> Result<()> {
        for index in 0..self.planned.len() {
            // Parameters play no part in it.
            let (io, running) = (self.io_with(index, Params::default()), self.running_of(index));
            self.network.links()[index].layer.move_running(&mut self.backend, &io, running, momentum)?;
        }
        Ok(())
    }

    /// Rounds θ to operands of matrix products, where those have a type of their own.
    fn recast(&mut self, theta: In) -> Result<()> {
        self.operands.map_or(Ok(()), |operands| self.backend.recast(theta, Out(operands)))
    }

    /// Forward: every layer in order.
    fn forward(&mut self, theta: In) -> Result<()> {
        self.recast(theta)?;
        for index in 0..self.planned.len() {
            self.look_up()?;
            if self.planned[index].applied {
                continue;
            }
            let io = self.io(index, theta);
            self.network.links()[index].layer.forward(&mut self.backend, &io)?;
        }
        Ok(())
    }

    /// Backward: every layer in reverse order.
    fn backward(&mut self, theta: In, grad: Out) -> Result<()> {
        for index in (0..self.planned.len()).rev() {
            self.look_up()?;
            let planned = self.planned[index];
            let grad_y = View { shape: planned.y.shape, ..self.gradients[index % 2] };
            let grad_x = View { shape: planned.x.shape, ..self.gradients[(index + 1) % 2] };
            let io = Backward {
                forward: self.io(index, theta),
                grad_y: In(grad_y),
                // The first layer's input is the batch: nothing asks for its gradient.
                grad_x: (index > 0).then_some(Out(grad_x)),
                grads: self.params(index, grad.0),
            };
            self.network.links()[index].layer.backward(&mut self.backend, &io)?;
        }
        Ok(())
    }

    fn judge(&mut self, loss: Out, correct: Out, grad: Option<Out>) -> Result<()> {
        let out = LossOut { loss, correct, sample: Out(self.samples), grad };
        let (y, answer) = (In(self.output()), In(self.answer));
        match self.network.loss() {
            Loss::CrossEntropy => self.backend.cross_entropy(y, answer, out),
            Loss::SquaredError { mean } => {
                let scale = if mean { 1.0 / self.batch as f64 } else { 1.0 };
                self.backend.squared_error(scale, y, answer, out)
            }
        }
    }

    fn io(&self, index: usize, theta: In) -> Forward {
        let mut params = self.params(index, theta.0);
        if let Some(operands) = self.operands.filter(|_| self.network.links()[index].layer.multiplies()) {
            params.weight = self.params(index, operands).weight;
        }
        self.io_with(index, params)
    }

    fn io_with(&self, index: usize, params: Params) -> Forward {
        let Planned { x, y, kept, fusion, .. } = self.planned[index];
        Forward { x: In(x), y: Out(y), params, kept, workspace: self.workspace, state: In(self.state), fusion }
    }

    fn params(&self, index: usize, whole: View) -> Params {
        let [weight, bias] = self.network.links()[index].params;
        let view = |slot: Option<usize>| slot.map(|slot| self.network.slots().view(whole, slot));
        Params { weight: view(weight), bias: view(bias) }
    }

    fn running_of(&self, index: usize) -> Kept {
        let view = |slot| self.network.running().view(self.running, slot);
        match self.network.links()[index].running {
            Some([mean, spread]) => Kept { mean: Some(view(mean)), spread: Some(view(spread)) },
            None => Kept::default(),
        }
    }

    fn look_up(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// A shape that could fit in memory at all.
fn checked(shape: Shape) -> Result<Shape> {
    match shape.checked_len() {
        Some(len) if len <= isize::MAX as usize / 64 => Ok(shape),
        _ => Err(Error::input(
            "network",
            format!("{shape} activations fit in no memory"),
            "a smaller --batch or --width needs less",
        )),
    }
}
