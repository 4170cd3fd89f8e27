//! Writes whole files and whole folders: each appears under its name complete and synced, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Cursor, Seek, Write};
use std::path::{Path, PathBuf};

use super::disk::{parent, partial_name, reading, sync_dir};
use crate::{Error, Result};

/// The writer that [`write()`] passes to its caller; coerces to `&mut dyn Write`.
pub trait WriteSeek: Write + Seek {}

impl<T: Write + Seek> WriteSeek for T {}

/// Writes a whole file: `fill` writes under a temporary name in the same folder; then that file is synced and renamed to `path`. A link is
/// followed. A device or pipe is written to directly, after `fill` has succeeded.
///
/// # Errors
/// If anything fails, in `fill` or after it, no temporary file is left and an old file stays as it was. [`Error::Io`] names `path`;
/// [`Error::Input`] where `path` is a folder or its folder does not exist.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn WriteSeek) -> io::Result<()>) -> Result<()> {
    match fs::metadata(path) {
        Ok(kind) if kind.is_dir() => Err(Error::file(path, "is a folder", "give the name of a file")),
        Ok(kind) if !kind.is_file() => write_through(path, fill).map_err(|source| Error::io(path, "write", source)),
        _ => write_beside(path, fill),
    }
}

/// Like [`write()`], for bytes in memory.
///
/// # Errors
/// As [`write()`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, |out| out.write_all(bytes))
}

/// Writes a whole folder: `build` fills a temporary folder next to it; then all files and folders in that are synced, and it is renamed to
/// `path`.
///
/// # Errors
/// [`Error::Input`] where `path` exists, [`Error::Io`] where the file system refuses, and the errors of `build`, with `path` in place of
/// the temporary folder's name. None of them leaves anything behind.
pub fn write_dir(path: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::file(path, "already exists", "give another name, or move it away"));
    }
    let partial = Partial(partial_name(path)?);
    fs::create_dir(&partial.0).map_err(|source| writing(path, source))?;
    build(&partial.0).map_err(|error| renamed(error, &partial.0, path))?;
    let publish = || {
        sync_tree(&partial.0)?;
        fs::rename(&partial.0, path)?;
        sync_dir(parent(path))
    };
    publish().map_err(|source| Error::io(path, "write", source))
}

/// A file or folder under its temporary name. It is removed when this is dropped; after the rename there is nothing to remove.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing is left to tell a failure to: the error that led here is on its way.
        match fs::symlink_metadata(&self.0) {
            Ok(kind) if kind.is_dir() => drop(fs::remove_dir_all(&self.0)),
            Ok(_) => drop(fs::remove_file(&self.0)),
            Err(_) => {}
        }
    }
}

fn write_beside(path: &Path, fill: impl FnOnce(&mut dyn WriteSeek) -> io::Result<()>) -> Result<()> {
    // Renaming onto a link would replace the link; the file behind it is meant.
    let link = path.symlink_metadata().is_ok_and(|kind| kind.is_symlink());
    let real = if link { path.canonicalize().map_err(|source| writing(path, source))? } else { path.to_owned() };
    let partial = Partial(partial_name(&real)?);
    let file =
        OpenOptions::new().write(true).create_new(true).open(&partial.0).map_err(|source| writing(path, source))?;
    let publish = || {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&partial.0, &real)?;
        sync_dir(parent(&real))
    };
    publish().map_err(|source| Error::io(path, "write", source))
}

