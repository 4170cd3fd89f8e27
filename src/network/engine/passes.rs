//! The passes over a network: forward and backward as two explicit loops, or the whole network as one operator.

use super::super::chain::Loss;
use super::companions::At;
use super::plan::Planned;
use super::update::Update;
use super::{Engine, one_row};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::cross_entropy::LossOut;
use crate::ops::deep_linear::{Chain, ChainBatch, ChainOut, ChainSaved};
use crate::ops::layer::{Backward, Forward, Params, Saved};
use crate::ops::norm::NormSpec;
use crate::ops::weight_grads::NormBelow;
use crate::runtime::storage::{Part, Pass};
use crate::runtime::tensor::{In, Out, Shape, View};
use std::ops::Range;

/// The links whose weight and bias gradients a backward pass computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    All,
    First,
}

impl<B: Backend> Engine<B> {
    /// The loss at `theta` on the batch, in training mode: a pure function of (network, θ, batch, noise key).
    pub fn loss(&mut self, theta: In, loss: Out, correct: Out) -> Result<()> {
        if self.whole_pass(theta, None, loss, correct)? {
            return Ok(());
        }
        self.forward_and_judge(0, theta, loss, correct, None)
    }

    /// The loss and its gradient at `theta`. Every element of `grad` is assigned.
    pub fn loss_and_grad(&mut self, theta: In, grad: Out, loss: Out, correct: Out) -> Result<()> {
        if self.whole_pass(theta, Some(grad), loss, correct)? {
            return Ok(());
        }
        self.layers_loss_and_grad(theta, grad, loss, correct)
    }

    /// The same, computed by the layers one by one, whatever the backend has.
    pub fn layers_loss_and_grad(&mut self, theta: In, grad: Out, loss: Out, correct: Out) -> Result<()> {
        self.pass_from(0, Weights::All, theta, grad, loss, correct)
    }

    /// The gradient of link `first`, a convolution or a linear layer, whose input is what the previous pass left there. It is written into `grad`,
    /// where the gradients of later links are left undefined.
    pub fn grad_of_link(&mut self, first: usize, theta: In, grad: Out, loss: Out, correct: Out) -> Result<()> {
        self.pass_from(first, Weights::First, theta, grad, loss, correct)
    }

    /// Forward from link `first` on, the loss, and the gradients down to this link.
    fn pass_from(&mut self, first: usize, of: Weights, theta: In, grad: Out, loss: Out, correct: Out) -> Result<()> {
        self.loss_and_top(first, theta, loss, correct)?;
        self.backward_to(first, of, theta, grad, None)
    }

    /// Forward from link `first` on, the loss, and its gradient with respect to the prediction.
    pub(super) fn loss_and_top(&mut self, first: usize, theta: In, loss: Out, correct: Out) -> Result<()> {
        let top = View { shape: self.prediction().shape, ..self.gradients[0] };
        self.forward_and_judge(first, theta, loss, correct, Some(Out(top)))
    }

    /// The rest of a pass after [`Engine::loss_and_top`], with the updates that layers make beside their gradients.
    pub(super) fn backward_and_update(&mut self, theta: Out, grad: Out, by: Update) -> Result<()> {
        self.backward_to(0, Weights::All, theta.into(), grad, Some((theta, by)))
    }

    /// Forward from link `first` on, and the loss, with its gradient if one is asked for.
    fn forward_and_judge(&mut self, first: usize, theta: In, loss: Out, correct: Out, grad: Option<Out>) -> Result<()> {
        let last = self.planned.len().saturating_sub(1);
        self.forward_part(first..last, theta)?;
        if self.judge_within(last, loss, correct, grad, theta)? {
            return Ok(());
        }
        self.forward_part(last..self.planned.len(), theta)?;
        self.judge(loss, correct, grad)
    }

