//! The cross-entropy's test cases.

use crate::ops::boundary::{Case, Cases, Drawn, Law, Role};

/// The cross-entropy's cases.
pub const CASES: Cases = Cases { chosen: cases, drawn };

/// The cross-entropy of `n` samples in `k` classes, with logits of standard deviation `scale`.
pub fn case(name: impl Into<String>, n: usize, k: u32, scale: f32) -> Case {
    let classes = k as usize;
    Case::new(name)
        .with("logits", Role::Activation, &[n, classes], Law::Normal { mean: 0.0, scale })
        .with_still("labels", Role::Parameter, &[n], Law::Labels(k))
        .summing(n * classes)
}

/// One sample, one class, and logits so large that their plain exponentials overflow.
fn cases() -> Vec<Case> {
    vec![
        case("one_class", 3, 1, 1.0),
        case("batch_1", 1, 2, 1.0),
        case("cifar", 128, 10, 1.0),
        case("odd", 33, 17, 3.0),
        case("extreme", 57, 10, 60.0),
    ]
}

fn drawn(of: &Drawn) -> Option<Case> {
    Some(case(of.name.clone(), of.map[0] * of.map[2], 1 + of.outputs as u32, 2.0))
}
