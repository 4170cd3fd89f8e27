//! The guard before the zip reader: checks that a file is an archive as NumPy writes it, and that its members can be what they declare.
//!
//! The end record is read here first, because its counts decide how much memory the zip reader reserves. Then every member's sizes are
//! compared with the file's length before anything is inflated.

use std::io::{self, Read, Seek, SeekFrom};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// The most members: more arrays than any case has.
const MAX_MEMBERS: u64 = 4096;

/// The best ratio that deflate can reach: 258 bytes from two bits.
const MAX_RATIO: u64 = 1032;

/// The longest comment.
const COMMENT: u64 = 0xffff;

/// Length of the end record, of the ZIP64 locator before it, and of the ZIP64 end record that it points to.
const END: u64 = 22;
const LOCATOR: u64 = 20;
const END64: u64 = 56;

/// The zip reader's configuration, valid once the guard has checked the archive.
pub(super) const CONFIG: zip::read::Config = zip::read::Config { archive_offset: zip::read::ArchiveOffset::Known(0) };

/// Why an archive is refused.
#[derive(Debug)]
pub(super) enum Fault {
    /// The bytes could not be read.
    Read(io::Error),
    /// The archive is not accepted: the member, if one is at fault, and what is wrong.
    Refused(Option<String>, String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // Whatever the operating system reports is about the disk; the rest was found in the content.
        match error.raw_os_error() {
            Some(_) => Fault::Read(error),
            None => whole(format!("is damaged: {error}")),
        }
    }
}

impl From<ZipError> for Fault {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => error.into(),
            ZipError::InvalidArchive(what) => whole(format!("is a damaged archive: {what}")),
            other => whole(format!("is not read: {other}")),
        }
    }
}

/// An archive without the comment that may follow its end record: the file up to that point, with the comment's length read as 0.
///
/// So the zip reader finds the end record that was checked here, whatever the comment contains.
pub(super) struct WithoutComment<R> {
    file: R,
    /// Where the end record ends.
    length: u64,
    at: u64,
}

impl<R: Read + Seek> WithoutComment<R> {
    /// Finds the end record and checks it: one disk, no more members than fit, and the directory in the right place.
    pub(super) fn of(mut file: R) -> Result<Self, Fault> {
        let length = end(&mut file)? + END;
        file.seek(SeekFrom::Start(0))?;
        Ok(WithoutComment { file, length, at: 0 })
    }
}

impl<R: Read + Seek> Read for WithoutComment<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = to.len().min(left);
        let n = self.file.read(&mut to[..room])?;
        for (at, byte) in (self.at..).zip(&mut to[..n]) {
            if at >= self.length - 2 {
                *byte = 0;
            }
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl<R: Read + Seek> Seek for WithoutComment<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.at = self.file.seek(SeekFrom::Start(to.ok_or(io::ErrorKind::InvalidInput)?))?;
        Ok(self.at)
    }
}

/// The offset of the end record: the last record that passes the checks and whose comment reaches exactly to the file's end.
fn end(file: &mut (impl Read + Seek)) -> Result<u64, Fault> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Err(whole("is empty"));
    }
    if read_at(file, 0, 6.min(length))? == b"\x93NUMPY" {
        return Err(whole("is a single .npy array"));
    }
    let Some(latest) = length.checked_sub(END) else { return Err(whole("is not an .npz archive")) };
    let first = latest.saturating_sub(COMMENT);
    let tail = read_at(file, first, length - first)?;
    let mut refused = None;
    for at in (0..=tail.len() - END as usize).rev() {
        let (record, comment) = tail[at..].split_at(END as usize);
        if !record.starts_with(b"PK\x05\x06") || usize::from(short(record, 20)) != comment.len() {
            continue;
        }
        let end_at = first + at as u64;
        match check_end(file, end_at, record) {
            Ok(()) => return Ok(end_at),
            // What could not be had is told, and else what the last record is refused for.
            Err(fault @ Fault::Read(_)) => return Err(fault),
            Err(fault) => drop(refused.get_or_insert(fault)),
        }
    }
    Err(refused.unwrap_or_else(|| {
        whole(format!("is not an .npz archive, or ends early: no end record at byte {latest}, nor one with a comment"))
    }))
}

