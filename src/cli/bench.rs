//! `normscape bench`

use super::device::{Device, Precision};
use super::{Answer, Globals};
use crate::bench::device::measure as measure_device;
use crate::bench::{Choice, run as measure};
use crate::{Error, Result};
use clap::Args;

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// VGG-16 at full width too; on a CUDA device everything at full size
    #[arg(long)]
    pub full: bool,
    /// Each pass of each layer of VGG-16 too
    #[arg(long)]
    pub layers: bool,
}

/// Measures, then shows.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    let asked = globals.precision.is_some();
    let choice = Choice { full: options.full, layers: options.layers, asked };
    let mut say = |what: &str| {
        if !globals.quiet {
            super::terminal::line(&format!("measuring {what}"));
        }
    };
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    if let Device::Cuda(_, mode) | Device::Emulator(mode) = device {
        let missing = || Error::input("bench", "no device", "a CUDA device or the emulator is needed");
        let open = || device.driver()?.map(|(driver, _)| driver).ok_or_else(missing);
        let results = measure_device(open, mode, choice, &mut say)?;
        return if globals.json { json(&results) } else { Ok(Answer::text(results.tables())) };
    }
    if device == Device::CpuF64 {
        return Err(Error::input(
            "--precision f64",
            "is not timed",
            "steps are timed in the precisions that runs are made in",
        ));
    }
    if let Some(slow) = device.slow().filter(|_| !globals.quiet) {
        super::terminal::line(&slow);
    }
    let results = measure(choice, say)?;
    if globals.json { json(&results) } else { Ok(Answer::text(results.tables())) }
}

fn json(results: &impl serde::Serialize) -> Result<Answer> {
    let value = serde_json::to_value(results)
        .map_err(|e| Error::input("bench", e.to_string(), "results that JSON can hold are needed"))?;
    Ok(Answer::json(&value))
}
