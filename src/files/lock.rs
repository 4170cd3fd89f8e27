//! One run per folder: a lock that the operating system drops with the process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The file in the folder that carries the lock.
const NAME: &str = ".lock";

/// How often the lock file may vanish under our hands; a race with its last holder is lost once or twice.
const TRIES: usize = 1000;

/// Holds a folder for this process until it is dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    path: PathBuf,
    _file: File,
}

impl FolderLock {
    /// Takes the lock of a folder that exists.
    ///
    /// # Errors
    /// [`Error::Input`] where another run holds it; [`Error::Io`] where the lock file cannot be made, as in a folder
    /// that is read-only.
    pub fn acquire(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|source| Error::io(dir, "lock", source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::file(
                        dir,
                        "another run is working in this folder",
                        "wait for it, or give another folder",
                    ));
                }
                // Some network file systems have no locks: better to run there unguarded than not at all.
                Err(TryLockError::Error(source)) if source.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(source)) => return Err(Error::io(dir, "lock", source)),
            }
            // Its last holder may have removed the file between our opening and our locking it: then what we hold
            // guards nothing, and the next try makes a new one.
            if same_file(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
        Err(Error::file(&path, "does not stay in place while it is locked", "give a folder on another file system"))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Removed while still held, so that nobody can take the old file for the lock. If this fails the file stays,
        // unlocked, and does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// An open file cannot be removed here, so the name still means the file that was opened.
#[cfg(not(unix))]
fn same_file(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let held = FolderLock::acquire(dir.path()).unwrap();
        let error = FolderLock::acquire(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
        drop(held);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(FolderLock::acquire(dir.path()).unwrap());
    }

    #[test]
    fn a_lock_file_left_behind_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "").unwrap();
        FolderLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn many_threads_never_hold_it_together() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Ok(_held) = FolderLock::acquire(dir.path()) {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            taken.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(FolderLock::acquire(&dir.path().join("no")), Err(Error::Io { .. })));
    }
}
