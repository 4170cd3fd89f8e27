//! The test cases of the activations; every activation has the same ones.

use crate::ops::boundary::{Case, Cases, Law, Role};

/// The activations' cases.
pub const CASES: Cases = Cases { chosen: cases, drawn: |of| Some(case(of.name.clone(), &of.map, Law::Away)) };

/// One activation case: x has `shape` and is drawn under `law`.
pub fn case(name: impl Into<String>, shape: &[usize], law: Law) -> Case {
    Case::new(name).with("x", Role::Activation, shape, law).with("grad_y", Role::Activation, shape, Law::NORMAL)
}

/// Tensors of one to many axes; values that reach from where the exponential is near 1 to where it underflows to 0; and zeros, where derivatives are
/// a convention.
fn cases() -> Vec<Case> {
    vec![
        case("one", &[1], Law::Away),
        case("vector", &[1001], Law::Away),
        case("map", &[3, 5, 7, 9], Law::Away),
        case("five_axes", &[2, 3, 2, 3, 5], Law::Away),
        case("threads", &[4, 70, 16, 16], Law::Away),
        case("small", &[33, 7], Law::Normal { mean: 0.0, scale: 1e-3 }).on_a_kink(),
        case("deep", &[9, 31], Law::Normal { mean: -60.0, scale: 40.0 }).on_a_kink(),
        case("large", &[5, 13], Law::Normal { mean: 0.0, scale: 1e30 }).on_a_kink(),
        case("zeros", &[7, 9], Law::Ties).on_a_kink(),
    ]
}
