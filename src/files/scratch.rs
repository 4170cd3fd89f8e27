//! Temporary folders that are removed when they are no longer used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A temporary folder in the system's place for them. It is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates a folder that only this user may enter. Errors: [`Error::Io`] where the system's temporary folder accepts none.
    pub fn new() -> Result<Scratch> {
        Scratch::below(&std::env::temp_dir())
    }

    /// The same inside another folder.
    pub(super) fn below(parent: &Path) -> Result<Scratch> {
        for number in 0u32.. {
            let path = parent.join(format!("normscape-{}-{number}", std::process::id()));
            // One that is there already, whoever made it, is not taken.
            match private(&mut fs::DirBuilder::new(), &path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::io(&path, "create", source)),
            }
        }
        Err(Error::file(parent, "has no free name for a folder", "set TMPDIR to another"))
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left there is the system's to clear.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Creates a folder that only this user may enter.
pub(super) fn private(builder: &mut fs::DirBuilder, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
    builder.create(path)
}
