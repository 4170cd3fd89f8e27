//! What kind of thing is at a path.

use std::io::ErrorKind;
use std::path::Path;

use crate::{Error, Result};

/// The kind of thing at a path, with links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, with its length in bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A device, a pipe or a socket.
    Other,
}

/// The kind of thing at `path`; `None` where there is nothing. It is an error if looking is not permitted.
pub fn kind(path: &Path) -> Result<Option<Kind>> {
    match std::fs::metadata(path) {
        Ok(data) if data.is_file() => Ok(Some(Kind::File(data.len()))),
        Ok(data) if data.is_dir() => Ok(Some(Kind::Folder)),
        Ok(_) => Ok(Some(Kind::Other)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Error::io(path, "read", e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_nothing_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("five");
        std::fs::write(&file, b"12345").unwrap();
        assert_eq!(kind(&file).unwrap(), Some(Kind::File(5)));
        assert_eq!(kind(dir.path()).unwrap(), Some(Kind::Folder));
        assert_eq!(kind(&dir.path().join("none")).unwrap(), None);
        assert_eq!(kind(&file.join("below")).unwrap(), None);
        #[cfg(unix)]
        assert_eq!(kind(Path::new("/dev/null")).unwrap(), Some(Kind::Other));
    }
}
