//! Code that several test programs share: choosing the device, and running an operator on any device.

use libtest_mimic::Failed;
use normscape::files::{Array, Arrays, Values};
use normscape::ops::backend::Backend;
use normscape::ops::boundary::Inputs;
use normscape::ops::table;
use normscape::runtime::cuda::driver::Driver;
use normscape::runtime::cuda::emulator::{Build, Emulator, Options};
use normscape::runtime::cuda::gpu::{Gpu, Start};
use normscape::runtime::cuda::{Cuda, Mode};
use std::collections::BTreeSet;

/// The device that the CUDA tests run on: the emulator, with `NORMSCAPE_TEST_DEVICE=cuda` a GPU. Memory starts as NaN, on a GPU
/// between bands that every download looks at (`NORMSCAPE_GPU_MEMORY=bare` leaves it to a sanitizer); `order` shuffles its threads, and `NORMSCAPE_EMULATOR` chooses how kernels are compiled for it.
pub fn device(mode: Mode, order: Option<u64>) -> Result<Cuda, Failed> {
    Ok(Cuda::new(driver(Options { order, poison: true, ..Options::from_environment()? })?, mode)?)
}

/// The same, without the emulator's checks, which every kernel goes through elsewhere: for what asks for a great many launches.
#[allow(dead_code, reason = "no test of one operator asks for so many")]
pub fn plain_device(mode: Mode) -> Result<Cuda, Failed> {
    let options = Options::from_environment()?;
    let build = if options.build == Build::Watched { Build::Plain } else { options.build };
    Ok(Cuda::new(driver(Options { build, ..options })?, mode)?)
}

/// A GPU, or the emulator with these options.
pub fn driver(options: Options) -> Result<Box<dyn Driver>, Failed> {
    Ok(match std::env::var("NORMSCAPE_TEST_DEVICE").as_deref() {
        Ok("cuda") => Box::new(Gpu::open_with(0, Start::from_environment(Start::Guarded)?)?),
        _ => Box::new(Emulator::new(options)?),
    })
}

/// Runs operator `op` on `arrays`.
pub fn run<B: Backend>(op: &str, backend: &mut B, arrays: &Arrays) -> Result<Arrays, Failed> {
    Ok(table::run(op, backend, &mut Inputs::new(op, arrays.clone()))?)
}

/// The outputs whose bits differ, by name.
#[allow(dead_code, reason = "what networks give is compared by its numbers")]
pub fn different(a: &Arrays, b: &Arrays) -> Vec<String> {
    let bits = |array: &Array| -> Vec<u64> {
        match &array.values {
            Values::F32(v) => v.iter().map(|v| u64::from(v.to_bits())).collect(),
            Values::F64(v) => v.iter().map(|v| v.to_bits()).collect(),
            _ => Vec::new(),
        }
    };
    let same = |name: &String| match (a.get(name), b.get(name)) {
        (Some(a), Some(b)) => a.shape == b.shape && bits(a) == bits(b),
        _ => false,
    };
    let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| !same(name)).cloned().collect()
}
