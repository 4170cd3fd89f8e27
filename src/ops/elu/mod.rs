//! ELU and SELU: as the ReLU above 0, and below it an exponential that levels off.
//!
//! With a scale λ and a depth α:
//!
//! ```text
//! y = λ x            where x > 0     y' = λ         y'' = 0
//! y = λ α (eˣ − 1)   elsewhere       y' = λ α eˣ    y'' = λ α eˣ, and 0 at 0
//! ```
//!
//! ELU (Clevert, Unterthiner and Hochreiter 2016): λ = α = 1. SELU (Klambauer, Unterthiner, Mayr and Hochreiter 2017): λ = 1.0507…,
//! α = 1.6733…, under which mean 0 and variance 1 reproduce themselves. At 0 they are as in PyTorch: y' is that from below (for ELU 1 from
//! both sides, for SELU λ α), y'' is 0. A NaN stays one.

pub mod cases;
pub mod cpu;
mod cuda;
pub mod door;
mod layer;

pub use layer::EluLayer;

use crate::Result;
use crate::runtime::tensor::{In, Out};

/// The constants of one of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// λ
    pub scale: f64,
    /// α
    pub depth: f64,
}

impl Constants {
    /// ELU's.
    pub const ELU: Constants = Constants { scale: 1.0, depth: 1.0 };
    /// SELU's, to the digits that its authors give.
    pub const SELU: Constants = Constants { scale: 1.050_700_987_355_480_5, depth: 1.673_263_242_354_377_2 };

    /// λ α
    pub fn slope(self) -> f64 {
        self.scale * self.depth
    }
}

/// ELU and SELU on tensors of any shape.
pub trait Elu {
    /// Writes y.
    fn elu(&mut self, of: Constants, x: In, y: Out) -> Result<()>;
    /// Writes `dx = y' dy`, from the forward's input; of a tangent, `ẏ = y' ẋ`.
    fn elu_backward(&mut self, of: Constants, x: In, grad_y: In, grad_x: Out) -> Result<()>;
    /// How dx moves where x moves by `x_tangent` and dy by `grad_y_tangent`: `y'' ẋ dy + y' ḋy`. In f32 and f64.
    fn elu_tangent_backward(
        &mut self,
        of: Constants,
        x: In,
        x_tangent: In,
        grad_y: In,
        grad_y_tangent: In,
        grad_x_tangent: Out,
    ) -> Result<()>;
}
