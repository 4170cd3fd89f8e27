//! The boundary of the operators: named arrays go in and come out in the user's order (NCHW, OIHW).
//!
//! Inside, everything is HWNC; this is the only place where operators' arrays are reordered. Most operators are layers, and the layer determines
//! which arrays its file may hold: [`layered`]. [`crate::ops::table`] lists all operators.
//!
//! - [`inputs`]: arrays and settings, taken by name and checked · [`layout`]: the order of elements, outside and inside
//! - [`scratch`]: the memory of one call · [`layered`], [`losses`], [`weight_norm`]: the calls themselves
//! - [`case`]: test inputs as data, for tests and benchmarks · [`mod@compare`]: the distance of outputs from their expected values

pub mod case;
pub mod compare;
pub mod inputs;
pub mod layered;
pub mod layout;
pub mod losses;
pub mod scratch;
pub mod weight_norm;

pub use case::{Case, Cases, Drawn, Law, Means, Role};
pub use compare::{compare, relative_error};
pub use inputs::{Extents, Inputs, Tensor};
pub use layered::{Keyed, LayerOperator, OperatorOf};
pub use layout::Layout;
pub use scratch::Scratch;

use super::backend::Backend;
use crate::Result;
use crate::files::Arrays;

/// An operator that is not a layer, as the command line runs it.
pub trait Operator {
    /// Its name, as in `normscape op NAME`.
    const NAME: &'static str;
    /// Computes the outputs from the inputs, including the gradients if `grad_y` is supplied. Errors: an array or setting that is missing, unknown,
    /// or not what the operator takes; not enough memory.
    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays>;
    /// The inputs that parity tests, gradient checks and benchmarks share.
    const CASES: Cases;
}

#[cfg(test)]
mod tests;
