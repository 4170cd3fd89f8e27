//! Entry points for fuzzing (`fuzz/`) the readers of batches: they take content from memory and read into one reused set of images.

use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;

use super::batch_file::{At, Batch, IMAGES};
use super::{archive, python, records};
use crate::Result;
use crate::data::image_set::Images;

fn at() -> At<'static> {
    At { path: Path::new("fuzz"), member: None }
}

fn with_batches<T>(count: usize, read: impl FnOnce(Vec<Batch<'_>>) -> T) -> T {
    static IMAGE_SET: Mutex<Option<Images>> = Mutex::new(None);
    let mut set = IMAGE_SET.lock().unwrap_or_else(PoisonError::into_inner);
    let set = set.get_or_insert_with(|| Images::blank(6 * IMAGES));
    read(Batch::all_in(set).take(count).collect())
}

/// Reads a batch file of the Python version.
pub fn pickle(bytes: &[u8]) -> Result<()> {
    with_batches(1, |batches| batches.into_iter().try_for_each(|batch| python::read(bytes, at(), batch)))
}

/// Reads a binary batch file; it is unpacked first if it begins like gzip.
pub fn binary(bytes: &[u8]) -> Result<()> {
    let mut from: Box<dyn Read> =
        if bytes.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    with_batches(1, |batches| batches.into_iter().try_for_each(|batch| records::read(&mut from, at(), batch)))
}

/// Reads the archive at a path.
pub fn archive(path: &Path) -> Result<()> {
    with_batches(6, |batches| archive::read(path, batches).map(drop))
}
