//! The values of `--device` and `--precision`.

use super::values::Parsed;
use crate::runtime::cuda::Mode;
use clap::builder::PossibleValue;
use std::fmt;

/// A value of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// CUDA where it works, otherwise the CPU.
    Auto,
    /// This machine's processor.
    Cpu,
    /// The CUDA kernels on the host, in the emulator.
    Emulator,
    /// A GPU: by its number; or the first, and for runs that go at once all that are visible.
    Cuda(Option<u32>),
}

impl Choice {
    /// The device's name, as a run's record has it; `auto` where none is chosen.
    pub fn name(self) -> &'static str {
        match self {
            Choice::Auto => "auto",
            Choice::Cpu => "cpu",
            Choice::Emulator => "emulator",
            Choice::Cuda(_) => "cuda",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Cuda(Some(n)) => write!(f, "cuda:{n}"),
            choice => f.write_str(choice.name()),
        }
    }
}

/// Reads a `--device`.
pub fn parse(text: &str) -> Parsed<Choice> {
    match text {
        "auto" => Ok(Choice::Auto),
        "cpu" => Ok(Choice::Cpu),
        "emulator" => Ok(Choice::Emulator),
        "cuda" => Ok(Choice::Cuda(None)),
        _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(|n| Choice::Cuda(Some(n))).ok_or_else(|| {
            let known = "auto, cpu, emulator, cuda and cuda:N";
            format!("there are {known}")
        }),
    }
}

/// A value of `--precision`.
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
    /// Every precision.
    pub const ALL: [Precision; 4] = [Precision::F32, Precision::Tf32, Precision::Bf16, Precision::F64];

    /// The name in options and records.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
            Precision::F64 => "f64",
        }
    }

    /// The CUDA mode of this precision; `None` for f64, which the CUDA backend lacks.
    pub fn mode(self) -> Option<Mode> {
        match self {
            Precision::F32 => Some(Mode::F32),
            Precision::Tf32 => Some(Mode::Tf32),
            Precision::Bf16 => Some(Mode::Bf16),
            Precision::F64 => None,
        }
    }

    /// The precision with this name.
    pub fn named(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|p| p.name() == name)
    }
}

// Not derived: the derived one puts these comments into the help, which doubles its length.
impl clap::ValueEnum for Precision {
    fn value_variants<'a>() -> &'a [Self] {
        &Precision::ALL
    }
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        assert_eq!(parse("cuda:3"), Ok(Choice::Cuda(Some(3))));
        assert_eq!(parse("cuda:0").map(|c| c.to_string()), Ok("cuda:0".into()));
        assert_eq!(parse("cuda").map(|c| c.to_string()), Ok("cuda".into()));
        for text in ["gpu", "cuda:", "cuda:-1", "cuda:x", ""] {
            assert!(parse(text).unwrap_err().contains("emulator"), "{text}");
        }
    }
}
