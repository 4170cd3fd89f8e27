//! The files that `train` writes into a run's folder, and how a run is resumed.

#[cfg(unix)]
use super::signal;
use super::{done, normscape, refused, room, run, text};
use normscape::files::{Array, npz};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What of a run's folder must not depend on how it was made: the rows without `seconds`, and every other file's bytes at
/// its last step.
pub fn results(run: &Path, last: u64) -> (Vec<String>, BTreeMap<&'static str, Vec<u8>>) {
    let rows = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let rows = rows.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
    let folder = format!("checkpoints/step-{last}");
    let read = |name: &str| std::fs::read(run.join(name)).unwrap();
    let files = BTreeMap::from([
        ("parameters", read(&format!("{folder}/parameters.safetensors"))),
        ("state", read(&format!("{folder}/state.safetensors"))),
        ("landscape", read("landscape.npz")),
    ]);
    (rows, files)
}

#[test]
fn a_run_leaves_its_files_and_goes_on_to_the_same_bits() {
    let dir = room();
    let path = dir.path();
    let line = "train --model dln --depth 5 --samples 100 --norm batch --noise --momentum 0.5 --probe landscape --probe-every 10 --quiet";
    let said = done(path, &format!("{line} --steps 30 --out part --json"));
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&answer["last"]["step"], &answer["diverged"]), (&30.into(), &serde_json::Value::Null));
    let (rows, _) = results(&path.join("part"), 30);
    assert_eq!(rows.len(), 1 + 31);
    assert_eq!(rows[0], "step,epoch,loss,train_accuracy,test_loss,test_accuracy,lr");
    assert_eq!(rows[31].split(',').collect::<Vec<_>>()[..2], ["30", "30"]);
    let record = std::fs::read_to_string(path.join("part/run.toml")).unwrap();
    assert!(
        record.contains("norm = \"batch\"") && record.contains("steps = 30") && record.contains("device = \"cpu\"")
    );
    let landscape = npz::read(&path.join("part/landscape.npz")).unwrap();
    assert_eq!(landscape["step"], Array::i64([4], vec![0, 10, 20, 30]));
    assert_eq!(landscape["beta"].shape, [4, 8]);
    // Longer, with other threads: what an uninterrupted run gives.
    done(path, "train --resume --out part --steps 45 --threads 1");
    done(path, &format!("{line} --steps 45 --out whole --threads 2"));
    assert_eq!(results(&path.join("part"), 45), results(&path.join("whole"), 45));
    // The same again changes nothing.
    done(path, "train --resume --out part");
    assert_eq!(results(&path.join("part"), 45), results(&path.join("whole"), 45));
}

#[test]
fn a_run_goes_on_as_itself_only() {
    let dir = room();
    let path = dir.path();
    done(path, "train --model dln --samples 50 --norm noisy --steps 3 --out run --quiet");
    for (option, says) in [
        ("--lr 0.1", "--lr 0.1: the run's is 1e-6"),
        ("--norm l2", "--norm l2: the run's is batch"),
        ("--seed 4", "--seed 4: the run's is 0"),
        ("--model vgg11", "--model vgg11: the run's is dln"),
        ("--steps 2", "--steps 2: the run's are 3"),
        ("--precision f32", "--precision f32: the run's is f64"),
        ("--mean-loss", "--mean-loss true: the run's is false"),
        ("--probe landscape", "--probe landscape"),
        ("--limit-train 7", "--limit-train 7: the run's is not set"),
        ("--keep-checkpoints 3", "--keep-checkpoints 3: the run's is 2"),
    ] {
        let said = refused(path, &format!("train --resume --out run {option}"));
        assert!(said.contains(says), "{option}: {said}");
    }
    done(path, "train --resume --out run --model dln --norm noisy --lr 1e-6 --steps 5 --checkpoint-every 1 --quiet");
    assert_eq!(std::fs::read_dir(path.join("run/checkpoints")).unwrap().count(), 2);
}

#[test]
fn a_deep_linear_network_is_trained_in_f64_but_where_something_else_was_asked_for() {
    let dir = room();
    let recorded = |out: &str| std::fs::read_to_string(dir.path().join(out).join("run.toml")).unwrap();
    for (out, asked, precision) in [("plain", "", "f64"), ("single", "--precision f32", "f32")] {
        let line =
            format!("train --model dln --depth 3 --samples 50 --steps 3 --device cpu --out {out} --quiet {asked}");
        done(dir.path(), &line);
        assert!(recorded(out).contains(&format!("precision = \"{precision}\"")), "{}", recorded(out));
        // What goes on keeps the precision of its record, asked for or not.
        done(dir.path(), &format!("train --resume --steps 5 --out {out} --quiet"));
        assert!(recorded(out).contains(&format!("precision = \"{precision}\"")), "{}", recorded(out));
    }
}

