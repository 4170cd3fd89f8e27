//! How the program handles different CUDA drivers: complete ones, incomplete ones, and ones that do not start. For each case a stand-in for
//! the driver's library is compiled. Its device launches kernels that do nothing, so that a run on it reaches its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DRIVER: &str = include_str!("libcuda.cpp");
const COMPILER: &str = include_str!("libnvrtc.cpp");
const SYMBOLS: &str = include_str!("../../../src/runtime/cuda/gpu/symbols.rs");

/// Compiles `text` to the library `path`; false where this machine has no compiler, which may be so only where nobody builds in earnest.
fn compiled(text: &str, path: &Path) -> bool {
    let source = path.with_extension("cpp");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&source, text).unwrap();
    let named = ["NORMSCAPE_CXX", "CXX"].into_iter().filter_map(std::env::var_os).filter(|name| !name.is_empty());
    let there =
        named.chain(["c++".into(), "g++".into()]).find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(compiler) = there else {
        assert!(std::env::var_os("CI").is_none(), "there is no C++ compiler");
        return false;
    };
    let made = Command::new(compiler).args(["-w", "-shared", "-fPIC", "-o"]).args([path, &source]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    true
}

/// A folder of its own, with a driver and perhaps a compiler of kernels.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// One whose driver has this text; `None` where it cannot be compiled here.
    fn with(driver: &str) -> Option<Machine> {
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        let there = compiled(driver, &machine.path("cuda/libcuda.so.1"));
        (there && compiled(COMPILER, &machine.path("nvrtc/libnvrtc.so.13"))).then_some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, line: &str, stand_in: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normscape"));
        command.args(line.split_whitespace()).args(["--threads", "1"]).current_dir(self.dir.path());
        command
            .env("LD_LIBRARY_PATH", self.path("cuda"))
            .env("NVRTC_PATH", self.path("nvrtc"))
            .env("STAND_IN", stand_in);
        command.env("NORMSCAPE_CACHE", self.path("cache")).env_remove("NORMSCAPE_LINE_INFO");
        command.output().unwrap()
    }

    /// Runs a command that must end with `code`, in order; gives all that it said.
    #[track_caller]
    fn said(&self, line: &str, stand_in: &str, code: i32) -> String {
        let out = self.run(line, stand_in);
        let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert_eq!(out.status.code(), Some(code), "{line} with {stand_in}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// What a driver that cannot be used is told by: `info` and `auto` go on, on the CPU, with the reason, and `cuda` is exit 3 with it.
    #[track_caller]
    fn unusable(&self, stand_in: &str, reasons: &[&str]) {
        let _ = fs::remove_dir_all(self.path("run"));
        let lines = [
            self.said("info", stand_in, 0).lines().find(|line| line.starts_with("auto")).unwrap().to_owned(),
            self.said("train --model dln --depth 2 --samples 20 --steps 1 --out run", stand_in, 0),
            self.said("train --model dln --depth 2 --samples 20 --steps 1 --device cuda --out never", stand_in, 3),
        ];
        assert!(lines[..2].iter().all(|line| line.contains("cpu")), "{lines:?}");
        for (line, reason) in lines.iter().flat_map(|line| reasons.iter().map(move |reason| (line, reason))) {
            assert!(line.contains(reason), "{stand_in}: no `{reason}` in {line}");
        }
        // Only where there is none.
        let none = reasons.contains(&"no GPU") || reasons.contains(&"a CUDA device");
        assert_eq!(
            lines[0].contains("no GPU was found"),
            none || stand_in.contains("=100") || stand_in == "count=0",
            "{}",
            lines[0]
        );
        assert!(lines.iter().all(|line| !line.contains("is lost")), "{lines:?}");
        assert!(!self.path("never").exists());
    }
}

/// The names of the list in the source.
fn functions() -> Vec<&'static str> {
    let list = SYMBOLS.split("\nfunctions! {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let named = list
        .lines()
        .filter_map(|line| line.strip_prefix("        cu")?.find('(').map(|end| line.trim_start().split_at(end + 2).0));
    named.collect()
}

#[test]
fn every_function_is_looked_for_before_one_is_called() {
    let names = functions();
    assert!(names.len() > 35, "{names:?}");
    for name in names {
        let text: Vec<&str> = DRIVER.lines().filter(|line| !line.starts_with(&format!("int {name}("))).collect();
        assert_eq!(text.len() + 1, DRIVER.lines().count(), "{name}");
        let Some(machine) = Machine::with(&text.join("\n")) else { return };
        machine.unusable("", &[&format!("libcuda.so.1 has no {name};")]);
    }
}

#[test]
fn a_driver_that_does_not_start_is_told_by_its_own_reason() {
    let Some(machine) = Machine::with(DRIVER) else { return };
    for (stand_in, reasons) in [
        ("cuInit=2", &["(error 2)"][..]),
        ("cuInit=46", &["(error 46)"]),
        ("cuInit=100", &["no device is detected (error 100)"]),
        ("cuInit=802", &["system not yet initialized (error 802)"]),
        ("cuInit=803", &["words of the driver (error 803)"]),
        ("cuInit=999", &["(error 999)"]),
        ("cuInit=123456", &["error 123456"]),
        ("cuDriverGetVersion=999", &["version", "(error 999)"]),
        ("version=11000", &["CUDA 11.0", "12.0 or newer"]),
        ("cuDeviceGetCount=100", &["(error 100)"]),
        ("cuDeviceGetCount=999", &["count the devices", "(error 999)"]),
        ("count=0", &["has no device"]),
        ("cuDeviceGet=101", &["(error 101)"]),
        ("cuDevicePrimaryCtxRetain=46", &["another process may have it", "(error 46)"]),
        ("cuDevicePrimaryCtxRetain=2", &["others have taken its memory", "(error 2)"]),
        ("cuDevicePrimaryCtxRetain=700", &["(error 700)"]),
        ("cuCtxSetCurrent=999", &["(error 999)"]),
        ("cuStreamCreate=46", &["make a stream", "(error 46)"]),
        ("cuEventCreate=2", &["make an event", "(error 2)"]),
        ("capability=75", &["sm_75", "sm_80 or newer"]),
    ] {
        // Listing devices stops where opening one does.
        machine.unusable(stand_in, reasons);
    }
}

#[test]
fn a_file_that_is_no_driver_is_told_for_what_it_is() {
    let Some(machine) = Machine::with("int nothing;") else { return };
    let first = functions()[0];
    machine.unusable("", &[&format!("libcuda.so.1 has no {first} and ")]);
    for content in [&b""[..], b"no library at all, but longer than the head of one would be, so that it is read\n"] {
        fs::write(machine.path("cuda/libcuda.so.1"), content).unwrap();
        machine.unusable("", &["cannot be loaded: ", "libcuda.so.1"]);
    }
}

const RUN: &str = "train --model dln --depth 2 --samples 20 --device cuda --quiet --out run";

#[test]
fn a_record_names_the_card_and_another_one_is_told() {
    let Some(machine) = Machine::with(DRIVER) else { return };
    machine.said(&format!("{RUN} --steps 2"), "card=First", 0);
    let record = || fs::read_to_string(machine.path("run/run.toml")).unwrap();
    assert!(record().contains("card = \"First\"\narchitecture = \"sm_90\"\n"), "{}", record());
    let resume = |steps: u32, stand_in: &str| {
        machine.said(&format!("train --resume --out run --device cuda --quiet --steps {steps}"), stand_in, 0)
    };
    assert!(!resume(3, "card=First").contains("First"));
    let said = resume(4, "card=Second capability=100");
    assert!(said.contains("warning: ") && said.contains("First (sm_90)") && said.contains("Second (sm_100)"), "{said}");
    assert!(
        record().contains("card = \"Second\"") && record().contains("earlier_cards = [\"First (sm_90)\"]"),
        "{}",
        record()
    );
    // A run of a version that did not write it down.
    let old: Vec<_> = record()
        .lines()
        .filter(|line| !line.contains("card") && !line.starts_with("architecture"))
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(machine.path("run/run.toml"), old.concat()).unwrap();
    assert!(!resume(5, "card=Third").contains("Third"));
    assert!(record().contains("card = \"Third\""));
}

#[test]
fn code_that_the_driver_refuses_is_made_by_nvrtc() {
    let Some(machine) = Machine::with(DRIVER) else { return };
    for code in [200, 209, 218, 221, 222, 223] {
        let _ = fs::remove_dir_all(machine.path("run"));
        machine.said(&format!("{RUN} --steps 1"), &format!("cuModuleLoadData={code}"), 0);
    }
    assert!(fs::read_dir(machine.path("cache")).unwrap().count() > 0);
}

#[test]
fn a_device_that_fails_later_ends_the_run_with_its_reason() {
    let Some(machine) = Machine::with(DRIVER) else { return };
    for (stand_in, code, reason) in [
        ("cuLaunchKernel=700", 3, "the device is lost"),
        ("cuModuleGetFunction=500", 3, "(error 500)"),
        ("cuMemcpyDtoHAsync_v2=46", 3, "the device is lost"),
        ("cuStreamSynchronize=719", 3, "the device is lost"),
        ("cuMemAlloc_v2=2", 2, "device memory: "),
        ("cuMemAlloc_v2=999", 3, "(error 999)"),
    ] {
        let _ = fs::remove_dir_all(machine.path("run"));
        let said = machine.said(&format!("{RUN} --steps 1"), stand_in, code);
        assert!(said.contains(reason), "{stand_in}: {said}");
    }
}
