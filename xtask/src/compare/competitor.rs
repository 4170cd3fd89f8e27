//! The competitors: builds of normscape, and PyTorch.

use super::kind::Kind;
use super::reading;
use super::{Measured, Options};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The packages to install where no PyTorch is at hand. PyTorch warns if numpy is missing.
const PACKAGES: [&str; 2] = ["torch==2.15.0", "numpy"];

/// A program that is timed.
pub struct Competitor {
    label: String,
    version: String,
    how: How,
}

enum How {
    /// A build that supports `bench --step`.
    Bench(PathBuf),
    /// An older build; a training run is timed.
    Train(PathBuf),
    /// A Python with PyTorch.
    Python(PathBuf),
}

/// The programs that were asked for, or a build of this source; then PyTorch.
pub fn all(options: &Options) -> Result<Vec<Competitor>, String> {
    let programs = match options.programs.is_empty() {
        true => vec![built()?],
        false => options.programs.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
    };
    let labels = labels(&programs);
    let programs = labels.into_iter().zip(&programs).map(|(label, path)| Competitor::program(label, path));
    let mut all = programs.collect::<Result<Vec<_>, _>>()?;
    if !options.alone {
        all.push(Competitor::pytorch(options.python.as_deref())?);
    }
    Ok(all)
}

