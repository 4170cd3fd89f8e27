//! `normscape reproduce`: the paper's figures, claims and report from one command.

use super::device::{Device, Job, announce_in, isa_name};
use super::device_options::Precision;
use super::interrupt;
use super::plan_list;
use super::plan_progress::PlanProgress;
use super::progress::duration;
use super::terminal::line;
use super::train_options::SAVED_WITHIN;
use super::{Answer, Globals, VERSION};
use crate::data::cifar10;
use crate::experiment::assemble::{self, About, Made};
use crate::experiment::estimate::{Estimate, UNCERTAIN, estimate};
use crate::experiment::evidence::Evidence;
use crate::experiment::plan::Plan;
use crate::experiment::runner::{Make, run_all};
use crate::experiment::runs::{Kind, LARGEST_SEED, Request};
use crate::experiment::{Scale, catalogue, memory};
use crate::files::{FolderLock, disk};
use crate::ops::backend::Backend;
use crate::report::{Cell, ClaimKind, ClaimRow, Table, Verdict};
use crate::train::{Finished, Observer, Place, Settings, Source, Start, Trainer};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A run that would take longer than this is announced before it starts.
const LONG: f64 = 2.0 * 3600.0;

/// Options of `reproduce`.
#[derive(Debug, Args)]
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
    /// How many runs go at once [default: on the CPU one per thread, as far as memory allows; else 1]
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

/// What is decided before anything runs.
struct Work<'a> {
    plan: Plan,
    device: Device,
    /// How many runs go at once, and the threads of each.
    workers: (usize, usize),
    stop: Arc<AtomicBool>,
    options: &'a Options,
    globals: &'a Globals,
}

/// Makes the runs that are not finished, then the tables, figures and report made from them.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    if options.list {
        return list(globals);
    }
    let experiments = catalogue::find(&options.targets)?;
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    let pictures = match options.data.as_deref() {
        Some(path) if path == Path::new("images") => "images".into(),
        given => cifar10::find(given).map_or_else(|| "images".to_owned(), |path| path.display().to_string()),
    };
    let request = Request {
        scale: match options.scale {
            ScaleName::Smoke => Scale::Smoke,
            ScaleName::Quick => Scale::Quick,
            ScaleName::Overnight => Scale::Overnight,
            ScaleName::Paper => Scale::Paper,
        },
        pictures,
        seed: options.seed,
        seeds: options.seeds,
        network: options.network.map(|network| match network {
            NetworkName::Dln => Kind::Dln,
            NetworkName::Vgg => Kind::Vgg,
        }),
        precision: device.precision().name().into(),
        precision_of_dln: device.unless_asked(globals.precision, true).precision().name().into(),
    };
    let plan = Plan::new(experiments, &catalogue::shared()?, request)?;
    let workers = workers(&plan, device, options, globals);
    if options.list_runs {
        // Where it is listed it need not run: the memory may be another machine's.
        return plan_list::answer(&plan, workers.map_or(1, |(at_once, _)| at_once), globals.json);
    }
    let workers = workers?;
    let work = Work { plan, device, workers, stop: interrupt::flag()?, options, globals };
    if options.dry_run { work.foretell() } else { work.reproduce() }
}

/// How long it will take, and how far off that estimate may be.
fn roughly(estimate: &Estimate) -> String {
    format!("{} (± {:.0} %)", duration(estimate.total), 100.0 * UNCERTAIN)
}

fn list(globals: &Globals) -> Result<Answer> {
    let all: Vec<String> = catalogue::names().into_iter().map(Into::into).collect();
    let experiments = catalogue::find(&all)?;
    if globals.json {
        let list = experiments.iter().map(|of| json!({ "target": of.name, "title": of.shown.title }));
        return Ok(Answer::json(&Value::Array(list.collect())));
    }
    let mut table = Table::new(["target", "what it is"]);
    for of in &experiments {
        table.row([Cell::from(of.name.as_str()), Cell::from(of.shown.title.as_str())]);
    }
    table.row([Cell::from("all"), Cell::from("all of these but demo, whose runs they have too")]);
    Ok(Answer::text(table.to_string()))
}