    /// Runs link `last` and judges what it makes, where the backend does both as one; `false` if it does not.
    fn judge_within(&mut self, last: usize, loss: Out, correct: Out, grad: Option<Out>, theta: In) -> Result<bool> {
        self.check_interrupted()?;
        let Some(link) = self.network.links().get(last).filter(|_| self.network.loss() == Loss::CrossEntropy) else {
            return Ok(false);
        };
        // A weight that is made of others would have to be made first.
        if self.planned[last].applied || link.gain.is_some() {
            return Ok(false);
        }
        self.recast(theta)?;
        let (io, labels) = (self.io(last, theta), In(self.answer));
        let out = LossOut { loss, correct, sample: Out(self.samples), grad };
        self.backend.enter(Some(Part { link: last, pass: Pass::Forward }));
        let done = self.network.links()[last].layer.forward_judged(&mut self.backend, &io, labels, out)?;
        self.backend.enter(None);
        Ok(done)
    }

    /// The losses and gradients at several θ on one batch. The θ are the rows of `thetas`, and the gradients go to the rows of `grads`;
    /// [`Engine::vectors`] made both. `loss` and `correct` have an entry for each. Afterwards [`Engine::output`] and [`Engine::samples`] belong to
    /// any one of these θ, or to the pass before.
    pub fn losses_and_grads(&mut self, thetas: In, grads: Out, loss: Out, correct: Out) -> Result<()> {
        self.check_interrupted()?;
        let (runs, stride) = thetas.0.shape.matrix();
        if runs > 1
            && let Some((chain, batch)) = self.whole_batch()?
        {
            let out = ChainOut { loss, correct, grad: Some(grads), saved: None };
            if self.backend.deep_linear(&chain, thetas, batch, out)? {
                return Ok(());
            }
        }
        let row = |whole: View, run| whole.slice(run * stride, Shape::new([self.network.slots().len()]));
        let rows = (0..runs).map(|run| {
            let [loss, correct] = [loss, correct].map(|of| of.0.slice(run, Shape::new([1])));
            At { theta: row(thetas.0, run), grad: row(grads.0, run), loss, correct }
        });
        let rows: Vec<_> = rows.collect();
        self.evaluate_together(&rows)
    }

    /// One run of the network as a whole; `false` if the layers have to be run one by one.
    fn whole_pass(&mut self, theta: In, grad: Option<Out>, loss: Out, correct: Out) -> Result<bool> {
        self.check_interrupted()?;
        let Some((chain, batch)) = self.whole_batch()? else { return Ok(false) };
        let out = self.chain_out(grad, loss, correct);
        let taken = self.backend.deep_linear(&chain, In(one_row(theta.0)), batch, out)?;
        self.leave_unmade(taken);
        Ok(taken)
    }

    /// Where a single run of the whole network leaves its results.
    pub(super) fn chain_out(&self, grad: Option<Out>, loss: Out, correct: Out) -> ChainOut {
        let (y, sample, statistics) = (Out(self.prediction()), Out(self.samples), Out(self.statistics));
        let saved = ChainSaved { y, sample, statistics };
        ChainOut { loss, correct, grad: grad.map(|grad| Out(one_row(grad.0))), saved: Some(saved) }
    }

    /// The chain that runs as a whole, and its batch, prepared.
    pub(super) fn whole_batch(&mut self) -> Result<Option<(Chain, ChainBatch)>> {
        let Some(whole) = &mut self.whole else { return Ok(None) };
        let batch = ChainBatch { x: In(self.input), target: In(self.answer), room: Out(whole.room) };
        if !whole.prepared {
            self.backend.deep_linear_prepare(&whole.chain, batch)?;
            whole.prepared = true;
        }
        Ok(Some((whole.chain, batch)))
    }

    /// Computes the prediction and the sample losses, if the last pass has not done so.
    pub(super) fn make_kept(&mut self) -> Result<()> {
        if !self.whole.is_some_and(|whole| whole.unmade) {
            return Ok(());
        }
        if let Some((chain, batch)) = self.whole_batch()? {
            let (y, sample) = (Out(self.prediction()), Out(self.samples));
            self.backend.deep_linear_kept(&chain, batch, y, sample)?;
        }
        self.leave_unmade(false);
        Ok(())
    }

