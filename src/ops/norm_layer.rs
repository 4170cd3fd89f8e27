//! What the layers of all norms have in common: parameters, views, evaluation by running statistics.

use super::backend::Backend;
use super::layer::{Backward, Forward, Kept, Param, Params};
use super::norm::{NormGrads, NormOptions, NormParams, Statistics};
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
