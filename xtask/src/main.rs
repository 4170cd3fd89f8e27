//! The project's chores, such as `cargo xtask test` and `cargo xtask bench`.
//!
//! - `test.rs`: runs every test of the workspace, after setting up what the tests read, and ends with one line of counts
//! - `tally.rs`: reads the output of test programs
//! - `mutants.rs`: makes known mistakes, one at a time, and shows which test finds each
//! - `sass/`: holds the machine code of every kernel to budgets
//! - `model/`: predicts a training step's time on a card from machine code and counters
//! - `cuda.rs`: fetches NVRTC and the disassembler · `bundle.rs`: packs programs, tests and benchmarks for a machine with a GPU but without Rust
//! - `torture/`: attacks what a run promises, with kills, failing calls and hostile input
//! - `bits.rs`: makes a fixed set of runs and prints a hash of the numbers that each computed
//! - `compare/`: times training steps of builds of normscape and of their PyTorch twins, interleaved
//! - `data.rs`: finds the data set and the golden cases, and unpacks the data set
//! - `wheel.rs`: makes the Python wheel · `licences.rs`: the licences of the crates in it · `python.rs`: prepares a Python with the packages that tests need
//!
//! Its few dependencies are the program's own, because it is built before anything else, on machines that may have little.

#[cfg(target_os = "linux")]
mod bits;
mod bundle;
mod compare;
mod cuda;
mod data;
mod licences;
mod model;
mod mutants;
mod python;
mod sass;
mod tally;
mod test;
#[cfg(target_os = "linux")]
mod torture;
mod wheel;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const HELP: &str = "\
Chores of this workspace.

Usage: cargo xtask COMMAND [ARGS...]

Commands:
  test [ARGS...]   set up what the tests need, run every test, and end with 'N passed, N failed, N skipped'.
                   ARGS go to `cargo test`, for example: cargo xtask test --test operators
  cuda             put NVRTC (NVIDIA's Python package) under target/cuda, so that the build compiles the kernels
  sass [KERNEL]    compile every kernel, take its machine code apart, and hold registers, spills and hot loops to xtask/budgets.toml: exit code 1
                   where one takes more, 2 where that cannot be told. No GPU is needed. KERNEL: that one alone, with its hot loops
                   instruction by instruction; --arch N (as 90), --all (kernels without a budget of their own too), --json
  model            how long a training step takes a card, as a range, from machine code and counters: every node, and sums. A model, not a measurement;
                   exit code 1 where a measurement in benches/results lies more than 25 % beyond. --card NAME (h200; xtask/cards.toml has them),
                   --network vgg16, dln or NAME (as `normscape bench --step` takes it), --mode bf16, tf32 or f32, --batch N,
                   --sampled N (blocks of each launch that are counted, 16), --markdown, --program PATH (a build of normscape; this
                   source's otherwise), --results DIR
  mutants          make each known mistake and see that its test finds it; ends with 'N passed, N failed, N skipped'
  torture [KINDS]  campaigns against what a run promises; they take long. Kinds: kills, calls [default: both], and fuzz,
                   which needs cargo-fuzz. --slice (about a minute), --count N (kills, 1000), --share I/N and --once (calls),
                   --inputs N and --seconds N (fuzz, each parser; 10 million), --built (fuzz: do not build), --seed N, --jobs N, --only NAME,
                   --program PATH, --dir DIR
  bits             make a fixed set of small runs and print a hash of the numbers of each, to be the same before and after a change
                   that is to change none. --program PATH (a build of normscape; target/release/normscape otherwise, as it is)
  bundle           pack programs, tests and benchmarks for a machine with a GPU and without Rust
  wheel            make the Python wheel to publish, under target/wheel: a release build, by maturin and zig from PyPI
  bench [ARGS...]  cargo run --release -- bench ARGS...
  compare          time training steps on the CPU beside PyTorch's, interleaved, and print a table with ratios.
                   --program PATH (a build of normscape; may be given again; this source's otherwise), --only NAME (again; as
                   vgg16-0.25-batch, dln-layer, dln-batch/f64: what `normscape bench --step` takes), --rounds N (5),
                   --seconds N (of each program and step in a round; 2), --threads N, --out FILE, --python PATH (one that has
                   PyTorch; the system's or one under target/peers otherwise), --alone (without PyTorch)
  help             this text

Environment:
  NORMSCAPE_DATA            folder with CIFAR-10; if it is not set, the data set is unpacked where it comes along
  NORMSCAPE_GOLDEN          folder with golden cases beyond those of tests/golden
  NORMSCAPE_WHEEL           a wheel to test; if it is not set, one is made around the program that the tests build
  NORMSCAPE_PYTHON          a Python with Selenium, submitit and TensorBoard; if it is not set, one is made under target/venv
  NORMSCAPE_WITHOUT_DATA=1  with CI=true: let tests be skipped for want of data
  CI=true                   tests that lack their data fail, and as root missing Debian packages are installed
";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let command = args.next().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let rest: Vec<_> = args.collect();
    match command.as_str() {
        "test" => test::run(&rest),
        "mutants" => mutants::run(),
        "sass" => sass::run(&rest),
        "model" => model::run(&rest),
        "compare" => compare::run(&rest),
        #[cfg(target_os = "linux")]
        "torture" => torture::run(&rest),
        #[cfg(target_os = "linux")]
        "bits" => bits::run(&rest),
        "cuda" => match cuda::fetch() {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(line) => refuse(&format!("xtask: {line}")),
        },
        "bundle" => match bundle::make() {
            Ok((archive, bytes)) => {
                println!("{} ({bytes} bytes); unpack it there and run normscape/contact.py", archive.display());
                ExitCode::SUCCESS
            }
            Err(line) => refuse(&format!("xtask: {line}")),
        },
        "wheel" => match wheel::make() {
            Ok((wheel, bytes)) => {
                println!("{} ({bytes} bytes); pip install it", wheel.display());
                ExitCode::SUCCESS
            }
            Err(line) => refuse(&format!("xtask: {line}")),
        },
        "bench" => {
            let mut cargo = cargo();
            cargo.args(["run", "--release", "--locked", "--", "bench"]).args(&rest);
            match cargo.status() {
                Ok(status) => exit_code(status.code()),
                Err(e) => refuse(&format!("xtask: cannot start cargo: {e}; is it on the PATH?")),
            }
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        "" => refuse(
            "xtask: no command given; there are test, cuda, sass, model, mutants, torture, bits, bundle, wheel, bench, compare and help",
        ),
        other => refuse(&format!(
            "xtask: no command '{other}'; there are test, cuda, sass, model, mutants, torture, bits, bundle, wheel, bench, compare and help"
        )),
    }
}

fn refuse(line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(2)
}

/// The exit code of a check: 0 where it holds, 1 where it does not, 2 where that cannot be told, with the reason.
fn verdict(held: Result<bool, String>) -> ExitCode {
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => refuse(&format!("xtask: {problem}")),
    }
}

/// A child's exit code, passed on as this program's; 1 where a signal ended the child.
fn exit_code(code: Option<i32>) -> ExitCode {
    ExitCode::from(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1))
}

/// The cargo that runs this program, ready to run in the repository's root.
fn cargo() -> Command {
    let mut command = without_cargo(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A program that may run cargo, without the variables by which cargo described this package. The build script of `ring` depends on such variables:
/// with values that a shell does not set, it would run again, and everything that depends on it would be rebuilt.
fn without_cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// The repository's root: the folder above this package.
fn root() -> PathBuf {
    // The run-time value first: a target folder may have been carried to another place than it was built in.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// Cargo's target folder, which holds everything made here.
fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
