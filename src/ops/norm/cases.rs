//! The norms' test cases.

use crate::ops::boundary::{Case, Cases, Drawn, Law, Means, Role};

/// `op batch_norm`'s cases.
pub const BATCH: Cases = Cases { chosen: batch, drawn: |of| Some(drawn(of)) };
/// `op noisy_batch_norm`'s cases.
pub const NOISY: Cases = Cases {
    chosen: noisy,
    drawn: |of| Some(drawn(of).set("seed", of.index as f64).set("step", 3.0).set("layer", 2.0)),
};
/// `op batch_renorm`'s cases.
pub const RENORM: Cases = Cases { chosen: renorm, drawn: |of| Some(renormed(drawn(of), of.index % 2 == 0)) };
/// `op lp_norm`'s cases.
pub const LP: Cases = Cases { chosen: power_means, drawn: drawn_power };
/// `op layer_norm`'s cases.
pub const LAYER: Cases = Cases { chosen: layer, drawn: |of| drawn_groups(of, &[1]) };
/// `op rms_norm`'s cases.
pub const RMS: Cases =
    Cases { chosen: || layer().into_iter().map(rms).collect(), drawn: |of| drawn_groups(of, &[1]).map(rms) };
/// `op instance_norm`'s cases.
pub const INSTANCE: Cases = Cases { chosen: instance, drawn: |of| drawn_groups(of, &[of.map[1]]) };
/// `op group_norm`'s cases.
pub const GROUP: Cases = Cases { chosen: group, drawn: drawn_group_norm };

/// A case of a norm over the batch on `shape`, with x drawn under `law`.
pub fn case(name: impl Into<String>, shape: &[usize], law: Law, relu: bool) -> Case {
    let units = [shape[1]];
    let case = Case::new(name)
        .with("x", Role::Activation, shape, law)
        .with("weight", Role::Parameter, &units, Law::Normal { mean: 1.0, scale: 0.3 })
        .with("bias", Role::Parameter, &units, Law::Normal { mean: 0.0, scale: 0.3 })
        .with("grad_y", Role::Activation, shape, Law::NORMAL)
        .set("relu", f64::from(u8::from(relu)))
        .summing(shape[0] * shape[2..].iter().product::<usize>());
    Case { means: Some(Means::Channels), ..case }
}

/// Turns a case into one of a norm over each sample's groups of channels; γ's gradient is still a sum over the batch.
fn grouped(case: Case, groups: usize) -> Case {
    let of_sample = case.operands[0].shape[1..].iter().product();
    let case = Case { means: Some(Means::Groups(groups)), ..case };
    let longest = case.longest_sum.max(of_sample);
    case.summing(longest)
}

/// Turns a case into one of a norm that subtracts no mean.
fn rms(case: Case) -> Case {
    Case { means: None, ..case }
}

/// The usual law of x: a mean that is not 0, and a spread that is not 1.
const USUAL: Law = Law::Normal { mean: 0.5, scale: 2.0 };

fn drawn(of: &Drawn) -> Case {
    case(of.name.clone(), &of.map, USUAL, of.full)
}

fn drawn_power(of: &Drawn) -> Option<Case> {
    // Also powers that have no kernel of their own.
    let powers: Vec<f64> = POWERS.into_iter().chain([1.2, 4.0, 7.5]).collect();
    let p = powers[of.index % powers.len()];
    Some(case(of.name.clone(), &of.map, smooth(p), of.full).set("p", p).set("eps", 1e-3))
}

/// A case with the first of these numbers of groups for which a group has at least four values. With fewer values, almost no gradient reaches x.
fn drawn_groups(of: &Drawn, counts: &[usize]) -> Option<Case> {
    let [_, c, h, w] = of.map;
    let groups = counts.iter().copied().find(|groups| c / groups * h * w > 3)?;
    Some(grouped(drawn(of), groups))
}

fn drawn_group_norm(of: &Drawn) -> Option<Case> {
    let mut counts: Vec<usize> = (1..=of.map[1]).filter(|groups| of.map[1].is_multiple_of(*groups)).collect();
    let first = of.index % counts.len();
    counts.rotate_left(first);
    let case = drawn_groups(of, &counts)?;
    let Some(Means::Groups(groups)) = case.means else { return None };
    Some(case.set("groups", groups as f64))
}

/// The shapes that every norm is tested on: name, extents, and whether the ReLU follows. They include one channel, one sample, few units (several
/// rows share a register), more units than a line on the stack holds, more samples than one piece of a sum, and enough elements to share among
/// threads.
const SHAPES: &[(&str, &[usize], bool)] = &[
    ("two_axes", &[10, 3], false),
    ("three_axes", &[4, 3, 11], true),
    ("five_axes", &[2, 3, 2, 3, 2], false),
    ("batch_1", &[1, 5, 7, 7], true),
    ("one_channel", &[4, 1, 5, 5], false),
    ("one_pixel", &[6, 33, 1, 1], true),
    ("odd", &[3, 7, 5, 6], true),
    ("map_33", &[2, 5, 33, 33], true),
    ("long", &[700, 3], false),
    ("wide", &[3, 1100], true),
    ("threads", &[9, 70, 9, 9], true),
    ("vectors", &[5, 24, 5, 3], true),
];

