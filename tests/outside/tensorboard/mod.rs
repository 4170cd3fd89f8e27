//! The output of `--tensorboard`, read by TensorBoard itself. `read.py` reads it in each way that TensorBoard offers, with the Python of
//! `NORMSCAPE_PYTHON` (or `python3`). Every tag, step and number must equal that in `metrics.csv` and the probes' files, to f32.
//!
//! Without the package, the tests are reported as ignored, with the reason. Under `CI=true` that is a failure. `cargo xtask test` prepares
//! the Python.

use libtest_mimic::{Completion, Failed, Trial};
use normscape::files::npz;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The exit code by which `read.py` says that something is not installed.
const MISSING: i32 = 77;

/// Of a tag, what is shown at each step.
type Shown = BTreeMap<String, Vec<(u64, f32)>>;

type Any<T> = Result<T, Box<dyn Error>>;

/// How a run comes about, in a folder of its own.
struct Story {
    name: &'static str,
    tell: fn(&Path) -> Any<()>,
    /// The steps that its files must know.
    last: u64,
}

const STORIES: [Story; 9] = [
    Story { name: "a_run_shows_what_its_files_say", tell: |out| begin(out, DLN), last: 20 },
    Story { name: "tests_and_accuracies_are_shown", tell: |out| begin(out, VGG), last: 6 },
    Story { name: "a_run_that_goes_on_shows_each_step_once", tell: goes_on, last: 30 },
    Story { name: "what_a_later_part_does_again_is_shown_once", tell: does_again, last: 20 },
    Story { name: "a_run_that_begins_again_shows_each_step_once", tell: begins_again, last: 20 },
    Story { name: "a_part_without_events_leaves_a_gap_and_no_more", tell: says_nothing, last: 30 },
    Story { name: "a_part_after_which_the_clock_went_back_is_shown", tell: clock_goes_back, last: 30 },
    Story { name: "so_it_is_after_a_file_of_the_far_future", tell: far_future, last: 30 },
    Story { name: "the_nan_of_a_run_that_diverged_is_shown", tell: diverges, last: 1 },
];

const DLN: &str = "--model dln --depth 3 --samples 50 --norm batch --steps 20 --probe landscape:5,ics:10,curvature:7,random:4 \
                   --checkpoint-every 8 --keep-checkpoints 5 --tensorboard";
const VGG: &str = "--model vgg11 --width 0.04 --norm batch --data images --limit-train 40 --limit-test 20 --batch 8 --steps 6 \
                   --eval-every 3 --tensorboard";

const DIVERGING: &str = "--model dln --samples 50 --norm none --precision f32 --lr 1 --steps 8 --probe landscape,ics,curvature --tensorboard";

/// The steps of the part that writes no events.
const SILENT: std::ops::Range<u64> = 21..25;

fn train(out: &Path, line: &str) -> Any<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normscape"));
    command.args(["--quiet", "--device", "cpu", "--threads", "1", "train", "--out"]).arg(out);
    let output = command.args(line.split_whitespace()).stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("train {line}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn begin(out: &Path, line: &str) -> Any<()> {
    train(out, line)
}

fn goes_on(out: &Path) -> Any<()> {
    begin(out, DLN)?;
    train(out, "--resume --steps 30 --tensorboard")
}

/// The newest checkpoint is lost: the part after it is made a second time.
fn does_again(out: &Path) -> Any<()> {
    begin(out, DLN)?;
    std::fs::remove_dir_all(out.join("checkpoints/step-20"))?;
    train(out, "--resume --tensorboard")
}

/// As a kill before the first checkpoint leaves it, in the middle of a record.
fn begins_again(out: &Path) -> Any<()> {
    begin(out, DLN)?;
    std::fs::remove_dir_all(out.join("checkpoints"))?;
    for path in event_files(out)? {
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(file.metadata()?.len() - 3)?;
    }
    train(out, "--resume --tensorboard")
}

fn says_nothing(out: &Path) -> Any<()> {
    begin(out, DLN)?;
    train(out, "--resume --steps 25")?;
    train(out, "--resume --steps 30 --tensorboard")
}

/// As if the first part had been written by a clock that was ahead: that file's name is then of the future.
fn clock_goes_back(out: &Path) -> Any<()> {
    later(out, |second| second + 30)
}

/// Its name has as many digits as there are, and no later second has.
fn far_future(out: &Path) -> Any<()> {
    later(out, |_| 9_999_999_999)
}

