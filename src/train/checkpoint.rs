//! Checkpoints: `checkpoints/step-N/`, each complete or not there at all.
//!
//! A folder holds `parameters.safetensors` (θ_N with PyTorch's names, shapes and order), `state.safetensors` (running statistics,
//! velocity), `state.json`, and `manifest.json` with the size and SHA-256 of each. It is built under a temporary name and renamed, so a
//! reader sees all of it or nothing. A folder that does not match its manifest is damaged; it is skipped, and named.

use crate::files::{Array, disk, hash, safetensors};
use crate::network::Engine;
use crate::ops::backend::Backend;
use crate::runtime::slots::Slots;
use crate::runtime::tensor::{DType, In, Out, View};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PARAMETERS: &str = "parameters.safetensors";
const STATE: &str = "state.safetensors";
const STATE_JSON: &str = "state.json";
const MANIFEST: &str = "manifest.json";

/// The largest JSON file of a checkpoint that is read, in bytes.
const JSON_CAP: u64 = 1 << 20;

/// The numbers of a checkpoint that are not tensors. None of them depends on the machine or the moment, so that equal runs have equal
/// checkpoints; the time that a run has taken is in its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// N, the number of updates made.
    pub step: u64,
    /// The step whose loss was not finite, if one was.
    pub diverged: Option<u64>,
    /// Whether the row of the run's last step was logged; after the last update, a test and probes still follow. A checkpoint that does not
    /// say counts as not ended, and that row is made again.
    #[serde(default)]
    pub ended: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: String,
    network: String,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// The flat vectors of a run that a checkpoint holds.
#[derive(Debug, Clone, Copy)]
pub struct Vectors {
    /// The parameters θ.
    pub theta: View,
    /// The velocity, with momentum.
    pub velocity: Option<View>,
}

/// Which checkpoints are kept when one is saved.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// The user asked for a checkpoint every so many steps.
    pub asked_for: Option<u64>,
    /// The most checkpoints to keep, including the newest.
    pub most: usize,
}

impl Keep {
    /// The checkpoints of `steps`, oldest first, to remove after the newest of them was saved. `ended` says whether the run has ended
    /// there, and `was_end` whether it had ended at an older step, before it was given more steps.
    ///
    /// The newest is kept. Checkpoints saved because of the time or an interruption serve only to resume. If the user asked for
    /// checkpoints, these go once there is a newer one, so that they take no one's place; otherwise they go when the run ends.
    fn gone(self, steps: &[u64], ended: bool, was_end: impl Fn(u64) -> bool) -> Vec<u64> {
        let Some((_newest, older)) = steps.split_last() else { return Vec::new() };
        let counts = |n: &u64| self.asked_for.map_or(!ended, |every| n.is_multiple_of(every)) || was_end(*n);
        let (counted, others): (Vec<u64>, Vec<u64>) = older.iter().copied().partition(counts);
        others.into_iter().chain(counted.into_iter().rev().skip(self.most.saturating_sub(1))).collect()
    }
}

/// The folder of step `n`'s checkpoint.
pub fn folder(checkpoints: &Path, n: u64) -> PathBuf {
    checkpoints.join(format!("step-{n}"))
}

/// Writes the checkpoint of `state.step`, replacing an existing one, and removes those that are not kept.
pub fn save<B: Backend>(
    checkpoints: &Path,
    engine: &mut Engine<B>,
    vectors: Vectors,
    state: &State,
    keep: Keep,
) -> Result<()> {
    let path = folder(checkpoints, state.step);
    let says = |s: State| (s.diverged, s.ended) == (state.diverged, state.ended);
    let same = |found: Manifest| found.network == engine.network().hash() && state_of(&path).is_ok_and(says);
    if disk::is_folder(&path) && manifest(&path).is_ok_and(same) {
        // The same step again (a run resumed at its end, or stopped at once): what is there is right, and to replace it would
        // leave a moment with neither.
        return prune(checkpoints, state, keep);
    }
    let network = engine.network().clone();
    let mut tensors = read_slots(engine, network.running(), engine.running(), "")?;
    if let Some(velocity) = vectors.velocity {
        tensors.extend(read_slots(engine, network.slots(), velocity, "velocity.")?);
    }
    let parameters = read_slots(engine, network.slots(), vectors.theta, "")?;
    if disk::is_folder(&path) {
        // Damaged, or it would not be written again.
        disk::remove_dir_all(&path)?;
    }
    crate::files::atomic::write_dir(&path, |partial| {
        let meta =
            BTreeMap::from([("network".to_owned(), network.hash()), ("step".to_owned(), state.step.to_string())]);
        safetensors::write(&partial.join(PARAMETERS), &parameters, &meta)?;
        safetensors::write(&partial.join(STATE), &tensors, &meta)?;
        write_json(&partial.join(STATE_JSON), state)?;
        let mut files = BTreeMap::new();
        for name in [PARAMETERS, STATE, STATE_JSON] {
            files.insert(name.to_owned(), entry(&partial.join(name))?);
        }
        let manifest = Manifest { version: env!("CARGO_PKG_VERSION").into(), network: network.hash(), files };
        write_json(&partial.join(MANIFEST), &manifest)
    })?;
    prune(checkpoints, state, keep)
}

