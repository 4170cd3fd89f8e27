//! Arithmetic on flat vectors: what the probes are made of.
//!
//! Sums are taken in f64 in a fixed order and go to scalar slots (f64) on the device.

mod cpu;
mod cuda;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// Which norm of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Σ|x|
    L1,
    /// √Σx²
    L2,
    /// max|x|
    LInf,
}

/// Operations on vectors of one length.
pub trait Vector {
    /// `y ← y + a x`
    fn axpy(&mut self, a: f64, x: In, y: Out) -> Result<()>;
    /// `out ← x + a y`: θ_s = θ − s·g with a = −s.
    fn displace(&mut self, x: In, a: f64, y: In, out: Out) -> Result<()>;
    /// `slot ← ⟨x, y⟩`
    fn dot(&mut self, x: In, y: In, slot: Out) -> Result<()>;
    /// `slot ← ‖x‖`
    fn norm(&mut self, kind: NormKind, x: In, slot: Out) -> Result<()>;
    /// `slot ← ‖x − y‖`
    fn diff_norm(&mut self, kind: NormKind, x: In, y: In, slot: Out) -> Result<()>;
    /// `to ← from`
    fn copy(&mut self, from: In, to: Out) -> Result<()>;
    /// `to ← from`, rounded to the type in which the backend holds operands of matrix products.
    fn recast(&mut self, from: In, to: Out) -> Result<()>;
}
