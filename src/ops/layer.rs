//! What a network needs to know of a layer: its shapes, its parameters, and how to run it forward and backward.
//!
//! Each operator's `layer.rs` implements [`Layer`]; the table of all layers is in [`crate::network`].

use super::backend::Backend;
use super::fusion::Fusion;
use super::norm::Divisor;
use crate::runtime::slots::FileOrder;
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform in ±√(6/(fan in + fan out)).
    Glorot {
        /// Inputs that reach one output.
        fan_in: usize,
        /// Outputs that one input reaches.
        fan_out: usize,
    },
    /// All of one value.
    Constant(f32),
    /// The length of each unit's direction, which is the slot before: so that the weight starts as that direction.
    Length,
}

/// A parameter of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// `weight` or `bias`; `direction` and `gain`, which a weight is made of.
    pub name: &'static str,
    /// Shape inside.
    pub shape: Shape,
    /// Order in files.
    pub order: FileOrder,
    /// Starting value.
    pub init: Init,
}

impl Param {
    /// A per-unit parameter of `units` elements, all starting at `value`.
    pub fn per_unit(name: &'static str, units: usize, value: f32) -> Self {
        Param { name, shape: Shape::new([units]), order: FileOrder::Plain, init: Init::Constant(value) }
    }

    /// The weight itself, or with `weight_norm` its direction, which starts as the weight would, and a gain for each unit.
    pub fn in_parts(self, weight_norm: bool) -> Vec<Self> {
        if !weight_norm {
            return vec![self];
        }
        let order = FileOrder::Gain(self.order.shape(self.shape).len());
        let gain = Param { init: Init::Length, order, ..Param::per_unit("gain", self.shape.matrix().1, 1.0) };
        vec![Param { name: "direction", ..self }, gain]
    }
}

/// The parameters of one layer, or their gradients: at most a weight and a bias.
#[derive(Debug, Clone, Copy, Default)]
pub struct Params {
    /// The first parameter of [`Layer::params`], if there is one.
    pub weight: Option<View>,
    /// The second.
    pub bias: Option<View>,
}

/// What one layer keeps beside its output, as planned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Saved {
    /// Statistics of the batch: mean and spread per unit, or per sample and group.
    pub mean: Option<View>,
    /// See `mean`.
    pub spread: Option<View>,
}

/// The tensors of a forward pass through one layer.
#[derive(Debug, Clone, Copy)]
pub struct Forward {
    /// `[H, W, N, C]`
    pub x: In,
    /// What [`Layer::output`] says of x's shape.
    pub y: Out,
    /// Weight and bias at the θ of this pass.
    pub params: Params,
    /// Written for backward.
    pub saved: Saved,
    /// Shared by all layers.
    pub workspace: View,
    /// The step state: the key of the noise.
    pub state: In,
    /// The running statistics of layers that have them: read at evaluation, and by batch renormalisation in training too.
    pub running: Saved,
    /// What it does for its neighbours.
    pub fusion: Fusion,
}

/// The tensors of a backward pass through one layer.
#[derive(Debug, Clone, Copy)]
pub struct Backward {
    /// The same as in forward.
    pub forward: Forward,
    /// Gradient of y.
    pub grad_y: In,
    /// Gradient of x; the first layer needs none.
    pub grad_x: Option<Out>,
    /// Gradients of weight and bias; convolutions and linear layers compute none that is `None`.
    pub grads: Params,
}

/// The tensors of a tangent pass through one layer: how its output moves where x and its parameters move.
#[derive(Debug, Clone, Copy)]
pub struct Tangent {
    /// The same as in forward, which has run; it does nothing for its neighbours.
    pub forward: Forward,
    /// ẋ; `None` where x does not move, as the batch does not.
    pub x: Option<In>,
    /// Tangents of weight and bias, f32 or f64; `None` where they do not move.
    pub params: Params,
    /// ẏ
    pub y: Out,
    /// Tangents of what forward kept: μ̇, and Ḋ of the norm's divisor.
    pub saved: Saved,
    /// Room for two tensors, each like the largest of the activations and weights.
    pub spare: [View; 2],
}

