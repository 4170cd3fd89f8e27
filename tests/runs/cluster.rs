//! A reproduction in shares, as on the machines of a cluster, without a cluster: processes take the place of machines, and a script that of
//! sbatch. With a real Slurm: `tests/slurm`.

use super::reproduce::{FIG9, program, refused, run, same};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Waits for something that must come.
#[track_caller]
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(dir: &Path, line: &str) -> Child {
    program(dir, line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn term(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}

fn said(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

/// An experiment of one run, so long that nobody waits for its end.
const ENDLESS: &str =
    "title = \"long\"\n[[run]]\nid = \"long\"\nmodel = \"dln\"\ndepth = 3\nsamples = 40\nsteps = 100000000\n";

#[test]
fn shares_made_in_any_order_and_gathered_have_one_machines_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    run(path, &format!("{FIG9} one"), 0);
    for share in ["3/3", "1/3", "2/3", "7/7"] {
        let out = run(path, &format!("{FIG9} shares --json --part {share}"), 0);
        let told: Value = serde_json::from_slice(&out.stdout).unwrap();
        let listed = run(path, &format!("{FIG9} shares --json --list-runs --part {share}"), 0);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let names: Vec<&Value> = listed["runs"].as_array().unwrap().iter().map(|run| &run["run"]).collect();
        assert_eq!(told["runs"].as_array().unwrap().iter().collect::<Vec<_>>(), names, "{share}");
    }
    assert!(!path.join("shares/figures").exists() && !path.join("shares/.lock").exists());
    let told = run(path, &format!("{FIG9} shares --json --gather --dry-run"), 0);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((told["finished"].as_array().unwrap().len(), &told["device"]), (4, &"cpu".into()));
    assert!(told["seconds"].as_f64().unwrap() > 0.0);
    assert!(!path.join("shares/figures").exists(), "a dry run writes nothing");
    let gathered = run(path, &format!("{FIG9} shares --json --gather"), 0);
    let gathered: Value = serde_json::from_slice(&gathered.stdout).unwrap();
    let claims: Value = serde_json::from_slice(&fs::read(path.join("one/claims.json")).unwrap()).unwrap();
    assert_eq!(gathered["claims"], claims);
    same(&path.join("one"), &path.join("shares"));
    // In another precision too, without being told.
    let f32 = FIG9.replace("--out", "--precision f32 --out");
    run(path, &format!("{f32} one32"), 0);
    run(path, &format!("{f32} shares32 --part 1/1"), 0);
    run(path, &format!("{FIG9} shares32 --gather"), 0);
    same(&path.join("one32"), &path.join("shares32"));
}

#[test]
fn a_run_that_is_missing_or_half_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    refused(path, &format!("{FIG9} out --gather"), &["out: 4 of 4 runs are not finished: dln-none-1, dln-none-2"]);
    assert!(!path.join("out").exists());
    run(path, &format!("{FIG9} out --part 1/1"), 0);
    fs::remove_dir_all(path.join("out/runs/dln-batch-2")).unwrap();
    let checkpoints = path.join("out/runs/dln-none-1/checkpoints");
    fs::remove_dir_all(&checkpoints).unwrap();
    let line = format!("{FIG9} out --gather");
    refused(path, &line, &["out: 2 of 4 runs are not finished: dln-none-1, dln-batch-2; make them first"]);
    assert!(!path.join("out/figures").exists());
    let told = run(path, &format!("{line} --dry-run"), 0);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("4 runs: 2 finished, 1 begun, 1 untouched") && told.contains("dln-none-1"), "{told}");
}

