//! The losses as operators: the arrays that they take beside the prediction, and the arrays that come out.
//!
//! `loss` and the gradient of the prediction always come out. If the file holds the prediction's tangent, the gradient's tangent comes out too.

use super::Operator;
use super::case::Cases;
use super::inputs::{Extents, Inputs};
use super::layered::check_tangents;
use super::layout::Layout;
use super::scratch::Scratch;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::cross_entropy::LossOut;
use crate::ops::{cross_entropy, squared_error};
use crate::runtime::tensor::Shape;

/// `op cross_entropy`: `logits[N,K] labels[N]`.
pub struct CrossEntropy;

impl Operator for CrossEntropy {
    const NAME: &'static str = "cross_entropy";
    const CASES: Cases = cross_entropy::cases::CASES;

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let logits = inputs.tensor("logits", Layout::Elements, Extents::Axes(2, "N×K"))?;
        let labels = inputs.labels("labels", logits.shape[0], logits.shape[1])?;
        let tangent = inputs.optional("tangent_logits", Layout::Elements, Extents::Exact(&logits.shape))?;
        inputs.finish(Self::NAME)?;
        if tangent.is_some() {
            check_tangents(backend)?;
        }
        let mut s = Scratch::new(backend);
        let (x, answer) = (s.input(&logits)?, s.labels(&labels)?);
        let out = planned(&mut s, Shape::new([labels.len()]))?;
        let out = LossOut { grad: Some(s.output_like("grad_logits", &logits)?), ..out };
        let tangent = match s.optional(tangent.as_ref())? {
            Some(tangent) => Some((tangent, s.output_like("tangent_grad_logits", &logits)?)),
            None => None,
        };
        s.commit()?;
        s.backend.cross_entropy(x, answer, out)?;
        if let Some((tangent, to)) = tangent {
            s.backend.cross_entropy_tangent(x, tangent, to)?;
        }
        s.finish()
    }
}

/// `op squared_error`: the sum over all elements of `x target`, which have the same shape.
pub struct SquaredError;

impl Operator for SquaredError {
    const NAME: &'static str = "squared_error";
    const CASES: Cases = squared_error::cases::CASES;

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let x = inputs.tensor("x", Layout::Elements, Extents::Any)?;
        let target = inputs.tensor("target", Layout::Elements, Extents::Exact(&x.shape))?;
        let tangent = inputs.optional("tangent_x", Layout::Elements, Extents::Exact(&x.shape))?;
        inputs.finish(Self::NAME)?;
        if tangent.is_some() {
            check_tangents(backend)?;
        }
        let mut s = Scratch::new(backend);
        let (prediction, answer) = (s.input(&x)?, s.input(&target)?);
        let out = planned(&mut s, Shape::new([prediction.0.shape.matrix().0]))?;
        let out = LossOut { grad: Some(s.output_like("grad_x", &x)?), ..out };
        let tangent = match s.optional(tangent.as_ref())? {
            Some(tangent) => Some((tangent, s.output_like("tangent_grad_x", &x)?)),
            None => None,
        };
        s.commit()?;
        s.backend.squared_error(1.0, prediction, answer, out)?;
        if let Some((tangent, to)) = tangent {
            s.backend.squared_error_tangent(1.0, tangent, to)?;
        }
        s.finish()
    }
}

/// Plans the loss, which comes out, and room for the per-sample losses; plans no gradient.
fn planned<B: Backend>(s: &mut Scratch<'_, '_, B>, samples: Shape) -> Result<LossOut> {
    Ok(LossOut {
        loss: s.output_scalar("loss")?,
        correct: s.slots(Shape::new([]))?,
        sample: s.slots(samples)?,
        grad: None,
    })
}
