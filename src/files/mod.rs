//! Files: everything that the program reads from disk and writes to it. No other room touches the disk.
//!
//! Two promises hold throughout. A file appears whole or not at all (temporary name, sync, rename), and no error of the last write, flush
//! or sync is lost. And a file's declared sizes are never trusted: they are compared with the bytes that the file has before any memory is
//! taken.
//!
//! - [`mod@array`]: dense arrays as `.npz` files hold them, with [`Arrays`] as one file's content
//! - [`disk`]: opens, lists and removes, with errors that say what would be right · [`scratch`]: temporary folders that remove themselves
//! - [`atomic`]: writes whole files and whole folders
//! - [`cache`]: a cache of compiled kernels · [`image`]: hands bytes to the loader as a library
//! - [`append`]: a log of lines that grows, and is cut back on resume
//! - [`lock`]: allows one run per folder
//! - [`part`]: a file that arrives piece by piece
//! - [`lookup`]: what kind of thing is at a path
//! - [`machine`]: what the operating system reports about memory and processor · [`limits`]: how much of them this process may use
//! - [`notice`]: warnings for the user that are in no result
//! - [`hash`]: SHA-256 and MD5 as hexadecimal text
//! - [`npz`]: reads and writes NumPy archives, behind two guards: `zip_guard` for the container, `npy_header` for each array
//! - [`safetensors`]: parameters in a format that PyTorch reads
//! - [`tfevents`]: logs in a format that TensorBoard reads

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
