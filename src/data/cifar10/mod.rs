//! CIFAR-10 as people have it on their disks: the folder of `.bin` files (plain or gzipped), the folder of Python
//! pickles that torchvision leaves, or either one's archive, read without being unpacked.
//!
//! Every length and every label is checked, and no more is read or held than a right file would need, whatever a wrong
//! one says of itself.
//!
//! - `load`: the whole set · `place`: which of these a path is, and where the set is looked for by default
//! - `folder`, `archive`: the two ways in which the six batch files lie together
//! - `batch_file`: what the six files have in common · `records`: a binary batch
//! - `python`, `pickle`, `machine`, `value`: a Python batch, and the reader of pickles behind it, which executes nothing
//! - `twice`: images that stand in two batches
//! - `inspect`: what a path holds, for people
//! - `fixture`, `tests`: right and wrong sets, and what must become of them
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
