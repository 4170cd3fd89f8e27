//! Which device is used, and why. Only this file matches on the device.

use super::Globals;
use super::device_options::{Choice, Precision};
use crate::files::notice;
use crate::ops::backend::Backend;
use crate::runtime::cpu::Cpu;
use crate::runtime::cuda::driver::Driver;
use crate::runtime::cuda::emulator::{Build, Emulator, Options};
use crate::runtime::cuda::gpu::{self, Gpu};
use crate::runtime::cuda::{Cuda, Mode};
use crate::runtime::simd::{self, isa};
use crate::train::helpers::{Opens, Serving};
use crate::{Error, Result};
use std::sync::OnceLock;

/// The valid pairs of device and precision, for messages.
const PAIRS: &str = "there are --device cpu with f32 and f64, emulator and cuda with f32, tf32 and bf16";

/// A valid pair of device and precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU in f32.
    CpuF32,
    /// The CPU in f64.
    CpuF64,
    /// The CUDA kernels on the host, in the emulator.
    Emulator(Mode),
    /// The GPU with this number.
    Cuda(u32, Mode),
}

/// A job to run on whichever device was chosen.
pub trait Job {
    /// The job's result.
    type Output;
    /// Runs the job.
    fn run<B: Backend>(self, backend: B) -> Result<Self::Output>;
}

impl Device {
    /// The device for the requested device and precision. Errors: one of them does not exist, or they do not go together.
    pub fn choose(choice: Choice, precision: Precision) -> Result<Device> {
        let device = match (choice, precision, precision.mode()) {
            (Choice::Auto, _, Some(mode)) if without_gpu().is_none() => Device::Cuda(0, mode),
            (Choice::Auto | Choice::Cpu, Precision::F32, _) => Device::CpuF32,
            (Choice::Auto | Choice::Cpu, Precision::F64, _) => Device::CpuF64,
            (Choice::Emulator, _, Some(mode)) => Device::Emulator(mode),
            (Choice::Cuda(number), _, Some(mode)) => Device::Cuda(number.unwrap_or(0), mode),
            _ => {
                let place = format!("--device {choice} --precision {}", precision.name());
                return Err(Error::input(place, "no such pair", PAIRS));
            }
        };
        Ok(device)
    }

    /// The same for a command that trains or probes a network. Without `--precision` the precision is f32, except for deep linear networks
    /// on the CPU: there f64 is the faster of the two, and f32 cannot resolve their gradients.
    pub fn of_network(choice: Choice, precision: Option<Precision>, deep_linear: bool) -> Result<Device> {
        let device = Device::choose(choice, precision.unwrap_or(Precision::F32))?;
        Ok(device.unless_asked(precision, deep_linear))
    }

    /// The device that replaces this one where the user named no precision.
    pub fn unless_asked(self, precision: Option<Precision>, deep_linear: bool) -> Device {
        match self {
            Device::CpuF32 if precision.is_none() && deep_linear => Device::CpuF64,
            device => device,
        }
    }

    /// The names of both precisions of a plan's runs on this device: of all but deep linear networks, and of those. `asked` is what the user
    /// named.
    pub fn precisions(self, asked: Option<Precision>) -> [&'static str; 2] {
        [self, self.unless_asked(asked, true)].map(|device| device.precision().name())
    }

    /// The devices over which runs that go at once are spread: all GPUs that are visible, unless `choice` names one by its number; else this device
    /// alone. Errors: the driver does not count its devices.
    pub fn spread(self, choice: Choice) -> Result<Vec<Device>> {
        match (self, choice) {
            (Device::Cuda(_, mode), Choice::Auto | Choice::Cuda(None)) => {
                Ok((0..gpu::count()?.max(1)).map(|number| Device::Cuda(number, mode)).collect())
            }
            _ => Ok(vec![self]),
        }
    }

    /// Runs `job` on this device. Errors: the device is not there, or the job fails.
    pub fn run<J: Job>(self, job: J) -> Result<J::Output> {
        match self.driver()? {
            // One type for both devices: what is generic over the backend is compiled once for CUDA.
            Some((driver, mode)) => job.run(Cuda::new(driver, mode)?),
            None if self == Device::CpuF64 => job.run(Cpu::<f64>::default()),
            None => job.run(Cpu::<f32>::default()),
        }
    }

    /// The driver and the precision of a CUDA device; `None` on the CPU. Errors: the device is not there.
    pub fn driver(self) -> Result<Option<(Box<dyn Driver>, Mode)>> {
        match self {
            Device::CpuF32 | Device::CpuF64 => Ok(None),
            Device::Emulator(mode) => Ok(Some((Box::new(Emulator::new(Options::from_environment()?)?), mode))),
            Device::Cuda(number, mode) => Ok(Some((Box::new(Gpu::open(number)?), mode))),
        }
    }

    /// The emulator, counting: whatever `NORMSCAPE_EMULATOR` chooses, only kernels that were built for it count. Errors: there is no compiler.
    /// With `sample` only so many clusters of each launch run, and counts are scaled. Grids are those of a device with as many multiprocessors as an
    /// H100 or an H200 has.
    pub fn counting(sample: Option<usize>) -> Result<Box<dyn Driver>> {
        let options = Options { build: Build::Counted, multiprocessors: 132, ..Options::from_environment()? };
        let emulator = Emulator::new(options)?;
        Ok(Box::new(match sample {
            Some(clusters) => emulator.sampling(clusters as u64),
            None => emulator,
        }))
    }

