//! 2×2 max-pooling, stride 2.
//!
//! `x [H, W, N, C]` to `y [⌊H/2⌋, ⌊W/2⌋, N, C]`: a last odd row or column is dropped, a map under 2×2 is an error. Backward
//! sends dy to the largest of the window, on ties the first in row order, and 0 everywhere else; it looks at x again, so
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
    /// Writes all of dx from the forward's input and `grad_y`.
    fn max_pool2d_backward(&mut self, x: In, grad_y: In, grad_x: Out) -> Result<()>;
    /// Writes ẏ, from the forward's input and its tangent: that of each window's first largest.
    fn max_pool2d_tangent(&mut self, x: In, x_tangent: In, y_tangent: Out) -> Result<()>;
}
