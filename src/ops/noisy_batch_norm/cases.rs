//! Noisy BatchNorm's cases.

use crate::ops::door::norm::{SHAPES, case};
use crate::ops::door::{Case, Law};

/// The shapes of all norms, at several layers and steps; and a large step and layer.
pub fn cases() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let keyed = |(i, &(name, shape, relu)): (usize, &(&str, &[usize], bool))| {
        case(name, shape, law, relu).set("seed", 7.0).set("step", (3 * i) as f64).set("layer", (1 + i % 5) as f64)
    };
    let mut cases: Vec<_> = SHAPES.iter().enumerate().map(keyed).collect();
    let far = case("far_key", &[5, 6, 3, 3], law, true);
    cases.push(far.set("seed", 2f64.powi(40) + 1.0).set("step", 4_294_967_295.0).set("layer", 16_777_215.0));
    let small = Law::Normal { mean: 0.01, scale: 3e-3 };
    cases.push(case("eps_near_variance", &[6, 5, 4, 4], small, false));
    cases
}