#[test]
fn runs_of_two_origins_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    run(path, &format!("{FIG9} out --part 1/1"), 0);
    let record = path.join("out/runs/dln-batch-1/run.toml");
    let text = fs::read_to_string(&record).unwrap();
    let line = format!("{FIG9} out --gather");
    for (from, to, says) in [
        ("device = \"cpu\"", "device = \"cuda\"", "device is cuda, and that of dln-none-1 is cpu"),
        ("commit = \"", "commit = \"x", "program is "),
        ("precision = \"f64\"", "precision = \"f32\"", "precision is f32, and that of dln-none-1 is f64"),
        ("lr = ", "lr = 1", "other settings than the plan's"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&record, text.replacen(from, to, 1)).unwrap();
        refused(path, &line, &["out/runs/dln-batch-1: ", says]);
    }
    fs::write(&record, &text).unwrap();
    refused(path, &format!("{line} --device cuda"), &["--device cuda: the runs in out/runs were made on cpu"]);
    refused(path, &format!("{line} --precision f32"), &["--precision f32: the runs' precision is f64"]);
    // Of two plans in one folder the one on other images is not mistaken for this one's.
    let vgg = "reproduce fig5 fig1 --network vgg --scale smoke --quiet --out out";
    for kind in ["images", "cifar10"] {
        let folder = path.join(format!("out/runs/vgg-none-{kind}-1"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("run.toml"), &text).unwrap();
    }
    let both = ["vgg-none-images-1 on generated images, and vgg-none-cifar10-1 on CIFAR-10", "--data"];
    refused(path, &format!("{vgg} --gather"), &both);
    assert!(!path.join("out/figures").exists());
}

#[test]
fn a_machine_that_lacks_device_or_data_does_not_fall_back_on_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    run(path, &format!("{FIG9} out --part 1/2"), 0);
    for run in fs::read_dir(path.join("out/runs")).unwrap() {
        let record = run.unwrap().path().join("run.toml");
        let text = fs::read_to_string(&record).unwrap();
        fs::write(&record, text.replace("device = \"cpu\"", "device = \"emulator\"").replace("\"f64\"", "\"f32\""))
            .unwrap();
    }
    let out = program(path, &format!("{FIG9} out --part 2/2")).output().unwrap();
    assert_eq!((out.status.code(), out.stdout.len(), said(&out).lines().count()), (Some(3), 0, 1), "{}", said(&out));
    assert!(said(&out).contains("emulator is not available: runs in out/runs were made on it"), "{}", said(&out));
    refused(path, &format!("{FIG9} out --device cpu --part 2/2"), &["--device cpu", "were made on emulator"]);
    // Nor where a GPU was asked for.
    let out = program(path, &format!("{FIG9} new --device cuda:9 --part 2/2")).output().unwrap();
    assert_eq!((out.status.code(), said(&out).lines().count()), (Some(3), 1), "{}", said(&out));

    let folder = path.join("data/runs/vgg-none-cifar10-1");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("run.toml"), "").unwrap();
    let vgg = "reproduce fig1 --network vgg --scale smoke --quiet --out data --part 1/2";
    refused(
        path,
        vgg,
        &["--data: CIFAR-10 is not found on this machine", "vgg-none-cifar10-1 was trained on other images"],
    );
    let elsewhere = vgg.replace("--out data", "--out new");
    refused(path, &format!("{elsewhere} --data nowhere"), &["nowhere: does not exist"]);
    assert_eq!(fs::read_dir(path.join("new/runs")).unwrap().count(), 0, "no run was begun");
    assert_eq!(fs::read_dir(path.join("data/runs")).unwrap().count(), 1, "no run was begun");
}

#[test]
fn of_two_starts_of_a_share_both_end_well_and_each_run_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    run(path, &format!("{FIG9} one"), 0);
    for round in 0..3 {
        let out = format!("two{round}");
        let both = [(); 2].map(|()| start(path, &format!("{FIG9} {out} --part 1/1")));
        for child in both {
            let ended = child.wait_with_output().unwrap();
            assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
        }
        run(path, &format!("{FIG9} {out} --gather"), 0);
        same(&path.join("one"), &path.join(&out));
    }
}

