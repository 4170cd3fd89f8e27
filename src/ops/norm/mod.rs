//! The norms as one operator: BatchNorm, noisy BatchNorm, batch renormalisation, the ℓp norms, LayerNorm, GroupNorm, InstanceNorm and RMSNorm.
//!
//! Each is `y = γ (x − μ)/D + β`, followed by noise and the ReLU if they are asked for. A [`NormSpec`] says which values μ and D are taken over, and
//! what D is. The formulas, gradients and tangents are in:
//!
//! - [`mod@batch`]: statistics of a channel over the batch: BatchNorm, noisy or not, and the ℓp norms;
//! - [`renorm`]: batch renormalisation, built on BatchNorm;
//! - [`mod@group`]: statistics of a sample over groups of its channels: LayerNorm, GroupNorm, InstanceNorm, RMSNorm.
//!
//! Besides y, the forward pass writes μ and the spread for the backward pass, and nothing else. Running statistics are an operator of their own,
//! [`crate::ops::running`]. Norms over groups do not involve the batch, so they have no running statistics, and their evaluation is the same pass.

pub mod batch;
pub mod cases;
mod cpu;
mod cuda;
pub mod group;
mod layer;
pub mod operators;
pub mod renorm;
pub mod spec;
mod tangent_views;

pub use layer::NormLayer;
pub use spec::{Axes, Divisor, Grouping, NormSpec};

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The tensors of a norm's passes. Per-channel tensors are `[C]`; γ, β and the statistics have the backend's dtype.
#[derive(Debug, Clone, Copy)]
pub struct NormPass {
    /// `[…, N, C]`
    pub x: In,
    /// γ
    pub weight: In,
    /// β
    pub bias: In,
    /// Shaped like x, or like the pool's output. The forward pass writes it; tangent passes read it if the ReLU follows.
    pub y: Out,
    /// μ, of the shape [`NormSpec::saved_shape`]. The forward pass writes it; backward and tangent passes read it. At evaluation it is the running
    /// mean, and is read.
    pub mean: Out,
    /// σ² or s, likewise.
    pub spread: Out,
    /// The step state, whose seed and step are the key of the noise. Norms without noise do not read it.
    pub state: Option<In>,
    /// Whether the convolution before has left μ and σ² in `mean` and `spread` ([`crate::ops::conv2d::Conv2d::conv2d_fused`]), which saves reading x. The
    /// CPU's convolutions leave none, and its norms read x.
    pub moments_left: bool,
    /// Where the forward pass keeps the x that the pool chose of each window, shaped like y; the layer after the norm needs it to leave the norm's
    /// gradients. Only passes without noise that pool.
    pub chosen: Option<Out>,
    /// A workspace of the shape [`Norm::norm_workspace`].
    pub workspace: Out,
}

/// Where a norm's gradients go.
#[derive(Debug, Clone, Copy)]
pub struct NormGrads {
    /// dx, shaped like x.
    pub x: Out,
    /// dγ
    pub weight: Out,
    /// dβ
    pub bias: Out,
    /// Whether the layer after the norm has left dγ and dβ there ([`crate::ops::weight_grads::NormBelow`]), which saves reading x and dy once. On the CPU
    /// none does. Only for norms over the batch without noise.
    pub left: bool,
}

/// The tangents of a norm's operands, and where the tangents of its results go.
#[derive(Debug, Clone, Copy)]
pub struct NormTangents {
    /// ẋ
    pub x: In,
    /// γ̇; `None` where γ does not move.
    pub weight: Option<In>,
    /// β̇, likewise.
    pub bias: Option<In>,
    /// ẏ; [`Norm::norm_tangent`] writes it.
    pub y: Out,
    /// μ̇, shaped like the mean; [`Norm::norm_tangent`] writes it, and [`Norm::norm_tangent_backward`] reads it.
    pub mean: Out,
    /// Ḋ, likewise.
    pub divisor: Out,
}

/// The tensors of a norm's tangent backward pass.
#[derive(Debug, Clone, Copy)]
pub struct NormTangentBackward {
    /// The tangents, as [`Norm::norm_tangent`] took and wrote them.
    pub tangents: NormTangents,
    /// dy
    pub grad_y: In,
    /// ḋy
    pub grad_y_tangent: In,
    /// dγ, as the backward pass wrote it.
    pub grad_weight: In,
    /// dβ, likewise.
    pub grad_bias: In,
    /// Where ḋx, ḋγ and ḋβ go.
    pub grads: NormGrads,
}

/// Every norm. All passes return an error if no backend computes the [`NormSpec`], or if shapes do not fit it.
pub trait Norm {
    /// The shape of the workspace that all passes over an x of this shape need, in the backend's dtype.
    fn norm_workspace(&self, spec: &NormSpec, x: Shape) -> Shape;
    /// Whether this backend's norms over the batch can apply the 2×2 max-pool that follows them ([`NormSpec::pool`]).
    fn norm_pools(&self) -> bool {
        false
    }
    /// Writes y, and the statistics of x.
    fn norm_forward(&mut self, spec: NormSpec, pass: NormPass) -> Result<()>;
    /// Writes the statistics of x alone. Only norms over the batch have this pass.
    fn norm_statistics(&mut self, spec: NormSpec, pass: NormPass) -> Result<()>;
    /// Writes y with the statistics that `pass` holds; the noise is off. Only norms over the batch have this pass.
    fn norm_eval(&mut self, spec: NormSpec, pass: NormPass) -> Result<()>;
    /// Writes the gradients, from the forward pass's operands and statistics and from `grad_y`.
    fn norm_backward(&mut self, spec: NormSpec, pass: NormPass, grad_y: In, grads: NormGrads) -> Result<()>;
    /// Writes the tangents of y and of the statistics, for the norm without its noise; in f32 and f64.
    fn norm_tangent(&mut self, spec: NormSpec, pass: NormPass, tangents: NormTangents) -> Result<()>;
    /// Writes the tangents of the gradients, for the norm without its noise, from what [`Norm::norm_tangent`] wrote.
    fn norm_tangent_backward(&mut self, spec: NormSpec, pass: NormPass, io: NormTangentBackward) -> Result<()>;
}

impl NormPass {
    /// y, if the ReLU follows: tangents need to know what it let through.
    fn through_relu(&self, spec: &NormSpec) -> Option<In> {
        spec.relu.then_some(self.y.into())
    }

    /// The number of channels of a norm over the batch. Errors: tensors whose lengths differ from that, or no sample.
    fn channels(&self, spec: &NormSpec, others: &[Shape]) -> Result<usize> {
        let (rows, columns) = self.x.0.shape.matrix();
        let own = [self.weight.0.shape, self.bias.0.shape, self.mean.0.shape, self.spread.0.shape];
        if rows > 0 && columns > 0 && own.iter().chain(others).all(|s| s.len() == columns) {
            return Ok(columns);
        }
        let found = format!("x {}, per channel {own:?} {others:?}", self.x.0.shape);
        Err(Error::operator(spec.name(), "x …×C with at least one sample, and C values per channel", found))
    }

    /// The step state. Errors: there is none.
    fn noise_key(&self, spec: &NormSpec) -> Result<In> {
        self.state.ok_or_else(|| Error::operator(spec.name(), "the step state, the noise's key", "none"))
    }
}

impl NormSpec {
    /// Refuses a pool, for backends whose norms cannot apply one.
    fn without_pool(&self) -> Result<()> {
        match self.pool {
            false => Ok(()),
            true => Err(Error::operator(self.name(), "a backend whose norms pool", "one that does not")),
        }
    }
}
