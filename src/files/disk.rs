//! Opens, lists and removes plain files and folders, with errors that say what would be right.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// The mark in the name of a file or folder that is being written: `.NAME.partial-PID-N`, next to the final `NAME`.
const PARTIAL: &str = ".partial-";

/// Whether something exists at `path`; false where looking is not permitted.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Whether `path` is a folder; false where looking is not permitted.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// Opens a regular file for reading.
///
/// # Errors
/// [`Error::Input`] where there is nothing, or a folder, pipe or device (reading a pipe or device could wait for ever); [`Error::Io`] where
/// the file system refuses.
pub fn open_read(path: &Path) -> Result<File> {
    // Asked before opening: opening a pipe that nobody writes to would block.
    let kind = fs::metadata(path).map_err(|source| reading(path, source))?;
    if kind.is_dir() {
        return Err(Error::file(path, "is a folder", "give a file"));
    }
    if !kind.is_file() {
        return Err(Error::file(path, "is not a regular file", "give a file on disk"));
    }
    File::open(path).map_err(|source| reading(path, source))
}

/// Reads a whole file of at most `cap` bytes.
///
/// # Errors
/// As [`open_read`]; [`Error::Input`] where the file is longer, which is found before its content is read.
pub fn read_to_end_capped(path: &Path, cap: u64) -> Result<Vec<u8>> {
    let file = open_read(path)?;
    let length = file.metadata().map_err(|source| Error::io(path, "read", source))?.len();
    let too_long = |found: String| Error::file(path, found, format!("it can have at most {cap} bytes"));
    if length > cap {
        return Err(too_long(format!("has {length} bytes")));
    }
    let mut bytes = Vec::new();
    // The length is a hint: a growing file, or one under /proc, is held to the cap while it is read.
    file.take(cap.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| Error::io(path, "read", source))?;
    if bytes.len() as u64 > cap {
        return Err(too_long(format!("has more than {cap} bytes")));
    }
    Ok(bytes)
}

/// Reads a UTF-8 text file of at most `cap` bytes.
///
/// # Errors
/// As [`read_to_end_capped`]; [`Error::Input`] with the byte offset where it is not UTF-8.
pub fn read_text_capped(path: &Path, cap: u64) -> Result<String> {
    String::from_utf8(read_to_end_capped(path, cap)?).map_err(|bad| {
        let at = bad.utf8_error().valid_up_to();
        Error::file(path, format!("is not text at byte {at}"), "it must be UTF-8")
    })
}

/// The paths in a folder, sorted by name, without those still being written (see [`remove_stale_partials`]).
///
/// # Errors
/// [`Error::Input`] where there is no such folder, [`Error::Io`] where the file system refuses.
pub fn list_dir(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = entries(path)?.into_iter().filter(|entry| !is_partial(entry)).collect();
    found.sort();
    Ok(found)
}

/// Creates a folder and its parents; an existing one is fine.
///
/// # Errors
/// [`Error::Input`] where a file has that name; [`Error::Io`] where the file system refuses.
pub fn create_dir_all(path: &Path) -> Result<()> {
    match fs::create_dir_all(path) {
        Ok(()) => Ok(()),
        // It says so too where it could not look at what is there: that is told as it is.
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => match fs::metadata(path) {
            Ok(kind) if kind.is_dir() => Ok(()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "create", source)),
            _ => Err(Error::file(path, "exists and is not a folder", "give another folder, or move that file away")),
        },
        Err(source) => Err(Error::io(path, "create", source)),
    }
}

/// Removes a folder and its content. The folder is first renamed to a partial name, so that an interruption never leaves an incomplete
/// folder that looks whole.
///
/// # Errors
/// [`Error::Input`] where there is none or it is not a folder; [`Error::Io`] where the file system refuses.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    if !fs::symlink_metadata(path).map_err(|source| reading(path, source))?.is_dir() {
        return Err(Error::file(path, "is not a folder", "give a folder"));
    }
    let doomed = partial_name(path)?;
    fs::rename(path, &doomed).map_err(|source| Error::io(path, "remove", source))?;
    fs::remove_dir_all(&doomed).map_err(|source| Error::io(path, "remove", source))
}

/// Removes a folder if it is empty. A folder that is not, or that cannot be removed, stays.
pub fn remove_empty_dir(path: &Path) {
    let _ = fs::remove_dir(path);
}

/// Removes a file; a missing one is fine.
///
/// # Errors
/// [`Error::Io`] where the file system refuses.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "remove", source)),
        _ => Ok(()),
    }
}

