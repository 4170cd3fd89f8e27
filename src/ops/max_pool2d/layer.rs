//! Max-pooling as a layer.

use super::pooled;
use crate::ops::backend::Backend;
use crate::ops::boundary::{Extents, LayerOperator, Layout, OperatorOf};
use crate::ops::layer::{Backward, Forward, Layer, Tangent, TangentBackward};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// 2×2 max-pooling.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool2dLayer;

impl Layer for MaxPool2dLayer {
    fn describe(&self) -> String {
        "max_pool2x2".into()
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        pooled(x)
    }

    fn is_pool(&self) -> bool {
        true
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        b.max_pool2d(io.x, io.y)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let grad_x = io.grad_x.ok_or_else(|| Error::operator("max_pool2d", "a place for grad_x", "none planned"))?;
        b.max_pool2d_backward(io.forward.x, io.grad_y, grad_x)
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        b.max_pool2d_tangent(io.forward.x, io.moving("max_pool2d")?, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        b.max_pool2d_backward(io.tangent.forward.x, io.moving, io.grad_x("max_pool2d")?)
    }
}

/// `op max_pool2d`: `x[N,C,H,W] grad_y[N,C,⌊H/2⌋,⌊W/2⌋]?`.
pub const OPERATOR: OperatorOf<MaxPool2dLayer> = LayerOperator {
    name: "max_pool2d",
    layout: Layout::Activations,
    extents: Extents::Axes(4, "N×C×H×W"),
    layer: |inputs, x| match x.shape[..] {
        [.., h, w] if h < 2 || w < 2 => {
            Err(inputs.refuse("x", format!("has a map of {h}×{w}"), "2×2 is the smallest that can be pooled"))
        }
        _ => Ok(MaxPool2dLayer.into()),
    },
    statistics: ["mean", "var"],
    cases: super::cases::CASES,
};
