//! A batch file: its name, lengths and forms, where its images go, and the errors for a wrong file.

use std::fmt;
use std::io;
use std::path::Path;

use crate::Error;
use crate::data::image_set::{IMAGE, Images};

/// The names of the batch files without their extensions: five hold training images, one test images.
pub(super) const NAMES: [&str; 6] =
    ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
/// Images in a batch file.
pub(super) const IMAGES: usize = 10_000;
/// Bytes of a record of a binary batch: the label, then the image.
pub(super) const RECORD: usize = 1 + IMAGE;
/// Bytes of a binary batch.
pub(super) const BINARY_BYTES: u64 = (IMAGES * RECORD) as u64;
/// The most bytes of a pickled batch. The original has 31 million. One that Python 3 wrote again with protocol 2 stores its pixels as text,
/// up to two bytes each.
pub(super) const PICKLE_BYTES: u64 = 72 << 20;

/// Where a batch was read from, and its size there in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// The place in memory for the images of one batch file: [`IMAGES`] of them.
pub(super) struct Batch<'a> {
    pub(super) pixels: &'a mut [u8],
    pub(super) labels: &'a mut [u8],
}

impl<'a> Batch<'a> {
    pub(super) fn all_in(images: &'a mut Images) -> impl Iterator<Item = Batch<'a>> {
        let pixels = images.pixels.chunks_exact_mut(IMAGES * IMAGE);
        pixels.zip(images.labels.chunks_exact_mut(IMAGES)).map(|(pixels, labels)| Batch { pixels, labels })
    }
}

/// How a batch file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    Python,
}

/// The file, or the member of an archive, that is being read; for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) path: &'a Path,
    pub(super) member: Option<&'a str>,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.member {
            Some(member) => write!(f, "{}, {member}", self.path.display()),
            None => self.path.display().fmt(f),
        }
    }
}

/// The remedy for a file that is not what it should be.
pub(super) const REMEDY: &str = "give the original file (`normscape data fetch` downloads it)";

impl At<'_> {
    /// An error about the file as a whole.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::input(self.to_string(), problem, REMEDY)
    }

    /// An error about a place inside the file, such as "byte 7" or "field labels".
    pub(super) fn wrong_at(&self, inside: impl fmt::Display, problem: impl Into<String>) -> Error {
        Error::input(format!("{self}, {inside}"), problem, REMEDY)
    }

    /// An error for a read that failed at byte `offset` of the (unpacked) content, in the file system or in the packed data.
    pub(super) fn unreadable(&self, offset: u64, source: io::Error) -> Error {
        if source.raw_os_error().is_some() {
            return Error::io(self.path, "read", source);
        }
        // The decoders' own messages may quote the file's bytes: they are not shown.
        let problem = match source.kind() {
            io::ErrorKind::UnexpectedEof => "the compressed data end early",
            io::ErrorKind::FileTooLarge => "the compressed data unpack to more than any CIFAR-10 archive holds",
            _ => "the packed data are damaged",
        };
        self.wrong_at(format_args!("byte {offset}"), problem)
    }
}
