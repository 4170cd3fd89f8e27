//! `normscape reproduce`: experiments from one command. This version has the first target, `demo`.

use super::device::{Device, Job, Precision, announce};
use super::interrupt;
use super::progress::{Progress, duration};
use super::terminal::line;
use super::{Answer, Globals};
use crate::data::cifar10;
use crate::experiment::demo::Demo;
use crate::experiment::plan::{DEMO, Plan, PlannedRun};
use crate::experiment::runner::{FinishedRun, PlanObserver, run_all};
use crate::ops::backend::Backend;
use crate::report::TextSize;
use crate::train::metrics::Row;
use crate::train::{Finished, Observer, Place, Settings, Source, Trainer};
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// How much of the paper's settings a reproduction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// Seconds
    Smoke,
    /// Minutes on two cores
    Quick,
    /// The paper's own settings
    Paper,
}

/// Options of `reproduce`.
#[derive(Debug, Args)]
pub struct Options {
    /// What to reproduce: demo
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// How large [default: quick]
    #[arg(long, value_enum, value_name = "SCALE")]
    pub scale: Option<Scale>,
    /// Folder for runs and figures; what is finished there is not made again
    #[arg(long, value_name = "DIR", default_value = "reproduced")]
    pub out: PathBuf,
    /// CIFAR-10's folder or archive, or images [default: CIFAR-10 where it is found, else images]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Seed of the first run of each kind
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Draws of the deep linear network [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// List the targets
    #[arg(long)]
    pub list: bool,
    /// Print the runs and make none
    #[arg(long)]
    pub dry_run: bool,
}

/// Targets that a later version has.
const LATER: [&str; 9] =
    ["accuracy", "theory", "learning_rates", "noise", "design_space", "course", "all", "fig", "tab"];

/// Makes the runs that are not finished, then shows them.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    if options.list {
        return Ok(Answer::text(
            "demo  both networks with and without BatchNorm: training, and the loss along the gradient",
        ));
    }
    check_targets(&options.targets)?;
    if let Some(scale) = options.scale.filter(|&scale| scale != Scale::Quick) {
        let name = scale.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        return Err(Error::input(format!("--scale {name}"), "not in this version", "demo has the scale quick"));
    }
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    let found = cifar10::find(options.data.as_deref());
    let pictures = found.map_or_else(|| "images".to_owned(), |path| path.display().to_string());
    let (file, text) = DEMO;
    let mut plan = Plan::read(file, text, &pictures, options.seed, options.seeds)?;
    for run in &mut plan.runs {
        run.settings.precision = device.precision().name().to_owned();
    }
    if options.dry_run {
        return Ok(Answer::text(in_words(&plan)));
    }
    announce(device, globals);
    if !globals.quiet {
        line(&match pictures.as_str() {
            "images" => "VGG trains on generated images: CIFAR-10 was not found (normscape data fetch, or --data PATH)"
                .to_owned(),
            path => format!("VGG trains on CIFAR-10 from {path}"),
        });
    }
    let stop = interrupt::flag()?;
    let began = Instant::now();
    let mut observer = Telling { progress: Progress::new(globals.quiet, Vec::new()), quiet: globals.quiet };
    let made = run_all(&plan, &options.out.join("runs"), &mut observer, |settings, source, out, resume, observer| {
        let place = Place { out, resume, device: device.name() };
        device.run(Training { settings, source, place, stop: stop.clone(), observer })
    });
    observer.progress.end();
    match made {
        Ok(runs) => show(&plan.title, &runs, &pictures, began, options, globals),
        Err(Error::Interrupted) => {
            let words = "interrupted: what was done is saved; the same command goes on from there";
            Ok(Answer::default().with(words, interrupt::CODE))
        }
        Err(error) => Err(error),
    }
}

