//! The squared error's test cases.

use crate::ops::boundary::{Case, Cases, Law, Role};

/// The squared error's cases.
pub const CASES: Cases = Cases { chosen: cases, drawn: |of| Some(case(of.name.clone(), &of.map)) };

/// The squared error on `shape`.
pub fn case(name: impl Into<String>, shape: &[usize]) -> Case {
    Case::new(name)
        .with("x", Role::Activation, shape, Law::NORMAL)
        .with_still("target", Role::Activation, shape, Law::Normal { mean: 0.5, scale: 2.0 })
        .summing(shape.iter().product())
}

/// One number, one axis, the deep linear network's batch, and four axes.
fn cases() -> Vec<Case> {
    vec![
        case("one_of_everything", &[1, 1]),
        case("vector", &[17]),
        case("dln", &[1000, 10]),
        case("four_axes", &[2, 3, 5, 7]),
    ]
}