    pub(super) fn leave_unmade(&mut self, unmade: bool) {
        if let Some(whole) = &mut self.whole {
            whole.unmade = unmade;
        }
    }

    /// Whether [`Engine::moved_gradients`] is available.
    pub fn has_moved_gradients(&self) -> bool {
        self.whole.is_some() && self.backend.has_deep_linear_shift()
    }

    /// Every layer's weight gradient with the layers before it at `next`, in one pass: see [`crate::ops::deep_linear::DeepLinear`]. `false` if each
    /// has to be computed on its own.
    pub fn moved_gradients(&mut self, theta: In, next: In, out: Out) -> Result<bool> {
        self.check_interrupted()?;
        if !self.has_moved_gradients() {
            return Ok(false);
        }
        let Some((chain, batch)) = self.whole_batch()? else { return Ok(false) };
        self.backend.deep_linear_shift(&chain, theta, next, batch, out)
    }

    /// The loss at `theta` with the running statistics in place of the batch's.
    pub fn evaluate(&mut self, theta: In, loss: Out, correct: Out) -> Result<()> {
        self.leave_unmade(false);
        self.recast(theta)?;
        let last = self.planned.len().saturating_sub(1);
        self.evaluate_part(0..last, theta)?;
        if self.judge_within(last, loss, correct, None, theta)? {
            return Ok(());
        }
        self.evaluate_part(last..self.planned.len(), theta)?;
        self.judge(loss, correct, None)
    }

    /// Runs some of the layers, in order, with the running statistics.
    fn evaluate_part(&mut self, links: Range<usize>, theta: In) -> Result<()> {
        for index in links {
            self.check_interrupted()?;
            if self.planned[index].applied {
                continue;
            }
            self.make_weights(index..index + 1, theta)?;
            let io = self.io(index, theta);
            self.network.links()[index].layer.evaluate(&mut self.backend, &io)?;
        }
        Ok(())
    }

    /// Updates the running statistics of all norms with the batch of the last training-mode pass.
    pub fn move_running(&mut self, momentum: f64) -> Result<()> {
        if self.running.shape.len() == 0 {
            return Ok(());
        }
        self.backend.move_running(momentum, In(self.statistics), In(self.factors), Out(self.running))
    }

    /// Rounds θ to operands of matrix products, if those have a type of their own and do not hold this θ already.
    pub(super) fn recast(&mut self, theta: In) -> Result<()> {
        let Some(operands) = self.operands.filter(|_| self.rounded != Some(theta.0)) else { return Ok(()) };
        self.backend.recast(theta, Out(operands))?;
        self.rounded = Some(theta.0);
        Ok(())
    }

    /// Forward: runs some of the layers, in order, on the output of the layer before them.
    pub fn forward_part(&mut self, links: Range<usize>, theta: In) -> Result<()> {
        self.leave_unmade(false);
        self.recast(theta)?;
        for index in links {
            self.check_interrupted()?;
            if self.planned[index].applied {
                continue;
            }
            let io = self.io(index, theta);
            self.backend.enter(Some(Part { link: index, pass: Pass::Forward }));
            self.make_weights(index..index + 1, theta)?;
            self.network.links()[index].layer.forward(&mut self.backend, &io)?;
        }
        self.backend.enter(None);
        Ok(())
    }

