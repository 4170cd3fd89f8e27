//! The linear layer's test cases.

use super::Extents;
use crate::ops::boundary::{Case, Cases, Drawn, Law, Role};

/// The linear layer's cases.
pub const CASES: Cases = Cases { chosen: cases, drawn };

/// A linear layer case of these extents.
pub fn case(name: impl Into<String>, extents: Extents, bias: bool) -> Case {
    let Extents { n, i, o } = extents;
    let scale = 1.0 / (i as f32).sqrt();
    let case = Case::new(name)
        .with("x", Role::Factor, &[n, i], Law::NORMAL)
        .with("weight", Role::Factor, &[o, i], Law::Normal { mean: 0.0, scale })
        .with("grad_y", Role::Factor, &[n, o], Law::NORMAL)
        .summing(n.max(i).max(o));
    if bias { case.with("bias", Role::Parameter, &[o], Law::NORMAL) } else { case }
}

/// Batches below and above the number of samples that are summed together; numbers of outputs below, at and beyond a panel's width; classifiers' heads.
fn cases() -> Vec<Case> {
    let extents = |n, i, o| Extents { n, i, o };
    vec![
        case("one_of_everything", extents(1, 1, 1), true),
        case("batch_1", extents(1, 7, 10), true),
        case("ragged_panels", extents(13, 33, 65), false),
        case("dln", extents(1000, 10, 10), false),
        case("head", extents(128, 512, 10), true),
        case("head_of_few_samples", extents(37, 24, 10), true),
        case("head_of_many_samples", extents(300, 40, 10), false),
        case("head_that_is_not_aligned", extents(20, 12, 10), true),
        case("threads", extents(300, 64, 64), true),
        case("whole_tiles_of_a_device", extents(256, 128, 192), true),
    ]
}

fn drawn(of: &Drawn) -> Option<Case> {
    let [n, c, h, _] = of.map;
    Some(case(of.name.clone(), Extents { n: n * h, i: c, o: of.outputs }, of.full))
}
