//! Layers that are linear in x and in their weight: convolution and the linear layer. The tangent of `y = x ∗ w + b` is `ẏ = ẋ ∗ w + x ∗ ẇ + ḃ`. The
//! gradients are linear in dy too and follow the same rule, so each tangent takes two of the layer's own passes.

use super::backend::Backend;
use super::layer::{Backward, Forward, Tangent, TangentBackward};
use super::weight_grads::WeightGrads;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// A bilinear layer, expressed by its own operator.
pub trait Bilinear {
    /// The operator's name in errors.
    const OP: &'static str;
    /// Writes `y = x ∗ weight + bias`.
    fn product<B: Backend>(b: &mut B, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()>;
    /// Writes the gradients of x, the weight and the bias.
    fn gradients<B: Backend>(
        b: &mut B,
        x: In,
        weight: In,
        grad_y: In,
        grads: WeightGrads,
        workspace: Out,
    ) -> Result<()>;
}

/// The weight of a pass. Errors: no weight is planned.
pub fn weight<L: Bilinear>(io: &Forward) -> Result<In> {
    io.params.weight.map(In).ok_or_else(|| missing(L::OP))
}

/// See [`super::layer::Layer::backward`].
pub fn backward<L: Bilinear, B: Backend>(b: &mut B, io: &Backward) -> Result<()> {
    let (of_weight, of_bias) = (io.grads.weight.map(Out), io.grads.bias.map(Out));
    let grads = WeightGrads { x: io.grad_x, weight: of_weight, bias: of_bias, norm: io.norm, update: io.update };
    L::gradients(b, io.forward.x, weight::<L>(&io.forward)?, io.grad_y, grads, Out(io.forward.workspace))
}

/// See [`super::layer::Layer::tangent`].
pub fn tangent<L: Bilinear, B: Backend>(b: &mut B, io: &Tangent) -> Result<()> {
    let (f, weight) = (&io.forward, weight::<L>(&io.forward)?);
    let (workspace, bias_t) = (Out(f.workspace), io.params.bias.map(In));
    match (io.x, io.params.weight.map(In)) {
        (Some(xt), None) => L::product(b, xt, weight, bias_t, io.y, workspace),
        (None, Some(wt)) => L::product(b, f.x, wt, bias_t, io.y, workspace),
        (Some(xt), Some(wt)) => {
            L::product(b, xt, weight, None, io.y, workspace)?;
            let other = io.spare(0, io.y.0.shape);
            L::product(b, f.x, wt, bias_t, other, workspace)?;
            b.axpy(1.0, other.into(), io.y)
        }
        (None, None) => Err(Error::operator(L::OP, "an input or a weight that moves", "neither")),
    }
}

/// See [`super::layer::Layer::tangent_backward`].
pub fn tangent_backward<L: Bilinear, B: Backend>(b: &mut B, io: &TangentBackward) -> Result<()> {
    let (t, f) = (&io.tangent, &io.tangent.forward);
    let (weight, workspace) = (weight::<L>(f)?, Out(f.workspace));
    let grad_w = io.grads_tangent.weight.ok_or_else(|| missing(L::OP))?;
    let of_bias = io.grads_tangent.bias.map(Out);
    let grads = WeightGrads { x: io.grad_x, weight: Some(Out(grad_w)), bias: of_bias, norm: None, update: None };
    L::gradients(b, f.x, weight, io.moving, grads, workspace)?;
    // A weight that does not move adds nothing to x's gradient, an x that does not move nothing to the weight's; where only x moves,
    // the weight's is not asked for.
    let (Some(xt), Some(wt)) = (t.x, t.params.weight) else { return Ok(()) };
    let (of_x, of_w) = (io.grad_x.map(|to| t.spare(0, to.0.shape)), t.spare(1, grad_w.shape));
    let more = WeightGrads { x: of_x, weight: Some(of_w), bias: None, norm: None, update: None };
    L::gradients(b, xt, In(wt), io.grad_y, more, workspace)?;
    if let (Some(more), Some(to)) = (of_x, io.grad_x) {
        b.axpy(1.0, more.into(), to)?;
    }
    b.axpy(1.0, of_w.into(), Out(grad_w))
}

fn missing(op: &'static str) -> Error {
    Error::operator(op, "a weight", "none planned")
}