/// Shapes whose rows are whole vectors of a device, on top of one above: one vector and two, more than a block takes, fewer rows than a block
/// takes at once, a slice of a network's layer, ends of parts that are ragged.
const VECTORS: &[(&str, &[usize], bool)] = &[
    ("one_vector", &[7, 8, 9, 11], true),
    ("vectors_of_float", &[600, 12], false),
    ("vectors_of_many_columns", &[3, 512, 2, 2], true),
    ("vectors_of_a_layer", &[128, 64, 3, 2], true),
    ("vectors_ragged", &[97, 40, 5, 5], false),
    ("vectors_of_one_row", &[1, 136], true),
];

/// The shapes of all norms; a mean far from 0, where sums of squares cancel; and σ² near ε, where it shows if a derivative leaves ε out.
fn batch() -> Vec<Case> {
    let mut cases: Vec<_> = SHAPES.iter().map(|&(name, shape, relu)| case(name, shape, USUAL, relu)).collect();
    cases.push(case("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, false));
    let small = Law::Normal { mean: 0.01, scale: 3e-3 };
    cases.push(case("eps_near_variance", &[6, 5, 4, 4], small, false).set("eps", 1e-5));
    cases.push(case("large_eps", &[6, 5, 4, 4], USUAL, true).set("eps", 2.0));
    cases.push(case("no_eps", &[6, 5, 4, 4], USUAL, false).set("eps", 0.0));
    // The one sample of a unit is its mean: y = β, and no gradient reaches x.
    cases.push(case("one_sample", &[1, 4, 1, 1], USUAL, false));
    cases.extend(VECTORS.iter().map(|&(name, shape, relu)| case(name, shape, USUAL, relu)));
    cases.push(case("vectors_far_mean", &[90, 16, 7, 5], Law::Normal { mean: 3000.0, scale: 1.0 }, false));
    cases
}

/// The shapes of all norms, and rows of whole vectors, at several layers and steps; and one very large step and layer.
fn noisy() -> Vec<Case> {
    let keyed = |(i, &(name, shape, relu)): (usize, &(&str, &[usize], bool))| {
        case(name, shape, USUAL, relu).set("seed", 7.0).set("step", (3 * i) as f64).set("layer", (1 + i % 5) as f64)
    };
    let mut cases: Vec<_> = SHAPES.iter().chain(VECTORS).enumerate().map(keyed).collect();
    let far = case("far_key", &[5, 6, 3, 3], USUAL, true);
    cases.push(far.set("seed", 2f64.powi(40) + 1.0).set("step", 4_294_967_295.0).set("layer", 16_777_215.0));
    let small = Law::Normal { mean: 0.01, scale: 3e-3 };
    cases.push(case("eps_near_variance", &[6, 5, 4, 4], small, false));
    cases
}

/// Turns a case of a norm into one of batch renormalisation. Its running statistics are near the batch's; or, with `bounded`, they are so far away
/// that r and d are at their bounds in every channel. Only at their bounds are r and d constants, as the gradients treat them.
fn renormed(case: Case, bounded: bool) -> Case {
    let channels = [case.operands[0].shape[1]];
    let (mean, var) = if bounded { (2e3, 1e4) } else { (0.5, 4.0) };
    let law = |mean, scale| Law::Normal { mean, scale };
    let scale = if bounded { 1.0 } else { 0.3 };
    let case = case.with_still("running_mean", Role::Parameter, &channels, law(mean, scale)).with_still(
        "running_var",
        Role::Parameter,
        &channels,
        law(var, scale),
    );
    if bounded { case } else { case.on_a_kink() }
}

/// The shapes of all norms, with r and d at their bounds and within them; and bounds that reduce it to BatchNorm.
fn renorm() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, shape, relu) in SHAPES {
        cases.push(renormed(case(name, shape, USUAL, relu), true));
        cases.push(renormed(case(format!("{name}_near"), shape, USUAL, relu), false));
    }
    let wide = renormed(case("wide_bounds", &[6, 5, 4, 4], USUAL, true), false);
    cases.push(wide.set("r_max", f64::INFINITY).set("d_max", f64::INFINITY));
    let none = renormed(case("batch_norm", &[6, 5, 4, 4], USUAL, true), true);
    cases.push(none.set("r_max", 1.0).set("d_max", 0.0).set("eps", 1e-3));
    cases
}

/// The powers to test: those with a kernel of their own, one for which |x|ᵖ has no second derivative at 0, and one beyond.
const POWERS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, f64::INFINITY];

/// A law of inputs on which the norm of power `p` is smooth: away from 0, or with unambiguous maxima.
fn smooth(p: f64) -> Law {
    match p {
        2.0 => USUAL,
        f64::INFINITY => Law::Lattice,
        _ => Law::Away,
    }
}

