//! Batch renormalisation: BatchNorm whose output is corrected towards the running statistics, within bounds.
//!
//! With the batch's μ and `S = √(σ² + ε)`, and `S_r = √(σ_r² + ε)` of the running statistics μ_r and σ_r²,
//!
//! ```text
//! r = clip(S/S_r, 1/r_max, r_max)      d = clip((μ − μ_r)/S_r, −d_max, d_max)
//! y = γ ((x − μ)/S · r + d) + β      (then max(y, 0) with relu)
//! ```
//!
//! Where nothing is clipped, this is the norm at evaluation; with r_max = 1 and d_max = 0 it is BatchNorm. Gradients and tangents treat r and d as
//! constants, so the curvature is that of the loss with r and d held fixed. Every pass is then BatchNorm's pass with γ r and β + γ d in place of γ
//! and β, except that
//!
//! ```text
//! dγ = r dγ' + d dβ      with BatchNorm's dγ' = Σ dy·(x − μ)/S and dβ = Σ dy
//! ```
//!
//! Ioffe lets r_max and d_max grow from 1 and 0 during the first part of training; here they keep the values that are set. (r is his letter; in
//! [`crate::ops::norm::batch`], r stands for m ∂D/∂x.)
//!
//! Source: Ioffe 2017, Algorithm 1. His running σ is this project's running variance, updated as BatchNorm's is.

mod cpu;
mod cuda;
pub mod passes;

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use std::fmt;

/// The bounds of r and d.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RenormLimits {
    /// At least 1.
    pub r_max: f64,
    /// At least 0.
    pub d_max: f64,
}

impl Default for RenormLimits {
    /// The bounds with which Ioffe's training ends.
    fn default() -> Self {
        RenormLimits { r_max: 3.0, d_max: 5.0 }
    }
}

impl RenormLimits {
    /// Whether the bounds are valid: r_max is at least 1, and d_max at least 0.
    pub fn are_valid(&self) -> bool {
        self.r_max >= 1.0 && self.d_max >= 0.0
    }
}

impl fmt::Display for RenormLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r_max {}, d_max {}", self.r_max, self.d_max)
    }
}

/// The operands of a correction; each is `[C]`.
#[derive(Debug, Clone, Copy)]
pub struct Uncorrected {
    /// μ
    pub mean: In,
    /// σ²
    pub var: In,
    /// μ_r
    pub running_mean: In,
    /// σ_r²
    pub running_var: In,
    /// γ
    pub weight: In,
    /// β
    pub bias: In,
}

/// A correction; each tensor is `[C]`.
#[derive(Debug, Clone, Copy)]
pub struct Correction {
    /// r
    pub ratio: Out,
    /// d
    pub shift: Out,
    /// γ r
    pub weight: Out,
    /// β + γ d
    pub bias: Out,
}

/// What batch renormalisation computes in addition to BatchNorm, channel by channel.
pub trait Renorm {
    /// Writes the correction.
    fn renorm(&mut self, limits: RenormLimits, eps: f64, of: Uncorrected, to: Correction) -> Result<()>;
    /// Writes the tangents of γ r and β + γ d, which are γ̇ r and β̇ + γ̇ d. `of` holds γ̇ and β̇; `None` stands for 0.
    fn renorm_tangent(&mut self, by: Correction, of: [Option<In>; 2], to: [Out; 2]) -> Result<()>;
    /// Writes `dγ = r dγ' + d dβ`.
    fn renorm_gradient(&mut self, by: Correction, raw: In, grad_bias: In, grad_weight: Out) -> Result<()>;
}

const OP: &str = "batch_renorm";

/// C, the number of channels. Errors: tensors of other lengths.
fn channels(of: &[Shape]) -> Result<usize> {
    match of.iter().all(|shape| shape.len() == of[0].len()) {
        true => Ok(of[0].len()),
        false => Err(Error::operator(OP, "C values per channel", format!("{of:?}"))),
    }
}