/// Checks the end record at `end_at`.
fn check_end(file: &mut (impl Read + Seek), end_at: u64, end: &[u8]) -> Result<(), Fault> {
    let small = |at: usize| u64::from(short(end, at));
    let (members, mut directory) = (small(10), (word(end, 12), word(end, 16)));
    let mut fields = (small(4), small(6), small(8), members);
    let mut before = end_at;
    let locator = match end_at.checked_sub(LOCATOR) {
        Some(at) => Some(read_at(file, at, LOCATOR)?).filter(|bytes| bytes.starts_with(b"PK\x06\x07")),
        None => None,
    };
    if let Some(locator) = locator {
        let locator_at = end_at - LOCATOR;
        let at = long(&locator, 8);
        if at.checked_add(END64) != Some(locator_at) {
            return Err(whole(format!(
                "is a damaged archive: its ZIP64 locator at byte {locator_at} points elsewhere"
            )));
        }
        let end64 = read_at(file, at, END64)?;
        if !end64.starts_with(b"PK\x06\x06") {
            return Err(whole(format!("is a damaged archive: no ZIP64 end record at byte {at}")));
        }
        fields = (word(&end64, 16), word(&end64, 20), long(&end64, 24), long(&end64, 32));
        directory = (long(&end64, 40), long(&end64, 48));
        before = at;
    }
    let (disk, first_disk, here, members) = fields;
    if (disk, first_disk, here) != (0, 0, members) {
        return Err(whole("is a damaged archive: its end record speaks of several disks"));
    }
    if members > MAX_MEMBERS {
        return Err(whole(format!("has {members} members, more than {MAX_MEMBERS}")));
    }
    let (size, start) = directory;
    if let Some(in_front) = start.checked_add(size).and_then(|end| before.checked_sub(end)).filter(|&n| n > 0)
        && size > 0
        && read_at(file, before - size, 4.min(size))? == b"PK\x01\x02"
    {
        return Err(whole(format!("has {in_front} bytes in front of its archive, as numpy.load does not take either")));
    }
    if start.checked_add(size) != Some(before) {
        return Err(whole(format!("is a damaged archive: its directory does not end at byte {before}")));
    }
    Ok(())
}

/// Checks the members against each other and against the file. Returns the arrays' names, in the archive's order.
pub(super) fn check_members<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<Vec<String>, Fault> {
    if archive.len() as u64 > MAX_MEMBERS {
        return Err(whole(format!("has {} members, more than {MAX_MEMBERS}", archive.len())));
    }
    if archive.has_duplicate_names() {
        return Err(whole("has the same name twice"));
    }
    let mut names = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index)?;
        let raw = entry.name_raw();
        let shown = String::from_utf8_lossy(raw.strip_suffix(b".npy").unwrap_or(raw));
        let refused = |problem: String| Fault::Refused(Some(shown.to_string()), problem);
        let Some(name) = str::from_utf8(raw).ok().and_then(|name| name.strip_suffix(".npy")) else {
            return Err(refused("is a member whose name is not NAME.npy".into()));
        };
        if entry.is_dir() || entry.is_symlink() {
            return Err(refused("is not a file".into()));
        }
        if entry.encrypted() {
            return Err(refused("is encrypted".into()));
        }
        let (packed, full) = (entry.compressed_size(), entry.size());
        match entry.compression() {
            CompressionMethod::Stored if packed == full => {}
            CompressionMethod::Stored => {
                return Err(refused(format!("is stored, yet says {full} bytes in {packed}")));
            }
            CompressionMethod::Deflated if full <= packed.saturating_mul(MAX_RATIO).saturating_add(1024) => {}
            CompressionMethod::Deflated => {
                return Err(refused(format!("says {full} bytes in {packed}, more than deflate can pack")));
            }
            other => return Err(refused(format!("is packed with {other}, not stored or deflated"))),
        }
        names.push(name.to_owned());
    }
    // Local headers agree with the directory, and no two members share bytes.
    archive.validate_header_consistency()?;
    Ok(names)
}

fn whole(problem: impl Into<String>) -> Fault {
    Fault::Refused(None, problem.into())
}

fn read_at(file: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    word(bytes, at) | word(bytes, at + 4) << 32
}
