//! The sum of squared errors: `loss = scale Σ (x − t)²`, `dx = 2 scale (x − t)`.
//!
//! With scale 1 it is the deep linear network's loss. (A mean over the samples has scale 1/N; at the paper's learning rate the network then trains a
//! thousand times more slowly.)

pub mod cases;
pub mod cpu;
mod cuda;

use super::cross_entropy::LossOut;
use crate::Result;
use crate::runtime::tensor::{In, Out};

/// Squared error.
pub trait SquaredError {
    /// Writes the loss and the gradient, for `x` and `target` of shape `[N, D]`. `out.correct` becomes NaN: no answer is right or wrong.
    fn squared_error(&mut self, scale: f64, x: In, target: In, out: LossOut) -> Result<()>;
    /// Writes the tangent of the gradient, in f32 or f64: `2 scale ẋ`.
    fn squared_error_tangent(&mut self, scale: f64, x_tangent: In, grad_tangent: Out) -> Result<()>;
}