#[test]
fn a_run_that_diverges_is_saved_and_says_so() {
    let dir = room();
    let out = run(dir.path(), "train --model dln --lr 1 --steps 50 --out run --quiet");
    let said = text(&out.stderr);
    assert_eq!((out.status.code(), said.lines().count()), (Some(4), 1), "{said}");
    assert!(said.contains("training diverged at step 2") && said.contains("saved in run"), "{said}");
    assert!(dir.path().join("run/checkpoints/step-2/parameters.safetensors").is_file());
}

#[cfg(unix)]
#[test]
fn interrupted_runs_are_saved_and_go_on_to_the_same_bits() {
    let dir = room();
    let path = dir.path();
    let line = "train --model vgg11 --width 0.05 --norm batch --noise --augment --data images --limit-train 320 --limit-test 64 \
                --batch 32 --eval-every 50 --probe landscape --probe-every 40 --probe-points 2 --steps 150 --seed 5";
    let whole =
        normscape(path).args(format!("{line} --out whole --quiet").split_whitespace()).stdout(Stdio::null()).spawn();
    for (name, args) in
        [("INT", format!("{line} --out part --checkpoint-every 20")), ("TERM", "train --resume --out part".into())]
    {
        let folder = path.join("part/checkpoints");
        let newest = || {
            let names = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
            names.filter_map(|name| name.to_str()?.strip_prefix("step-")?.parse::<u64>().ok()).max().unwrap_or(0)
        };
        let before = newest();
        let mut child =
            normscape(path).args(args.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while newest() == before && child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        signal(&child, name);
        let out = child.wait_with_output().unwrap();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(130), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains(&format!("interrupted: step {} is saved in part", newest())), "{said}");
        assert!(last.contains("normscape train --resume --out part"), "{said}");
    }
    done(path, "train --resume --out part --threads 1 --quiet");
    assert!(whole.unwrap().wait().unwrap().success());
    assert_eq!(results(&path.join("part"), 150), results(&path.join("whole"), 150));
}

#[test]
fn train_takes_its_images_from_the_environment_unless_data_says_otherwise() {
    let dir = room();
    let vgg = "train --model vgg11 --width 0.02 --limit-train 8 --limit-test 4 --batch 4 --steps 1 --device cpu";
    let said = |place: &str, line: &str| {
        let line = format!("{vgg} {line}");
        let out = normscape(dir.path()).args(line.split_whitespace()).env("NORMSCAPE_DATA", place).output().unwrap();
        (out.status.code(), text(&out.stderr))
    };
    let (code, words) = said("images", "--out one");
    assert_eq!(code, Some(0), "{words}");
    let line = words.lines().find(|line| line.starts_with("data: ")).unwrap();
    assert!(line.ends_with(", named by NORMSCAPE_DATA"), "{line}");
    let record = std::fs::read_to_string(dir.path().join("one/run.toml")).unwrap();
    assert!(record.contains("data = \"images\""), "{record}");
    // --data wins, and a run that goes on keeps its own.
    let (code, words) = said("nowhere", "--data images --out two");
    assert!(code == Some(0) && !words.contains("NORMSCAPE_DATA"), "{words}");
    let resumed = normscape(dir.path())
        .args("train --resume --out one --steps 2 --device cpu".split_whitespace())
        .env("NORMSCAPE_DATA", "nowhere")
        .output()
        .unwrap();
    assert!(resumed.status.success() && !text(&resumed.stderr).contains("NORMSCAPE_DATA"), "{}", text(&resumed.stderr));
    let (code, words) = said("nowhere", "--out three");
    assert!(code == Some(2) && words.contains("nowhere: does not exist"), "{words}");
    // What is set to nothing is not set, and a deep linear network has its own data.
    let (code, words) = said("", "--out three");
    assert!(code == Some(2) && words.contains("no images to train on") && words.contains("NORMSCAPE_DATA"), "{words}");
    let line = "train --model dln --depth 2 --samples 20 --steps 1 --device cpu --out four";
    let out = normscape(dir.path()).args(line.split_whitespace()).env("NORMSCAPE_DATA", "nowhere").output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
}
