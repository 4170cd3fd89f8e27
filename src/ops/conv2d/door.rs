//! The convolution's arrays: `x[N,C,H,W] weight[K,C,3,3] bias[K]? grad_y[N,K,H,W]?`.

use super::{Conv2dGrads, Conv2dLayer, Map};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Case, Extents, Inputs, Layout, Operator, Passes, Scratch, Tangents};
use crate::ops::layer::{Kept, Params};
use crate::runtime::slots::Door;

/// `op conv2d`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "conv2d";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let x = inputs.tensor("x", Layout::Activations, Extents::Axes(4, "N×C×H×W"))?;
        let (n, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
        let weight = inputs.tensor("weight", Layout::Parameter(Door::Conv3x3), Extents::Axes(4, "K×C×3×3"))?;
        let k = weight.shape[0];
        if weight.shape[1..] != [c, 3, 3] {
            let problem = format!("has the extents {:?}", weight.shape);
            return Err(inputs.refuse("weight", problem, format!("x has {c} channels, so K×{c}×3×3 fits")));
        }
        let bias = inputs.optional("bias", Layout::Plain, Extents::Exact(&[k]))?;
        let grad_y = inputs.optional("grad_y", Layout::Activations, Extents::Exact(&[n, k, h, w]))?;
        let tangents = Tangents::take(inputs, &x, Some(&weight), bias.as_ref(), grad_y.as_ref())?;
        inputs.finish(Self::NAME)?;

        let mut s = Scratch::new(backend);
        let (x_in, weight_in, bias_in) = (s.input(&x)?, s.input(&weight)?, s.optional(bias.as_ref())?);
        let y = s.output("y", &[n, k, h, w], Layout::Activations)?;
        let backward = match s.optional(grad_y.as_ref())? {
            None => None,
            Some(grad_y) => {
                let grads = Conv2dGrads {
                    x: Some(s.output_like("grad_x", &x)?),
                    weight: Some(s.output_like("grad_weight", &weight)?),
                    bias: bias.as_ref().map(|bias| s.output_like("grad_bias", bias)).transpose()?,
                };
                Some((grad_y, grads))
            }
        };
        let room = s.backend.conv2d_workspace(Map { h, w, n, c, k });
        let workspace = s.workspace(room)?;
        let moving = tangents.as_ref().map(|t| t.plan(&mut s, (&[n, k, h, w], Layout::Activations))).transpose()?;
        s.commit()?;
        s.backend.conv2d(x_in, weight_in, bias_in, y, workspace)?;
        if let Some((grad_y, grads)) = backward {
            s.backend.conv2d_backward(x_in, weight_in, grad_y, grads, workspace)?;
        }
        if let Some(moving) = moving {
            let of = |g: Conv2dGrads| Params { weight: g.weight.map(|w| w.0), bias: g.bias.map(|b| b.0) };
            let params = Params { weight: Some(weight_in.0), bias: bias_in.map(|b| b.0) };
            let backward = backward.map(|(grad_y, grads)| (grad_y, of(grads)));
            let passes = Passes { x: x_in, y, params, kept: Kept::default(), workspace, state: None, backward };
            let layer = Conv2dLayer { channels: k, bias: bias.is_some(), weight_norm: false };
            moving.run(&layer, s.backend, passes)?;
        }
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