fn later(out: &Path, second: impl Fn(u64) -> u64) -> Any<()> {
    begin(out, DLN)?;
    for path in event_files(out)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        parts[3] = second(parts[3].parse()?).to_string();
        std::fs::rename(&path, out.join(parts.join(".")))?;
    }
    train(out, "--resume --steps 30 --tensorboard")
}

/// Training ends at a loss that is not finite, on a step where everything is measured.
fn diverges(out: &Path) -> Any<()> {
    match begin(out, DIVERGING) {
        Err(said) if said.to_string().contains("diverged") => Ok(()),
        Err(said) => Err(said),
        Ok(()) => Err("it did not diverge".into()),
    }
}

fn event_files(out: &Path) -> Any<Vec<PathBuf>> {
    let paths = std::fs::read_dir(out)?.map(|entry| Ok(entry?.path())).collect::<Any<Vec<_>>>()?;
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents"));
    Ok(paths.into_iter().filter(named).collect())
}

/// What the run's own files say, by the tags under which TensorBoard is to show it.
fn recorded(out: &Path) -> Any<Shown> {
    let mut shown = Shown::new();
    let mut add = |tag: String, step: u64, value: f64| shown.entry(tag).or_default().push((step, value as f32));
    let columns = [("train/loss", 2), ("train/accuracy", 3), ("test/loss", 4), ("test/accuracy", 5)];
    for line in std::fs::read_to_string(out.join("metrics.csv"))?.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        for (tag, column) in columns.into_iter().filter(|(_, column)| !fields[*column].is_empty()) {
            add(tag.into(), fields[0].parse()?, fields[column].parse()?);
        }
    }
    // A NaN of a point is that of the line.
    let most = |values: &[f64]| match values.iter().any(|value| value.is_nan()) {
        true => f64::NAN,
        false => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    let least = |values: &[f64]| -most(&values.iter().map(|value| -value).collect::<Vec<_>>());
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let only = |values: &[f64]| values[0];
    type Fold<'a> = &'a dyn Fn(&[f64]) -> f64;
    let line: [(&str, &str, Fold); 5] = [
        ("loss_min", "loss", &least),
        ("loss_max", "loss", &most),
        ("grad_l2_diff_max", "grad_l2_diff", &most),
        ("beta_max", "beta", &most),
        ("grad_norm", "grad_norm", &only),
    ];
    let ics: [(&str, &str, Fold); 2] = [("cosine_mean", "cosine", &mean), ("l2_mean", "l2", &mean)];
    let curvature: [(&str, &str, Fold); 4] = [
        ("rayleigh", "rayleigh", &only),
        ("gain", "gain", &only),
        ("top_eigenvalue", "top_eigenvalue", &only),
        ("trace", "trace", &only),
    ];
    for (probe, tags) in [("landscape", &line[..]), ("random", &line), ("ics", &ics), ("curvature", &curvature)] {
        let path = out.join(format!("{probe}.npz"));
        if !path.exists() {
            continue;
        }
        let arrays = npz::read(&path)?;
        let array = |name: &str| arrays.get(name).and_then(|a| a.to_f64()).ok_or(format!("{probe}.npz: no {name}"));
        let steps = arrays.get("step").map(|a| &a.values);
        let Some(normscape::files::Values::I64(steps)) = steps else { return Err("no steps".into()) };
        for (tag, name, fold) in tags {
            let values = array(name)?;
            let width = values.len() / steps.len();
            for (i, (step, entry)) in steps.iter().zip(values.chunks_exact(width)).enumerate() {
                let mut entry = entry.to_vec();
                if *name == "beta" && array("grad_l2_diff")?[i * width..][..width].iter().all(|diff| !diff.is_nan()) {
                    // Such a β was too small to be resolved; where all were, nothing is shown.
                    entry.retain(|beta| !beta.is_nan());
                }
                if !entry.is_empty() {
                    add(format!("{probe}/{tag}"), *step as u64, fold(&entry));
                }
            }
        }
    }
    Ok(shown)
}

/// What one of TensorBoard's readers shows.
fn shown_by(reader: &Value) -> Any<Shown> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let point = |point: &Value| Some((point[0].as_u64()?, number(&point[1])? as f32));
    let tag = |(tag, points): (&String, &Value)| {
        let points = points.as_array().into_iter().flatten().map(point).collect::<Option<_>>();
        Ok((tag.clone(), points.ok_or(format!("{tag}: not a step and a number"))?))
    };
    reader.as_object().ok_or("no tags")?.iter().map(tag).collect()
}

