//! A file that arrives piece by piece, over several runs if necessary. It grows as `NAME.part` in its final folder and is renamed when it
//! is whole.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The growing file. Dropping it leaves `NAME.part`, so that the next run can continue.
#[derive(Debug)]
pub struct Part {
    place: PathBuf,
    part: PathBuf,
    file: File,
    len: u64,
}

impl Part {
    /// Opens or creates `place` with `.part` added to its name, and creates missing folders on the way.
    pub fn open(place: &Path) -> Result<Part> {
        let mut part = place.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(&part);
        let file = file.map_err(|e| Error::io(&part, "create", e))?;
        let len = file.metadata().map_err(|e| Error::io(&part, "read", e))?.len();
        Ok(Part { place: place.to_owned(), part, file, len })
    }

    /// The `.part` file's path, for messages.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Bytes that have arrived.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io(&self.part, "write", e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Discards what has arrived.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| Error::io(&self.part, "write", e))?;
        self.len = 0;
        Ok(())
    }

    /// Reads what has arrived, from its first byte.
    pub fn reader(&mut self) -> Result<&mut File> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| Error::io(&self.part, "read", e))?;
        Ok(&mut self.file)
    }

    /// Renames the whole file to its final name. That name never refers to half a file, even after a power cut.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io(&self.part, "write", e))?;
        std::fs::rename(&self.part, &self.place).map_err(|e| Error::io(&self.place, "create", e))?;
        if let Some(folder) = self.place.parent().filter(|f| !f.as_os_str().is_empty()) {
            let synced = File::open(folder).and_then(|f| f.sync_all());
            synced.map_err(|e| Error::io(folder, "write", e))?;
        }
        Ok(())
    }

    /// Removes the `.part` file.
    pub fn discard(self) -> Result<()> {
        std::fs::remove_file(&self.part).map_err(|e| Error::io(&self.part, "remove", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_part_goes_on_where_it_stopped_and_takes_its_name_when_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a/b.bin");
        let mut part = Part::open(&place).unwrap();
        part.append(b"hal").unwrap();
        drop(part);
        let mut part = Part::open(&place).unwrap();
        assert_eq!(part.len(), 3);
        assert!(!place.exists());
        part.append(b"f").unwrap();
        let mut text = String::new();
        part.reader().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "half");
        // Reading moved nothing: the next bytes still go to the end.
        part.append(b"!").unwrap();
        part.finish().unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"half!");
        assert!(!folder.path().join("a/b.bin.part").exists());
    }

    #[test]
    fn a_part_can_start_again_and_be_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("x");
        let mut part = Part::open(&place).unwrap();
        part.append(b"wrong").unwrap();
        part.restart().unwrap();
        part.append(b"ok").unwrap();
        assert_eq!(std::fs::read(part.path()).unwrap(), b"ok");
        part.discard().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
