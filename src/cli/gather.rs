//! `normscape reproduce --gather`: figures, claims and report of runs that were made elsewhere, without making any.
//!
//! Device, program, precision and images are those that the runs' records name. What is written has the bytes that one machine would have
//! written after making all runs itself.

use super::device::{Device, isa_name};
use super::device_options::{Choice, Precision};
use super::progress::duration;
use super::reproduce_options::{Options, pictures};
use super::terminal::line;
use super::{Answer, Globals, VERSION, interrupt, outcome};
use crate::experiment::assemble;
use crate::experiment::catalogue::{self, Experiment};
use crate::experiment::evidence::Evidence;
use crate::experiment::origin::{self, Origin};
use crate::experiment::plan::Plan;
use crate::experiment::stage::{Stage, logged};
use crate::files::{FolderLock, disk};
use crate::report::{Cell, Table};
use crate::{Error, Result};
use serde_json::{Map, json};
use std::path::Path;
use std::time::Instant;

/// The most missing runs that a message names.
const NAMED: usize = 8;

/// Gathers the runs of these experiments, or with `--dry-run` counts them.
pub fn run(experiments: Vec<Experiment>, options: &Options, globals: &Globals) -> Result<Answer> {
    let (began, out) = (Instant::now(), options.out());
    let runs = out.join("runs");
    let (plan, device, origin) = plan(experiments, &runs, options, globals)?;
    let stages = plan.runs().map(|(_, name, of)| Stage::of(&runs.join(name), of)).collect::<Result<Vec<_>>>()?;
    if options.dry_run {
        return Ok(counted(&plan, &stages, &runs, device, globals));
    }
    complete(&plan, &stages, &out)?;
    let (lock, stop) = (FolderLock::acquire(&out)?, interrupt::flag()?);
    lock.warning().iter().for_each(|text| line(&format!("warning: {text}")));
    for folder in [out.clone(), out.join("figures")].iter().filter(|folder| disk::exists(folder)) {
        disk::remove_stale_partials(folder)?;
    }
    let cards = origin.as_ref().map_or(&[][..], |origin| &origin.cards);
    if cards.len() > 1 {
        let words = "equal bits are promised only on one kind of card";
        line(&format!("warning: the runs were computed on {}: {words}", cards.join(", ")));
    }
    let evidence = match Evidence::gather(&plan, &runs, &stop) {
        Err(Error::Interrupted) => {
            return Ok(Answer::default().with("interrupted: nothing was written; start it again", interrupt::CODE));
        }
        other => other?,
    };
    let version = origin.as_ref().map_or(VERSION, |origin| &origin.version);
    let cost = vec![
        ("gathered from runs made elsewhere, in", duration(began.elapsed().as_secs_f64())),
        ("instruction set of the machine that gathered", isa_name().into()),
    ];
    let timings = Map::from_iter([("gathered_in_seconds".to_owned(), json!(began.elapsed().as_secs_f64()))]);
    let about = outcome::about(&plan, device.name(), version, cost, timings);
    let made = assemble::write(&evidence, &out, &about)?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(outcome::answer(&made, options.scale().name(), &out, seconds, options.strict, globals.json))
}

/// The plan on the images and in the precision of the runs that are there, with the device that makes such runs.
///
/// Errors: the runs are of two origins, or not of the one that the command names.
fn plan(
    experiments: Vec<Experiment>,
    runs: &Path,
    options: &Options,
    globals: &Globals,
) -> Result<(Plan, Device, Option<Origin>)> {
    let shared = catalogue::shared()?;
    // Names do not depend on the precision.
    let on =
        |pictures: &str| Plan::new(experiments.clone(), &shared, options.request(pictures, [Precision::F32.name(); 2]));
    let pictures = match &options.data {
        Some(path) => path.display().to_string(),
        None => pictures_of(&on("images")?, &on("CIFAR-10")?, runs)?,
    };
    let origin = Origin::of(&on(&pictures)?, runs)?;
    let (device, precisions) = made_by(origin.as_ref(), runs, globals)?;
    let pictures = origin.as_ref().and_then(|origin| origin.pictures.clone()).unwrap_or(pictures);
    Ok((Plan::new(experiments, &shared, options.request(&pictures, precisions))?, device, origin))
}

/// Refuses to make a share of a plan on this machine where runs of the plan were made on another device, or on other images than this
/// machine would choose: a machine without a GPU or without CIFAR-10 must not quietly fall back on what it has.
///
/// Errors: [`Error::Missing`] where the device is the fallback of `--device auto`; [`Error::Input`].
pub fn same_everywhere(plan: &Plan, device: Device, options: &Options, globals: &Globals) -> Result<()> {
    let runs = options.out().join("runs");
    if options.data.is_none() {
        let on = |pictures: &str| {
            let experiments = plan.parts.iter().map(|part| part.experiment.clone()).collect();
            Plan::new(experiments, &catalogue::shared()?, options.request(pictures, [Precision::F32.name(); 2]))
        };
        let (generated, cifar10) = (on("images")?, on("CIFAR-10")?);
        let here = plan.request.pictures.as_str();
        let (problem, other) = match here {
            "images" => {
                ("CIFAR-10 is not found on this machine".to_owned(), origin::only_of(&cifar10, &generated, &runs))
            }
            _ => (format!("CIFAR-10 is found at {here}"), origin::only_of(&generated, &cifar10, &runs)),
        };
        if let Some(name) = other {
            let problem = format!("{problem}, and {} was trained on other images", runs.join(name).display());
            return Err(Error::input("--data", problem, "name with it what all machines train on"));
        }
    }
    match Origin::of(plan, &runs)? {
        Some(origin) if origin.device != device.name() && globals.device == Choice::Auto => {
            let here = device.why(globals.thread_count(), &outcome::precisions(&plan.request));
            let looked = format!("runs in {} were made on it, and here {here}; --device names it", runs.display());
            Err(Error::Missing { what: origin.device, looked })
        }
        Some(origin) => {
            made_by(Some(&origin), &runs, &Globals { device: device.choice(), ..globals.clone() }).map(drop)
        }
        None => Ok(()),
    }
}

