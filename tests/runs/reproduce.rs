//! `normscape reproduce` as a user runs it: the files that it writes, that it continues after any interruption to the same bytes, and what
//! it refuses. Runs use the scale `smoke`, which takes seconds.

use normscape::files::npz;
use normscape::report::without_cost;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(super) fn program(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normscape"));
    command.args(line.split_whitespace()).current_dir(dir).stdin(Stdio::null()).env_remove("NORMSCAPE_DATA");
    // Temporary files go there too: what says that nothing is left means them.
    command.env("HOME", dir).env("TMPDIR", dir);
    command
}

#[track_caller]
pub(super) fn run(dir: &Path, line: &str, code: i32) -> Output {
    let out = program(dir, line).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{line}: {said}");
    out
}

#[track_caller]
pub(super) fn refused(dir: &Path, line: &str, says: &[&str]) {
    let out = run(dir, line, 2);
    let said = String::from_utf8(out.stderr).unwrap();
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && out.stdout.is_empty(), "{line}: {said}");
    says.iter().for_each(|part| assert!(last.contains(part), "{line}: no `{part}` in: {last}"));
}

/// Everything below a folder that must not depend on when, where and how it was made: all but times and the lock.
fn results(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "slurm" {
            found.extend(results(&path).into_iter().map(|(inside, bytes)| (Path::new(&name).join(inside), bytes)));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let bytes = match name.as_str() {
                "timings.json" | ".lock" => continue,
                "report.html" => without_cost(&String::from_utf8(bytes).unwrap()).into_bytes(),
                "metrics.csv" => {
                    let text = String::from_utf8(bytes).unwrap();
                    let rows = text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + "\n");
                    rows.collect::<String>().into_bytes()
                }
                _ => bytes,
            };
            found.insert(name.into(), bytes);
        }
    }
    found
}

#[track_caller]
pub(super) fn same(a: &Path, b: &Path) {
    let (a, b) = (results(a), results(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let different: Vec<_> = a.iter().filter(|(path, bytes)| b[*path] != **bytes).map(|(path, _)| path).collect();
    assert!(different.is_empty(), "{different:?}");
}

pub(super) const FIG9: &str = "reproduce fig9 theory --network dln --scale smoke --quiet --out";

#[test]
fn an_experiment_leaves_figures_data_claims_and_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(dir.path(), &format!("{FIG9} all --json"), 0);
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    let folder = dir.path().join("all");
    let claims: Value = serde_json::from_slice(&std::fs::read(folder.join("claims.json")).unwrap()).unwrap();
    assert_eq!(answer["claims"], claims);
    let list = claims.as_array().unwrap();
    let verdict =
        |id: &str| list.iter().find(|claim| claim["id"] == id).unwrap()["verdict"].as_str().unwrap().to_owned();
    // Nothing can be concluded from six steps; the theorems can be tested anywhere.
    assert_eq!(verdict("fig9.c"), "needs a larger scale");
    assert_eq!((verdict("theory.4.1"), verdict("theory.fact-c1")), ("true as corrected".into(), "reproduced".into()));
    let of_paper = list.iter().filter(|claim| claim["kind"] == "paper");
    let counted: u64 = answer["verdicts"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counted as usize, of_paper.count());
    for claim in list {
        for key in ["id", "figure", "place", "statement", "measured", "rule", "verdict", "scale", "runs"] {
            assert!(!claim[key].is_null(), "{key} of {claim}");
        }
    }
    for kind in ["svg", "png", "csv", "npz"] {
        assert!(folder.join(format!("figures/fig9.{kind}")).metadata().unwrap().len() > 500, "{kind}");
    }
    // What is drawn is what the runs found: β of the middle of two seeds, over the eight points of the paper's range.
    let figure = npz::read(&folder.join("figures/fig9.npz")).unwrap();
    let highest = |seed: u32| -> Vec<f64> {
        let run = folder.join(format!("runs/dln-batch-{seed}/landscape.npz"));
        let beta = npz::read(&run).unwrap()["beta"].clone();
        let points = beta.shape[1];
        let values = beta.to_f64().unwrap();
        values.chunks(points).map(|row| row[..8].iter().copied().fold(f64::MIN, f64::max)).collect()
    };
    let middle: Vec<f64> = highest(1).iter().zip(highest(2)).map(|(a, b)| 0.5 * (a + b)).collect();
    let drawn: Vec<Vec<f64>> = figure.values().filter_map(|array| array.to_f64()).collect();
    let has = drawn.iter().any(|values| {
        values.len() == 2 * middle.len() && values.chunks(2).zip(&middle).all(|(point, y)| point[1] == *y)
    });
    assert!(has, "the figure's data hold no such line: {:?}", figure.keys());
    let report = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(report.contains("Theorem 4.1") && report.contains("fig9.c") && without_cost(&report) != report);
}

#[test]
fn under_strict_what_is_not_borne_out_is_an_error_and_everything_is_written_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let own = "title = \"own\"\nvalue.loss = { quantity = \"loss\", label = \"loss\" }\n\
               [[run]]\nid = \"one\"\nmodel = \"dln\"\ndepth = 3\nsamples = 20\nsteps = 2\n\
               [[claim]]\nid = \"own.loss\"\nplace = \"\"\nstatement = \"The loss is negative.\"\nfrom = \"smoke\"\n\
               test = [{ run = \"one\", value = \"loss\", is = \"<\", than = 0.0 }]\n";
    std::fs::write(dir.path().join("own.toml"), own).unwrap();
    let line = "reproduce own.toml --scale smoke --quiet --out";
    run(dir.path(), &format!("{line} lenient"), 0);
    let strict = run(dir.path(), &format!("{line} strict --strict"), 5);
    assert!(String::from_utf8_lossy(&strict.stderr).contains("own.loss"));
    same(&dir.path().join("lenient"), &dir.path().join("strict"));
}