fn compare(story: &Story, out: &Path, read: &Value) -> Any<()> {
    let mut want = recorded(out)?;
    let steps: Vec<u64> = want["train/loss"].iter().map(|(step, _)| *step).collect();
    if !steps.iter().copied().eq(0..=story.last) {
        return Err(format!("metrics.csv has the steps {steps:?}").into());
    }
    if story.name.contains("gap") {
        want.values_mut().for_each(|points| points.retain(|(step, _)| !SILENT.contains(step)));
    }
    for reader in ["accumulator", "plugins", "server"] {
        let Some(found) = read.get(reader) else { continue };
        let found = shown_by(found).map_err(|e| format!("{reader}: {e}"))?;
        let tags = |shown: &Shown| shown.keys().cloned().collect::<BTreeSet<_>>();
        if tags(&found) != tags(&want) {
            return Err(format!("{reader}: the tags {:?}, not {:?}", tags(&found), tags(&want)).into());
        }
        // A NaN is itself here.
        let same = |a: &(u64, f32), b: &(u64, f32)| a.0 == b.0 && (a.1 == b.1 || a.1.is_nan() && b.1.is_nan());
        let differs =
            |a: &Vec<(u64, f32)>, b: &Vec<(u64, f32)>| a.len() != b.len() || a.iter().zip(b).any(|(a, b)| !same(a, b));
        if let Some((tag, points)) = want.iter().find(|(tag, points)| differs(&found[*tag], points)) {
            return Err(format!("{reader}, {tag}: {:?}, not {points:?}", found[tag]).into());
        }
    }
    // A part that a kill has cut short ends in a record that cannot be read, and others do not.
    let (torn, sizes) = (story.name.contains("begins_again"), event_files(out)?);
    let sizes = sizes.iter().map(|path| Ok(path.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    match read["bytes"].as_u64() {
        Some(bytes) if bytes == sizes || (torn && bytes < sizes) => Ok(()),
        bytes => Err(format!("of {sizes} bytes {bytes:?} could be read").into()),
    }
}

/// What TensorBoard read: for each story its JSON.
enum Outcome {
    Read(tempfile::TempDir, Value),
    /// Why it could not be started.
    Missing(String),
    Broken(String),
}

/// All stories are told, and then read by one Python: it takes seconds to start.
fn read_all() -> Any<Outcome> {
    let root = tempfile::tempdir()?;
    let out = |story: &Story| root.path().join(story.name);
    let python = std::env::var_os("NORMSCAPE_PYTHON").filter(|p| !p.is_empty()).unwrap_or_else(|| "python3".into());
    let read = |folders: Vec<PathBuf>| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/tensorboard/read.py");
        Command::new(&python).arg("-B").arg(script).args(folders).stdin(Stdio::null()).output()
    };
    // Without TensorBoard nothing need be told.
    match read(Vec::new()) {
        Err(e) => return Ok(Outcome::Missing(format!("{}: {e}", python.display()))),
        Ok(output) if output.status.code() == Some(MISSING) => {
            return Ok(Outcome::Missing(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(_) => {}
    }
    STORIES.iter().try_for_each(|story| (story.tell)(&out(story)).map_err(|e| format!("{}: {e}", story.name)))?;
    let output = read(STORIES.iter().map(out).collect())?;
    Ok(match serde_json::from_slice(&output.stdout) {
        Ok(results) => Outcome::Read(root, results),
        Err(_) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Outcome::Broken(format!("read.py ended with {}:\n{said}", output.status))
        }
    })
}

fn check(story: &Story) -> Result<Completion, Failed> {
    static OUTCOME: OnceLock<Result<Outcome, String>> = OnceLock::new();
    match OUTCOME.get_or_init(|| read_all().map_err(|e| e.to_string())) {
        Ok(Outcome::Read(root, results)) => match results.get(story.name) {
            Some(read) => {
                compare(story, &root.path().join(story.name), read).map_err(|e| e.to_string())?;
                Ok(Completion::Completed)
            }
            None => Err("read.py did not read it".into()),
        },
        Ok(Outcome::Missing(reason)) if std::env::var("CI").is_ok_and(|ci| ci == "true") => Err(reason.into()),
        Ok(Outcome::Missing(reason)) => Ok(Completion::ignored_with(reason.clone())),
        Ok(Outcome::Broken(reason)) | Err(reason) => Err(reason.into()),
    }
}

pub fn trials() -> Vec<Trial> {
    let trial = |story: &'static Story| Trial::ignorable_test(format!("tensorboard::{}", story.name), || check(story));
    STORIES.iter().map(trial).collect()
}
