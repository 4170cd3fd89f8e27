//! ReLU alone, where no norm is there to carry it: `y = max(x, 0)`, `dx = dy` where x > 0, 0 elsewhere (so ReLU'(0) = 0).

pub mod cases;
pub mod cpu;
mod cuda;
pub mod door;
mod layer;

pub use layer::ReluLayer;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// ReLU on tensors of any shape.
pub trait Relu {
    /// Writes y. A NaN stays one.
    fn relu(&mut self, x: In, y: Out) -> Result<()>;
    /// Writes dx from the forward's input and `grad_y`.
    fn relu_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()>;
}
