//! The linear layer's arrays: `x[N,I] weight[O,I] bias[O]? grad_y[N,O]?`.

use super::{Extents as Sizes, LinearGrads, LinearLayer};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Passes, Scratch, Tangents};
use crate::ops::layer::{Kept, Params};
use crate::runtime::slots::Door;

/// `op linear`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "linear";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let x = inputs.tensor("x", Layout::Elements, Extents::Axes(2, "N×I"))?;
        let (n, i) = (x.shape[0], x.shape[1]);
        let weight = inputs.tensor("weight", Layout::Parameter(Door::Linear), Extents::Axes(2, "O×I"))?;
        let o = weight.shape[0];
        if weight.shape[1] != i {
            let problem = format!("has the extents {:?}", weight.shape);
            return Err(inputs.refuse("weight", problem, format!("x has {i} columns, so O×{i} fits")));
        }
        let bias = inputs.optional("bias", Layout::Plain, Extents::Exact(&[o]))?;
        let grad_y = inputs.optional("grad_y", Layout::Elements, Extents::Exact(&[n, o]))?;
        let tangents = Tangents::take(inputs, &x, Some(&weight), bias.as_ref(), grad_y.as_ref())?;
        inputs.finish(Self::NAME)?;

        let mut s = Scratch::new(backend);
        let (x_in, weight_in, bias_in) = (s.input(&x)?, s.input(&weight)?, s.optional(bias.as_ref())?);
        let y = s.output("y", &[n, o], Layout::Elements)?;
        let backward = match s.optional(grad_y.as_ref())? {
            None => None,
            Some(grad_y) => {
                let grads = LinearGrads {
                    x: Some(s.output_like("grad_x", &x)?),
                    weight: Some(s.output_like("grad_weight", &weight)?),
                    bias: bias.as_ref().map(|bias| s.output_like("grad_bias", bias)).transpose()?,
                };
                Some((grad_y, grads))
            }
        };
        let room = s.backend.linear_workspace(Sizes { n, i, o });
        let workspace = s.workspace(room)?;
        let moving = tangents.as_ref().map(|t| t.plan(&mut s, (&[n, o], Layout::Elements))).transpose()?;
        s.commit()?;
        s.backend.linear(x_in, weight_in, bias_in, y, workspace)?;
        if let Some((grad_y, grads)) = backward {
            s.backend.linear_backward(x_in, weight_in, grad_y, grads, workspace)?;
        }
        if let Some(moving) = moving {
            let of = |g: LinearGrads| Params { weight: g.weight.map(|w| w.0), bias: g.bias.map(|b| b.0) };
            let params = Params { weight: Some(weight_in.0), bias: bias_in.map(|b| b.0) };
            let backward = backward.map(|(grad_y, grads)| (grad_y, of(grads)));
            let passes = Passes { x: x_in, y, params, kept: Kept::default(), workspace, state: None, backward };
            let layer = LinearLayer { outputs: o, bias: bias.is_some(), weight_norm: false };
            moving.run(&layer, s.backend, passes)?;
        }
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
