//! The norms that users can call by name, and the settings that each reads from a file.
//!
//! Each takes `x[N,C,…] weight[C] bias[C] grad_y?`, with `eps` and `relu`.

use super::renorm::RenormLimits;
use super::{Axes, Grouping, NormLayer, NormSpec, cases};
use crate::Result;
use crate::ops::boundary::{Cases, Extents, Inputs, Keyed, LayerOperator, Layout, OperatorOf, Tensor};
use crate::ops::noise::NoiseOptions;
use crate::runtime::state::StepState;

/// The largest layer number: the counter of a draw has 24 bits for the layer and 32 for the step.
const LAYERS: u64 = (1 << 24) - 1;

/// `op batch_norm`
pub const BATCH: OperatorOf<NormLayer> =
    norm("batch_norm", |inputs, x| with_settings(NormSpec::batch(), inputs, x), cases::BATCH);
/// `op noisy_batch_norm`, with the paper's noise; `seed`, `step` and `layer` are its key.
pub const NOISY: OperatorOf<NormLayer> = norm("noisy_batch_norm", noisy, cases::NOISY);
/// `op batch_renorm`, with `running_mean[C]`, `running_var[C]`, and the bounds `r_max` and `d_max`
pub const RENORM: OperatorOf<NormLayer> = norm("batch_renorm", renorm, cases::RENORM);
/// `op lp_norm`, with `p`
pub const LP: OperatorOf<NormLayer> = LayerOperator {
    statistics: ["mean", "scale"],
    ..norm("lp_norm", |inputs, x| with_settings(NormSpec::lp(inputs.p()?), inputs, x), cases::LP)
};
/// `op layer_norm`
pub const LAYER: OperatorOf<NormLayer> =
    norm("layer_norm", |inputs, x| with_settings(NormSpec::grouped(Grouping::Layer), inputs, x), cases::LAYER);
/// `op group_norm`, with `groups`
pub const GROUP: OperatorOf<NormLayer> = norm(
    "group_norm",
    |inputs, x| {
        let groups = inputs.required_integer("groups", 1, u64::from(u32::MAX))? as usize;
        with_settings(NormSpec::grouped(Grouping::Groups(groups)), inputs, x)
    },
    cases::GROUP,
);
/// `op instance_norm`
pub const INSTANCE: OperatorOf<NormLayer> =
    norm("instance_norm", |inputs, x| with_settings(NormSpec::grouped(Grouping::Instance), inputs, x), cases::INSTANCE);
/// `op rms_norm`
pub const RMS: OperatorOf<NormLayer> =
    norm("rms_norm", |inputs, x| with_settings(NormSpec::rms(), inputs, x), cases::RMS);

const fn norm(
    name: &'static str,
    layer: fn(&mut Inputs, &Tensor) -> Result<Keyed<NormLayer>>,
    cases: Cases,
) -> OperatorOf<NormLayer> {
    let (layout, extents) = (Layout::Activations, Extents::Activations);
    LayerOperator { name, layout, extents, layer, statistics: ["mean", "var"], cases }
}

/// The layer, with `eps` and `relu` from the file. Errors: groups that do not fit x.
fn with_settings(spec: NormSpec, inputs: &mut Inputs, x: &Tensor) -> Result<Keyed<NormLayer>> {
    let spec = NormSpec { eps: inputs.eps()?, relu: inputs.relu()?, ..spec };
    if let (Axes::Groups(grouping), [_, channels, map @ ..]) = (spec.axes, &x.shape[..])
        && let Some((problem, remedy)) = grouping.unfit(map.iter().product(), *channels)
    {
        let divides = channels.is_multiple_of(grouping.count(*channels));
        return Err(inputs.refuse(if divides { "x" } else { "attr.groups" }, problem, remedy));
    }
    Ok(NormLayer { spec }.into())
}

fn renorm(inputs: &mut Inputs, x: &Tensor) -> Result<Keyed<NormLayer>> {
    let usual = RenormLimits::default();
    let r_max = inputs.number("r_max", "a number of at least 1, or inf, is taken", |v| v >= 1.0)?;
    let d_max = inputs.number("d_max", "a number of at least 0, or inf, is taken", |v| v >= 0.0)?;
    let limits = RenormLimits { r_max: r_max.unwrap_or(usual.r_max), d_max: d_max.unwrap_or(usual.d_max) };
    with_settings(NormSpec::renorm(limits), inputs, x)
}

fn noisy(inputs: &mut Inputs, x: &Tensor) -> Result<Keyed<NormLayer>> {
    let seed = inputs.integer("seed", i64::MAX as u64, 0)?;
    let step = inputs.integer("step", u64::from(u32::MAX), 0)?;
    let layer = inputs.integer("layer", LAYERS, 1)? as u32;
    let noise = NoiseOptions { layer, ..NoiseOptions::default() };
    let keyed = with_settings(NormSpec::noisy(noise), inputs, x)?;
    Ok(Keyed { noise: Some((noise, StepState::new(seed, step, 0.0))), ..keyed })
}
