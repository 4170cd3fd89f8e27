//! Reads the six batch files from a folder.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rayon::prelude::*;

use super::batch_file::{At, BINARY_BYTES, Batch, Form, IMAGES, NAMES, PICKLE_BYTES, Source};
use super::{python, records};
use crate::data::image_set::IMAGE;
use crate::files::disk::{list_dir, open_read, read_to_end_capped};
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

/// The possible file names of batch `name`.
fn names(name: &str, form: Form) -> Vec<String> {
    match form {
        Form::Binary => vec![format!("{name}.bin"), format!("{name}.bin.gz")],
        Form::Python => vec![name.to_string()],
    }
}

/// The file of batch `name`, and its length on disk. Where no name matches exactly, upper case is accepted too: some file systems and tools
/// leave names so.
pub(super) fn find(folder: &Path, name: &str, form: Form) -> Result<Option<(PathBuf, u64)>> {
    let file = |path: PathBuf| -> Result<Option<(PathBuf, u64)>> {
        Ok(match kind(&path)? {
            Some(Kind::File(bytes)) => Some((path, bytes)),
            _ => None,
        })
    };
    let names = names(name, form);
    for name in &names {
        if let Some(found) = file(folder.join(name))? {
            return Ok(Some(found));
        }
    }
    // A folder that cannot be listed may be entered still: it has no other names then.
    let listed = list_dir(folder).unwrap_or_default();
    for name in &names {
        let same = |path: &&PathBuf| path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name.as_str()));
        if let Some(path) = listed.iter().find(same)
            && let Some(found) = file(path.clone())?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The same, but the file must be there and, where its right length is known, have that length.
fn file(folder: &Path, name: &str, form: Form) -> Result<(PathBuf, u64)> {
    let Some((path, bytes)) = find(folder, name, form)? else {
        let remedy = format!("it needs {} … {} (`normscape data fetch` downloads them)", NAMES[0], NAMES[5]);
        return Err(Error::file(folder, format!("has no {}", names(name, form).join(" and no ")), remedy));
    };
    if form == Form::Binary && !gzipped(&path) && bytes != BINARY_BYTES {
        return Err(records::length(At { path: &path, member: None }, bytes));
    }
    Ok((path, bytes))
}

/// The batch file that a folder lacks, or one that is cut short, as far as can be seen without reading everything.
pub(super) fn incomplete(folder: &Path, form: Form) -> Result<Option<Error>> {
    for name in NAMES {
        let Some((path, bytes)) = find(folder, name, form)? else { return Ok(file(folder, name, form).err()) };
        let at = At { path: &path, member: None };
        let cut = match form {
            Form::Binary if gzipped(&path) => (bytes == 0).then(|| at.wrong("is empty")),
            Form::Binary => (bytes < BINARY_BYTES).then(|| records::length(at, bytes)),
            Form::Python if bytes <= (IMAGES * IMAGE) as u64 => {
                Some(at.wrong(format!("has {bytes} bytes, too few for {IMAGES} images")))
            }
            Form::Python => (last_byte(&path)? != b'.').then(|| at.wrong("has no end mark: it is cut short")),
        };
        if cut.is_some() {
            return Ok(cut);
        }
    }
    Ok(None)
}

/// The last byte of a file, which must not be empty.
fn last_byte(path: &Path) -> Result<u8> {
    let mut byte = [0];
    let mut file = open_read(path)?;
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut byte));
    read.map_err(|e| Error::io(path, "read", e))?;
    Ok(byte[0])
}

fn gzipped(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
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
