//! The Python wheel that `NORMSCAPE_WHEEL` names, installed with pip in a fresh virtual environment, and used there without Rust on `PATH`.
//! `check.py` has the checks of the module.
//!
//! Without the wheel they are reported as ignored, with the reason. Under `CI=true` that is a failure. `cargo xtask test` makes the wheel. NumPy is
//! fetched from PyPI. The way to PyTorch and back is tried only where a Python has PyTorch; elsewhere a stand-in in `check.py` says which layers
//! get which names.

mod contents;
mod libraries;

use libtest_mimic::{Completion, Failed, Trial};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type Any<T> = Result<T, Box<dyn std::error::Error>>;
type Check = fn(&Environment) -> Any<()>;

const CHECKS: [(&str, Check); 9] = [
    ("it_holds_what_it_must_and_no_more", contents::check),
    ("it_runs_on_an_older_glibc_than_this", |env| contents::glibc(&env.wheel)),
    ("the_program_is_installed_and_needs_no_rust", program),
    ("probe_gives_pytorchs_numbers", golden),
    ("errors_are_classes_with_the_commands_message", |env| {
        env.check(&["errors".as_ref(), env.folder("errors")?.as_ref()])
    }),
    ("a_checkpoint_is_read_whole", checkpoint),
    ("layers_are_named_by_their_order", |env| env.check(&["names".as_ref(), trained(env, "names")?.as_ref()])),
    ("figure_9_is_made_within_two_minutes", figure),
    ("libraries_of_its_environment_are_found", libraries::check),
];

/// Networks whose loss, gradient and landscape PyTorch gave.
const GOLDEN: [&str; 5] = [
    "model_dln25_batch_a",
    "model_dln25_weight_a",
    "model_dln6_group2_a",
    "model_vgg11_layer_a",
    "model_vgg11_weight_s",
];

/// A virtual environment in which the wheel is installed.
struct Environment {
    wheel: PathBuf,
    root: tempfile::TempDir,
}

impl Environment {
    fn new(wheel: PathBuf) -> Any<Environment> {
        let made = Environment { wheel, root: tempfile::tempdir()? };
        done(Command::new("python3").args(["-m", "venv"]).arg(made.venv()))?;
        let pip = ["-m", "pip", "--disable-pip-version-check", "--quiet", "install"];
        done(made.command("python").args(pip).arg(&made.wheel))?;
        Ok(made)
    }

    fn venv(&self) -> PathBuf {
        self.root.path().join("venv")
    }

    /// A program of the environment, with the system's own programs on `PATH`, among which Rust is not, and no hint of where CUDA lies.
    fn command(&self, name: &str) -> Command {
        self.plain(&self.venv().join("bin").join(name))
    }

    /// A program outside the environment that is run likewise.
    fn plain(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let hints = [
            "VIRTUAL_ENV",
            "PYTHONPATH",
            "PYTHONHOME",
            "NVRTC_PATH",
            "CUBLAS_PATH",
            "CUDA_HOME",
            "CUDA_PATH",
            "LD_LIBRARY_PATH",
        ];
        for name in hints {
            command.env_remove(name);
        }
        command.env("PATH", "/usr/bin:/bin").current_dir(self.root.path()).stdin(Stdio::null());
        command
    }

    /// Runs a check of `check.py`.
    fn check(&self, args: &[&OsStr]) -> Any<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/wheel/check.py");
        done(self.command("python").args(["-B", "-W", "error"]).arg(script).args(args)).map(drop)
    }

    /// A new folder.
    fn folder(&self, name: &str) -> Any<PathBuf> {
        let folder = self.root.path().join(name);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }
}

/// What a command printed. Errors: it failed, with what it said.
fn done(command: &mut Command) -> Any<String> {
    let Output { status, stdout, stderr } = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match status.success() {
        true => Ok(String::from_utf8(stdout)?),
        false => Err(format!("{command:?} ended with {status}:\n{}", String::from_utf8_lossy(&stderr)).into()),
    }
}

fn program(env: &Environment) -> Any<()> {
    for rust in ["cargo", "rustc"] {
        let found = env.plain(Path::new("/bin/sh")).args(["-c", &format!("command -v {rust}")]).output()?;
        assert!(!found.status.success(), "{rust} is on PATH: {}", String::from_utf8_lossy(&found.stdout));
    }
    let version = done(env.command("normscape").arg("--version"))?;
    assert_eq!(version, done(Command::new(env!("CARGO_BIN_EXE_normscape")).arg("--version"))?);
    assert!(done(env.command("normscape").arg("info"))?.contains("\nNVRTC "));
    env.check(&["module".as_ref(), env.venv().as_ref()])
}

fn golden(env: &Environment) -> Any<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files: Vec<PathBuf> = GOLDEN.iter().map(|name| folder.join(name).with_extension("npz")).collect();
    let args: Vec<&OsStr> = [OsStr::new("golden")].into_iter().chain(files.iter().map(|file| file.as_ref())).collect();
    env.check(&args)
}

