//! Hashes as lower-case hexadecimal text: SHA-256 for what the program writes, MD5 to compare with the sums on CIFAR-10's page.

use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::disk::open_read;
use crate::{Error, Result};

/// SHA-256 of bytes in memory.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, read in pieces.
///
/// # Errors
/// The errors of [`open_read`] and of reading.
pub fn sha256_file(path: &Path) -> Result<String> {
    of_reader::<Sha256>(open_read(path)?).map_err(|source| Error::io(path, "read", source))
}

/// MD5 of the bytes left in a reader.
///
/// # Errors
/// The reader's errors.
pub fn md5_reader(reader: impl Read) -> io::Result<String> {
    of_reader::<Md5>(reader)
}

/// MD5 of a file, read in pieces.
///
/// # Errors
/// The errors of [`open_read`] and of reading.
pub fn md5_file(path: &Path) -> Result<String> {
    md5_reader(open_read(path)?).map_err(|source| Error::io(path, "read", source))
}

fn of_reader<D: Digest>(mut reader: impl Read) -> io::Result<String> {
    let mut digest = D::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(n) => digest.update(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(md5_reader(&b"abc"[..]).unwrap(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5_reader(io::empty()).unwrap(), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn a_file_hashes_like_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(sha256_file(&path).unwrap(), sha256(&bytes));
        assert_eq!(md5_file(&path).unwrap(), md5_reader(&bytes[..]).unwrap());
        assert!(sha256_file(dir.path()).is_err());
    }
}
