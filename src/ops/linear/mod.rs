//! A linear layer: `y = x w + b`.
//!
//! With `x [N, I]`, `w [I, O]` (PyTorch's `[O, I]` in files) and `b [O]`: `dx = dy wᵀ`, `dw = xᵀ dy`, `db = Σ_n dy`.
//!
//! Where it is the last layer of a classifier, a backend may make its output and the loss of it together.

pub mod cases;
pub mod cpu;
mod cuda;
mod cuda_head;
mod layer;

pub use layer::{LinearLayer, OPERATOR};

use crate::ops::cross_entropy::LossOut;
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

const OP: &str = "linear";

/// The extents of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extents {
    /// Batch size.
    pub n: usize,
    /// The number of inputs.
    pub i: usize,
    /// The number of outputs.
    pub o: usize,
}

impl Extents {
    /// The extents, taken from the tensors' shapes. Errors: the shapes do not agree.
    pub fn of(x: Shape, weight: Shape, bias: Option<Shape>, y: Shape) -> Result<Extents> {
        let ((n, i), (rows, o)) = (x.matrix(), y.matrix());
        if rows == n && weight == Shape::new([i, o]) && bias.is_none_or(|b| b.len() == o) {
            return Ok(Extents { n, i, o });
        }
        Err(Error::operator(OP, "x N×I, weight I×O, bias O, y N×O", format!("x {x}, weight {weight}, y {y}")))
    }
}

/// A linear layer.
pub trait Linear {
    /// The shape of the workspace that the forward and backward passes need, in the backend's dtype.
    fn linear_workspace(&self, extents: Extents) -> Shape;
    /// Writes `y [N, O]`.
    fn linear(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()>;
    /// Writes `y` as [`Linear::linear`] does, and its softmax cross-entropy as [`crate::ops::cross_entropy::CrossEntropy::cross_entropy`] does: in the
    /// same bits. `false`, with nothing written, where the backend does not do both as one.
    fn linear_cross_entropy(
        &mut self,
        x: In,
        weight: In,
        bias: Option<In>,
        y: Out,
        labels: In,
        out: LossOut,
    ) -> Result<bool> {
        let _ = (x, weight, bias, y, labels, out);
        Ok(false)
    }
    /// Whether [`Linear::linear_backward`] can leave the gradients of a norm below ([`WeightGrads::norm`]) at these extents.
    fn linear_leaves_norm_grads(&self, extents: Extents) -> bool {
        let _ = extents;
        false
    }
    /// Writes the gradients that `grads` asks for, from the forward pass's operands and `grad_y [N, O]`.
    fn linear_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()>;
}
