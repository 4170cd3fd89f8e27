//! Locks a folder for one run. The operating system drops the lock when the process ends, in whatever way.
//!
//! The lock file stays in the folder when the lock is dropped: removing it could take it away from the next holder. So a leftover file
//! means nothing; only the lock on it counts.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::{Error, Result};

/// The lock file in the folder.
pub const NAME: &str = ".lock";

/// How often to try again when the lock file vanishes after it was opened, because somebody removes the folder and creates it again.
const TRIES: usize = 1000;

/// Holds a folder for this process until it is dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
    warning: Option<String>,
}

impl FolderLock {
    /// Locks an existing folder. Where the file system has no locks, or its lock service is down, the folder is held without one and
    /// [`FolderLock::warning`] says so: it is better to run unguarded than not at all.
    ///
    /// # Errors
    /// [`Error::Busy`] where another run holds the lock; [`Error::Io`] where the lock file cannot be created, as in a read-only folder.
    pub fn acquire(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        for _ in 0..TRIES {
            let file = open(&path).map_err(|source| Error::io(dir, "lock", source))?;
            let tried = loop {
                match file.try_lock() {
                    Err(TryLockError::Error(source)) if source.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            let warning = match tried {
                Ok(()) => None,
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy { path: dir.to_owned() });
                }
                Err(TryLockError::Error(source)) if has_no_locks(&source) => Some(format!(
                    "{}: its file system has no locks ({source}); nothing keeps a second run out of this folder",
                    dir.display()
                )),
                Err(TryLockError::Error(source)) => return Err(Error::io(dir, "lock", source)),
            };
            // The folder may have been removed and made anew between our opening and our locking the file: then what we hold
            // guards nothing, and the next try makes a new one.
            if same_file(&file, &path) {
                return Ok(Self { _file: file, warning });
            }
        }
        Err(Error::file(&path, "does not stay in place while it is locked", "give a folder on another file system"))
    }

    /// A warning for the user where the folder is held without a lock.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// Opens the lock file, or creates it. A lock file that another user made in a shared folder may not be writable; reading is enough for a lock.
fn open(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).create(true).truncate(false).open(path) {
        Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => File::open(path).map_err(|_| denied),
        other => other,
    }
}

/// Whether a locking error means that the file system has no locks, in any of the forms that systems report it.
fn has_no_locks(source: &io::Error) -> bool {
    // Linux's ENOLCK and ENOSYS, and ENOTSUPP, which network file systems let through from the kernel and no C library names.
    const NO_LOCKS: [i32; 3] = [37, 38, 524];
    let named = matches!(source.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput);
    named || cfg!(target_os = "linux") && source.raw_os_error().is_some_and(|code| NO_LOCKS.contains(&code))
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// On this platform an open file cannot be removed, so the name still means the opened file.
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
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        assert_eq!(held.warning(), None);
        drop(held);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "its file stays");
        drop(FolderLock::acquire(dir.path()).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_systems_say_where_there_are_no_locks_is_told_from_other_errors() {
        // ENOLCK, ENOSYS, EOPNOTSUPP, EINVAL, ENOTSUPP; then EIO, EACCES, ESTALE, EBADF.
        for code in [37, 38, 95, 22, 524] {
            assert!(has_no_locks(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [5, 13, 116, 9] {
            assert!(!has_no_locks(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }

    #[test]
    fn a_lock_file_left_behind_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "").unwrap();
        FolderLock::acquire(dir.path()).unwrap();
        // Nor does one that may only be read.
        let mut closed = fs::metadata(dir.path().join(NAME)).unwrap().permissions();
        closed.set_readonly(true);
        fs::set_permissions(dir.path().join(NAME), closed).unwrap();
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
