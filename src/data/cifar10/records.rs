//! A binary batch: 10,000 records of a label and an image, and nothing else.

use std::io::{self, Read};

use super::batch_file::{At, BINARY_BYTES, Batch, RECORD};
use crate::Result;
use crate::data::image_set::{CLASSES, IMAGE};

/// How many records are read at a time.
const AT_ONCE: usize = 100;

/// Reads a batch of exactly [`BINARY_BYTES`] bytes. It asks `from` for at most one byte more.
pub(super) fn read(mut from: impl Read, at: At<'_>, to: Batch<'_>) -> Result<()> {
    let mut bytes = vec![0; AT_ONCE * RECORD];
    let mut offset = 0;
    let places = to.labels.chunks_mut(AT_ONCE).zip(to.pixels.chunks_mut(AT_ONCE * IMAGE));
    for (labels, pixels) in places {
        let bytes = &mut bytes[..labels.len() * RECORD];
        let found = fill(&mut from, bytes, offset, at)?;
        if found < bytes.len() {
            return Err(length(at, offset + found as u64));
        }
        let records = bytes.chunks_exact(RECORD).enumerate();
        for ((i, record), (label, pixels)) in records.zip(labels.iter_mut().zip(pixels.chunks_exact_mut(IMAGE))) {
            if usize::from(record[0]) >= CLASSES {
                let byte = offset + (i * RECORD) as u64;
                let problem = format!("the label of record {} is {}, not 0 to 9", byte / RECORD as u64, record[0]);
                return Err(at.wrong_at(format_args!("byte {byte}"), problem));
            }
            *label = record[0];
            pixels.copy_from_slice(&record[1..]);
        }
        offset += bytes.len() as u64;
    }
    // Reading on also has a compressed stream check its sum.
    match fill(&mut from, &mut bytes[..1], offset, at)? {
        0 => Ok(()),
        _ => Err(at.wrong(format!("goes on after byte {BINARY_BYTES}, where a batch ends"))),
    }
}

/// The error for a batch of `found` bytes.
pub(super) fn length(at: At<'_>, found: u64) -> crate::Error {
    at.wrong(format!("has {found} bytes, not the {BINARY_BYTES} of a batch (10000 records of {RECORD})"))
}

/// Fills `bytes` as far as `from` reaches. `offset` is the position in the content where `bytes` begins.
fn fill(from: &mut impl Read, bytes: &mut [u8], offset: u64, at: At<'_>) -> Result<usize> {
    let mut found = 0;
    while found < bytes.len() {
        match from.read(&mut bytes[found..]) {
            Ok(0) => break,
            Ok(n) => found += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(at.unreadable(offset + found as u64, e)),
        }
    }
    Ok(found)
}
