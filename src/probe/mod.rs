//! Measurements, as functions of (network, θ, batch, noise key) that leave all state as it is.
//!
//! - [`mod@line`]: loss, gradient change and effective smoothness along −g
//! - [`ics`]: internal covariate shift
//! - [`curvature`]: the Hessian along the gradient, its largest eigenvalue and its trace
//! - [`theory`]: both sides of the paper's statements, per unit
//! - [`door`]: a network at parameters and a batch that the user brings: `normscape probe`

pub mod curvature;
pub mod door;
mod eigen;
pub mod ics;
pub mod line;
pub mod theory;
