//! The squared error's cases.

use crate::ops::boundary::{Case, Law};

/// The squared error on `shape`.
pub fn case(name: impl Into<String>, shape: &[usize]) -> Case {
    Case::new(name).with("x", shape, Law::NORMAL).with("target", shape, Law::Normal { mean: 0.5, scale: 2.0 })
}

/// One number, one axis, the deep linear network's batch, and four axes.
pub fn cases() -> Vec<Case> {
    vec![
        case("one_of_everything", &[1, 1]),
        case("vector", &[17]),
        case("dln", &[1000, 10]),
        case("four_axes", &[2, 3, 5, 7]),
    ]
}
