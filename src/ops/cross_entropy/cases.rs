//! The cross-entropy's cases.

use crate::ops::boundary::{Case, Law};

/// The cross-entropy of `n` samples in `k` classes, logits of standard deviation `scale`.
pub fn case(name: impl Into<String>, n: usize, k: u32, scale: f32) -> Case {
    Case::new(name).with("logits", &[n, k as usize], Law::Normal { mean: 0.0, scale }).with(
        "labels",
        &[n],
        Law::Labels(k),
    )
}

/// One sample, one class, and logits whose exponentials overflow.
pub fn cases() -> Vec<Case> {
    vec![
        case("one_class", 3, 1, 1.0),
        case("batch_1", 1, 2, 1.0),
        case("cifar", 128, 10, 1.0),
        case("odd", 33, 17, 3.0),
        case("extreme", 57, 10, 60.0),
    ]
}
