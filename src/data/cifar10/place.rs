//! Which form of CIFAR-10 a path is, and where the set is looked for when nobody says.

use std::env;
use std::path::{Path, PathBuf};

use super::{Form, NAMES};
use crate::files::lookup::{Kind, kind};
use crate::{Error, Result};

/// How the six batch files lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    Folder(PathBuf, Form),
    Archive(PathBuf),
}

impl Layout {
    /// The folder or archive that holds the batch files.
    pub(super) fn path(&self) -> &Path {
        match self {
            Layout::Folder(path, _) | Layout::Archive(path) => path,
        }
    }

    /// What this is called.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Layout::Folder(_, Form::Binary) => "folder of .bin files",
            Layout::Folder(_, Form::Python) => "folder of Python pickles",
            Layout::Archive(_) => "archive",
        }
    }
}

/// The folders that the archives unpack to.
const FOLDERS: [&str; 2] = ["cifar-10-batches-bin", "cifar-10-batches-py"];
/// The archives.
const ARCHIVES: [&str; 2] = ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"];

/// Where the set lies at `path`: in the folder itself, in one below it, or in an archive; `None` where nothing there
/// looks like it. A single batch file is enough for a folder to count, so that a missing one is named later.
pub(super) fn locate(path: &Path) -> Result<Option<Layout>> {
    match kind(path)? {
        None => Ok(None),
        Some(Kind::File(_)) => Ok(Some(Layout::Archive(path.to_owned()))),
        Some(Kind::Other) => Err(Error::file(path, "is neither a file nor a folder", SAY)),
        Some(Kind::Folder) => {
            for folder in std::iter::once(path.to_owned()).chain(FOLDERS.map(|name| path.join(name))) {
                if let Some(form) = form(&folder)? {
                    return Ok(Some(Layout::Folder(folder, form)));
                }
            }
            for archive in ARCHIVES.map(|name| path.join(name)) {
                if let Some(Kind::File(_)) = kind(&archive)? {
                    return Ok(Some(Layout::Archive(archive)));
                }
            }
            Ok(None)
        }
    }
}

/// The form of the batch files in `folder`, where there is one at least.
fn form(folder: &Path) -> Result<Option<Form>> {
    for (extensions, form) in [(&[".bin", ".bin.gz"][..], Form::Binary), (&[""][..], Form::Python)] {
        for name in NAMES {
            for extension in extensions {
                if let Some(Kind::File(_)) = kind(&folder.join(format!("{name}{extension}")))? {
                    return Ok(Some(form));
                }
            }
        }
    }
    Ok(None)
}

const SAY: &str = "give the folder with data_batch_1.bin … test_batch.bin (or the Python version's), its parent, or \
                   cifar-10-binary.tar.gz; `normscape data fetch` downloads it";

/// The error of a path where no CIFAR-10 is.
pub(super) fn nothing_at(path: &Path) -> Error {
    let there = matches!(kind(path), Ok(Some(_)));
    Error::file(path, if there { "holds no CIFAR-10 batch files" } else { "does not exist" }, SAY)
}

/// Where downloads are kept: `~/.cache/normscape`. `None` without a home.
pub fn cache_folder() -> Option<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(Path::new(&home).join(".cache/normscape"))
}

/// Where CIFAR-10 is: `explicit`, else what `NORMSCAPE_DATA` says, else the first of `data`, `target/data` and
/// [`cache_folder`] that holds it.
///
/// The first two are returned without a look: where they are wrong, [`super::load`] says how.
pub fn find(explicit: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = explicit {
        return Some(path.to_owned());
    }
    if let Some(path) = env::var_os("NORMSCAPE_DATA").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let usual = [Some("data".into()), Some("target/data".into()), cache_folder()];
    usual.into_iter().flatten().find(|path| matches!(locate(path), Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_counts_by_one_batch_file_and_by_its_usual_children() {
        for (file, form, kind) in [
            ("data_batch_4.bin", Form::Binary, "folder of .bin files"),
            ("test_batch.bin.gz", Form::Binary, "folder of .bin files"),
            ("data_batch_1", Form::Python, "folder of Python pickles"),
        ] {
            for below in ["", "cifar-10-batches-bin", "cifar-10-batches-py"] {
                let root = tempfile::tempdir().unwrap();
                let folder = root.path().join(below);
                assert_eq!(locate(root.path()).unwrap(), None);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(file), "").unwrap();
                let layout = locate(root.path()).unwrap().unwrap();
                assert_eq!(layout.kind(), kind);
                assert_eq!(layout, Layout::Folder(folder, form));
            }
        }
    }

    #[test]
    fn an_archive_counts_by_itself_and_in_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let archive = root.path().join("cifar-10-python.tar.gz");
        fs::write(&archive, "").unwrap();
        assert_eq!(locate(root.path()).unwrap(), Some(Layout::Archive(archive.clone())));
        assert_eq!(locate(&archive).unwrap(), Some(Layout::Archive(archive)));
    }

    #[test]
    fn a_path_that_holds_nothing_is_told_what_would_be_right() {
        let root = tempfile::tempdir().unwrap();
        let message = nothing_at(root.path()).to_string();
        assert!(message.contains("holds no CIFAR-10") && message.contains("normscape data fetch"), "{message}");
        let message = nothing_at(&root.path().join("no")).to_string();
        assert!(message.contains("no: does not exist") && !message.contains('\n'), "{message}");
        #[cfg(unix)]
        assert!(locate(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn what_the_user_says_is_taken_without_a_look() {
        assert_eq!(find(Some(Path::new("nowhere"))), Some("nowhere".into()));
    }
}
