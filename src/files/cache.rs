//! A cache of compiled kernels, which can always be made again. An entry's name contains a hash of everything that the entry depends on.
//!
//! The cache is never needed and never trusted. A file ends with the SHA-256 of the bytes before it; the caller gets exactly the bytes that
//! were read and checked, and nothing is opened a second time. Folder and file must belong to this user and be writable by nobody else,
//! because the emulator runs what it finds there. A damaged file, or another user's, is made again. Where nothing can be stored, the work
//! goes on without the cache, and one sentence says why ([`super::notice`]).

use super::scratch::{Scratch, private};
use super::{disk, notice};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The mark at a file's end, after the hash.
const MARK: &[u8; 16] = b"normscape-sha256";
/// Bytes of the hash and the mark.
const TAIL: usize = 32 + MARK.len();
/// The largest file that is accepted as one of the cache's.
const MOST: u64 = 256 << 20;

/// Content from the cache, or content just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The content.
    pub bytes: Vec<u8>,
    /// The cache file that begins with this content, if there is one.
    pub path: Option<PathBuf>,
}

/// The cache's folder: `NORMSCAPE_CACHE`, or `normscape` in the user's cache folder. Errors: neither is known. A temporary folder is no
/// substitute, because others share it and may guess the name.
fn folder() -> std::result::Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("NORMSCAPE_CACHE") {
        return Ok(folder);
    }
    // A relative one counts as none, as XDG's rules have it.
    let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    caches.map(|caches| caches.join("normscape")).ok_or_else(|| "there is no HOME".into())
}

/// The part of a name that encodes what the content depends on.
pub fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// The cached content of `name`. If there is none that is whole and this user's own, `make` makes it, and it is stored if possible.
///
/// Two processes may make the same content at once: each makes its own, and the last to finish stays in the cache, whole.
///
/// # Errors
/// The errors of `make`.
pub fn get(name: &str, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Kept> {
    said(get_in(folder(), name, make)?)
}

/// Makes and stores the content with `make` even if the cache has it: for content that is whole but of no use here, as when another machine
/// shares the folder.
///
/// # Errors
/// The errors of `make`.
pub fn renew(name: &str, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Kept> {
    said(keep(folder(), name, make()?))
}

fn said((kept, why): (Kept, Option<String>)) -> Result<Kept> {
    if let Some(why) = why {
        notice::add(format!("compiled kernels are not kept: {why}; NORMSCAPE_CACHE names another folder"));
    }
    Ok(kept)
}

/// Like [`get()`], in a given folder. Also returns why nothing was stored, where that is so.
fn get_in(
    folder: std::result::Result<PathBuf, String>,
    name: &str,
    make: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<(Kept, Option<String>)> {
    if let Some(folder) = folder.as_ref().ok().filter(|folder| owned(folder).is_ok()) {
        let path = folder.join(name);
        if let Some(bytes) = read(&path) {
            return Ok((Kept { bytes, path: Some(path) }, None));
        }
    }
    Ok(keep(folder, name, make()?))
}

fn keep(folder: std::result::Result<PathBuf, String>, name: &str, bytes: Vec<u8>) -> (Kept, Option<String>) {
    match folder.and_then(|folder| write(&folder, name, &bytes)) {
        Ok(path) => (Kept { bytes, path: Some(path) }, None),
        Err(why) => (Kept { bytes, path: None }, Some(why)),
    }
}

/// Like [`get()`], for a caller that needs no file.
pub fn bytes(name: &str, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    Ok(get(name, make)?.bytes)
}

/// Checks that a folder is this user's own and that nobody else may write to it; one that is missing passes. Errors: why it is not.
fn owned(folder: &Path) -> std::result::Result<(), String> {
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(data) if !data.is_dir() => Err(format!("{shown} is not a folder")),
        Ok(data) => own(&data).map_err(|why| format!("{shown} {why}")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("{shown}: {e}")),
    }
}

/// Checks that a file or folder is this user's own and that nobody else may write to it. Errors: why it is not, worded to follow its name.
#[cfg(unix)]
fn own(data: &fs::Metadata) -> std::result::Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    // Of the C library, which std links.
    unsafe extern "C" {
        safe fn geteuid() -> u32;
    }
    let (owner, mode, user) = (data.uid(), data.mode() & 0o7777, geteuid());
    if owner != user {
        return Err(format!("belongs to user {owner}, not to {user}"));
    }
    let who = match mode & 0o022 {
        0 => return Ok(()),
        0o020 => "its group",
        _ => "everybody",
    };
    Err(format!("may be written to by {who} (mode {mode:04o}; it must be yours alone, as 0700)"))
}

#[cfg(not(unix))]
fn own(_: &fs::Metadata) -> std::result::Result<(), String> {
    Ok(())
}

/// The content of a file, if it is whole and this user's own. Owner and mode are checked on the opened file, and the hash on the very bytes
/// that are returned.
fn read(path: &Path) -> Option<Vec<u8>> {
    // Asked first: to open a pipe would wait for who writes to it.
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let file = File::open(path).ok()?;
    let data = file.metadata().ok()?;
    if !data.is_file() || data.len() > MOST || own(&data).is_err() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    let (content, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL)?)?;
    let whole = tail[32..] == *MARK && tail[..32] == *Sha256::digest(content);
    let length = content.len();
    bytes.truncate(length);
    whole.then_some(bytes)
}

