//! The arrays of norms over groups: `x[N,C,…] weight[C] bias[C] grad_y?`, with `eps`, `relu` and for `group_norm` also `groups`.

use super::{GroupNormLayer, Grouping, unfit};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::norm::{Keeps, NormInputs};
use crate::ops::door::{Case, Inputs, Operator, Scratch};

/// `op group_norm`
pub struct Entry;

impl Operator for Entry {
    const NAME: &'static str = "group_norm";

    fn run<B: Backend>(backend: &mut B, inputs: &mut Inputs) -> Result<Arrays> {
        let given = NormInputs::take(inputs)?;
        let groups = inputs.required_integer("groups", 1, u64::from(u32::MAX))?;
        run(Self::NAME, backend, inputs, given, Grouping::Groups(groups as usize))
    }

    fn cases() -> Vec<Case> {
        super::cases::cases()
    }
}

/// Runs a norm over groups, its settings taken. `mean` and `var` come out as `[N]` of LayerNorm, else as `[N,G]`.
pub fn run<B: Backend>(
    name: &'static str,
    backend: &mut B,
    inputs: &mut Inputs,
    given: NormInputs,
    grouping: Grouping,
) -> Result<Arrays> {
    inputs.finish(name)?;
    let [samples, channels, ref map @ ..] = given.x.shape[..] else {
        return Err(inputs.refuse("x", "has one axis", "N×C×… fits"));
    };
    let groups = grouping.groups(channels);
    if let Some((problem, remedy)) = unfit(map.iter().product(), channels, groups) {
        return Err(inputs.refuse(if channels.is_multiple_of(groups) { "x" } else { "attr.groups" }, problem, remedy));
    }
    let mut s = Scratch::new(backend);
    let kept: &[usize] = if grouping == Grouping::Layer { &[samples] } else { &[samples, groups] };
    let v = given.plan_keeping(&mut s, "var", Keeps { shape: kept, workspace: B::group_norm_workspace })?;
    s.commit()?;
    s.backend.group_norm(groups, v.x, v.params, given.options, v.y, v.stats, v.workspace)?;
    if let Some((grad_y, grads)) = v.backward {
        let (options, workspace) = (given.options, v.workspace);
        s.backend.group_norm_backward(groups, v.x, v.params, options, v.stats, grad_y, grads, workspace)?;
    }
    v.move_on(&GroupNormLayer { grouping, options: given.options }, s.backend, None)?;
    s.finish()
}
