//! BatchNorm's arrays: `x[N,C,…] weight[C] bias[C] grad_y?`, with `eps` and `relu`.

use super::BatchNormLayer;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::norm::NormInputs;
use crate::ops::door::{Case, Inputs, Operator, Scratch};

/// `op batch_norm`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "batch_norm";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let given = NormInputs::take(inputs)?;
        inputs.finish(Self::NAME)?;
        let mut s = Scratch::new(backend);
        let v = given.plan(&mut s, "var")?;
        s.commit()?;
        s.backend.batch_norm(v.x, v.params, given.options, v.y, v.stats, v.workspace)?;
        if let Some((grad_y, grads)) = v.backward {
            let (options, workspace) = (given.options, v.workspace);
            s.backend.batch_norm_backward(v.x, v.params, options, v.stats, grad_y, grads, workspace)?;
        }
        v.move_on(&BatchNormLayer { options: given.options }, s.backend, None)?;
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
