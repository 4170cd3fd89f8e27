//! Operators: one folder each, with its contract (`mod.rs`), its reference on the CPU (`cpu.rs`), its launches on a device (`cuda.rs`), its
//! declaration as a layer (`layer.rs`: names, shapes and passes, from which its files follow too) and the cases that tests and benchmarks share
//! (`cases.rs`).
//!
//! - the networks' layers: [`conv2d`], [`linear`], [`norm`] (BatchNorm, noisy or not, ℓp norms, LayerNorm and its kin), [`noise`],
//!   [`activation`], [`max_pool2d`]; their losses: [`cross_entropy`], [`squared_error`]
//! - a weight made of other parameters, before any layer takes it: [`weight_norm`]
//! - a whole network as one operator: [`deep_linear`]; what a unit's values are like: [`distribution`]
//! - on flat vectors: [`sgd`], [`vector`]; on per-unit vectors: [`running`]; a step's batch and bookkeeping: [`gather`], [`step`]
//! - [`backend`]: all of them as one trait · [`layer`]: what a network needs to know of a layer · [`fusion`]: what its pass does beside
//! - [`boundary`]: users' arrays in and out · [`table`]: the operators that users can call by name
//! - what several share: [`bilinear`] (layers that are linear in input and weight; [`weight_grads`], where their gradients go), [`channel_reduce`] (per-unit sums, on a device
//!   [`launch_grid`]), [`affine`] (scale and shift), [`gemm`] (the dense product, on a device [`implicit_gemm`])

pub mod activation;
pub mod affine;
pub mod backend;
pub mod bilinear;
pub mod boundary;
pub mod channel_reduce;
pub mod conv2d;
pub mod cross_entropy;
pub mod deep_linear;
pub mod distribution;
pub mod fusion;
pub mod gather;
pub mod gemm;
pub mod implicit_gemm;
pub mod launch_grid;
pub mod layer;
pub mod linear;
pub mod max_pool2d;
pub mod noise;
pub mod norm;
pub mod running;
pub mod sgd;
pub mod squared_error;
pub mod step;
pub mod table;
pub mod vector;
pub mod weight_grads;
pub mod weight_norm;
