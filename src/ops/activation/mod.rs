//! Activations as operators of their own, for a non-linearity that is not fused into another layer's pass.
//!
//! ```text
//! y = f(x)      dx = f′(x) dy      ẏ = f′(x) ẋ      ḋx = f″(x) ẋ dy + f′(x) ḋy
//! ```
//!
//! `rows` holds f, f′ and f″ of each activation. Where f′ is 0 the gradient is 0, whatever the upstream gradient is. A NaN in x stays a NaN.

pub mod cases;
pub mod cpu;
mod cuda;
mod layer;
mod loops;
mod rows;
mod rule;

pub use layer::{ActivationLayer, operator};
pub use rows::Activation;

use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// The operands of a gradient's tangent.
#[derive(Debug, Clone, Copy)]
pub struct TangentOperands {
    /// The forward's input.
    pub x: In,
    /// ẋ
    pub x_tangent: In,
    /// dy
    pub grad_y: In,
    /// ḋy
    pub grad_y_tangent: In,
}

/// Activations on tensors of any shape.
pub trait Activate {
    /// Writes y.
    fn activation(&mut self, kind: Activation, x: In, y: Out) -> Result<()>;
    /// Writes dx from the forward pass's input and `grad_y`. Given a tangent ẋ in place of `grad_y`, it writes ẏ: the formula is the same.
    fn activation_backward(&mut self, kind: Activation, x: In, grad_y: In, grad_x: Out) -> Result<()>;
    /// Writes ḋx. Works in f32 and f64.
    fn activation_tangent_backward(&mut self, kind: Activation, of: TangentOperands, grad_x_tangent: Out)
    -> Result<()>;
}

/// Refuses tensors whose length differs from x's.
fn same(kind: Activation, x: In, others: &[In]) -> Result<()> {
    match others.iter().find(|other| other.0.shape.len() != x.0.shape.len()) {
        None => Ok(()),
        Some(other) => Err(Error::operator(kind.name(), format!("{} like x", x.0.shape), format!("{}", other.0.shape))),
    }
}
