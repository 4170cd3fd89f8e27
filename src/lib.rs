//! normscape trains the networks of "How Does Batch Normalization Help Optimization?" (Santurkar, Tsipras, Ilyas, Mądry,
//! NeurIPS 2018) and measures what that paper measures.
//!
//! **θ and ∇L(θ) are the objects the paper measures.** So parameters and gradients are flat vectors with named slots, and the loss is a
//! pure function of (network, θ, batch, noise key). Training, line search and smoothness take a few lines each, on top of `loss`,
//! `loss_and_grad` and arithmetic on vectors.
//!
//! The top-level modules, called rooms, in reading order. Each imports only rooms before it:
//!
//! 1. [`error`]: the one error type, and the exit codes
//!    and, for the tests alone, [`mutant`]: deliberate mistakes that the tests must find
//! 2. [`files`]: everything read from and written to disk: whole files, guarded `.npz`, safetensors, hashes
//! 3. [`runtime`]: memory and devices, without mathematics: tensors as handles, named slots, random numbers as pure functions,
//!    host arenas, vector units; [`runtime::cuda`]: the CUDA backend on a GPU or on an emulator
//! 4. [`ops`]: one folder per operator: contract, reference, cases; [`ops::backend::Backend`] puts them all into one trait
//! 5. [`network`]: VGG and the deep linear network as tables of layers; [`network::Engine`]: two visible loops
//! 6. [`data`]: CIFAR-10, generated images, Gaussian samples, and their order
//! 7. [`theory`]: the paper's statements on random instances, in f64
//! 8. [`probe`]: measurements that leave all state unchanged
//! 9. [`train`]: runs: settings in, a folder out; a resumed run gives the same bits
//! 10. [`report`]: figures and tables from plain data
//! 11. [`experiment`]: runs described as data, and what is shown of their results
//! 12. [`mod@bench`]: times next to the machine's measured limits
//! 13. [`cli`]: the command line
//!
//! A forward and backward pass and an update, by hand:
//!
//! ```
//! use normscape::network::{Engine, Norm, Normalisation, Scalar, Update, initial_parameters, vgg};
//! use normscape::runtime::cpu::Cpu;
//! use normscape::runtime::storage::Storage;
//! use normscape::runtime::state::StepState;
//! use normscape::runtime::tensor::{In, Out};
//!
//! # fn main() -> normscape::Result<()> {
//! let network = vgg("vgg11", 0.0625, Normalisation::new(Norm::Batch))?;
//! let start = initial_parameters(&network, 1);
//! let mut engine = Engine::new(Cpu::<f32>::default(), network, 2, Default::default())?;
//! let (theta, grad) = (engine.vector()?, engine.vector()?);
//! engine.backend().upload_f32(&start, Out(theta))?;
//! engine.set_labelled(&vec![0.5; 2 * 3 * 32 * 32], &[3, 8])?;
//! engine.set_state(&StepState::new(1, 0, 0.1))?;
//!
//! let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
//! engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct))?;
//! engine.update(Out(theta), In(grad), Update { velocity: None, momentum: 0.0, weight_decay: 0.0 })?;
//! assert!(engine.scalar(Scalar::Loss)?.is_finite());
//! # Ok(())
//! # }
//! ```

pub mod bench;
pub mod cli;
pub mod data;
pub mod error;
pub mod experiment;
pub mod files;
pub mod mutant;
pub mod network;
pub mod ops;
pub mod probe;
pub mod report;
pub mod runtime;
pub mod theory;
pub mod train;

pub use error::{Error, Result};