    /// The value of `--device` that names it.
    pub fn choice(self) -> Choice {
        match self {
            Device::CpuF32 | Device::CpuF64 => Choice::Cpu,
            Device::Emulator(_) => Choice::Emulator,
            Device::Cuda(0, _) => Choice::Cuda(None),
            Device::Cuda(number, _) => Choice::Cuda(Some(number)),
        }
    }

    /// Its name in a run's record.
    pub fn name(self) -> &'static str {
        match self {
            Device::CpuF32 | Device::CpuF64 => "cpu",
            Device::Emulator(_) => "emulator",
            Device::Cuda(..) => "cuda",
        }
    }

    /// Whether the device computes in the host's memory.
    pub fn on_host(self) -> bool {
        !matches!(self, Device::Cuda(..))
    }

    /// A warning where the device is slow, with the reason: it runs portable code, without hardware fused multiply-add.
    pub fn slow(self) -> Option<String> {
        let on_cpu = matches!(self, Device::CpuF32 | Device::CpuF64);
        (on_cpu && isa().is_slow()).then(|| match simd::widest() {
            wider if wider < isa() => {
                format!(
                    "{}={}: portable code is slow; without it {} is used",
                    simd::VARIABLE,
                    isa().word(),
                    wider.name()
                )
            }
            _ => "portable code is slow: this processor has no AVX2".into(),
        })
    }

    /// The device's precision.
    pub fn precision(self) -> Precision {
        match self {
            Device::CpuF32 => Precision::F32,
            Device::CpuF64 => Precision::F64,
            Device::Emulator(mode) | Device::Cuda(_, mode) => match mode {
                Mode::F32 => Precision::F32,
                Mode::Tf32 => Precision::Tf32,
                Mode::Bf16 => Precision::Bf16,
            },
        }
    }

    /// The line that `--device auto` prints: which device, computing in `precision`, and why.
    pub fn why(self, threads: usize, precision: &str) -> String {
        let name = self.name();
        if let Device::Cuda(number, _) = self {
            return format!("device: cuda:{number} ({precision}), since there is a GPU that works");
        }
        let threads = if threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        let why = match (self.precision(), without_gpu()) {
            (_, Some(why)) => why,
            (Precision::F64, None) => "since f64 is computed on the CPU only",
            (_, None) => "which was asked for",
        };
        format!("device: {name} ({threads}, {}, {precision}), {why}", isa_name())
    }
}

impl Opens for Device {
    fn name(&self) -> String {
        match self {
            Device::Cuda(number, _) => format!("cuda:{number}"),
            device => Device::name(*device).into(),
        }
    }

    fn serve(&self, serving: Serving) -> Result<()> {
        self.run(serving)
    }
}

impl Job for Serving {
    type Output = ();
    fn run<B: Backend>(self, backend: B) -> Result<()> {
        self.serve(backend)
    }
}

/// Why `auto` takes no GPU, worded to follow the device's name; `None` where a GPU works. The first call opens the GPU to find out.
fn without_gpu() -> Option<&'static str> {
    gpu_problem().as_ref().map(|problem| problem.why.as_str())
}

/// Why no GPU is used.
struct Problem {
    why: String,
    /// There is a driver, and it does not work.
    broken: bool,
}

fn gpu_problem() -> &'static Option<Problem> {
    static FOUND: OnceLock<Option<Problem>> = OnceLock::new();
    FOUND.get_or_init(|| match Gpu::open(0) {
        Ok(_) => None,
        Err(Error::Missing { looked, .. }) => {
            Some(Problem { why: format!("since no GPU was found ({looked})"), broken: false })
        }
        Err(error) => Some(Problem { why: format!("since no GPU can be used ({error})"), broken: true }),
    })
}

/// Prints which device `auto` took and why, and a warning where that device is slow. Called only once the device is sure to be used. With
/// `--quiet` it is silent, but for a warning where there is a GPU's driver that does not work: whoever expects a GPU would wait long.
pub fn announce(device: Device, globals: &Globals) {
    announce_in(device, device.precision().name(), globals);
}

/// The same where some of the work is in another precision: `precision` describes it in words.
pub fn announce_in(device: Device, precision: &str, globals: &Globals) {
    let lines = announcement(device, precision, globals);
    if !globals.quiet {
        lines.iter().for_each(|line| super::terminal::line(line));
    }
}

/// The lines that [`announce`] prints. With `--quiet` nobody sees them, and what must be seen all the same is kept as a warning.
pub fn announcement(device: Device, precision: &str, globals: &Globals) -> Vec<String> {
    // Only `auto` has asked whether there is a GPU.
    let fell_back = globals.quiet && globals.device == Choice::Auto && device.on_host();
    if let Some(Problem { why, broken: true }) = fell_back.then(gpu_problem).and_then(Option::as_ref) {
        notice::add(format!("on the CPU, {why}"));
    }
    let why = (globals.device == Choice::Auto).then(|| device.why(globals.thread_count(), precision));
    why.into_iter().chain(device.slow()).collect()
}

/// The instruction set in use, for people.
pub fn isa_name() -> &'static str {
    isa().name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_do_not_exist_name_those_that_do() {
        assert_eq!(Device::choose(Choice::Auto, Precision::F64).unwrap(), Device::CpuF64);
        assert_eq!(Device::choose(Choice::Emulator, Precision::Bf16).unwrap(), Device::Emulator(Mode::Bf16));
        for (choice, precision) in [
            (Choice::Cpu, Precision::Bf16),
            (Choice::Cpu, Precision::Tf32),
            (Choice::Cuda(None), Precision::F64),
            (Choice::Emulator, Precision::F64),
        ] {
            let error = Device::choose(choice, precision).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("cpu with f32 and f64"), "{error}");
        }
    }
}
