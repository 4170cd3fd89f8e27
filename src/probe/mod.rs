//! Measurements, as functions of (network, θ, batch, noise key) that leave all state as it is.
//!
//! - [`mod@line`]: loss, gradient change and effective smoothness along −g
//! - [`ics`]: internal covariate shift
//! - [`door`]: a network at parameters and a batch that the user brings: `normscape probe`

pub mod door;
pub mod ics;
pub mod line;
