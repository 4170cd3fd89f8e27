//! Operators, one folder each. A folder holds the operator's contract (`mod.rs`), its reference on the CPU (`cpu.rs`), its launches on a device
//! (`cuda.rs`), its declaration as a layer (`layer.rs`: names, shapes and passes, which also determine its files) and the cases that tests and
//! benchmarks share (`cases.rs`).
//!
//! - the networks' layers: [`conv2d`], [`linear`], [`norm`] (BatchNorm, noisy or not, ℓp norms, LayerNorm and its kin), [`noise`], [`activation`],
//!   [`max_pool2d`]; their losses: [`cross_entropy`], [`squared_error`]
//! - a weight made of other parameters, before any layer takes it: [`weight_norm`]
//! - a whole network as one operator: [`deep_linear`]; the distribution of a unit's values: [`distribution`]
//! - on flat vectors: [`sgd`], [`vector`]; on per-unit vectors: [`running`]; a step's batch and bookkeeping: [`gather`], [`step`]
//! - [`backend`]: all of them as one trait · [`layer`]: the interface between a network and a layer · [`fusion`]: what a layer's pass does for its
//!   neighbours
//! - [`boundary`]: users' arrays in and out · [`table`]: the operators that users can call by name
//! - shared code: [`bilinear`] (layers that are linear in input and weight; [`weight_grads`] says where their gradients go), [`channel_reduce`]
//!   (per-unit sums; [`launch_grid`] on a device), [`affine`] (scale and shift), [`gemm`] (the dense product; [`implicit_gemm`] on a device)

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
