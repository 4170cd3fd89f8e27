//! The passes of batch renormalisation, made of BatchNorm's: the same on any backend.

use super::{Correction, RenormLimits, Uncorrected};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::norm::{NormCotangents, NormGrads, NormPass, NormSpec, NormTangents};
use crate::runtime::tensor::{In, Out, Shape, View};

/// Per-channel vectors that stand behind BatchNorm's workspace.
const VECTORS: usize = 8;

/// The workspace of all passes over an x of this shape.
pub fn workspace<B: Backend>(backend: &B, spec: &NormSpec, x: Shape) -> Shape {
    let plain = NormSpec { renorm: None, ..*spec };
    Shape::new([backend.norm_workspace(&plain, x).len() + VECTORS * x.hwnc()[3]])
}

/// A pass, its BatchNorm, and the correction that stands between them.
struct Corrected {
    plain: NormSpec,
    pass: NormPass,
    correction: Correction,
    /// Per-channel vectors that are free.
    room: [View; 4],
}

/// Writes the correction by the statistics that are there.
fn corrected<B: Backend>(
    b: &mut B,
    limits: RenormLimits,
    spec: NormSpec,
    pass: NormPass,
    [running_mean, running_var]: [In; 2],
) -> Result<Corrected> {
    let (plain, x, channels) = (NormSpec { renorm: None, ..spec }, pass.x.0.shape, pass.mean.0.shape);
    let room = b.norm_workspace(&plain, x).len();
    let vector = |which: usize| pass.workspace.0.slice(room + which * channels.len(), channels);
    let [ratio, shift, weight, bias] = [0, 1, 2, 3].map(|which| Out(vector(which)));
    let correction = Correction { ratio, shift, weight, bias };
    let (mean, var) = (pass.mean.into(), pass.spread.into());
    let of = Uncorrected { mean, var, running_mean, running_var, weight: pass.weight, bias: pass.bias };
    b.renorm(limits, spec.eps, of, correction)?;
    let workspace = Out(pass.workspace.0.slice(0, Shape::new([room])));
    let pass = NormPass { weight: weight.into(), bias: bias.into(), workspace, ..pass };
    Ok(Corrected { plain, pass, correction, room: [4, 5, 6, 7].map(vector) })
}

/// Statistics, the correction, and what is applied by both.
pub fn forward<B: Backend>(
    b: &mut B,
    limits: RenormLimits,
    spec: NormSpec,
    pass: NormPass,
    running: [In; 2],
) -> Result<()> {
    b.norm_statistics(NormSpec { renorm: None, ..spec }, pass)?;
    let Corrected { plain, pass, .. } = corrected(b, limits, spec, pass, running)?;
    b.norm_eval(plain, pass)
}

/// The gradients.
pub fn backward<B: Backend>(
    b: &mut B,
    limits: RenormLimits,
    spec: NormSpec,
    pass: NormPass,
    running: [In; 2],
    grad_y: In,
    grads: NormGrads,
) -> Result<()> {
    let Corrected { plain, pass, correction, room: [raw, ..] } = corrected(b, limits, spec, pass, running)?;
    b.norm_backward(plain, pass, grad_y, NormGrads { weight: Out(raw), ..grads })?;
    b.renorm_gradient(correction, In(raw), grads.bias.into(), grads.weight)
}

/// Where γ and β move, so do γ r and β + γ d.
fn moved<B: Backend>(b: &mut B, of: &Corrected, tangents: NormTangents) -> Result<NormTangents> {
    let [.., weight, bias] = of.room;
    b.renorm_tangent(of.correction, tangents.weight, tangents.bias, Out(weight), Out(bias))?;
    Ok(NormTangents { weight: Some(In(weight)), bias: Some(In(bias)), ..tangents })
}

/// How y moves, r and d being held.
pub fn tangent<B: Backend>(
    b: &mut B,
    limits: RenormLimits,
    spec: NormSpec,
    pass: NormPass,
    running: [In; 2],
    tangents: NormTangents,
) -> Result<()> {
    let of = corrected(b, limits, spec, pass, running)?;
    let tangents = moved(b, &of, tangents)?;
    b.norm_tangent(of.plain, of.pass, tangents)
}

/// How the gradients move, r and d being held. `spare` has room for a tensor like x.
pub fn tangent_backward<B: Backend>(
    b: &mut B,
    limits: RenormLimits,
    spec: NormSpec,
    pass: NormPass,
    running: [In; 2],
    tangents: NormTangents,
    cotangents: NormCotangents,
    grads: NormGrads,
    spare: Out,
) -> Result<()> {
    let of = corrected(b, limits, spec, pass, running)?;
    let tangents = moved(b, &of, tangents)?;
    let [raw, bias, ..] = of.room;
    // BatchNorm's own gradients: of dγ, only what r and d have made of it is kept.
    let own = NormGrads { x: spare, weight: Out(raw), bias: Out(bias) };
    b.norm_backward(of.plain, of.pass, cotangents.grad_y, own)?;
    let cotangents = NormCotangents { grad_weight: In(raw), grad_bias: In(bias), ..cotangents };
    b.norm_tangent_backward(of.plain, of.pass, tangents, cotangents, grads)?;
    b.copy(grads.weight.into(), Out(raw))?;
    b.renorm_gradient(of.correction, In(raw), grads.bias.into(), grads.weight)
}
