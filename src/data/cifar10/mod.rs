//! CIFAR-10 as people have it on their disks: the folder of `.bin` files (plain or gzipped), the folder of Python
//! pickles that torchvision leaves, or either one's archive, read without being unpacked.
//!
//! Every length and every label is checked, and no more is read or held than a right file would need, whatever a wrong
//! one says of itself.
//!
//! - `place`: which of these a path is, and where the set is looked for by default
//! - `folder`, `archive`: the two ways in which the six batch files lie together
//! - `records`: a binary batch
//! - `python`, `pickle`, `machine`: a Python batch, and the reader of pickles behind it, which executes nothing
//! - `twice`: images that stand in two batches
//! - `inspect`: what a path holds, for people
//! - `fixture`, `tests`: right and wrong sets, and what must become of them
//!
//! Format: <https://www.cs.toronto.edu/~kriz/cifar.html>.

mod archive;
#[cfg(test)]
mod fixture;
mod folder;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inspect;
mod machine;
mod pickle;
mod place;
mod python;
mod records;
#[cfg(test)]
mod tests;
mod twice;

use std::fmt;
use std::io;
use std::path::Path;

pub use inspect::{BatchFile, Inspection, inspect};
pub use place::{cache_folder, find, named_by_environment, usual_places, usual_places_in_words};

use crate::data::image_set::{IMAGE, ImageSet, Images};
use crate::files::limits;
use crate::{Error, Result};
use place::{Found, Layout};

/// The classes, in label order.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The batch files without their extensions: five of training images, one of test images.
const NAMES: [&str; 6] = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
/// Images in a batch file.
const IMAGES: usize = 10_000;
/// Bytes of a record of a binary batch: the label, then the image.
const RECORD: usize = 1 + IMAGE;
/// Bytes of a binary batch.
const BINARY_BYTES: u64 = (IMAGES * RECORD) as u64;
/// Bytes that a pickled batch may have. The original has 31 million; one that Python 3 wrote again with protocol 2 has
/// its pixels as text, of up to two bytes each.
const PICKLE_BYTES: u64 = 72 << 20;

/// Reads CIFAR-10 from `path`: a folder with the six batch files (`.bin`, `.bin.gz`, or the Python version's), a folder
/// that holds such a folder or archive under its usual name or one like it, or an archive (`.tar.gz` or `.tar`) of either
/// version. Where a folder is there in part and the archive beside it, the archive is read, and the description says so.
///
/// # Errors
///
/// [`Error::Input`] where `path` is none of these, a file is not exactly what it should be (named with the byte
/// offset or the field), or a batch stands there twice; [`Error::Io`] where something cannot be read.
pub fn load(path: &Path) -> Result<ImageSet> {
    // The images, and a batch of them on its way.
    limits::require(7 * u128::from(BINARY_BYTES), "a machine or job with more of it is needed")?;
    Ok(read(path)?.0)
}

/// Where a batch was read from, and how many bytes it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    name: String,
    bytes: u64,
}

/// The set at `path`, how it lies there, and the source of each batch in the order of [`NAMES`].
fn read(path: &Path) -> Result<(ImageSet, Found, Vec<Source>)> {
    let found = place::locate(path)?.ok_or_else(|| place::nothing_at(path))?;
    let mut train = Images::blank(5 * IMAGES);
    let mut test = Images::blank(IMAGES);
    let batches = Batch::all_in(&mut train).chain(Batch::all_in(&mut test)).collect();
    let sources = match &found.layout {
        Layout::Folder(folder, form) => folder::read(folder, *form, batches),
        Layout::Archive(archive) => archive::read(archive, batches),
    };
    let sources = sources.map_err(|error| found.with_others(error))?;
    twice::refuse(&train, &test, &sources, found.layout.path()).map_err(|error| found.with_others(error))?;
    let mut description = format!("CIFAR-10 from {}", found.layout.path().display());
    if let Some(passed_over) = &found.passed_over {
        description += &format!(" (not from {passed_over})");
    }
    Ok((ImageSet { name: "cifar10", description, classes: CLASSES, train, test }, found, sources))
}

/// The place in memory of the images of one batch file: [`IMAGES`] of them.
struct Batch<'a> {
    pixels: &'a mut [u8],
    labels: &'a mut [u8],
}

impl<'a> Batch<'a> {
    fn all_in(images: &'a mut Images) -> impl Iterator<Item = Batch<'a>> {
        let pixels = images.pixels.chunks_exact_mut(IMAGES * IMAGE);
        pixels.zip(images.labels.chunks_exact_mut(IMAGES)).map(|(pixels, labels)| Batch { pixels, labels })
    }
}

/// How a batch is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Python,
}

/// A file, or a member of an archive, that is being read: for messages.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    path: &'a Path,
    member: Option<&'a str>,
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
const REMEDY: &str = "give the original file (`normscape data fetch` downloads it)";

impl At<'_> {
    /// The file as a whole is wrong.
    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::input(self.to_string(), problem, REMEDY)
    }

    /// The file is wrong at a place inside it: "byte 7", "field labels".
    fn wrong_at(&self, inside: impl fmt::Display, problem: impl Into<String>) -> Error {
        Error::input(format!("{self}, {inside}"), problem, REMEDY)
    }

    /// Reading failed at byte `offset` of the (unpacked) content: in the file system, or in the packed data.
    fn unreadable(&self, offset: u64, source: io::Error) -> Error {
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
