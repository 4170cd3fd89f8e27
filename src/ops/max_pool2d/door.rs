//! Max-pooling's arrays: `x[N,C,H,W] grad_y[N,C,⌊H/2⌋,⌊W/2⌋]?`.

use super::MaxPool2dLayer;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Passes, Scratch, Tangents};
use crate::ops::layer::{Kept, Params};
use crate::runtime::tensor::Shape;

/// `op max_pool2d`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "max_pool2d";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let x = inputs.tensor("x", Layout::Activations, Extents::Axes(4, "N×C×H×W"))?;
        let pooled = [x.shape[0], x.shape[1], x.shape[2] / 2, x.shape[3] / 2];
        if pooled.contains(&0) {
            let problem = format!("has a map of {}×{}", x.shape[2], x.shape[3]);
            return Err(inputs.refuse("x", problem, "2×2 is the smallest that can be pooled"));
        }
        let grad_y = inputs.optional("grad_y", Layout::Activations, Extents::Exact(&pooled))?;
        let tangents = Tangents::take(inputs, &x, None, None, grad_y.as_ref())?;
        inputs.finish(Self::NAME)?;

        let mut s = Scratch::new(backend);
        let (x_in, y) = (s.input(&x)?, s.output("y", &pooled, Layout::Activations)?);
        let backward = match s.optional(grad_y.as_ref())? {
            Some(grad_y) => Some((grad_y, s.output_like("grad_x", &x)?)),
            None => None,
        };
        let moving = tangents.as_ref().map(|t| t.plan(&mut s, (&pooled, Layout::Activations))).transpose()?;
        let workspace = s.workspace(Shape::new([0]))?;
        s.commit()?;
        s.backend.max_pool2d(x_in, y)?;
        if let Some((grad_y, grad_x)) = backward {
            s.backend.max_pool2d_backward(x_in, grad_y, grad_x)?;
        }
        if let Some(moving) = moving {
            let (params, kept) = (Params::default(), Kept::default());
            let backward = backward.map(|(grad_y, _)| (grad_y, params));
            let passes = Passes { x: x_in, y, params, kept, workspace, state: None, backward };
            moving.run(&MaxPool2dLayer, s.backend, passes)?;
        }
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
