//! A probe's file, as `landscape.npz`: what a run found at every probed step, as arrays.

use crate::files::{Array, Arrays, Values, npz};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// One array of the file with an entry for every probed step.
struct Series {
    name: &'static str,
    /// The shape of an entry.
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Series {
    fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a run found by one probe so far.
pub struct ProbeLog {
    path: PathBuf,
    /// Arrays that are the same at every step.
    fixed: Arrays,
    steps: Vec<i64>,
    series: Vec<Series>,
}

impl ProbeLog {
    /// An empty log: `fixed` are its arrays that no step changes, `series` the names of the others and the shape of a step's entry.
    pub fn new(path: PathBuf, fixed: Arrays, series: &[(&'static str, Vec<usize>)]) -> Self {
        let empty =
            |(name, shape): &(&'static str, Vec<usize>)| Series { name, shape: shape.clone(), values: Vec::new() };
        ProbeLog { path, fixed, steps: Vec::new(), series: series.iter().map(empty).collect() }
    }

    /// Adds the entries of step `t`, in the order of the series. An entry of another length than its shape's counts as not measured.
    pub fn push(&mut self, t: u64, entries: &[&[f64]]) {
        self.steps.push(t as i64);
        for (i, series) in self.series.iter_mut().enumerate() {
            match entries.get(i).filter(|entry| entry.len() == series.width()) {
                Some(entry) => series.values.extend_from_slice(entry),
                None => series.values.extend(std::iter::repeat_n(f64::NAN, series.width())),
            }
        }
    }

    /// Writes the file.
    pub fn write(&self) -> Result<()> {
        let mut arrays = self.fixed.clone();
        arrays.insert("step".into(), Array::i64([self.steps.len()], self.steps.clone()));
        for Series { name, shape, values } in &self.series {
            let shape: Vec<usize> = std::iter::once(self.steps.len()).chain(shape.iter().copied()).collect();
            arrays.insert((*name).into(), Array::f64(shape, values.clone()));
        }
        npz::write(&self.path, &arrays)
    }

    /// Reads the file back as far as the probed steps `before` the checkpoint go. Errors: it lacks one of them, is not one of
    /// these files, or is another run's.
    pub fn reopen(mut self, before: impl Iterator<Item = u64>) -> Result<Self> {
        let arrays = npz::read(&self.path)?;
        let all = match arrays.get("step").map(|a| &a.values) {
            Some(Values::I64(steps)) => steps.clone(),
            _ => return Err(Error::file(&self.path, "no array step", "a run's own file has it")),
        };
        if let Some((name, _)) = self.fixed.iter().find(|(name, array)| arrays.get(*name) != Some(array)) {
            let problem = format!("array {name} is not this run's");
            return Err(Error::file(&self.path, problem, "it belongs to another run"));
        }
        let before: Vec<i64> = before.map(|t| t as i64).collect();
        let keep = before.len();
        if all.get(..keep) != Some(&before[..]) {
            let problem = "not the probed steps before the checkpoint";
            return Err(Error::file(&self.path, problem, format!("{keep} of them are needed, in order")));
        }
        for series in &mut self.series {
            let values = arrays.get(series.name).and_then(Array::to_f64).ok_or_else(|| {
                Error::file(&self.path, format!("no array {}", series.name), "a run's own file has it")
            })?;
            if values.len() != all.len() * series.width() {
                let problem = format!("array {} of {} values", series.name, values.len());
                return Err(Error::file(&self.path, problem, "one entry per step is needed"));
            }
            series.values = values;
            series.values.truncate(keep * series.width());
        }
        self.steps = before;
        Ok(self)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
