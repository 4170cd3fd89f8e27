//! A run's folder, held by one process. It is created, then locked, and only then read, so that of two starts one works and the other says so.

use super::run_folder::{Record, RunFolder};
use crate::files::disk;
use crate::files::lock::{self, FolderLock};
use crate::files::lookup::{self, Kind};
use crate::{Error, Result};
use std::path::Path;

/// What a command expects of a run's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A new run: the folder does not exist, or holds only logs of schedulers and shells.
    Fresh,
    /// Continue the run that is there.
    Resumed,
    /// Continue the run that is there, or else begin it.
    Either,
}

impl Start {
    /// [`Start::Resumed`] or [`Start::Fresh`].
    pub fn resumed(resume: bool) -> Start {
        if resume { Start::Resumed } else { Start::Fresh }
    }
}

/// A run's folder that this process holds, so that no other run works in it. Everything there is read and written through this.
#[derive(Debug)]
pub struct HeldFolder {
    folder: RunFolder,
    /// The record of the existing run, if there is one.
    record: Option<Record>,
    lock: FolderLock,
    /// This process created the folder, and no run owns it yet.
    made: bool,
}

impl HeldFolder {
    /// Locks `root`, creating it if the start allows that, and reads the record of the run that is there.
    ///
    /// # Errors
    /// Another run works there; there is no run to continue; a new run is asked for but the folder holds something; the record is invalid.
    /// Whatever was created for a refused start is removed again.
    pub fn take(root: &Path, start: Start) -> Result<HeldFolder> {
        // What may not be looked at is an error of its own, not a folder that is not there.
        let there = lookup::kind(root)?;
        if start == Start::Resumed && there != Some(Kind::Folder) {
            return Err(Error::file(root, "no such folder", "--resume needs --out to name the folder of a run"));
        }
        if there.is_some_and(|kind| kind != Kind::Folder) {
            return Err(exists(root));
        }
        disk::create_dir_all(root)?;
        let lock = FolderLock::acquire(root).inspect_err(|_| {
            if there.is_none() {
                // As far as there is nothing in it.
                disk::remove_empty_dir(root);
            }
        })?;
        let folder = RunFolder::at(root);
        let mut held = HeldFolder { folder, record: None, lock, made: there.is_none() };
        let begun = disk::exists(&held.folder.record());
        if start == Start::Resumed || start == Start::Either && begun {
            held.record = Some(held.folder.read_record()?);
            return Ok(held);
        }
        for path in disk::list_dir(root)? {
            if !does_not_count(&path)? {
                return Err(exists(root));
            }
        }
        Ok(held)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// The record of the existing run; `None` where a new one is to begin.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// A warning for the user where the folder is held without a lock.
    pub fn warning(&self) -> Option<&str> {
        self.lock.warning()
    }

    /// Begins the run, writing its record if there is none, and creates the folder of checkpoints. From then on the folder is the run's.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn begin(&mut self, record: &Record) -> Result<RunFolder> {
        if self.record.is_none() {
            self.folder.write_record(record)?;
        }
        self.made = false;
        disk::create_dir_all(&self.folder.checkpoints())?;
        Ok(self.folder.clone())
    }
}

impl Drop for HeldFolder {
    fn drop(&mut self) {
        if self.made {
            // Still held: who opens the lock's file before it goes finds the folder held, and who comes after makes one anew.
            let _ = disk::remove_file(&self.folder.root().join(lock::NAME));
            disk::remove_empty_dir(self.folder.root());
        }
    }
}

fn exists(root: &Path) -> Error {
    Error::file(root, "exists", "choose another --out, or continue that run with --resume")
}

/// Whether something in a folder is nobody's result, so that the folder may become a run's: the lock file, and the logs that schedulers and
/// shells write where a job is to run (`slurm-123.out`, `job.o123`, `nohup.out`, `stderr.log`). Errors: it cannot be looked at.
fn does_not_count(path: &Path) -> Result<bool> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(false) };
    if !matches!(lookup::kind(path)?, Some(Kind::File(_)) | None) {
        return Ok(false);
    }
    let numbered = |end: &str| {
        let digits = end.strip_prefix(['o', 'e']).map(|rest| rest.split(['.', '-']));
        digits.is_some_and(|mut parts| parts.all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())))
    };
    let ending = name.rsplit_once('.').map(|(_, end)| end);
    // The job's number may be followed by its index in an array, as in `job.o123.4` and `job.o123-4`.
    let job = name.find(".o").or_else(|| name.find(".e")).is_some_and(|at| numbered(&name[at + 1..]));
    // What NFS calls a file that was removed while it was open.
    let removed = name.starts_with(".nfs");
    Ok(name == lock::NAME
        || removed
        || job
        || ["stdout", "stderr"].contains(&name)
        || ending.is_some_and(|end| ["log", "out", "err"].contains(&end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_schedulers_leave_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let counts = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "words").unwrap();
            !does_not_count(&path).unwrap()
        };
        let logs = [
            "slurm-4711_3.out",
            "slurm-4711.err",
            "train.log",
            "job.o123",
            "job.e123",
            "job.o123.4",
            "a.b.o123-4",
            "nohup.out",
            "stdout",
            "stderr",
            ".lock",
            ".nfs000000000001",
        ];
        for name in logs {
            assert!(!counts(name), "{name}");
        }
        for name in [
            "run.toml",
            "metrics.csv",
            "landscape.npz",
            "notes.txt",
            "out",
            "log",
            "a.o",
            "a.o12x",
            "a.e",
            ".bashrc",
            "main.o.c",
        ] {
            assert!(counts(name), "{name}");
        }
        std::fs::create_dir(dir.path().join("run.out")).unwrap();
        assert!(!does_not_count(&dir.path().join("run.out")).unwrap(), "a folder is somebody's");
    }

    #[test]
    fn a_folder_is_held_before_it_is_read_and_a_refused_start_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("run");
        let refused = |start: Start| HeldFolder::take(&root, start).unwrap_err().to_string();
        assert!(refused(Start::Resumed).contains("no such folder"));
        // A second start says so whatever it asks for, as long as the first holds the folder.
        let held = HeldFolder::take(&root, Start::Fresh).unwrap();
        assert!(held.record().is_none());
        for start in [Start::Fresh, Start::Resumed, Start::Either] {
            assert!(refused(start).contains("another run is working in this folder"), "{start:?}");
        }
        drop(held);
        assert!(!root.exists(), "what was made for a start that came to nothing");
        // What was there before stays, with the lock's file.
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("slurm-1.out"), "").unwrap();
        drop(HeldFolder::take(&root, Start::Either).unwrap());
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2);
        drop(HeldFolder::take(&root, Start::Fresh).unwrap());
        assert!(refused(Start::Resumed).contains("run.toml: does not exist"));
        std::fs::write(root.join("mine.txt"), "").unwrap();
        assert!(refused(Start::Fresh).contains("exists; choose another --out"));
        assert!(refused(Start::Either).contains("exists; choose another --out"));
        assert!(HeldFolder::take(&root.join("mine.txt"), Start::Either).unwrap_err().to_string().contains("exists"));
    }
}
