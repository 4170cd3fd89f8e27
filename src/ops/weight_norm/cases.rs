//! The test cases of weight normalisation.

use crate::ops::boundary::{Case, Cases, Law, Role};

/// Weight normalisation's cases.
pub const CASES: Cases = Cases { chosen: cases, drawn: |of| Some(case(of.name.clone(), &of.map, Law::NORMAL)) };

/// Weight normalisation of a direction with these extents, units first, drawn under `law`.
pub fn case(name: impl Into<String>, shape: &[usize], law: Law) -> Case {
    Case::new(name)
        .with("direction", Role::Parameter, shape, law)
        .with("gain", Role::Parameter, &[shape[0]], Law::Normal { mean: 1.0, scale: 0.5 })
        .with("grad_weight", Role::Parameter, shape, Law::NORMAL)
        .summing(shape[1..].iter().product())
}

/// Numbers of units below, at and beyond what a block takes; one weight for each unit, where only its sign matters; directions of a length far from
/// 1; and some of length 0.
fn cases() -> Vec<Case> {
    let scaled = |scale| Law::Normal { mean: 0.0, scale };
    vec![
        case("one_of_everything", &[1, 1], Law::Away),
        case("one_unit", &[1, 77], Law::NORMAL),
        case("one_weight_each", &[13], Law::Away),
        case("dln", &[10, 10], Law::NORMAL),
        case("ragged", &[37, 5, 3, 3], Law::NORMAL),
        case("conv", &[65, 33, 3, 3], Law::NORMAL),
        case("deep", &[3, 1000], Law::NORMAL),
        case("threads", &[70, 600], Law::NORMAL),
        case("large", &[9, 20], scaled(1e15)).on_a_kink(),
        case("small", &[9, 20], scaled(1e-15)).on_a_kink(),
        case("length_0", &[50, 2], Law::Ties).on_a_kink(),
        case("all_0", &[4, 6], Law::Zero).on_a_kink(),
    ]
}
