//! `normscape bench`

use super::device::Device;
use super::device_options::Precision;
use super::{Answer, Globals};
use crate::bench::results::OneStep;
use crate::bench::{Choice, StepKind, run as measure};
use crate::bench::{counters, device as on_device, steps};
use crate::runtime::cuda::driver::Driver;
use crate::{Error, Result};
use clap::Args;

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Time VGG-16 at full width too; on a CUDA device, everything at full size
    #[arg(long)]
    pub full: bool,
    /// Time each pass of each layer of VGG-16 too
    #[arg(long)]
    pub layers: bool,
    /// Only the training step of this name, as vgg16-0.25-batch (a VGG, its width, a norm) or dln-layer
    #[arg(long, value_name = "NAME", conflicts_with = "full")]
    pub step: Option<String>,
    /// How long to time that step [default: 2]
    #[arg(long, value_name = "N", requires = "step", value_parser = super::values::number)]
    pub seconds: Option<f64>,
    /// No times: what the kernels of a step (vgg16-0.125-batch, or --step) ask of memory and their warps; with --device emulator
    #[arg(long, conflicts_with_all = ["full", "seconds"])]
    pub counters: bool,
    /// Samples of the batch of the step that is counted [default: 4, or 64 of a deep linear network]
    #[arg(long, value_name = "N", requires = "counters", value_parser = super::values::count)]
    pub batch: Option<usize>,
    /// Of each launch only N blocks run (clusters, where there are) [default: 16], and counts are scaled; then a full batch can be counted
    #[arg(long, value_name = "N", requires = "counters", value_parser = super::values::count, num_args = 0..=1,
          default_missing_value = "16")]
    pub sampled: Option<usize>,
    /// Names of steps, and no measurement
    #[arg(long, conflicts_with_all = ["full", "layers", "step", "seconds", "counters"])]
    pub list: bool,
}

/// Samples that a step is counted with at the most: more take hours.
const MOST: usize = 1024;

/// Measures, then shows.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    if options.list {
        return Ok(Answer::text(format!("{}\n", StepKind::names())));
    }
    if options.counters {
        return counted(options, globals);
    }
    if options.step.is_some() && options.layers {
        return Err(Error::input(
            "--layers",
            "cannot be used with --step <NAME>",
            "give one of them, or --counters too",
        ));
    }
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    let say = |what: &str| {
        if !globals.quiet {
            super::terminal::line(what);
        }
    };
    if let Some(name) = &options.step {
        let kind: StepKind = name.parse()?;
        let device = device.unless_asked(globals.precision, kind.is_deep_linear());
        let found = one(kind, options.seconds.unwrap_or(2.0), device, say)?;
        return if globals.json { json(&found) } else { Ok(Answer::text(format!("{}\n", found.line()))) };
    }
    let choice = Choice { full: options.full, layers: options.layers, asked: globals.precision.is_some() };
    let mut measuring = |what: &str| say(&format!("measuring {what}"));
    if let Device::Cuda(_, mode) | Device::Emulator(mode) = device {
        let results = on_device::measure(|| driver(device), mode, choice, &mut measuring)?;
        return if globals.json { json(&results) } else { Ok(Answer::text(results.tables())) };
    }
    if device == Device::CpuF64 {
        return Err(Error::input(
            "--precision f64",
            "is timed for single steps only",
            "name one, as in --step dln-batch; or leave it out",
        ));
    }
    device.slow().iter().for_each(|slow| say(slow));
    let results = measure(choice, measuring)?;
    if globals.json { json(&results) } else { Ok(Answer::text(results.tables())) }
}

/// Counts a step.
fn counted(options: &Options, globals: &Globals) -> Result<Answer> {
    let asked = globals.device;
    let device = Device::choose(asked, globals.precision.unwrap_or(Precision::F32))?;
    let Device::Emulator(mode) = device else {
        let problem = format!("--device {asked} counts nothing");
        return Err(Error::input("--counters", problem, "--device emulator does: it sees what kernels do"));
    };
    if let Some(batch) = options.batch.filter(|batch| !(1..=MOST).contains(batch)) {
        let expected = format!("1 to {MOST} can be counted");
        return Err(Error::input(format!("--batch {batch}"), "not so many samples", expected));
    }
    let kind: StepKind = options.step.as_deref().unwrap_or(counters::USUAL).parse()?;
    let sampled = options.sampled;
    if sampled == Some(0) {
        return Err(Error::input("--sampled 0", "no block to be counted", "1 is the least"));
    }
    let asked = counters::Asked { samples: options.batch, layers: options.layers, sampled };
    let found = counters::count(Device::counting(sampled)?, mode, kind, asked)?;
    if globals.json { json(&found) } else { Ok(Answer::text(found.tables())) }
}

/// One step alone.
fn one(kind: StepKind, seconds: f64, device: Device, say: impl Fn(&str)) -> Result<OneStep> {
    if !(0.0..=3600.0).contains(&seconds) {
        return Err(Error::input(format!("--seconds {seconds}"), "not a time", "it lies between 0 and 3600"));
    }
    device.slow().iter().for_each(|slow| say(slow));
    match device {
        Device::CpuF32 => steps::one::<f32>(kind, seconds),
        Device::CpuF64 => steps::one::<f64>(kind, seconds),
        Device::Cuda(_, mode) | Device::Emulator(mode) => on_device::one(|| driver(device), mode, kind, seconds),
    }
}

fn driver(device: Device) -> Result<Box<dyn Driver>> {
    let missing = || Error::input("bench", "no device", "a CUDA device or the emulator is needed");
    device.driver()?.map(|(driver, _)| driver).ok_or_else(missing)
}

fn json(results: &impl serde::Serialize) -> Result<Answer> {
    let value = serde_json::to_value(results)
        .map_err(|e| Error::input("bench", e.to_string(), "results that JSON can hold are needed"))?;
    Ok(Answer::json(&value))
}
