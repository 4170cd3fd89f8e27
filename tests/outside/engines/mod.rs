//! The lines of docs/cluster.md for GNU parallel and submitit, run as they stand there on a small plan: the bytes of one machine.
//!
//! Where one of the two is not installed, its test is reported as ignored, with the reason. Under `CI=true` that is a failure. `cargo xtask test` prepares
//! a Python with submitit.

use libtest_mimic::{Completion, Failed, Trial};
use std::path::Path;
use std::process::{Command, Stdio};

type Any<T> = Result<T, Box<dyn std::error::Error>>;

/// What is made: an experiment of four runs, and what the documentation's lines leave out.
const PLAN: [&str; 8] = ["fig9", "--network", "dln", "--scale", "smoke", "--data", "images", "--quiet"];

fn python() -> std::ffi::OsString {
    std::env::var_os("NORMSCAPE_PYTHON").filter(|python| !python.is_empty()).unwrap_or_else(|| "python3".into())
}

/// A program, in this folder, that finds the `normscape` under test.
fn command(program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
    let own = Path::new(env!("CARGO_BIN_EXE_normscape")).parent();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = own.map(Path::to_path_buf).into_iter().chain(std::env::split_paths(&others));
    let mut command = Command::new(program);
    command.current_dir(dir).env("PATH", std::env::join_paths(folders).unwrap_or_default()).env("HOME", dir);
    command.env_remove("NORMSCAPE_DATA").stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> Any<()> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(if out.stderr.is_empty() { &out.stdout } else { &out.stderr });
    if out.status.success() { Ok(()) } else { Err(format!("{command:?} ended with {}: {said}", out.status).into()) }
}

fn works(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The code that docs/cluster.md has for an engine.
fn documented(engine: &str) -> Any<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster.md");
    let text = std::fs::read_to_string(path)?;
    let row = text.lines().find_map(|line| line.strip_prefix(&format!("| {engine} | `")));
    let code = row.and_then(|row| row.split('`').next());
    Ok(code.ok_or(format!("docs/cluster.md has no code for {engine}"))?.to_owned())
}

/// A plan that `spread` makes in the folder `OUT` is gathered and compared with the same on one machine.
fn compare(spread: impl FnOnce(&Path) -> Any<()>) -> Any<()> {
    let dir = tempfile::tempdir()?;
    let reproduce = |out: &str, more: &[&str]| {
        let mut command = command("normscape", dir.path());
        done(command.arg("reproduce").args(PLAN).args(["--device", "cpu", "--threads", "1", "--out", out]).args(more))
    };
    reproduce("one", &[])?;
    spread(dir.path())?;
    if dir.path().join("OUT/figures").exists() {
        return Err("a share made figures".into());
    }
    reproduce("OUT", &["--gather"])?;
    let same = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/same.py");
    done(command(python(), dir.path()).arg(same).args(["one", "OUT"]))
}

fn parallel(dir: &Path) -> Any<()> {
    let line = documented("GNU parallel")?;
    let whole = line.replace("normscape reproduce", &format!("normscape reproduce {}", PLAN.join(" ")));
    if whole == line {
        return Err(format!("not a reproduction: {line}").into());
    }
    done(command("sh", dir).args(["-c", &whole]))
}

fn submitit(dir: &Path) -> Any<()> {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/engines/map.py");
    let given = ["--device", "cpu", "--threads", "1", "--out", "OUT"];
    done(command(python(), dir).arg(map).arg(documented("submitit")?).args(PLAN).args(given))
}

fn run(there: bool, reason: &str, spread: fn(&Path) -> Any<()>) -> Result<Completion, Failed> {
    match (there, std::env::var("CI").is_ok_and(|ci| ci == "true")) {
        (true, _) => compare(spread).map(|()| Completion::Completed).map_err(|e| e.to_string().into()),
        (false, true) => Err(reason.into()),
        (false, false) => Ok(Completion::ignored_with(reason)),
    }
}

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::ignorable_test("engines::gnu_parallel_makes_one_machines_bytes", || {
            run(works("parallel", &["--version"]), "GNU parallel is not installed: apt-get install parallel", parallel)
        }),
        Trial::ignorable_test("engines::submitit_makes_one_machines_bytes", || {
            let reason = "the Python of NORMSCAPE_PYTHON has no submitit: pip install submitit";
            run(works(python(), &["-c", "import submitit"]), reason, submitit)
        }),
    ]
}
