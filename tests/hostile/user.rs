//! Another user's files and folders. The program runs here as nobody, because root ignores permission bits.

use crate::program::{RUN, checkpoints, command, done, refusal, text, tree};
use std::fs::{Permissions, create_dir, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Who owns nothing.
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// Whether a program can be run as another user here; else the reason.
pub fn available() -> Result<(), String> {
    match Command::new("setpriv").args(NOBODY).arg("true").output() {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("no other user here: {}", String::from_utf8_lossy(&out.stderr).trim())),
        Err(e) => Err(format!("no other user here: setpriv: {e}")),
    }
}

/// A folder that everybody may look into, with a copy of the program that everybody may run.
fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    mode(dir.path(), 0o755);
    // The build may lie where nobody else gets.
    std::fs::copy(env!("CARGO_BIN_EXE_normscape"), dir.path().join("normscape")).unwrap();
    mode(&dir.path().join("normscape"), 0o755);
    dir
}

fn mode(path: &Path, bits: u32) {
    set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

fn as_nobody(dir: &Path, line: &str) -> Command {
    let program = dir.join("normscape").display().to_string();
    command(Path::new("setpriv"), dir, &format!("{} {program} {line}", NOBODY.join(" ")))
}

#[track_caller]
fn denied(dir: &Path, line: &str, place: &str) {
    refusal(line, &as_nobody(dir, line).output().unwrap(), &[place, "Permission denied", "allow this user to"]);
}

pub fn folders_of_another() {
    let dir = open_folder();
    let path = dir.path();
    done(path, &format!("{RUN} --steps 20 --out run"));
    for (name, bits) in [("empty", 0o755), ("closed", 0o700)] {
        create_dir(path.join(name)).unwrap();
        mode(&path.join(name), bits);
    }
    write(path.join("case.npz"), crate::content::archive(&[("x", &crate::content::npy("<f4", "2, 2", &[0; 16]))]))
        .unwrap();
    let before = tree(path);
    for (line, place) in [
        (format!("{RUN} --steps 20 --out mine"), "mine: cannot create"),
        (format!("{RUN} --steps 20 --out empty"), "empty: cannot lock"),
        (format!("{RUN} --steps 20 --out closed"), "closed: cannot lock"),
        (format!("{RUN} --steps 20 --out closed/run"), "closed/run: cannot read"),
        ("train --resume --out run".into(), "run/run.toml: cannot write"),
        ("train --resume --out closed".into(), "closed: cannot lock"),
        ("train --resume --out closed/run".into(), "closed/run: cannot read"),
        ("reproduce demo --quiet --out mine".into(), "mine: cannot create"),
        ("op relu --input case.npz --output out.npz".into(), "out.npz: cannot write"),
        ("op relu --input case.npz --output closed/out.npz".into(), "closed/out.npz: cannot write"),
        ("data fetch --url http://127.0.0.1:1/x --to mine --quiet".into(), "mine: cannot create"),
        ("data inspect closed".into(), "closed/cifar-10-batches-bin: cannot read"),
        ("train --model vgg11 --data closed --out mine".into(), "mine: cannot create"),
    ] {
        denied(path, &line, place);
    }
    assert!(tree(path) == before, "nothing was written");
}

pub fn files_of_another() {
    let dir = open_folder();
    let path = dir.path();
    // Nobody's own place to write to.
    create_dir(path.join("mine")).unwrap();
    mode(&path.join("mine"), 0o777);
    let secret = ["secret.npz", "data/test_batch.bin", "archive.tar.gz", "arguments"];
    create_dir(path.join("data")).unwrap();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        let file = std::fs::File::create(path.join(format!("data/{name}.bin"))).unwrap();
        file.set_len(crate::content::BATCH as u64).unwrap();
    }
    for name in secret {
        let file = std::fs::File::options().create(true).append(true).open(path.join(name)).unwrap();
        file.set_permissions(Permissions::from_mode(0o000)).unwrap();
    }
    for (line, place) in [
        ("op relu --input secret.npz --output mine/out.npz", "secret.npz: cannot read"),
        ("probe --input secret.npz --output mine/out.npz", "secret.npz: cannot read"),
        ("data inspect data", "data/test_batch.bin: cannot read"),
        ("data inspect archive.tar.gz", "archive.tar.gz: cannot read"),
        ("train --model vgg11 --width 0.02 --data data --out mine/run", "data/test_batch.bin: cannot read"),
        ("train --model vgg11 --width 0.02 --data archive.tar.gz --out mine/run", "archive.tar.gz: cannot read"),
        ("@arguments", "arguments: cannot read"),
    ] {
        denied(path, line, place);
    }
    assert_eq!(tree(&path.join("mine")).len(), 0);

    // Nobody's own run, whose checkpoints it may no longer read.
    let run = path.join("mine/run");
    let out = as_nobody(path, &format!("{RUN} --steps 40 --out mine/run")).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    for step in checkpoints(&run) {
        mode(&run.join(format!("checkpoints/step-{step}/state.safetensors")), 0o000);
    }
    let before = tree(&run);
    let out = as_nobody(path, "train --resume --out mine/run --quiet").output().unwrap();
    let said = text(&out.stderr);
    assert_eq!((out.status.code(), said.matches("state.safetensors: cannot read").count()), (Some(2), 2), "{said}");
    assert!(said.lines().last().unwrap().contains("checkpoints: none of 2 checkpoints is valid"), "{said}");
    assert!(tree(&run) == before);
}
