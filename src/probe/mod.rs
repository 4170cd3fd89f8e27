//! Measurements, as functions of (network, θ, batch, noise key) that leave all state unchanged.
//!
//! - [`mod@line`]: loss, gradient change and effective smoothness along −g · [`resolution`]: which changes a precision can resolve ·
//!   [`portion`]: points that several devices share
//! - [`table`]: all probes of a run · [`measure`]: what probes have in common · `lines`: lines as probes
//! - [`ics`]: internal covariate shift
//! - [`activations`]: how the values that enter activation functions are distributed · [`units`]: which layers and units are probed
//! - [`curvature`]: the Hessian along the gradient, its largest eigenvalue and its trace
//! - `scale`: the length of each layer's weights, and how the loss depends on it
//! - [`theory`]: both sides of the paper's statements, for each unit
//! - [`boundary`]: a network at parameters and a batch from the user: `normscape probe`

pub mod activations;
pub mod boundary;
pub mod curvature;
mod eigen;
pub mod ics;
pub mod line;
mod lines;
pub mod measure;
pub mod portion;
pub mod resolution;
mod scale;
pub mod table;
pub mod theory;
pub mod units;
