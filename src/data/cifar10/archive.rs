//! Reads the six batch files from a tar archive, compressed or not, in one pass and without unpacking it to disk.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::batch_file::{At, BINARY_BYTES, Batch, Form, NAMES, PICKLE_BYTES, Source};
use super::{python, records};
use crate::files::disk::open_read;
use crate::{Error, Result};

/// The most bytes that a whole archive may unpack to: six pickles of the largest kind, and some to spare.
const UNPACKED: u64 = 512 << 20;
/// The most bytes that may follow the archive's end mark: tar pads its last block.
const AFTER_END: u64 = 1 << 20;

/// Reads the batches of the archive `path`, in whatever order the archive holds them.
pub(super) fn read(path: &Path, batches: Vec<Batch<'_>>) -> Result<Vec<Source>> {
    read_within(path, batches, UNPACKED)
}

/// Like [`read`], for an archive that may unpack to `most` bytes.
pub(super) fn read_within(path: &Path, batches: Vec<Batch<'_>>, most: u64) -> Result<Vec<Source>> {
    let at = At { path, member: None };
    let content = unpacked(path)?;
    let offset = Cell::new(0);
    let mut archive = Archive::new(Counted { content, offset: &offset, most });

    let mut batches: Vec<Option<Batch<'_>>> = batches.into_iter().map(Some).collect();
    let mut sources: Vec<Option<Source>> = vec![None; NAMES.len()];
    // Raw: the extensions that carry long names are not needed, and would be read into memory at any length.
    let entries = archive.entries().map_err(|e| not_an_archive(at, &offset, e))?.raw(true);
    let mut first = true;
    for entry in entries {
        let mut entry = entry.map_err(|e| match first {
            true => not_an_archive(at, &offset, e),
            false => at.unreadable(offset.get(), e),
        })?;
        first = false;
        let Some((number, form, name)) = wanted(&entry) else { continue };
        let member = At { path, member: Some(&name) };
        let bytes = entry.size();
        let Some(batch) = batches[number].take() else {
            return Err(member.wrong("is in the archive twice"));
        };
        match form {
            Form::Binary if bytes != BINARY_BYTES => return Err(records::length(member, bytes)),
            Form::Binary => records::read(&mut entry, member, batch)?,
            Form::Python if bytes > PICKLE_BYTES => {
                return Err(member.wrong(format!("has {bytes} bytes, more than the {PICKLE_BYTES} a batch can have")));
            }
            Form::Python => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(|e| member.unreadable(content.len() as u64, e))?;
                python::read(&content, member, batch)?;
            }
        }
        sources[number] = Some(Source { name, bytes });
    }
    let found = sources.iter().flatten().count();
    if found < NAMES.len() {
        let missing: Vec<&str> =
            NAMES.iter().zip(&sources).filter(|(_, s)| s.is_none()).map(|(name, _)| *name).collect();
        let problem = format!("holds {found} of the 6 batch files ({} missing)", missing.join(", "));
        return Err(at.wrong(problem));
    }
    // The compressed data's check sum comes last.
    let mut rest = archive.into_inner().take(AFTER_END);
    io::copy(&mut rest, &mut io::sink()).map_err(|e| at.unreadable(offset.get(), e))?;
    if rest.limit() == 0 {
        return Err(at.wrong_at(format_args!("byte {}", offset.get()), "goes on after the archive's end"));
    }
    Ok(sources.into_iter().flatten().collect())
}

/// Whether a file begins like an archive, compressed or not: with the header of a member. The file's name plays no part.
pub(super) fn is_one(path: &Path) -> bool {
    let mut header = tar::Header::new_old();
    let read = unpacked(path).map(|mut content| content.read_exact(header.as_mut_bytes()));
    // The sum over the header, with its own field as blanks.
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let bytes = header.as_bytes();
    matches!(read, Ok(Ok(())))
        && bytes[0] != 0
        && header.cksum().is_ok_and(|said| said == sum(&bytes[..148]) + 8 * 32 + sum(&bytes[156..]))
}

/// The content of an archive. It is unpacked if its first bytes say that it is compressed.
fn unpacked(path: &Path) -> Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 16, open_read(path)?);
    let start = file.fill_buf().map_err(|e| Error::io(path, "read", e))?;
    let packed = start.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// For a member: which batch it is, in which form, and its name. `None` for members that are not read.
fn wanted(entry: &tar::Entry<'_, impl Read>) -> Option<(usize, Form, String)> {
    if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
        return None;
    }
    let path = entry.path_bytes();
    let name = str::from_utf8(path.rsplit(|&byte| byte == b'/').next()?).ok()?;
    let lower = name.to_ascii_lowercase();
    let (stem, form) = match lower.strip_suffix(".bin") {
        Some(stem) => (stem, Form::Binary),
        None => (lower.as_str(), Form::Python),
    };
    let number = NAMES.iter().position(|&known| known == stem)?;
    Some((number, form, name.to_string()))
}

/// The error for a file that does not begin like an archive.
fn not_an_archive(at: At<'_>, offset: &Cell<u64>, source: io::Error) -> Error {
    if source.raw_os_error().is_some() || source.kind() == io::ErrorKind::FileTooLarge {
        return at.unreadable(offset.get(), source);
    }
    let remedy = "give cifar-10-binary.tar.gz, or the folder with data_batch_1.bin … test_batch.bin; `normscape data \
                  fetch` downloads it";
    Error::input(at.to_string(), "is not a tar archive", remedy)
}

/// The unpacked archive. It counts the bytes read, for messages, and fails where there are too many.
struct Counted<'a> {
    content: Box<dyn Read>,
    offset: &'a Cell<u64>,
    most: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.offset.get() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n = self.content.read(to)?;
        self.offset.set(self.offset.get() + n as u64);
        Ok(n)
    }
}
