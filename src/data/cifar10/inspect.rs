//! Describes the data set at a path, for people: `normscape data inspect`.

use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::batch_file::{IMAGES, Source};
use super::load::read;
use crate::data::image_set::{CHANNELS, CLASSES, IMAGE, Images, Standardisation};
use crate::files::hash::md5_reader;
use crate::{Error, Result};

/// A CIFAR-10 data set that was found complete and right.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// How the set is stored: `folder of .bin files`, `folder of Python pickles`, `archive`.
    pub kind: &'static str,
    /// The folder or archive that holds the batch files.
    pub path: PathBuf,
    /// A place that was passed over because it is incomplete: which, and what it lacks.
    pub passed_over: Option<String>,
    /// The six batch files, the test batch last.
    pub files: Vec<BatchFile>,
    /// Training images of each class.
    pub train_per_class: [usize; CLASSES],
    /// Test images of each class.
    pub test_per_class: [usize; CLASSES],
    /// Mean of each channel of the training images, 0 to 1.
    pub mean: [f32; CHANNELS],
    /// Standard deviation (biased) of each channel of the training images, in the same units.
    pub std: [f32; CHANNELS],
    /// SHA-256 of the images and labels, as runs record it.
    pub hash: String,
}

/// One batch file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFile {
    /// Its name in the folder or archive.
    pub name: String,
    /// The file's length there; the compressed length where the file itself is compressed.
    pub bytes: u64,
    /// MD5 of the batch in `.bin` form, whatever its form here: equal batches have equal sums.
    pub md5: String,
}

/// Reads all of the CIFAR-10 set at `path` and describes it.
///
/// # Errors
///
/// The errors of [`load`](super::load()).
pub fn inspect(path: &Path) -> Result<Inspection> {
    let (set, found, sources) = read(path)?;
    let batches = [&set.train, &set.test].into_iter().flat_map(|images| {
        (0..images.len() / IMAGES).map(move |i| Records { images, next: i * IMAGES, end: (i + 1) * IMAGES, byte: 0 })
    });
    let batches: Vec<_> = sources.into_iter().zip(batches).collect();
    let file = |(source, batch): (Source, Records<'_>)| {
        let md5 = md5_reader(batch).map_err(|e| Error::io(path, "read", e))?;
        Ok(BatchFile { name: source.name, bytes: source.bytes, md5 })
    };
    let (files, hash) = rayon::join(|| batches.into_par_iter().map(file).collect::<Result<Vec<_>>>(), || set.hash());
    let Standardisation { mean, std, .. } = Standardisation::of(&set.train);
    Ok(Inspection {
        kind: found.layout.kind(),
        path: found.layout.path().to_owned(),
        passed_over: found.passed_over,
        files: files?,
        train_per_class: set.train.per_class(),
        test_per_class: set.test.per_class(),
        mean,
        std,
        hash,
    })
}

/// The images, as a reader over the records of a binary batch.
struct Records<'a> {
    images: &'a Images,
    next: usize,
    end: usize,
    /// How many bytes of record `next` have been read.
    byte: usize,
}

impl Read for Records<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.next == self.end || to.is_empty() {
            return Ok(0);
        }
        let n = if self.byte == 0 {
            to[0] = self.images.labels[self.next];
            1
        } else {
            let left = &self.images.image(self.next)[self.byte - 1..];
            let n = left.len().min(to.len());
            to[..n].copy_from_slice(&left[..n]);
            n
        };
        self.byte += n;
        if self.byte == 1 + IMAGE {
            self.byte = 0;
            self.next += 1;
        }
        Ok(n)
    }
}
