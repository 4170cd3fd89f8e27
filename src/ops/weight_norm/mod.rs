//! Weight normalisation: the weights of each output unit are a direction and a length (Salimans and Kingma 2016).
//!
//! The direction `v [R, K]`, as the networks' slots hold it, has one column for each unit; the gain is `g [K]`. For each unit, with `n = ‖v‖` and
//! `u = v/n`:
//!
//! ```text
//! w = g u      dg = ⟨dw, u⟩      dv = g/n (dw − u dg)
//! ```
//!
//! and where v̇ and ġ are the tangents of v and g, with `ṅ = ⟨u, v̇⟩`, `u̇ = (v̇ − u ṅ)/n`:
//!
//! ```text
//! ẇ = ġ u + g u̇      ḋg = ⟨ḋw, u⟩ + ⟨dw, u̇⟩      ḋv = (ġ − g ṅ/n)/n (dw − u dg) + g/n (ḋw − u̇ dg − u ḋg)
//! ```
//!
//! A direction of length 0 points nowhere: there w, its gradients and all tangents are 0. Sums are taken in f64, in an order that the shape alone
//! fixes. In PyTorch `v` is `weight_v`, `g` is `weight_g` and `dim` is 0.

pub mod cases;
mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// What a weight is made of, or the tangents of these.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// v, `[…, K]`
    pub direction: In,
    /// g, `[K]`
    pub gain: In,
}

/// Where the gradients of direction and gain go, or the tangents of these gradients.
#[derive(Debug, Clone, Copy)]
pub struct PartsOut {
    /// Shaped like v.
    pub direction: Out,
    /// Shaped like g.
    pub gain: Out,
}

/// Weights made of direction and gain. All tensors have the backend's own type, except `weight`.
pub trait WeightNorm {
    /// Writes w, shaped like v, in the type in which the backend holds operands of matrix products, or in the backend's own type.
    fn weight_norm(&mut self, of: Parts, weight: Out) -> Result<()>;
    /// Writes the gradients of v and g from that of w.
    fn weight_norm_backward(&mut self, of: Parts, grad_weight: In, grads: PartsOut) -> Result<()>;
    /// Writes ẇ.
    fn weight_norm_tangent(&mut self, of: Parts, moving: Parts, weight_tangent: Out) -> Result<()>;
    /// Writes the tangents of the gradients of v and g. `grad_weight` holds the gradient of w and its tangent.
    fn weight_norm_tangent_backward(
        &mut self,
        of: Parts,
        moving: Parts,
        grad_weight: (In, In),
        grads_tangent: PartsOut,
    ) -> Result<()>;
}

/// The rows and columns of the direction. Errors: `like_direction` or `like_gain` has another length, or there is no weight.
fn extents(of: Parts, like_direction: &[In], like_gain: &[In]) -> Result<(usize, usize)> {
    let (v, g) = (of.direction.0.shape, of.gain.0.shape);
    let (rows, columns) = v.matrix();
    let fits = |all: &[In], len: usize| all.iter().all(|x| x.0.shape.len() == len);
    if v.len() > 0 && g.len() == columns && fits(like_direction, v.len()) && fits(like_gain, columns) {
        return Ok((rows, columns));
    }
    let shapes: Vec<_> = like_direction.iter().chain(like_gain).map(|x| x.0.shape).collect();
    Err(Error::operator(
        "weight_norm",
        "direction …×K, gain K, and the others like them",
        format!("{v}, {g}, {shapes:?}"),
    ))
}
