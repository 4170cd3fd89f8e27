//! Data: what the networks are trained on, and in which order.
//!
//! - [`image_set`]: labelled 32×32 images in memory; limits, hash, standardisation
//! - [`cifar10`]: CIFAR-10, in any of the forms that people store it in
//! - [`fetch`]: downloads CIFAR-10, through a `proxy` where there is one
//! - [`images`]: the generated image set, for use without a download
//! - [`gaussian`]: the deep linear network's inputs and targets
//! - [`batch`]: the images of a step's batch, augmented and standardised, in the engine's layout
//! - [`prefetch`]: prepares the next batch on a thread while one is used
//!
//! Nothing here has state that a run would have to save: order, crops, flips and generated images are pure functions of a seed and of indices.

pub mod batch;
pub mod cifar10;
pub mod fetch;
pub mod gaussian;
pub mod image_set;
pub mod images;
pub mod prefetch;
mod proxy;