#[test]
fn a_share_waits_for_who_works_on_its_run_and_then_asks_to_be_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::write(path.join("long.toml"), ENDLESS).unwrap();
    let line = "reproduce long.toml --scale smoke --out out --part 1/1";
    let begun = || path.join("out/runs/long/metrics.csv").exists();
    let first = start(path, &format!("{line} --quiet"));
    wait_for("the first start's run", begun);
    // Its patience ends.
    let out = program(path, &format!("{line} --quiet --wait 1")).output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", said(&out));
    let words = "error: after 1.0 s of waiting, out/runs/long: another run is working in this folder";
    assert!(said(&out).starts_with(words) && said(&out).lines().count() == 1, "{}", said(&out));
    // A signal ends the waiting too.
    let waiting = start(path, line);
    std::thread::sleep(Duration::from_millis(700));
    term(&waiting);
    let out = waiting.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", said(&out));
    assert!(said(&out).contains("another process works in its folder; waiting for it"), "{}", said(&out));
    // The holder goes, as if it were killed with its machine, and the run goes on.
    let second = start(path, line);
    std::thread::sleep(Duration::from_millis(700));
    let mut first = first;
    first.kill().unwrap();
    first.wait().unwrap();
    let before = fs::metadata(path.join("out/runs/long/run.toml")).unwrap().modified().unwrap();
    wait_for("the second start's record", || {
        fs::metadata(path.join("out/runs/long/run.toml")).unwrap().modified().unwrap() > before
    });
    std::thread::sleep(Duration::from_millis(300));
    term(&second);
    let out = second.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", said(&out));
    assert!(said(&out).contains("what was done is saved"), "{}", said(&out));
    assert_eq!(fs::read_dir(path.join("out/runs/long/checkpoints")).unwrap().count(), 1);
}

/// A library for LD_PRELOAD whose lock calls fail as on a file system without locks. `None` where there is no C compiler and nobody builds in
/// earnest.
fn without_locks(dir: &Path, code: i32) -> Option<String> {
    let (source, library) = (dir.join("locks.c"), dir.join(format!("locks-{code}.so")));
    let text = format!("#include <errno.h>\nint flock(int file, int how) {{ errno = {code}; return -1; }}\n");
    fs::write(&source, text).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    match built {
        Ok(status) if status.success() => Some(library.to_str().unwrap().to_owned()),
        _ if std::env::var_os("CI").is_none() => None,
        other => panic!("cc: {other:?}"),
    }
}

#[test]
fn where_a_file_system_has_no_locks_shares_say_so_once_and_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    run(path, &format!("{FIG9} one"), 0);
    // ENOLCK, and the kernel's own ENOTSUPP.
    for code in [37, 524] {
        let Some(library) = without_locks(path, code) else { return };
        for how in ["--part 1/2", "--part 2/2", "--gather"] {
            let out = program(path, &format!("{FIG9} out{code} {how}")).env("LD_PRELOAD", &library).output().unwrap();
            assert_eq!(out.status.code(), Some(0), "{code} {how}: {}", said(&out));
            let warned = said(&out).lines().filter(|line| line.contains("its file system has no locks")).count();
            assert_eq!((warned, said(&out).lines().count()), (1, 1), "{code} {how}: {}", said(&out));
        }
        same(&path.join("one"), &path.join(format!("out{code}")));
    }
}

/// A folder of programs that stand for Slurm's: each writes its arguments into `asked` and does what `sbatch` and `scancel` say.
fn slurm(dir: &Path, sbatch: &str) {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let tool = |name: &str, text: &str| {
        let path = bin.join(name);
        let asked = dir.join("asked");
        let text = format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >> '{}'\n{text}\n", asked.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    tool("sbatch", sbatch);
    tool("scancel", "");
    let _ = fs::remove_file(dir.join("asked"));
}

fn asked(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join("asked")).unwrap_or_default().lines().map(Into::into).collect()
}

/// A command that submits; `on` are the words of `--on`.
fn submit(dir: &Path, line: &str, on: &str) -> Output {
    let mut command = program(dir, line);
    // Where the folder is not there yet, there is no sbatch: not one that this machine has either.
    let mut tools = dir.join("bin").into_os_string();
    if dir.join("bin").exists() {
        tools.push(":/usr/bin:/bin");
    }
    command.args(["--on", on]).env("PATH", tools).output().unwrap()
}

