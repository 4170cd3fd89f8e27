//! The sum of squared errors: `loss = scale Σ (x − t)²`, `dx = 2 scale (x − t)`.
//!
//! The deep linear network's loss with scale 1. (A mean over the samples is scale 1/N: at the paper's learning rate it
//! trains a thousand times more slowly.)

pub mod cases;
pub mod cpu;
mod cuda;

use super::cross_entropy::LossOut;
use crate::Result;
use crate::runtime::tensor::{In, Out};

/// Squared error.
pub trait SquaredError {
    /// Writes the loss and the gradient, for `x` and `target` `[N, D]`. `out.correct` becomes NaN: nothing is right or wrong.
    fn squared_error(&mut self, scale: f64, x: In, target: In, out: LossOut) -> Result<()>;
    /// Writes how the gradient moves with x, in f32 or f64: `2 scale ẋ`.
    fn squared_error_tangent(&mut self, scale: f64, x_tangent: In, grad_tangent: Out) -> Result<()>;
}
