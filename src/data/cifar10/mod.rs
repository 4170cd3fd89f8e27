//! CIFAR-10 in the forms that people have on their disks: the folder of `.bin` files (plain or gzipped), the folder of Python pickles that
//! torchvision leaves, or the archive of either, read without unpacking it to disk.
//!
//! Every length and every label is checked. Whatever a wrong file declares, no more is read or held in memory than a right file needs.
//!
//! - `load`: the whole set · `place`: which of these forms a path has, and where the set is looked for by default
//! - `folder`, `archive`: the two ways in which the six batch files are stored together
//! - `batch_file`: what the six files have in common · `records`: a binary batch
//! - `python`, `pickle`, `machine`, `value`: a Python batch, and the reader of pickles behind it, which executes nothing
//! - `twice`: refuses images that occur in two batches
//! - `inspect`: describes a data set, for people
//! - `fixture`, `tests`: right and wrong sets, and the expected outcome for each
//!
//! Format: <https://www.cs.toronto.edu/~kriz/cifar.html>.

mod archive;
mod batch_file;
#[cfg(test)]
mod fixture;
mod folder;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inspect;
mod load;
mod machine;
mod pickle;
mod place;
mod python;
mod records;
#[cfg(test)]
mod tests;
mod twice;
mod value;

pub use inspect::{BatchFile, Inspection, inspect};
pub use load::{CLASSES, load};
pub use place::{cache_folder, find, named_by_environment, usual_places, usual_places_in_words};
