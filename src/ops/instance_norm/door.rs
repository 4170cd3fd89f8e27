//! InstanceNorm's arrays: `x[N,C,…] weight[C] bias[C] grad_y?`, with `eps` and `relu`.

use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::norm::NormInputs;
use crate::ops::door::{Case, Inputs, Operator};
use crate::ops::group_norm::{Grouping, door::run};

/// `op instance_norm`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "instance_norm";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let given = NormInputs::take(inputs)?;
        run(Self::NAME, backend, inputs, given, Grouping::Instance)
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
