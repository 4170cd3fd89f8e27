//! `normscape reproduce --on "slurm WORDS…"`: writes a job for each share of the runs and one that gathers them, submits both, and ends.
//!
//! Nothing is computed here, and nothing stays alive: the queue is the scheduler's. What may differ between machines (program, folders, data,
//! device, precision) is settled now and written out in full, so that no node chooses for itself.

use super::device::Device;
use super::device_options::{Choice, Precision};
use super::reproduce_options::{Options, pictures};
use super::slurm::{self, Job};
use super::words::split;
use super::{Answer, Globals, gather};
use crate::experiment::catalogue::{self, Experiment};
use crate::experiment::plan::Plan;
use crate::experiment::runs::Kind;
use crate::files::lookup;
use crate::files::{atomic, disk};
use crate::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The most shares that are made where the user names no number: a queue is slow with many short jobs.
const SHARES: usize = 64;

/// Submits the runs of these experiments, or with `--dry-run` prints what would be submitted.
pub fn run(on: &str, experiments: Vec<Experiment>, options: &Options, globals: &Globals) -> Result<Answer> {
    let words = split("--on", on)?;
    let words = match words.split_first() {
        Some((scheduler, words)) if scheduler == "slurm" => words,
        other => {
            let name = other.map_or("", |(name, _)| name);
            let right = "there is slurm; any other scheduler calls --part I/N, then --gather";
            return Err(Error::input(format!("--on {name}"), "no such scheduler", right));
        }
    };
    slurm::check(words)?;
    let (device, precision) = device(words, globals)?;
    let pictures = placed(&pictures(options.data.as_deref()), options)?;
    let request = options.request(&pictures, device.precisions(precision));
    let plan = Plan::new(experiments, &catalogue::shared()?, request)?;
    let count = plan.runs().count();
    if count == 0 {
        let right = "the same command without --on makes all there is";
        return Err(Error::input(options.targets.join(" "), "has no runs at this scale that could be shared", right));
    }
    if pictures != "images" && plan.groups.iter().any(|group| Kind::of(group.settings()) == Kind::Vgg) {
        there(Path::new(&pictures))?;
    }
    let chosen = Globals { device: device.choice(), ..globals.clone() };
    gather::same_everywhere(&plan, device, options, &chosen)?;
    let shares = options.shares.map_or(SHARES.min(count), |shares| usize::try_from(shares).unwrap_or(usize::MAX));
    let out = absolute(&options.out())?;
    let command = Command { options, globals, device, precision, pictures: &pictures, out: &out };
    let folder = text(&out.join("slurm"))?;
    let job = Job { folder: &folder, words };
    let part = job.part(shares, count, &command.part(shares)?);
    let gather = job.gather(&command.gather()?);
    if options.dry_run {
        return Ok(shown(&job, &part, &gather, globals));
    }
    let sbatch = slurm::Sbatch::find()?;
    disk::create_dir_all(Path::new(&folder))?;
    for (path, script) in [(job.part_script(), &part), (job.gather_script(), &gather)] {
        atomic::write_bytes(Path::new(&path), script.as_bytes())?;
    }
    let [array, last] = sbatch.submit(&job)?;
    if globals.json {
        let answer = json!({ "array": array, "gather": last, "shares": shares, "runs": count, "out": text(&out)?, "scripts": folder });
        return Ok(Answer::json(&answer).in_files());
    }
    let words = format!(
        "job {array}: {count} runs in {shares} shares\njob {last}: figures, claims and report, once all of them are made\n\
         scripts and logs: {folder}\n"
    );
    Ok(Answer::text(words).in_files())
}

/// The device that shares compute on, and the precision that the user named. Without `--device` it is a GPU where the words for sbatch ask for
/// one: what this machine has says nothing.
fn device(words: &[String], globals: &Globals) -> Result<(Device, Option<Precision>)> {
    let choice = match globals.device {
        Choice::Auto if slurm::asks_for_gpu(words) => Choice::Cuda(None),
        Choice::Auto => Choice::Cpu,
        named => named,
    };
    Ok((Device::choose(choice, globals.precision.unwrap_or(Precision::F32))?, globals.precision))
}

