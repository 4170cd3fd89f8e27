//! Operators against float64 PyTorch: every case of a folder of golden files, in f32 and in f64.
//!
//! The folders are the committed part of the set, `tests/golden`, and `NORMSCAPE_GOLDEN` if it is set; of two files with the same name, the
//! latter's is used. A file is named after its operator or model, `OPERATOR_…` or `model_…`. Each file and precision is one trial.

use crate::shared;
use libtest_mimic::{Completion, Failed, Trial};
use normscape::files::{Arrays, npz};
use normscape::ops::backend::Backend;
use normscape::ops::boundary::{Inputs, compare, relative_error};
use normscape::ops::table;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What names the folder of the whole set.
const FOLDER: &str = "NORMSCAPE_GOLDEN";

/// A precision that cases are run in.
#[derive(Clone, Copy)]
enum Precision {
    F32,
    F64,
    /// The CUDA kernels, in f32.
    Cuda,
}

impl Precision {
    const ALL: [Precision; 3] = [Precision::F32, Precision::F64, Precision::Cuda];

    fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
            Precision::Cuda => "cuda_f32",
        }
    }

    /// The relative error that is allowed to case `name`: in f32 what float32 PyTorch itself reaches.
    fn tolerance(self, name: &str) -> f64 {
        match self {
            Precision::F64 => 1e-11,
            Precision::F32 | Precision::Cuda if name.ends_with("_far_mean") => 1e-3,
            Precision::F32 | Precision::Cuda => 1e-5,
        }
    }

    /// The absolute error that is allowed where the expectation is 0.
    fn tolerance_at_zero(self) -> f64 {
        match self {
            Precision::F64 => 1e-11,
            Precision::F32 | Precision::Cuda => 1e-6,
        }
    }
}

/// A golden file.
struct Golden {
    path: PathBuf,
    name: String,
}

/// The golden files of `folder`, by name.
fn files(folder: &Path) -> Result<Vec<Golden>, Failed> {
    let listing = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let paths = listing.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    let named = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        (path.extension()? == "npz").then_some(Golden { path, name })
    };
    let files: Vec<_> = paths.into_iter().filter_map(named).collect();
    if files.is_empty() {
        return Err(format!("{} has no .npz file; make_golden.py writes them", folder.display()).into());
    }
    Ok(files)
}

/// The operator that file `name` is a case of.
fn operator(name: &str) -> Result<&'static str, Failed> {
    let is = |op: &&&str| name.strip_prefix(**op).is_some_and(|rest| rest.starts_with('_'));
    let found = table::names().iter().filter(is).max_by_key(|op| op.len());
    found.copied().ok_or_else(|| format!("{name}.npz is called after no operator").into())
}

/// Judges `outputs` by what was expected of them: the names must be the same, and every error within its bound.
fn judge(golden: &Golden, precision: Precision, outputs: &Arrays, expected: &Arrays) -> Result<(), Failed> {
    let names = |arrays: &Arrays| arrays.keys().cloned().collect::<Vec<_>>();
    if names(outputs) != names(expected) {
        return Err(format!("outputs {:?}, expected {:?}", names(outputs), names(expected)).into());
    }
    let errors = compare(&golden.path.display().to_string(), outputs, expected)?;
    let bound = |name: &str| {
        let zero = expected[name].to_f64().is_some_and(|values| values.iter().all(|&v| v == 0.0));
        if zero { precision.tolerance_at_zero() } else { precision.tolerance(&golden.name) }
    };
    let beyond: Vec<_> = errors.iter().filter(|(name, error)| error.is_nan() || *error > bound(name)).collect();
    match beyond.as_slice() {
        [] => Ok(()),
        some => Err(format!("errors beyond {:e}: {some:?}", precision.tolerance(&golden.name)).into()),
    }
}

fn run_operator<B: Backend>(golden: &Golden, precision: Precision, mut backend: B) -> Result<(), Failed> {
    let mut inputs = Inputs::new(golden.path.display().to_string(), npz::read(&golden.path)?);
    let outputs = table::run(operator(&golden.name)?, &mut backend, &mut inputs)?;
    judge(golden, precision, &outputs, &inputs.expected())
}

