//! Activations: a non-linearity by itself, where no other layer's pass carries it.
//!
//! ```text
//! y = f(x)      dx = f′(x) dy      ẏ = f′(x) ẋ      ḋx = f″(x) ẋ dy + f′(x) ḋy
//! ```
//!
//! `rows` has f, f′ and f″ of each. Where f′ is 0 no gradient passes, whatever it is; a NaN in x stays one.

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

/// What a gradient's tangent is made of.
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
    /// Writes dx from the forward's input and `grad_y`; of a tangent, ẏ.
    fn activation_backward(&mut self, kind: Activation, x: In, grad_y: In, grad_x: Out) -> Result<()>;
    /// Writes ḋx. In f32 and f64.
    fn activation_tangent_backward(&mut self, kind: Activation, of: TangentOperands, grad_x_tangent: Out)
    -> Result<()>;
}

/// Refuses tensors of another length than x's.
fn same(kind: Activation, x: In, others: &[In]) -> Result<()> {
    match others.iter().find(|other| other.0.shape.len() != x.0.shape.len()) {
        None => Ok(()),
        Some(other) => Err(Error::operator(kind.name(), format!("{} like x", x.0.shape), format!("{}", other.0.shape))),
    }
}
