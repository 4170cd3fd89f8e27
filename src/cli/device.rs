//! Devices and precisions: what there is, what is taken, and why. The device is matched here and nowhere else.

use super::Globals;
use super::values::Parsed;
use crate::ops::backend::Backend;
use crate::runtime::cpu::Cpu;
use crate::runtime::simd::{Isa, isa};
use crate::{Error, Result};
use clap::builder::PossibleValue;
use std::fmt;

/// What `--device` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// CUDA where it works, else the CPU.
    Auto,
    /// This machine's processor.
    Cpu,
    /// The CUDA kernels on the host.
    Emulator,
    /// A GPU, by its number.
    Cuda(u32),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Auto => f.write_str("auto"),
            Choice::Cpu => f.write_str("cpu"),
            Choice::Emulator => f.write_str("emulator"),
            Choice::Cuda(0) => f.write_str("cuda"),
            Choice::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Reads a `--device`.
pub fn parse(text: &str) -> Parsed<Choice> {
    match text {
        "auto" => Ok(Choice::Auto),
        "cpu" => Ok(Choice::Cpu),
        "emulator" => Ok(Choice::Emulator),
        "cuda" => Ok(Choice::Cuda(0)),
        _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Choice::Cuda).ok_or_else(|| {
            let known = "auto, cpu, emulator, cuda and cuda:N";
            format!("there are {known}")
        }),
    }
}

/// What `--precision` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Single precision
    F32,
    /// Matrix products in TF32 (CUDA)
    Tf32,
    /// Activations and matrix operands in bfloat16 (CUDA)
    Bf16,
    /// Double precision, the reference (CPU)
    F64,
}

impl Precision {
    /// As options and records have it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
            Precision::F64 => "f64",
        }
    }
}

// Not derived: the derived one puts these comments into the help, which doubles its length.
impl clap::ValueEnum for Precision {
    fn value_variants<'a>() -> &'a [Self] {
        &[Precision::F32, Precision::Tf32, Precision::Bf16, Precision::F64]
    }
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// The pairs that exist, for messages.
const PAIRS: &str = "this version has --device cpu with f32 and f64";

/// A device and a precision that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The CPU in f32.
    CpuF32,
    /// The CPU in f64.
    CpuF64,
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
        match (choice, precision) {
            (Choice::Auto | Choice::Cpu, Precision::F32) => Ok(Device::CpuF32),
            (Choice::Auto | Choice::Cpu, Precision::F64) => Ok(Device::CpuF64),
            (Choice::Auto | Choice::Cpu, other) => {
                let place = format!("--device {choice} --precision {}", other.name());
                Err(Error::input(place, "no such pair", PAIRS))
            }
            (Choice::Emulator | Choice::Cuda(_), _) => {
                Err(Error::input(format!("--device {choice}"), "not in this version", PAIRS))
            }
        }
    }

    /// Runs `job` on it.
    pub fn run<J: Job>(self, job: J) -> Result<J::Output> {
        match self {
            Device::CpuF32 => job.run(Cpu::<f32>::default()),
            Device::CpuF64 => job.run(Cpu::<f64>::default()),
        }
    }

    /// Its name in a run's record.
    pub fn name(self) -> &'static str {
        match self {
            Device::CpuF32 | Device::CpuF64 => "cpu",
        }
    }

    /// Its precision.
    pub fn precision(self) -> Precision {
        match self {
            Device::CpuF32 => Precision::F32,
            Device::CpuF64 => Precision::F64,
        }
    }

    /// What `--device auto` says: which device, and why.
    pub fn why(self, threads: usize) -> String {
        let (name, precision) = (self.name(), self.precision().name());
        let threads = if threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        format!("device: {name} ({threads}, {}, {precision}), since this version computes on the CPU only", isa_name())
    }
}

/// Tells which device `auto` took and why: once it is sure that it will be used, and unless `--quiet`.
pub fn announce(device: Device, globals: &Globals) {
    if globals.device == Choice::Auto && !globals.quiet {
        super::terminal::line(&device.why(globals.thread_count()));
    }
}

/// The instruction set in use, for people.
pub fn isa_name() -> &'static str {
    match isa() {
        Isa::Avx512 => "AVX-512",
        Isa::Avx2 => "AVX2",
        Isa::Portable => "portable code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        assert_eq!(parse("cuda:3"), Ok(Choice::Cuda(3)));
        assert_eq!(parse("cuda").map(|c| c.to_string()), Ok("cuda".into()));
        for text in ["gpu", "cuda:", "cuda:-1", "cuda:x", ""] {
            assert!(parse(text).unwrap_err().contains("emulator"), "{text}");
        }
    }

    #[test]
    fn pairs_that_do_not_exist_name_those_that_do() {
        assert_eq!(Device::choose(Choice::Auto, Precision::F64).unwrap(), Device::CpuF64);
        for (choice, precision) in [
            (Choice::Cpu, Precision::Bf16),
            (Choice::Auto, Precision::Tf32),
            (Choice::Cuda(0), Precision::F32),
            (Choice::Emulator, Precision::F32),
        ] {
            let error = Device::choose(choice, precision).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("cpu with f32 and f64"), "{error}");
        }
    }
}
