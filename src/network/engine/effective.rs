//! Weights that are made of a direction and a gain ([`crate::ops::weight_norm`]): θ holds those two, layers take the weight itself.
//!
//! Before a layer runs forward its weight is made at the θ of the pass, for forward and backward alike, in a vector with θ's slots: where a
//! direction is in θ, the weight is there. Where the backend holds operands of matrix products in a type of their own, it is the vector of
//! those, so that a weight is rounded once. The layer's gradient of it goes aside, and is taken apart at once. The work is the same each time,
//! and may be part of a graph. Of what a linearised network makes of them see [`Moved`].

use super::super::chain::{Link, Network};
use super::Engine;
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::layer::Params;
use crate::ops::weight_norm::{Parts, PartsOut};
use crate::runtime::storage::{Part, Pass};
use crate::runtime::tensor::{ArenaPlan, DType, In, Out, Shape, View};
use std::ops::Range;

/// Room for the weights of a pass and for one gradient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effective {
    /// With θ's slots.
    pub weights: View,
    /// As long as the longest weight.
    grad: View,
}

impl Effective {
    /// Plans it, where a network has such weights. `operands` is the vector of the backend's operands, if it has one.
    pub fn plan(plan: &mut ArenaPlan, network: &Network, dtype: DType, operands: Option<View>) -> Option<Self> {
        let longest = longest(network)?;
        let weights = operands.unwrap_or_else(|| plan.view(Shape::new([network.slots().len()]), dtype));
        Some(Effective { weights, grad: plan.view(Shape::new([longest]), dtype) })
    }
}

/// The length of the longest weight that is made; `None` where none is.
pub(super) fn longest(network: &Network) -> Option<usize> {
    let slots: Vec<_> = network.slots().iter().collect();
    let direction = |link: &Link| link.gain.and(link.params[0]).map(|slot| slots[slot].shape.len());
    network.links().iter().filter_map(direction).max()
}

/// Of a linearised network: its weights at that θ, how they move, and their gradients, with θ's slots; and room for the tangent of one gradient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub weights: View,
    pub moving: View,
    pub grads: View,
    tangent: View,
}

impl Moved {
    /// Plans it, where a network has such weights.
    pub fn plan(plan: &mut ArenaPlan, network: &Network, dtype: DType) -> Option<Self> {
        let longest = longest(network)?;
        let [weights, moving, grads] = [0; 3].map(|_| plan.view(Shape::new([network.slots().len()]), dtype));
        Some(Moved { weights, moving, grads, tangent: plan.view(Shape::new([longest]), dtype) })
    }

    /// Where the tangent of a weight's gradient goes, one like `like`.
    pub fn tangent(&self, like: View) -> View {
        aside(self.tangent, like)
    }
}

/// Some layer's direction and gain, in the vector `whole`.
pub(super) struct Pair {
    pub direction: View,
    pub gain: View,
}

impl Pair {
    pub fn read(&self) -> Parts {
        Parts { direction: In(self.direction), gain: In(self.gain) }
    }

    pub fn written(&self) -> PartsOut {
        PartsOut { direction: Out(self.direction), gain: Out(self.gain) }
    }
}

impl<B: Backend> Engine<B> {
    /// Direction and gain of link `index` in `whole`, where its weight is made of them.
    pub(super) fn pair(&self, index: usize, whole: View) -> Option<Pair> {
        let link = &self.network.links()[index];
        let view = |slot| self.network.slots().view(whole, slot);
        Some(Pair { gain: view(link.gain?), direction: view(link.params[0]?) })
    }

    /// Makes the weight of link `index` at `theta`, in the vector `to`.
    pub(super) fn make_weight(&mut self, index: usize, theta: In, to: View) -> Result<()> {
        match (self.pair(index, theta.0), self.params(index, to).weight) {
            (Some(of), Some(weight)) => self.backend.weight_norm(of.read(), Out(weight)),
            _ => Ok(()),
        }
    }

    /// Makes those of some links for a pass.
    pub(super) fn make_weights(&mut self, links: Range<usize>, theta: In) -> Result<()> {
        let Some(Effective { weights, .. }) = self.effective else { return Ok(()) };
        links.into_iter().try_for_each(|index| self.make_weight(index, theta, weights))
    }

    /// Where the gradients of link `index` go, for the vector `grad`: that of a weight that is made, aside.
    pub(super) fn grads(&self, index: usize, grad: View) -> Params {
        let params = self.params(index, grad);
        match (self.effective, self.pair(index, grad)) {
            (Some(effective), Some(to)) => Params { weight: Some(aside(effective.grad, to.direction)), ..params },
            _ => params,
        }
    }

    /// Takes apart what a layer has written where [`Engine::grads`] said.
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

/// The first elements of `room`, as `like`.
fn aside(room: View, like: View) -> View {
    room.slice(0, like.shape)
}
