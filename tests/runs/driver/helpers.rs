//! Devices that no run uses take points of a run's lines: no byte of the run depends on it, and one that does not open is left out.

use super::Machine;
use super::commands::results;
use crate::cli::signal;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A network whose draws depend on the step, with two lines of nine points and a measurement that is nobody's to share.
const RUN: &str = "train --model vgg11 --width 0.02 --norm batch --noise --augment --data images --limit-train 16 --limit-test 4 --batch 4 \
                   --momentum 0.5 --probe landscape:1,predictiveness:2,random:2,ics:2 --probe-points 9 --steps 4 --checkpoint-every 1 \
                   --keep-checkpoints 1 --quiet";

/// As few points as two or three devices share.
fn few_points() -> String {
    RUN.replace("--probe-points 9", "--probe-points 6")
}

/// All that a run has written, by file, without the time of each row.
fn written(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = results(run);
    found.push(("run.toml".into(), fs::read(run.join("run.toml")).unwrap()));
    let rows = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let without = |row: &str| row.rsplit_once(',').map_or(String::new(), |(row, _)| format!("{row}\n"));
    found.push(("metrics.csv".into(), rows.lines().map(without).collect::<String>().into_bytes()));
    found
}

#[track_caller]
fn same(machine: &Machine, run: &str, expected: &str) {
    let [run_files, expected_files] = [run, expected].map(|run| written(&machine.path(run)));
    assert!(expected_files.len() > 6, "{} files", expected_files.len());
    for (found, expected) in run_files.iter().zip(&expected_files) {
        assert!(found == expected, "{run}: {} differs from {}", found.0, expected.0);
    }
    assert_eq!(run_files.len(), expected_files.len());
}

#[test]
fn points_are_spread_over_idle_devices_and_keep_their_bits() {
    let Some(machine) = Machine::new() else { return };
    // What is run: emulated tensor cores are slow. The device, how many there are, and how many take work.
    let short = few_points().replace("--steps 4", "--steps 2");
    for (precision, of, shared) in
        [("f32", RUN, &[("cuda", 2, 2), ("cuda", 4, 4), ("cuda:1", 2, 1)][..]), ("bf16", &short, &[("cuda", 3, 3)])]
    {
        let run = |out: &str, device: &str, stand_in: &str| {
            let line = format!("{of} --precision {precision} --device {device} --out {precision}-{out}");
            let ended = machine.ends(&line, stand_in, 0);
            ended.clean(&line);
            (ended.number("devices"), ended.number("launches"))
        };
        let alone = run("alone", "cuda", "");
        assert_eq!(alone.0, 1);
        for &(device, there, taken) in shared {
            let out = format!("{device}-of-{there}");
            let found = run(&out, device, &format!("count={there}"));
            assert_eq!(found.0, taken, "{device} of {there}");
            // Each helper makes a pass of its own.
            assert_eq!(found.1 > alone.1, taken > 1, "{found:?} {alone:?}");
            same(&machine, &format!("{precision}-{out}"), &format!("{precision}-alone"));
        }
    }
}

#[test]
fn what_takes_all_points_at_once_is_not_shared() {
    let Some(machine) = Machine::new() else { return };
    let line = "train --model dln --depth 3 --samples 40 --probe landscape:1 --steps 4 --quiet --device cuda --out";
    let ended = machine.ends(&format!("{line} run"), "count=4", 0);
    ended.clean(line);
    assert_eq!(ended.number("devices"), 1, "{}", ended.end);
}

#[test]
fn a_device_that_does_not_open_is_left_out() {
    let Some(machine) = Machine::new() else { return };
    let of = few_points();
    machine.ends(&format!("{of} --device cuda --out alone"), "", 0);
    for (number, (words, says)) in [
        ("cuMemAlloc_v2@3=2", "device memory: "),
        ("cuMemcpyHtoDAsync_v2@2=719", "cannot upload"),
        ("cuLaunchKernelEx@5=700", "cannot launch kernel"),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run-{number}");
        let ended = machine.ends(&format!("{of} --device cuda --out {run}"), &format!("count=2 device=1 {words}"), 0);
        ended.clean(words);
        let warned = ended.said.lines().filter(|line| line.contains("cuda:1 takes no points of lines: ")).count();
        assert!(warned == 1 && ended.said.contains(says), "{words}: {}", ended.said);
        same(&machine, &run, "alone");
    }
}

#[test]
fn a_helper_that_fails_ends_the_run_which_goes_on_from_its_checkpoint() {
    let Some(machine) = Machine::new() else { return };
    let of = few_points();
    machine.ends(&format!("{of} --device cuda --out alone"), "", 0);
    for (number, (words, says)) in [
        // It was asked three times: then it replays what it has recorded.
        ("cuGraphLaunch@1=719", "cannot replay a graph: "),
        ("cuStreamBeginCapture_v2@1=700", "cannot record a graph: "),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run-{number}");
        let ended = machine.ends(&format!("{of} --device cuda --out {run}"), &format!("count=2 device=1 {words}"), 3);
        ended.clean(words);
        let errors: Vec<_> = ended.said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(says) && errors[0].contains("(sm_90)"), "{}", ended.said);
        machine.ends(&format!("train --resume --out {run} --device cuda --quiet"), "count=2", 0).clean("resumed");
        same(&machine, &run, "alone");
    }
}

#[test]
fn an_interrupted_run_with_helpers_goes_on_to_the_same_bits() {
    let Some(machine) = Machine::new() else { return };
    let line = few_points().replace("--steps 4", "--steps 12");
    machine.ends(&format!("{line} --device cuda --out alone"), "", 0);
    let mut command = machine.command(&format!("{line} --device cuda --out run"), "count=3");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let saved = || (2..12).any(|step| machine.path(&format!("run/checkpoints/step-{step}")).exists());
    while !saved() && child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "INT");
    let ended = machine.ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    ended.clean("interrupted");
    machine.ends("train --resume --out run --device cuda --quiet", "count=3", 0).clean("resumed");
    same(&machine, "run", "alone");
}

#[test]
fn a_run_that_is_left_over_has_the_devices_of_the_others() {
    let Some(machine) = Machine::new() else { return };
    // In tf32 no kernel takes all points at once.
    let line = "reproduce fig9 --scale smoke --network dln --precision tf32 --device cuda --quiet --out";
    machine.ends(&format!("{line} alone"), "", 0).clean("alone");
    let run = |stand_in: &str, devices: u64| {
        let ended = machine.ends(&format!("{line} run"), stand_in, 0);
        ended.clean(stand_in);
        assert_eq!(ended.number("devices"), devices, "{stand_in}: {}", ended.end);
        assert!(results(&machine.path("run")) == results(&machine.path("alone")), "{stand_in}");
    };
    // More devices than its four runs, and then one run for four devices.
    run("count=6", 6);
    let made = fs::read_dir(machine.path("run/runs")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    fs::remove_dir_all(made).unwrap();
    run("count=4", 4);
}
