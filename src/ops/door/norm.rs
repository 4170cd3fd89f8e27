//! What the doors of the norms share: their arrays, their memory, and the shapes of their cases.

use super::case::{Case, Law};
use super::inputs::{Extents, Inputs, Tensor};
use super::layout::Layout;
use super::scratch::Scratch;
use super::tangent::{Moving, Passes, Tangents};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::layer::{Kept, Layer, Params};
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::runtime::tensor::{In, Out, Shape};

/// The arrays and settings of a norm: `x[N,C,…] weight[C] bias[C] grad_y?`, `eps`, `relu`.
#[derive(Debug)]
pub struct NormInputs {
    /// x
    pub x: Tensor,
    weight: Tensor,
    bias: Tensor,
    grad_y: Option<Tensor>,
    tangents: Option<Tangents>,
    /// ε, and whether the ReLU follows.
    pub options: NormOptions,
}

/// What tells a norm's memory from that of others.
pub struct Keeps<'a, B> {
    /// Of mean and spread.
    pub shape: &'a [usize],
    /// Of all passes over an x.
    pub workspace: fn(&B, Shape) -> Shape,
}

/// The handles of one call of a norm.
#[derive(Debug)]
pub struct NormViews {
    /// x
    pub x: In,
    /// γ and β
    pub params: NormParams,
    /// y
    pub y: Out,
    /// μ and the spread
    pub stats: Statistics,
    /// dy, and where the gradients go: where dy was given.
    pub backward: Option<(In, NormGrads)>,
    /// The tangents: where one was given.
    pub moving: Option<Moving>,
    /// Of both directions.
    pub workspace: Out,
}

impl NormViews {
    /// Computes the tangents that were asked for, of `layer`, whose passes have run.
    pub fn move_on<L: Layer, B: Backend>(&self, layer: &L, backend: &mut B, state: Option<In>) -> Result<()> {
        let Some(moving) = &self.moving else { return Ok(()) };
        let params = Params { weight: Some(self.params.weight.0), bias: Some(self.params.bias.0) };
        let kept = Kept { mean: Some(self.stats.mean.0), spread: Some(self.stats.spread.0) };
        let of = |g: &NormGrads| Params { weight: Some(g.weight.0), bias: Some(g.bias.0) };
        let backward = self.backward.as_ref().map(|(grad_y, grads)| (*grad_y, of(grads)));
        let passes = Passes { x: self.x, y: self.y, params, kept, workspace: self.workspace, state, backward };
        moving.run(layer, backend, passes)
    }
}

impl NormInputs {
    /// Takes them.
    pub fn take(inputs: &mut Inputs) -> Result<Self> {
        let x = inputs.tensor("x", Layout::Activations, Extents::Activations)?;
        let units = [x.shape[1]];
        let weight = inputs.tensor("weight", Layout::Plain, Extents::Exact(&units))?;
        let bias = inputs.tensor("bias", Layout::Plain, Extents::Exact(&units))?;
        let grad_y = inputs.optional("grad_y", Layout::Activations, Extents::Exact(&x.shape))?;
        Ok(NormInputs {
            tangents: Tangents::take(inputs, &x, Some(&weight), Some(&bias), grad_y.as_ref())?,
            weight,
            bias,
            grad_y,
            options: NormOptions { eps: inputs.eps()?, relu: inputs.relu()?, pool: false },
            x,
        })
    }

    /// Plans a call whose spread comes out as `spread`.
    pub fn plan<'t, B: Backend>(&'t self, scratch: &mut Scratch<'_, 't, B>, spread: &'static str) -> Result<NormViews> {
        self.plan_keeping(scratch, spread, Keeps { shape: &self.weight.shape, workspace: B::norm_workspace })
    }

    /// The same of a norm whose statistics have a shape of their own.
    pub fn plan_keeping<'t, B: Backend>(
        &'t self,
        scratch: &mut Scratch<'_, 't, B>,
        spread: &'static str,
        keeps: Keeps<'_, B>,
    ) -> Result<NormViews> {
        let x = scratch.input(&self.x)?;
        let params = NormParams { weight: scratch.input(&self.weight)?, bias: scratch.input(&self.bias)? };
        let y = scratch.output_like("y", &self.x)?;
        let stats = Statistics {
            mean: scratch.output("mean", keeps.shape, Layout::Plain)?,
            spread: scratch.output(spread, keeps.shape, Layout::Plain)?,
        };
        let backward = match &self.grad_y {
            None => None,
            Some(grad_y) => {
                let grads = NormGrads {
                    x: scratch.output_like("grad_x", &self.x)?,
                    weight: scratch.output_like("grad_weight", &self.weight)?,
                    bias: scratch.output_like("grad_bias", &self.bias)?,
                };
                Some((scratch.input(grad_y)?, grads))
            }
        };
        let y_like = (&self.x.shape[..], self.x.layout);
        let moving = self.tangents.as_ref().map(|t| t.plan_keeping(scratch, y_like, stats.mean.0.shape)).transpose()?;
        let room = (keeps.workspace)(scratch.backend, x.0.shape);
        Ok(NormViews { x, params, y, stats, backward, moving, workspace: scratch.workspace(room)? })
    }
}

/// A case of a norm on `shape`, its x under `law`.
pub fn case(name: impl Into<String>, shape: &[usize], law: Law, relu: bool) -> Case {
    let units = [shape[1]];
    Case::new(name)
        .with("x", shape, law)
        .with("weight", &units, Law::Normal { mean: 1.0, scale: 0.3 })
        .with("bias", &units, Law::Normal { mean: 0.0, scale: 0.3 })
        .with("grad_y", shape, Law::NORMAL)
        .set("relu", f64::from(u8::from(relu)))
}

/// The shapes that every norm meets: name, extents, ReLU. One channel and one sample, few units (several rows share a
/// register) and more than a line on the stack holds, more samples than one piece of a sum, enough to share among threads.
pub const SHAPES: &[(&str, &[usize], bool)] = &[
    ("two_axes", &[10, 3], false),
    ("three_axes", &[4, 3, 11], true),
    ("five_axes", &[2, 3, 2, 3, 2], false),
    ("batch_1", &[1, 5, 7, 7], true),
    ("one_channel", &[4, 1, 5, 5], false),
    ("one_pixel", &[6, 33, 1, 1], true),
    ("odd", &[3, 7, 5, 6], true),
    ("map_33", &[2, 5, 33, 33], true),
    ("long", &[700, 3], false),
    ("wide", &[3, 1100], true),
    ("threads", &[9, 70, 9, 9], true),
];
