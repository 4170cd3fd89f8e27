//! Tests of the script of the first contact with a GPU, benches/bundle/contact.py: its order, its clock, its limits, and what it does where a part
//! hangs, dies or loses the device.

mod machine;

use machine::{Machine, PYTHON, program};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn all_parts_run_in_order_and_pass() {
    let machine = Machine::new("all", true);
    let (code, found) = machine.run(&[]);
    let parts = found.parts();
    let not: Vec<_> = parts.iter().filter(|(_, status)| *status != "passed").collect();
    assert_eq!(not, [&("card", "left out")], "there is no nvidia-smi");
    assert_eq!((code, found.0["verdict"].as_str()), (0, Some("incomplete")));
    let place =
        |name: &str| parts.iter().position(|(part, _)| *part == name).unwrap_or_else(|| panic!("{name}: {parts:?}"));
    // What runs at the same time ends in any order; stages do not mix.
    let order = [
        "info",
        "memcheck without a mistake",
        "memcheck with a mistake",
        "bits conv2d",
        "parity conv2d",
        "layer 0",
        "kernels deep_linear",
        "replay vgg bf16",
        "bench bf16",
        "torch",
        "torch bf16 graph",
        "ncu slow",
        "ncu quick",
        "memcheck conv2d",
        "memcheck cluster",
        "racecheck without a mistake",
        "racecheck conv2d",
        "racecheck cluster",
        "bench f32",
        "bench tf32",
        "apart bf16 step",
        "equal bf16",
        "torch bf16 reduce-overhead",
        "networks whole",
    ];
    let places: Vec<usize> = order.iter().map(|name| place(name)).collect();
    assert!(places.is_sorted(), "{parts:?}");
    assert_eq!(parts.iter().filter(|(name, _)| name.starts_with("layer ")).count(), 9);
    assert_eq!(parts.iter().filter(|(name, _)| name.starts_with("parity ")).count(), 2, "one process an operator");
    assert!(!parts.iter().any(|(name, _)| name.contains("spills")), "what needs no device is not run");
    assert_eq!(found.part("ncu slow")["figures"]["metrics"]["Duration"], "12.5 us");
    assert_eq!(found.part("parity conv2d")["figures"]["passed"], 2);
    assert_eq!(found.part("bits dln")["figures"]["different"], Value::Array(Vec::new()));
    // Compiled in one way and captured in another: there is a ratio, to the faster.
    let row = &found.0["comparison"][0];
    assert_eq!((row["best"].as_str(), row["ratio"].as_f64()), (Some("graph"), Some(0.5)), "{row}");
    assert_eq!(found.0["device"], "Card (sm_90)");
    // Few files, and nothing left where it worked.
    let names: Vec<_> =
        fs::read_dir(machine.dir.join("out")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() <= 5 && names.contains(&"results.json".into()), "{names:?}");
    let left = fs::read_dir(&machine.dir)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("normscape-contact"));
    assert_eq!(left.count(), 0);
    assert!(machine.calls().contains("ncu --clock-control none --csv --kernel-name-base function --kernel-name slow"));
}

#[test]
fn a_part_that_hangs_is_ended_and_the_others_run() {
    let machine = Machine::new("hang", false);
    machine.misbehaves("bench --full", "sleep 100");
    let begin = Instant::now();
    let (code, found) = machine.run(&["--limit", "1", "--only", "info", "bench *"]);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    found.is("bench bf16", "timed out", "it had 1 s");
    assert!(
        found.part("bench bf16")["timed_out"] == true && found.part("bench bf16")["seconds"].as_f64().unwrap() < 5.0
    );
    found.is("probe 1: op conv2d", "passed", "");
    found.is("probe 3: op conv2d", "passed", "");
    found.is("bench tf32", "timed out", "");
    assert_eq!((code, found.0["verdict"].as_str()), (1, Some("fail")));
}