/// The first job is 71, the second 72.
const TAKES: &str = "case \"$*\" in *gather.sh) echo 72;; *) echo 71;; esac";

#[test]
fn two_jobs_are_submitted_whose_scripts_make_one_machines_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    run(path, &format!("{FIG9} one"), 0);
    slurm(path, TAKES);
    let line = "reproduce fig9 theory --network dln --scale smoke --quiet --out out/it's --shares 3 --wait 9 --json";
    let out = submit(path, line, "slurm --partition=cpu --comment='two words' -t 10");
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&told["array"], &told["gather"]), (&"71".into(), &"72".into()), "{told}");
    assert_eq!((&told["shares"], &told["runs"]), (&3.into(), &4.into()), "{told}");
    let folder = path.join("out/it's/slurm");
    let words = "--partition=cpu --comment=two words -t 10";
    let dependency = "--dependency=afterany:71";
    assert_eq!(
        asked(path),
        [
            format!("sbatch --parsable {words} {}/part.sh", folder.display()),
            format!("sbatch --parsable {dependency} {words} {}/gather.sh", folder.display()),
        ]
    );
    // From anywhere, as a node runs them.
    let elsewhere = tempfile::tempdir().unwrap();
    let job = |script: &str, task: &str| {
        let mut job = Command::new("bash");
        job.arg(folder.join(script)).current_dir(elsewhere.path()).env("HOME", path).env_remove("NORMSCAPE_DATA");
        let out = job.envs([("SLURM_ARRAY_TASK_ID", task), ("SLURM_ARRAY_JOB_ID", "71")]).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{script} {task}: {}", said(&out));
    };
    ["3", "1", "2"].iter().for_each(|task| job("part.sh", task));
    job("gather.sh", "");
    same(&path.join("one"), &path.join("out/it's"));
    // What is there now is the CPU's.
    let out = submit(path, line, "slurm --gres=gpu:1");
    assert_eq!((out.status.code(), said(&out).lines().count()), (Some(2), 1), "{}", said(&out));
    assert!(said(&out).contains("--device cuda: the runs in"), "{}", said(&out));
    assert_eq!(asked(path).len(), 2);
    let part = fs::read_to_string(folder.join("part.sh")).unwrap();
    for line in [
        "#SBATCH --array=1-3",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:TERM@60",
        "    --device cpu \\",
        "    --wait 9 \\",
    ] {
        assert!(part.lines().any(|of| of == line), "no {line} in {part}");
    }
    assert!(!part.contains("srun ") && !part.contains("--precision"), "{part}");
}

#[test]
fn a_dry_run_prints_what_would_be_submitted_and_takes_little() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    slurm(path, TAKES);
    // What the words ask for is the nodes', whatever this machine has; and of its memory little is taken.
    let program = env!("CARGO_BIN_EXE_normscape");
    let line = "reproduce --scale paper --data images --threads 1 --dry-run --on 'slurm --gres=gpu:1 --time=4:00:00' --out far";
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d 200000; exec {program} {line}")]).current_dir(path).env("HOME", path);
    let out = command.env("PATH", format!("{}:/usr/bin:/bin", path.join("bin").display())).output().unwrap();
    assert_eq!((out.status.code(), said(&out).as_str()), (Some(0), ""));
    let text = String::from_utf8(out.stdout).unwrap();
    let whole = path.canonicalize().unwrap().join("far");
    for part in [
        format!("sbatch --parsable --gres=gpu:1 --time=4:00:00 {}/slurm/part.sh", whole.display()),
        format!("--out {} \\", whole.display()),
        "--device cuda \\".into(),
        "--precision f32 \\".into(),
        "--data images \\".into(),
        "--part \"$SLURM_ARRAY_TASK_ID/64\" &".into(),
        "--gather\n".into(),
    ] {
        assert!(text.contains(&part), "no {part} in {text}");
    }
    assert!(asked(path).is_empty() && !path.join("far").exists(), "nothing is submitted, and nothing written");
}

