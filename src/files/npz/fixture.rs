//! Archives for tests: built byte by byte, damaged, and read.

use super::*;
use std::fs;
use std::io::Cursor;

/// Passes `check` copies of a valid file with a few bytes changed, removed or added; every run makes the same copies.
pub(crate) fn mutations(good: &[u8], count: usize, check: impl Fn(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for _ in 0..count {
        let mut bytes = good.to_vec();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            let some = (at + 1 + below(8)).min(bytes.len());
            match below(8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at.min(some)..some)),
                2 => bytes.insert(at, below(256) as u8),
                3 => bytes[at.min(some)..some].fill(if below(2) == 0 { 0 } else { 0xff }),
                4 => bytes[at.min(some)..some].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
                _ if at < bytes.len() => bytes[at] = below(256) as u8,
                _ => {}
            }
        }
        check(&bytes);
    }
}

/// An array in NumPy's byte layout: magic, version, dictionary padded to 64 bytes, values.
pub(crate) fn npy(version: u8, dictionary: &str, data: &[u8]) -> Vec<u8> {
    let before = if version == 1 { 10 } else { 12 };
    let length = (before + dictionary.len() + 1).next_multiple_of(64) - before;
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    match version {
        1 => bytes.extend((length as u16).to_le_bytes()),
        _ => bytes.extend((length as u32).to_le_bytes()),
    }
    bytes.extend(format!("{dictionary:<width$}\n", width = length - 1).bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn dictionary(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}")
}

pub(crate) fn archive(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        // NumPy asks for ZIP64 sizes in the local header, however small the array.
        let options = SimpleFileOptions::default().compression_method(method).large_file(true);
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// An archive of one array. Its sizes are 32-bit fields, so that they can be patched in place.
pub(crate) fn single(method: CompressionMethod) -> Vec<u8> {
    let content = npy(1, &dictionary("<f8", "False", "(64,)"), &[0; 512]);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("x.npy", SimpleFileOptions::default().compression_method(method)).unwrap();
    zip.write_all(&content).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Overwrites a field of the local header and the same field of the directory's entry.
pub(crate) fn patch(bytes: &mut [u8], local: usize, central: usize, value: &[u8]) {
    let entry = find(bytes, b"PK\x01\x02");
    bytes[local..local + value.len()].copy_from_slice(value);
    bytes[entry + central..entry + central + value.len()].copy_from_slice(value);
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

pub(crate) fn load(bytes: &[u8]) -> Result<Arrays> {
    load_within(bytes, MEMORY_FLOOR)
}

/// Reads a file with a limit of `limit` bytes of memory.
pub(crate) fn load_within(bytes: &[u8], limit: u64) -> Result<Arrays> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    fs::write(&path, bytes).unwrap();
    read_within(&path, |_| limit)
}

/// The error message for a refused file.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    refusal_of(load(bytes))
}

/// The error message of a failed load; it must be one line and name the file.
pub(crate) fn refusal_of(loaded: Result<Arrays>) -> String {
    let error = loaded.unwrap_err();
    assert!(matches!(error, Error::Input { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(message.contains("a.npz"), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
    message
}
