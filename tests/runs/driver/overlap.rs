//! Launches that may begin before their predecessor has ended: asked for where device and driver have it, and the same bits without.

use super::commands::results;
use super::{Ended, Machine, stand_in};
use crate::libcuda::image::sections;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// A run whose steps are made, recorded and replayed, with probes and copies between them.
const RUN: &str = "train --model dln --depth 3 --samples 40 --norm batch --noise --momentum 0.5 --steps 8 --probe landscape \
                   --probe-every 4 --probe-points 2 --quiet --device cuda --out";

/// What the run came to on such a card and driver, and its results.
fn run(machine: &Machine, stand_in: &str) -> (Ended, Vec<(String, Vec<u8>)>) {
    let _ = fs::remove_dir_all(machine.path("run"));
    let ended = machine.ends(&format!("{RUN} run"), stand_in, 0);
    ended.clean(stand_in);
    let found = results(&machine.path("run"));
    assert!(!found.is_empty());
    (ended, found)
}

#[test]
fn launches_overlap_from_sm_90_and_cuda_12_3_on() {
    let Some(machine) = Machine::new() else { return };
    let (with, expected) = run(&machine, "");
    // The first of a graph, and what follows a copy, begin after what was before them; many launches do neither.
    let [all, overlapping] = [with.number("launches"), with.number("overlapping")];
    assert!(overlapping > all / 3 && overlapping < all, "{overlapping} of {all}");
    assert_eq!(run(&machine, "version=12030 capability=100").0.number("overlapping"), overlapping);
    for older in ["capability=80", "capability=89", "version=12020"] {
        let (ended, found) = run(&machine, older);
        assert_eq!([ended.number("launches"), ended.number("overlapping")], [all, 0], "{older}");
        assert!(found == expected, "{older}");
    }
}

#[test]
fn launches_are_kept_apart_where_the_environment_asks_for_it() {
    let Some(machine) = Machine::new() else { return };
    let (_, expected) = run(&machine, "");
    let asked = |value: &str| {
        fs::remove_dir_all(machine.path("run")).unwrap();
        let mut command = machine.command(&format!("{RUN} run"), "");
        machine.ended(command.env("NORMSCAPE_LAUNCHES", value).output().unwrap())
    };
    let ended = asked("apart");
    assert_eq!((ended.code, ended.number("overlapping")), (Some(0), 0), "{}", ended.said);
    ended.clean("apart");
    assert!(results(&machine.path("run")) == expected);
    let ended = asked("sideways");
    ended.clean("sideways");
    assert!(ended.code == Some(2) && ended.said.contains("NORMSCAPE_LAUNCHES=sideways"), "{}", ended.said);
}

#[test]
fn a_driver_without_launches_that_overlap_launches_one_after_the_other() {
    let Some(machine) = stand_in().and_then(Machine::with) else { return };
    let (with, expected) = run(&machine, "");
    let path = machine.path("driver/libcuda.so.1");
    let bytes = fs::read(&path).unwrap();
    let names = sections(&bytes).unwrap().into_iter().find(|section| section.name == ".dynstr").unwrap().range;
    let name = b"\0cuLaunchKernelEx\0";
    let at = bytes[names.clone()].windows(name.len()).position(|window| window == name).unwrap();
    // The name is another one, so that nobody finds the function.
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"x", (names.start + at + 1) as u64).unwrap();
    let (ended, found) = run(&machine, "");
    assert_eq!([ended.number("launches"), ended.number("overlapping")], [with.number("launches"), 0]);
    assert!(found == expected);
}
