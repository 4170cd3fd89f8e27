//! Files: everything the program reads from disk and writes to it. Nothing outside this room touches the disk.
//!
//! Two promises hold throughout. A file appears whole or not at all (temporary name, sync, rename), and an error of the
//! last write, flush or sync is never lost. A file that is read is believed only as far as it has been checked: sizes
//! that it declares are compared with the bytes it has before any memory is taken for them.
//!
//! - [`mod@array`]: dense arrays as `.npz` files hold them, with [`Arrays`] as one file's content
//! - [`disk`]: opening, listing and removing, with messages that say what would be right · [`scratch`]: folders that go when they are done with
//! - [`atomic`]: whole files and whole folders
//! - [`cache`]: what can be made again · [`image`]: bytes that the loader takes as a library
//! - [`append`]: a log of lines that grows, and is cut back on resume
//! - [`lock`]: one run per folder
//! - [`part`]: a file that arrives piece by piece
//! - [`lookup`]: what stands at a path
//! - [`machine`]: what the operating system says of memory and processor · [`limits`]: what of them this process may have
//! - [`notice`]: what a user should know and no result tells
//! - [`hash`]: SHA-256 and MD5 as hexadecimal text
//! - [`npz`]: NumPy archives both ways, behind two guards: `zip_guard` for the container, `npy_header` for each array
//! - [`safetensors`]: parameters that PyTorch reads
//! - [`tfevents`]: logs that TensorBoard reads

pub mod append;
pub mod array;
pub mod atomic;
pub mod cache;
pub mod disk;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod hash;
pub mod image;
pub mod limits;
pub mod lock;
pub mod lookup;
pub mod machine;
pub mod notice;
mod npy_header;
pub mod npz;
pub mod part;
pub mod safetensors;
pub mod scratch;
pub mod tfevents;
mod zip_guard;

pub use append::AppendLog;
pub use array::{Array, Arrays, Values};
pub use lock::FolderLock;
