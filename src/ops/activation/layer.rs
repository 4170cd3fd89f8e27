//! An activation as a layer of its own, after the norm or the noise.

use super::{Activation, TangentOperands, cases};
use crate::ops::backend::Backend;
use crate::ops::boundary::{Extents, Inputs, Keyed, LayerOperator, Layout, Tensor};
use crate::ops::layer::{Backward, Forward, Layer, Tangent, TangentBackward};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// An activation by itself. A ReLU is usually fused into the pass of the layer before it instead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivationLayer {
    /// Which activation.
    pub kind: Activation,
}

impl Layer for ActivationLayer {
    fn describe(&self) -> String {
        self.kind.name().into()
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        Ok(x)
    }

    fn is_relu(&self) -> bool {
        self.kind == Activation::Relu
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        b.activation(self.kind, io.x, io.y)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let none = || Error::operator(self.kind.name(), "a place for grad_x", "none planned");
        b.activation_backward(self.kind, io.forward.x, io.grad_y, io.grad_x.ok_or_else(none)?)
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        b.activation_backward(self.kind, io.forward.x, io.moving(self.kind.name())?, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        let (t, name) = (&io.tangent, self.kind.name());
        let x_tangent = t.moving(name)?;
        let of = TangentOperands { x: t.forward.x, x_tangent, grad_y: io.grad_y, grad_y_tangent: io.moving };
        b.activation_tangent_backward(self.kind, of, io.grad_x(name)?)
    }
}

/// The activation as an operator, such as `op relu`. It takes `x grad_y?`, of any shape.
pub fn operator(kind: Activation) -> LayerOperator<impl Fn(&mut Inputs, &Tensor) -> Result<Keyed<ActivationLayer>>> {
    LayerOperator {
        name: kind.name(),
        layout: Layout::Elements,
        extents: Extents::Any,
        layer: move |_: &mut Inputs, _: &Tensor| Ok(ActivationLayer { kind }.into()),
        statistics: ["mean", "var"],
        cases: cases::CASES,
    }
}
