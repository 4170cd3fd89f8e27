//! The passes of batch renormalisation, built from BatchNorm's passes, and so the same on any backend.

use super::{Correction, RenormLimits, Uncorrected};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::norm::{NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::runtime::tensor::{In, Out, Shape, View};

/// The number of per-channel vectors that follow BatchNorm's workspace.
const VECTORS: usize = 8;

/// The workspace of all passes over an x of this shape, as a shape.
pub fn workspace<B: Backend>(backend: &B, spec: &NormSpec, x: Shape) -> Shape {
    let plain = NormSpec { renorm: None, ..*spec };
    Shape::new([backend.norm_workspace(&plain, x).len() + VECTORS * x.hwnc()[3]])
}

/// A pass of batch renormalisation.
#[derive(Debug, Clone, Copy)]
pub struct RenormPass {
    /// The bounds of r and d.
    pub limits: RenormLimits,
    /// The norm, with the limits in it.
    pub spec: NormSpec,
    /// The tensors, as for BatchNorm; the workspace has the shape [`workspace`].
    pub pass: NormPass,
    /// μ_r
    pub running_mean: In,
    /// σ_r²
    pub running_var: In,
}

/// The BatchNorm that a pass is built from, with γ r and β + γ d in place of γ and β.
struct Corrected {
    plain: NormSpec,
    pass: NormPass,
    correction: Correction,
    /// Per-channel scratch vectors.
    free: [View; 4],
}

impl RenormPass {
    /// Writes the statistics and y.
    pub fn forward<B: Backend>(self, b: &mut B) -> Result<()> {
        b.norm_statistics(NormSpec { renorm: None, ..self.spec }, self.pass)?;
        let Corrected { plain, pass, .. } = self.corrected(b)?;
        b.norm_eval(plain, pass)
    }

    /// Writes the gradients.
    pub fn backward<B: Backend>(self, b: &mut B, grad_y: In, grads: NormGrads) -> Result<()> {
        let Corrected { plain, pass, correction, free: [raw, ..] } = self.corrected(b)?;
        b.norm_backward(plain, pass, grad_y, NormGrads { weight: Out(raw), ..grads })?;
        b.renorm_gradient(correction, In(raw), grads.bias.into(), grads.weight)
    }

    /// Writes the tangent of y, with r and d held fixed.
    pub fn tangent<B: Backend>(self, b: &mut B, tangents: NormTangents) -> Result<()> {
        let of = self.corrected(b)?;
        let tangents = of.tangents(b, tangents)?;
        b.norm_tangent(of.plain, of.pass, tangents)
    }

    /// Writes the tangents of the gradients, with r and d held fixed. `spare` has room for a tensor like x.
    pub fn tangent_backward<B: Backend>(self, b: &mut B, io: NormTangentBackward, spare: Out) -> Result<()> {
        let (of, grads) = (self.corrected(b)?, io.grads);
        let tangents = of.tangents(b, io.tangents)?;
        let [raw, bias, ..] = of.free;
        // BatchNorm's dγ' is needed, and backward has saved dγ = r dγ' + d dβ only: it is found again.
        let own = NormGrads { x: spare, weight: Out(raw), bias: Out(bias), left: false };
        b.norm_backward(of.plain, of.pass, io.grad_y, own)?;
        let own = NormTangentBackward { tangents, grad_weight: In(raw), grad_bias: In(bias), ..io };
        b.norm_tangent_backward(of.plain, of.pass, own)?;
        b.copy(grads.weight.into(), Out(raw))?;
        b.renorm_gradient(of.correction, In(raw), grads.bias.into(), grads.weight)
    }

    /// Computes the correction from the statistics that `pass` holds.
    fn corrected<B: Backend>(self, b: &mut B) -> Result<Corrected> {
        let RenormPass { limits, spec, pass, running_mean, running_var } = self;
        let (plain, channels) = (NormSpec { renorm: None, ..spec }, pass.mean.0.shape);
        let first = b.norm_workspace(&plain, pass.x.0.shape).len();
        let vector = |which: usize| pass.workspace.0.slice(first + which * channels.len(), channels);
        let [ratio, shift, weight, bias] = [0, 1, 2, 3].map(|which| Out(vector(which)));
        let correction = Correction { ratio, shift, weight, bias };
        let (mean, var) = (pass.mean.into(), pass.spread.into());
        let of = Uncorrected { mean, var, running_mean, running_var, weight: pass.weight, bias: pass.bias };
        b.renorm(limits, spec.eps, of, correction)?;
        let workspace = Out(pass.workspace.0.slice(0, Shape::new([first])));
        let pass = NormPass { weight: weight.into(), bias: bias.into(), workspace, ..pass };
        Ok(Corrected { plain, pass, correction, free: [4, 5, 6, 7].map(vector) })
    }
}

impl Corrected {
    /// The tangents of γ r and β + γ d, from the tangents of γ and β in `of`.
    fn tangents<B: Backend>(&self, b: &mut B, of: NormTangents) -> Result<NormTangents> {
        let [.., weight, bias] = self.free;
        b.renorm_tangent(self.correction, [of.weight, of.bias], [Out(weight), Out(bias)])?;
        Ok(NormTangents { weight: Some(In(weight)), bias: Some(In(bias)), ..of })
    }
}
