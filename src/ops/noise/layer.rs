//! The noise as a layer of its own, in the place of a norm; it is off at evaluation.

use super::NoiseOptions;
use crate::ops::activation::Activation;
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Layer, Tangent, TangentBackward};
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// The noise alone, with an optional ReLU after it.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseLayer {
    /// The settings of the noise, which include the layer's number.
    pub noise: NoiseOptions,
    /// Whether the ReLU follows.
    pub relu: bool,
}

impl NoiseOptions {
    /// Its settings, for the network's description.
    pub fn describe(&self) -> String {
        format!("mean {}, scale {}, spread {}", self.mean, self.scale, self.spread)
    }
}

impl Layer for NoiseLayer {
    fn describe(&self) -> String {
        format!("noise({}{})", self.noise.describe(), if self.relu { ", relu" } else { "" })
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        Ok(x)
    }

    fn before_activation(&self) -> Self {
        NoiseLayer { relu: false, ..*self }
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        b.noise(self.noise, self.relu, io.x, io.state, io.y)
    }

    fn evaluate<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        if self.relu { b.activation(Activation::Relu, io.x, io.y) } else { b.copy(io.x, io.y) }
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let grad_x = io.grad_x.ok_or_else(|| Error::operator("noise", "a place for grad_x", "none planned"))?;
        b.noise_backward(self.noise, self.relu, io.forward.x, io.grad_y, io.forward.state, grad_x)
    }

    // Linear in x but for the ReLU: both tangents are what backward does.
    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        b.noise_backward(self.noise, self.relu, io.forward.x, io.moving("noise")?, io.forward.state, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        let f = &io.tangent.forward;
        b.noise_backward(self.noise, self.relu, f.x, io.moving, f.state, io.grad_x("noise")?)
    }
}