#[test]
fn what_is_finished_is_not_made_again_and_the_bytes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &format!("{FIG9} one --jobs 1 --threads 1"), 0);
    run(dir.path(), &format!("{FIG9} two --jobs 2 --threads 3"), 0);
    same(&dir.path().join("one"), &dir.path().join("two"));
    let rows = |name: &str| std::fs::metadata(dir.path().join(name).join("runs/dln-none-1/metrics.csv"));
    let before = rows("one").unwrap().modified().unwrap();
    run(dir.path(), &format!("{FIG9} one"), 0);
    assert_eq!(rows("one").unwrap().modified().unwrap(), before, "a finished run was made again");
    same(&dir.path().join("one"), &dir.path().join("two"));
}

#[test]
fn killed_at_any_moment_and_started_again_it_ends_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &format!("{FIG9} whole"), 0);
    // Ever later, until it has come to its end.
    let mut ended = false;
    for after in (0..60).map(|i| 40 * (i + 1)) {
        let mut child = program(dir.path(), &format!("{FIG9} parts")).stdout(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(after) {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "after {after} ms: {status}");
                ended = true;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if ended {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(dir.path(), &format!("{FIG9} parts"), 0);
    same(&dir.path().join("whole"), &dir.path().join("parts"));
}

/// An experiment of a user's own: it needs no code.
const OWN: &str = r#"
title = "Two depths"
[value.loss]
quantity = "loss"
label = "training loss"
[[run]]
id = "depth-{depth}"
base = "dln"
norm = "batch"
vary.depth = [3, 4]
smoke = { samples = 40, steps = 5, depth = 3 }
[[panel]]
title = "loss"
show = "loss"
y_log = true
[[claim]]
id = "own.falls"
place = "nowhere"
statement = "The loss falls."
from = "smoke"
test = [{ run = "depth-3", value = "loss", is = "<", than = { steps = "first" } }]
"#;

#[test]
fn a_users_own_experiment_needs_no_code() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("own.toml"), OWN).unwrap();
    run(dir.path(), "reproduce own.toml --scale smoke --quiet --out out", 0);
    let claims = std::fs::read_to_string(dir.path().join("out/claims.json")).unwrap();
    assert!(claims.contains("\"verdict\": \"reproduced\""), "{claims}");
    let csv = std::fs::read_to_string(dir.path().join("out/figures/own.csv")).unwrap();
    assert_eq!(csv.lines().filter(|line| line.contains("line")).count(), 2 * 6, "{csv}");
}

