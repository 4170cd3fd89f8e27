//! The per-channel constants of a backward pass, for any divisor.

use crate::ops::affine::floor;
use crate::ops::channel_reduce::Line;
use crate::runtime::float::Float;

/// The constants of a backward pass, each repeated along a line.
pub struct Constants<T> {
    /// μ
    pub mean: Line<T>,
    /// 1/D
    pub inverse: Line<T>,
    /// γ/D
    pub gain: Line<T>,
    /// β
    pub shift: Line<T>,
    /// See [`crate::ops::affine::Affine::floor`].
    pub floor: T,
}

impl<T: Float> Constants<T> {
    /// The constants of a pass; `divisor` gives D. A unit whose D is 0 has y = NaN, as 0/0 gives.
    #[inline(always)] // so that the lines are made where they stay
    pub fn new(mean: &[T], (weight, bias): (&[T], &[T]), divisor: impl Fn(usize) -> f64, relu: bool) -> Self {
        let columns = mean.len();
        Constants {
            mean: Line::new(columns, |c| mean[c]),
            inverse: Line::new(columns, |c| T::of(1.0 / divisor(c))),
            gain: Line::new(columns, |c| T::of(weight[c].f64() / divisor(c))),
            shift: Line::new(columns, |c| bias[c]),
            floor: floor(relu),
        }
    }
}
