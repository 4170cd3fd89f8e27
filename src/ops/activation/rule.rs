//! The interface of a row in the table of activations.

use crate::runtime::float::Float;

/// The functions of one activation.
pub(super) trait Rule: 'static {
    /// f
    fn value<T: Float>(x: T) -> T;
    /// f′ and f″
    fn derivatives<T: Float>(x: T) -> (T, T);
}