/// Removes what a killed process left half-written directly in `dir`. Use it only while holding the folder's lock: what another process is
/// writing there at the moment looks the same.
///
/// # Errors
/// [`Error::Input`] where there is no such folder, [`Error::Io`] where the file system refuses.
pub fn remove_stale_partials(dir: &Path) -> Result<()> {
    for path in entries(dir)?.into_iter().filter(|path| is_partial(path)) {
        let folder = fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_dir());
        let removed = if folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path, "remove", source)),
            _ => {}
        }
    }
    Ok(())
}

/// The folder that holds `path`; the current folder for a bare name.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A free name next to `path`, for building what will be renamed to `path`.
pub(super) fn partial_name(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::file(path, "does not end in a name", "give the name of a file or folder"));
    };
    // The mark must fit beside a name of any legal length.
    let name: String = name.to_string_lossy().chars().take(48).collect();
    let process = std::process::id();
    // Counted over the whole process: two threads that write the same file each have their own.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let candidate = parent(path).join(format!(".{name}{PARTIAL}{process}-{number}"));
        // A killed process may have left its name behind, and process numbers come round again.
        if candidate.symlink_metadata().is_err() {
            return Ok(candidate);
        }
    }
}

/// Makes the names in a folder durable. File systems that cannot sync a folder report "invalid" or "unsupported".
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(dir)?.sync_all() {
        Err(source) if matches!(source.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

/// The error for a file or folder that could not be opened.
pub(super) fn reading(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::file(path, "does not exist", "give the path of something that does"),
        _ => Error::io(path, "read", source),
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let listing = fs::read_dir(dir).map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory => Error::file(dir, "is not a folder", "give a folder"),
        _ => reading(dir, source),
    })?;
    let paths: io::Result<Vec<PathBuf>> = listing.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.map_err(|source| Error::io(dir, "read", source))
}

fn is_partial(path: &Path) -> bool {
    path.file_name()
        .map(|name| name.to_string_lossy())
        .is_some_and(|name| name.starts_with('.') && name.contains(PARTIAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let missing = open_read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none: does not exist"), "{missing}");
        let folder = open_read(dir.path()).unwrap_err().to_string();
        assert!(folder.contains("is a folder"), "{folder}");
        #[cfg(unix)]
        assert!(matches!(open_read(Path::new("/dev/zero")), Err(Error::Input { .. })));
    }

    #[test]
    fn a_file_is_read_up_to_its_cap_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("five");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_to_end_capped(&path, 5).unwrap(), b"12345");
        let message = read_to_end_capped(&path, 4).unwrap_err().to_string();
        assert!(message.contains("has 5 bytes; it can have at most 4 bytes"), "{message}");
        // A file under /proc says that it is empty.
        #[cfg(target_os = "linux")]
        assert!(matches!(read_to_end_capped(Path::new("/proc/self/status"), 4), Err(Error::Input { .. })));
        assert_eq!(read_text_capped(&path, 5).unwrap(), "12345");
        fs::write(&path, b"ok\xff").unwrap();
        assert!(read_text_capped(&path, 5).unwrap_err().to_string().contains("at byte 2"));
    }

    #[test]
    fn partials_are_neither_listed_nor_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("b");
        let partial = partial_name(&file).unwrap();
        fs::write(&partial, "half").unwrap();
        let second = partial_name(&file).unwrap();
        assert_ne!(second, partial);
        fs::create_dir(&second).unwrap();
        fs::write(second.join("x"), "half").unwrap();
        fs::write(&file, "whole").unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        assert_eq!(list_dir(dir.path()).unwrap(), [dir.path().join("a"), file.clone()]);
        remove_stale_partials(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        remove_dir_all(&dir.path().join("a")).unwrap();
        assert!(matches!(remove_dir_all(&file), Err(Error::Input { .. })));
        assert_eq!(fs::read(&file).unwrap(), b"whole");
        remove_empty_dir(dir.path());
        assert!(file.exists());
        remove_file(&file).unwrap();
        remove_file(&file).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(matches!(list_dir(&file), Err(Error::Input { .. })));
    }

    #[test]
    fn a_folder_is_not_made_over_a_file() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(&dir.path().join("a/b")).unwrap();
        create_dir_all(&dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("c"), "").unwrap();
        assert!(matches!(create_dir_all(&dir.path().join("c")), Err(Error::Input { .. })));
        assert!(create_dir_all(&dir.path().join("c/d")).is_err());
        assert!(matches!(list_dir(&dir.path().join("c")), Err(Error::Input { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_looked_at_is_not_called_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (circle, nowhere) = (dir.path().join("circle"), dir.path().join("nowhere"));
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        std::os::unix::fs::symlink(dir.path().join("none"), &nowhere).unwrap();
        assert!(matches!(create_dir_all(&circle), Err(Error::Io { .. })));
        assert!(matches!(create_dir_all(&nowhere), Err(Error::Input { .. })));
    }
}
