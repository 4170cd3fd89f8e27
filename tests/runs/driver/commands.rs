//! Every command that takes a device, with `--device cuda` on the stand-in: the bits are the emulator's, the driver's contract is kept, and nothing
//! is left behind.

use super::Machine;
use crate::cli::signal;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The files of a folder and of those in it whose bytes do not depend on the device: neither times nor its name stand in them.
pub fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if ["npz", "safetensors"].contains(&ending.as_str()) {
                found.push((path.strip_prefix(folder).unwrap().display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

impl Machine {
    /// Runs a command, whose results go to OUT, on both devices, and compares these. Gives the number of graphs that were replayed.
    #[track_caller]
    fn gives_the_emulators_bits(&self, line: &str, stand_in: &str) -> u64 {
        let run = |device: &str| {
            let line = line.replace("OUT", device);
            self.ends(&format!("{line} --quiet --device {device}"), stand_in, 0)
        };
        run("emulator");
        let ended = run("cuda");
        ended.clean(line);
        assert!(ended.number("launches") > 0, "{line}: {}", ended.end);
        let [emulated, found] = ["emulator", "cuda"].map(|device| results(&self.path("").join(device)));
        assert!(!emulated.is_empty());
        for (emulated, found) in emulated.iter().zip(&found) {
            assert!(emulated == found, "{line}: {} and {} differ", emulated.0, found.0);
        }
        assert_eq!(emulated.len(), found.len(), "{line}");
        ended.number("replays")
    }
}

#[test]
fn a_deep_linear_network_trains_to_the_emulators_bits() {
    let Some(machine) = Machine::new() else { return };
    let line = "train --model dln --depth 5 --samples 100 --norm batch --noise --momentum 0.5 --probe landscape --probe-every 10 \
                --steps 30 --out OUT";
    assert!(machine.gives_the_emulators_bits(line, "") > 25);
}

#[test]
fn without_room_for_a_cluster_a_deep_linear_network_trains_all_the_same() {
    let Some(machine) = Machine::new() else { return };
    let run = |out: &str, stand_in: &str| {
        let line =
            // ℓ1 takes the samples: the other norms are computed on coordinates, which need no cluster.
            format!("train --model dln --norm l1 --depth 3 --samples 50 --steps 4 --device cuda --quiet --json --out {out}");
        let ended = machine.ends(&line, stand_in, 0);
        ended.clean(stand_in);
        let loss =
            ended.said.split("\"loss\":").nth(1).unwrap().split([',', '}']).next().unwrap().trim().parse::<f64>();
        (ended.number("launches"), loss.unwrap())
    };
    let (with, without) = (run("with", ""), run("without", "clusters=0"));
    assert!(without.0 > 2 * with.0, "{without:?} {with:?}");
    assert!((without.1 / with.1 - 1.0).abs() < 1e-4, "{without:?} {with:?}");
}

/// Steps of three kinds, each asked for, recorded and replayed.
const VGG: &str = "train --model vgg11 --width 0.02 --norm batch --noise --augment --data images --limit-train 32 --limit-test 8 --batch 8 \
                   --probe landscape --probe-every 3 --probe-points 2 --out OUT";

#[test]
fn a_vgg_trains_to_the_emulators_bits() {
    let Some(machine) = Machine::new() else { return };
    // Another order of what a graph's edges leave open changes nothing.
    assert!(machine.gives_the_emulators_bits(&format!("{VGG} --steps 8"), "seed=7") > 2);
}

#[test]
fn a_vgg_in_bf16_trains_to_the_emulators_bits() {
    let Some(machine) = Machine::new() else { return };
    let line = VGG.replace("--probe landscape --probe-every 3 --probe-points 2", "--precision bf16");
    assert!(machine.gives_the_emulators_bits(&format!("{line} --steps 4"), "") > 0);
}

#[test]
fn operators_and_probes_give_the_emulators_bits() {
    let Some(machine) = Machine::new() else { return };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (command, case) in [
        ("op batch_norm", "batch_norm_4d_relu"),
        ("op conv2d", "conv2d_stem"),
        ("op cross_entropy", "cross_entropy_a"),
        ("probe", "model_dln6_layer_a"),
    ] {
        ["emulator", "cuda"].iter().for_each(|device| fs::create_dir_all(machine.path(device)).unwrap());
        let input = golden.join(case).with_extension("npz");
        machine.gives_the_emulators_bits(&format!("{command} --input {} --output OUT/{case}.npz", input.display()), "");
    }
}

#[test]
fn a_figure_has_the_emulators_bits() {
    let Some(machine) = Machine::new() else { return };
    assert!(machine.gives_the_emulators_bits("reproduce fig9 --scale smoke --out OUT", "") > 0);
}

#[test]
fn runs_are_spread_over_the_devices_that_are_visible() {
    let Some(machine) = Machine::new() else { return };
    let line = "reproduce fig9 --scale smoke --network dln --quiet --out";
    machine.ends(&format!("{line} emulator --device emulator"), "", 0);
    let emulated = results(&machine.path("emulator"));
    // Arguments, how many devices there are, and how many take work.
    for (number, (arguments, there, taken)) in [
        ("--device cuda", 2, 2),
        ("--device cuda", 4, 4),
        ("--device cuda --jobs 1", 4, 1),
        ("--device cuda --jobs 3", 2, 2),
        ("--device cuda:1", 2, 1),
        ("--device emulator --jobs 2", 1, 0),
        ("--device emulator --jobs 4", 1, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let ended = machine.ends(&format!("{line} {number} {arguments}"), &format!("count={there}"), 0);
        if taken > 0 {
            ended.clean(arguments);
            assert_eq!(ended.number("devices"), taken, "{arguments} of {there}: {}", ended.end);
        }
        assert!(results(&machine.path(&number.to_string())) == emulated, "{arguments} of {there}");
    }
    let said = machine.ends("reproduce fig9 --scale smoke --network dln --dry-run --device cuda", "count=4", 0).said;
    assert!(said.contains("4 at once, spread over 4 GPUs: about"), "{said}");
}

#[test]
fn what_has_no_files_keeps_the_contract() {
    let Some(machine) = Machine::new() else { return };
    for line in ["info", "theory --device cuda", "bench --step dln-batch --seconds 0.01 --device cuda"] {
        machine.ends(line, "", 0).clean(line);
    }
    assert!(machine.ends("info", "count=2 card=One", 0).said.contains("One (sm_90), One (sm_90)"));
}

#[test]
fn an_interrupted_run_goes_on_to_the_emulators_bits() {
    let Some(machine) = Machine::new() else { return };
    let line =
        "train --model dln --depth 3 --samples 40 --norm batch --noise --checkpoint-every 20 --steps 600 --quiet --out";
    machine.ends(&format!("{line} emulator --device emulator"), "", 0);
    let mut command = machine.command(&format!("{line} cuda --device cuda"), "");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let saved =
        || machine.path("cuda/checkpoints/step-20").exists() || machine.path("cuda/checkpoints/step-40").exists();
    while !saved() && child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "INT");
    let ended = machine.ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.said);
    ended.clean("interrupted");
    machine.ends("train --resume --out cuda --device cuda --quiet", "", 0).clean("resumed");
    let [emulated, found] = ["emulator", "cuda"]
        .map(|device| fs::read(machine.path(device).join("checkpoints/step-600/parameters.safetensors")).unwrap());
    assert_eq!(emulated, found);
}
