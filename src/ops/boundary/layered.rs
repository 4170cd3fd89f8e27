//! Operators that are layers: the layer itself determines which arrays a file may hold and which come out.
//!
//! The names and shapes of parameters come from [`Layer::params`], y's shape from [`Layer::output`], and the shape of the statistics from
//! [`Layer::statistics`] or [`Layer::keeps`]. A layer that reads running statistics in training takes them from the file as `running_mean` and
//! `running_var`.
//!
//! If the file holds `grad_y`, the gradients come out too: `grad_x`, and `grad_NAME` for each parameter. If it holds any of `tangent_x`,
//! `tangent_grad_y` or `tangent_NAME` of a parameter, the tangents come out: `tangent_y`, and with `grad_y` also `tangent_grad_x` and
//! `tangent_grad_NAME`. Tangents that the file lacks are 0.

use super::case::Cases;
use super::inputs::{Extents, Inputs, Tensor};
use super::layout::Layout;
use super::scratch::Scratch;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::fusion::Fusion;
use crate::ops::layer::{Backward, Forward, Layer, Params, Saved, Tangent, TangentBackward};
use crate::ops::noise::NoiseOptions;
use crate::runtime::slots::FileOrder;
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

/// An operator that is a layer.
pub struct LayerOperator<F> {
    /// Its name, as in `normscape op NAME`.
    pub name: &'static str,
    /// The element order of x and y.
    pub layout: Layout,
    /// The requirement on x's extents.
    pub extents: Extents<'static>,
    /// Builds the layer for x and the file's settings. Errors: settings that are wrong, or that do not fit x.
    pub layer: F,
    /// The output names of a norm's mean and spread.
    pub statistics: [&'static str; 2],
    /// See [`super::Operator::CASES`].
    pub cases: Cases,
}

/// An operator that always builds the same kind of layer.
pub type OperatorOf<L> = LayerOperator<fn(&mut Inputs, &Tensor) -> Result<Keyed<L>>>;

/// A layer, with the noise and its key if noise is part of it. With noise, its draws come out too, as `shift` and `scale`.
pub struct Keyed<L> {
    /// The layer.
    pub layer: L,
    /// Its noise and the noise key.
    pub noise: Option<(NoiseOptions, StepState)>,
}

impl<L> From<L> for Keyed<L> {
    fn from(layer: L) -> Self {
        Keyed { layer, noise: None }
    }
}

/// The names of the running statistics, for layers that read them.
const RUNNING: [&str; 2] = ["running_mean", "running_var"];

/// Something for each of a layer's two parameters, weight and bias, whatever the layer calls them.
type Pair<T> = [Option<T>; 2];

fn map<T, U>([a, b]: Pair<T>, mut of: impl FnMut(T) -> Result<U>) -> Result<Pair<U>> {
    Ok([a.map(&mut of).transpose()?, b.map(&mut of).transpose()?])
}

fn params_of([weight, bias]: Pair<View>) -> Params {
    Params { weight, bias }
}

/// Refuses a backend without tangents: one that holds activations in another type than parameters.
pub fn check_tangents<B: Backend>(backend: &B) -> Result<()> {
    if backend.activation_dtype() == backend.dtype() {
        return Ok(());
    }
    Err(Error::input("--precision bf16", "tangents are not taken in bf16", "f32, tf32 and f64 have them"))
}

/// The operands that a file holds for a layer, or their tangents: these have the same shapes, and the same names after `tangent_`.
struct Operands {
    x: Tensor,
    params: Pair<Tensor>,
    grad_y: Option<Tensor>,
}

impl Operands {
    /// The tangents of these operands, if the file holds any.
    fn tangents(&self, inputs: &mut Inputs, names: Pair<&'static str>) -> Result<Option<Operands>> {
        let mut given = false;
        let mut take = |name: &str, of: &Tensor| -> Result<Tensor> {
            let found = inputs.optional(&format!("tangent_{name}"), of.layout, Extents::Exact(&of.shape))?;
            given |= found.is_some();
            Ok(found.unwrap_or_else(|| of.zero()))
        };
        let x = take("x", &self.x)?;
        let mut params = [None, None];
        for ((to, of), name) in params.iter_mut().zip(&self.params).zip(names) {
            if let (Some(of), Some(name)) = (of, name) {
                *to = Some(take(name, of)?);
            }
        }
        let grad_y = self.grad_y.as_ref().map(|of| take("grad_y", of)).transpose()?;
        Ok(given.then_some(Operands { x, params, grad_y }))
    }
}

/// The names of the results for each parameter: its own name after `prefix`.
fn prefixed(prefix: &'static str, names: Pair<&'static str>) -> Pair<String> {
    names.map(|name| name.map(|name| format!("{prefix}{name}")))
}

/// Runs the operator on the user's arrays: see [`super::Operator::run`].
pub fn run<L: Layer, F, B: Backend>(op: &LayerOperator<F>, backend: &mut B, inputs: &mut Inputs) -> Result<Arrays>
where
    F: Fn(&mut Inputs, &Tensor) -> Result<Keyed<L>>,
{
    // What is asked for.
    let x = inputs.tensor("x", op.layout, op.extents)?;
    let Keyed { layer, noise } = (op.layer)(inputs, &x)?;
    let inside = x.layout.shape(&x.shape);
    let (mut names, mut params) = ([None; 2], [None, None]);
    for ((name, param), of) in names.iter_mut().zip(&mut params).zip(layer.params(inside)) {
        let layout = if of.order == FileOrder::Plain { Layout::Plain } else { Layout::Parameter(of.order) };
        *name = Some(of.name);
        *param = Some(inputs.tensor(of.name, layout, Extents::Exact(&of.order.shape(of.shape)))?);
    }
    let saved = layer.statistics(inside).map(|(channels, _)| Shape::new([channels])).or_else(|| layer.keeps(inside));
    let running = match saved.filter(|_| layer.reads_running()) {
        Some(shape) => {
            let mut take = |name| inputs.tensor(name, Layout::Plain, Extents::Exact(shape.extents()));
            Some([take(RUNNING[0])?, take(RUNNING[1])?])
        }
        None => None,
    };
    let y = outside(&x, inside, layer.output(inside)?);
    let grad_y = inputs.optional("grad_y", op.layout, Extents::Exact(&y))?;
    let operands = Operands { x, params, grad_y };
    let tangents = operands.tangents(inputs, names)?;
    inputs.finish(op.name)?;
    if tangents.is_some() {
        check_tangents(backend)?;
    }

    // The memory of it.
    let mut s = Scratch::new(backend);
    let state = noise.map(|(_, state)| s.state(state)).transpose()?;
    let x = s.input(&operands.x)?;
    let params = map(operands.params.each_ref().map(Option::as_ref), |of| s.input(of).map(|of| of.0))?;
    let out_y = s.output("y", &y, op.layout)?;
    let mut keep = [None; 2];
    if let Some(shape) = saved {
        for (to, name) in keep.iter_mut().zip(op.statistics) {
            *to = Some(s.output(name, shape.extents(), Layout::Plain)?.0);
        }
    }
    let [running_mean, running_var] = match &running {
        Some([mean, var]) => [Some(s.input(mean)?.0), Some(s.input(var)?.0)],
        None => [None, None],
    };
    let draws = match noise {
        Some((options, _)) => {
            Some((options, s.output_like("shift", &operands.x)?, s.output_like("scale", &operands.x)?))
        }
        None => None,
    };
    let backward = operands.grad_y.as_ref().map(|grad_y| s.input(grad_y)).transpose()?;
    let grads = match backward {
        Some(_) => Some(gradients(&mut s, "grad_", &operands, names)?),
        None => None,
    };
    let moving = match &tangents {
        Some(tangents) => Some(Moving::plan(&mut s, &operands, tangents, names, (&y, op.layout), saved)?),
        None => None,
    };
    let room = layer.workspace(s.backend, inside);
    let workspace = s.workspace(room)?.0;
    s.commit()?;

    // The passes.
    let forward = Forward {
        x,
        y: out_y,
        params: params_of(params),
        saved: Saved { mean: keep[0], spread: keep[1], chosen: None },
        workspace,
        // A layer without noise looks at no state: any tensor will do.
        state: state.unwrap_or(In(workspace)),
        running: Saved { mean: running_mean, spread: running_var, chosen: None },
        fusion: Fusion::default(),
    };
    layer.forward(s.backend, &forward)?;
    if let (Some((options, shift, scale)), Some(state)) = (draws, state) {
        s.backend.noise_draws(options, state, shift, scale)?;
    }
    let backward = match (backward, grads) {
        (Some(grad_y), Some((grad_x, grads))) => {
            Some(Backward { forward, grad_y, grad_x: Some(grad_x), grads, norm: None, update: None })
        }
        _ => None,
    };
    if let Some(io) = &backward {
        layer.backward(s.backend, io)?;
    }
    if let Some(moving) = moving {
        moving.run(&layer, s.backend, forward, backward)?;
    }
    s.finish()
}

/// The extents of y in the file, where y has the shape `y` inside.
fn outside(x: &Tensor, inside: Shape, y: Shape) -> Vec<usize> {
    let [h, w, n, c] = y.hwnc();
    match x.shape.len() {
        _ if y == inside => x.shape.clone(),
        4 => vec![n, c, h, w],
        _ => vec![n, c],
    }
}

/// Plans the gradients of x and of the parameters as outputs.
fn gradients<B: Backend>(
    s: &mut Scratch<'_, '_, B>,
    prefix: &'static str,
    of: &Operands,
    names: Pair<&'static str>,
) -> Result<(Out, Params)> {
    let grad_x = s.output_like(format!("{prefix}x"), &of.x)?;
    let mut grads = [None; 2];
    for ((to, of), name) in grads.iter_mut().zip(&of.params).zip(prefixed(prefix, names)) {
        if let (Some(of), Some(name)) = (of, name) {
            *to = Some(s.output_like(name, of)?.0);
        }
    }
    Ok((grad_x, params_of(grads)))
}

/// Handles of the tangents.
struct Moving {
    x: In,
    params: Params,
    y: Out,
    saved: Saved,
    spare: [View; 2],
    backward: Option<(In, Out, Params)>,
}

impl Moving {
    fn plan<'t, B: Backend>(
        s: &mut Scratch<'_, 't, B>,
        operands: &Operands,
        tangents: &'t Operands,
        names: Pair<&'static str>,
        (y, layout): (&[usize], Layout),
        saved: Option<Shape>,
    ) -> Result<Moving> {
        let x = s.input(&tangents.x)?;
        let params = params_of(map(tangents.params.each_ref().map(Option::as_ref), |of| s.input(of).map(|of| of.0))?);
        let y = s.output("tangent_y", y, layout)?;
        let backward = match &tangents.grad_y {
            None => None,
            Some(grad_y) => {
                let (grad_x, grads) = gradients(s, "tangent_grad_", operands, names)?;
                Some((s.input(grad_y)?, grad_x, grads))
            }
        };
        let mut keep = || saved.map(|shape| s.workspace(shape).map(|view| view.0)).transpose();
        let saved = Saved { mean: keep()?, spread: keep()?, chosen: None };
        let most = params.weight.map_or(0, |w| w.shape.len()).max(x.0.shape.len()).max(y.0.shape.len());
        let spare = [s.workspace(Shape::new([most]))?.0, s.workspace(Shape::new([most]))?.0];
        Ok(Moving { x, params, y, saved, spare, backward })
    }

    /// Computes the tangents, after the layer's own passes have run.
    fn run<L: Layer, B: Backend>(
        &self,
        layer: &L,
        backend: &mut B,
        forward: Forward,
        backward: Option<Backward>,
    ) -> Result<()> {
        let Moving { params, y, saved, spare, .. } = *self;
        let tangent = Tangent { forward, x: Some(self.x), params, y, saved, spare };
        layer.tangent(backend, &tangent)?;
        let (Some(own), Some((moving, grad_x, grads_tangent))) = (backward, self.backward) else { return Ok(()) };
        let (grad_y, grads, grad_x) = (own.grad_y, own.grads, Some(grad_x));
        layer.tangent_backward(backend, &TangentBackward { tangent, grad_y, moving, grads, grad_x, grads_tangent })
    }
}
