//! The interface between a network and a layer: its shapes, its parameters, and how to run it forward and backward.
//!
//! Each operator's `layer.rs` implements [`Layer`]; the table of all layers is in [`crate::network`].

use super::backend::Backend;
use super::cross_entropy::LossOut;
use super::fusion::Fusion;
use super::norm::{Divisor, NormSpec};
use super::sgd::Descent;
use super::weight_grads::NormBelow;
use crate::runtime::slots::FileOrder;
use crate::runtime::tensor::{In, Out, Shape, View};
use crate::{Error, Result};

/// The starting values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform in ±√(6/(fan in + fan out)).
    Glorot {
        /// The number of inputs that reach one output.
        fan_in: usize,
        /// The number of outputs that one input reaches.
        fan_out: usize,
    },
    /// All values are this one.
    Constant(f32),
    /// The length of each unit's direction, which is the slot before this one; so the weight starts equal to that direction.
    Length,
}

/// A parameter of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// `weight` or `bias`; or `direction` and `gain`, of which a weight is made.
    pub name: &'static str,
    /// Its shape inside.
    pub shape: Shape,
    /// Its order in files.
    pub order: FileOrder,
    /// Its starting values.
    pub init: Init,
}

impl Param {
    /// A parameter with one value for each of `units` units, all starting at `value`.
    pub fn per_unit(name: &'static str, units: usize, value: f32) -> Self {
        Param { name, shape: Shape::new([units]), order: FileOrder::Plain, init: Init::Constant(value) }
    }

    /// The weight itself; or, with `weight_norm`, its direction, which starts as the weight would, and a gain for each unit.
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
    /// The second parameter of [`Layer::params`], if there is one.
    pub bias: Option<View>,
}

/// The planned tensors in which a layer saves statistics for its backward pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Saved {
    /// The mean of the batch statistics, per unit, or per sample and group.
    pub mean: Option<View>,
    /// The spread of the batch statistics, likewise.
    pub spread: Option<View>,
    /// What the pool in a norm's pass chose of each window: the layer that leaves the norm's gradients reads it.
    pub chosen: Option<View>,
}

/// The tensors of a forward pass through one layer.
#[derive(Debug, Clone, Copy)]
pub struct Forward {
    /// `[H, W, N, C]`
    pub x: In,
    /// The output, of the shape [`Layer::output`].
    pub y: Out,
    /// The weight and bias at the θ of this pass.
    pub params: Params,
    /// The saved statistics; the forward pass writes them, the backward pass reads them.
    pub saved: Saved,
    /// A workspace that all layers share.
    pub workspace: View,
    /// The step state, which holds the key of the noise.
    pub state: In,
    /// The running statistics, for layers that have them. Evaluation reads them; batch renormalisation reads them in training too.
    pub running: Saved,
    /// The operations that the layer does for its neighbours.
    pub fusion: Fusion,
}

/// The tensors of a backward pass through one layer.
#[derive(Debug, Clone, Copy)]
pub struct Backward {
    /// The same as in the forward pass.
    pub forward: Forward,
    /// The upstream gradient, dy.
    pub grad_y: In,
    /// Where the gradient of x goes; the first layer needs none.
    pub grad_x: Option<Out>,
    /// Where the gradients of weight and bias go; convolutions and linear layers do not compute those that are `None`.
    pub grads: Params,
    /// The norm before, if the layer is to leave its gradients.
    pub norm: Option<NormBelow>,
    /// The update of its weight, if the layer is to make it.
    pub update: Option<Descent>,
}

/// The tensors of a tangent pass through one layer: the derivative of its output along a direction in which x and the parameters move.
#[derive(Debug, Clone, Copy)]
pub struct Tangent {
    /// The same as in the forward pass, which has already run; fusion is off.
    pub forward: Forward,
    /// ẋ; `None` where x does not move. The batch, for example, never does.
    pub x: Option<In>,
    /// The tangents of weight and bias, in f32 or f64; `None` where they do not move.
    pub params: Params,
    /// ẏ
    pub y: Out,
    /// The tangents of the saved statistics: μ̇, and Ḋ of the norm's divisor.
    pub saved: Saved,
    /// Two spare tensors, each as large as the largest of the activations and weights.
    pub spare: [View; 2],
}

/// The tensors of a tangent backward pass through one layer, which computes the tangents of its gradients.
#[derive(Debug, Clone, Copy)]
pub struct TangentBackward {
    /// The same as in the tangent pass.
    pub tangent: Tangent,
    /// The upstream gradient, dy.
    pub grad_y: In,
    /// The tangent of the upstream gradient, ḋy.
    pub moving: In,
    /// The gradients of weight and bias, as the backward pass wrote them.
    pub grads: Params,
    /// Where the tangent of x's gradient goes; the first layer needs none.
    pub grad_x: Option<Out>,
    /// Where the tangents of the parameters' gradients go. For parameters that do not move, whatever is written there is ignored.
    pub grads_tangent: Params,
}

