//! The one error type of the library.
//!
//! A message is one line. It names the operator or the file, what was expected and what was found. The command line prints it unchanged,
//! and [`Error::exit_code`] gives the process's exit code.

use std::path::{Path, PathBuf};

/// What can go wrong. The variants follow the exit codes, so that a caller can tell wrong input from a missing device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option, a file or an array from the user is not what it should be.
    #[error("{place}: {problem}; {remedy}")]
    Input {
        /// The option, or the file with its field or byte offset.
        place: String,
        /// What was found there.
        problem: String,
        /// What would be right.
        remedy: String,
    },
    /// Another process works in a run's folder.
    #[error("{}: another run is working in this folder; wait for it, or give another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// An operator was given tensors that do not fit together.
    #[error("{op}: expected {expected}, found {found}")]
    Operator {
        /// The operator's name, as in `normscape op NAME`.
        op: &'static str,
        /// The shapes, types or values that the operator takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// The file system refused an operation.
    #[error("{}: cannot {action}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in "cannot ‹write›".
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A device, a library or a compiler is not there.
    #[error("{what} is not available: {looked}")]
    Missing {
        /// The device, library or compiler.
        what: String,
        /// Where it was looked for, and what was found there.
        looked: String,
    },
    /// A device failed that was there: it was out of memory, was lost, or has too old a driver.
    #[error("{device}: cannot {action}: {problem}")]
    Device {
        /// Which device.
        device: String,
        /// What was being done, as in "cannot ‹launch›".
        action: String,
        /// What the device or its driver says, and what would be right.
        problem: String,
    },
    /// A kernel broke a rule; the emulator found it.
    #[error("kernel {kernel}, block {block:?}, thread {thread}: {problem}")]
    Kernel {
        /// The kernel's name.
        kernel: &'static str,
        /// Its block's index along x, y, z.
        block: [u32; 3],
        /// The thread's number in the block.
        thread: u32,
        /// Which rule it broke, and how.
        problem: String,
    },
    /// The loss or the gradient stopped being finite.
    #[error("training diverged at step {step}: the loss is {loss}")]
    Diverged {
        /// The step whose loss is not finite.
        step: u64,
        /// That loss.
        loss: f64,
    },
    /// Claims failed, and the user asked with `--strict` that none may.
    #[error("--strict: {} of the claims failed: {}", claims.len(), claims.join(", "))]
    ClaimsFailed {
        /// Their ids.
        claims: Vec<String>,
    },
    /// A signal asked the command to end; the finished work is saved.
    #[error("interrupted")]
    Interrupted,
}

/// The remedy for an operation that the operating system refused.
fn remedy(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match source.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => "free some space there, or choose another place",
        Kind::PermissionDenied => "allow this user to, or choose another place",
        Kind::ReadOnlyFilesystem => "choose a place that can be written to",
        Kind::InvalidFilename => "choose a shorter name",
        Kind::FileTooLarge => "allow larger files (ulimit -f), or choose another place",
        _ => "choose another place, or repair this one",
    }
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Input`]: the place, the problem there, and the remedy.
    pub fn input(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Input { place: place.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// The same error, naming the network's layer `name` in its problem.
    pub fn in_layer(self, name: &str) -> Self {
        match self {
            Error::Input { place, problem, remedy } if !name.is_empty() => {
                Error::Input { place, problem: format!("at {name}, {problem}"), remedy }
            }
            other => other,
        }
    }

    /// An [`Error::Input`] about a file.
    pub fn file(path: &Path, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::input(path.display().to_string(), problem, remedy)
    }

    /// An [`Error::Operator`]: what the operator takes, and what it was given.
    pub fn operator(op: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Error::Operator { op, expected: expected.into(), found: found.into() }
    }

    /// An [`Error::Io`] on `path`, while doing `action` ("read", "write", "create").
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), action, source }
    }

    /// An [`Error::Device`]: which device, what was being done, and the problem.
    pub fn device(device: &str, action: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Device { device: device.to_owned(), action: action.into(), problem: problem.into() }
    }

    /// The process's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Input { .. } | Error::Busy { .. } | Error::Operator { .. } | Error::Io { .. } => 2,
            Error::Missing { .. } | Error::Device { .. } | Error::Kernel { .. } => 3,
            Error::Diverged { .. } => 4,
            Error::ClaimsFailed { .. } => 5,
            Error::Interrupted => 130,
        }
    }
}