#[test]
fn what_is_wrong_in_an_experiment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to, says) in [
        ("title = \"Two", "titel = \"Two", "titel"),
        ("y_log = true", "y_logg = true", "y_logg"),
        ("show = \"loss\"", "show = \"lost\"", "lost"),
        ("quantity = \"loss\"", "quantity = \"gain\"", "gain"),
        ("quantity = \"loss\"", "quantity = \"landscape.loss\"", "wants the probe landscape of run depth-3"),
        ("run = \"depth-3\", value", "run = \"depth-5\", value", "no run depth-5"),
        ("base = \"dln\"", "base = \"mlp\"", "no base mlp"),
        ("norm = \"batch\"", "norm = \"bach\"", "--norm bach"),
        ("norm = \"batch\"", "nrom = \"batch\"", "nrom"),
        ("is = \"<\"", "is = \"<<\"", "line"),
        ("[[panel]]", "[[panel]", "line"),
        ("id = \"depth-{depth}\"", "id = \"depth\"", "{depth}"),
        ("id = \"depth-{depth}\"", "id = \"../{depth}\"", "not a folder's name"),
        ("smoke = { samples = 40", "smoke = { samples = -40", "run depth"),
    ] {
        assert!(OWN.contains(from), "{from}");
        std::fs::write(dir.path().join("own.toml"), OWN.replacen(from, to, 1)).unwrap();
        refused(dir.path(), "reproduce own.toml --scale smoke --out out", &["own.toml", says]);
    }
    assert!(!dir.path().join("out").exists(), "nothing is left behind by what was refused");
    std::fs::write(dir.path().join("a b.toml"), OWN).unwrap();
    let out = program(dir.path(), "reproduce --out out").arg("a b.toml").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn a_folder_is_worked_in_by_one_and_belongs_to_one_plan() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("own.toml"), OWN.replace("steps = 5", "steps = 2000000")).unwrap();
    let line = "reproduce own.toml --scale smoke --quiet --out out";
    let mut first = program(dir.path(), line).spawn().unwrap();
    let began = Instant::now();
    while !dir.path().join("out/runs/depth-3/metrics.csv").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "the first run never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    refused(dir.path(), line, &["out: another run is working in this folder"]);
    first.kill().unwrap();
    first.wait().unwrap();
    // The same names with other settings are another plan.
    std::fs::write(dir.path().join("own.toml"), OWN).unwrap();
    refused(dir.path(), line, &["out/runs/depth-3: is a run with other settings than the plan's"]);
    assert!(dir.path().join("out/runs/depth-3/run.toml").exists());
}

#[test]
fn a_dry_run_tells_runs_time_and_memory_and_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(dir.path(), "reproduce fig9 --network dln --scale smoke --dry-run --json --quiet --out out", 0);
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(told["runs"].as_array().unwrap().len(), 4);
    assert!(told["seconds"].as_f64().unwrap() > 0.0 && told["bytes"].as_u64().unwrap() > 10_000);
    assert!(!dir.path().join("out").exists());
    assert!((0.0..1.0).contains(&told["uncertainty"].as_f64().unwrap()));
    let list = run(dir.path(), "reproduce --list --json", 0);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 24);
}

/// At the paper's own scale, where a step of a run takes seconds, in less memory than one of its networks.
#[test]
fn a_plan_is_listed_and_its_time_told_at_the_papers_scale() {
    let dir = tempfile::tempdir().unwrap();
    let plan = "reproduce fig4 fig9 design_space --scale paper --data images --jobs 1 --json --quiet";
    let answer = |line: &str| -> Value { serde_json::from_slice(&run(dir.path(), line, 0).stdout).unwrap() };
    let (listed, told) = (answer(&format!("{plan} --list-runs")), answer(&format!("{plan} --dry-run")));
    let runs = |of: &Value| of["runs"].as_array().unwrap().clone();
    assert!(runs(&listed).len() > 10 && runs(&listed).len() == runs(&told).len());
    for (listed, told) in runs(&listed).iter().zip(&runs(&told)) {
        assert!(told["seconds"].as_f64().unwrap() > 0.0, "{told}");
        // A list is what a dry run tells, less the times.
        let mut without = told.clone();
        without.as_object_mut().unwrap().remove("seconds");
        assert_eq!(*listed, without);
    }
    assert_eq!((&listed["bytes"], &listed["at_once"]), (&told["bytes"], &told["at_once"]));
    // A paper's VGG takes longer than its deep linear network, by far.
    let of = |network: &str| {
        let all = runs(&told);
        let mut seconds =
            all.iter().filter(|run| run["network"] == network).map(|run| run["seconds"].as_f64().unwrap());
        seconds.next().unwrap()
    };
    assert!(of("vgg16") > 10.0 * of("dln"), "{} {}", of("vgg16"), of("dln"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // The list for people has a line for each run.
    let text = run(dir.path(), "reproduce fig9 --network dln --scale paper --list-runs", 0);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("dln-batch-3 ") && line.contains("10000")), "{text}");
    refused(dir.path(), "reproduce --list-runs --dry-run", &["--dry-run"]);
}
