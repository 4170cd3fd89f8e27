//! A batch file: what it is called, its lengths and forms, where its images go, and what is said of a wrong one.

use std::fmt;
use std::io;
use std::path::Path;

use crate::Error;
use crate::data::image_set::{IMAGE, Images};

/// The batch files without their extensions: five of training images, one of test images.
pub(super) const NAMES: [&str; 6] =
    ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
/// Images in a batch file.
pub(super) const IMAGES: usize = 10_000;
/// Bytes of a record of a binary batch: the label, then the image.
pub(super) const RECORD: usize = 1 + IMAGE;
/// Bytes of a binary batch.
pub(super) const BINARY_BYTES: u64 = (IMAGES * RECORD) as u64;
/// Bytes that a pickled batch may have. The original has 31 million; one that Python 3 wrote again with protocol 2 has
/// its pixels as text, of up to two bytes each.
pub(super) const PICKLE_BYTES: u64 = 72 << 20;

/// Where a batch was read from, and how many bytes it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// The place in memory of the images of one batch file: [`IMAGES`] of them.
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

/// How a batch is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    Python,
}

/// A file, or a member of an archive, that is being read: for messages.
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

/// What to do about a file that is not what it should be.
pub(super) const REMEDY: &str = "give the original file (`normscape data fetch` downloads it)";

impl At<'_> {
    /// The file as a whole is wrong.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::input(self.to_string(), problem, REMEDY)
    }

    /// The file is wrong at a place inside it: "byte 7", "field labels".
    pub(super) fn wrong_at(&self, inside: impl fmt::Display, problem: impl Into<String>) -> Error {
        Error::input(format!("{self}, {inside}"), problem, REMEDY)
    }

    /// Reading failed at byte `offset` of the (unpacked) content: in the file system, or in the packed data.
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
