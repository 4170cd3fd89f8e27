//! The table of activations: each row has a function and its first and second derivatives.
//!
//! A new activation needs a row here and its twin at the same place in `kernels/activation.cu`; options, experiment files, `normscape op` and the
//! tests then find it by its name.

use super::loops::{Passes, passes};
use super::rule::Rule;
use crate::runtime::float::Float;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

macro_rules! activations {
    ($($(#[$meta:meta])+ $name:ident $word:literal |$x:ident| { $value:expr } { $derivatives:expr })+) => {
        /// A choice of non-linearity.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Activation {
            $($(#[$meta])+ $name),+
        }

        impl Activation {
            /// All activations.
            pub const ALL: &'static [Activation] = &[$(Activation::$name),+];

            /// The name that options and files use.
            pub fn name(self) -> &'static str {
                match self { $(Activation::$name => $word),+ }
            }

            /// The names of all activations, as a list to show to users.
            pub fn names() -> String {
                [$($word),+].join(", ")
            }

            /// The activation's loops over elements of type T.
            pub(super) fn passes<T: Float>(self) -> Passes<T> {
                match self { $(Activation::$name => passes::<T, $name>()),+ }
            }
        }

        $(
            struct $name;
            impl Rule for $name {
                #[inline(always)]
                fn value<T: Float>($x: T) -> T { $value }
                #[inline(always)]
                fn derivatives<T: Float>($x: T) -> (T, T) { $derivatives }
            }
        )+
    };
}

activations! {
    /// `max(x, 0)`, the paper's; the derivative at 0 is 0.
    #[default]
    Relu "relu" |x| { if x <= T::ZERO { T::ZERO } else { x } }
    { (if x <= T::ZERO { T::ZERO } else { T::ONE }, T::ZERO) }

    /// `x` above 0, `eˣ − 1` below (Clevert, Unterthiner and Hochreiter 2016).
    Elu "elu" |x| { exponential(x, 1.0, 1.0) } { exponential_derivatives(x, 1.0, 1.0) }

    /// `λ x` above 0, `λ α (eˣ − 1)` below. λ and α are chosen so that layers preserve mean 0 and variance 1 (Klambauer, Unterthiner, Mayr and
    /// Hochreiter 2017).
    Selu "selu" |x| { exponential(x, SELU[0], SELU[1]) } { exponential_derivatives(x, SELU[0], SELU[1]) }

    /// `x Φ(x)`, where Φ is the normal distribution function, computed without approximation (Hendrycks and Gimpel 2016).
    Gelu "gelu" |x| { x * normal_below(x) }
    { (x.fma(normal_density(x), normal_below(x)), (-x).fma(x * normal_density(x), T::of(2.0) * normal_density(x))) }

    /// `x σ(x)`, where σ is the logistic function; also called Swish (Elfwing, Uchibe and Doya 2018; Ramachandran, Zoph and Le 2017).
    Silu "silu" |x| { x * logistic(x) }
    {{
        let (s, rest) = (logistic(x), logistic(-x));
        (s * x.fma(rest, T::ONE), s * rest * x.fma(rest - s, T::of(2.0)))
    }}
}

/// `1/(1 + e⁻ˣ)`
#[inline(always)]
fn logistic<T: Float>(x: T) -> T {
    let (power, part) = (-x.abs()).exp_parts();
    let small = power.fma(part, power);
    (if x < T::ZERO { small } else { T::ONE }) / (T::ONE + small)
}

/// Φ(x), the normal distribution function.
#[inline(always)]
fn normal_below<T: Float>(x: T) -> T {
    T::of(0.5) * (x * T::of(-std::f64::consts::FRAC_1_SQRT_2)).erfc()
}

/// Φ′(x), the normal density.
#[inline(always)]
fn normal_density<T: Float>(x: T) -> T {
    let (power, part) = (x * x * T::of(-0.5)).exp_parts();
    T::of(0.398_942_280_401_432_7) * power.fma(part, power)
}

/// SELU's λ and α, with as many digits as its authors give.
const SELU: [f64; 2] = [1.050_700_987_355_480_5, 1.673_263_242_354_377_2];

/// The parts 2ᵏ and eʳ − 1 of eˣ. For x > 0 they are those of e⁰ = 1, so that nothing overflows.
#[inline(always)]
fn parts<T: Float>(x: T) -> (T, T) {
    (if x > T::ZERO { T::ZERO } else { x }).exp_parts()
}

/// `scale · x` above 0, `scale · depth (eˣ − 1)` elsewhere.
#[inline(always)]
fn exponential<T: Float>(x: T, scale: f64, depth: f64) -> T {
    let (power, part) = parts(x);
    if x > T::ZERO { T::of(scale) * x } else { T::of(scale * depth) * power.fma(part, power - T::ONE) }
}

/// The first and second derivatives of [`exponential`]. At 0 they follow PyTorch: the first is the derivative from below, the second is 0.
#[inline(always)]
fn exponential_derivatives<T: Float>(x: T, scale: f64, depth: f64) -> (T, T) {
    let (power, part) = parts(x);
    let below = T::of(scale * depth) * power.fma(part, power);
    if x > T::ZERO { (T::of(scale), T::ZERO) } else { (below, if x == T::ZERO { T::ZERO } else { below }) }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Activation> {
        let there = || format!("there are {}", Activation::names());
        let unknown = || Error::input(format!("--activation {text}"), "unknown", there());
        Activation::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(unknown)
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
