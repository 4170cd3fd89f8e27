//! The arrays of each probe's file that have an entry for every probed step, by name, and what such an entry holds.

use super::probes::{ACTIVATIONS, CURVATURE, ICS, MOMENTS, THEORY};
use crate::probe::theory::Statements;

/// Of a line: what does not depend on the point.
pub const OF_LINE: [&str; 2] = ["base_loss", "grad_norm"];
/// Of a line: what each point has.
pub const OF_POINTS: [&str; 4] = ["loss", "grad_l2_diff", "distance", "beta"];
/// Of the covariate shift.
pub const OF_ICS: [&str; 3] = ["l2", "cosine", "grad_norm"];
/// Of the curvature.
pub const OF_CURVATURE: [&str; 6] = ["rayleigh", "gain", "top_eigenvalue", "top_residual", "trace", "trace_stderr"];
/// Of activations: histograms, and what lies outside them.
pub const OF_ACTIVATIONS: [&str; 2] = ["count", "outside"];
/// Of moments.
pub const OF_MOMENTS: [&str; 2] = ["mean", "var"];

/// What an array has for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A number.
    Number,
    /// A number for each point along the line.
    Points,
    /// For each layer with weights.
    Layers,
    /// For each unit that is looked at.
    Units,
    /// Several for each of these.
    Bins,
}

/// The names of a probe's arrays, each with what its entries hold; none of what is no probe.
pub fn of(probe: &str) -> Vec<(&'static str, Entry)> {
    let all = |names: &[&'static str], entry| names.iter().map(|&name| (name, entry)).collect();
    match probe {
        "landscape" | "predictiveness" | "random" => {
            let points: Vec<_> = all(&OF_POINTS, Entry::Points);
            all(&OF_LINE, Entry::Number).into_iter().chain(points).collect()
        }
        ICS => all(&OF_ICS, Entry::Layers),
        CURVATURE => all(&OF_CURVATURE, Entry::Number),
        ACTIVATIONS => all(&OF_ACTIVATIONS, Entry::Bins),
        MOMENTS => all(&OF_MOMENTS, Entry::Units),
        THEORY => all(&Statements::NAMES, Entry::Units),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::probes;

    #[test]
    fn every_probe_has_arrays() {
        for name in probes::names() {
            assert!(!of(name).is_empty(), "{name}");
        }
        assert!(of("nothing").is_empty());
    }
}