/// `images`, or something else for CIFAR-10: what the runs that are there were trained on. Where none of them says it is what would be trained
/// on here. Errors: there are runs on both.
fn pictures_of(generated: &Plan, cifar10: &Plan, runs: &Path) -> Result<String> {
    match [origin::only_of(generated, cifar10, runs), origin::only_of(cifar10, generated, runs)] {
        [Some(one), Some(other)] => {
            let problem = format!("has {one} on generated images, and {other} on CIFAR-10");
            Err(Error::file(runs, problem, "--data images gathers the first kind, and --data PATH the second"))
        }
        [Some(_), None] => Ok("images".into()),
        [None, Some(_)] => Ok("CIFAR-10".into()),
        [None, None] => Ok(pictures(None)),
    }
}

/// The device that makes runs of this origin, and both precisions. Errors: the command names others, or no one command makes such runs.
fn made_by(origin: Option<&Origin>, runs: &Path, globals: &Globals) -> Result<(Device, [&'static str; 2])> {
    let Some(origin) = origin else {
        let choice = if globals.device == Choice::Auto { Choice::Cpu } else { globals.device };
        let device = Device::choose(choice, globals.precision.unwrap_or(Precision::F32))?;
        return Ok((device, device.precisions(globals.precision)));
    };
    let choice = match (origin.device.as_str(), globals.device) {
        (name, asked) if asked != Choice::Auto && asked.name() != name => {
            let problem = format!("the runs in {} were made on {name}", runs.display());
            return Err(Error::input(format!("--device {asked}"), problem, "leave it out, or name another --out"));
        }
        ("cpu", _) => Choice::Cpu,
        ("emulator", _) => Choice::Emulator,
        ("cuda", _) => Choice::Cuda(None),
        (name, _) => {
            return Err(Error::file(
                runs,
                format!("has runs of the device {name}"),
                "there are cpu, emulator and cuda",
            ));
        }
    };
    let fits = |of: &Option<String>, name: &str| of.as_ref().is_none_or(|of| of == name);
    let all = [None].into_iter().chain(Precision::ALL.map(Some));
    for asked in all.filter(|asked| globals.precision.is_none() || *asked == globals.precision) {
        let Ok(device) = Device::choose(choice, asked.unwrap_or(Precision::F32)) else { continue };
        let [precision, of_dln] = device.precisions(asked);
        if fits(&origin.precision, precision) && fits(&origin.precision_of_dln, of_dln) {
            return Ok((device, [precision, of_dln]));
        }
    }
    let words = |of: &Option<String>, network: &str| of.as_ref().map(|of| format!("{of} for {network}"));
    let found: Vec<String> = [words(&origin.precision, "VGG"), words(&origin.precision_of_dln, "deep linear networks")]
        .into_iter()
        .flatten()
        .collect();
    let problem = format!("the runs' precision is {}", found.join(", and "));
    match globals.precision {
        Some(asked) => {
            Err(Error::input(format!("--precision {}", asked.name()), problem, "leave it out, or name another --out"))
        }
        None => Err(Error::file(runs, problem, "no command makes both; give each precision its own --out")),
    }
}

/// Refuses a plan of which a run is not finished, and names those.
fn complete(plan: &Plan, stages: &[Stage], out: &Path) -> Result<()> {
    let unfinished = |(_, stage): &(_, &Stage)| !matches!(stage, Stage::Finished(_));
    let missing: Vec<&str> = plan.runs().zip(stages).filter(unfinished).map(|((_, name, _), _)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = missing[..missing.len().min(NAMED)].join(", ");
    let problem = format!("{} of {} runs are not finished: {names}{more}", missing.len(), stages.len());
    Err(Error::file(out, problem, "make them first, by the same command without --gather or with --part"))
}

/// The answer to `--gather --dry-run`: how many runs are finished, begun and untouched, and the time that they have taken.
fn counted(plan: &Plan, stages: &[Stage], runs: &Path, device: Device, globals: &Globals) -> Answer {
    let (mut finished, mut begun, mut untouched, mut seconds) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for ((_, name, settings), stage) in plan.runs().zip(stages) {
        let (step, spent) = if *stage == Stage::Untouched { (0, 0.0) } else { logged(&runs.join(name)) };
        seconds += spent;
        match stage {
            Stage::Finished(_) => finished.push(name),
            Stage::Begun(_) => begun.push((name, step, settings.steps)),
            Stage::Untouched => untouched.push(name),
        }
    }
    let (unit, hours) = (if device.on_host() { "run-hours" } else { "GPU-hours" }, seconds / 3600.0);
    if globals.json {
        let begun = begun.iter().map(|(name, step, steps)| json!({ "run": name, "step": step, "steps": steps }));
        return Answer::json(&json!({
            "runs": stages.len(), "finished": finished, "begun": begun.collect::<Vec<_>>(), "untouched": untouched,
            "device": device.name(), "seconds": seconds,
        }));
    }
    let mut table = Table::new(["run", "step", "of"]);
    for (name, step, steps) in &begun {
        table.row([Cell::from(*name), Cell::from(*step), Cell::from(*steps)]);
    }
    let words = format!(
        "{} runs: {} finished, {} begun, {} untouched; {hours:.2} {unit} so far\n",
        stages.len(),
        finished.len(),
        begun.len(),
        untouched.len(),
    );
    Answer::text(if begun.is_empty() { words } else { format!("{table}\n{words}") })
}
