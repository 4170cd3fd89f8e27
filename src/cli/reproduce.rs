//! `normscape reproduce`: the paper's figures, claims and report from one command.

use super::device::{Device, Job, announce_in, isa_name};
use super::device_options::Precision;
use super::outcome::precisions;
use super::plan_progress::PlanProgress;
use super::progress::duration;
use super::reproduce_options::{Options, pictures};
use super::spread::Spread;
use super::terminal::line;
use super::train_options::SAVED_WITHIN;
use super::{Answer, Globals, VERSION, gather, interrupt, outcome, plan_list, submit};
use crate::experiment::assemble::{self, About};
use crate::experiment::estimate::{Estimate, UNCERTAIN, estimate};
use crate::experiment::evidence::Evidence;
use crate::experiment::plan::Plan;
use crate::experiment::runner::{Make, run_all};
use crate::experiment::runs::Kind;
use crate::experiment::share::Share;
use crate::experiment::{Scale, catalogue, memory};
use crate::files::{FolderLock, disk};
use crate::ops::backend::Backend;
use crate::report::{Cell, Table};
use crate::train::held_folder::HeldFolder;
use crate::train::helpers::Spare;
use crate::train::{Finished, Observer, Place, Settings, Source, Trainer};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// What is said after an interruption.
const SAVED: &str = "interrupted: what was done is saved; the same command goes on from there";

/// A run that would take longer than this is announced before it starts.
const LONG: f64 = 2.0 * 3600.0;

/// What is decided before anything runs.
struct Work<'a> {
    plan: Plan,
    device: Device,
    /// The devices that workers take, in turn.
    spread: Spread,
    /// How many runs go at once, and the threads of each.
    workers: (usize, usize),
    stop: Arc<AtomicBool>,
    /// That runs are held without locks is said once.
    unlocked: Once,
    options: &'a Options,
    globals: &'a Globals,
}

/// Makes the runs that are not finished, then the tables, figures and report made from them.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    if options.list {
        return list(globals);
    }
    let experiments = catalogue::find(&options.targets)?;
    if options.gather {
        return gather::run(experiments, options, globals);
    }
    if let Some(on) = &options.on {
        return submit::run(on, experiments, options, globals);
    }
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    let pictures = pictures(options.data.as_deref());
    let request = options.request(&pictures, device.precisions(globals.precision));
    let mut plan = Plan::new(experiments, &catalogue::shared()?, request)?;
    if let Some(share) = options.part {
        if !options.list_runs && !options.dry_run {
            gather::same_everywhere(&plan, device, options, globals)?;
        }
        plan = plan.share(share)?;
    }
    let spread = device.spread(globals.device);
    let workers = workers(&plan, device, spread.as_ref().map_or(1, Vec::len), options, globals);
    if options.list_runs {
        // Where it is listed it need not run: the memory and the devices may be another machine's.
        return plan_list::answer(&plan, workers.map_or(1, |(at_once, _)| at_once), globals.json);
    }
    let (workers, stop) = (workers?, interrupt::flag()?);
    let spread = Spread::new(spread?, workers.0);
    let work = Work { plan, device, spread, workers, stop, unlocked: Once::new(), options, globals };
    match options.part {
        _ if options.dry_run => work.foretell(),
        Some(share) => work.part(share),
        None => work.reproduce(),
    }
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

/// How many runs go at once, and the threads of each: small networks gain more from one core each than from sharing all cores, and each of several
/// devices has a run.
fn workers(
    plan: &Plan,
    device: Device,
    devices: usize,
    options: &Options,
    globals: &Globals,
) -> Result<(usize, usize)> {
    let threads = globals.thread_count();
    let on_cpu = matches!(device, Device::CpuF32 | Device::CpuF64);
    let jobs = options.jobs.and_then(|jobs| usize::try_from(jobs).ok());
    let most = match (on_cpu, jobs) {
        (true, jobs) => memory::workers(plan, jobs.unwrap_or(threads))?,
        (false, jobs) if device.on_host() => memory::workers(plan, jobs.unwrap_or(1))?,
        (false, jobs) => jobs.unwrap_or(devices),
    };
    let workers = most.min(plan.runs().count()).max(1);
    Ok((workers, (threads / workers).max(1)))
}