#[test]
fn a_part_that_no_request_ends_is_killed_with_what_it_started() {
    let machine = Machine::new("stubborn", false);
    machine.misbehaves("bench --full", "trap '' TERM\nsleep 77 & echo $! >\"$here/child\"\nwhile :; do sleep 1; done");
    let (_, found) = machine.run(&["--limit", "1", "--only", "bench bf16"]);
    found.is("bench bf16", "timed out", "");
    let seconds = found.part("bench bf16")["seconds"].as_f64().unwrap();
    assert!((5.0..12.0).contains(&seconds), "{seconds}");
    let child = fs::read_to_string(machine.dir.join("child")).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn a_part_that_dies_by_a_signal_is_told_and_the_device_asked() {
    let machine = Machine::new("signal", false);
    machine.misbehaves("--precision f32 --json", "case $1 in bench) kill -SEGV $$ ;; esac");
    let (code, found) = machine.run(&["--only", "bench *"]);
    found.is("bench f32", "died", "signal 11");
    assert_eq!(found.part("bench f32")["signal"], 11);
    found.is("probe 1: info", "passed", "");
    found.is("bench tf32", "passed", "");
    assert_eq!(code, 1);
}

const LOST: &str = "echo 'error: H200 (sm_90): cannot wait for the device: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access (error 700); \
the device is lost, and the last checkpoint can be resumed' >&2; exit 3";

#[test]
fn after_a_lost_device_a_fresh_process_is_asked_and_the_work_goes_on() {
    let machine = Machine::new("lost", false);
    machine.misbehaves("bench --full --layers --device cuda --precision bf16", LOST);
    let (code, found) = machine.run(&["--only", "bench *"]);
    found.is("bench bf16", "lost", "the device is lost");
    found.is("probe 1: info", "passed", "");
    found.is("probe 1: op conv2d", "passed", "");
    found.is("bench f32", "passed", "");
    assert_eq!((code, found.0["stopped"].clone()), (1, Value::Null));
}

#[test]
fn a_device_that_stays_lost_or_answers_wrongly_ends_the_work() {
    for (answer, probe) in [("exit 3", "probe 1: info"), ("", "probe 1: op conv2d")] {
        let machine = Machine::new(&format!("stays-lost-{}", answer.len()), false);
        // Both the benchmark and what is asked after it.
        let wrong = r#"echo '{"arrays": {"y": {"relative_error": 0.5}}}'; exit 0"#;
        let what = format!(
            "case $1 in bench) {LOST} ;; info) {} ;; op) {wrong} ;; esac",
            if answer.is_empty() { ":" } else { answer }
        );
        machine.misbehaves("", &what);
        let (code, found) = machine.run(&["--only", "bench *", "equal *"]);
        found.is("bench bf16", "lost", "");
        found.is(probe, "failed", "");
        for name in ["bench f32", "bench tf32", "equal bf16"] {
            found.is(name, "left out", "does not answer");
        }
        assert_eq!((code, found.0["verdict"].as_str()), (1, Some("fail")));
    }
}

#[test]
fn without_a_device_nothing_else_is_tried() {
    let machine = Machine::new("none", false);
    machine.misbehaves("info", r#"echo '{"cuda": {"devices": [], "problem": "no driver library was found"}}'; exit 0"#);
    let (code, found) = machine.run(&[]);
    found.is("info", "failed", "no driver library was found");
    found.is("bits conv2d", "left out", "there is no device");
    assert!(code == 1 && !machine.calls().contains("normscape bench"), "{}", machine.calls());
}

#[test]
fn tools_that_are_not_there_are_told_and_no_ratio_is_made() {
    let machine = Machine::new("bare", false);
    let (code, found) = machine.run(&["--only", "bench bf16", "torch*", "ncu*", "memcheck*"]);
    found.is("torch", "refused", "No module named 'torch'");
    found.is("torch bf16 graph", "left out", "torch: refused");
    found.is("ncu slow", "left out", "there is no ncu");
    found.is("memcheck conv2d", "left out", "there is no compute-sanitizer");
    let row = &found.0["comparison"][0];
    assert!(row["normscape"] == 0.001 && row["ratio"].is_null() && row["why_no_ratio"].is_string(), "{row}");
    assert_eq!((code, found.0["verdict"].as_str()), (0, Some("incomplete")));
}

#[test]
fn a_ratio_needs_a_compiled_way_and_a_captured_graph() {
    let machine = Machine::new("ratio", true);
    let ratio = |only: &[&str]| {
        let (_, found) = machine.run(&[&["--only", "bench bf16", "torch"], only].concat());
        found.0["comparison"][0]["ratio"].as_f64()
    };
    assert_eq!(ratio(&["torch bf16 graph"]), None);
    assert_eq!(ratio(&["torch bf16 reduce-overhead"]), None);
    assert_eq!(ratio(&["torch bf16 graph", "torch bf16 reduce-overhead"]), Some(0.5));
}

#[test]
fn a_tool_that_refuses_the_machine_is_no_failure() {
    let machine = Machine::new("refused", true);
    program(
        &machine.dir.join("bin/compute-sanitizer"),
        "#!/bin/sh\necho '========= Error: Device not supported.'\nexit 1\n",
    );
    program(&machine.dir.join("bin/ncu"), "#!/bin/sh\necho '==ERROR== ERR_NVGPUCTRPERM - no permission'\nexit 1\n");
    let (code, found) = machine.run(&["--only", "memcheck*", "racecheck*", "ncu*", "bench bf16"]);
    found.is("memcheck without a mistake", "refused", "Device not supported");
    found.is("memcheck conv2d", "left out", "memcheck without a mistake: refused");
    found.is("ncu slow", "refused", "ERR_NVGPUCTRPERM");
    found.is("ncu quick", "left out", "ncu slow: refused");
    assert_eq!((code, found.0["verdict"].as_str()), (0, Some("incomplete")));
}

#[test]
fn a_sanitizer_that_sees_no_mistake_is_not_believed() {
    let machine = Machine::new("blind", true);
    program(&machine.dir.join("bin/python-with-torch"), &PYTHON.replace("exit 9", "exit 0"));
    let (code, found) = machine.run(&["--only", "memcheck*"]);
    found.is("memcheck with a mistake", "failed", "exit status 0, not 9");
    found.is("memcheck conv2d", "left out", "memcheck with a mistake: failed");
    assert_eq!(code, 1);
}

#[test]
fn what_does_not_fit_before_the_end_is_left_out() {
    let machine = Machine::new("clock", false);
    machine.misbehaves("bench --full", "sleep 100");
    let begin = Instant::now();
    let (_, found) = machine.run(&["--seconds", "17", "--only", "info", "bench *"]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    found.is("bench bf16", "cut off", "the clock was over");
    found.is("bench f32", "left out", "s were left");
    found.is("bench tf32", "left out", "s were left");
}

#[test]
fn results_are_whole_at_any_time() {
    let machine = Machine::new("whole", false);
    machine.misbehaves("bench --full", "echo $$ >\"$here/bench\"; sleep 50");
    for end in ["-KILL", "-TERM"] {
        let _ = fs::remove_file(machine.dir.join("bench"));
        let mut script = machine.started(&["--only", "info", "bench bf16"]);
        let begin = Instant::now();
        while !machine.dir.join("bench").exists() && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        machine.found().is("info", "passed", "");
        assert!(Command::new("kill").args([end, &script.id().to_string()]).status().unwrap().success());
        script.wait().unwrap();
        let found = machine.found();
        found.is("info", "passed", "");
        let bench = fs::read_to_string(machine.dir.join("bench")).unwrap();
        if end == "-TERM" {
            assert_eq!(found.0["stopped"], "it was stopped from outside");
            let state = fs::read_to_string(format!("/proc/{}/stat", bench.trim())).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z "), "what ran has ended too: {state}");
        } else {
            let _ = Command::new("kill").args(["-KILL", bench.trim()]).status();
        }
    }
}

#[test]
fn other_bits_are_told_by_case_and_array() {
    let machine = Machine::new("bits", false);
    let hashes = machine.dir.join("bits.json");
    let text = fs::read_to_string(&hashes).unwrap();
    let known: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>> = serde_json::from_str(&text).unwrap();
    let right = &known["conv2d"]["conv2d_one f32"]["y"];
    assert_eq!(right.len(), 16);
    // Of the first group alone.
    fs::write(&hashes, text.replacen(right, "0123456789abcdef", 1)).unwrap();
    let (code, found) = machine.run(&["--only", "bits *"]);
    found.is("bits conv2d", "failed", "exit status 1");
    assert_eq!(found.part("bits conv2d")["figures"]["different"][0], "conv2d_one f32: y");
    found.is("bits linear", "passed", "");
    found.is("bits dln", "passed", "");
    assert_eq!(code, 1);
}

#[test]
fn runs_that_differ_are_found() {
    let machine = Machine::new("runs", false);
    // Every run leaves other parameters than the one before.
    machine.misbehaves("train", "noise=$(cat \"$here/calls\")");
    let (code, found) = machine.run(&["--only", "equal *", "replay *", "bits dln"]);
    for name in ["equal bf16", "replay vgg bf16", "replay dln f32", "bits dln"] {
        found.is(name, "failed", "exit status 1");
    }
    assert_eq!(code, 1);
}

#[test]
fn a_layer_that_is_wrong_or_fails_is_found() {
    let machine = Machine::new("layer", false);
    let wrong = r#"echo '{"arrays": {"y": {"relative_error": 0.0}, "grad_x": {"relative_error": 0.001}, "grad_weight": {"relative_error": 0.0}}}'; exit 0"#;
    machine.misbehaves("--device cuda --precision f32", wrong);
    let (_, found) = machine.run(&["--only", "layer 8"]);
    assert!(found.part("layer 8")["figures"]["beyond"][0].as_str().unwrap().starts_with("f32 grad_x: 0.001 beyond"));
    machine.misbehaves("--device cuda --precision bf16", LOST);
    let (_, found) = machine.run(&["--only", "layer 8"]);
    found.is("layer 8", "lost", "");
}

#[test]
fn the_second_command_times_autotuned_ways_and_runs_what_is_named() {
    let machine = Machine::new("again", true);
    let (code, found) = machine.run(&["--again", "parity *", "layer 3"]);
    let names: Vec<_> = found.parts().iter().map(|(name, _)| *name).collect();
    let wanted = [
        "info",
        "card",
        "parity conv2d",
        "parity linear",
        "layer 3",
        "bench bf16 step",
        "torch",
        "torch bf16 graph",
        "torch bf16 max-autotune-graph",
        "torch bf16 max-autotune",
    ];
    assert_eq!(names.len(), wanted.len(), "{names:?}");
    assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!((code, found.0["comparison"][0]["ratio"].as_f64()), (0, Some(1.5)), "{}", found.0["comparison"]);
}

#[test]
fn the_script_knows_the_programs_word_for_a_lost_device() {
    let read = |path: &str| fs::read_to_string(crate::root().join(path)).unwrap();
    let words = "the device is lost";
    assert!(read("src/runtime/cuda/gpu/api.rs").contains(words) && read("benches/bundle/reading.py").contains(words));
}
