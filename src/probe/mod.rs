//! Measurements, as functions of (network, θ, batch, noise key) that leave all state as it is.
//!
//! - [`mod@line`]: loss, gradient change and effective smoothness along −g · [`resolution`]: which changes a precision can tell
//! - [`table`]: all probes of a run · [`measure`]: what they have in common · `lines`: lines as probes
//! - [`ics`]: internal covariate shift
//! - [`activations`]: how the values that enter non-linearities are distributed · [`units`]: of which layers and units
//! - [`curvature`]: the Hessian along the gradient, its largest eigenvalue and its trace
//! - `scale`: how long weights are, and what the loss says of it
//! - [`theory`]: both sides of the paper's statements, per unit
//! - [`boundary`]: a network at parameters and a batch that the user brings: `normscape probe`

pub mod activations;
pub mod boundary;
pub mod curvature;
mod eigen;
pub mod ics;
pub mod line;
mod lines;
pub mod measure;
pub mod resolution;
mod scale;
pub mod table;
pub mod theory;
pub mod units;