/// The relative error allowed to each figure of a model: loss, gradient as one vector, landscape.
fn model_tolerances(name: &str, precision: Precision) -> [f64; 3] {
    match precision {
        Precision::F64 => [1e-11; 3],
        // One ReLU of this case sits on its kink.
        Precision::F32 | Precision::Cuda if name == "model_vgg11_batch_a" => [1e-5, 2e-3, 1e-3],
        Precision::F32 | Precision::Cuda => [1e-5, 1e-4, 1e-3],
    }
}

/// A whole network at the boundary of `normscape probe`: the gradient is judged as one vector, all `grad.*` end to end.
fn run_model<B: Backend>(golden: &Golden, precision: Precision, backend: B) -> Result<(), Failed> {
    let mut inputs = Inputs::new(golden.path.display().to_string(), npz::read(&golden.path)?);
    let outputs = normscape::probe::boundary::run(backend, &mut inputs, Default::default())?;
    let expected = inputs.expected();
    let names = |arrays: &Arrays| arrays.keys().cloned().collect::<Vec<_>>();
    if names(&outputs) != names(&expected) {
        return Err(format!("outputs {:?}, expected {:?}", names(&outputs), names(&expected)).into());
    }
    let flat = |arrays: &Arrays, part: &str| -> Vec<f64> {
        arrays
            .iter()
            .filter(|(name, _)| name.starts_with(part))
            .flat_map(|(_, a)| a.to_f64().unwrap_or_default())
            .collect()
    };
    let [loss, grad, landscape] = model_tolerances(&golden.name, precision);
    for (name, bound) in [
        ("loss", loss),
        ("grad.", grad),
        ("landscape.loss", landscape),
        ("landscape.grad_l2_diff", landscape),
        ("landscape.beta", landscape),
    ] {
        let error = relative_error(&flat(&outputs, name), &flat(&expected, name));
        if error.is_nan() || error > bound {
            return Err(format!("{name}: error {error:e} beyond {bound:e}").into());
        }
    }
    Ok(())
}

/// The trials of one file.
fn of_file(golden: Golden) -> Vec<Trial> {
    let golden = std::sync::Arc::new(golden);
    let trial = |precision: Precision| {
        let golden = golden.clone();
        let model = golden.name.starts_with("model_");
        Trial::test(format!("golden::{}::{}", golden.name, precision.name()), move || match (model, precision) {
            (false, Precision::F32) => run_operator(&golden, precision, Cpu::<f32>::default()),
            (false, Precision::F64) => run_operator(&golden, precision, Cpu::<f64>::default()),
            (false, Precision::Cuda) => run_operator(&golden, precision, shared::device(Mode::F32, None)?),
            (true, Precision::Cuda) => run_model(&golden, precision, shared::device(Mode::F32, None)?),
            (true, Precision::F32) => run_model(&golden, precision, Cpu::<f32>::default()),
            (true, Precision::F64) => run_model(&golden, precision, Cpu::<f64>::default()),
        })
    };
    Precision::ALL.map(trial).into()
}

/// The trial that says whether the whole set was there: absent, it is reported as ignored, and on CI it has failed.
fn whole_set(folder: Option<PathBuf>) -> Trial {
    Trial::ignorable_test("golden::full_golden_set", move || {
        if folder.is_some() {
            return Ok(Completion::Completed);
        }
        let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
        let reason = format!("{FOLDER} is not set: only the committed part of the golden set was run");
        if set("CI", "true") && !set("NORMSCAPE_WITHOUT_DATA", "1") {
            return Err(format!("{reason}; NORMSCAPE_WITHOUT_DATA=1 allows that").into());
        }
        Ok(Completion::ignored_with(reason))
    })
}

pub fn trials() -> Vec<Trial> {
    let whole = std::env::var_os(FOLDER).map(PathBuf::from);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut all = vec![whole_set(whole.clone())];
    let mut found = BTreeMap::new();
    // What comes later stands in for what has the same name.
    for folder in std::iter::once(committed).chain(whole) {
        match files(&folder) {
            Ok(files) => found.extend(files.into_iter().map(|golden| (golden.name.clone(), golden))),
            Err(failed) => all.push(Trial::test("golden::golden_files", move || Err(failed))),
        }
    }
    all.extend(found.into_values().flat_map(of_file));
    all
}
