//! Devices: which is taken, and why. The device is matched here and nowhere else.

use super::Globals;
use super::device_options::{Choice, Precision};
use crate::ops::backend::Backend;
use crate::runtime::cpu::Cpu;
use crate::runtime::cuda::driver::Driver;
use crate::runtime::cuda::emulator::{Build, Emulator, Options};
use crate::runtime::cuda::gpu::Gpu;
use crate::runtime::cuda::{Cuda, Mode};
use crate::runtime::simd::{self, isa};
use crate::{Error, Result};
use std::sync::OnceLock;

/// The pairs that exist, for messages.
const PAIRS: &str = "there are --device cpu with f32 and f64, emulator and cuda with f32, tf32 and bf16";

/// A device and a precision that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU in f32.
    CpuF32,
    /// The CPU in f64.
    CpuF64,
    /// The CUDA kernels on the host.
    Emulator(Mode),
    /// The GPU of this number.
    Cuda(u32, Mode),
}

/// Something to do on whatever device was chosen.
pub trait Job {
    /// What it gives.
    type Output;
    /// Does it.
    fn run<B: Backend>(self, backend: B) -> Result<Self::Output>;
}

impl Device {
    /// Takes the device and precision that were asked for. Errors: they do not exist, or not together.
    pub fn choose(choice: Choice, precision: Precision) -> Result<Device> {
        let device = match (choice, precision, precision.mode()) {
            (Choice::Auto, _, Some(mode)) if without_gpu().is_none() => Device::Cuda(0, mode),
            (Choice::Auto | Choice::Cpu, Precision::F32, _) => Device::CpuF32,
            (Choice::Auto | Choice::Cpu, Precision::F64, _) => Device::CpuF64,
            (Choice::Emulator, _, Some(mode)) => Device::Emulator(mode),
            (Choice::Cuda(number), _, Some(mode)) => Device::Cuda(number, mode),
            _ => {
                let place = format!("--device {choice} --precision {}", precision.name());
                return Err(Error::input(place, "no such pair", PAIRS));
            }
        };
        Ok(device)
    }

    /// The same of what trains or probes a network: a precision that was not asked for is f32, but on the CPU f64 of deep linear networks, which
    /// is the faster of the two there, and whose gradients f32 cannot resolve.
    pub fn of_network(choice: Choice, precision: Option<Precision>, deep_linear: bool) -> Result<Device> {
        let device = Device::choose(choice, precision.unwrap_or(Precision::F32))?;
        Ok(device.unless_asked(precision, deep_linear))
    }

    /// What stands in for this device where its precision was not asked for.
    pub fn unless_asked(self, precision: Option<Precision>, deep_linear: bool) -> Device {
        match self {
            Device::CpuF32 if precision.is_none() && deep_linear => Device::CpuF64,
            device => device,
        }
    }

    /// Runs `job` on it. Errors: the device is not there, or those of the job.
    pub fn run<J: Job>(self, job: J) -> Result<J::Output> {
        match self.driver()? {
            // One type for both devices: what is generic over the backend is compiled once for CUDA.
            Some((driver, mode)) => job.run(Cuda::new(driver, mode)?),
            None if self == Device::CpuF64 => job.run(Cpu::<f64>::default()),
            None => job.run(Cpu::<f32>::default()),
        }
    }

    /// The driver and the precision of a CUDA device; none of the CPU. Errors: the device is not there.
    pub fn driver(self) -> Result<Option<(Box<dyn Driver>, Mode)>> {
        match self {
            Device::CpuF32 | Device::CpuF64 => Ok(None),
            Device::Emulator(mode) => Ok(Some((Box::new(Emulator::new(Options::from_environment()?)?), mode))),
            Device::Cuda(number, mode) => Ok(Some((Box::new(Gpu::open(number)?), mode))),
        }
    }

    /// The emulator, counting: whatever `NORMSCAPE_EMULATOR` chooses, only kernels that were built for it count. Errors: there is no compiler.
    pub fn counting() -> Result<Box<dyn Driver>> {
        Ok(Box::new(Emulator::new(Options { build: Build::Counted, ..Options::from_environment()? })?))
    }

    /// Its name in a run's record.
    pub fn name(self) -> &'static str {
        match self {
            Device::CpuF32 | Device::CpuF64 => "cpu",
            Device::Emulator(_) => "emulator",
            Device::Cuda(..) => "cuda",
        }
    }

    /// Whether its memory is the host's.
    pub fn on_host(self) -> bool {
        !matches!(self, Device::Cuda(..))
    }

    /// That its computing is slow and why, where it is: portable code, with no fused multiply-add in hardware.
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

    /// Its precision.
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

    /// What `--device auto` says: which device, computing in `precision`, and why.
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

/// Why `auto` takes no GPU, in words that follow the device's; `None` where one works. It is opened once to know.
fn without_gpu() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let why = WHY.get_or_init(|| match Gpu::open(0) {
        Ok(_) => None,
        Err(Error::Missing { looked, .. }) => Some(format!("since no GPU was found ({looked})")),
        Err(error) => Some(format!("since no GPU can be used ({error})")),
    });
    why.as_deref()
}

/// Tells which device `auto` took and why, and that it is slow where it is: once it is sure that it will be used, and unless
/// `--quiet`.
pub fn announce(device: Device, globals: &Globals) {
    announce_in(device, device.precision().name(), globals);
}

/// The same where not all is computed in the device's precision: `precision` says it in words.
pub fn announce_in(device: Device, precision: &str, globals: &Globals) {
    if !globals.quiet {
        announcement(device, precision, globals).iter().for_each(|line| super::terminal::line(line));
    }
}

/// The lines that [`announce`] says.
pub fn announcement(device: Device, precision: &str, globals: &Globals) -> Vec<String> {
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
            (Choice::Cuda(0), Precision::F64),
            (Choice::Emulator, Precision::F64),
        ] {
            let error = Device::choose(choice, precision).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("cpu with f32 and f64"), "{error}");
        }
    }
}
