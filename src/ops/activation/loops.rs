//! Loops over an activation's elements, written so that the compiler vectorises them: one set for each activation.

use super::rule::Rule;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;

/// Takes x, ẋ, dy and ḋy, and writes ḋx.
type TangentBackward<T> = fn(&[T], &[T], &[T], &[T], &mut [T]);

/// The loops of one activation.
#[derive(Clone, Copy)]
pub(super) struct Passes<T> {
    pub forward: fn(&[T], &mut [T]),
    pub backward: fn(&[T], &[T], &mut [T]),
    pub tangent_backward: TangentBackward<T>,
}

/// The loops of the activation `R`.
pub(super) fn passes<T: Float, R: Rule>() -> Passes<T> {
    Passes { forward: forward::<T, R>, backward: backward::<T, R>, tangent_backward: tangent_backward::<T, R> }
}

/// slope · dy; where the slope is 0 the result is 0, whatever dy is.
#[inline(always)]
fn times<T: Float>(slope: T, dy: T) -> T {
    if slope == T::ZERO { T::ZERO } else { slope * dy }
}

vectorize! {
    fn forward<T, R: Rule>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = R::value(x);
        }
    }

    fn backward<T, R: Rule>(x: &[T], dy: &[T], dx: &mut [T]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = times(R::derivatives(x).0, dy);
        }
    }

    fn tangent_backward<T, R: Rule>(x: &[T], xt: &[T], dy: &[T], dyt: &[T], out: &mut [T]) {
        for ((out, (&x, &xt)), (&dy, &dyt)) in out.iter_mut().zip(x.iter().zip(xt)).zip(dy.iter().zip(dyt)) {
            let (slope, curve) = R::derivatives(x);
            *out = if curve == T::ZERO { times(slope, dyt) } else { slope.fma(dyt, curve * xt * dy) };
        }
    }
}
