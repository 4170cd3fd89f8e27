//! Full and read-only disks, made from a tmpfs in a mount namespace.

use crate::program::{RUN, checkpoints, done, nothing_half, program, refusal, refused, results, text, tree};
use normscape::files::{Array, Arrays, npz};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says to the process that replaced this one that it is in a namespace of its own.
const INSIDE: &str = "NORMSCAPE_TEST_NAMESPACE";

/// Moves this process into a mount namespace of its own, by beginning anew in one. Comes back with the reason where it cannot.
pub fn namespace() -> Result<(), String> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let there = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none"]).arg(dir.path()).output();
    match there {
        Ok(out) if out.status.success() => {}
        Ok(out) => return Err(format!("no mounts here: {}", String::from_utf8_lossy(&out.stderr).trim())),
        Err(e) => return Err(format!("no mounts here: unshare: {e}")),
    }
    drop(dir);
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut inside = Command::new("unshare");
    inside.arg("--mount").arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Err(format!("unshare: {}", inside.exec()))
}

/// A tmpfs on a folder of its own; it goes with this.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `options` are mount's: `size=8k`, `nr_inodes=5`.
    fn new(options: &str) -> Disk {
        let disk = Disk(tempfile::tempdir().unwrap());
        disk.mount(&["-t", "tmpfs", "-o", options, "none"]);
        disk
    }

    fn mount(&self, arguments: &[&str]) {
        assert!(Command::new("mount").args(arguments).arg(self.path()).status().unwrap().success(), "{arguments:?}");
    }

    fn remount(&self, options: &str) {
        self.mount(&["-o", &format!("remount,{options}")]);
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// Trains on ever larger disks, until one is large enough. Whatever was missing: one line says so, nothing is half-written,
/// the newest checkpoint stands, and once there is room the run goes on to what an uninterrupted one gives.
fn train_until_it_fits(sizes: impl Iterator<Item = String>, room: &str) {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("{RUN} --steps 70 --out run");
    done(folder.path(), &line);
    let expected = results(&folder.path().join("run"), 70);
    let (mut refusals, mut with_checkpoint) = (0, 0);
    for size in sizes {
        let disk = Disk::new(&size);
        let run = disk.path().join("run");
        let out = program(disk.path(), &line).output().unwrap();
        nothing_half(disk.path(), &size);
        if out.status.success() {
            assert_eq!(results(&run, 70), expected, "{size}");
            assert!(refusals >= 5 && with_checkpoint >= 2, "{refusals}, {with_checkpoint} with a checkpoint");
            return;
        }
        refusal(&size, &out, &["run", "No space left on device", "free some space there"]);
        refusals += 1;
        let newest = checkpoints(&run).last().copied();
        with_checkpoint += usize::from(newest.is_some());
        disk.remount(room);
        if run.join("run.toml").exists() {
            let out = program(disk.path(), "train --resume --out run").output().unwrap();
            let said = text(&out.stderr);
            assert_eq!(out.status.code(), Some(0), "{size}: {said}");
            let from = newest.map_or(String::new(), |step| format!("going on at step {step} of 70"));
            assert!(said.contains(&from) && !said.contains("warning"), "{size}: {said}");
        } else {
            assert_eq!(tree(disk.path()).len(), 0, "{size}: a run begins with its record");
            done(disk.path(), &line);
        }
        assert_eq!(results(&run, 70), expected, "{size}");
        nothing_half(disk.path(), &size);
    }
    panic!("no disk was large enough");
}

pub fn training_where_space_runs_out() {
    train_until_it_fits((1..100).map(|pages| format!("size={}k", 4 * pages)), "size=1m");
}

pub fn training_where_files_run_out() {
    train_until_it_fits((2..100).map(|files| format!("size=1m,nr_inodes={files}")), "nr_inodes=1000");
}

/// The disk fills up while a run goes on: the checkpoint from before is intact, and enough to go on from.
pub fn an_older_checkpoint_survives() {
    let disk = Disk::new("size=1m");
    let path = disk.path();
    done(path, &format!("{RUN} --steps 20 --out run"));
    done(path, &format!("{RUN} --steps 60 --out whole"));
    let checkpoint = tree(&path.join("run/checkpoints"));
    let expected = results(&path.join("whole"), 60);
    std::fs::remove_dir_all(path.join("whole")).unwrap();
    // One page is free: enough to write the record anew, and for nothing else.
    let mut filler = std::fs::File::create(path.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    filler.set_len(filler.metadata().unwrap().len() - 4096).unwrap();
    for _ in 0..2 {
        refused(path, "train --resume --out run --steps 60 --quiet", &["run", "No space left on device"]);
        nothing_half(path, "after a refusal");
        assert!(tree(&path.join("run/checkpoints")) == checkpoint, "the older checkpoint is as it was");
    }
    drop(filler);
    std::fs::remove_file(path.join("filler")).unwrap();
    done(path, "train --resume --out run --steps 60 --quiet");
    assert_eq!(results(&path.join("run"), 60), expected);
}

pub fn other_commands_where_space_runs_out() {
    let folder = tempfile::tempdir().unwrap();
    let arrays = Arrays::from([("x".to_owned(), Array::f32([64, 64], vec![1.0; 4096]))]);
    npz::write(&folder.path().join("case.npz"), &arrays).unwrap();
    let disk = Disk::new("size=12k");
    let path = disk.path();
    std::fs::write(path.join("out.npz"), "what was there before").unwrap();
    let before = tree(path);
    let no_space = |line: &str, name: &str| {
        refused(path, line, &[name, "No space left on device", "free some space there"]);
        nothing_half(path, line);
    };
    let case = folder.path().join("case.npz").display().to_string();
    for name in ["out.npz", "new.npz"] {
        no_space(&format!("op relu --input {case} --output {name}"), name);
    }
    no_space("data sample images --out sheet.png", "sheet.png");
    assert_eq!(tree(path), before);

    // A download keeps what has arrived: the same command goes on with it.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", server.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let mut connection = server.accept().unwrap().0;
        let _ = connection.read(&mut [0; 1024]);
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 170052171\r\n\r\n");
        while connection.write_all(&[7; 1 << 16]).is_ok() {}
    });
    disk.remount("size=256k");
    no_space(&format!("data fetch --url {url} --to . --quiet"), "cifar-10-binary.tar.gz.part");
    serving.join().unwrap();
    let part = path.join("cifar-10-binary.tar.gz.part");
    let arrived = std::fs::read(&part).unwrap();
    assert!(arrived.len() >= 1 << 16 && arrived.iter().all(|&byte| byte == 7), "{} bytes are kept", arrived.len());

    std::fs::remove_file(part).unwrap();
    std::fs::remove_file(path.join("out.npz")).unwrap();
    disk.remount("size=4k");
    no_space("reproduce fig9 --scale smoke --out there --quiet", "there");
}