fn check_targets(targets: &[String]) -> Result<()> {
    if targets.is_empty() {
        return Err(Error::input("reproduce", "no target", "there is demo, as in: normscape reproduce demo"));
    }
    match targets.iter().find(|t| *t != "demo") {
        None => Ok(()),
        Some(target) => {
            let later = LATER.contains(&target.trim_end_matches(|c: char| c.is_ascii_digit()));
            let problem = if later { "not in this version" } else { "unknown" };
            Err(Error::input(format!("reproduce {target}"), problem, "there is demo"))
        }
    }
}

fn in_words(plan: &Plan) -> String {
    let mut text = String::new();
    for run in &plan.runs {
        let s = &run.settings;
        text += &format!(
            "{}: {} {}, {} steps of {} samples, lr {}, seed {}\n",
            run.id, s.model, s.norm, s.steps, s.batch, s.lr, s.seed
        );
    }
    text
}

/// One run, on a device that is yet to be matched.
struct Training<'a> {
    settings: Settings,
    source: Source,
    place: Place<'a>,
    stop: Arc<AtomicBool>,
    observer: &'a mut dyn PlanObserver,
}

impl Job for Training<'_> {
    type Output = Finished;
    fn run<B: Backend>(self, backend: B) -> Result<Finished> {
        let Training { settings, source, place, stop, observer } = self;
        Trainer::open(backend, settings, source, place, stop, observer)?.run(observer)
    }
}

/// Says which run it is, and how far.
struct Telling {
    progress: Progress,
    quiet: bool,
}

impl Observer for Telling {
    fn begin(&mut self, first: u64, last: u64) {
        self.progress.begin(first, last);
    }
    fn row(&mut self, row: &Row) {
        self.progress.row(row);
    }
    fn warn(&mut self, message: &str) {
        self.progress.warn(message);
    }
}

impl PlanObserver for Telling {
    fn run_begins(&mut self, number: usize, count: usize, run: &PlannedRun, done: bool) {
        self.progress.end();
        if !self.quiet {
            let done = if done { ": finished already" } else { "" };
            line(&format!("run {number} of {count}, {} (seed {}){done}", run.label, run.settings.seed));
        }
    }
}

/// Tables and plots for the terminal; the figure and its data for `--out`.
fn show(
    title: &str,
    runs: &[FinishedRun],
    pictures: &str,
    began: Instant,
    options: &Options,
    globals: &Globals,
) -> Result<Answer> {
    let data = if pictures == "images" { "generated images" } else { "CIFAR-10" };
    let vgg = runs.iter().find(|run| !run.planned.settings.deep_linear());
    let notes = match vgg.map(|run| &run.planned.settings) {
        Some(s) => vec![
            format!(
                "VGG: {} at width {} on {data}, {} steps (the paper: width 1 on CIFAR-10, 15,000 steps), one seed",
                s.model, s.width, s.steps
            ),
            "DLN: the paper's settings; medians over seeds".into(),
        ],
        None => Vec::new(),
    };
    let demo = Demo::of(title, notes, runs)?;
    let figure = demo.write(&options.out.join("figures"))?;
    if globals.json {
        return Ok(Answer::json(
            &json!({ "out": options.out.to_string_lossy(), "figure": figure.to_string_lossy(), "data": pictures }),
        ));
    }
    let size = TextSize { colour: std::io::stdout().is_terminal(), ..TextSize::default() };
    let mut text = format!("\n{}\n{}", demo.dln, demo.vgg);
    for note in demo.figure.notes.iter().filter(|note| note.contains("diverged")) {
        text += &format!("{note}\n");
    }
    // The two panels that say most: how the loss falls, and how much it varies along the gradient.
    for panel in demo.figure.panels.iter().filter(|p| p.title.starts_with("VGG")).take(2) {
        text += &format!("\n{}", panel.text(size));
    }
    let took = duration(began.elapsed().as_secs_f64());
    text += &format!(
        "\nVGG trained on {data}. Figure: {}; runs: {}; {took}\n",
        figure.display(),
        options.out.join("runs").display()
    );
    Ok(Answer::text(text))
}
