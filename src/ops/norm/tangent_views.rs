//! The tensors that every tangent pass of a norm reads, on the CPU and on a device.

use super::{NormPass, NormSpec, NormTangents};
use crate::Result;
use crate::runtime::cuda::DeviceBorrow;
use crate::runtime::cuda::driver::Slice;
use crate::runtime::float::Float;
use crate::runtime::memory::Borrow;

/// The pass's tensors and the tangents of its operands; each `S` is a slice of one tensor.
#[derive(Clone, Copy)]
pub struct TangentViews<S> {
    pub x: S,
    /// ẋ
    pub x_tangent: S,
    /// γ
    pub weight: S,
    /// γ̇, where γ moves.
    pub weight_tangent: Option<S>,
    /// μ
    pub mean: S,
    /// σ² or s
    pub spread: S,
    /// y, if a ReLU followed.
    pub relu: Option<S>,
}

impl<'a, T: Float> TangentViews<&'a [T]> {
    /// Reads the tensors on the CPU.
    pub fn read(b: &mut Borrow<'a>, spec: &NormSpec, pass: &NormPass, tangents: &NormTangents) -> Result<Self> {
        Ok(TangentViews {
            x: b.read(pass.x)?,
            x_tangent: b.read(tangents.x)?,
            weight: b.read(pass.weight)?,
            weight_tangent: tangents.weight.map(|w| b.read(w)).transpose()?,
            mean: b.read(pass.mean.into())?,
            spread: b.read(pass.spread.into())?,
            relu: pass.through_relu(spec).map(|y| b.read(y)).transpose()?,
        })
    }
}

impl<'a> TangentViews<Slice<'a, f32>> {
    /// Reads the tensors on a device.
    pub fn of(views: &mut DeviceBorrow<'a>, spec: &NormSpec, pass: &NormPass, tangents: &NormTangents) -> Result<Self> {
        Ok(TangentViews {
            x: views.read(pass.x)?,
            x_tangent: views.read(tangents.x)?,
            weight: views.read(pass.weight)?,
            weight_tangent: views.read_some(tangents.weight)?,
            mean: views.read(pass.mean.into())?,
            spread: views.read(pass.spread.into())?,
            relu: views.read_some(pass.through_relu(spec))?,
        })
    }
}
