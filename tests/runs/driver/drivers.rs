//! Drivers that cannot be used, and cards that change: each is told in one line, with the driver's own reason.

use super::{Machine, compiler, functions, shelf, stand_in};
use crate::libcuda::image::sections;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

impl Machine {
    /// What a driver that cannot be used is told by: `info` and `auto` go on, on the CPU, with the reason, and `cuda` is exit 3 with it.
    #[track_caller]
    fn unusable(&self, stand_in: &str, reasons: &[&str]) {
        let _ = fs::remove_dir_all(self.path("run"));
        let said = |line: &str, code| self.ends(line, stand_in, code).said;
        let lines = [
            said("info", 0).lines().find(|line| line.starts_with("auto")).unwrap().to_owned(),
            said("train --model dln --depth 2 --samples 20 --steps 1 --out run", 0),
            said("train --model dln --depth 2 --samples 20 --steps 1 --device cuda --out never", 3),
        ];
        assert!(lines[..2].iter().all(|line| line.contains("cpu")), "{lines:?}");
        for (line, reason) in lines.iter().flat_map(|line| reasons.iter().map(move |reason| (line, reason))) {
            assert!(line.contains(reason), "{stand_in}: no `{reason}` in {line}");
        }
        // Only where there is none.
        assert_eq!(
            lines[0].contains("no GPU was found"),
            stand_in.contains("=100") || stand_in == "count=0",
            "{}",
            lines[0]
        );
        assert!(lines.iter().all(|line| !line.contains("is lost")), "{lines:?}");
        assert!(!self.path("never").exists());
    }
}

#[test]
fn every_function_is_looked_for_before_one_is_called() {
    let Some(machine) = stand_in().and_then(Machine::with) else { return };
    let path = machine.path("driver/libcuda.so.1");
    let bytes = fs::read(&path).unwrap();
    let names = sections(&bytes).unwrap().into_iter().find(|section| section.name == ".dynstr").unwrap().range;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let functions = functions();
    assert!(functions.len() > 35, "{functions:?}");
    for name in functions {
        let whole = format!("\0{name}\0");
        let at = bytes[names.clone()].windows(whole.len()).position(|window| window == whole.as_bytes());
        let at = (names.start + at.unwrap_or_else(|| panic!("the stand-in has no {name}")) + 1) as u64;
        // The name is another one, so that nobody finds the function.
        file.write_all_at(b"x", at).unwrap();
        let reason = format!("libcuda.so.1 has no {name};");
        let info = machine.ends("info", "", 0).said;
        assert!(info.lines().any(|line| line.starts_with("auto") && line.contains(&reason)), "{info}");
        let said = machine.ends("train --model dln --steps 1 --device cuda --out never", "", 3).said;
        assert!(said.contains(&reason) && said.lines().count() == 1, "{said}");
        file.write_all_at(&name.as_bytes()[..1], at).unwrap();
    }
    // With all of its names it works.
    assert!(machine.ends("info", "", 0).said.contains("since there is a GPU that works"));
}

#[test]
fn a_driver_that_does_not_start_is_told_by_its_own_reason() {
    let Some(machine) = Machine::new() else { return };
    for (stand_in, reasons) in [
        ("cuInit=2", &["(error 2)"][..]),
        ("cuInit=46", &["(error 46)"]),
        ("cuInit=100", &["device is detected (error 100)"]),
        ("cuInit=802", &["system not yet initialized (error 802)"]),
        ("cuInit=803", &["driver combination (error 803)"]),
        ("cuInit=999", &["(error 999)"]),
        ("cuInit=123456", &["error 123456"]),
        ("cuDriverGetVersion=999", &["version", "(error 999)"]),
        ("version=11000", &["CUDA 11.0", "12.0 or newer"]),
        ("cuDeviceGetCount=100", &["(error 100)"]),
        ("cuDeviceGetCount=999", &["count the devices", "(error 999)"]),
        ("count=0", &["has no device"]),
        ("cuDeviceGet=101", &["(error 101)"]),
        ("cuDeviceGetName=999", &["ask for a device's name", "(error 999)"]),
        ("cuDeviceGetAttribute=999", &["ask for a device's properties", "(error 999)"]),
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
fn a_quiet_run_says_that_it_does_without_a_gpu_that_is_there() {
    let Some(machine) = Machine::new() else { return };
    let said = |stand_in: &str, out: &str| {
        let line = format!("train --model dln --depth 2 --samples 20 --steps 1 --quiet --json --out {out}");
        machine.ends(&line, stand_in, 0).said
    };
    let broken = said("cuInit=999", "broken");
    assert!(
        broken.contains("warning: on the CPU, since no GPU can be used") && broken.contains("(error 999)"),
        "{broken}"
    );
    // Nobody expects one where there is none, and one that works needs no word.
    for (stand_in, out) in [("cuInit=100", "none"), ("", "works")] {
        let said = said(stand_in, out);
        assert!(!said.contains("warning"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_driver_is_told_for_what_it_is() {
    let Some(machine) = compiler().and_then(Machine::with) else { return };
    let first = functions()[0];
    machine.unusable("", &[&format!("libcuda.so.1 has no {first} and ")]);
    for content in [&b""[..], b"no library at all, but longer than the head of one would be, so that it is read\n"] {
        fs::write(machine.path("driver/libcuda.so.1"), content).unwrap();
        machine.unusable("", &["cannot be loaded: ", "libcuda.so.1"]);
    }
}

const RUN: &str = "train --model dln --depth 2 --samples 20 --device cuda --quiet --out run";

#[test]
fn a_record_names_the_card_and_another_one_is_told() {
    let Some(machine) = Machine::new() else { return };
    machine.ends(&format!("{RUN} --steps 2"), "card=First", 0);
    let record = || fs::read_to_string(machine.path("run/run.toml")).unwrap();
    assert!(record().contains("card = \"First\"\narchitecture = \"sm_90\"\n"), "{}", record());
    let resume = |steps: u32, stand_in: &str| {
        machine.ends(&format!("train --resume --out run --device cuda --quiet --steps {steps}"), stand_in, 0).said
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
    let Some(machine) = Machine::new() else { return };
    assert!(shelf().join("nvrtc").exists());
    for code in [200, 209, 218, 221, 222, 223] {
        let _ = fs::remove_dir_all(machine.path("run"));
        // Nothing else is loaded, so that what runs was made by the test's own compiler.
        let ended = machine.ends(&format!("{RUN} --steps 1"), &format!("refuse={code}"), 0);
        ended.clean("refused code");
        assert!(ended.number("launches") > 0);
    }
}
