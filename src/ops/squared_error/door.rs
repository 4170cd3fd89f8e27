//! The squared error's arrays: `x target`, of one shape. The gradient is always given, with respect to x.

use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::cross_entropy::LossOut;
use crate::ops::door::tangent::supported;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Scratch};
use crate::runtime::tensor::Shape;

/// `op squared_error`: the sum over all elements.
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "squared_error";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let x = inputs.tensor("x", Layout::Elements, Extents::Any)?;
        let target = inputs.tensor("target", Layout::Elements, Extents::Exact(&x.shape))?;
        let moving = inputs.optional("tangent_x", Layout::Elements, Extents::Exact(&x.shape))?;
        inputs.finish(Self::NAME)?;

        let mut s = Scratch::new(backend);
        let (x_in, target_in) = (s.input(&x)?, s.input(&target)?);
        let out = LossOut {
            loss: s.output_scalar("loss")?,
            correct: s.slots(Shape::new([]))?,
            sample: s.slots(Shape::new([x_in.0.shape.matrix().0]))?,
            grad: Some(s.output_like("grad_x", &x)?),
        };
        if moving.is_some() {
            supported(s.backend)?;
        }
        let moving = match s.optional(moving.as_ref())? {
            Some(moving) => Some((moving, s.output_like("tangent_grad_x", &x)?)),
            None => None,
        };
        s.commit()?;
        s.backend.squared_error(1.0, x_in, target_in, out)?;
        if let Some((moving, to)) = moving {
            s.backend.squared_error_tangent(1.0, moving, to)?;
        }
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
