//! The cases of norms over groups: GroupNorm, LayerNorm and InstanceNorm.

use crate::ops::door::norm::{SHAPES as OF_ALL_NORMS, case};
use crate::ops::door::{Case, Law};

/// Shapes with the number of their groups, and whether the ReLU follows. From one group to one for each channel; odd extents, several samples
/// in a chunk and several chunks, more pixels than one piece of a sum, and enough for several parts.
const SHAPES: &[(&str, &[usize], usize, bool)] = &[
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
];

/// All but the shapes: a mean far from 0, where sums of squares cancel; σ² near ε, where leaving ε out of a derivative shows; and groups that
/// are constant.
pub fn group() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let of = |name: &str, shape: &[usize], law, groups: usize, relu| {
        case(name, shape, law, relu).set("groups", groups as f64)
    };
    let mut cases: Vec<_> =
        SHAPES.iter().map(|&(name, shape, groups, relu)| of(name, shape, law, groups, relu)).collect();
    cases.push(of("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, 2, false));
    cases.push(of("rows_far_mean", &[50, 9], Law::Normal { mean: 100.0, scale: 1.0 }, 1, false));
    let small = Law::Normal { mean: 0.01, scale: 3e-3 };
    cases.push(of("eps_near_variance", &[6, 6, 4, 4], small, 3, false).set("eps", 1e-5));
    cases.push(of("large_eps", &[6, 6, 4, 4], law, 2, true).set("eps", 2.0));
    cases.push(of("no_eps", &[6, 6, 4, 4], law, 3, false).set("eps", 0.0));
    // y = β, and no x has a part in the variance; how far to move there no spread says.
    cases.push(of("constant", &[3, 4, 3, 3], Law::Zero, 2, false).on_a_kink());
    cases
}

/// LayerNorm's: the shapes of all norms, and a mean far from 0. Where a sample has three values, ε is far above its least variance: else that
/// sample alone would be looked at.
pub fn layer() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let of = |&(name, shape, relu): &(&str, &[usize], bool)| {
        let eps = if shape[1..].iter().product::<usize>() < 4 { 0.5 } else { 1e-5 };
        case(name, shape, law, relu).set("eps", eps)
    };
    let mut cases: Vec<_> = OF_ALL_NORMS.iter().map(of).collect();
    cases.push(case("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, false));
    cases
}

/// InstanceNorm's: those shapes of all norms that have a map, and a mean far from 0.
pub fn instance() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let maps = OF_ALL_NORMS.iter().filter(|(_, shape, _)| shape[2..].iter().product::<usize>() > 1);
    let mut cases: Vec<_> = maps.map(|&(name, shape, relu)| case(name, shape, law, relu)).collect();
    cases.push(case("far_mean", &[16, 8, 6, 6], Law::Normal { mean: 1000.0, scale: 1.0 }, false));
    cases
}
