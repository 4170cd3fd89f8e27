//! What all commands share: the global options and the program's version.

use super::device_options::{Choice, Precision, parse};
use super::values;
use crate::files::limits;
use clap::Args;

/// Version and commit: what `--version` says after the name.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("NORMSCAPE_COMMIT"), ")");

/// Options with the same meaning in every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Globals {
    /// The device that computes: auto, cpu, emulator, cuda or cuda:N
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto", value_parser = parse)]
    pub device: Choice,
    /// Precision of the arithmetic [default: f32; for a dln on the CPU f64]
    #[arg(long, global = true, value_name = "PRECISION", value_enum)]
    pub precision: Option<Precision>,
    /// Threads on the CPU; results do not depend on their number [default: as many as this process may use at once]
    #[arg(long, global = true, value_name = "N", value_parser = values::threads, allow_negative_numbers = true)]
    pub threads: Option<usize>,
    /// Print only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Globals {
    /// The value of `--threads`, or as many threads as this process may use at once.
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| limits::threads().count)
    }
}
