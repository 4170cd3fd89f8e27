//! The cases of all operators, and what makes them move.

use normscape::files::{Array, Arrays, Values};
use normscape::ops::boundary::Case;
use normscape::ops::table;
use normscape::runtime::rng::{Purpose, normal, word};

/// Every case of every operator.
pub fn every_case() -> impl Iterator<Item = (&'static str, Case)> {
    // A name from the table has cases.
    table::names().iter().flat_map(|&op| table::cases(op).unwrap_or_default().into_iter().map(move |case| (op, case)))
}

/// The arrays with a tangent for each operand that may have one, normal numbers under `seed`.
pub fn with_tangents(arrays: &Arrays, seed: u64) -> Arrays {
    let operands =
        ["x", "weight", "bias", "grad_y", "logits", "direction", "gain", "grad_weight"].into_iter().enumerate();
    let tangent = |(stream, name): (usize, &str)| {
        let shape = arrays.get(name)?.shape.clone();
        let draw = |i: usize| normal(word(seed, Purpose::Case, 100 + stream as u32, 0, i as u64));
        let values = Values::F32((0..shape.iter().product()).map(draw).collect());
        Some((format!("tangent_{name}"), Array { shape, values }))
    };
    arrays.clone().into_iter().chain(operands.filter_map(tangent)).collect()
}
