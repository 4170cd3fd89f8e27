//! An ℓp norm as a layer, with the ReLU that may follow.

use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Fusion, Kept, Layer, Param, Tangent, TangentBackward};
use crate::ops::norm::NormOptions;
use crate::ops::norm_layer::{self, gradients, operands, statistics};
use crate::ops::norm_tangent::Law;
use crate::ops::running::Spread;
use crate::runtime::tensor::{Out, Shape};

/// An ℓp norm as a layer, with the ReLU that may follow.
#[derive(Debug, Clone, PartialEq)]
pub struct LpNormLayer {
    /// p ≥ 1, or infinity.
    pub p: f64,
    /// ε and ReLU.
    pub options: NormOptions,
}

impl Layer for LpNormLayer {
    fn describe(&self) -> String {
        let relu = if self.options.relu { ", relu" } else { "" };
        format!("lp_norm(p {}, eps {}{relu})", self.p, self.options.eps)
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
        Some((x.hwnc()[3], Spread::Scale))
    }

    fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
        Fusion { pool: backend.norm_pools(), ..Fusion::default() }
    }

    fn before_activation(&self) -> Self {
        LpNormLayer { options: NormOptions { relu: false, ..self.options }, ..*self }
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        backend.norm_workspace(x)
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        let (params, stats, options) = (operands(io.params)?, statistics(io.kept)?, io.fusion.norm(self.options));
        b.lp_norm(self.p, io.x, params, options, io.y, stats, Out(io.workspace))
    }

    fn evaluate<B: Backend>(&self, b: &mut B, io: &Forward, running: Kept) -> Result<()> {
        norm_layer::evaluate(b, Spread::Scale, io.fusion.norm(self.options), io, running)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let (f, grads) = (&io.forward, gradients(io)?);
        let (params, stats, options) = (operands(f.params)?, statistics(f.kept)?, f.fusion.norm(self.options));
        b.lp_norm_backward(self.p, f.x, params, options, stats, io.grad_y, grads, Out(f.workspace))
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        norm_layer::tangent(b, Law::Power(self.p), self.options, io, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        norm_layer::tangent_backward(b, Law::Power(self.p), self.options, io, (io.grad_y, io.moving))
    }
}
