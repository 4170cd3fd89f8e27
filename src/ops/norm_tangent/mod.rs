//! How the norms move: tangent forward and tangent backward of BatchNorm and the ℓp norms, of which Hessian-vector products are made.
//!
//! Both are `u = (x − μ)/D`, `y = γ u + β`, with `D = S = √(σ² + ε)` or `D = s + ε`. Where x moves by ẋ, γ by γ̇ and β by β̇,
//!
//! ```text
//! μ̇ = mean ẋ      Ḋ = mean r ẋ      u̇ = (ẋ − μ̇ − u Ḋ)/D      ẏ = γ̇ u + γ u̇ + β̇
//! ```
//!
//! with `r = m ∂D/∂x`: r = u for BatchNorm, `sign(x)(|x|/s)^(p−1)` for an ℓp norm (p = ∞: m/k sign(x) at the k elements of largest |x|). Backward is
//! `dx = γ/D (dy − dβ/m − r dγ/m)`; where dy moves by ḋy too,
//!
//! ```text
//! ḋβ = Σ ḋy      ḋγ = Σ (ḋy u + dy u̇)
//! ḋx = (γ̇/D − γḊ/D²)(dy − dβ/m − r dγ/m) + γ/D (ḋy − ḋβ/m − r ḋγ/m − ṙ dγ/m)
//! ```
//!
//! with ṙ = u̇ for BatchNorm and `(p−1)((|x|/s)^(p−2) ẋ − r ṡ)/s` for an ℓp norm, 0 at p = 1 and ∞. With a ReLU after the norm, ẏ, dy and ḋy
//! count only where y > 0. ReLU and |x| have no curvature of their own: at their kinks the conventions of the gradients hold.
//!
//! Source: the derivatives of [`crate::ops::batch_norm`] and [`crate::ops::lp_norm`].

pub(in crate::ops) mod cpu;
mod cuda;

use crate::Result;
use crate::ops::norm::{NormGrads, Statistics};
use crate::runtime::tensor::{In, Out};

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// BatchNorm: the spread is σ².
    Variance,
    /// The ℓp norm: the spread is s, the power mean of order p ≥ 1 (infinity allowed).
    Power(f64),
}

/// A norm's forward pass, as it was.
#[derive(Debug, Clone, Copy)]
pub struct Normed {
    /// Which norm.
    pub law: Law,
    /// ε
    pub eps: f64,
    /// `[…, C]`
    pub x: In,
    /// γ, `[C]`
    pub weight: In,
    /// μ, `[C]`
    pub mean: In,
    /// σ² or s, `[C]`
    pub spread: In,
    /// y, where a ReLU followed.
    pub relu: Option<In>,
}

/// How its operands move; γ and β that are `None` do not.
#[derive(Debug, Clone, Copy)]
pub struct Moving {
    /// ẋ
    pub x: In,
    /// γ̇
    pub weight: Option<In>,
    /// β̇
    pub bias: Option<In>,
}

/// What reached its backward pass, how that moves, and the gradients that it wrote.
#[derive(Debug, Clone, Copy)]
pub struct Upstream {
    /// dy
    pub grad_y: In,
    /// ḋy
    pub moving: In,
    /// dγ
    pub grad_weight: In,
    /// dβ
    pub grad_bias: In,
}

/// The tangents of the norms, in f32 and f64. The workspace is that of BatchNorm.
pub trait NormTangent {
    /// Writes ẏ, and to `stats` μ̇ and Ḋ.
    fn norm_tangent(&mut self, norm: Normed, moving: Moving, y: Out, stats: Statistics, workspace: Out) -> Result<()>;
    /// Writes ḋx, ḋγ and ḋβ, from the statistics' tangents that [`NormTangent::norm_tangent`] wrote.
    fn norm_tangent_backward(
        &mut self,
        norm: Normed,
        moving: Moving,
        stats: Statistics,
        upstream: Upstream,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()>;
}
