//! ReLU as a layer.

use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Layer, Tangent, TangentBackward};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// ReLU.
#[derive(Debug, Clone, PartialEq)]
pub struct ReluLayer;

impl Layer for ReluLayer {
    fn describe(&self) -> String {
        "relu".into()
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        Ok(x)
    }

    fn is_relu(&self) -> bool {
        true
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        b.relu(io.x, io.y)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let grad_x = io.grad_x.ok_or_else(|| Error::operator("relu", "a place for grad_x", "none planned"))?;
        b.relu_backward(io.forward.x, io.grad_y, grad_x)
    }

    // Its own slope is a constant almost everywhere: both tangents are what backward does.
    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        b.relu_backward(io.forward.x, io.moving("relu")?, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        b.relu_backward(io.tangent.forward.x, io.moving, io.grad_x("relu")?)
    }
}
