//! SIGKILL at random moments: whatever is then on the disk must be enough to resume.

use crate::program::{RUN, done, nothing_half, program, results};
use std::process::Stdio;
use std::time::Duration;

pub fn any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    const STEPS: u64 = 3000;
    // Checkpoints so often that most of the time goes into writing them.
    let line = RUN.replace("--checkpoint-every 20", "--checkpoint-every 30");
    done(path, &format!("{line} --steps {STEPS} --out whole"));
    let expected = results(&path.join("whole"), STEPS);
    let (mut kills, mut word) = (0, 0x9E37_79B9_u32);
    loop {
        let begun = path.join("run/run.toml").exists();
        let args =
            if begun { "train --resume --out run --quiet".into() } else { format!("{line} --steps {STEPS} --out run") };
        let mut child = program(path, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // xorshift32
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        // After enough kills it may finish, however slow the machine.
        if kills < 40 {
            std::thread::sleep(Duration::from_micros(u64::from(1_000 + word % 60_000)));
            child.kill().unwrap();
        }
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code().is_none_or(|code| code == 0) && said.is_empty(), "after {kills} kills: {said}");
        if out.status.success() {
            break;
        }
        kills += 1;
    }
    assert!(kills > 0, "the run was never killed");
    assert_eq!(results(&path.join("run"), STEPS), expected, "after {kills} kills");
    nothing_half(&path.join("run"), "after the last part");
}