/// A device that is always full, as output and as standard output.
pub fn a_full_device() {
    let dir = tempfile::tempdir().unwrap();
    let arrays = Arrays::from([("x".to_owned(), Array::f32([2, 2], vec![1.0; 4]))]);
    npz::write(&dir.path().join("case.npz"), &arrays).unwrap();
    refused(dir.path(), "op relu --input case.npz --output /dev/full", &["/dev/full: cannot write", "No space left"]);
    for line in ["info", "--help", "completions bash"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let out = program(dir.path(), line).stdout(Stdio::from(full)).output().unwrap();
        refusal(line, &out, &["standard output: cannot write", "No space left on device", "free some space there"]);
    }
}

pub fn a_read_only_disk() {
    let disk = Disk::new("size=1m");
    let path = disk.path();
    done(path, &format!("{RUN} --steps 20 --out run"));
    std::fs::create_dir(path.join("empty")).unwrap();
    let arrays = Arrays::from([("x".to_owned(), Array::f32([2, 2], vec![1.0; 4]))]);
    npz::write(&path.join("case.npz"), &arrays).unwrap();
    std::fs::write(path.join("out.npz"), "before").unwrap();
    disk.remount("ro");
    let before = tree(path);
    for (line, place) in [
        (format!("{RUN} --steps 20 --out new"), "new"),
        (format!("{RUN} --steps 20 --out empty"), "empty: cannot lock"),
        (format!("{RUN} --steps 20 --out deep/er"), "deep/er"),
        ("train --resume --out run".into(), "run"),
        ("train --resume --out run --steps 30".into(), "run"),
        ("reproduce demo --out there --quiet".into(), "there"),
        ("op relu --input case.npz --output out.npz".into(), "out.npz"),
        ("op relu --input case.npz --output new.npz".into(), "new.npz"),
        ("data sample images --out sheet.png".into(), "sheet.png"),
        ("data fetch --url http://127.0.0.1:1/x --to there --quiet".into(), "there"),
    ] {
        refused(path, &line, &[place, "Read-only file system", "choose a place that can be written to"]);
    }
    assert_eq!(tree(path), before);
}
