//! LayerNorm's cases.

use crate::ops::door::norm::{SHAPES, case};
use crate::ops::door::{Case, Law};

/// The shapes of all norms, and a mean far from 0. Where a sample has three values, ε is far above its least variance: else that sample
/// alone would be looked at.
pub fn cases() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let of = |&(name, shape, relu): &(&str, &[usize], bool)| {
        let eps = if shape[1..].iter().product::<usize>() < 4 { 0.5 } else { 1e-5 };
        case(name, shape, law, relu).set("eps", eps)
    };
    let mut cases: Vec<_> = SHAPES.iter().map(of).collect();
    cases.push(case("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, false));
    cases
}
