//! The ReLU's cases.

use crate::ops::door::{Case, Law};

/// The ReLU of `shape`, x under `law`.
pub fn case(name: impl Into<String>, shape: &[usize], law: Law) -> Case {
    Case::new(name).with("x", shape, law).with("grad_y", shape, Law::NORMAL)
}

/// Any number of axes; and zeros, where the derivative is 0 by convention.
pub fn cases() -> Vec<Case> {
    vec![
        case("one", &[1], Law::Away),
        case("vector", &[1001], Law::Away),
        case("map", &[3, 5, 7, 9], Law::Away),
        case("five_axes", &[2, 3, 2, 3, 5], Law::Away),
        case("threads", &[4, 70, 16, 16], Law::Away),
        case("zeros", &[7, 9], Law::Ties).on_a_kink(),
    ]
}
