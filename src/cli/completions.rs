//! `normscape completions SHELL`

use super::Answer;
use clap_complete::Shell;

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The completion script, made from the table that also parses.
pub fn run(options: &Options, table: &mut clap::Command) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, table, "normscape", &mut script);
    Answer::text(String::from_utf8_lossy(&script))
}
