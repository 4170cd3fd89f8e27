//! The vector units of the host: they are detected at run time, and never change a bit.
//!
//! Every kernel computes each output element as one chain of operations, in an order that the shapes alone fix. So a wider register, or none, changes
//! the speed and not one bit. There are two tools. The macro `vectorize!` compiles a plain loop once for each instruction set, and leaves the vectors
//! to the compiler. [`Lanes`] names registers, for loops (such as the dense product) where the compiler's own vectorisation is not good enough.

use crate::{Error, Result};
use std::ffi::OsStr;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
pub use super::lanes::x86;
pub use super::lanes::{Lanes, Portable, fence, fetch_ahead};

/// The environment variable that asks for a narrower instruction set than the machine has.
pub const VARIABLE: &str = "NORMSCAPE_ISA";

/// The instruction sets that kernels are compiled for, the widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// AVX-512 F, BW, DQ, VL and FMA.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// The instruction set of the compiler's target. Without a hardware `fma` the results are right, but slow.
    Portable,
}

impl Isa {
    const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Portable];

    /// Its word in [`VARIABLE`].
    pub fn word(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "AVX-512",
            Isa::Avx2 => "AVX2",
            Isa::Portable => "portable code",
        }
    }

    /// Whether fused multiply-add is computed in software: on x86-64, compilers assume a processor without the instruction.
    pub fn is_slow(self) -> bool {
        let x86 = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
        self == Isa::Portable && x86 && !cfg!(target_feature = "fma")
    }
}

/// The widest instruction set of this machine.
pub fn widest() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx512 {
            return Isa::Avx512;
        }
        if avx2 {
            return Isa::Avx2;
        }
    }
    Isa::Portable
}

/// The instruction set in use: the widest of this machine, or the narrower one that [`VARIABLE`] asks for.
///
/// A request that is wrong or cannot be met counts as none here; [`require`] refuses it before anything is computed.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| require().unwrap_or_else(|_| widest()))
}

/// The instruction set that [`VARIABLE`] asks for, or the widest. Errors: no such instruction set, or one that this machine does not have.
pub fn require() -> Result<Isa> {
    choose(std::env::var_os(VARIABLE).as_deref(), widest())
}

fn choose(asked: Option<&OsStr>, widest: Isa) -> Result<Isa> {
    // Set to nothing is not set, as for every other variable.
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(widest) };
    let found = Isa::ALL.into_iter().find(|isa| asked == isa.word());
    let problem = match found {
        Some(isa) if isa >= widest => return Ok(isa),
        Some(isa) => format!("this processor has no {}", isa.name()),
        None => "no such instruction set".into(),
    };
    let there: Vec<_> = Isa::ALL.into_iter().filter(|isa| *isa >= widest).map(Isa::word).collect();
    let place = format!("{VARIABLE}={}", asked.to_string_lossy().escape_debug());
    Err(Error::input(place, problem, format!("this machine has {}", there.join(", "))))
}

/// Defines functions that are compiled once for every [`Isa`] and use the machine's own at run time.
///
/// The body is plain Rust: the compiler turns its loops into vectors of the width that it is compiled for. It must not hand closures to other
/// threads, since those would be compiled for the base instruction set.
macro_rules! vectorize {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident<$T:ident $(, $G:ident: $B:path)*>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)+) => {$(
        $(#[$meta])*
        $vis fn $name<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                fn avx512<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? {
                    plain::<$T $(, $G)*>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2<$T: $crate::runtime::float::Float $(, $G: $B)*>($($arg: $ty),*) $(-> $ret)? {
                    plain::<$T $(, $G)*>($($arg),*)
                }
                match $crate::runtime::simd::isa() {
                    // SAFETY: `isa` saw these features on this machine.
                    $crate::runtime::simd::Isa::Avx512 => return unsafe { avx512::<$T $(, $G)*>($($arg),*) },
                    // SAFETY: likewise.
                    $crate::runtime::simd::Isa::Avx2 => return unsafe { avx2::<$T $(, $G)*>($($arg),*) },
                    $crate::runtime::simd::Isa::Portable => {}
                }
            }
            plain::<$T $(, $G)*>($($arg),*)
        }
    )+};
}
pub(crate) use vectorize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_taken_or_refused_and_never_passed_over() {
        use Isa::{Avx2, Avx512, Portable};
        let of = |asked: &str, widest| choose(Some(OsStr::new(asked)), widest);
        for widest in Isa::ALL {
            assert_eq!(choose(None, widest).unwrap(), widest);
            assert_eq!(of("", widest).unwrap(), widest);
            assert_eq!(of("portable", widest).unwrap(), Portable);
        }
        assert_eq!((of("avx512", Avx512).unwrap(), of("avx2", Avx512).unwrap()), (Avx512, Avx2));
        for (asked, widest, says) in [
            ("avx512", Avx2, "NORMSCAPE_ISA=avx512: this processor has no AVX-512; this machine has avx2, portable"),
            ("avx2", Portable, "NORMSCAPE_ISA=avx2: this processor has no AVX2; this machine has portable"),
            ("sse", Avx512, "NORMSCAPE_ISA=sse: no such instruction set; this machine has avx512, avx2, portable"),
            ("AVX2", Avx512, "NORMSCAPE_ISA=AVX2: no such instruction set"),
            (" avx2", Avx2, "NORMSCAPE_ISA= avx2: no such instruction set"),
            ("av\nx", Avx2, "NORMSCAPE_ISA=av\\nx: no such instruction set"),
        ] {
            let error = of(asked, widest).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().starts_with(says), "{error}");
        }
    }
}