impl Work<'_> {
    /// The answer to `--dry-run`.
    fn foretell(&self) -> Result<Answer> {
        announce_in(self.device, &precisions(&self.plan.request), self.globals);
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
            "\n{count} runs, {at_once} at once{}: about {}, and {megabytes} MiB of memory; what is finished in {} is not made again\n",
            self.on_several(),
            roughly(&estimate),
            self.options.out().display()
        );
        Ok(Answer::text(plan_list::table(&self.plan, Some(runs)).to_string() + &words))
    }

    /// On how many devices runs go at once, in words that follow their number; nothing where it is one.
    fn on_several(&self) -> String {
        match self.spread.len().min(self.workers.0) {
            1 => String::new(),
            several => format!(", spread over {several} GPUs"),
        }
    }

    fn estimate(&self) -> Result<Estimate> {
        if !self.globals.quiet {
            line("timing a few steps");
        }
        estimate(&self.plan, self.workers, &self.stop, self)
    }

    fn reproduce(&self) -> Result<Answer> {
        let (began, out) = (Instant::now(), self.options.out());
        disk::create_dir_all(&out)?;
        let lock = FolderLock::acquire(&out)?;
        lock.warning().iter().for_each(|text| line(&format!("warning: {text}")));
        // What a part that was killed left half-written; the runs see to their own.
        for folder in [out.clone(), out.join("figures")].iter().filter(|folder| disk::exists(folder)) {
            disk::remove_stale_partials(folder)?;
        }
        self.say_device();
        self.say_first()?;
        let progress = PlanProgress::new(&self.plan, self.globals.quiet)?;
        let made = run_all(&self.plan, &out.join("runs"), self.workers, Duration::ZERO, &self.stop, &progress, self);
        progress.end();
        let trained = began.elapsed().as_secs_f64();
        let evidence = match made.and_then(|()| Evidence::gather(&self.plan, &out.join("runs"), &self.stop)) {
            Ok(evidence) => evidence,
            Err(Error::Interrupted) => {
                return Ok(Answer::default().with(SAVED, interrupt::CODE));
            }
            Err(error) => return Err(error),
        };
        let made = assemble::write(&evidence, &out, &self.about(trained))?;
        let (scale, seconds) = (self.options.scale().name(), began.elapsed().as_secs_f64());
        Ok(outcome::answer(&made, scale, &out, seconds, self.options.strict, self.globals.json))
    }

    /// Makes the runs of this share, each under its own lock, and nothing else: other machines make other shares in the same folder.
    fn part(&self, share: Share) -> Result<Answer> {
        let runs = self.options.out().join("runs");
        self.say_device();
        let progress = PlanProgress::new(&self.plan, self.globals.quiet)?;
        let made = run_all(&self.plan, &runs, self.workers, self.options.patience(), &self.stop, &progress, self);
        progress.end();
        let names: Vec<&str> = self.plan.runs().map(|(_, name, _)| name).collect();
        match made {
            Ok(()) if self.globals.json => {
                Ok(Answer::json(&json!({ "part": share.to_string(), "runs": names })).in_files())
            }
            Ok(()) => {
                let words = format!("share {share}: {} runs are finished in {}", names.len(), runs.display());
                Ok(Answer::text(words).in_files())
            }
            Err(Error::Interrupted) => Ok(Answer::default().with(SAVED, interrupt::CODE)),
            // What was waited for long enough may be over when a scheduler starts this again.
            Err(busy @ Error::Busy { .. }) => {
                let waited = duration(self.options.patience().as_secs_f64());
                let words = format!("after {waited} of waiting, {busy}; the same command goes on from there");
                Ok(Answer::default().with(words, interrupt::CODE))
            }
            Err(error) => Err(error),
        }
    }

    /// Prints which device is used and, of several, how many.
    fn say_device(&self) {
        announce_in(self.device, &precisions(&self.plan.request), self.globals);
        let several = self.on_several();
        if !several.is_empty() && !self.globals.quiet {
            line(&format!("{} runs at once{several}", self.workers.0));
        }
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

    fn about(&self, trained: f64) -> About {
        let (workers, threads) = self.workers;
        let cost = vec![
            ("this command, until the last run ended", duration(trained)),
            ("runs at once", format!("{workers}, {threads} threads each{}", self.on_several())),
            ("instruction set", isa_name().into()),
        ];
        let timings = [("seconds", json!(trained)), ("at_once", json!(workers)), ("threads", json!(threads))];
        let timings = timings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        outcome::about(&self.plan, self.device.name(), VERSION, cost, timings)
    }
}

impl Make for Work<'_> {
    fn device(&self) -> &str {
        self.device.name()
    }

    fn make(
        &self,
        worker: usize,
        settings: &Settings,
        source: Source,
        folder: HeldFolder,
        stop: &Arc<AtomicBool>,
        observer: &mut dyn Observer,
    ) -> Result<Finished> {
        // Of a whole reproduction's folder it was said already.
        if let Some(warning) = folder.warning().filter(|_| self.options.part.is_some()) {
            self.unlocked.call_once(|| line(&format!("warning: {warning}")));
        }
        let place = Place { folder, device: self.device.name(), tensorboard: self.options.tensorboard };
        let device = self.spread.of(worker).unless_asked(self.globals.precision, settings.deep_linear());
        device.run(Training { settings, source, place, spare: self.spread.spare(), stop, observer })
    }

    fn rests(&self, worker: usize) {
        self.spread.rests(worker);
    }
}

/// One training run as a job for any device.
struct Training<'a> {
    settings: &'a Settings,
    source: Source,
    place: Place<'a>,
    spare: Arc<Spare>,
    stop: &'a Arc<AtomicBool>,
    observer: &'a mut dyn Observer,
}

impl Job for Training<'_> {
    type Output = Finished;
    fn run<B: Backend>(self, backend: B) -> Result<Finished> {
        let Training { settings, source, place, spare, stop, observer } = self;
        let trainer = Trainer::open(backend, settings.clone(), source, place, stop.clone(), observer)?;
        trainer.helped_by(spare).saving_within(Some(SAVED_WITHIN)).run(observer)
    }
}
