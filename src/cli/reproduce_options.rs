//! The options of `normscape reproduce`.

use crate::data::cifar10;
use crate::experiment::Scale;
use crate::experiment::runs::{Kind, LARGEST_SEED, Request};
use crate::experiment::share::Share;
use clap::{ArgGroup, Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a share waits for a run on which another process works, in seconds. A lost machine's locks on a network file system go within
/// some minutes.
const PATIENCE: u64 = 300;

/// Options of `reproduce`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("shared").args(["part", "on"]).multiple(true))]
pub struct Options {
    /// What to reproduce: fig1 to fig14, accuracy and so on (--list), all, or a TOML file of yours
    #[arg(value_name = "TARGET", default_value = "all")]
    pub targets: Vec<String>,
    /// How much of the paper's settings
    #[arg(long, value_enum, value_name = "SCALE", default_value = "quick")]
    pub scale: ScaleName,
    /// Folder for runs, figures, report; finished runs in it are not made again
    /// [default: reproduced/SCALE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// CIFAR-10's folder or archive, or images [default: CIFAR-10 where it is found, else images]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Only runs of this network
    #[arg(long, value_enum, value_name = "NETWORK")]
    pub network: Option<NetworkName>,
    /// Seed of the first run of each kind
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=LARGEST_SEED))]
    pub seed: u64,
    /// Number of seeds, for runs made with several [default: the experiment's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// How many runs go at once [default: on the CPU one per thread, as far as memory allows; with GPUs one for each; else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub jobs: Option<u64>,
    /// List the targets
    #[arg(long)]
    pub list: bool,
    /// Print the runs, and how long they would take, but make none
    #[arg(long)]
    pub dry_run: bool,
    /// Print the runs, but make none
    #[arg(long, conflicts_with = "dry_run")]
    pub list_runs: bool,
    /// Write TensorBoard events into every run's folder
    #[arg(long)]
    pub tensorboard: bool,
    /// Treat a failed claim as an error: exit code 5
    #[arg(long)]
    pub strict: bool,
    /// Make only the runs of share I of N, and no figures
    #[arg(long, value_name = "I/N", conflicts_with = "strict", help_heading = "On several machines")]
    pub part: Option<Share>,
    /// In a share: how long to wait for a run on which another process works [default: 300]
    #[arg(long, value_name = "SECONDS", requires = "shared", help_heading = "On several machines")]
    pub wait: Option<u64>,
    /// Make no runs: only figures, claims and report, of runs that are finished
    #[arg(long, conflicts_with_all = ["part", "list_runs", "tensorboard", "jobs"], help_heading = "On several machines")]
    pub gather: bool,
    /// Submit shares, and a job that gathers them, to a scheduler: "slurm WORDS", with words for sbatch
    #[arg(long, value_name = "SCHEDULER", conflicts_with_all = ["part", "gather", "list_runs"], help_heading = "On several machines")]
    pub on: Option<String>,
    /// With --on: the number of shares [default: one for each run, 64 at most]
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u64).range(1..=10_000), help_heading = "On several machines")]
    pub shares: Option<u64>,
}

impl Options {
    /// The folder for everything.
    pub fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("reproduced").join(self.scale().name()))
    }

    /// The scale.
    pub fn scale(&self) -> Scale {
        match self.scale {
            ScaleName::Smoke => Scale::Smoke,
            ScaleName::Quick => Scale::Quick,
            ScaleName::Overnight => Scale::Overnight,
            ScaleName::Paper => Scale::Paper,
        }
    }

    /// How long a run's folder is waited for that another process has.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(if self.part.is_some() { self.wait.unwrap_or(PATIENCE) } else { 0 })
    }

    /// What is asked for, on these images, with the precision of runs and that of deep linear networks.
    pub fn request(&self, pictures: &str, [precision, precision_of_dln]: [&str; 2]) -> Request {
        Request {
            scale: self.scale(),
            pictures: pictures.into(),
            seed: self.seed,
            seeds: self.seeds,
            network: self.network.map(|network| match network {
                NetworkName::Dln => Kind::Dln,
                NetworkName::Vgg => Kind::Vgg,
            }),
            precision: precision.into(),
            precision_of_dln: precision_of_dln.into(),
        }
    }
}

impl NetworkName {
    /// The value of `--network` that names it.
    pub fn name(self) -> &'static str {
        match self {
            NetworkName::Dln => "dln",
            NetworkName::Vgg => "vgg",
        }
    }
}

/// The images that VGG trains on: those that `--data` names, else CIFAR-10 where it is found, else `images`.
pub fn pictures(data: Option<&Path>) -> String {
    match data {
        Some(path) if path == Path::new("images") => "images".into(),
        given => cifar10::find(given).map_or_else(|| "images".to_owned(), |path| path.display().to_string()),
    }
}

/// The values of `--scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScaleName {
    /// Seconds each: everything runs
    Smoke,
    /// Two cores: the effects show
    Quick,
    /// A night on a laptop: the paper's number of steps, VGG-16 a quarter as wide
    Overnight,
    /// The paper's own settings: for a GPU
    Paper,
}

/// The values of `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkName {
    /// Deep linear networks
    Dln,
    /// VGG
    Vgg,
}