/// Every power on the shapes of all norms; then kinks: tied maxima, zeros, and a unit that is all zeros.
fn power_means() -> Vec<Case> {
    let mut cases = Vec::new();
    for p in POWERS {
        for &(name, shape, relu) in SHAPES {
            cases.push(case(format!("p{p}_{name}"), shape, smooth(p), relu).set("p", p));
        }
        let shape = [6, 5, 4, 4];
        cases.push(case(format!("p{p}_large_eps"), &shape, smooth(p), false).set("p", p).set("eps", 0.5));
        cases.push(case(format!("p{p}_ties"), &shape, Law::Ties, true).set("p", p).on_a_kink());
        cases.push(case(format!("p{p}_zero"), &shape, Law::Zero, false).set("p", p).on_a_kink());
        cases.push(case(format!("p{p}_one_sample"), &[1, 4, 1, 1], smooth(p), false).set("p", p));
    }
    // Powers that are taken of x over its largest, by multiplication and otherwise.
    for p in [2.5, 5.0] {
        for (name, shape, relu) in [("four_axes", [7, 6, 5, 4], true), ("long", [70, 3, 9, 9], false)] {
            cases.push(case(format!("p{p}_{name}"), &shape, smooth(p), relu).set("p", p));
        }
    }
    cases
}

/// Shapes with their number of groups, and whether the ReLU follows. They range from one group to one for each channel, and include odd extents,
/// several samples in a chunk, several chunks, more pixels than one piece of a sum, and enough pixels for several parts; of the last, rows are whole vectors
/// of a device.
const GROUPED: &[(&str, &[usize], usize, bool)] = &[
    ("two_axes", &[10, 12], 3, false),
    ("three_axes", &[4, 6, 11], 2, true),
    ("five_axes", &[2, 6, 2, 3, 2], 3, false),
    ("batch_1", &[1, 6, 7, 7], 3, true),
    ("one_channel", &[4, 1, 5, 5], 1, false),
    ("one_pixel", &[6, 33, 1, 1], 3, true),
    ("one_group", &[3, 7, 5, 6], 1, false),
    ("each_channel", &[3, 7, 5, 6], 7, true),
    ("map_33", &[2, 6, 33, 33], 2, true),
    ("long", &[700, 16], 2, false),
    ("wide", &[3, 1100], 4, true),
    ("rows", &[1700, 10], 2, true),
    ("rows_of_many_groups", &[37, 96], 32, false),
    ("threads", &[9, 70, 9, 9], 14, true),
    ("big", &[5, 96, 16, 16], 8, false),
    ("vectors_of_several_groups", &[5, 24, 9, 7], 8, true),
    ("vectors_in_parts", &[1, 8, 33, 33], 4, false),
    ("vectors_of_one_pixel", &[70, 136], 4, true),
];

/// The shapes above; a mean far from 0, where sums of squares cancel; σ² near ε, where it shows if a derivative leaves ε out; and groups that are
/// constant.
fn group() -> Vec<Case> {
    let of = |name: &str, shape: &[usize], law, groups: usize, relu| {
        grouped(case(name, shape, law, relu), groups).set("groups", groups as f64)
    };
    let mut cases: Vec<_> =
        GROUPED.iter().map(|&(name, shape, groups, relu)| of(name, shape, USUAL, groups, relu)).collect();
    cases.push(of("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, 2, false));
    cases.push(of("rows_far_mean", &[50, 9], Law::Normal { mean: 100.0, scale: 1.0 }, 1, false));
    let small = Law::Normal { mean: 0.01, scale: 3e-3 };
    cases.push(of("eps_near_variance", &[6, 6, 4, 4], small, 3, false).set("eps", 1e-5));
    cases.push(of("large_eps", &[6, 6, 4, 4], USUAL, 2, true).set("eps", 2.0));
    cases.push(of("no_eps", &[6, 6, 4, 4], USUAL, 3, false).set("eps", 0.0));
    // y = β, and no x has a part in the variance; how far to move there no spread says.
    cases.push(of("constant", &[3, 4, 3, 3], Law::Zero, 2, false).on_a_kink());
    cases
}

/// LayerNorm's cases: the shapes of all norms, and a mean far from 0. Where a sample has only three values, ε is far above the smallest variance;
/// otherwise the comparison would depend on the sample with that variance alone.
fn layer() -> Vec<Case> {
    let of = |&(name, shape, relu): &(&str, &[usize], bool)| {
        let eps = if shape[1..].iter().product::<usize>() < 4 { 0.5 } else { 1e-5 };
        grouped(case(name, shape, USUAL, relu), 1).set("eps", eps)
    };
    let mut cases: Vec<_> = SHAPES.iter().map(of).collect();
    cases.push(grouped(case("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, false), 1));
    cases
}

/// InstanceNorm's cases: those shapes of all norms that have a map, and a mean far from 0.
fn instance() -> Vec<Case> {
    let maps = SHAPES.iter().filter(|(_, shape, _)| shape[2..].iter().product::<usize>() > 1);
    let mut cases: Vec<_> =
        maps.map(|&(name, shape, relu)| grouped(case(name, shape, USUAL, relu), shape[1])).collect();
    cases.push(grouped(case("far_mean", &[16, 8, 6, 6], Law::Normal { mean: 1000.0, scale: 1.0 }, false), 8));
    cases
}
