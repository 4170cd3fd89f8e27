//! What the arithmetic can tell of two gradients that lie close together: below that a difference of gradients is rounding, and β, which is
//! such a difference over a distance, is no number.
//!
//! Of a point θ_s near θ is found `D = ∇L(θ_s) − ∇L(θ) + e_s − e_0`: θ_s is what rounding made of `θ − s·g`, so that
//! `θ_s − θ = −s·g + ρ` with `|ρ_i|` at most half a unit in the last place of θ_i, and e are the errors of the two evaluations. What the
//! line has at the length s is D but for `N = Hρ + e_s − e_0`, and the relative error of β is at most `‖N‖/‖D‖`.
//!
//! No bound on e from the lengths of sums is of use: through 25 layers it multiplies condition numbers, and exceeds what happens by many
//! orders. So N is measured. At θ′, which is θ with each parameter moved by one unit in its last place, up or down at random, the change is
//! `D′ = Hδ + e′ − e_0`. There `e′` is of the size of e_s, since every operand is another; and as `δ_i` is one unit, ρ_i evenly spread over
//! half a unit either way, the mean of ‖Hρ‖² over the roundings is a twelfth of that of ‖Hδ‖². Hence `η = ‖D′‖` bounds ‖N‖ in the mean, and
//!
//! > β is told where `‖D‖ ≥ 10 η`: there it is right to a tenth. Elsewhere it is NaN.
//!
//! On the deep linear network, where f64 says what is right, ‖N‖ was between a fifth and 1.1 η.
//!
//! Where matrix products round their operands (tf32, bf16), θ and θ_s are rounded for them once more, and the last place of a
//! weight is that of the rounded one.

use crate::Result;
use crate::network::Engine;
use crate::ops::backend::Backend;
use crate::runtime::tensor::{In, Out, View};

/// So many times what the last place changes a difference is at the least, to be told.
const TIMES: f64 = 10.0;

/// Points all of which are so many roundings of θ away are told unmeasured, where measuring costs a pass of its own: for rounding to make a
/// tenth of β there, the gradient would have to change 1,638 times as fast with it, for its length, as it does along the line. (165 times was
/// the most that was seen: late on a plateau of the deep linear network.)
const FAR: f64 = 16_384.0;

/// Where the gradient changes by so much of its length at all points, they are told unmeasured too: for rounding to make a tenth of that change,
/// it would have to make an eightieth of the gradient itself. (A 320th was the most that was seen, of networks whose ReLUs flip at a last place; on
/// plateaus of the deep linear network a 370th.)
const MUCH: f64 = 0.125;

/// Moved by this many roundings of itself, a number goes to its neighbour: a unit in the last place is one to two of them.
const MOVE: f64 = 1.5;

/// The first of this probe's random directions, one for each slot. Those of lines and of curvature count from 0.
const FIRST_DIRECTION: u32 = 1 << 31;

/// What was found out about a difference of gradients and the distance between its points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// ‖∇L(θ_s) − ∇L(θ)‖
    pub gradients: f64,
    /// ‖θ_s − θ‖
    pub distance: f64,
}

impl Difference {
    /// Whether it is told apart from what the last place changes, which is `noise`. A change of which no number is known is no matter of it.
    pub fn resolved(&self, noise: f64) -> bool {
        !self.gradients.is_finite() || self.gradients >= TIMES * noise && self.gradients > 0.0 && self.distance > 0.0
    }
}

/// Asks for θ′, `out ← theta` with every parameter moved in its last place.
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

/// Beyond so many times ‖θ‖ a point is too far off for rounding to matter.
pub fn least_distance<B: Backend>(engine: &mut Engine<B>) -> f64 {
    FAR * engine.backend().operand_roundoff()
}

/// Whether a gradient of the length `gradient` that changes by `change` does so by more than rounding could.
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
