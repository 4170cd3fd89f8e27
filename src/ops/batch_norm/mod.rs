//! Batch normalisation, and the ReLU that may follow it.
//!
//! With the `m = H·W·N` samples of a unit, biased variance, `S = √(σ² + ε)`:
//!
//! ```text
//! ŷ = (x − μ)/S      y = γ ŷ + β      (then max(y, 0) with relu)
//! dx = γ/(m S) (m dy − Σ dy − ŷ Σ dy·ŷ)      dγ = Σ dy·ŷ      dβ = Σ dy
//! ```
//!
//! exact for every ε ≥ 0 (the paper's Fact C.1 is ε = 0). With relu, dy counts only where y > 0. Forward keeps μ and σ² for
//! backward and writes nothing else: running statistics are an operator of their own, [`crate::ops::running`].
//!
//! Source: Ioffe and Szegedy 2015; the paper's section 2 and Appendix C.

pub mod cases;
pub mod cpu;
pub mod cuda;
pub mod door;
mod layer;

pub use layer::BatchNormLayer;

use crate::Result;
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::runtime::tensor::{In, Out, Shape};

/// Batch normalisation over all axes of `x […, C]` but the last.
pub trait BatchNorm {
    /// The shape of the workspace that both directions need, in the backend's dtype.
    fn norm_workspace(&self, x: Shape) -> Shape;
    /// Whether this backend's norms can apply the 2×2 max-pool that follows them ([`NormOptions::pool`]).
    fn norm_pools(&self) -> bool {
        false
    }
    /// Writes y and the batch's statistics.
    fn batch_norm(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()>;
    /// As [`BatchNorm::batch_norm`], where the convolution before has left x's sums in the workspace
    /// ([`crate::ops::conv2d::Conv2d::conv2d_fused`]). A backend that never leaves any reads x instead.
    fn batch_norm_from_sums(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        self.batch_norm(x, params, options, y, stats, workspace)
    }
    /// Writes the gradients, from the forward's operands, the statistics it wrote, and `grad_y`.
    fn batch_norm_backward(
        &mut self,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()>;
}
