//! Networks as tables of layers, and the two loops over them.
//!
//! - [`layer`]: the table of layers · [`norm`]: the layers that `--norm` and `--noise` ask for · [`Activation`]: the choices of `--activation`
//! - [`vgg()`], [`dln()`]: the paper's two networks as tables · [`initial_parameters`]: Glorot
//! - [`chain`]: a network's description and slots · [`engine`]: a network on a backend: `loss`, `loss_and_grad`

pub mod chain;
mod dln;
pub mod engine;
mod init;
pub mod layer;
pub mod norm;
mod vgg;

pub use crate::ops::activation::Activation;
pub use chain::{Loss, Network, Reduction, WeightedLayer};
pub use dln::{Dln, dln};
pub use engine::{Engine, Linearised, Scalar, Tangents, Unactivated, Update};
pub use init::initial_parameters;
pub use norm::{Norm, Normalisation};
pub use vgg::{CLASSES, vgg};
