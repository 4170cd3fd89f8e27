//! Signals, and the state of a run after each.

use super::runs::results;
use super::{done, normscape, one_line, room, signal, text};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run that takes some seconds at the least, and saves nothing by itself.
const RUN: &str = "train --model dln --depth 5 --samples 100 --norm batch --seed 3 --probe landscape --probe-every 1000 \
                   --threads 1 --save-every-seconds 0";
/// So many steps that nobody waits for its end.
const ENDLESS: &str = "--steps 100000000";

fn start(dir: &Path, line: &str) -> Child {
    // Under `nohup` a program would begin with HUP ignored. A handler is not handed on: with one here it begins as from a terminal.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).unwrap();
    let mut command = normscape(dir);
    command.args(line.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for something that must come.
#[track_caller]
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn newest(run: &Path) -> Option<u64> {
    let names = std::fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()).max()
}

/// Waits until a run has made some steps: its log is there, and then some time goes by.
fn under_way(run: &Path) {
    wait_for("metrics.csv", || run.join("metrics.csv").exists());
    std::thread::sleep(Duration::from_millis(50));
}

#[track_caller]
fn saved(out: &Output, run: &Path) -> u64 {
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    let step = newest(run).expect("something is saved");
    assert!(said.lines().last().unwrap().contains(&format!("interrupted: step {step} is saved in")), "{said}");
    step
}

#[test]
fn every_signal_that_asks_to_end_saves_and_once_more_at_once_changes_nothing() {
    let dir = room();
    let path = dir.path();
    for name in ["INT", "TERM", "HUP", "USR1", "USR2", "XCPU"] {
        let run = path.join(name);
        let child = start(path, &format!("{RUN} {ENDLESS} --quiet --out {name}"));
        under_way(&run);
        // As wrappers and schedulers send it, which signal a process and then its group.
        for _ in 0..3 {
            signal(&child, name);
            std::thread::sleep(Duration::from_millis(5));
        }
        let step = saved(&child.wait_with_output().unwrap(), &run);
        // To the bits of a run that nobody disturbed.
        done(path, &format!("{RUN} --steps {step} --quiet --out whole-{name}"));
        let rows = |run: &Path| results(run, step).0;
        let whole = rows(&path.join(format!("whole-{name}")));
        assert_eq!(rows(&run)[..=step as usize], whole[..=step as usize], "{name}");
        let parameters =
            |run: &Path| std::fs::read(run.join(format!("checkpoints/step-{step}/parameters.safetensors"))).unwrap();
        assert_eq!(parameters(&run), parameters(&path.join(format!("whole-{name}"))), "{name}");
    }
}

#[test]
fn a_hang_up_that_was_ignored_stays_ignored() {
    let dir = room();
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_normscape");
    command.args(["-c", &format!("trap '' HUP; exec {program} {RUN} {ENDLESS} --quiet --out run")]);
    let child = command.current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let run = dir.path().join("run");
    under_way(&run);
    signal(&child, "HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(newest(&run), None, "the run goes on");
    signal(&child, "TERM");
    saved(&child.wait_with_output().unwrap(), &run);
}

#[test]
fn a_run_is_saved_by_time_and_says_where_it_goes_on() {
    let dir = room();
    let path = dir.path();
    let run = path.join("run");
    let line = RUN.replace("--save-every-seconds 0", "--save-every-seconds 1");
    let mut child = start(path, &format!("{line} {ENDLESS} --quiet --out run"));
    wait_for("a checkpoint", || newest(&run).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let step = newest(&run).unwrap();
    let child = start(path, "train --resume --out run --save-every-seconds 0");
    under_way(&run);
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "TERM");
    let out = child.wait_with_output().unwrap();
    assert!(saved(&out, &run) > step);
    assert!(text(&out.stderr).contains(&format!("going on at step {step} of 100000000\n")), "{}", text(&out.stderr));

    // Without --save-every-seconds it is every five minutes, and a run that was killed before says that it starts anew.
    let mut child =
        start(path, &format!("{} {ENDLESS} --quiet --out early", RUN.replace("--save-every-seconds 0", "")));
    under_way(&path.join("early"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(newest(&path.join("early")), None);
    let child = start(path, "train --resume --out early");
    under_way(&path.join("early"));
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "TERM");
    let said = text(&child.wait_with_output().unwrap().stderr);
    assert!(said.contains("the run starts at step 0 of 100000000: nothing was saved after it\n"), "{said}");
}

#[test]
fn a_job_that_is_started_again_goes_on() {
    let dir = room();
    let path = dir.path();
    let run = path.join("run");
    // A scheduler has made the folder for its log.
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("slurm-1.out"), "").unwrap();
    let line = format!("{RUN} --resume-if-there --out run");
    let child = start(path, &format!("{line} --steps 3000"));
    under_way(&run);
    signal(&child, "USR1");
    let out = child.wait_with_output().unwrap();
    // Where the machine is fast it has ended.
    if out.status.code() != Some(0) {
        saved(&out, &run);
    }
    done(path, &format!("{line} --steps 3000 --quiet"));
    done(path, &format!("{RUN} --steps 3000 --quiet --out whole"));
    assert_eq!(results(&run, 3000), results(&path.join("whole"), 3000));
    // A run that has ended ends again, and one that needs more goes on.
    done(path, &format!("{line} --steps 3000 --quiet"));
    done(path, &format!("{line} --steps 3001 --quiet"));
    for (line, says) in [
        (format!("{RUN} --resume-if-there --steps 3001 --lr 0.1 --out run"), "--lr 0.1: the run's is 1e-6"),
        (format!("{RUN} --steps 3001 --out run"), "run: exists; choose another --out"),
        ("train --resume-if-there --out run".into(), "--model"),
        ("train --resume-if-there --resume --out run".into(), "cannot be used with"),
    ] {
        let said = super::refused(path, &line);
        assert!(said.contains(says), "{line}: {said}");
    }
    std::fs::create_dir(path.join("taken")).unwrap();
    std::fs::write(path.join("taken/notes.txt"), "").unwrap();
    let said = super::refused(path, &format!("{RUN} --resume-if-there --steps 3 --out taken"));
    assert!(said.contains("taken: exists"), "{said}");
}

#[test]
fn of_two_starts_one_works_and_the_other_says_so() {
    let dir = room();
    let path = dir.path();
    for (number, option) in
        ["", "--resume-if-there", "", "--resume-if-there", "", "--resume-if-there"].into_iter().enumerate()
    {
        let name = format!("run{number}");
        let mut both = [(); 2].map(|()| start(path, &format!("{RUN} {ENDLESS} --quiet {option} --out {name}")));
        let mut loser = None;
        wait_for("the end of one", || {
            loser = both.iter_mut().position(|child| child.try_wait().unwrap().is_some());
            loser.is_some()
        });
        let [first, second] = both;
        let (lost, works) = if loser == Some(0) { (first, second) } else { (second, first) };
        let said = one_line(&lost.wait_with_output().unwrap(), &name);
        assert!(said.contains(&format!("{name}: another run is working in this folder; wait for it")), "{said}");
        under_way(&path.join(&name));
        signal(&works, "TERM");
        saved(&works.wait_with_output().unwrap(), &path.join(&name));
    }
}

#[test]
fn a_refused_start_leaves_nothing_that_stops_the_next() {
    let dir = room();
    let path = dir.path();
    let line = "train --model vgg11 --width 0.05 --steps 1 --limit-train 200 --limit-test 100 --quiet --out run";
    let said = super::refused(path, &format!("{line} --data nowhere"));
    assert!(said.contains("nowhere") && !path.join("run").exists(), "{said}");
    done(path, &format!("{line} --data images"));
}

#[test]
fn a_file_beyond_its_limit_is_an_error_like_another() {
    let dir = room();
    let program = env!("CARGO_BIN_EXE_normscape");
    // In blocks of 512 bytes: the rows of 3000 steps need more, the record does not.
    let script = format!("ulimit -f 16; exec {program} {RUN} --steps 3000 --quiet --out run");
    let out = std::process::Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    let said = one_line(&out, "ulimit -f");
    assert!(said.contains("File too large") && said.contains("ulimit -f"), "{said}");
    done(dir.path(), "train --resume --quiet --out run");
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_whose_result_is_in_files_does_not_fail_for_what_it_could_not_print() {
    let dir = room();
    let path = dir.path();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for line in [
        format!("{RUN} --steps 3 --out run --quiet"),
        "train --resume --out run --quiet --json".into(),
        "data sample images --per-class 1 --out sheet.png".into(),
    ] {
        let out = normscape(path).args(line.split_whitespace()).stdout(full()).output().unwrap();
        let said = text(&out.stderr);
        assert_eq!((out.status.code(), said.lines().count()), (Some(0), 1), "{line}: {said}");
        assert!(said.starts_with("warning: standard output: cannot write"), "{line}: {said}");
    }
}
