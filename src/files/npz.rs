//! NumPy archives: [`read`] accepts what `numpy.savez` and `numpy.savez_compressed` write, and [`write()`] produces what
//! `numpy.load(allow_pickle=False)` reads.
//!
//! The zip crate handles the container, and npyz the arrays. A guard runs before each. Whatever the file declares, the memory taken is
//! bounded by the file's length: see `memory_limit`.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use half::f16;
use npyz::WriterBuilder as _;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::atomic::{self, WriteSeek};
use super::disk::open_read;
use super::npy_header::{self, Header, Kind};
use super::zip_guard;
use super::{Array, Arrays, Values, limits};
use crate::{Error, Result};

/// Memory that every file may use, enough for well compressed arrays of zeros.
const MEMORY_FLOOR: u64 = 256 << 20;

/// Memory per byte of the file beyond that: a byte becomes an int64 (8 bytes), and real data deflate at best to half.
const MEMORY_PER_BYTE: u64 = 16;

/// Memory that no file may exceed.
const MEMORY_CEILING: u64 = 8 << 30;

/// Bytes that the arrays of a file of `length` bytes may take in memory.
fn memory_limit(length: u64) -> u64 {
    length.saturating_mul(MEMORY_PER_BYTE).clamp(MEMORY_FLOOR, MEMORY_CEILING)
}

/// Above this size of all arrays together, the system is asked whether it has the memory.
const LARGE: u64 = 64 << 20;

/// Reads all arrays of an `.npz` file: float16/32/64 (float16 becomes f32), integers of any width and booleans (they become i64; as in
/// NumPy any byte but 0 is 1), and strings; in either byte order, and in C or Fortran order. The archive may have a comment.
///
/// # Errors
/// [`Error::Input`] naming the file, the array and what would be right, for anything else; [`Error::Io`] where the file system refuses.
pub fn read(path: &Path) -> Result<Arrays> {
    read_within(path, memory_limit)
}

