//! A folder as the bundle has it, with stand-ins for normscape, the test programs, PyTorch and NVIDIA's tools, which do what a test wants of them.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Writes down how it was called; misbehaves as the file `misbehave` says where it is called with the words that `when` holds.
const NORMSCAPE: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "normscape $*" >>"$here/calls"
if [ -f "$here/when" ]; then
  case "$*" in *"$(cat "$here/when")"*) . "$here/misbehave" ;; esac
fi
case "$1" in
info) echo '{"cuda": {"devices": ["Card (sm_90)"], "driver": 13000}, "version": "1", "commit": "abc"}' ;;
op)
  while [ $# -gt 0 ]; do [ "$1" = --output ] && cp "$here/answer.npz" "$2"; shift; done
  echo '{"arrays": {"y": {"relative_error": 0.0}, "grad_x": {"relative_error": 1e-7}, "grad_weight": {"relative_error": 0.0}}}' ;;
train)
  while [ $# -gt 0 ]; do
    [ "$1" = --out ] && out=$2
    [ "$1" = --steps ] && steps=$2
    shift
  done
  mkdir -p "$out/checkpoints/step-$steps"
  printf '\002\000\000\000\000\000\000\000{}' >"$out/checkpoints/step-$steps/parameters.safetensors"
  echo "$steps ${noise:-}" >>"$out/checkpoints/step-$steps/parameters.safetensors" ;;
bench)
  case "$*" in *--full*)
    echo '{"steps": [{"name": "vgg16-1-batch", "time": {"median": 0.001}, "loss": 1.0, "of_passes": null}],' \
      '"kernels": [{"kernel": "slow", "seconds": 2}, {"kernel": "quick", "seconds": 1}, {"kernel": "slow", "seconds": 2}]}' ;;
  *) echo '{"name": "vgg16-1-batch", "time": {"median": 0.003}, "loss": 1.0, "of_passes": null}' ;; esac ;;
esac
"#;

/// A test program: a list, or as many tests as there are in one.
const TESTS: &str = r#"#!/bin/sh
echo "$(basename "$0") $*" >>"$(dirname "$0")/../calls"
if [ "$1" = --list ]; then
  case "$0" in
  *operators) printf 'golden::x: test\nparity::conv2d::odd::f32: test\nparity::conv2d::one::f32: test\nparity::linear::one::bf16: test\n' ;;
  *) printf 'cuda_kernels::deep_linear::one: test\ncuda_networks::whole: test\nkernels::no_spills: test\n' ;;
  esac
else
  echo "test result: ok. 2 passed; 0 failed; 0 ignored"
fi
"#;

/// A Python that has PyTorch, and runs the scripts of the bundle itself by the real one.
pub const PYTHON: &str = r#"#!/bin/sh
case "$*" in
*"import json, torch"*) echo '{"torch": "2.11.0", "cuda": "13.0"}' ;;
*vgg.py*"--way graph"*) echo '{"time": {"median": 0.002}, "loss": 1.0}' ;;
*vgg.py*) echo '{"time": {"median": 0.004}, "loss": 1.0}' ;;
*planted.py*" none"*) echo launched ;;
*planted.py*) exit 9 ;;
*) exec python3 "$@" ;;
esac
"#;

const NCU: &str = r#"#!/bin/sh
echo "ncu $*" >>"$CALLS"
echo '==PROF== Connected'
echo '"ID","Kernel Name","Block Size","Grid Size","Metric Name","Metric Unit","Metric Value"'
echo '"0","k","(128, 1, 1)","(8, 1, 1)","Duration","us","12.5"'
"#;

/// Runs what comes after its own options.
const SANITIZER: &str = r#"#!/bin/sh
echo "========= COMPUTE-SANITIZER"
shift 4
exec "$@"
"#;

/// The folder, which goes with the test.
pub struct Machine {
    pub dir: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Writes a program that can be run.
pub fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Under another name first: a file that is open for writing, in a child that another test has just begun too, cannot be run.
    fs::write(path.with_extension("new"), text).unwrap();
    fs::set_permissions(path.with_extension("new"), fs::Permissions::from_mode(0o755)).unwrap();
    let copied = Command::new("cp").args([&path.with_extension("new"), path]).status().unwrap();
    assert!(copied.success());
}