/// How many runs go at once, and the threads of each: small networks gain more from one core each than from sharing all cores.
fn workers(plan: &Plan, device: Device, options: &Options, globals: &Globals) -> Result<(usize, usize)> {
    let threads = globals.thread_count();
    let on_cpu = matches!(device, Device::CpuF32 | Device::CpuF64);
    let jobs = options.jobs.and_then(|jobs| usize::try_from(jobs).ok());
    let most = match (on_cpu, jobs) {
        (true, jobs) => memory::workers(plan, jobs.unwrap_or(threads))?,
        (false, jobs) if device.on_host() => memory::workers(plan, jobs.unwrap_or(1))?,
        (false, jobs) => jobs.unwrap_or(1),
    };
    let workers = most.min(plan.runs().count()).max(1);
    Ok((workers, (threads / workers).max(1)))
}

impl Work<'_> {
    fn out(&self) -> PathBuf {
        let own = || Path::new("reproduced").join(self.plan.request.scale.name());
        self.options.out.clone().unwrap_or_else(own)
    }

    /// The answer to `--dry-run`.
    fn foretell(&self) -> Result<Answer> {
        announce_in(self.device, &self.precisions(), self.globals);
        let estimate = self.estimate()?;
        let Estimate { runs, total, memory } = &estimate;
        if self.globals.json {
            return Ok(Answer::json(&json!({
                "runs": plan_list::json(&self.plan, Some(runs))?, "seconds": total, "uncertainty": UNCERTAIN,
                "at_once": self.workers.0, "bytes": plan_list::whole(memory[1]),
            })));
        }
        let (count, at_once) = (runs.len(), self.workers.0);
        let megabytes = (memory[1] >> 20).max(1);
        let words = format!(
            "\n{count} runs, {at_once} at once: about {}, and {megabytes} MiB of memory; what is finished in {} is not made again\n",
            roughly(&estimate),
            self.out().display()
        );
        Ok(Answer::text(plan_list::table(&self.plan, Some(runs)).to_string() + &words))
    }

    fn estimate(&self) -> Result<Estimate> {
        if !self.globals.quiet {
            line("timing a few steps");
        }
        estimate(&self.plan, self.workers, &self.stop, self)
    }

    fn reproduce(&self) -> Result<Answer> {
        let (began, out) = (Instant::now(), self.out());
        disk::create_dir_all(&out)?;
        let lock = FolderLock::acquire(&out)?;
        lock.warning().iter().for_each(|text| line(&format!("warning: {text}")));
        // What a part that was killed left half-written; the runs see to their own.
        for folder in [out.clone(), out.join("figures")].iter().filter(|folder| disk::exists(folder)) {
            disk::remove_stale_partials(folder)?;
        }
        announce_in(self.device, &self.precisions(), self.globals);
        self.say_first()?;
        let progress = PlanProgress::new(&self.plan, self.globals.quiet)?;
        let made = run_all(&self.plan, &out.join("runs"), self.workers, &self.stop, &progress, self);
        progress.end();
        let trained = began.elapsed().as_secs_f64();
        let evidence = match made.and_then(|()| Evidence::gather(&self.plan, &out.join("runs"), &self.stop)) {
            Ok(evidence) => evidence,
            Err(Error::Interrupted) => {
                let words = "interrupted: what was done is saved; the same command goes on from there";
                return Ok(Answer::default().with(words, interrupt::CODE));
            }
            Err(error) => return Err(error),
        };
        let made = assemble::write(&evidence, &out, &self.about(trained))?;
        Ok(self.answer(&made, began.elapsed().as_secs_f64()).in_files())
    }

    /// Prints which data VGG trains on and, at large scales on the CPU, how long it will take.
    fn say_first(&self) -> Result<()> {
        if self.globals.quiet {
            return Ok(());
        }
        let vgg = self.plan.groups.iter().any(|group| Kind::of(group.settings()) == Kind::Vgg);
        match self.plan.request.pictures.as_str() {
            _ if !vgg => {}
            "images" => line("VGG trains on generated images (CIFAR-10: normscape data fetch, or --data PATH)"),
            path => line(&format!("VGG trains on CIFAR-10 from {path}")),
        }
        if self.plan.request.scale >= Scale::Overnight && self.device.on_host() {
            let estimate = self.estimate()?;
            let long = if estimate.total > LONG { "; a GPU is what this scale is for" } else { "" };
            line(&format!("on this CPU it takes about {}{long}", roughly(&estimate)));
        }
        Ok(())
    }

    /// The precision of the runs, and that of deep linear networks where it differs.
    fn precisions(&self) -> String {
        let Request { precision, precision_of_dln, .. } = &self.plan.request;
        match precision == precision_of_dln {
            true => precision.clone(),
            false => format!("{precision}; deep linear networks {precision_of_dln}"),
        }
    }

    fn about(&self, trained: f64) -> About {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (workers, threads) = self.workers;
        let at_once = format!("{workers}, {threads} threads each");
        About {
            device: format!("{} ({})", self.device.name(), self.precisions()),
            version: VERSION.into(),
            pictures: match self.plan.request.pictures.as_str() {
                "images" => "generated images of textured shapes".into(),
                _ => "CIFAR-10".into(),
            },
            cost: vec![
                ("written (seconds since 1970, UTC)".into(), now.to_string()),
                ("this command, until the last run ended".into(), duration(trained)),
                ("runs at once".into(), at_once.clone()),
                ("instruction set".into(), isa_name().into()),
            ],
            timings: json!({ "written": now, "seconds": trained, "at_once": workers, "threads": threads }),
        }
    }

    /// The command's answer: the outcome, and where the files are.
    fn answer(&self, made: &Made, seconds: f64) -> Answer {
        let counts = |row: &ClaimRow| row.verdict == Verdict::NotBorneOut && row.kind != ClaimKind::Sensitivity;
        let refuted = made.claims.iter().filter(|claim| counts(&claim.row));
        let refuted: Vec<String> = refuted.map(|claim| claim.row.id.clone()).collect();
        let failed = (self.options.strict && !refuted.is_empty()).then_some(Error::ClaimsFailed { claims: refuted });
        let answer = if self.globals.json {
            let verdicts: Map<String, Value> =
                made.counts().into_iter().map(|(verdict, count)| (verdict.word().into(), count.into())).collect();
            let list: Vec<Value> = made.claims.iter().map(|claim| claim.json(self.plan.request.scale.name())).collect();
            Answer::json(&json!({
                "out": self.out().to_string_lossy(), "report": made.report.to_string_lossy(), "claims": list,
                "verdicts": verdicts,
            }))
        } else {
            let mut table = Table::new(["claim", "where", "verdict", "what the paper says"]);
            for claim in &made.claims {
                let row = &claim.row;
                table.row(
                    [row.id.as_str(), row.place.as_str(), row.verdict.word(), row.statement.as_str()].map(Cell::from),
                );
            }
            let words = format!("\n{} {}\nreport: {}\n", made.outcome(), duration(seconds), made.report.display());
            Answer::text(if made.claims.is_empty() { words } else { table.to_string() + &words })
        };
        match failed {
            Some(error) => answer.with(error.to_string(), error.exit_code()),
            None => answer,
        }
    }
}

