//! What `op` and `probe` share: they read a file of arrays, write a file of arrays, and compare the results with what was expected.

use super::device::{self, Device};
use super::device_options::Precision;
use super::{Answer, Globals};
use crate::files::{Array, Arrays, npz};
use crate::ops::boundary::{Inputs, compare, relative_error};
use crate::report::{Cell, Table};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// The two files, and how convolutions are computed.
#[derive(Debug, Clone, clap::Args)]
pub struct Files {
    /// The arrays, as numpy.savez writes them; for each expect.NAME, the relative L2 error of output NAME is printed
    #[arg(long, value_name = "CASE.npz")]
    pub input: PathBuf,
    /// Where to write the results, for numpy.load
    #[arg(long, value_name = "OUT.npz")]
    pub output: PathBuf,
    /// Compute convolutions as direct sums (in f32 the CPU's usual algorithm takes fewer products and rounds differently)
    #[arg(long)]
    pub direct_convolution: bool,
}

/// Reads the input, computes on the device, writes the output, and reports the errors. `whole` is a prefix: the arrays with that prefix are
/// also judged as one vector. `deep_linear` says whether an input belongs to a deep linear network.
pub fn run(
    files: &Files,
    whole: Option<&str>,
    globals: &Globals,
    deep_linear: impl FnOnce(&Arrays) -> bool,
    compute: impl FnOnce(Device, &mut Inputs) -> Result<Arrays>,
) -> Result<Answer> {
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    if files.input == files.output {
        let place = format!("--output {}", files.output.display());
        return Err(Error::input(place, "would write over the input", "give another file"));
    }
    let source = files.input.display().to_string();
    let given = npz::read(&files.input)?;
    let device = device.unless_asked(globals.precision, deep_linear(&given));
    let mut inputs = Inputs::new(source.clone(), given);
    let expected = inputs.expected();
    let outputs = compute(device, &mut inputs)?;
    let errors = compare(&source, &outputs, &expected)?;
    let whole = whole.and_then(|prefix| Some((prefix, whole_error(prefix, &outputs, &expected)?)));
    npz::write(&files.output, &outputs)?;
    device::announce(device, globals);
    let told = if globals.json { as_json } else { in_words };
    Ok(told(files, &outputs, &errors, whole).in_files())
}

/// The relative error of all arrays with that prefix, taken as one vector. `None` where no such array is expected.
fn whole_error(prefix: &str, outputs: &Arrays, expected: &Arrays) -> Option<f64> {
    let (mut got, mut wanted) = (Vec::new(), Vec::new());
    for (name, array) in expected.iter().filter(|(name, _)| name.starts_with(prefix)) {
        got.extend(outputs.get(name).and_then(Array::to_f64)?);
        wanted.extend(array.to_f64()?);
    }
    (!wanted.is_empty()).then(|| relative_error(&got, &wanted))
}

fn in_words(files: &Files, outputs: &Arrays, errors: &[(String, f64)], whole: Option<(&str, f64)>) -> Answer {
    let shown = |error: f64| Cell::number(format!("{error:.2e}"));
    let mut table =
        Table::new(if errors.is_empty() { vec!["output", "type"] } else { vec!["output", "type", "relative error"] });
    for (name, array) in outputs {
        let error = errors.iter().find(|(of, _)| of == name).map(|(_, error)| shown(*error));
        table.row([Cell::from(name.clone()), Cell::from(array.kind())].into_iter().chain(error));
    }
    if let Some((prefix, error)) = whole {
        table.row([Cell::from(format!("{prefix}*")), Cell::from("as one vector"), shown(error)]);
    }
    Answer::text(format!("{table}\nwritten to {}", files.output.display()))
}

fn as_json(files: &Files, outputs: &Arrays, errors: &[(String, f64)], whole: Option<(&str, f64)>) -> Answer {
    let mut arrays: Map<String, Value> =
        outputs.iter().map(|(name, array)| (name.clone(), json!({ "shape": array.shape }))).collect();
    for (name, error) in errors {
        arrays[name]["relative_error"] = finite(*error);
    }
    let mut answer = json!({ "output": files.output.to_string_lossy(), "arrays": arrays });
    if let Some((prefix, error)) = whole {
        answer["whole"] = json!({ format!("{prefix}*"): { "relative_error": finite(error) } });
    }
    Answer::json(&answer)
}

/// A number as JSON. JSON has no infinity and no NaN, so those become text.
fn finite(error: f64) -> Value {
    if error.is_finite() { json!(error) } else { json!(error.to_string()) }
}
