//! The arrays of the activations: `x grad_y?`, of any shape.

use super::{Activation, ActivationLayer};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Extents, Inputs, Layout, Passes, Scratch, Tangents};
use crate::ops::layer::{Kept, Params};
use crate::runtime::tensor::Shape;

/// `op relu`, `op elu`, …: see [`crate::ops::door::Operator::run`].
pub fn run<B: Backend>(kind: Activation, backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
    let x = inputs.tensor("x", Layout::Elements, Extents::Any)?;
    let grad_y = inputs.optional("grad_y", Layout::Elements, Extents::Exact(&x.shape))?;
    let tangents = Tangents::take(inputs, &x, None, None, grad_y.as_ref())?;
    inputs.finish(kind.name())?;

    let mut s = Scratch::new(backend);
    let (x_in, y) = (s.input(&x)?, s.output_like("y", &x)?);
    let backward = match s.optional(grad_y.as_ref())? {
        Some(grad_y) => Some((grad_y, s.output_like("grad_x", &x)?)),
        None => None,
    };
    let moving = tangents.as_ref().map(|t| t.plan(&mut s, (&x.shape, Layout::Elements))).transpose()?;
    let workspace = s.workspace(Shape::new([0]))?;
    s.commit()?;
    s.backend.activation(kind, x_in, y)?;
    if let Some((grad_y, grad_x)) = backward {
        s.backend.activation_backward(kind, x_in, grad_y, grad_x)?;
    }
    if let Some(moving) = moving {
        let (params, kept) = (Params::default(), Kept::default());
        let backward = backward.map(|(grad_y, _)| (grad_y, params));
        let passes = Passes { x: x_in, y, params, kept, workspace, state: None, backward };
        moving.run(&ActivationLayer { kind }, s.backend, passes)?;
    }
    s.finish()
}
