//! The last step of every norm: `y = a (x − μ) + β` per unit, and the ReLU that may follow.

use super::channel_reduce::{Line, Shared, for_pieces};
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;

/// The per-unit constants of `y = max(a (x − μ) + β, floor)`, each repeated along a line.
pub struct Affine<T> {
    /// μ
    pub mean: Line<T>,
    /// a = γ/S
    pub gain: Line<T>,
    /// β
    pub shift: Line<T>,
    /// 0 with the ReLU, NaN without it. No number is below or equal to NaN, so one formula serves both.
    pub floor: T,
}

/// The `floor` of an [`Affine`], with or without the ReLU.
pub fn floor<T: Float>(relu: bool) -> T {
    if relu { T::ZERO } else { T::of(f64::NAN) }
}

impl<T: Float> Affine<T> {
    /// The constants of `y = a (x − μ) + β`, followed by the ReLU if `relu` is set. `divisor` gives each unit's S.
    pub fn new(mean: &[T], weight: &[T], bias: &[T], divisor: impl Fn(usize) -> f64, relu: bool) -> Self {
        let columns = mean.len();
        Affine {
            mean: Line::new(columns, |c| mean[c]),
            gain: Line::new(columns, |c| T::of(weight[c].f64() / divisor(c))),
            shift: Line::new(columns, |c| bias[c]),
            floor: floor(relu),
        }
    }

    /// Applies the map to a whole tensor.
    pub fn apply(&self, x: &[T], columns: usize, y: &mut [T]) {
        let shared = Shared::new(y);
        for_pieces(x.len(), columns, |range| {
            // SAFETY: pieces do not overlap.
            let y = unsafe { shared.range(range.clone()) };
            self.piece(&x[range], y);
        });
    }

    /// Applies the map to whole lines.
    pub fn piece(&self, x: &[T], y: &mut [T]) {
        lines(x, self.mean.get(), self.gain.get(), self.shift.get(), self.floor, y);
    }
}

vectorize! {
    /// Applies the map line by line.
    pub fn lines<T>(x: &[T], mean: &[T], gain: &[T], shift: &[T], floor: T, y: &mut [T]) {
        let span = mean.len();
        for (x, y) in x.chunks(span).zip(y.chunks_mut(span)) {
            let constants = mean.iter().zip(gain).zip(shift);
            for ((y, &x), ((&m, &a), &b)) in y.iter_mut().zip(x).zip(constants) {
                let v = (x - m).fma(a, b);
                // A NaN passes: a diverged run must show it.
                *y = if v <= floor { floor } else { v };
            }
        }
    }
}