/// Where the images are, as a path from anywhere.
fn placed(pictures: &str, options: &Options) -> Result<String> {
    if pictures == "images" {
        return Ok(pictures.into());
    }
    // Not what `display` makes of it: a name that is no text cannot stand in a script.
    let path = options.data.clone().unwrap_or_else(|| pictures.into());
    text(&absolute(&path)?)
}

/// Refuses a path of which nothing is to be seen from here.
fn there(data: &Path) -> Result<()> {
    match lookup::kind(data)? {
        Some(_) => Ok(()),
        None => Err(Error::file(
            data,
            "does not exist",
            "--data names CIFAR-10's folder or archive, where every node sees it",
        )),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::io(path, "find the whole path of", source))
}

/// A path as text that can stand in a script. Errors: it is not UTF-8, or has a line end.
fn text(path: &Path) -> Result<String> {
    let plain = |text: &&str| !text.chars().any(char::is_control);
    path.to_str()
        .filter(plain)
        .map(Into::into)
        .ok_or_else(|| Error::file(path, "is no name for a script", "choose one that is UTF-8, without line ends"))
}

/// The command line of a job.
struct Command<'a> {
    options: &'a Options,
    globals: &'a Globals,
    device: Device,
    precision: Option<Precision>,
    pictures: &'a str,
    out: &'a Path,
}

impl Command<'_> {
    /// What both jobs are given: the program first, then arguments; a name and its value are one entry.
    fn common(&self) -> Result<Vec<Vec<String>>> {
        let program = std::env::current_exe().map_err(|source| Error::io(Path::new("normscape"), "find", source))?;
        let mut all = vec![vec![text(&program)?, "reproduce".into()]];
        for target in &self.options.targets {
            let place = || text(&absolute(Path::new(target))?);
            let target = if target.ends_with(".toml") { place()? } else { target.clone() };
            all[0].push(target);
        }
        let mut option = |name: &str, value: String| all.push(vec![name.into(), value]);
        option("--scale", self.options.scale().name().into());
        option("--out", text(self.out)?);
        option("--data", self.pictures.into());
        option("--device", self.device.choice().to_string());
        // On the CPU deep linear networks have another default than the rest, and it is the same on every node.
        match self.precision {
            Some(precision) => option("--precision", precision.name().into()),
            None if self.device.on_host() => {}
            None => option("--precision", self.device.precision().name().into()),
        }
        if let Some(network) = self.options.network {
            option("--network", network.name().into());
        }
        option("--seed", self.options.seed.to_string());
        if let Some(seeds) = self.options.seeds {
            option("--seeds", seeds.to_string());
        }
        Ok(all)
    }

    fn part(&self, shares: usize) -> Result<Vec<Vec<String>>> {
        let mut all = self.common()?;
        let threads = self.globals.threads.map(|threads| threads as u64);
        let of = [("--jobs", self.options.jobs), ("--threads", threads), ("--wait", self.options.wait)];
        for (name, value) in of.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            all.push(vec![name.into(), value.to_string()]);
        }
        all.extend(self.options.tensorboard.then(|| vec!["--tensorboard".into()]));
        all.extend(self.globals.quiet.then(|| vec!["--quiet".into()]));
        all.push(vec!["--part".into(), slurm::share(shares)]);
        Ok(all)
    }

    fn gather(&self) -> Result<Vec<Vec<String>>> {
        let mut all = self.common()?;
        all.extend(self.options.strict.then(|| vec!["--strict".into()]));
        all.push(vec!["--gather".into()]);
        Ok(all)
    }
}

/// The answer to `--dry-run`: both scripts, and how they would be submitted.
fn shown(job: &Job, part: &str, gather: &str, globals: &Globals) -> Answer {
    let submission = [job.submission_of_part(), job.submission_of_gather("ID")];
    if globals.json {
        return Answer::json(&json!({ "part": part, "gather": gather, "commands": submission }));
    }
    let [first, second] =
        submission.map(|words| words.iter().map(|word| super::words::quoted(word)).collect::<Vec<_>>().join(" "));
    let (one, two) = (job.part_script(), job.gather_script());
    Answer::text(format!("==> {one}\n{part}\n==> {two}\n{gather}\n==> submitted with\n{first}\n{second}\n"))
}
