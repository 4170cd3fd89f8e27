//! The ℓp norm's arrays: `x[N,C,…] weight[C] bias[C] grad_y?`, with `p`, `eps` and `relu`.

use super::LpNormLayer;
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::norm::NormInputs;
use crate::ops::door::{Case, Inputs, Operator, Scratch};

/// `op lp_norm`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "lp_norm";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let given = NormInputs::take(inputs)?;
        let p = inputs.p()?;
        inputs.finish(Self::NAME)?;
        let mut s = Scratch::new(backend);
        let v = given.plan(&mut s, "scale")?;
        s.commit()?;
        s.backend.lp_norm(p, v.x, v.params, given.options, v.y, v.stats, v.workspace)?;
        if let Some((grad_y, grads)) = v.backward {
            let (options, workspace) = (given.options, v.workspace);
            s.backend.lp_norm_backward(p, v.x, v.params, options, v.stats, grad_y, grads, workspace)?;
        }
        v.move_on(&LpNormLayer { p, options: given.options }, s.backend, None)?;
        s.finish()
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}
