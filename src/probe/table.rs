//! The table of a run's probes.
//!
//! A probe consists of its measurement and its [`Row`], in a file of its own, and of an entry in the list below. The options, the trainer,
//! the files that it writes, TensorBoard, the estimates of time and memory, and the experiments' checks all read the rows.

use super::measure::{Entry, Kind, Measurement, Options, Probe, Row};
use super::{activations, curvature, ics, lines, scale, theory};
use crate::network::{Engine, Network};
use crate::ops::backend::Backend;
use crate::{Error, Result};

macro_rules! kinds {
    ($($kind:ty),+ $(,)?) => {
        /// The rows of all measurements.
        pub const ROWS: &[Row] = &[$(<$kind as Kind>::ROW),+];

        type Planner<B> = fn(&mut Engine<B>, &Options) -> Result<Box<dyn Measurement<B>>>;

        /// Plans the measurement of row `row`. Errors: those of [`Kind::plan`].
        pub fn plan<B: Backend>(row: usize, engine: &mut Engine<B>, options: &Options) -> Result<Box<dyn Measurement<B>>> {
            let planners: &[Planner<B>] = &[$(|engine, options| Ok(Box::new(<$kind as Kind>::plan(engine, options)?))),+];
            planners[row](engine, options)
        }
    };
}

kinds! {
    lines::GradientLine,
    lines::RandomLine,
    ics::Measured,
    curvature::Measured,
    activations::Measured,
    theory::Measured,
    scale::Measured,
}

/// All probes, in the order of their rows.
pub fn probes() -> impl Iterator<Item = &'static Probe> {
    ROWS.iter().flat_map(|row| row.probes)
}

/// The names of all probes.
pub fn names() -> Vec<&'static str> {
    probes().map(|probe| probe.name).collect()
}

/// The row of probe `name`.
pub fn row_of(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.probes.iter().any(|probe| probe.name == name))
}

/// The names of the probes that fit a network.
pub fn names_for(network: &Network) -> Vec<&'static str> {
    ROWS.iter().filter(|row| (row.fits)(network)).flat_map(|row| row.probes).map(|probe| probe.name).collect()
}

/// The names of the probes that look at single units.
pub fn of_units() -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter(|row| row.units).flat_map(|row| row.probes).map(|probe| probe.name)
}

/// A probe's arrays, each with what its entries hold; empty for an unknown name.
pub fn arrays(name: &str) -> &'static [(&'static str, Entry)] {
    probes().find(|probe| probe.name == name).map_or(&[], |probe| probe.arrays)
}

/// Whether probe `name` measures along a line.
pub fn is_line(name: &str) -> bool {
    arrays(name).iter().any(|(_, entry)| *entry == Entry::Points)
}

/// Refuses an unknown probe.
pub fn check_name(name: &str) -> Result<()> {
    let there = names();
    if there.contains(&name) {
        return Ok(());
    }
    Err(Error::input(format!("--probe {name}"), "unknown", format!("there are {}", there.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_probe_has_a_name_and_arrays_of_its_own() {
        let names: BTreeSet<_> = names().into_iter().collect();
        assert_eq!(names.len(), probes().count());
        for name in names {
            let different: BTreeSet<_> = arrays(name).iter().map(|(array, _)| array).collect();
            assert!(!different.is_empty() && different.len() == arrays(name).len(), "{name}");
            assert!(check_name(name).is_ok() && row_of(name).is_some());
        }
        assert!(arrays("nothing").is_empty() && check_name("nothing").is_err() && row_of("nothing").is_none());
    }
}
