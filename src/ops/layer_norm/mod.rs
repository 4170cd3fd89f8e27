//! Layer normalisation: [`crate::ops::group_norm`] with one group, so that statistics are over C, H and W of a sample; γ and β are of
//! each channel, as in `GroupNorm(1, C)`.

pub mod cases;
pub mod door;
