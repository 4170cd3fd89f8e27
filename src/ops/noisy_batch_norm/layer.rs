//! Noisy BatchNorm as a layer; at evaluation the noise is off.

use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Fusion, Kept, Layer, Param, Tangent, TangentBackward};
use crate::ops::noise::NoiseOptions;
use crate::ops::norm::NormOptions;
use crate::ops::norm_layer::{self, gradients, operands, statistics};
use crate::ops::norm_tangent::Law;
use crate::ops::running::Spread;
use crate::runtime::tensor::{Out, Shape};

/// Noisy BatchNorm as a layer; at evaluation the noise is off.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisyBatchNormLayer {
    /// ε and ReLU.
    pub options: NormOptions,
    /// The noise, which knows the layer's number.
    pub noise: NoiseOptions,
}

impl Layer for NoisyBatchNormLayer {
    fn describe(&self) -> String {
        let relu = if self.options.relu { ", relu" } else { "" };
        format!("noisy_batch_norm(eps {}, {}{relu})", self.options.eps, self.noise.describe())
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
        NoisyBatchNormLayer { options: NormOptions { relu: false, ..self.options }, ..*self }
    }

    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        backend.norm_workspace(x)
    }

    fn forward<B: Backend>(&self, b: &mut B, io: &Forward) -> Result<()> {
        let (params, stats, options) = (operands(io.params)?, statistics(io.kept)?, io.fusion.norm(self.options));
        let (x, y, workspace) = (io.x, io.y, Out(io.workspace));
        if io.fusion.take_sums {
            return b.noisy_batch_norm_from_sums(self.noise, x, params, options, io.state, y, stats, workspace);
        }
        b.noisy_batch_norm(self.noise, x, params, options, io.state, y, stats, workspace)
    }

    fn evaluate<B: Backend>(&self, b: &mut B, io: &Forward, running: Kept) -> Result<()> {
        norm_layer::evaluate(b, Spread::Variance, io.fusion.norm(self.options), io, running)
    }

    fn backward<B: Backend>(&self, b: &mut B, io: &Backward) -> Result<()> {
        let (f, grads) = (&io.forward, gradients(io)?);
        let (params, stats, options) = (operands(f.params)?, statistics(f.kept)?, f.fusion.norm(self.options));
        b.noisy_batch_norm_backward(
            self.noise,
            f.x,
            params,
            options,
            f.state,
            stats,
            io.grad_y,
            grads,
            Out(f.workspace),
        )
    }

    fn tangent<B: Backend>(&self, b: &mut B, io: &Tangent) -> Result<()> {
        // The ReLU's gaps may come before the noise: 0 times s is 0.
        let (f, normed) = (&io.forward, io.spare(0, io.y.0.shape));
        norm_layer::tangent(b, Law::Variance, self.options, io, normed)?;
        b.noise_backward(self.noise, false, f.x, normed.into(), f.state, io.y)
    }

    fn tangent_backward<B: Backend>(&self, b: &mut B, io: &TangentBackward) -> Result<()> {
        let f = &io.tangent.forward;
        let [own, moving] = [0, 1].map(|which| io.tangent.spare(which, f.y.0.shape));
        b.noise_backward(self.noise, false, f.x, io.grad_y, f.state, own)?;
        b.noise_backward(self.noise, false, f.x, io.moving, f.state, moving)?;
        norm_layer::tangent_backward(b, Law::Variance, self.options, io, (own.into(), moving.into()))
    }
}
