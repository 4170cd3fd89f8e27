//! What the layers of all norms have in common: parameters, views, evaluation by running statistics.

use super::backend::Backend;
use super::layer::{Backward, Forward, Kept, Param, Params, Tangent, TangentBackward};
use super::norm::{NormGrads, NormOptions, NormParams, Statistics};
use super::norm_tangent::{Law, Moving, Normed, Upstream};
use super::running::{RunningStatistics, Spread};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// γ (1) and β (0) of every unit.
pub fn params(x: Shape) -> Vec<Param> {
    let units = x.hwnc()[3];
    vec![Param::per_unit("weight", units, 1.0), Param::per_unit("bias", units, 0.0)]
}

fn missing() -> Error {
    Error::operator("norm", "weight, bias, mean and spread", "not all planned")
}

/// γ and β of a pass.
pub fn operands(params: Params) -> Result<NormParams> {
    match (params.weight, params.bias) {
        (Some(weight), Some(bias)) => Ok(NormParams { weight: In(weight), bias: In(bias) }),
        _ => Err(missing()),
    }
}

/// Where the batch's statistics stand.
pub fn statistics(kept: Kept) -> Result<Statistics> {
    match (kept.mean, kept.spread) {
        (Some(mean), Some(spread)) => Ok(Statistics { mean: Out(mean), spread: Out(spread) }),
        _ => Err(missing()),
    }
}

/// Where the gradients go.
pub fn gradients(io: &Backward) -> Result<NormGrads> {
    match (io.grad_x, io.grads.weight, io.grads.bias) {
        (Some(x), Some(weight), Some(bias)) => Ok(NormGrads { x, weight: Out(weight), bias: Out(bias) }),
        _ => Err(missing()),
    }
}

fn running(kept: Kept) -> Result<RunningStatistics> {
    statistics(kept).map(|s| RunningStatistics { mean: s.mean, spread: s.spread })
}

/// A norm at evaluation.
pub fn evaluate<B: Backend>(b: &mut B, kind: Spread, options: NormOptions, io: &Forward, kept: Kept) -> Result<()> {
    b.norm_eval(kind, io.x, operands(io.params)?, options, running(kept)?, io.y)
}

/// A norm's forward pass, as it was.
pub fn normed(law: Law, options: NormOptions, f: &Forward) -> Result<Normed> {
    let (params, stats) = (operands(f.params)?, statistics(f.kept)?);
    Ok(Normed {
        law,
        eps: options.eps,
        x: f.x,
        weight: params.weight,
        mean: stats.mean.into(),
        spread: stats.spread.into(),
        relu: options.relu.then_some(f.y.into()),
    })
}

/// How its operands move.
pub fn moving(io: &Tangent) -> Result<Moving> {
    Ok(Moving { x: io.moving("norm")?, weight: io.params.weight.map(In), bias: io.params.bias.map(In) })
}

/// How a norm's output moves, to `y`.
pub fn tangent<B: Backend>(b: &mut B, law: Law, options: NormOptions, io: &Tangent, y: Out) -> Result<()> {
    let norm = normed(law, options, &io.forward)?;
    b.norm_tangent(norm, moving(io)?, y, statistics(io.kept)?, Out(io.forward.workspace))
}

/// How a norm's gradients move, where its y's gradient is the first of `upstream` and moves by the second.
pub fn tangent_backward<B: Backend>(
    b: &mut B,
    law: Law,
    options: NormOptions,
    io: &TangentBackward,
    upstream: (In, In),
) -> Result<()> {
    let t = &io.tangent;
    let norm = normed(law, options, &t.forward)?;
    let own = operands(io.grads)?;
    let upstream = Upstream { grad_y: upstream.0, moving: upstream.1, grad_weight: own.weight, grad_bias: own.bias };
    let grads = match (io.grad_x, io.grads_tangent.weight, io.grads_tangent.bias) {
        (Some(x), Some(weight), Some(bias)) => NormGrads { x, weight: Out(weight), bias: Out(bias) },
        _ => return Err(missing()),
    };
    b.norm_tangent_backward(norm, moving(t)?, statistics(t.kept)?, upstream, grads, Out(t.forward.workspace))
}
