//! Where the gradients of a convolution or a linear layer go.

use super::norm::Divisor;
use super::sgd::Descent;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// Where the gradients of an operator go that is linear in x and in its weight. A gradient that is `None` is not computed.
#[derive(Debug, Clone, Copy)]
pub struct WeightGrads {
    /// Shaped like x; the first layer of a network needs none.
    pub x: Option<Out>,
    /// Shaped like the weight: `[9, C, K]` for a convolution, `[I, O]` for a linear layer.
    pub weight: Option<Out>,
    /// Shaped like the bias: `[K]` or `[O]`.
    pub bias: Option<Out>,
    /// The norm below, whose dγ and dβ are left too. Only with dx, and only where [`crate::ops::conv2d::Conv2d::conv2d_leaves_norm_grads`] or its
    /// counterpart of the linear layer says so.
    pub norm: Option<NormBelow>,
    /// The update of the weight by its gradient, which is then left undefined where it would go. Only with dx and dw, and only where
    /// [`crate::ops::conv2d::Conv2d::conv2d_updates_weight`] says so.
    pub update: Option<Descent>,
}

/// A norm over the batch that has made the x of this layer, so that dx is the norm's dy: whoever makes dx can leave `dβ = Σ dy` and `dγ = Σ dy·ŷ`
/// too, where y was let through by the ReLU, without reading dy again.
#[derive(Debug, Clone, Copy)]
pub struct NormBelow {
    /// The norm's x. If a pool is part of the norm's pass, what it chose of each window ([`crate::ops::norm::NormPass::chosen`]), so that it always
    /// lies like dx.
    pub x: In,
    /// γ
    pub weight: In,
    /// β
    pub bias: In,
    /// μ, `[C]`
    pub mean: In,
    /// σ² or s, likewise.
    pub spread: In,
    /// What the norm divides by.
    pub divisor: Divisor,
    /// ε
    pub eps: f64,
    /// Whether the ReLU follows the norm.
    pub relu: bool,
    /// Where dγ goes.
    pub grad_weight: Out,
    /// Where dβ goes.
    pub grad_bias: Out,
}

impl WeightGrads {
    /// Refuses a norm below and an update, for backends that leave both to operators of their own.
    pub fn alone(&self, op: &'static str) -> Result<()> {
        match self.norm {
            None => self.without_update(op),
            Some(_) => Err(Error::operator(op, "a backend that leaves a norm's gradients", "one that does not")),
        }
    }

    /// Refuses an update.
    pub fn without_update(&self, op: &'static str) -> Result<()> {
        match self.update {
            None => Ok(()),
            Some(_) => Err(Error::operator(op, "a backend that updates this weight", "one that does not")),
        }
    }
}
