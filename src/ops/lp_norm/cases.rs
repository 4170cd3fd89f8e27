//! The ℓp norm's cases.

use crate::ops::door::norm::{SHAPES, case};
use crate::ops::door::{Case, Law};

/// The powers: those with a kernel of their own, one where |x|ᵖ has no second derivative at 0, one beyond.
pub const POWERS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, f64::INFINITY];

/// Inputs on which the norm of power `p` is smooth: away from 0, or with clear maxima.
pub fn smooth(p: f64) -> Law {
    match p {
        2.0 => Law::Normal { mean: 0.5, scale: 2.0 },
        f64::INFINITY => Law::Lattice,
        _ => Law::Away,
    }
}

/// Every power on the shapes of all norms; then kinks: maxima tied, zeros, and a unit of nothing but zeros.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for p in POWERS {
        for &(name, shape, relu) in SHAPES {
            cases.push(case(format!("p{p}_{name}"), shape, smooth(p), relu).set("p", p));
        }
        let shape = [6, 5, 4, 4];
        cases.push(case(format!("p{p}_large_eps"), &shape, smooth(p), false).set("p", p).set("eps", 0.5));
        cases.push(case(format!("p{p}_ties"), &shape, Law::Ties, true).set("p", p).on_a_kink());
        cases.push(case(format!("p{p}_zero"), &shape, Law::Zero, false).set("p", p).on_a_kink());
        cases.push(case(format!("p{p}_one_sample"), &[1, 4, 1, 1], smooth(p), false).set("p", p));
    }
    // Powers that are taken of x over its largest, by multiplication and otherwise.
    for p in [2.5, 5.0] {
        for (name, shape, relu) in [("four_axes", [7, 6, 5, 4], true), ("long", [70, 3, 9, 9], false)] {
            cases.push(case(format!("p{p}_{name}"), &shape, smooth(p), relu).set("p", p));
        }
    }
    cases
}
