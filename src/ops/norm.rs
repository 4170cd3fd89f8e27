//! What the contracts of all norms share: their operands, settings and gradients.

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The per-unit operands of a norm's forward pass; `[C]` each.
#[derive(Debug, Clone, Copy)]
pub struct NormParams {
    /// γ
    pub weight: In,
    /// β
    pub bias: In,
}

/// What a norm's forward pass keeps of its batch; `[C]` each, of a norm over groups of a sample's channels `[N·G]`; in the backend's dtype.
#[derive(Debug, Clone, Copy)]
pub struct Statistics {
    /// μ
    pub mean: Out,
    /// σ² (BatchNorm, norms over groups), or s, the power mean (ℓp norm).
    pub spread: Out,
}

/// Where a norm's gradients go.
#[derive(Debug, Clone, Copy)]
pub struct NormGrads {
    /// Like x.
    pub x: Out,
    /// dγ, `[C]`
    pub weight: Out,
    /// dβ, `[C]`
    pub bias: Out,
}

/// A norm's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormOptions {
    /// ε: under the root with σ², added to s in the ℓp norm.
    pub eps: f64,
    /// The ReLU follows.
    pub relu: bool,
    /// A 2×2 max-pool follows, and is part of the pass: y and its gradient have its shape, and what lies between is not stored. Only
    /// backends whose [`crate::ops::batch_norm::BatchNorm::norm_pools`] says so take it, on maps of even height and width.
    pub pool: bool,
}

impl NormOptions {
    /// Refuses what a backend without pools in its norms cannot do.
    pub fn without_pool(&self, op: &'static str) -> Result<()> {
        match self.pool {
            false => Ok(()),
            true => Err(Error::operator(op, "a backend whose norms pool", "one that does not")),
        }
    }
}

/// The units of a norm over `x […, C]`, all per-unit tensors having that length. Errors: they do not, or there is no sample.
pub fn units(op: &'static str, x: Shape, per_unit: &[Shape]) -> Result<usize> {
    let (rows, columns) = x.matrix();
    if rows > 0 && columns > 0 && per_unit.iter().all(|s| s.len() == columns) {
        return Ok(columns);
    }
    Err(Error::operator(
        op,
        "x …×C with at least one sample, and C values per unit",
        format!("x {x}, per unit {per_unit:?}"),
    ))
}
