//! SELU's arrays: `x grad_y?`, of any shape.

use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::{Case, Inputs, Operator};
use crate::ops::elu::{self, EluLayer};

/// `op selu`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "selu";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        elu::door::run(EluLayer::Selu, Self::NAME, backend, inputs)
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