/// Builds this source in release mode.
fn built() -> Result<PathBuf, String> {
    let mut cargo = crate::cargo();
    cargo.args(["build", "--release", "--locked"]);
    match cargo.status() {
        Ok(status) if status.success() => Ok(crate::target().join("release/normscape")),
        Ok(status) => Err(format!("cargo build ended with {status}")),
        Err(e) => Err(format!("cannot start cargo: {e}")),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}

/// The programs' names in tables: the names of their files, or the paths where two names are equal.
fn labels(programs: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let unique = |path: &PathBuf| programs.iter().filter(|other| name(other) == name(path)).count() == 1;
    programs.iter().map(|path| if unique(path) { name(path) } else { path.display().to_string() }).collect()
}

impl Competitor {
    fn program(label: String, path: &Path) -> Result<Competitor, String> {
        let version = output(Command::new(path).arg("--version"))?.trim().to_owned();
        let help = output(Command::new(path).args(["bench", "--help"])).unwrap_or_default();
        let how = if help.contains("--step") { How::Bench(path.into()) } else { How::Train(path.into()) };
        Ok(Competitor { label, version, how })
    }

    fn pytorch(given: Option<&Path>) -> Result<Competitor, String> {
        let python = match given {
            Some(path) => path.to_owned(),
            None => crate::python::venv_of("peers", &PACKAGES)?,
        };
        let version = output(Command::new(&python).args(["-c", "import torch; print(torch.__version__)"]))?;
        Ok(Competitor { label: "PyTorch".into(), version: version.trim().into(), how: How::Python(python) })
    }

    /// The name in tables.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether this is a build of normscape.
    pub fn is_program(&self) -> bool {
        !matches!(self.how, How::Python(_))
    }

    /// Its version, and how it is timed if not in the usual way.
    pub fn describe(&self) -> String {
        let Competitor { label, version, how } = self;
        match how {
            How::Bench(_) => format!("{label}: {version}"),
            How::Train(_) => format!(
                "{label}: {version}; it has no `bench --step`, so a training run is timed: the mean of its steps, each with \
                 fetching its batch and writing its row"
            ),
            How::Python(_) => format!("{label}: {version}, `benches/peers`, eager, VGG in channels_last"),
        }
    }

    /// Whether it can time a step of this kind: the PyTorch twins support BatchNorm and no norm.
    pub fn takes(&self, kind: &Kind) -> bool {
        self.is_program() || matches!(kind.parts().2, "batch" | "none")
    }

    /// Times one kind of step.
    pub fn measure(&self, kind: &Kind, options: &Options) -> Result<Measured, String> {
        let (threads, seconds) = (options.threads.to_string(), options.seconds.to_string());
        match &self.how {
            How::Bench(path) => {
                let mut command = Command::new(path);
                command.args(["bench", "--step", &kind.name, "--precision", &kind.precision, "--seconds", &seconds]);
                command.args(["--device", "cpu", "--threads", &threads, "--json", "--quiet"]);
                read(&mut command)
            }
            How::Train(path) => train(path, kind, options),
            How::Python(python) => {
                let mut command = Command::new(python);
                let (model, width, norm) = kind.parts();
                command.current_dir(crate::root().join("benches/peers"));
                command.arg(if kind.is_dln() { "dln.py" } else { "vgg.py" });
                if let Some(width) = width {
                    command.args(["--model", model, "--width", width]);
                }
                command.args(["--norm", norm, "--precision", &kind.precision]);
                command.args(["--threads", &threads, "--seconds", &seconds]);
                read(&mut command)
            }
        }
    }
}

/// Times a training run. A short run comes first, to find out how many steps fit into the time.
fn train(path: &Path, kind: &Kind, options: &Options) -> Result<Measured, String> {
    let short = if kind.is_dln() { 300 } else { 6 };
    let once = train_steps(path, kind, options, short)?;
    // No epoch ends: 64 batches are the training set.
    let most = if kind.is_dln() { 1_000_000.0 } else { 60.0 };
    let steps = (options.seconds / once.max(1e-6)).clamp(short as f64, most) as usize;
    let mean = train_steps(path, kind, options, steps)?;
    Ok(Measured { median: mean, least: mean, mean: true })
}

fn train_steps(path: &Path, kind: &Kind, options: &Options, steps: usize) -> Result<f64, String> {
    let folder = crate::target().join("compare");
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(format!("{}: {e}", folder.display())),
        _ => {}
    }
    let mut command = Command::new(path);
    let (model, width, norm) = kind.parts();
    command.args(["train", "--model", model, "--norm", norm, "--precision", &kind.precision, "--device", "cpu"]);
    match width {
        Some(width) => command.args(["--width", width, "--data", "images", "--limit-train", "8192"]),
        None => &mut command,
    };
    command.args(if kind.is_dln() { ["--lr", "1e-9"] } else { ["--lr", "0.01"] });
    command.args(["--quiet", "--threads", &options.threads.to_string(), "--steps", &steps.to_string(), "--out"]);
    output(command.arg(&folder))?;
    let file = folder.join("metrics.csv");
    let csv = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mean = reading::mean_of_metrics(&csv).ok_or_else(|| format!("{}: no times of steps", file.display()));
    let _ = std::fs::remove_dir_all(&folder);
    mean
}

fn read(command: &mut Command) -> Result<Measured, String> {
    let json = output(command)?;
    reading::times(&json).ok_or_else(|| format!("{command:?} printed no times: {json:?}"))
}

/// The output of a command. Errors: it fails; the error is the last line of its standard error.
fn output(command: &mut Command) -> Result<String, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot start {command:?}: {e}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{command:?} ended with {}: {last}", out.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_one_name_are_told_apart() {
        let paths = ["/tmp/old", "/a/normscape", "/b/normscape"].map(PathBuf::from);
        assert_eq!(labels(&paths), ["old", "/a/normscape", "/b/normscape"]);
    }

    #[test]
    fn twins_have_no_norm_or_batch_norm() {
        let python = Competitor { label: String::new(), version: String::new(), how: How::Python("python3".into()) };
        let kinds =
            super::super::kind::chosen(&["dln-batch/f64", "dln-layer", "vgg16-1-none"].map(String::from)).unwrap();
        assert_eq!(kinds.iter().map(|kind| python.takes(kind)).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_last_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"])).unwrap_err();
        assert!(error.contains("exit status: 3: last"), "{error}");
        assert!(output(&mut Command::new("/no/such/program")).unwrap_err().contains("cannot start"));
    }
}