/// Like [`read`]. `memory_limit` gives the bytes of memory allowed for a file of a given length.
fn read_within(path: &Path, memory_limit: impl Fn(u64) -> u64) -> Result<Arrays> {
    let mut file = open_read(path)?;
    let container = |fault| refused_container(path, fault);
    let length = file.seek(SeekFrom::End(0)).map_err(|source| Error::io(path, "read", source))?;
    let bare = zip_guard::WithoutComment::of(file).map_err(container)?;
    let mut archive =
        ZipArchive::with_config(zip_guard::CONFIG, BufReader::new(bare)).map_err(|error| container(error.into()))?;
    let names = zip_guard::check_members(&mut archive).map_err(container)?;
    let refused = |name: &str, fault| match fault {
        npy_header::Fault::Read(source) if source.raw_os_error().is_some() => Error::io(path, "read", source),
        npy_header::Fault::Read(source) => {
            Error::input(place(path, name), format!("is damaged: {source}"), "save the file anew")
        }
        npy_header::Fault::Refused(problem, remedy) => Error::input(place(path, name), problem, remedy),
    };
    // All headers before any values: a bomb in many members is refused before the first is inflated.
    let most = memory_limit(length);
    let mut left = most;
    for (index, name) in names.iter().enumerate() {
        let mut member = archive.by_index(index).map_err(|error| container(error.into()))?;
        let size = member.size();
        let header = read_header(&mut member, size).map_err(|fault| refused(name, fault))?;
        left = left.checked_sub(header.memory()).ok_or_else(|| {
            let problem = format!("would take {} bytes of memory, far more than the file has", header.memory());
            Error::input(place(path, name), problem, "save it uncompressed, with numpy.savez")
        })?;
    }
    if most - left > LARGE {
        limits::require((most - left).into(), "smaller arrays need less")?;
    }
    let mut arrays = Arrays::new();
    for (index, name) in names.into_iter().enumerate() {
        let member = archive.by_index(index).map_err(|error| container(error.into()))?;
        let size = member.size();
        let array =
            read_array(BufReader::with_capacity(1 << 16, member), size).map_err(|fault| refused(&name, fault))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// Writes arrays as an uncompressed `.npz` file, whole or not at all. The same arrays give the same bytes.
///
/// # Errors
/// [`Error::Input`] for a name or an array that cannot be written; otherwise as [`atomic::write`].
pub fn write(path: &Path, arrays: &Arrays) -> Result<()> {
    for (name, array) in arrays {
        let place = || place(path, name);
        if name.is_empty() || name.len() > 1024 || name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')) {
            let problem = "is no name for an array in an .npz file";
            return Err(Error::input(
                place(),
                problem,
                "use at most 1024 bytes, without slashes and control characters",
            ));
        }
        let product = array.shape.iter().try_fold(1usize, |all, &extent| all.checked_mul(extent));
        if product != Some(array.len()) {
            let problem = format!("has {} values in the shape {:?}", array.len(), array.shape);
            return Err(Error::input(place(), problem, "the shape's product must be the number of values"));
        }
        if let Values::Text(texts) = &array.values
            && texts.iter().any(|text| text.ends_with('\0'))
        {
            let problem = "has a string that ends in NUL, which NumPy takes for padding";
            return Err(Error::input(place(), problem, "leave the NUL out"));
        }
    }
    atomic::write(path, |out| write_all(out, arrays))
}

fn write_all(out: &mut dyn WriteSeek, arrays: &Arrays) -> io::Result<()> {
    let mut latch = Latch { out, at: 0, error: None };
    let written = write_archive(&mut latch, arrays);
    // The latch has the disk's own error; what the zip writer makes of a failure is only its consequence.
    latch.error.map_or(written, Err)
}

fn write_archive(out: &mut Latch<'_>, arrays: &Arrays) -> io::Result<()> {
    let mut zip = ZipWriter::new(out);
    for (name, array) in arrays {
        // Above this a member's size needs ZIP64; strings have four bytes a character.
        let bytes = match &array.values {
            Values::Text(texts) => 4 * width(texts) as u64 * texts.len() as u64,
            values => 8 * values.len() as u64,
        };
        // No time of writing: the same arrays are the same file.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .system(zip::System::Unix)
            .large_file(bytes > 0xf000_0000);
        zip.start_file(format!("{name}.npy"), options)?;
        let mut buffered = BufWriter::with_capacity(1 << 16, &mut zip);
        write_array(&mut buffered, array)?;
        // Left to its drop, the buffer would keep the error to itself.
        buffered.flush()?;
    }
    zip.finish()?;
    Ok(())
}

fn write_array(out: impl Write, array: &Array) -> io::Result<()> {
    let shape: Vec<u64> = array.shape.iter().map(|&extent| extent as u64).collect();
    match &array.values {
        Values::F32(values) => write_values(out, "<f4", &shape, values.iter()),
        Values::F64(values) => write_values(out, "<f8", &shape, values.iter()),
        Values::I64(values) => write_values(out, "<i8", &shape, values.iter()),
        Values::Text(texts) => {
            write_values(out, &format!("<U{}", width(texts)), &shape, texts.iter().map(String::as_str))
        }
    }
}

fn write_values<T: npyz::Serialize>(
    out: impl Write,
    descr: &str,
    shape: &[u64],
    values: impl Iterator<Item = T>,
) -> io::Result<()> {
    let descr: npyz::TypeStr = descr.parse().map_err(io::Error::other)?;
    let options = npyz::WriteOptions::<T>::new().dtype(npyz::DType::new_scalar(descr)).shape(shape);
    let mut writer = options.writer(out).begin_nd()?;
    writer.extend(values)?;
    writer.finish()
}

/// Characters of the longest string, but at least 1: NumPy has no strings of width 0.
fn width(texts: &[String]) -> usize {
    texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1)
}

/// Reads a header and checks that it fits a member of `size` bytes; leaves the reader at the first value.
fn read_header(reader: &mut impl Read, size: u64) -> std::result::Result<Header, npy_header::Fault> {
    let header = Header::read(reader)?;
    let (needs, has) = (header.data_bytes, size.saturating_sub(header.header_bytes));
    if has != needs {
        let problem = format!("needs {needs} bytes for its shape and has {has}");
        return Err(npy_header::Fault::Refused(problem, "save the file anew"));
    }
    Ok(header)
}

pub(super) fn read_array(mut reader: impl Read, size: u64) -> std::result::Result<Array, npy_header::Fault> {
    let header = read_header(&mut reader, size)?;
    let values = read_values(&mut reader, &header).map_err(npy_header::Fault::Read)?;
    // Also what makes the zip reader compare its checksum.
    if reader.read(&mut [0]).map_err(npy_header::Fault::Read)? != 0 {
        let problem = "has more bytes than its shape needs".into();
        return Err(npy_header::Fault::Refused(problem, "save the file anew"));
    }
    let values = if header.fortran { from_fortran(values, &header.shape) } else { values };
    Ok(Array { shape: header.shape, values })
}