/// Removes the checkpoints up to the step of `state` that are not kept, and all after it. The latter were skipped as damaged, and the run
/// has continued from before them.
fn prune(checkpoints: &Path, state: &State, keep: Keep) -> Result<()> {
    let (after, before): (Vec<u64>, Vec<u64>) = list(checkpoints)?.into_iter().partition(|&n| n > state.step);
    let was_end = |n| state_of(&folder(checkpoints, n)).is_ok_and(|state| state.ended);
    for n in after.into_iter().chain(keep.gone(&before, state.ended, was_end)) {
        disk::remove_dir_all(&folder(checkpoints, n))?;
    }
    Ok(())
}

/// The steps that have checkpoints, oldest first.
pub fn list(checkpoints: &Path) -> Result<Vec<u64>> {
    if !disk::is_folder(checkpoints) {
        return Ok(Vec::new());
    }
    let names = disk::list_dir(checkpoints)?;
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<u64> = names.iter().filter_map(number).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Loads the newest valid checkpoint into the engine's running statistics and `vectors`, and returns its state. Each damaged checkpoint is
/// passed to `damaged`, and the next older one is tried.
///
/// `None` where there is no checkpoint. Errors: there are checkpoints, but none is valid; one is of another network.
pub fn load_newest<B: Backend>(
    checkpoints: &Path,
    engine: &mut Engine<B>,
    vectors: Vectors,
    mut damaged: impl FnMut(&Error),
) -> Result<Option<State>> {
    let steps = list(checkpoints)?;
    for &n in steps.iter().rev() {
        match load(&folder(checkpoints, n), engine, vectors) {
            Ok(state) => return Ok(Some(state)),
            Err(error) => damaged(&error),
        }
    }
    if steps.is_empty() {
        return Ok(None);
    }
    Err(Error::file(
        checkpoints,
        format!("none of {} checkpoints is valid", steps.len()),
        "restore one of them, or start a new run",
    ))
}

/// The numbers of the checkpoint in `path`, without checking its files.
pub fn state_of(path: &Path) -> Result<State> {
    read_json(&path.join(STATE_JSON))
}

/// The manifest of the checkpoint in `path`. Errors: a file is missing, or does not match the manifest.
fn manifest(path: &Path) -> Result<Manifest> {
    let manifest: Manifest = read_json(&path.join(MANIFEST))?;
    for name in [PARAMETERS, STATE, STATE_JSON] {
        let file = path.join(name);
        let Some(expected) = manifest.files.get(name) else {
            return Err(Error::file(
                &path.join(MANIFEST),
                format!("no entry for {name}"),
                "the manifest lists every part",
            ));
        };
        let found = entry(&file)?;
        if found != *expected {
            let problem = format!("damaged: {} bytes with SHA-256 {}", found.bytes, found.sha256);
            let right = format!("the manifest says {} bytes, {}", expected.bytes, expected.sha256);
            return Err(Error::file(&file, problem, right));
        }
    }
    Ok(manifest)
}

fn load<B: Backend>(path: &Path, engine: &mut Engine<B>, vectors: Vectors) -> Result<State> {
    let manifest = manifest(path)?;
    let network = engine.network().clone();
    if manifest.network != network.hash() {
        let problem = format!("of another network ({})", manifest.network);
        return Err(Error::file(&path.join(MANIFEST), problem, format!("this run's is {}", network.hash())));
    }
    let state: State = read_json(&path.join(STATE_JSON))?;
    if path.file_name().and_then(|n| n.to_str()) != Some(&format!("step-{}", state.step)) {
        let problem = format!("holds step {}", state.step);
        return Err(Error::file(&path.join(STATE_JSON), problem, "the folder's name says another"));
    }
    let file = path.join(PARAMETERS);
    let parameters = safetensors::read(&file)?.0;
    write_slots(engine, network.slots(), vectors.theta, "", &parameters, &file)?;
    drop(parameters);
    let file = path.join(STATE);
    let tensors = safetensors::read(&file)?.0;
    let running = engine.running();
    write_slots(engine, network.running(), running, "", &tensors, &file)?;
    if let Some(velocity) = vectors.velocity {
        write_slots(engine, network.slots(), velocity, "velocity.", &tensors, &file)?;
    }
    Ok(state)
}

/// A flat vector as named tensors, in the order of the files.
pub fn read_slots<B: Backend>(
    engine: &mut Engine<B>,
    slots: &Slots,
    whole: View,
    prefix: &str,
) -> Result<Vec<(String, Array)>> {
    let double = whole.dtype == DType::F64;
    // In the type that it has: for a large network this is most of what saving takes.
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    if double {
        wide = engine.backend().download_f64(In(whole))?;
    } else {
        narrow = vec![0.0f32; whole.shape.len()];
        engine.backend().download(In(whole), &mut narrow)?;
    }
    let tensors = slots.iter().map(|slot| {
        let range = slot.start..slot.start + slot.shape.len();
        let values = match double {
            true => slot.order.to_file(slot.shape, &wide[range]),
            false => slot.order.to_file(slot.shape, &narrow[range].iter().copied().map(f64::from).collect::<Vec<_>>()),
        };
        let shape = slot.order.shape(slot.shape);
        let array = match double {
            true => Array::f64(shape, values),
            // Exact: the values were f32 before they were widened.
            false => Array::f32(shape, values.into_iter().map(|v| v as f32).collect()),
        };
        (format!("{prefix}{}", slot.name), array)
    });
    Ok(tensors.collect())
}

fn write_slots<B: Backend>(
    engine: &mut Engine<B>,
    slots: &Slots,
    whole: View,
    prefix: &str,
    tensors: &crate::files::Arrays,
    file: &Path,
) -> Result<()> {
    let double = whole.dtype == DType::F64;
    let (narrow, wide) = if double { (0, slots.len()) } else { (slots.len(), 0) };
    let (mut narrow, mut wide) = (vec![0.0f32; narrow], vec![0.0; wide]);
    for slot in slots.iter() {
        let name = format!("{prefix}{}", slot.name);
        let fitting = slot.order.read_shapes(slot.shape);
        let values = tensors.get(&name).filter(|array| fitting.contains(&array.shape)).and_then(Array::to_f64);
        let Some(values) = values else {
            return Err(Error::file(
                file,
                format!("no tensor {name} of shape {:?}", fitting[0]),
                "the run's network has it",
            ));
        };
        let range = slot.start..slot.start + values.len();
        if double {
            slot.order.from_file(slot.shape, &values, &mut wide[range]);
        } else {
            let mut part = vec![0.0; values.len()];
            slot.order.from_file(slot.shape, &values, &mut part);
            narrow[range].iter_mut().zip(part).for_each(|(to, value)| *to = value as f32);
        }
    }
    if double {
        engine.backend().upload_f64(&wide, Out(whole))
    } else {
        engine.backend().upload_f32(&narrow, Out(whole))
    }
}

fn entry(path: &Path) -> Result<Entry> {
    let bytes = disk::open_read(path)?.metadata().map_err(|e| Error::io(path, "read", e))?.len();
    Ok(Entry { bytes, sha256: hash::sha256_file(path)? })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::io(path, "write", e.into()))?;
    crate::files::atomic::write_bytes(path, (text + "\n").as_bytes())
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = disk::read_text_capped(path, JSON_CAP)?;
    serde_json::from_str(&text).map_err(|e| Error::file(path, e.to_string(), "a checkpoint's own file is needed"))
}

