//! Mean softmax cross-entropy, its gradient, and the number of right answers.
//!
//! With `z [N, K]` and labels `l [N]`: `loss = 1/N Σ_n (log Σ_k exp z_nk − z_n,l)`, `dz = (softmax(z) − onehot(l))/N`, both
//! about the row's maximum, so that no exponential overflows. An answer is right where `z_n,l` is the first largest.

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
    /// A scalar slot (f64): right answers in the batch; the squared error writes NaN.
    pub correct: Out,
    /// Each sample's own loss, `[N]` in f64, summed in order for `loss`.
    pub sample: Out,
    /// Like the logits; `None` where no gradient is wanted.
    pub grad: Option<Out>,
}

/// Softmax cross-entropy.
pub trait CrossEntropy {
    /// Writes the loss, the count of right answers and the gradient. `labels` is u32 `[N]`, each below K.
    fn cross_entropy(&mut self, logits: In, labels: In, out: LossOut) -> Result<()>;
    /// Writes how the gradient moves with the logits, in f32 or f64: with p the softmax, `p (ż − Σ p ż)/N`.
    fn cross_entropy_tangent(&mut self, logits: In, logits_tangent: In, grad_tangent: Out) -> Result<()>;
}
