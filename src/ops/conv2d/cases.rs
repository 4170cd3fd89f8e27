//! The convolution's cases.
//!
//! In f32 the CPU uses other algorithms where channels fill registers and there are at least eight images ([`super::Algorithm`]); a few of the cases
//! are like that.

use super::Map;
use crate::ops::boundary::{Case, Cases, Drawn, Law, Role};

/// The convolution's cases.
pub const CASES: Cases = Cases { chosen: cases, drawn };

/// A convolution case of these extents.
pub fn case(name: impl Into<String>, map: Map, bias: bool) -> Case {
    let Map { h, w, n, c, k } = map;
    let scale = 1.0 / (9.0 * c as f32).sqrt();
    let case = Case::new(name)
        .with("x", Role::Factor, &[n, c, h, w], Law::NORMAL)
        .with("weight", Role::Factor, &[k, c, 3, 3], Law::Normal { mean: 0.0, scale })
        .with("grad_y", Role::Factor, &[n, k, h, w], Law::NORMAL)
        .summing((9 * c).max(9 * k).max(n * h * w));
    if bias { case.with("bias", Role::Parameter, &[k], Law::NORMAL) } else { case }
}

/// Maps from one pixel up, where some or all neighbouring taps miss the map; numbers of channels below, at and beyond a panel's width.
fn cases() -> Vec<Case> {
    let map = |n, c, h, w, k| Map { h, w, n, c, k };
    vec![
        case("one_of_everything", map(1, 1, 1, 1, 1), true),
        case("odd_channels", map(2, 5, 3, 7, 3), false),
        case("one_row", map(3, 4, 1, 9, 7), true),
        case("one_column", map(3, 4, 9, 1, 7), false),
        case("map_2", map(9, 32, 2, 2, 40), true),
        case("map_4_ragged_panels", map(13, 33, 4, 4, 65), false),
        case("batch_1", map(1, 16, 8, 8, 32), true),
        case("map_33_stem", map(2, 3, 33, 33, 17), true),
        case("whole_pixels_of_a_stem", map(128, 3, 2, 3, 64), true),
        case("tiles", map(8, 16, 8, 8, 32), true),
        case("tiles_beyond_the_map", map(9, 32, 6, 7, 16), false),
        case("map_2_in_panels", map(10, 48, 2, 2, 160), true),
        case("whole_tiles_of_a_device", map(128, 64, 2, 3, 128), true),
    ]
}

fn drawn(of: &Drawn) -> Option<Case> {
    let [n, c, h, w] = of.map;
    Some(case(of.name.clone(), Map { h, w, n, c, k: of.outputs }, of.full))
}
