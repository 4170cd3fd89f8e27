//! The door of an operator's tangents: how its outputs and gradients move where the user says how its operands do.
//!
//! Any of `tangent_x`, `tangent_weight`, `tangent_bias` and `tangent_grad_y` asks for it; those that are missing are 0. It gives
//! `tangent_y`, and with `grad_y` also `tangent_grad_x`, `tangent_grad_weight` and `tangent_grad_bias`.

use super::inputs::{Extents, Inputs, Tensor};
use super::layout::Layout;
use super::scratch::Scratch;
use crate::ops::backend::Backend;
use crate::ops::layer::{Forward, Fusion, Kept, Layer, Params, Tangent, TangentBackward};
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

/// The tangents of the operands.
#[derive(Debug)]
pub struct Tangents {
    x: Tensor,
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    grad_y: Option<Tensor>,
}

/// The handles of one call.
#[derive(Debug)]
pub struct Moving {
    x: In,
    params: Params,
    y: Out,
    kept: Kept,
    spare: [View; 2],
    backward: Option<MovingBackward>,
}

#[derive(Debug)]
struct MovingBackward {
    grad_y: In,
    grad_x: Out,
    grads: Params,
}

/// The operator's own passes, which have run.
#[derive(Debug, Clone, Copy)]
pub struct Passes {
    /// x
    pub x: In,
    /// y
    pub y: Out,
    /// Weight and bias.
    pub params: Params,
    /// What forward kept.
    pub kept: Kept,
    /// Of both directions.
    pub workspace: Out,
    /// The step state, where the operator reads one.
    pub state: Option<In>,
    /// dy, and the gradients of weight and bias: where dy was given.
    pub backward: Option<(In, Params)>,
}

/// Refuses a backend without tangents: one whose activations are of another type than its parameters.
pub fn supported<B: Backend>(backend: &B) -> Result<()> {
    if backend.activation_dtype() == backend.dtype() {
        return Ok(());
    }
    Err(Error::input("--precision bf16", "tangents are not taken in bf16", "f32, tf32 and f64 have them"))
}

impl Tangents {
    /// Takes them, where one is given: each like its operand.
    pub fn take(
        inputs: &mut Inputs,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        grad_y: Option<&Tensor>,
    ) -> Result<Option<Tangents>> {
        let mut given = false;
        let mut take = |name: &str, of: Option<&Tensor>| -> Result<Option<Tensor>> {
            let Some(of) = of else { return Ok(None) };
            let found = inputs.optional(name, of.layout, Extents::Exact(&of.shape))?;
            given |= found.is_some();
            Ok(Some(found.unwrap_or_else(|| of.zero())))
        };
        let moving = take("tangent_x", Some(x))?;
        let [weight, bias] = [take("tangent_weight", weight)?, take("tangent_bias", bias)?];
        let grad_y = take("tangent_grad_y", grad_y)?;
        Ok(moving.filter(|_| given).map(|x| Tangents { x, weight, bias, grad_y }))
    }

    /// Plans a call whose y has these extents outside. Errors: a backend without tangents (bf16).
    pub fn plan<'t, B: Backend>(&'t self, s: &mut Scratch<'_, 't, B>, y: (&[usize], Layout)) -> Result<Moving> {
        self.plan_keeping(s, y, Shape::new([self.bias.as_ref().map_or(0, |bias| bias.shape.iter().product())]))
    }

    /// The same where forward keeps two tensors of the shape `kept`.
    pub fn plan_keeping<'t, B: Backend>(
        &'t self,
        s: &mut Scratch<'_, 't, B>,
        (y, layout): (&[usize], Layout),
        kept: Shape,
    ) -> Result<Moving> {
        supported(s.backend)?;
        let x = s.input(&self.x)?;
        let params = Params {
            weight: s.optional(self.weight.as_ref())?.map(|v| v.0),
            bias: s.optional(self.bias.as_ref())?.map(|v| v.0),
        };
        let y = s.output("tangent_y", y, layout)?;
        let backward = match &self.grad_y {
            None => None,
            Some(grad_y) => {
                let mut like = |name, of: &Option<Tensor>| -> Result<Option<View>> {
                    of.as_ref().map(|of| s.output_like(name, of).map(|v| v.0)).transpose()
                };
                let grads = Params {
                    weight: like("tangent_grad_weight", &self.weight)?,
                    bias: like("tangent_grad_bias", &self.bias)?,
                };
                Some(MovingBackward {
                    grad_y: s.input(grad_y)?,
                    grad_x: s.output_like("tangent_grad_x", &self.x)?,
                    grads,
                })
            }
        };
        let [mean, spread] = [s.workspace(kept)?.0, s.workspace(kept)?.0];
        let most = params.weight.map_or(0, |w| w.shape.len()).max(x.0.shape.len()).max(y.0.shape.len());
        let spare = [s.workspace(Shape::new([most]))?.0, s.workspace(Shape::new([most]))?.0];
        Ok(Moving { x, params, y, kept: Kept { mean: Some(mean), spread: Some(spread) }, spare, backward })
    }
}

impl Moving {
    /// Computes them, of `layer`.
    pub fn run<L: Layer, B: Backend>(&self, layer: &L, backend: &mut B, passes: Passes) -> Result<()> {
        let Passes { x, y, params, kept, workspace: Out(workspace), state, backward } = passes;
        // Who reads no state is given a tensor all the same, which nobody looks at.
        let state = state.unwrap_or(In(workspace));
        let forward = Forward { x, y, params, kept, workspace, state, fusion: Fusion::default() };
        let tangent =
            Tangent { forward, x: Some(self.x), params: self.params, y: self.y, kept: self.kept, spare: self.spare };
        layer.tangent(backend, &tangent)?;
        let (Some((grad_y, grads)), Some(moving)) = (backward, &self.backward) else { return Ok(()) };
        layer.tangent_backward(
            backend,
            &TangentBackward {
                tangent,
                grad_y,
                moving: moving.grad_y,
                grads,
                grad_x: Some(moving.grad_x),
                grads_tangent: moving.grads,
            },
        )
    }
}
