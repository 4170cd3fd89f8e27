//! The six batch files in a folder.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rayon::prelude::*;

use super::{At, BINARY_BYTES, Batch, Form, NAMES, PICKLE_BYTES, Source, python, records};
use crate::files::disk::{open_read, read_to_end_capped};
use crate::files::lookup::{Kind, kind};
use crate::{Error, Result};

/// Reads the batches of `folder`, several at a time.
pub(super) fn read(folder: &Path, form: Form, batches: Vec<Batch<'_>>) -> Result<Vec<Source>> {
    // All names and lengths first: what is missing or cut short is told before anything is read.
    let files: Vec<(PathBuf, u64)> = NAMES.iter().map(|name| file(folder, name, form)).collect::<Result<_>>()?;
    let read = files.par_iter().zip(batches).map(|((path, _), batch)| read_file(path, form, batch));
    // Of several wrong files the first is told, whichever thread was faster.
    read.collect::<Vec<_>>().into_iter().collect::<Result<()>>()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(files.iter().map(|(path, bytes)| Source { name: name(path), bytes: *bytes }).collect())
}

/// The file of batch `name`, and its length on disk.
fn file(folder: &Path, name: &str, form: Form) -> Result<(PathBuf, u64)> {
    let names = match form {
        Form::Binary => vec![format!("{name}.bin"), format!("{name}.bin.gz")],
        Form::Python => vec![name.to_string()],
    };
    for path in names.iter().map(|name| folder.join(name)) {
        if let Some(Kind::File(bytes)) = kind(&path)? {
            let plain = form == Form::Binary && !gzipped(&path);
            if plain && bytes != BINARY_BYTES {
                return Err(records::length(At { path: &path, member: None }, bytes));
            }
            return Ok((path, bytes));
        }
    }
    let remedy = format!("it needs {} … {} (`normscape data fetch` downloads them)", NAMES[0], NAMES[5]);
    Err(Error::file(folder, format!("has no {}", names.join(" and no ")), remedy))
}

fn gzipped(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Reads one batch file.
pub(super) fn read_file(path: &Path, form: Form, batch: Batch<'_>) -> Result<()> {
    let at = At { path, member: None };
    match form {
        Form::Python => python::read(&read_to_end_capped(path, PICKLE_BYTES)?, at, batch),
        Form::Binary if gzipped(path) => {
            let packed = BufReader::with_capacity(1 << 16, open_read(path)?);
            records::read(MultiGzDecoder::new(packed), at, batch)
        }
        Form::Binary => records::read(open_read(path)?, at, batch),
    }
}
