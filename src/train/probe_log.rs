//! A probe's file, such as `landscape.npz`: a run's results at every probed step, as arrays.

use crate::files::{Array, Arrays, Values, npz};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// One array of the file with an entry for every probed step.
pub struct Series {
    name: &'static str,
    /// The shape of an entry.
    shape: Vec<usize>,
    /// The array holds integers, and so does the file. They are below 2⁵³, and therefore exact here.
    whole: bool,
    values: Vec<f64>,
}

impl Series {
    /// An array of numbers; NaN means not measured.
    pub fn numbers(name: &'static str, shape: impl Into<Vec<usize>>) -> Series {
        Series { name, shape: shape.into(), whole: false, values: Vec::new() }
    }

    /// An array of counts, as int64; −1 means not measured.
    pub fn counts(name: &'static str, shape: impl Into<Vec<usize>>) -> Series {
        Series { whole: true, ..Series::numbers(name, shape) }
    }

    fn width(&self) -> usize {
        self.shape.iter().product()
    }

    fn unknown(&self) -> f64 {
        if self.whole { -1.0 } else { f64::NAN }
    }

    /// The array for the file, with `steps` steps.
    fn array(&self, steps: usize) -> Array {
        let shape: Vec<usize> = std::iter::once(steps).chain(self.shape.iter().copied()).collect();
        match self.whole {
            true => Array::i64(shape, self.values.iter().map(|&v| v as i64).collect()),
            false => Array::f64(shape, self.values.clone()),
        }
    }

    /// The values of such an array, read from a file.
    fn values_of(&self, array: &Array) -> Option<Vec<f64>> {
        match (&array.values, self.whole) {
            (Values::I64(values), true) => Some(values.iter().map(|&v| v as f64).collect()),
            (_, true) => None,
            (_, false) => array.to_f64(),
        }
    }
}

/// The results of one probe so far.
pub struct ProbeLog {
    path: PathBuf,
    /// The arrays that are the same at every step.
    fixed: Arrays,
    steps: Vec<i64>,
    series: Vec<Series>,
}

impl ProbeLog {
    /// An empty log. `fixed` are the arrays that are the same at every step, `series` the others.
    pub fn new(path: PathBuf, fixed: Arrays, series: Vec<Series>) -> Self {
        ProbeLog { path, fixed, steps: Vec::new(), series }
    }

    /// Adds the entries of step `t`, in the order of the series. An entry whose length does not match its shape counts as not measured.
    pub fn push(&mut self, t: u64, entries: &[&[f64]]) {
        self.steps.push(t as i64);
        for (i, series) in self.series.iter_mut().enumerate() {
            match entries.get(i).filter(|entry| entry.len() == series.width()) {
                Some(entry) => series.values.extend_from_slice(entry),
                None => series.values.extend(std::iter::repeat_n(series.unknown(), series.width())),
            }
        }
    }

    /// Writes the probe's file.
    pub fn write(&self) -> Result<()> {
        let mut arrays = self.fixed.clone();
        arrays.insert("step".into(), Array::i64([self.steps.len()], self.steps.clone()));
        for series in &self.series {
            arrays.insert(series.name.into(), series.array(self.steps.len()));
        }
        npz::write(&self.path, &arrays)
    }

    /// Reads the file back up to the probed steps `before` the checkpoint. Errors: it lacks one of these steps, is not such a file, or
    /// belongs to another run.
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
            let values = arrays.get(series.name).and_then(|array| series.values_of(array)).ok_or_else(|| {
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

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
