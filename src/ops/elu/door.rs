//! The arrays of ELU and SELU: `x grad_y?`, of any shape.

use super::EluLayer;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Passes, Scratch, Tangents};
use crate::ops::layer::{Kept, Params};
use crate::runtime::tensor::Shape;

/// `op elu`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "elu";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        run(EluLayer::Elu, Self::NAME, backend, inputs)
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}

/// Either of them, under its name.
pub fn run<B: Backend>(layer: EluLayer, name: &'static str, backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
    let x = inputs.tensor("x", Layout::Elements, Extents::Any)?;
    let grad_y = inputs.optional("grad_y", Layout::Elements, Extents::Exact(&x.shape))?;
    let tangents = Tangents::take(inputs, &x, None, None, grad_y.as_ref())?;
    inputs.finish(name)?;

    let mut s = Scratch::new(backend);
    let (x_in, y) = (s.input(&x)?, s.output_like("y", &x)?);
    let backward = match s.optional(grad_y.as_ref())? {
        Some(grad_y) => Some((grad_y, s.output_like("grad_x", &x)?)),
        None => None,
    };
    let moving = tangents.as_ref().map(|t| t.plan(&mut s, (&x.shape, Layout::Elements))).transpose()?;
    let workspace = s.workspace(Shape::new([0]))?;
    s.commit()?;
    s.backend.elu(layer.constants(), x_in, y)?;
    if let Some((grad_y, grad_x)) = backward {
        s.backend.elu_backward(layer.constants(), x_in, grad_y, grad_x)?;
    }
    if let Some(moving) = moving {
        let (params, kept) = (Params::default(), Kept::default());
        let backward = backward.map(|(grad_y, _)| (grad_y, params));
        let passes = Passes { x: x_in, y, params, kept, workspace, state: None, backward };
        moving.run(&layer, s.backend, passes)?;
    }
    s.finish()
}
