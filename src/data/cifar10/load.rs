//! Loads the whole set, in whatever form it is stored.

use std::path::Path;

use super::batch_file::{BINARY_BYTES, Batch, IMAGES, Source};
use super::place::{self, Found, Layout};
use super::{archive, folder, twice};
use crate::Result;
use crate::data::image_set::{ImageSet, Images};
use crate::files::limits;

/// The classes, in label order.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Reads CIFAR-10 from `path`. That is a folder with the six batch files (`.bin`, `.bin.gz`, or the Python version's); a folder that holds
/// such a folder or archive under its usual name or a similar one; or an archive (`.tar.gz` or `.tar`) of either version. Where the folder
/// is incomplete and the archive is next to it, the archive is read, and the description says so.
///
/// # Errors
///
/// [`Error::Input`](crate::Error::Input) where `path` is none of these, a file is not exactly what it should be (the error names the byte
/// offset or the field), or a batch occurs twice; [`Error::Io`](crate::Error::Io) where something cannot be read.
pub fn load(path: &Path) -> Result<ImageSet> {
    // The images, and a batch of them on its way.
    limits::require(7 * u128::from(BINARY_BYTES), "a machine or job with more of it is needed")?;
    Ok(read(path)?.0)
}

/// The set at `path`, how it is stored there, and the source of each batch in the order of their names.
pub(super) fn read(path: &Path) -> Result<(ImageSet, Found, Vec<Source>)> {
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
