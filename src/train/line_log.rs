//! `landscape.npz` and its like: what a run found along a line at every probed step, as arrays.

use crate::files::{Array, Arrays, npz};
use crate::probe::line::Landscape;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The per-point arrays, in the order of [`Landscape`]'s fields.
const POINTS: [&str; 4] = ["loss", "grad_l2_diff", "distance", "beta"];

/// What a run found along one kind of line so far.
pub struct LineLog {
    path: PathBuf,
    s: Vec<f64>,
    steps: Vec<i64>,
    /// base_loss, grad_norm
    single: [Vec<f64>; 2],
    points: [Vec<f64>; 4],
    /// What random directions were drawn by.
    seed: Option<u64>,
}

impl LineLog {
    /// An empty log for step lengths `s`; along random directions with their seed.
    pub fn new(path: PathBuf, s: Vec<f64>, seed: Option<u64>) -> Self {
        LineLog { path, s, steps: Vec::new(), single: Default::default(), points: Default::default(), seed }
    }

    /// Adds the landscape of step `t`.
    pub fn push(&mut self, t: u64, found: &Landscape) {
        self.steps.push(t as i64);
        self.single[0].push(found.base_loss);
        self.single[1].push(found.grad_norm);
        let points = [&found.loss, &found.grad_l2_diff, &found.distance, &found.beta];
        for (to, from) in self.points.iter_mut().zip(points) {
            to.extend_from_slice(from);
        }
    }

    /// Writes the file.
    pub fn write(&self) -> Result<()> {
        let (t, s) = (self.steps.len(), self.s.len());
        let mut arrays = Arrays::new();
        arrays.insert("step".into(), Array::i64([t], self.steps.clone()));
        arrays.insert("s".into(), Array::f64([s], self.s.clone()));
        for (name, values) in ["base_loss", "grad_norm"].into_iter().zip(&self.single) {
            arrays.insert(name.into(), Array::f64([t], values.clone()));
        }
        for (name, values) in POINTS.into_iter().zip(&self.points) {
            arrays.insert(name.into(), Array::f64([t, s], values.clone()));
        }
        if let Some(seed) = self.seed {
            arrays.insert("seed".into(), Array::i64([], vec![seed as i64]));
        }
        npz::write(&self.path, &arrays)
    }

    /// Reads the file back as far as the probed steps `before` the checkpoint go. Errors: it lacks one of them, is not one of
    /// these files, or is of other points.
    pub fn reopen(path: PathBuf, s: Vec<f64>, seed: Option<u64>, before: impl Iterator<Item = u64>) -> Result<Self> {
        let arrays = npz::read(&path)?;
        let floats = |name: &str| {
            let values = arrays.get(name).and_then(Array::to_f64);
            values.ok_or_else(|| Error::file(&path, format!("no array {name}"), "a run's own file has it"))
        };
        let all = match arrays.get("step").map(|a| &a.values) {
            Some(crate::files::Values::I64(steps)) => steps.clone(),
            _ => return Err(Error::file(&path, "no array step", "a run's own file has it")),
        };
        if floats("s")? != s {
            return Err(Error::file(&path, "other step lengths than the run's", "it belongs to another run"));
        }
        let before: Vec<i64> = before.map(|t| t as i64).collect();
        let keep = before.len();
        if all.get(..keep) != Some(&before[..]) {
            let problem = "not the probed steps before the checkpoint";
            return Err(Error::file(&path, problem, format!("{keep} of them are needed, in order")));
        }
        let mut log = LineLog::new(path.clone(), s, seed);
        let cut = |name: &str, width: usize| -> Result<Vec<f64>> {
            let mut values = floats(name)?;
            if values.len() != all.len() * width {
                return Err(Error::file(
                    &path,
                    format!("array {name} of {} values", values.len()),
                    "one entry per step is needed",
                ));
            }
            values.truncate(keep * width);
            Ok(values)
        };
        log.single = [cut("base_loss", 1)?, cut("grad_norm", 1)?];
        for (to, name) in log.points.iter_mut().zip(POINTS) {
            *to = cut(name, log.s.len())?;
        }
        log.steps = all[..keep].to_vec();
        Ok(log)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
