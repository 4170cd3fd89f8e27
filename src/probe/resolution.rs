//! Whether the arithmetic can tell two close gradients apart. Below a limit, a difference of gradients is rounding error, and β, which is
//! such a difference over a distance, is meaningless.
//!
//! For a point θ_s near θ the probe computes `D = ∇L(θ_s) − ∇L(θ) + e_s − e_0`. Here θ_s is `θ − s·g` after rounding, so that
//! `θ_s − θ = −s·g + ρ` with `|ρ_i|` at most half a unit in the last place of θ_i, and e_s and e_0 are the errors of the two evaluations.
//! The exact line at length s has `D − N` with `N = Hρ + e_s − e_0`, so the relative error of β is at most `‖N‖/‖D‖`.
//! A bound on the errors e from the lengths of the sums is useless: through 25 layers it multiplies condition numbers, and exceeds the real
//! errors by many orders of magnitude. So N is measured. θ′ is θ with each parameter moved by one unit in its last place, up or down at
//! random; there the change is `D′ = Hδ + e′ − e_0`. The error `e′` is about as large as e_s, since every operand differs. And since `δ_i`
//! is one unit and ρ_i is spread evenly over half a unit either way, the mean of ‖Hρ‖² over the roundings is a twelfth of that of ‖Hδ‖².
//! Hence `η = ‖D′‖` bounds ‖N‖ in the mean, and
//!
//! > β is reported where `‖D‖ ≥ 10 η`; there its error is at most a tenth. Elsewhere it is NaN.
//!
//! On the deep linear network, where f64 gives the right value, ‖N‖ was between a fifth of η and 1.1 η.
//!
//! Where matrix products round their operands (tf32, bf16), θ and θ_s are rounded once more for them. The last place of a weight is then
//! that of the rounded weight.

use crate::Result;
use crate::network::Engine;
use crate::ops::backend::Backend;
use crate::runtime::tensor::{In, Out, View};

/// A difference is reported if it is at least this many times the change that the last place makes.
const TIMES: f64 = 10.0;

/// If all points are at least this many roundings of θ away, β is reported without measuring η, where measuring costs a pass of its own.
/// For rounding to make up a tenth of β there, the gradient would have to change 1,638 times as fast along the rounding, per length, as
/// along the line. (The most that was seen was 165 times, late on a plateau of the deep linear network.)
const FAR: f64 = 16_384.0;

/// If the gradient changes by at least this share of its length at all points, β is reported without measuring η, too. For rounding to make
/// up a tenth of that change, it would have to make up an eightieth of the gradient itself. (The most that was seen was a 320th, in
/// networks whose ReLUs flip at a change in the last place; on plateaus of the deep linear network it was a 370th.)
const MUCH: f64 = 0.125;

/// Moving a number by this many roundings of itself takes it to its neighbour: a unit in the last place is one to two roundings.
const MOVE: f64 = 1.5;

/// The first of this probe's random directions; there is one for each slot. Those of lines and of curvature count from 0.
const FIRST_DIRECTION: u32 = 1 << 31;

/// The length of a difference of gradients, and the distance between its points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// ‖∇L(θ_s) − ∇L(θ)‖
    pub gradients: f64,
    /// ‖θ_s − θ‖
    pub distance: f64,
}

impl Difference {
    /// Whether the difference stands out from `noise`, the change that the last place makes. A difference that is not finite always counts
    /// as resolved.
    pub fn resolved(&self, noise: f64) -> bool {
        !self.gradients.is_finite() || self.gradients >= TIMES * noise && self.gradients > 0.0 && self.distance > 0.0
    }
}

/// Issues the work for θ′ to the device: `out ← theta` with every parameter moved in its last place.
pub fn ask_neighbour<B: Backend>(engine: &mut Engine<B>, theta: In, out: Out) -> Result<()> {
    let state = In(engine.state());
    let (own, operand) = (engine.backend().dtype().roundoff(), engine.backend().operand_roundoff());
    engine.backend().jitter(theta, MOVE * own, FIRST_DIRECTION, state, out)?;
    if operand == own {
        return Ok(());
    }
    let weights = engine.network().links().iter().filter(|link| link.layer.multiplies());
    let slots: Vec<usize> = weights.filter_map(|link| link.params[0]).collect();
    for slot in slots {
        let of = |whole: View| engine.network().slots().view(whole, slot);
        let (from, to) = (of(theta.0), of(out.0));
        let index = FIRST_DIRECTION + 1 + slot as u32;
        engine.backend().jitter(In(from), MOVE * operand, index, state, Out(to))?;
    }
    Ok(())
}

/// Beyond this multiple of ‖θ‖, a point is too far away for rounding to matter.
pub fn least_distance<B: Backend>(engine: &mut Engine<B>) -> f64 {
    FAR * engine.backend().operand_roundoff()
}

/// Whether a gradient of length `gradient` changes by more than rounding could make it: by `change`.
pub fn more_than_rounding(change: f64, gradient: f64) -> bool {
    change >= MUCH * gradient && change > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_place_does_is_no_difference() {
        let told = |gradients, distance, noise| Difference { gradients, distance }.resolved(noise);
        assert!(told(1.0, 1e-3, 0.1) && !told(1.0, 1e-3, 0.11));
        // Nothing moved, nothing changed, nothing is known of the noise.
        assert!(!told(1.0, 0.0, 0.0) && !told(0.0, 1.0, 0.0) && !told(1.0, 1.0, f64::NAN));
        assert!(told(f64::INFINITY, 1.0, 1.0) && told(f64::NAN, 1.0, f64::NAN));
    }
}
