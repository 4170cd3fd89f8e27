//! Max-pooling's test cases.

use crate::ops::boundary::{Case, Cases, Drawn, Law, Role};

/// Max-pooling's cases.
pub const CASES: Cases = Cases { chosen: cases, drawn };

/// Max-pooling of `[N, C, H, W]`, with x drawn under `law`.
pub fn case(name: impl Into<String>, [n, c, h, w]: [usize; 4], law: Law) -> Case {
    let y = [n, c, h / 2, w / 2];
    Case::new(name).with("x", Role::Activation, &[n, c, h, w], law).with("grad_y", Role::Activation, &y, Law::NORMAL)
}

/// Maps from one window up, some with an odd row or column that is dropped; and tied maxima.
fn cases() -> Vec<Case> {
    vec![
        case("one_window", [1, 1, 2, 2], Law::Lattice),
        case("odd_map", [2, 3, 5, 7], Law::Lattice),
        case("flat", [3, 4, 2, 9], Law::Lattice),
        case("map_33", [2, 5, 33, 33], Law::Lattice),
        case("threads", [4, 65, 16, 16], Law::Lattice),
        case("ties", [3, 5, 6, 6], Law::Ties).on_a_kink(),
        case("all_equal", [2, 3, 4, 4], Law::Zero).on_a_kink(),
    ]
}

fn drawn(of: &Drawn) -> Option<Case> {
    let [_, _, h, w] = of.map;
    (h > 1 && w > 1).then(|| case(of.name.clone(), of.map, Law::Lattice))
}
