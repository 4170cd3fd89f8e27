//! The ℓp norms of section 3.3: the first moment fixed as BatchNorm does, the spread by an ℓp norm *before* the shift.
//!
//! With the `m = H·W·N` samples of a unit, `s = (1/m Σ|x|ᵖ)^(1/p)` (p = ∞: `max|x|`), `D = s + ε`, `u = (x − μ)/D`:
//!
//! ```text
//! y = γ u + β (then max(y, 0) with relu)      dβ = Σ dy      dγ = Σ dy·u
//! dx_i = γ/D (dy_i − dβ/m − dγ ∂s/∂x_i)       ∂s/∂x_i = sign(x_i) (|x_i|/s)^(p−1) / m
//! ```
//!
//! At p = ∞, ∂s/∂x is sign(x_i)/k at the k elements of largest |x| (as PyTorch's `amax` and `norm` share it) and 0 elsewhere; all are 0
//! where s = 0, and sign(0) = 0. Any p ≥ 1 is taken; but for small whole p, s is then `M (mean (|x|/M)ᵖ)^(1/p)` with `M` near `max|x|`,
//! so that no power overflows. Where s is so small that its type cannot hold 1/s, all of this holds to rounding too.
//! Source: the paper's section 3.3; power mean per unit and ε added to s are this project's reading.

pub mod cases;
pub mod cpu;
mod cuda;
pub mod door;
pub(in crate::ops) mod faint;
mod layer;
mod power;

pub use layer::LpNormLayer;

use crate::Result;
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::runtime::tensor::{In, Out};

/// The ℓp norm over all axes of `x […, C]` but the last. The workspace is that of BatchNorm.
pub trait LpNorm {
    /// Writes y, and μ and s of the batch. `p` is at least 1; infinity is allowed.
    fn lp_norm(
        &mut self,
        p: f64,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()>;
    /// Writes the gradients, from the forward's operands, the statistics it wrote, and `grad_y`.
    fn lp_norm_backward(
        &mut self,
        p: f64,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()>;
}
