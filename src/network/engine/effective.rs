//! Weights that are made of a direction and a gain ([`crate::ops::weight_norm`]). θ holds the direction and the gain, but layers take the weight
//! itself.
//!
//! Before a layer's forward pass, its weight is computed at the θ of the pass, for the forward and backward passes alike. It goes into a vector with
//! θ's slots, at the place that the direction has in θ. If the backend holds operands of matrix products in a type of their own, this is the vector
//! of operands, so that a weight is rounded only once. The layer writes the gradient of its weight into a buffer, and the gradient is split at once
//! into those of direction and gain. The work is the same each time, and may be part of a graph. For a linearised network, see [`Moved`].

use super::super::chain::{Link, Network};
use crate::ops::weight_norm::{Parts, PartsOut};
use crate::runtime::tensor::{ArenaPlan, DType, In, Out, Shape, View};

/// Room for the weights of a pass, and for one gradient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effective {
    /// A vector with θ's slots.
    pub weights: View,
    /// A buffer as long as the longest weight.
    pub grad: View,
}

impl Effective {
    /// Plans the room, if a network has such weights. `operands` is the vector of the backend's operands, if it has one.
    pub fn plan(plan: &mut ArenaPlan, network: &Network, dtype: DType, operands: Option<View>) -> Option<Self> {
        let longest = longest(network)?;
        let weights = operands.unwrap_or_else(|| plan.view(Shape::new([network.slots().len()]), dtype));
        Some(Effective { weights, grad: plan.view(Shape::new([longest]), dtype) })
    }
}

/// The length of the longest weight that is made of direction and gain; `None` if there is none.
pub(super) fn longest(network: &Network) -> Option<usize> {
    let slots: Vec<_> = network.slots().iter().collect();
    let direction = |link: &Link| link.gain.and(link.params[0]).map(|slot| slots[slot].shape.len());
    network.links().iter().filter_map(direction).max()
}

/// For a linearised network: its weights at that θ, their tangents, and their gradients, in vectors with θ's slots; and room for the tangent of one
/// gradient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub weights: View,
    pub moving: View,
    pub grads: View,
    tangent: View,
}

impl Moved {
    /// Plans the room, if a network has such weights.
    pub fn plan(plan: &mut ArenaPlan, network: &Network, dtype: DType) -> Option<Self> {
        let longest = longest(network)?;
        let [weights, moving, grads] = [0; 3].map(|_| plan.view(Shape::new([network.slots().len()]), dtype));
        Some(Moved { weights, moving, grads, tangent: plan.view(Shape::new([longest]), dtype) })
    }

    /// Where the tangent of a weight's gradient goes; it is shaped like `like`.
    pub fn tangent(&self, like: View) -> View {
        aside(self.tangent, like)
    }
}

/// A layer's direction and gain, in a vector with θ's slots.
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

/// The first elements of `room`, shaped like `like`.
pub(super) fn aside(room: View, like: View) -> View {
    room.slice(0, like.shape)
}