/// The tensors of a tangent backward pass through one layer: how its gradients move.
#[derive(Debug, Clone, Copy)]
pub struct TangentBackward {
    /// The same as in the tangent pass.
    pub tangent: Tangent,
    /// Gradient of y.
    pub grad_y: In,
    /// How it moves.
    pub moving: In,
    /// Gradients of weight and bias, as backward wrote them.
    pub grads: Params,
    /// The tangent of x's gradient; the first layer needs none.
    pub grad_x: Option<Out>,
    /// The tangents of the parameters' gradients. Of parameters that do not move, what is written there is not asked for.
    pub grads_tangent: Params,
}

impl Tangent {
    /// ẋ. Errors: x does not move, which only the first layer's may not.
    pub fn moving(&self, op: &'static str) -> Result<In> {
        self.x.ok_or_else(|| Error::operator(op, "an input that moves", "one that does not"))
    }

    /// The first elements of spare tensor `which`, as `shape`.
    pub fn spare(&self, which: usize, shape: Shape) -> Out {
        Out(self.spare[which].slice(0, shape))
    }
}

impl TangentBackward {
    /// Where the tangent of x's gradient goes. Errors: nowhere.
    pub fn grad_x(&self, op: &'static str) -> Result<Out> {
        self.grad_x.ok_or_else(|| Error::operator(op, "a place for grad_x", "none planned"))
    }
}

/// One layer of a chain. Forward has no side effects but `y` and `saved`; backward assigns, never accumulates.
pub trait Layer {
    /// Its word in the network's description, with its settings.
    fn describe(&self) -> String;
    /// The part of a parameter's name that tells its kind, as `conv` in `conv3.weight`; empty where it has none.
    fn prefix(&self) -> &'static str {
        ""
    }
    /// The output's shape. Errors: the layer does not take such an input.
    fn output(&self, x: Shape) -> Result<Shape>;
    /// Its parameters for an input `x`, weight first: or what it is made of.
    fn params(&self, x: Shape) -> Vec<Param> {
        let _ = x;
        Vec::new()
    }
    /// Whether its weight is an operand of a matrix product, which a backend may hold in lower precision than θ.
    fn multiplies(&self) -> bool {
        false
    }
    /// Whether its weight is made of a direction and a gain, the first two of its parameters. Its passes take the weight itself: who runs them
    /// makes it, and takes its gradient apart.
    fn has_gain(&self) -> bool {
        false
    }
    /// What its forward pass could do for the layer that follows, on this backend.
    fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
        let _ = backend;
        Fusion::default()
    }
    /// Whether its statistics can be had from sums that the layer before has left.
    fn takes_sums(&self) -> bool {
        false
    }
    /// Whether it is the ReLU alone, which another layer's pass may apply.
    fn is_relu(&self) -> bool {
        false
    }
    /// Whether it is a non-linearity by itself: a ReLU or another.
    fn is_activation(&self) -> bool {
        self.is_relu()
    }
    /// The same layer without the ReLU that is part of its pass: its output is what enters the non-linearity.
    fn before_activation(&self) -> Self
    where
        Self: Sized + Clone,
    {
        self.clone()
    }
    /// Whether it is the 2×2 max-pool, which another layer's passes may apply.
    fn is_pool(&self) -> bool {
        false
    }
    /// Units whose mean and spread forward keeps, and what is divided by; such layers have running statistics.
    fn statistics(&self, x: Shape) -> Option<(usize, Divisor)> {
        let _ = x;
        None
    }
    /// Whether it reads its running statistics in training too.
    fn reads_running(&self) -> bool {
        false
    }
    /// The shape of the mean and of the spread that forward keeps of its batch alone, where no running statistics go with them.
    fn keeps(&self, x: Shape) -> Option<Shape> {
        let _ = x;
        None
    }
    /// The workspace it wants for an input `x`.
    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        let _ = (backend, x);
        Shape::new([0])
    }
    /// x to y, in training mode.
    fn forward<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()>;
    /// x to y at evaluation, by the running statistics where there are some.
    fn evaluate<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()> {
        self.forward(backend, io)
    }
    /// Gradients, from what forward was given and kept.
    fn backward<B: Backend>(&self, backend: &mut B, io: &Backward) -> Result<()>;
    /// How y moves, from what forward was given and kept; in f32 and f64.
    fn tangent<B: Backend>(&self, backend: &mut B, io: &Tangent) -> Result<()>;
    /// How the gradients move, from what backward was given and wrote.
    fn tangent_backward<B: Backend>(&self, backend: &mut B, io: &TangentBackward) -> Result<()>;
}
