//! What a row of the table of activations says.

use crate::runtime::float::Float;

/// The functions of one activation.
pub(super) trait Rule: 'static {
    /// f
    fn value<T: Float>(x: T) -> T;
    /// f′ and f″
    fn derivatives<T: Float>(x: T) -> (T, T);
}
