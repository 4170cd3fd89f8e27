//! Hands bytes to the loader as a library. They are a copy of this process's own, so that exactly the checked bytes are loaded.

use super::scratch::Scratch;
use crate::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A library's file, which exists as long as this value.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    /// Kept open: the loader identifies libraries by path, and would take another file with this descriptor number for this one.
    _file: Option<File>,
    _folder: Option<Scratch>,
}

impl Image {
    /// The library in memory that has a path for the loader. No file system can then forbid running programs from it. `None` where the
    /// system has no such memory.
    pub fn in_memory(name: &str, bytes: &[u8]) -> Option<Image> {
        let file = memory(name, bytes)?;
        #[cfg(target_os = "linux")]
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        #[cfg(not(target_os = "linux"))]
        let path = PathBuf::new();
        Some(Image { path, _file: Some(file), _folder: None })
    }

    /// The library in a file in a folder of its own. Errors: [`Error::Io`] where the system's temporary folder accepts none.
    pub fn on_disk(name: &str, bytes: &[u8]) -> Result<Image> {
        let folder = Scratch::new()?;
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).map_err(|source| Error::io(&path, "write", source))?;
        Ok(Image { path, _file: None, _folder: Some(folder) })
    }

    /// The path for the loader to open.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(target_os = "linux")]
fn memory(name: &str, bytes: &[u8]) -> Option<File> {
    use std::ffi::{CString, c_char, c_int, c_uint};
    use std::io::Write;
    use std::os::fd::FromRawFd;
    // Of the C library, which std links.
    unsafe extern "C" {
        fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    }
    let name = CString::new(name).ok()?;
    // Not for the processes that this one starts; and to be run from, which kernels before 6.3 do not ask.
    let number = [0x11, 0x1].into_iter().find_map(|flags| {
        // SAFETY: the name is a string that ends in 0.
        let number = unsafe { memfd_create(name.as_ptr(), flags) };
        (number >= 0).then_some(number)
    })?;
    // SAFETY: the number is an open file's, and nobody else's.
    let mut file = unsafe { File::from_raw_fd(number) };
    file.write_all(bytes).ok()?;
    Some(file)
}

#[cfg(not(target_os = "linux"))]
fn memory(_: &str, _: &[u8]) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_file_while_it_lives() {
        let disk = Image::on_disk("x.so", b"bytes").unwrap();
        assert_eq!(std::fs::read(disk.path()).unwrap(), b"bytes");
        let path = disk.path().to_owned();
        drop(disk);
        assert!(!path.exists());
        let [one, two] = [b"one", b"two"].map(|bytes| Image::in_memory("x.so", bytes));
        assert_eq!((one.is_some(), two.is_some()), (cfg!(target_os = "linux"), cfg!(target_os = "linux")));
        if let (Some(one), Some(two)) = (one, two) {
            assert_ne!(one.path(), two.path());
            assert_eq!(std::fs::read(one.path()).unwrap(), b"one");
            assert_eq!(std::fs::read(two.path()).unwrap(), b"two");
        }
    }
}