impl Tangent {
    /// ẋ. Errors: x does not move, which is allowed for the first layer only.
    pub fn moving(&self, op: &'static str) -> Result<In> {
        self.x.ok_or_else(|| Error::operator(op, "an input that moves", "one that does not"))
    }

    /// The first elements of spare tensor `which`, as a tensor of `shape`.
    pub fn spare(&self, which: usize, shape: Shape) -> Out {
        Out(self.spare[which].slice(0, shape))
    }
}

impl TangentBackward {
    /// Where the tangent of x's gradient goes. Errors: there is no place for it.
    pub fn grad_x(&self, op: &'static str) -> Result<Out> {
        self.grad_x.ok_or_else(|| Error::operator(op, "a place for grad_x", "none planned"))
    }
}

/// One layer of a chain. The forward pass writes `y` and `saved` and has no other side effects; the backward pass assigns gradients and never
/// accumulates.
pub trait Layer {
    /// Its entry in the network's description, with its settings.
    fn describe(&self) -> String;
    /// The part of a parameter's name that tells the layer's kind, such as `conv` in `conv3.weight`; empty for a layer without parameters.
    fn prefix(&self) -> &'static str {
        ""
    }
    /// The output's shape. Errors: the layer does not take such an input.
    fn output(&self, x: Shape) -> Result<Shape>;
    /// Its parameters for an input `x`: the weight, or what it is made of, comes first.
    fn params(&self, x: Shape) -> Vec<Param> {
        let _ = x;
        Vec::new()
    }
    /// Whether its weight is an operand of a matrix product, which a backend may hold in lower precision than θ.
    fn multiplies(&self) -> bool {
        false
    }
    /// Whether its weight is made of a direction and a gain, which are then its first two parameters. The layer's passes take the weight itself: the
    /// caller computes it before a pass, and splits its gradient afterwards.
    fn has_gain(&self) -> bool {
        false
    }
    /// The operations that its forward pass could do for the layer that follows, on this backend.
    fn epilogues<B: Backend>(&self, backend: &B) -> Fusion {
        let _ = backend;
        Fusion::default()
    }
    /// Whether the layer before may leave its statistics: mean and variance of every channel of x.
    fn takes_moments(&self) -> bool {
        false
    }
    /// Whether its backward pass can leave the gradients of the norm before, on this backend and for an input `x`.
    fn leaves_norm_grads<B: Backend>(&self, backend: &B, x: Shape) -> bool {
        let _ = (backend, x);
        false
    }
    /// Whether its backward pass can update its weight by the gradient, on this backend and for an input `x` whose gradient is asked for.
    fn updates_weight<B: Backend>(&self, backend: &B, x: Shape) -> bool {
        let _ = (backend, x);
        false
    }
    /// The norm that it is, if the layer after may leave its gradients.
    fn takes_norm_grads(&self) -> Option<NormSpec> {
        None
    }
    /// Whether it is a plain ReLU, which another layer's pass may apply.
    fn is_relu(&self) -> bool {
        false
    }
    /// Whether it is a non-linearity by itself: the ReLU or another.
    fn is_activation(&self) -> bool {
        self.is_relu()
    }
    /// The same layer without the ReLU that is part of its pass, so that its output is the input of the non-linearity.
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
    /// The number of units whose mean and spread the forward pass saves, and the kind of divisor; layers that return this have running statistics.
    fn statistics(&self, x: Shape) -> Option<(usize, Divisor)> {
        let _ = x;
        None
    }
    /// Whether it reads its running statistics in training too.
    fn reads_running(&self) -> bool {
        false
    }
    /// The shape of the mean and of the spread that the forward pass saves, for layers that have no running statistics.
    fn keeps(&self, x: Shape) -> Option<Shape> {
        let _ = x;
        None
    }
    /// The workspace that it needs for an input `x`.
    fn workspace<B: Backend>(&self, backend: &B, x: Shape) -> Shape {
        let _ = (backend, x);
        Shape::new([0])
    }
    /// Computes y from x, in training mode.
    fn forward<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()>;
    /// Computes y from x, and the softmax cross-entropy of y, in one go and to the same bits. `false`, with nothing written, where this backend does not
    /// do both as one, or y takes more than x and the parameters.
    fn forward_judged<B: Backend>(&self, backend: &mut B, io: &Forward, labels: In, out: LossOut) -> Result<bool> {
        let _ = (backend, io, labels, out);
        Ok(false)
    }
    /// Computes y from x at evaluation, with the running statistics if it has some.
    fn evaluate<B: Backend>(&self, backend: &mut B, io: &Forward) -> Result<()> {
        self.forward(backend, io)
    }
    /// Computes the gradients, from the forward pass's operands and saved statistics.
    fn backward<B: Backend>(&self, backend: &mut B, io: &Backward) -> Result<()>;
    /// Computes the tangent of y, from the forward pass's operands and saved statistics; in f32 and f64.
    fn tangent<B: Backend>(&self, backend: &mut B, io: &Tangent) -> Result<()>;
    /// Computes the tangents of the gradients, from the backward pass's operands and results.
    fn tangent_backward<B: Backend>(&self, backend: &mut B, io: &TangentBackward) -> Result<()>;
}
