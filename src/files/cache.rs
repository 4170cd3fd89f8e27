//! What can be made again: compiled kernels, kept between runs by a name that says everything they depend on.

use super::{atomic, disk, lookup};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The folder of the cache: `NORMSCAPE_CACHE`, or `normscape` in the user's cache folder, or in the temporary one.
pub fn folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("NORMSCAPE_CACHE") {
        return folder;
    }
    let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    caches.unwrap_or_else(std::env::temp_dir).join("normscape")
}

/// The file `name` of the cache; where it is not there, `make` makes it in an empty folder and says how it called it.
///
/// Two processes may make the same file at once: each makes its own, and the last to finish is kept, whole.
///
/// # Errors
/// Those of `make`; [`Error::Io`] where the folder cannot be written to.
pub fn file(name: &str, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let folder = folder();
    let path = folder.join(name);
    if matches!(lookup::kind(&path), Ok(Some(lookup::Kind::File(_)))) {
        return Ok(path);
    }
    disk::create_dir_all(&folder)?;
    let work = std::env::temp_dir().join(format!("normscape-{}-{}-{name}", std::process::id(), unique()));
    disk::create_dir_all(&work)?;
    let made = make(&work).and_then(|made| {
        let bytes = std::fs::read(&made).map_err(|source| Error::io(&made, "read", source))?;
        atomic::write_bytes(&path, &bytes)
    });
    // Left behind it would only be in the way of nobody.
    let _ = std::fs::remove_dir_all(&work);
    made.map(|()| path)
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Writes a text into a work folder that [`file()`] handed out.
pub fn put(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|source| Error::io(&path, "write", source))?;
    Ok(path)
}

/// Writes bytes into a work folder that [`file()`] handed out.
pub fn put_bytes(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).map_err(|source| Error::io(&path, "write", source))?;
    Ok(path)
}

/// The bytes of a file that [`file()`] gave.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::io(path, "read", source))
}
