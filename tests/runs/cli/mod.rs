//! The command line, from outside: exit codes, one-line errors, and the files that commands write.

mod refused;
mod runs;
#[cfg(unix)]
mod signals;

use normscape::files::{Array, Arrays, npz};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn normscape(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normscape"));
    command.current_dir(dir).stdin(Stdio::null()).env_remove("NORMSCAPE_DATA").env("HOME", dir);
    for proxy in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command
}

/// Runs a command line, its arguments parted by blanks.
fn run(dir: &Path, line: &str) -> Output {
    normscape(dir).args(line.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command line that must succeed, and gives its standard output.
fn done(dir: &Path, line: &str) -> String {
    let out = run(dir, line);
    assert_eq!(out.status.code(), Some(0), "{line}: {}", text(&out.stderr));
    text(&out.stdout)
}

/// Runs a command line that must be refused with exit code 2, nothing on standard output and one line on standard error,
/// which it gives.
fn refused(dir: &Path, line: &str) -> String {
    let mut command = normscape(dir);
    command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, began) = (command.spawn().unwrap(), Instant::now());
    // What is refused is refused at once; what is taken after all may train for hours.
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{line}: is not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    one_line(&child.wait_with_output().unwrap(), line)
}

fn one_line(out: &Output, line: &str) -> String {
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{line}: {said}");
    assert_eq!((text(&out.stdout).as_str(), said.lines().count()), ("", 1), "{line}: {said}");
    assert!(said.starts_with("error: ") && said.ends_with('\n'), "{line}: {said}");
    said
}

fn room() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn help_and_version_are_answers() {
    let dir = room();
    let root = done(dir.path(), "--help");
    for name in ["reproduce", "train", "probe", "op", "data", "theory", "bench", "info", "completions"] {
        assert!(root.contains(&format!("\n  {name} ")), "{name}: {root}");
        assert!(done(dir.path(), &format!("{name} --help")).contains(&format!("Usage: normscape {name}")));
    }
    assert!(!root.contains('\u{1b}'), "colours belong on terminals only");
    let version = done(dir.path(), "--version");
    assert!(
        version.starts_with(&format!("normscape {} (", env!("CARGO_PKG_VERSION"))) && version.ends_with(")\n"),
        "{version}"
    );
    assert_eq!(version.lines().count(), 1);
}

#[test]
fn a_step_is_timed_by_its_name_in_either_precision() {
    let dir = room();
    assert!(done(dir.path(), "bench --list").contains("vgg16-0.25-batch, "));
    for (name, precision) in [("dln-group:2", "f32"), ("dln-lp:3", "f64"), ("vgg11-0.02-batch", "f32")] {
        let line = format!("bench --step {name} --precision {precision} --device cpu --seconds 0 --quiet");
        let found: serde_json::Value = serde_json::from_str(&done(dir.path(), &format!("{line} --json"))).unwrap();
        assert_eq!((&found["name"], &found["precision"]), (&name.into(), &precision.into()));
        let [median, min] = ["median", "min"].map(|key| found["time"][key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && found["loss"].as_f64().is_some_and(f64::is_finite), "{found}");
        assert!(done(dir.path(), &line).starts_with(&format!("{name}: median ")));
    }
}

#[test]
fn a_step_is_counted_in_the_emulator() {
    let dir = room();
    let line = "bench --device emulator --counters --step dln-batch --batch 8 --layers";
    let found: serde_json::Value = serde_json::from_str(&done(dir.path(), &format!("{line} --json"))).unwrap();
    assert_eq!((&found["name"], &found["batch"], &found["precision"]), (&"dln-batch".into(), &8.into(), &"f32".into()));
    let launches = |groups: &str| -> u64 {
        found[groups].as_array().unwrap().iter().map(|group| group["launches"].as_u64().unwrap()).sum()
    };
    assert_eq!((launches("kernels"), launches("layers")), (found["nodes"].as_u64().unwrap(), launches("kernels")));
    // Every kernel of a step reads something, and no sector twice where a byte of it would do.
    for group in found["kernels"].as_array().unwrap() {
        let loads = &group["counts"]["loads"];
        let [requests, sectors, needed, asked, once] =
            ["requests", "sectors", "needed", "asked", "once"].map(|key| loads[key].as_u64().unwrap());
        assert!(requests > 0 && needed <= sectors && asked <= once && once <= 32 * sectors, "{group}");
        assert!(loads["widths"]["4"].as_u64().is_some(), "{group}");
    }
    let shown = done(dir.path(), line);
    for word in ["one step of dln-batch, batch 8; ", "launches", "ldmatrix", "beside the layers", "KiB read"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn a_device_that_is_not_there_is_exit_3_and_one_line() {
    let dir = room();
    let out = run(dir.path(), "train --model dln --steps 2 --out run --device cuda:7");
    let said = text(&out.stderr);
    // With a GPU there is still no eighth one on the machines that run this.
    assert_eq!((out.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    assert!(said.contains("looked for libcuda.so") || said.contains("numbered from 0"), "{said}");
    assert!(!dir.path().join("run").exists());
    // The emulator's device is its compiler.
    let mut without = normscape(dir.path());
    without.args("train --model dln --steps 2 --out run --device emulator".split(' '));
    let out = without.env("PATH", dir.path()).env_remove("CXX").env_remove("NORMSCAPE_CXX").output().unwrap();
    let said = text(&out.stderr);
    assert_eq!((out.status.code(), said.lines().count()), (Some(3), 1), "{said}");
    assert!(said.contains("C++ compiler") && said.contains("c++ and g++ were tried"), "{said}");
}

/// The instruction sets that this machine has, by the words of NORMSCAPE_ISA.
fn instruction_sets() -> Vec<String> {
    let said = normscape(Path::new(".")).args(["info"]).env("NORMSCAPE_ISA", "none").output().unwrap();
    let said = text(&said.stderr);
    let (_, there) = said.trim_end().rsplit_once("this machine has ").unwrap();
    there.split(", ").map(Into::into).collect()
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let dir = room();
    let sets = instruction_sets();
    assert!(sets.ends_with(&["portable".into()]), "{sets:?}");
    // Channels of 16 to 128: narrow enough for portable code, and every algorithm of the convolution.
    let vgg = "train --model vgg11 --width 0.25 --norm batch --data images --limit-train 16 --limit-test 8 --batch 8 --lr 0.01";
    for (name, run) in [
        ("vgg", format!("{vgg} --steps 2 --probe landscape --probe-points 2")),
        ("direct", format!("{vgg} --steps 1 --direct-convolution")),
        ("dln", "train --model dln --samples 50 --norm batch --steps 3 --probe landscape,ics".into()),
        ("l1", "train --model dln --samples 50 --norm l1 --steps 3".into()),
    ] {
        let files = |isa: &String| {
            let out = format!("{name}-{isa}");
            let args = format!("{run} --device cpu --out {out} --quiet");
            let ran = normscape(dir.path()).args(args.split_whitespace()).env("NORMSCAPE_ISA", isa).output().unwrap();
            assert!(ran.status.success(), "{}", text(&ran.stderr));
            let folder = dir.path().join(out);
            let rows = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
            // The last column is the time.
            let rows: Vec<String> = rows.lines().map(|row| row.rsplit_once(',').unwrap().0.into()).collect();
            (rows, std::fs::read(folder.join("landscape.npz")).ok())
        };
        let widest = files(&sets[0]);
        for isa in &sets[1..] {
            assert!(files(isa) == widest, "{name}: {isa} gives other bits than {}", sets[0]);
        }
    }
    let record = |name: &str| std::fs::read_to_string(dir.path().join(format!("{name}-portable/run.toml"))).unwrap();
    assert!(
        record("direct").contains("direct_convolution = true") && record("vgg").contains("direct_convolution = false")
    );
}

#[test]
fn the_emulator_trains_and_keeps_its_precision() {
    let dir = room();
    let line = "train --model dln --depth 3 --samples 50 --steps 4 --norm batch --device emulator --precision";
    for precision in ["f32", "tf32", "bf16"] {
        done(dir.path(), &format!("{line} {precision} --out {precision} --quiet"));
        let record = std::fs::read_to_string(dir.path().join(precision).join("run.toml")).unwrap();
        assert!(record.contains("device = \"emulator\"") && record.contains(&format!("precision = \"{precision}\"")));
    }
    let said = refused(dir.path(), "train --resume --out bf16 --steps 6 --device cpu --precision f32");
    assert!(said.contains("precision") || said.contains("device"), "{said}");
    done(dir.path(), "train --resume --out bf16 --steps 6 --device emulator --quiet");
    assert_eq!(std::fs::read_to_string(dir.path().join("bf16/metrics.csv")).unwrap().lines().count(), 8);
}

#[test]
fn no_command_is_told_what_there_is() {
    let dir = room();
    for (line, names) in [("", "train, probe, op"), ("data", "fetch, inspect, sample")] {
        let out = run(dir.path(), line);
        assert_eq!(out.status.code(), Some(2));
        let (help, said) = (text(&out.stdout), text(&out.stderr));
        assert!(help.contains(&format!("Usage: normscape {line}")), "{help}");
        assert!(said.lines().count() == 1 && said.contains(names), "{said}");
    }
}

#[test]
fn arguments_may_stand_in_a_file() {
    let dir = room();
    std::fs::write(dir.path().join("args"), "--model\ndln\n\n--steps\r\n2\n--out\nmy run\n").unwrap();
    done(dir.path(), "train @args --quiet");
    assert!(dir.path().join("my run/run.toml").is_file());
    std::fs::write(dir.path().join("nested"), "train\n@args\n").unwrap();
    let said = refused(dir.path(), "@nested");
    assert!(said.contains("nested, line 2: names another file"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_is_no_error() {
    let dir = room();
    for line in ["--help", "info", "completions bash", "data inspect gaussian"] {
        let mut child =
            normscape(dir.path()).args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""), "{line}");
    }
}

#[test]
fn completions_and_info_say_something() {
    let dir = room();
    for shell in ["bash", "zsh", "fish"] {
        let script = done(dir.path(), &format!("completions {shell}"));
        assert!(script.contains("checkpoint-every"), "{shell}");
    }
    let info: serde_json::Value = serde_json::from_str(&done(dir.path(), "info --json")).unwrap();
    assert_eq!((&info["version"], &info["auto"]["device"]), (&env!("CARGO_PKG_VERSION").into(), &"cpu".into()));
    assert!(done(dir.path(), "info").contains("processor"));
}

#[test]
fn sets_are_inspected_and_shown() {
    let dir = room();
    let set: serde_json::Value =
        serde_json::from_str(&done(dir.path(), "data inspect images --seed 3 --json")).unwrap();
    assert_eq!(set["train_per_class"], serde_json::json!(vec![5000; 10]));
    assert!(done(dir.path(), "data inspect images --seed 3").contains(set["sha256"].as_str().unwrap()));
    let set: serde_json::Value = serde_json::from_str(&done(dir.path(), "data inspect gaussian --json")).unwrap();
    assert_eq!(set["arrays"]["x"]["shape"], serde_json::json!([1000, 10]));
    done(dir.path(), "data sample images --per-class 2 --out sheet.png");
    let png = std::fs::read(dir.path().join("sheet.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
}

#[test]
fn an_operator_answers_a_case() {
    let dir = room();
    let path = dir.path();
    let case = |expected: Vec<f32>| {
        let arrays = Arrays::from([
            ("x".into(), Array::f32([2, 2], vec![1.0, -2.0, 3.0, -4.0])),
            ("grad_y".into(), Array::f64([2, 2], vec![1.0, 1.0, 1.0, 1.0])),
            ("expect.y".into(), Array::f32([2, 2], expected)),
        ]);
        npz::write(&path.join("case.npz"), &arrays).unwrap();
    };
    case(vec![1.0, 0.0, 3.0, 0.0]);
    let said = done(path, "op relu --input case.npz --output out.npz");
    assert!(said.contains("y") && said.contains("0.00e0"), "{said}");
    let want = Arrays::from([
        ("grad_x".into(), Array::f32([2, 2], vec![1.0, 0.0, 1.0, 0.0])),
        ("y".into(), Array::f32([2, 2], vec![1.0, 0.0, 3.0, 0.0])),
    ]);
    assert_eq!(npz::read(&path.join("out.npz")).unwrap(), want);
    // In f64, as JSON, and wrong: ‖(0, 0, 3, 0)‖/‖(1, 0, 0, 0)‖.
    case(vec![1.0, 0.0, 0.0, 0.0]);
    let said = done(path, "op relu --input case.npz --output out.npz --precision f64 --json");
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["arrays"]["y"], serde_json::json!({ "shape": [2, 2], "relative_error": 3.0 }));
    assert_eq!(npz::read(&path.join("out.npz")).unwrap()["y"], Array::f64([2, 2], vec![1.0, 0.0, 3.0, 0.0]));
    assert!(refused(path, "op linear --input case.npz --output other.npz").contains("case.npz: array weight"));
    assert!(refused(path, "op swish --input case.npz --output other.npz").contains("conv2d, linear"));
    assert!(!path.join("other.npz").exists());
}

#[test]
fn a_network_answers_a_case() {
    let dir = room();
    let path = dir.path();
    // One linear layer W = (2): loss Σ (2x − target)² over x = 1, 3 and targets 1, 5: 1 + 1; gradient 2·1·1 + 2·1·3 = 8.
    let mut arrays = Arrays::from([
        ("x".into(), Array::f64([2, 1], vec![1.0, 3.0])),
        ("target".into(), Array::f64([2, 1], vec![1.0, 5.0])),
        ("fc1.weight".into(), Array::f64([1, 1], vec![2.0])),
        ("attr.model".into(), Array::scalar_text("dln")),
        ("attr.norm".into(), Array::scalar_text("none")),
        ("attr.depth".into(), Array::scalar_i64(1)),
        ("attr.dim".into(), Array::scalar_i64(1)),
        ("attr.steps".into(), Array::f64([1], vec![0.125])),
        ("expect.grad.fc1.weight".into(), Array::f64([1, 1], vec![8.0])),
    ]);
    npz::write(&path.join("case.npz"), &arrays).unwrap();
    let said = done(path, "probe --input case.npz --output out.npz --precision f64 --json");
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["whole"]["grad.*"]["relative_error"], 0.0, "{said}");
    assert!(done(path, "probe --input case.npz --output out.npz --precision f64").contains("as one vector"));
    let got = npz::read(&path.join("out.npz")).unwrap();
    assert_eq!(got["loss"], Array::scalar_f64(2.0));
    assert_eq!(got["grad.fc1.weight"], Array::f64([1, 1], vec![8.0]));
    // At W = 2 − 0.125·8 = 1: loss 0 + 4, gradient 2·(−2)·3 = −12, so β = 20/(0.125·8).
    assert_eq!(got["landscape.loss"], Array::f64([1], vec![4.0]));
    assert_eq!(got["landscape.grad_l2_diff"], Array::f64([1], vec![20.0]));
    assert_eq!(got["landscape.beta"], Array::f64([1], vec![20.0]));
    arrays.insert("fc2.weight".into(), Array::f64([1, 1], vec![2.0]));
    npz::write(&path.join("case.npz"), &arrays).unwrap();
    assert!(refused(path, "probe --input case.npz --output out.npz").contains("array fc2.weight: is unknown"));
}

/// Sends a program a signal.
#[cfg(unix)]
pub fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_download_keeps_what_has_arrived() {
    use std::io::{BufRead, BufReader, Write};
    let dir = room();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("data fetch --url http://{}/x --to there", server.local_addr().unwrap());
    let mut command = normscape(dir.path());
    let child = command.args(line.split(' ')).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut connection = server.accept().unwrap().0;
    let request = BufReader::new(connection.try_clone().unwrap()).lines().map(Result::unwrap);
    assert!(request.take_while(|line| !line.is_empty()).count() > 0);
    // The first bytes come, and then no more.
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 170052171\r\n\r\nfirst bytes").unwrap();
    let part = dir.path().join("there/cifar-10-binary.tar.gz.part");
    while std::fs::read(&part).is_ok_and(|bytes| bytes.len() < 11) {
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "INT");
    let out = child.wait_with_output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.lines().last().unwrap().contains("what has arrived is kept in there"), "{said}");
    assert_eq!(std::fs::read(&part).unwrap(), b"first bytes");
}

#[test]
fn the_papers_statements_are_evaluated() {
    let dir = room();
    let json = done(dir.path(), "theory --instances 200 --m 5 --lambda 2 --seed 4 --json --quiet");
    let found: BTreeMap<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    for (name, kind, holds) in [
        ("theorem_4_1", "identity", true),
        ("theorem_4_4_printed_c", "printed", false),
        ("own_fact_c1", "identity", true),
    ] {
        let row = &found[name];
        assert_eq!((row["kind"].as_str(), row["holds"].as_bool()), (Some(kind), Some(holds)), "{name}: {row}");
        for field in ["instances", "max_residual", "min_slack", "premise_held", "failing_share"] {
            assert!(row[field].is_number(), "{name} {field}: {row}");
        }
    }
    let table = done(dir.path(), "theory --instances 20 --loss linear --device cpu --precision f64 --quiet");
    assert!(table.starts_with("20 instances of m = 8, λ = 1, losses linear, seed 0\n"), "{table}");
    assert!(table.contains("\ntheorem_c1_ii_linear "), "{table}");
}
