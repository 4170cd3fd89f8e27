//! Data: what the networks are trained on, and the order in which they see it.
//!
//! - [`image_set`]: labelled 32×32 images in memory; limits, hash, standardisation
//! - [`cifar10`]: CIFAR-10 from any of the forms in which it lies on people's disks
//! - [`fetch`]: downloads it, through a `proxy` where there is one
//! - [`images`]: the generated image set, for where no download is wanted
//! - [`gaussian`]: the deep linear network's inputs and targets
//! - [`batch`]: which images make a step's batch, augmented and standardised, in the engine's layout
//! - [`prefetch`]: the next batch, prepared on a thread while one is used
//!
//! Nothing here has state that a run would have to save: order, crops, flips and generated images are pure functions
//! of a seed and of indices.

pub mod batch;
pub mod cifar10;
pub mod fetch;
pub mod gaussian;
pub mod image_set;
pub mod images;
pub mod prefetch;
mod proxy;
