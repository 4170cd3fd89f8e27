//! The command line: one file per subcommand, and one table (the clap types) for help, completions and parsing.
//!
//! - [`expand`]: `@FILE` · [`refuse`]: the parser's errors, on one line · [`values`]: parsers of options' values
//! - [`globals`]: the options of every command · [`device_options`]: the values of `--device` and `--precision` · [`device`]: which device is
//!   used; only this file matches on it
//! - [`mod@answer`]: what a command returns: text for standard output, a line for standard error, an exit code
//! - [`terminal`]: prints the answer · [`progress`], [`plan_progress`]: messages while a command runs · [`plan_list`]: the runs of a plan ·
//!   [`interrupt`]: signals that ask to save and end
//! - [`words`]: a shell's words
//! - the commands: [`reproduce`], with its options ([`reproduce_options`]), runs that were made elsewhere ([`gather`]), what it says in the
//!   end ([`outcome`]), and jobs for a cluster ([`submit`], [`slurm`]); [`train`], with its options ([`train_options`]) and the changes that they may make to a resumed run
//!   ([`resume`]); [`probe`] and [`op`], with what they share ([`case`]); [`data`], with its contact sheets ([`sheet`]); [`theory`];
//!   [`mod@bench`]; [`info`]; [`completions`]
//!
//! A command prints nothing on standard output itself; it returns its [`Answer`]. So a closed pipe is handled in one place, and a result is
//! announced only after its files are written.

pub mod answer;
pub mod bench;
pub mod case;
pub mod completions;
pub mod data;
pub mod device;
pub mod device_options;
pub mod expand;
pub mod gather;
pub mod globals;
pub mod info;
pub mod interrupt;
pub mod op;
pub mod outcome;
pub mod plan_list;
pub mod plan_progress;
pub mod probe;
pub mod progress;
pub mod refuse;
pub mod reproduce;
pub mod reproduce_options;
pub mod resume;
pub mod sheet;
pub mod slurm;
mod spread;
pub mod submit;
pub mod terminal;
pub mod theory;
pub mod train;
pub mod train_options;
pub mod values;
pub mod words;

pub use answer::Answer;
pub use globals::{Globals, VERSION};

use crate::files::notice;
use crate::runtime::simd;
use crate::{Error, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

const AFTER: &str = "Any command line can stand in a file, one argument per line, given as @FILE.\n\
                     Exit codes: 0 done; 2 wrong input; 3 no such device or library; 4 diverged; 5 a claim failed; 130 interrupted, and saved.";

/// Train the networks of "How Does Batch Normalization Help Optimization?" and measure what that paper measures
#[derive(Debug, Parser)]
#[command(name = "normscape", version = VERSION, after_help = AFTER, subcommand_value_name = "COMMAND")]
#[command(disable_help_subcommand = true, infer_long_args = false, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reproduce the paper's experiments: runs, tables, figures
    Reproduce(Box<reproduce_options::Options>),
    /// Train one run, with optional probes
    Train(Box<train_options::TrainOptions>),
    /// Evaluate loss, gradient and landscape at your parameters and batch
    Probe(probe::Options),
    /// Run one operator on your arrays
    Op(op::Options),
    /// Download CIFAR-10, inspect a data set, look at images
    #[command(subcommand, subcommand_value_name = "COMMAND", disable_help_subcommand = true)]
    Data(data::Command),
    /// Evaluate the paper's statements on random instances
    Theory(theory::Options),
    /// Time steps and kernels next to the machine's measured limits
    Bench(bench::Options),
    /// Show which devices and libraries were found, and what would be used
    Info,
    /// Print completions for a shell
    Completions(completions::Options),
}

impl Command {
    /// Whether the command computes, or reports what would compute.
    fn computes(&self) -> bool {
        !matches!(self, Command::Data(_) | Command::Completions(_))
    }
}

/// The table behind help and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses and runs the command line, prints the answer, and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    interrupt::take_file_size_limits_as_errors();
    let answer = answer(args).unwrap_or_else(|error| Answer::failed(&error));
    notice::take().iter().for_each(|text| terminal::line(&format!("warning: {text}")));
    ExitCode::from(terminal::deliver(&answer))
}

fn answer(args: impl IntoIterator<Item = OsString>) -> Result<Answer> {
    let args = expand::expand(args)?;
    let mut table = command();
    let cli = match table.try_get_matches_from_mut(args).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return refuse::refuse(&error, &table),
    };
    let threads = cli.globals.thread_count();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool =
        pool.map_err(|e| Error::input(format!("--threads {threads}"), format!("{e}"), "give a smaller number"))?;
    pool.install(|| cli.run())
}

impl Cli {
    fn run(self) -> Result<Answer> {
        let globals = &self.globals;
        if self.command.computes() {
            simd::require()?;
        }
        match self.command {
            Command::Reproduce(options) => reproduce::run(&options, globals),
            Command::Train(options) => train::run(&options, globals),
            Command::Probe(options) => probe::run(&options, globals),
            Command::Op(options) => op::run(&options, globals),
            Command::Data(command) => data::run(&command, globals),
            Command::Theory(options) => theory::run(&options, globals),
            Command::Bench(options) => bench::run(&options, globals),
            Command::Info => info::run(globals),
            Command::Completions(options) => Ok(completions::run(&options, &mut command())),
        }
    }
}