/// Stores a file in the folder. A missing folder is created for this user alone. Errors: why that is not possible.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::result::Result<PathBuf, String> {
    let failed = |e: io::Error| format!("{} cannot be written to ({e})", folder.display());
    owned(folder)?;
    private(fs::DirBuilder::new().recursive(true), folder).map_err(failed)?;
    // Made just now, perhaps by another.
    owned(folder)?;
    let path = folder.join(name);
    let partial = disk::partial_name(&path).map_err(|e| e.to_string())?;
    let put = || {
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.write_all(&Sha256::digest(bytes))?;
        file.write_all(MARK)?;
        // Not synced: what a crash leaves of it is found to be damaged.
        fs::rename(&partial, &path)
    };
    put().map_err(|e| {
        let _ = fs::remove_file(&partial);
        failed(e)
    })?;
    Ok(path)
}

/// A temporary folder to build something in: among the system's temporary folders, or in the cache's folder where those accept none.
///
/// # Errors
/// [`Error::Io`] where neither accepts one.
pub fn build_folder() -> Result<Scratch> {
    Scratch::new().or_else(|error| match folder() {
        Ok(folder) if owned(&folder).is_ok() => {
            let made = private(fs::DirBuilder::new().recursive(true), &folder);
            made.map_err(|_| error).and_then(|()| Scratch::below(&folder))
        }
        _ => Err(error),
    })
}

/// Writes a text into a folder from [`build_folder`].
pub fn put(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|source| Error::io(&path, "write", source))?;
    Ok(path)
}

/// The bytes of a file that was made in such a folder.
pub fn made(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::io(path, "read", source))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path, bits: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
    }

    fn bits(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Calls [`get_in`] with a `make` that gives `made`: the content, whether `make` was called, and why nothing was stored.
    fn got(folder: &Path, made: &str) -> (Vec<u8>, bool, Option<String>) {
        let mut asked = false;
        let make = || {
            asked = true;
            Ok(made.into())
        };
        let (kept, why) = get_in(Ok(folder.to_owned()), "a.so", make).unwrap();
        assert_eq!(kept.path.is_none(), why.is_some());
        (kept.bytes, asked, why)
    }

    #[test]
    fn what_is_kept_is_made_once_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x/cache");
        assert_eq!(got(&folder, "first"), (b"first".to_vec(), true, None));
        assert_eq!(got(&folder, "second"), (b"first".to_vec(), false, None));
        assert_eq!((bits(&folder), bits(&folder.join("a.so"))), (0o700, 0o600));
        assert_eq!(disk::list_dir(&folder).unwrap(), [folder.join("a.so")]);
        let (kept, why) = keep(Ok(folder.clone()), "a.so", b"third".to_vec());
        assert_eq!((kept.path.is_some(), why), (true, None));
        assert_eq!(got(&folder, "fourth").0, b"third");
    }

    #[test]
    fn whatever_is_wrong_with_a_file_it_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cache");
        let path = folder.join("a.so");
        let content = vec![7; 5000];
        got(&folder, std::str::from_utf8(&content).unwrap());
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), content.len() + TAIL);
        let mut damaged: Vec<Vec<u8>> = [0, 1, 47, 48, 4096, whole.len() - 1].map(|n| whole[..n].to_vec()).into();
        damaged.extend([0, 2500, content.len(), content.len() + 40].map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        }));
        damaged.push([&whole[..], b"x"].concat());
        damaged.push(b"\x7fELF of somebody else".to_vec());
        for (i, bytes) in damaged.iter().enumerate() {
            fs::write(&path, bytes).unwrap();
            assert_eq!(got(&folder, "anew"), (b"anew".to_vec(), true, None), "{i}");
            assert_eq!(got(&folder, "not again"), (b"anew".to_vec(), false, None), "{i}");
        }
        for bits in [0o602, 0o620, 0o666] {
            mode(&path, bits);
            assert_eq!(got(&folder, "mine"), (b"mine".to_vec(), true, None), "{bits:o}");
            assert_eq!(self::bits(&path), 0o600);
        }
        // Of no kind that is a file's: a folder stays, and a pipe is not waited for.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let (bytes, made, why) = got(&folder, "aside");
        assert!(bytes == b"aside" && made && why.is_some());
    }

    #[test]
    fn a_folder_that_is_not_ones_own_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cache");
        got(&folder, "first");
        for (bits, says) in
            [(0o777, "by everybody"), (0o1777, "by everybody"), (0o770, "by its group"), (0o702, "by everybody")]
        {
            mode(&folder, bits);
            let (bytes, made, why) = got(&folder, "beside");
            assert!(bytes == b"beside" && made, "{bits:?}");
            assert!(why.clone().unwrap().contains(says), "{why:?}");
        }
        mode(&folder, 0o755);
        assert_eq!(got(&folder, "second").0, b"first");
        // A folder of root's, that nobody else may write to, is not this user's: unless that is root.
        let error = owned(Path::new("/")).err();
        assert_eq!(
            error.is_none(),
            own(&fs::metadata("/proc/self").unwrap()).is_ok() && fs::metadata("/").is_ok_and(|d| own(&d).is_ok())
        );
    }

    #[test]
    fn what_cannot_be_kept_is_made_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let long = dir.path().join("n".repeat(300));
        for folder in
            [file.clone(), file.join("below"), long, PathBuf::from("/proc/normscape"), PathBuf::from("/dev/null")]
        {
            let (bytes, made, why) = got(&folder, "made");
            assert!(bytes == b"made" && made && why.unwrap().contains(&*folder.to_string_lossy()));
        }
        let (kept, why) = get_in(Err("there is no HOME".into()), "a.so", || Ok(b"made".to_vec())).unwrap();
        assert_eq!((kept.path, why), (None, Some("there is no HOME".into())));
        let failing = get_in(Ok(dir.path().join("new")), "a.so", || Err(Error::input("a", "b", "c")));
        assert!(failing.is_err() && !dir.path().join("new").exists());
    }
}
