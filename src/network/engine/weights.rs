//! Computing the weights of a pass from directions and gains, and splitting their gradients: see [`effective`](super::effective).

use super::Engine;
use super::effective::{Effective, Pair, aside};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::layer::Params;
use crate::runtime::storage::{Part, Pass};
use crate::runtime::tensor::{In, Out, View};
use std::ops::Range;

impl<B: Backend> Engine<B> {
    /// The direction and gain of link `index` in `whole`, if its weight is made of them.
    pub(super) fn pair(&self, index: usize, whole: View) -> Option<Pair> {
        let link = &self.network.links()[index];
        let view = |slot| self.network.slots().view(whole, slot);
        Some(Pair { gain: view(link.gain?), direction: view(link.params[0]?) })
    }

    /// Computes the weight of link `index` at `theta`, into the vector `to`.
    pub(super) fn make_weight(&mut self, index: usize, theta: In, to: View) -> Result<()> {
        match (self.pair(index, theta.0), self.params(index, to).weight) {
            (Some(of), Some(weight)) => self.backend.weight_norm(of.read(), Out(weight)),
            _ => Ok(()),
        }
    }

    /// Computes the weights of several links for a pass.
    pub(super) fn make_weights(&mut self, links: Range<usize>, theta: In) -> Result<()> {
        let Some(Effective { weights, .. }) = self.effective else { return Ok(()) };
        links.into_iter().try_for_each(|index| self.make_weight(index, theta, weights))
    }

    /// Where the gradients of link `index` go, for the vector `grad`. The gradient of a weight that is made goes to a buffer instead.
    pub(super) fn grads(&self, index: usize, grad: View) -> Params {
        let params = self.params(index, grad);
        match (self.effective, self.pair(index, grad)) {
            (Some(effective), Some(to)) => Params { weight: Some(aside(effective.grad, to.direction)), ..params },
            _ => params,
        }
    }

    /// Splits the weight gradient that a layer has written where [`Engine::grads`] said.
    pub(super) fn take_apart(&mut self, index: usize, theta: In, grad: View) -> Result<()> {
        let (Some(effective), Some(of), Some(to)) = (self.effective, self.pair(index, theta.0), self.pair(index, grad))
        else {
            return Ok(());
        };
        let grad_weight = aside(effective.grad, to.direction);
        self.backend.enter(Some(Part { link: index, pass: Pass::WeightGradient }));
        self.backend.weight_norm_backward(of.read(), In(grad_weight), to.written())
    }
}