    /// Backward: runs the layers in reverse order, down to link `first`. With an update of θ, it is not interrupted.
    fn backward_to(
        &mut self,
        first: usize,
        of: Weights,
        theta: In,
        grad: Out,
        update: Option<(Out, Update)>,
    ) -> Result<()> {
        let [mut upper, mut lower] = self.gradients;
        for index in (first..self.planned.len()).rev() {
            if update.is_none() {
                self.check_interrupted()?;
            }
            let planned = self.planned[index];
            if planned.gone {
                continue;
            }
            let grad_y = View { shape: planned.y.shape, ..upper };
            let grad_x = View { shape: planned.x.shape, ..lower };
            (upper, lower) = (lower, upper);
            let passed_over = of == Weights::First && index > first && self.network.links()[index].layer.multiplies();
            let grads = if passed_over { Params::default() } else { self.grads(index, grad.0) };
            let io = Backward {
                forward: self.io(index, theta),
                grad_y: In(grad_y),
                // Nothing asks for the gradient of the first layer's input: in a whole pass that is the batch.
                grad_x: (index > first).then_some(Out(grad_x)),
                grads,
                norm: self.norm_below(index, theta, grad.0),
                update: update.and_then(|(theta, by)| self.update_beside(index, theta, by)),
            };
            self.backend.enter(Some(Part { link: index, pass: Pass::Backward }));
            self.network.links()[index].layer.backward(&mut self.backend, &io)?;
            if !passed_over {
                self.take_apart(index, theta, grad.0)?;
            }
        }
        self.backend.enter(None);
        Ok(())
    }

    /// The norm below link `index`, if the link is to leave its gradients in the vector `grad`.
    fn norm_below(&self, index: usize, theta: In, grad: View) -> Option<NormBelow> {
        let index = self.planned[index].norm_below?;
        let Planned { x, saved, .. } = self.planned[index];
        let NormSpec { divisor, eps, relu, .. } = self.network.links()[index].layer.takes_norm_grads()?;
        let (params, grads) = (self.params(index, theta.0), self.params(index, grad));
        Some(NormBelow {
            x: In(saved.chosen.unwrap_or(x)),
            weight: In(params.weight?),
            bias: In(params.bias?),
            mean: In(saved.mean?),
            spread: In(saved.spread?),
            divisor,
            eps,
            relu,
            grad_weight: Out(grads.weight?),
            grad_bias: Out(grads.bias?),
        })
    }

    fn judge(&mut self, loss: Out, correct: Out, grad: Option<Out>) -> Result<()> {
        self.judge_of(In(self.prediction()), loss, correct, grad)
    }

    /// The loss of the prediction `y`, and its gradient.
    pub(super) fn judge_of(&mut self, y: In, loss: Out, correct: Out, grad: Option<Out>) -> Result<()> {
        let out = LossOut { loss, correct, sample: Out(self.samples), grad };
        let (answer, scale) = (In(self.answer), self.loss_scale());
        match self.network.loss() {
            Loss::CrossEntropy => self.backend.cross_entropy(y, answer, out),
            Loss::SquaredError(_) => self.backend.squared_error(scale, y, answer, out),
        }
    }

    /// The factor of the squared error.
    pub(super) fn loss_scale(&self) -> f64 {
        match self.network.loss() {
            Loss::SquaredError(loss) => loss.scale(self.batch),
            Loss::CrossEntropy => 1.0,
        }
    }

    pub(super) fn io(&self, index: usize, theta: In) -> Forward {
        let mut params = self.params(index, theta.0);
        if let (Some(effective), Some(_)) = (self.effective, self.network.links()[index].gain) {
            params.weight = self.params(index, effective.weights).weight;
        }
        if let Some(operands) = self.operands.filter(|_| self.network.links()[index].layer.multiplies()) {
            params.weight = self.params(index, operands).weight;
        }
        let Planned { x, y, saved, fusion, .. } = self.planned[index];
        let (workspace, state, running) = (self.workspace, In(self.state), self.running_of(index));
        Forward { x: In(x), y: Out(y), params, saved, workspace, state, running, fusion }
    }

    pub(super) fn params(&self, index: usize, whole: View) -> Params {
        let [weight, bias] = self.network.links()[index].params;
        let view = |slot: Option<usize>| slot.map(|slot| self.network.slots().view(whole, slot));
        Params { weight: view(weight), bias: view(bias) }
    }

    pub(super) fn running_of(&self, index: usize) -> Saved {
        let view = |slot| self.network.running().view(self.running, slot);
        match self.network.links()[index].running {
            Some([mean, spread]) => Saved { mean: Some(view(mean)), spread: Some(view(spread)), chosen: None },
            None => Saved::default(),
        }
    }
}