fn write_through(path: &Path, fill: impl FnOnce(&mut dyn WriteSeek) -> io::Result<()>) -> io::Result<()> {
    let mut content = Cursor::new(Vec::new());
    fill(&mut content)?;
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(content.get_ref())?;
    file.flush()
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            // Opened for writing: some systems refuse to sync what is open for reading only.
            OpenOptions::new().write(true).open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// The error for a file or folder that could not be created.
fn writing(path: &Path, source: io::Error) -> Error {
    let folder = parent(path);
    match source.kind() {
        io::ErrorKind::NotFound if folder.symlink_metadata().is_err() => {
            Error::file(path, format!("its folder {} does not exist", folder.display()), "create that folder first")
        }
        io::ErrorKind::NotADirectory => {
            Error::file(path, format!("{} is not a folder", folder.display()), "give a path inside a folder")
        }
        _ => Error::io(path, "write", source),
    }
}

/// An error from inside the temporary folder, reworded with the name that the user gave.
fn renamed(error: Error, partial: &Path, path: &Path) -> Error {
    match error {
        Error::Io { path: inner, action, source } => {
            let inner = inner.strip_prefix(partial).map(|rest| path.join(rest)).unwrap_or(inner);
            Error::Io { path: inner, action, source }
        }
        Error::Input { place, problem, remedy } => {
            let place = place.replace(&*partial.to_string_lossy(), &path.to_string_lossy());
            Error::Input { place, problem, remedy }
        }
        other => other,
    }
}

/// Opens an existing file for appending.
pub(super) fn open_append(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).open(path).map_err(|source| reading(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_bytes(&path, b"first").unwrap();
        write(&path, |out| {
            out.write_all(b"sec")?;
            assert_eq!(fs::read(&path)?, b"first");
            out.write_all(b"ond")
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_bytes(&path, b"old").unwrap();
        let error = write(&path, |out| {
            out.write_all(&[0; 100_000])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = write_bytes(&dir.path().join("no/a.txt"), b"").unwrap_err().to_string();
        assert!(message.contains("no does not exist; create that folder first"), "{message}");
        assert!(matches!(write_bytes(dir.path(), b""), Err(Error::Input { .. })));
        assert!(matches!(write_bytes(&dir.path().join("no/.."), b""), Err(Error::Input { .. })));
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(matches!(write_bytes(&dir.path().join("file/a.txt"), b""), Err(Error::Input { .. })));
    }

    #[test]
    fn a_long_name_has_room_for_the_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let name = "é".repeat(127);
        write_bytes(&dir.path().join(&name), b"x").unwrap();
        assert_eq!(names(dir.path()), [name]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_is_written_to_and_stays_a_device() {
        use std::os::unix::fs::FileTypeExt;
        let full = Path::new("/dev/full");
        let error = write_bytes(full, b"x").unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{error}");
        write_bytes(Path::new("/dev/null"), b"x").unwrap();
        for device in ["/dev/full", "/dev/null"] {
            assert!(fs::metadata(device).unwrap().file_type().is_char_device());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_bytes(&link, b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_folder_appears_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("step-5");
        write_dir(&path, |inside| {
            write_bytes(&inside.join("a"), b"1")?;
            super::super::disk::create_dir_all(&inside.join("deep"))?;
            write_bytes(&inside.join("deep/b"), b"2")?;
            assert!(!path.exists());
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read(path.join("deep/b")).unwrap(), b"2");
        assert_eq!(names(dir.path()), ["step-5"]);
        assert!(matches!(write_dir(&path, |_| Ok(())), Err(Error::Input { .. })));
        assert!(path.join("a").exists());
    }

    #[test]
    fn a_folder_that_fails_leaves_nothing_and_is_named_by_its_final_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("step-5");
        let error = write_dir(&path, |inside| {
            write_bytes(&inside.join("a"), b"1")?;
            Err(Error::io(&inside.join("b"), "write", io::ErrorKind::StorageFull.into()))
        })
        .unwrap_err();
        assert!(matches!(&error, Error::Io { path: named, .. } if *named == path.join("b")), "{error}");
        let error = write_dir(&path, |inside| write_bytes(&inside.join("no/b"), b"")).unwrap_err();
        assert!(matches!(&error, Error::Input { place, .. } if *place == path.join("no/b").to_string_lossy()));
        assert!(names(dir.path()).is_empty());
    }
}