fn read_values(reader: &mut impl Read, header: &Header) -> io::Result<Values> {
    let exact = |value: u64| {
        let refused = || invalid(format!("{value} is above the largest int64"));
        i64::try_from(value).map_err(|_| refused())
    };
    Ok(match header.kind {
        Kind::Bool => Values::I64(collect(reader, header, |value: u8| Ok(i64::from(value != 0)))?),
        Kind::Signed(1) => Values::I64(collect(reader, header, |value: i8| Ok(i64::from(value)))?),
        Kind::Signed(2) => Values::I64(collect(reader, header, |value: i16| Ok(i64::from(value)))?),
        Kind::Signed(4) => Values::I64(collect(reader, header, |value: i32| Ok(i64::from(value)))?),
        Kind::Signed(_) => Values::I64(collect(reader, header, |value: i64| Ok(value))?),
        Kind::Unsigned(1) => Values::I64(collect(reader, header, |value: u8| Ok(i64::from(value)))?),
        Kind::Unsigned(2) => Values::I64(collect(reader, header, |value: u16| Ok(i64::from(value)))?),
        Kind::Unsigned(4) => Values::I64(collect(reader, header, |value: u32| Ok(i64::from(value)))?),
        Kind::Unsigned(_) => Values::I64(collect(reader, header, exact)?),
        Kind::Float(2) => Values::F32(collect(reader, header, |value: f16| Ok(value.to_f32()))?),
        Kind::Float(4) => Values::F32(collect(reader, header, |value: f32| Ok(value))?),
        Kind::Float(_) => Values::F64(collect(reader, header, |value: f64| Ok(value))?),
        Kind::Text(_) => Values::Text(collect(reader, header, |value: String| Ok(value))?),
    })
}

/// Reads all values, allocating memory only as they arrive.
fn collect<T: npyz::Deserialize, U>(
    reader: &mut impl Read,
    header: &Header,
    convert: impl Fn(T) -> io::Result<U>,
) -> io::Result<Vec<U>> {
    let mut values = Vec::new();
    for value in npyz::NpyFile::with_header(header.for_npyz()?, reader).data::<T>().map_err(invalid)? {
        if values.len() == values.capacity() {
            let more = values.len().max(1 << 14).min(header.count - values.len());
            values.try_reserve_exact(more).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        }
        values.push(convert(value?)?);
    }
    Ok(values)
}

fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

fn from_fortran(values: Values, shape: &[usize]) -> Values {
    if shape.len() < 2 || values.is_empty() {
        return values;
    }
    match values {
        Values::F32(values) => Values::F32(transposed(&values, shape)),
        Values::F64(values) => Values::F64(transposed(&values, shape)),
        Values::I64(values) => Values::I64(transposed(&values, shape)),
        Values::Text(values) => Values::Text(transposed(&values, shape)),
    }
}

/// Turns column-major values into row-major order; no extent is 0.
fn transposed<T: Clone>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[at].clone());
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

/// The file and the array, on one line whatever characters the name contains.
fn place(path: &Path, name: &str) -> String {
    let short: String = name.chars().take(64).collect();
    format!("{}: array {}", path.display(), short.escape_debug())
}

fn refused_container(path: &Path, fault: zip_guard::Fault) -> Error {
    const REMEDY: &str = "save it with numpy.savez";
    match fault {
        zip_guard::Fault::Read(source) => Error::io(path, "read", source),
        zip_guard::Fault::Refused(None, problem) => Error::file(path, problem, REMEDY),
        zip_guard::Fault::Refused(Some(name), problem) => Error::input(place(path, &name), problem, REMEDY),
    }
}

/// Keeps the first error from below and swallows everything after it. Otherwise the zip writer, dropped after an error, would write to the
/// full disk again and report that on standard error.
struct Latch<'a> {
    out: &'a mut dyn WriteSeek,
    at: u64,
    error: Option<io::Error>,
}

impl Latch<'_> {
    fn guard<T>(&mut self, fallback: T, act: impl FnOnce(&mut dyn WriteSeek) -> io::Result<T>) -> T {
        if self.error.is_some() {
            return fallback;
        }
        act(&mut *self.out).unwrap_or_else(|error| {
            self.error = Some(error);
            fallback
        })
    }
}

impl Write for Latch<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.guard(bytes.len(), |out| out.write_all(bytes).map(|()| bytes.len()));
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.guard((), |out| out.flush());
        Ok(())
    }
}

impl Seek for Latch<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let here = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) | SeekFrom::End(by) => self.at.saturating_add_signed(by),
        };
        self.at = self.guard(here, |out| out.seek(to));
        Ok(self.at)
    }
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;
