//! The cases of all operators, including those with random extents, and tangents for them.

use normscape::files::{Array, Arrays, Values};
use normscape::ops::boundary::{Case, Drawn};
use normscape::ops::table;
use normscape::runtime::rng::{Purpose, normal, word};

/// Every case that was chosen, of every operator.
pub fn every_case() -> impl Iterator<Item = (&'static str, Case)> {
    let of = |op: &'static str| table::cases(op).map(|cases| (cases.chosen)()).unwrap_or_default();
    table::names().iter().flat_map(move |&op| of(op).into_iter().map(move |case| (op, case)))
}

/// Of every operator `count` cases of extents that `draw` gives for an index, those alone that are `wanted`.
pub fn drawn_cases(
    count: usize,
    draw: impl Fn(usize) -> Drawn,
    wanted: impl Fn(&Case) -> bool,
) -> Vec<(&'static str, Case)> {
    let mut drawn = Vec::new();
    for &op in table::names() {
        let Ok(cases) = table::cases(op) else { continue };
        // Not every operator takes all extents.
        let of = (0..4 * count).filter_map(|index| (cases.drawn)(&draw(index))).filter(|case| wanted(case));
        drawn.extend(of.take(count).map(|case| (op, case)));
    }
    drawn
}

/// The case's arrays, `arrays`, with a tangent for each operand that may have one: normal numbers under `seed`.
pub fn with_tangents(case: &Case, arrays: &Arrays, seed: u64) -> Arrays {
    let tangent = |(stream, name): (usize, &str)| {
        let shape = arrays.get(name)?.shape.clone();
        let draw = |i: usize| normal(word(seed, Purpose::Case, 100 + stream as u32, 0, i as u64));
        let values = Values::F32((0..shape.iter().product()).map(draw).collect());
        Some((format!("tangent_{name}"), Array { shape, values }))
    };
    let moving = case.operands.iter().filter(|operand| operand.tangent).map(|operand| operand.name);
    arrays.clone().into_iter().chain(moving.enumerate().filter_map(tangent)).collect()
}