impl Machine {
    /// A folder as the bundle has it; `NAME` keeps tests apart. With `tools` there are PyTorch, ncu and compute-sanitizer.
    pub fn new(name: &str, tools: bool) -> Machine {
        let dir = std::env::temp_dir().join(format!("normscape-contact-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let machine = Machine { dir };
        for file in ["contact.py", "plan.py", "reading.py", "checks.py", "planted.py"] {
            let text = fs::read_to_string(crate::root().join("benches/bundle").join(file)).unwrap();
            program(&machine.dir.join(file), &text);
        }
        program(&machine.dir.join("normscape"), NORMSCAPE);
        program(&machine.dir.join("tests/operators"), TESTS);
        program(&machine.dir.join("tests/device"), TESTS);
        // The commands that scripts use, and no others: this machine may have NVIDIA's tools.
        for name in ["sh", "python3", "timeout", "sleep", "cp", "mkdir", "dirname", "basename", "cat", "seq"] {
            // Python tells where it is itself: its name may be that of a script that chooses one.
            let ask = match name {
                "python3" => "python3 -c 'import sys; print(sys.executable)'".to_owned(),
                _ => format!("command -v {name}"),
            };
            let found = Command::new("sh").args(["-c", &ask]).output().unwrap();
            let found = String::from_utf8(found.stdout).unwrap();
            fs::create_dir_all(machine.dir.join("bin")).unwrap();
            std::os::unix::fs::symlink(found.trim(), machine.dir.join("bin").join(name)).unwrap();
        }
        if tools {
            program(&machine.dir.join("bin/python-with-torch"), PYTHON);
            program(&machine.dir.join("bin/ncu"), NCU);
            program(&machine.dir.join("bin/compute-sanitizer"), SANITIZER);
        }
        let script =
            "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as file: file.writestr('y.npy', 'numbers')";
        let made = Command::new("python3").args(["-c", script]).arg(machine.dir.join("answer.npz")).status().unwrap();
        assert!(made.success());
        for operator in "conv2d linear weight_norm max_pool2d batch_norm batch_renorm group_norm instance_norm layer_norm rms_norm lp_norm".split(' ') {
            fs::create_dir_all(machine.dir.join("golden")).unwrap();
            fs::write(machine.dir.join(format!("golden/{operator}_one.npz")), "").unwrap();
        }
        let made = machine.python().args(["checks.py", "write", "--device", "emulator"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        machine
    }

    fn python(&self) -> Command {
        let mut command = Command::new(self.dir.join("bin/python3"));
        command
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", self.dir.join("bin"))
            .env("CALLS", self.dir.join("calls"));
        command.env("TMPDIR", &self.dir).env("PYTHONDONTWRITEBYTECODE", "1");
        if self.dir.join("bin/python-with-torch").exists() {
            command.env("PYTHON", "python-with-torch");
        }
        command
    }

    /// From here on normscape does `what` (lines of a shell) where it is called with `words`.
    pub fn misbehaves(&self, words: &str, what: &str) {
        fs::write(self.dir.join("misbehave"), what).unwrap();
        fs::write(self.dir.join("when"), words).unwrap();
    }

    pub fn started(&self, args: &[&str]) -> Child {
        let mut command = self.python();
        command
            .arg("contact.py")
            .arg("out")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs the script; gives its exit status and what it has found.
    pub fn run(&self, args: &[&str]) -> (i32, Found) {
        let out = self.started(args).wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(!said.contains("Traceback"), "{said}");
        (out.status.code().unwrap(), self.found())
    }

    pub fn found(&self) -> Found {
        let text = fs::read_to_string(self.dir.join("out/results.json")).unwrap();
        Found(serde_json::from_str(&text).unwrap())
    }

    pub fn calls(&self) -> String {
        fs::read_to_string(self.dir.join("calls")).unwrap()
    }
}

/// What results.json holds.
pub struct Found(pub Value);

impl Found {
    pub fn parts(&self) -> Vec<(&str, &str)> {
        self.list().iter().map(|part| (part["part"].as_str().unwrap(), part["status"].as_str().unwrap())).collect()
    }

    fn list(&self) -> &[Value] {
        self.0["parts"].as_array().unwrap()
    }

    #[track_caller]
    pub fn part(&self, name: &str) -> &Value {
        let found = self.list().iter().find(|part| part["part"] == name);
        found.unwrap_or_else(|| panic!("no part {name} among {:?}", self.parts()))
    }

    #[track_caller]
    pub fn is(&self, name: &str, status: &str, why: &str) {
        let part = self.part(name);
        let said = part["why"].as_str().unwrap_or_default();
        assert!(part["status"] == status && said.contains(why), "{name}: {part}");
    }
}
