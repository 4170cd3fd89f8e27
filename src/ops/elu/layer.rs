//! ELU or SELU as a layer: it follows the norm, or the noise, and is part of no other layer's pass.

use super::Constants;
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Layer, Tangent, TangentBackward};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// ELU or SELU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EluLayer {
    /// λ = α = 1
    Elu,
    /// With the constants of self-normalising networks.
    Selu,
}

impl EluLayer {
    /// λ and α.
    pub fn constants(self) -> Constants {
        match self {
            EluLayer::Elu => Constants::ELU,
            EluLayer::Selu => Constants::SELU,
        }
    }
}

impl Layer for EluLayer {
    fn describe(&self) -> String {
        match self {
            EluLayer::Elu => "elu".into(),
            EluLayer::Selu => "selu".into(),
        }
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        Ok(x)
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        b.elu(self.constants(), io.x, io.y)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let grad_x = io.grad_x.ok_or_else(|| Error::operator("elu", "a place for grad_x", "none planned"))?;
        b.elu_backward(self.constants(), io.forward.x, io.grad_y, grad_x)
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        b.elu_backward(self.constants(), io.forward.x, io.moving("elu")?, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        let (t, to) = (&io.tangent, io.grad_x("elu")?);
        b.elu_tangent_backward(self.constants(), t.forward.x, t.moving("elu")?, io.grad_y, io.moving, to)
    }
}
