//! BatchNorm as a layer, with the ReLU that may follow.

use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Fusion, Kept, Layer, Param, Tangent, TangentBackward};
use crate::ops::norm::NormOptions;
use crate::ops::norm_layer::{self, gradients, operands, statistics};
use crate::ops::norm_tangent::Law;
use crate::ops::running::Spread;
use crate::runtime::tensor::{Out, Shape};

/// BatchNorm as a layer, with the ReLU that may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNormLayer {
    /// ε and ReLU.
    pub options: NormOptions,
}

impl Layer for BatchNormLayer {
    fn describe(&self) -> String {
        format!("batch_norm(eps {}{})", self.options.eps, if self.options.relu { ", relu" } else { "" })
    }

    fn prefix(&self) -> &'static str {
        "norm"
    }

    fn output(&self, x: Shape) -> Result<Shape> {
        Ok(x)
    }

    fn params(&self, x: Shape) -> Vec<Param> {
        norm_layer::params(x)
    }

    fn statistics(&self, x: Shape) -> Option<(usize, Spread)> {
        Some((x.hwnc()[3], Spread::Variance))
    }

    fn takes_sums(&self) -> bool {
        true
    }

    fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
        Fusion { pool: backend.norm_pools(), ..Fusion::default() }
    }

    fn before_activation(&self) -> Self {
        BatchNormLayer { options: NormOptions { relu: false, ..self.options } }
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        backend.norm_workspace(x)
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        let (params, stats, options) = (operands(io.params)?, statistics(io.kept)?, io.fusion.norm(self.options));
        if io.fusion.take_sums {
            return b.batch_norm_from_sums(io.x, params, options, io.y, stats, Out(io.workspace));
        }
        b.batch_norm(io.x, params, options, io.y, stats, Out(io.workspace))
    }

    fn evaluate<B: Backend>(&self, b: &mut B, io: &Forward, running: Kept) -> Result<()> {
        norm_layer::evaluate(b, Spread::Variance, io.fusion.norm(self.options), io, running)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let (f, grads) = (&io.forward, gradients(io)?);
        let (params, stats, options) = (operands(f.params)?, statistics(f.kept)?, f.fusion.norm(self.options));
        b.batch_norm_backward(f.x, params, options, stats, io.grad_y, grads, Out(f.workspace))
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        norm_layer::tangent(b, Law::Variance, self.options, io, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        norm_layer::tangent_backward(b, Law::Variance, self.options, io, (io.grad_y, io.moving))
    }
}
