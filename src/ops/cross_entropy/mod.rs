//! Mean softmax cross-entropy, its gradient, and the number of correct answers.
//!
//! With `z [N, K]` and labels `l [N]`: `loss = 1/N Σ_n (log Σ_k exp z_nk − z_n,l)` and `dz = (softmax(z) − onehot(l))/N`. Both subtract the row's
//! maximum first, so that no exponential overflows. An answer is correct where `z_n,l` is the first of the row's largest logits.

pub mod cases;
pub mod cpu;
mod cuda;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// Where the results of a loss go.
#[derive(Debug, Clone, Copy)]
pub struct LossOut {
    /// A scalar slot (f64).
    pub loss: Out,
    /// A scalar slot (f64): the number of correct answers in the batch; the squared error writes NaN.
    pub correct: Out,
    /// Each sample's own loss, `[N]` in f64; `loss` sums them in order.
    pub sample: Out,
    /// The gradient, shaped like the logits; `None` if it is not wanted.
    pub grad: Option<Out>,
}

/// Softmax cross-entropy.
pub trait CrossEntropy {
    /// Writes the loss, the number of correct answers and the gradient. `labels` is u32 `[N]`, each below K.
    fn cross_entropy(&mut self, logits: In, labels: In, out: LossOut) -> Result<()>;
    /// Writes the tangent of the gradient along ż, in f32 or f64: with p the softmax, `p (ż − Σ p ż)/N`.
    fn cross_entropy_tangent(&mut self, logits: In, logits_tangent: In, grad_tangent: Out) -> Result<()>;
}
