//! The search for an identity's worst instance. It climbs from the worst of the random instances, one random step at a time.

use super::case::Case;
use super::instance::{Draws, Instance, Stream};
use super::row::Statement;

/// The result of the search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The residual of the worst instance.
    pub residual: f64,
    /// The random instance at which the climb started.
    pub from: u64,
    /// The number of steps uphill.
    pub steps: u32,
}

/// Tries `tries` random steps from an instance, and keeps those that make `row`'s residual larger. The result depends on the arguments alone.
pub fn climb(statement: &Statement, row: usize, start: &Instance, lambda: f64, tries: u32) -> Found {
    let residual = |of: &Instance| {
        let outcome = (statement.evaluate)(&Case::new(of, lambda))[row];
        if outcome.premise { outcome.residual } else { 0.0 }
    };
    let mut here = start.clone();
    let mut found = Found { residual: residual(&here), from: start.index, steps: 0 };
    let mut draws = Draws::new(start.seed, Stream::Search, start.index);
    for _ in 0..tries {
        // From the last digits to another instance.
        let size = 0.3 * 10f64.powf(-3.0 * draws.uniform());
        let Some(next) = here.neighbour(&mut draws, size) else { continue };
        let at = residual(&next);
        if at > found.residual {
            found = Found { residual: at, steps: found.steps + 1, ..found };
            here = next;
        }
    }
    found
}