impl Make for Work<'_> {
    fn device(&self) -> &str {
        self.device.name()
    }

    fn make(
        &self,
        settings: &Settings,
        source: Source,
        out: &Path,
        resume: bool,
        stop: &Arc<AtomicBool>,
        observer: &mut dyn Observer,
    ) -> Result<Finished> {
        // That a file system has no locks was said of the whole reproduction's folder.
        let place = Place::take(out, Start::resumed(resume), self.device.name())?;
        let place = Place { tensorboard: self.options.tensorboard, ..place };
        let device = self.device.unless_asked(self.globals.precision, settings.deep_linear());
        device.run(Training { settings, source, place, stop, observer })
    }
}

/// One training run as a job for any device.
struct Training<'a> {
    settings: &'a Settings,
    source: Source,
    place: Place<'a>,
    stop: &'a Arc<AtomicBool>,
    observer: &'a mut dyn Observer,
}

impl Job for Training<'_> {
    type Output = Finished;
    fn run<B: Backend>(self, backend: B) -> Result<Finished> {
        let Training { settings, source, place, stop, observer } = self;
        let trainer = Trainer::open(backend, settings.clone(), source, place, stop.clone(), observer)?;
        trainer.saving_within(Some(SAVED_WITHIN)).run(observer)
    }
}