/// Whether `path` has a valid manifest and its files match it. For fuzzing.
#[cfg(fuzzing)]
pub fn manifest_holds(path: &Path) -> bool {
    manifest(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_saved_takes_no_place_of_what_was_asked_for() {
        let gone = |asked_for, most, steps: &[u64], ended| Keep { asked_for, most }.gone(steps, ended, |n| n == 15);
        // None were asked for: the newest two while it goes on, the last at the end.
        assert_eq!(gone(None, 2, &[3], false), [0; 0]);
        assert_eq!(gone(None, 2, &[3, 7, 9], false), [3]);
        assert_eq!(gone(None, 2, &[3, 7, 10], true), [3, 7]);
        // Every tenth: those, and what time saved only as long as it is the newest.
        assert_eq!(gone(Some(10), 3, &[10, 20, 23], false), [0; 0]);
        assert_eq!(gone(Some(10), 3, &[10, 20, 23, 27], false), [23]);
        assert_eq!(gone(Some(10), 2, &[10, 20, 23], false), [10]);
        assert_eq!(gone(Some(10), 2, &[10, 20, 27, 30], false), [27, 10]);
        assert_eq!(gone(Some(10), 2, &[20, 30, 34, 35], true), [34, 20]);
        assert_eq!(gone(Some(10), 1, &[30, 40], true), [30]);
        assert_eq!(gone(Some(10), 5, &[], true), [0; 0]);
        // The end of a run that was given more steps is a result.
        assert_eq!(gone(None, 2, &[12, 15, 18, 20], true), [12, 18]);
        assert_eq!(gone(Some(10), 2, &[15, 18, 20], false), [18]);
    }
}