#[test]
fn a_refused_submission_is_one_line_and_leaves_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let line = "reproduce fig9 --network dln --scale smoke --quiet --out out";
    let refused = |line: &str, on: &str, code: i32, says: &str| {
        let out = submit(path, line, on);
        let said = said(&out);
        assert_eq!((out.status.code(), out.stdout.len(), said.lines().count()), (Some(code), 0, 1), "{on}: {said}");
        assert!(said.starts_with("error: ") && said.contains(says), "{on}: {said}");
    };
    let fresh = |sbatch: &str| {
        slurm(path, sbatch);
        let _ = fs::remove_dir_all(path.join("out"));
    };
    refused(line, "slurm", 3, "sbatch is not available");
    assert!(!path.join("out").exists());
    fresh(TAKES);
    for (on, says) in [
        ("", "--on : no such scheduler"),
        ("pbs -q fast", "--on pbs: no such scheduler; there is slurm; any other scheduler calls --part"),
        ("slurm --array=1-3", "--on: --array=1-3: is not for the words that go to sbatch; --shares N"),
        ("slurm --comment='a", "--on: a quotation without its end"),
    ] {
        refused(line, on, 2, says);
    }
    refused(&format!("{line} --device emulator --precision f64"), "slurm", 2, "no such pair");
    let vgg = "reproduce fig1 --network vgg --scale smoke --quiet --out out";
    refused(&format!("{vgg} --data nowhere/far"), "slurm", 2, "nowhere/far: does not exist");
    refused("reproduce fig1 none.toml --scale smoke --out out", "slurm", 2, "none.toml: does not exist");
    assert!(asked(path).is_empty() && !path.join("out").exists(), "{:?}", asked(path));

    fresh(
        "echo 'sbatch: error: invalid partition specified: gpu' >&2; echo 'sbatch: error: Batch job submission failed' >&2; exit 1",
    );
    refused(
        line,
        "slurm -p gpu",
        2,
        "sbatch: invalid partition specified: gpu; Batch job submission failed; change the words",
    );
    assert_eq!(asked(path).len(), 1);
    fresh("echo 'sbatch: Job 5 to start at noon' >&2");
    refused(line, "slurm --test-only", 2, "printed no job's id");
    // The first is taken and the second refused.
    fresh("case \"$*\" in *gather.sh) echo 'sbatch: error: no' >&2; exit 1;; *) echo '71;far';; esac");
    refused(line, "slurm", 2, "sbatch of the gathering: no; the shares are cancelled (job 71)");
    assert_eq!(asked(path).last().unwrap(), "scancel --clusters=far 71");
}

#[test]
fn what_does_not_go_together_or_is_no_share_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (options, says) in [
        ("--part 0/3", "--part 0/3: not a value that it takes; I/N is needed"),
        ("--part 4/3", "--part 4/3"),
        ("--part 3", "--part 3"),
        ("--part 1/3 --gather", "cannot be used with"),
        ("--part 1/3 --strict", "cannot be used with"),
        ("--gather --list-runs", "cannot be used with"),
        ("--gather --on slurm", "cannot be used with"),
        ("--part 1/2 --on slurm", "cannot be used with"),
        ("--wait 3", "--part"),
        ("--shares 3", "--on"),
        ("--on slurm --shares 0", "--shares 0"),
    ] {
        refused(dir.path(), &format!("reproduce fig9 --scale smoke {options}"), &[says]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn shells_complete_what_is_for_several_machines() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(run(dir.path(), &format!("completions {shell}"), 0).stdout).unwrap();
        for option in ["part", "gather", "on", "shares", "wait", "list-runs"] {
            assert!(
                script.contains(&format!("--{option}")) || script.contains(&format!("-l {option} ")),
                "{shell}: {option}"
            );
        }
    }
}
