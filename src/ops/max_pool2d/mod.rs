//! 2×2 max-pooling, stride 2.
//!
//! It takes `x [H, W, N, C]` to `y [⌊H/2⌋, ⌊W/2⌋, N, C]`: a last odd row or column is dropped, and a map under 2×2 is an error. The backward pass
//! sends dy to the largest element of each window (on ties, the first in row order) and 0 to all others. It reads x again, so nothing is saved. A NaN
//! in a window is the window's maximum, as in PyTorch.
//! nothing is saved. A NaN in a window is its maximum, as in PyTorch.

pub mod cases;
pub mod cpu;
mod cuda;
mod layer;

pub use layer::{MaxPool2dLayer, OPERATOR};

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The output's shape. Errors: the map is under 2×2.
pub fn pooled(x: Shape) -> Result<Shape> {
    let [h, w, n, c] = x.hwnc();
    if h < 2 || w < 2 {
        return Err(Error::operator("max_pool2d", "a map of at least 2×2", format!("{h}×{w}")));
    }
    Ok(Shape::new([h / 2, w / 2, n, c]))
}

/// 2×2 max-pooling.
pub trait MaxPool2d {
    /// Writes y.
    fn max_pool2d(&mut self, x: In, y: Out) -> Result<()>;
    /// Writes all of dx, from the forward pass's input and `grad_y`.
    fn max_pool2d_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()>;
    /// Writes ẏ, from the forward pass's input and its tangent: the tangent of each window's first largest element.
    fn max_pool2d_tangent(&mut self, x: In, x_tangent: In, y_tangent: Out) -> Result<()>;
}
