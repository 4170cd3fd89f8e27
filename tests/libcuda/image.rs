//! Which kernels a module holds: a cubin, which is an ELF file, or the text of PTX.

use super::codes::{Done, INVALID_IMAGE, INVALID_PTX, NO_BINARY_FOR_GPU};
use std::ffi::{CStr, c_void};
use std::ops::Range;

/// A section of an ELF file.
#[derive(Debug, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its bytes in the file; a section without content has a length all the same.
    pub range: Range<usize>,
}

/// A kernel of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes of shared memory that it declares.
    pub shared: u32,
}

/// Bytes of an ELF file's header, and of a row of its table of sections.
const HEADER: usize = 64;
/// The machine number of NVIDIA's GPUs.
const EM_CUDA: u64 = 190;

fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..size].copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
    Some(u64::from_le_bytes(word))
}

/// Where the tables of an ELF file end: its length, as far as its header says.
fn end(header: &[u8]) -> Option<usize> {
    let table = |start: usize, entry: usize| {
        Some(number(header, start, 8)? + number(header, entry, 2)? * number(header, entry + 2, 2)?)
    };
    usize::try_from(table(32, 54)?.max(table(40, 58)?)).ok()
}

/// The sections of an ELF file of 64 bits; none where it is not one.
pub fn sections(bytes: &[u8]) -> Option<Vec<Section>> {
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (start, size, count) = (number(bytes, 40, 8)?, number(bytes, 58, 2)?, number(bytes, 60, 2)?);
    let row = |n: u64| Some((start + n * size) as usize);
    let range = |n: u64| {
        let from = number(bytes, row(n)? + 24, 8)? as usize;
        Some(from..from + number(bytes, row(n)? + 32, 8)? as usize)
    };
    let names = bytes.get(range(number(bytes, 62, 2)?)?)?;
    let name = |n: u64| {
        let text = names.get(number(bytes, row(n)?, 4)? as usize..)?;
        Some(CStr::from_bytes_until_nul(text).ok()?.to_string_lossy().into_owned())
    };
    (0..count).map(|n| Some(Section { name: name(n)?, range: range(n)? })).collect()
}

/// The kernels of a cubin. Errors: it is none, or it is for another architecture than `capability`.
fn of_cubin(bytes: &[u8], capability: u32) -> Done<Vec<Entry>> {
    let found = sections(bytes).filter(|_| number(bytes, 18, 2) == Some(EM_CUDA)).ok_or(INVALID_IMAGE)?;
    // Where the architecture stands depends on the version of the interface, which is the byte after the one that names it.
    let flags = number(bytes, 48, 4).unwrap_or(0);
    let arch = if bytes[8] >= 8 { flags >> 8 & 0xFF } else { flags & 0xFF } as u32;
    if arch / 10 != capability / 10 || arch > capability {
        return Err(NO_BINARY_FOR_GPU);
    }
    // From sm_90 on a section begins with what the system keeps of every block.
    let reserved = if arch >= 90 { 1024 } else { 0 };
    let shared = |name: &str| {
        let own = format!(".nv.shared.{name}");
        found.iter().find(|section| section.name == own).map_or(0, |section| section.range.len() as u32 - reserved)
    };
    let names = found.iter().filter_map(|section| section.name.strip_prefix(".text."));
    Ok(names.map(|name| Entry { name: name.to_owned(), shared: shared(name) }).collect())
}

/// The kernels of PTX. Errors: it is none, or for a newer architecture than `capability`.
fn of_ptx(text: &str, capability: u32) -> Done<Vec<Entry>> {
    let arch = text.split(".target sm_").nth(1).ok_or(INVALID_IMAGE)?;
    let arch: String = arch.chars().take_while(char::is_ascii_digit).collect();
    if arch.parse::<u32>().map_err(|_| INVALID_PTX)? > capability {
        return Err(NO_BINARY_FOR_GPU);
    }
    let name = |rest: &str| rest.split('(').next().unwrap_or_default().trim().to_owned();
    // What a kernel declares in PTX is laid out only when it is compiled.
    Ok(text.split(".entry ").skip(1).map(|rest| Entry { name: name(rest), shared: 0 }).collect())
}

/// Whether it is what a test's own compiler made: see `tests/runs/driver/libnvrtc.cpp`.
///
/// # Safety
/// As [`read`].
pub unsafe fn is_made(image: *const c_void) -> bool {
    // SAFETY: by the caller's promise, and the second byte is looked at only after a first that is no end.
    unsafe { *image.cast::<u8>() == b'/' && CStr::from_ptr(image.cast()).to_bytes().starts_with(b"// made") }
}

/// The kernels of what `cuModuleLoadData` is given, on a device of `capability`.
///
/// # Safety
/// `image` points to a whole ELF file, or to a text with a 0 at its end.
pub unsafe fn read(image: *const c_void, capability: u32) -> Done<Vec<Entry>> {
    // SAFETY: by the caller's promise; an ELF file is at least as long as its header, and as long as this says.
    unsafe {
        if std::slice::from_raw_parts(image.cast::<u8>(), 1) == [0x7F] {
            let header = std::slice::from_raw_parts(image.cast::<u8>(), HEADER);
            let length = end(header).filter(|&length| length < 1 << 30).ok_or(INVALID_IMAGE)?;
            return of_cubin(std::slice::from_raw_parts(image.cast(), length), capability);
        }
        let text = CStr::from_ptr(image.cast()).to_str().map_err(|_| INVALID_IMAGE)?;
        of_ptx(text, capability)
    }
}
