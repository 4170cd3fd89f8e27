//! The arrays of norms over groups: `x[N,C,…] weight[C] bias[C] grad_y?`, with `eps`, `relu` and for `group_norm` also `groups`.

use super::{GroupNormLayer, Grouping, cases, unfit};
use crate::Result;
use crate::files::Arrays;
use crate::ops::backend::Backend;
use crate::ops::door::norm::{Keeps, NormInputs};
use crate::ops::door::{Case, Inputs, Operator, Scratch};

macro_rules! entries {
    ($($entry:ident $name:literal $inputs:ident => $grouping:expr, $cases:ident;)+) => {$(
        #[doc = concat!("`op ", $name, "`")]
        pub struct $entry;

        impl Operator for $entry {
            const NAME: &'static str = $name;

            fn run<B: Backend>(backend: &mut B, $inputs: &mut Inputs) -> Result<Arrays> {
                let given = NormInputs::take($inputs)?;
                let grouping = $grouping;
                run(Self::NAME, backend, $inputs, given, grouping)
            }

            fn cases() -> Vec<Case> {
                cases::$cases()
            }
        }
    )+};
}

entries! {
    Group "group_norm" inputs => Grouping::Groups(inputs.required_integer("groups", 1, u64::from(u32::MAX))? as usize), group;
    Layer "layer_norm" inputs => Grouping::Layer, layer;
    Instance "instance_norm" inputs => Grouping::Instance, instance;
    Rms "rms_norm" inputs => Grouping::Rms, layer;
}

/// Runs a norm over groups, its settings taken. `mean` and `var` come out as `[N]` of LayerNorm and RMSNorm, else as `[N,G]`.
fn run<B: Backend>(
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
    let groups = grouping.of(channels);
    if let Some((problem, remedy)) = unfit(map.iter().product(), channels, groups.count) {
        return Err(inputs.refuse(
            if channels.is_multiple_of(groups.count) { "x" } else { "attr.groups" },
            problem,
            remedy,
        ));
    }
    let mut s = Scratch::new(backend);
    let kept: &[usize] =
        if matches!(grouping, Grouping::Layer | Grouping::Rms) { &[samples] } else { &[samples, groups.count] };
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