/// A run of a few steps, by the program of the environment.
fn trained(env: &Environment, name: &str) -> Any<PathBuf> {
    let out = env.root.path().join(name);
    let line = "--quiet --device cpu train --model vgg11 --width 0.04 --norm batch --momentum 0.9 --data images --limit-train 40 --limit-test 20 \
                --batch 8 --steps 2 --seed 1 --out";
    done(env.command("normscape").args(line.split_whitespace()).arg(&out))?;
    Ok(out)
}

/// What Python reads of a checkpoint is what the library reads, bit for bit.
fn checkpoint(env: &Environment) -> Any<()> {
    use normscape::files::{npz, safetensors};
    let run = trained(env, "checkpoint")?;
    let folder = run.join("checkpoints/step-2");
    let (mut expected, _) = safetensors::read(&folder.join("parameters.safetensors"))?;
    let (state, _) = safetensors::read(&folder.join("state.safetensors"))?;
    let (velocity, statistics): (Vec<_>, Vec<_>) =
        state.into_iter().partition(|(name, _)| name.starts_with("velocity."));
    assert_eq!((velocity.len(), statistics.len()), (expected.len(), 16));
    expected.extend(statistics);
    let out = env.root.path().join("checkpoint.npz");
    env.check(&["checkpoint".as_ref(), run.as_ref(), out.as_ref()])?;
    let found = npz::read(&out)?;
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, array) in &expected {
        assert_eq!(
            (&found[name].shape, format!("{:?}", found[name].values)),
            (&array.shape, format!("{:?}", array.values)),
            "{name}"
        );
    }
    Ok(())
}

fn figure(env: &Environment) -> Any<()> {
    let out = env.root.path().join("figures");
    let mut command = env.command("normscape");
    command.args(["--quiet", "--threads", "2", "reproduce", "fig9", "--scale", "quick", "--out"]).arg(&out);
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if begun.elapsed() < Duration::from_secs(120) => std::thread::sleep(Duration::from_millis(100)),
            None => {
                child.kill()?;
                child.wait()?;
                return Err("figure 9 takes longer than two minutes".into());
            }
        }
    };
    assert!(status.success(), "{status}");
    for name in ["report.html", "fig9.svg", "fig9.png", "fig9.csv", "fig9.npz"] {
        let written = walk(&out)?.into_iter().find(|path| path.ends_with(name)).ok_or(format!("no {name}"))?;
        assert!(std::fs::metadata(written)?.len() > 1000, "{name}");
    }
    Ok(())
}

/// All files under a folder.
fn walk(folder: &Path) -> Any<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(walk(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

/// The report of `normscape info --json` of a program.
fn info(command: &mut Command) -> Any<Value> {
    Ok(serde_json::from_str(&done(command.args(["info", "--json"]))?)?)
}

/// The way to PyTorch and back that examples/pytorch goes, with the module and the program of the wheel.
fn pytorch(env: &Environment, python: &Path) -> Any<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pytorch/round_trip.py");
    let site = walk(&env.venv().join("lib"))?.into_iter().find(|path| path.ends_with("normscape/__init__.py"));
    let module = env.folder("module")?;
    std::os::unix::fs::symlink(site.ok_or("no module")?.parent().ok_or("no folder")?, module.join("normscape"))?;
    let mut command = Command::new(python);
    command.arg(script).arg("--normscape").arg(env.venv().join("bin/normscape")).env("PYTHONPATH", module);
    done(&mut command).map(drop)
}

/// A Python that has PyTorch.
fn python_with_pytorch() -> Option<PathBuf> {
    let python = std::env::var_os("NORMSCAPE_PYTHON").filter(|p| !p.is_empty()).unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", "import torch, numpy"]).stdin(Stdio::null()).output();
    has.is_ok_and(|output| output.status.success()).then(|| python.into())
}

/// The environment, which all trials share: making it takes longer than most of them.
fn run(check: impl FnOnce(&Environment) -> Any<()>) -> Result<Completion, Failed> {
    static MADE: OnceLock<Result<Environment, String>> = OnceLock::new();
    let Some(wheel) = std::env::var_os("NORMSCAPE_WHEEL").filter(|path| !path.is_empty()) else {
        let reason = "NORMSCAPE_WHEEL is not set; cargo xtask test makes a wheel";
        return match std::env::var("CI").is_ok_and(|ci| ci == "true") {
            true => Err(reason.into()),
            false => Ok(Completion::ignored_with(reason)),
        };
    };
    match MADE.get_or_init(|| Environment::new(wheel.into()).map_err(|e| e.to_string())) {
        Ok(environment) => check(environment).map(|()| Completion::Completed).map_err(|e| e.to_string().into()),
        Err(reason) => Err(reason.into()),
    }
}

pub fn trials() -> Vec<Trial> {
    let trial = |(name, check): (&str, Check)| Trial::ignorable_test(format!("wheel::{name}"), move || run(check));
    let pytorch = |python: PathBuf| {
        Trial::ignorable_test("wheel::a_network_goes_to_pytorch_and_back", move || run(|env| pytorch(env, &python)))
    };
    CHECKS.into_iter().map(trial).chain(python_with_pytorch().map(pytorch)).collect()
}
