//! InstanceNorm's cases.

use crate::ops::door::norm::{SHAPES, case};
use crate::ops::door::{Case, Law};

/// Those shapes of all norms that have a map, and a mean far from 0.
pub fn cases() -> Vec<Case> {
    let law = Law::Normal { mean: 0.5, scale: 2.0 };
    let maps = SHAPES.iter().filter(|(_, shape, _)| shape[2..].iter().product::<usize>() > 1);
    let mut cases: Vec<_> = maps.map(|&(name, shape, relu)| case(name, shape, law, relu)).collect();
    cases.push(case("far_mean", &[16, 8, 6, 6], Law::Normal { mean: 1000.0, scale: 1.0 }, false));
    cases
}
