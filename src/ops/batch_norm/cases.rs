//! BatchNorm's cases.

use crate::ops::door::norm::{SHAPES, case};
use crate::ops::door::{Case, Law};

/// The shapes of all norms; a mean far from 0, where sums of squares cancel; and σ² near ε, where leaving ε out of a
/// derivative shows.
pub fn cases() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let mut cases: Vec<_> = SHAPES.iter().map(|&(name, shape, relu)| case(name, shape, law, relu)).collect();
    cases.push(case("far_mean", &[64, 8, 4, 4], Law::Normal { mean: 1000.0, scale: 1.0 }, false));
    let small = Law::Normal { mean: 0.01, scale: 3e-3 };
    cases.push(case("eps_near_variance", &[6, 5, 4, 4], small, false).set("eps", 1e-5));
    cases.push(case("large_eps", &[6, 5, 4, 4], law, true).set("eps", 2.0));
    cases.push(case("no_eps", &[6, 5, 4, 4], law, false).set("eps", 0.0));
    // The one sample of a unit is its mean: y = β, and no gradient reaches x.
    cases.push(case("one_sample", &[1, 4, 1, 1], law, false));
    cases
}
