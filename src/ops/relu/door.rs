//! The ReLU's arrays: `x grad_y?`, of any shape.

use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Scratch};

/// `op relu`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "relu";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let x = inputs.tensor("x", Layout::Elements, Extents::Any)?;
        let grad_y = inputs.optional("grad_y", Layout::Elements, Extents::Exact(&x.shape))?;
        inputs.finish(Self::NAME)?;

        let mut s = Scratch::new(backend);
        let (x_in, y) = (s.input(&x)?, s.output_like("y", &x)?);
        let backward = match s.optional(grad_y.as_ref())? {
            Some(grad_y) => Some((grad_y, s.output_like("grad_x", &x)?)),
            None => None,
        };
        s.commit()?;
        s.backend.relu(x_in, y)?;
        if let Some((grad_y, grad_x)) = backward {
            s.backend.relu_backward(x_in, grad_y, grad_x)?;
        }
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
