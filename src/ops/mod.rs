//! Operators: one folder each, with its contract (`mod.rs`), its reference on the CPU (`cpu.rs`), its place in a network
//! (`layer.rs`), its arrays at the door (`door.rs`) and the cases that tests and benchmarks share (`cases.rs`).
//!
//! - the networks' layers: [`conv2d`], [`linear`], [`batch_norm`], [`noisy_batch_norm`], [`lp_norm`], [`group_norm`] (LayerNorm,
//!   InstanceNorm and others too), [`noise`], [`activation`], [`max_pool2d`]; their losses: [`cross_entropy`],
//!   [`squared_error`]
//! - a weight made of other parameters, before any layer takes it: [`weight_norm`]
//! - a whole network as one operator: [`deep_linear`]; what a unit's values are like: [`distribution`]
//! - on flat vectors: [`sgd`], [`vector`]; on per-unit vectors: [`running`]; a step's batch and bookkeeping: [`gather`], [`step`]
//! - [`backend`]: all of them as one trait · [`layer`]: what a network needs to know of a layer
//! - [`door`]: users' arrays in and out · [`table`]: the operators that users can call by name
//! - what several share: [`norm`], [`norm_layer`] and [`norm_tangent`] (contracts of the norms), [`bilinear`] (tangents of
//!   what is linear in input and weight), [`columns`] (per-unit sums, on a device [`column_grid`]), [`affine`]
//!   (scale and shift), [`product`] (the dense product, on a device [`tap_product`])

pub mod activation;
pub mod affine;
pub mod backend;
pub mod batch_norm;
pub mod bilinear;
pub mod column_grid;
pub mod columns;
pub mod conv2d;
pub mod cross_entropy;
pub mod deep_linear;
pub mod distribution;
pub mod door;
pub mod gather;
pub mod group_norm;
pub mod layer;
pub mod linear;
pub mod lp_norm;
pub mod max_pool2d;
pub mod noise;
pub mod noisy_batch_norm;
pub mod norm;
pub mod norm_layer;
pub mod norm_tangent;
pub mod product;
pub mod running;
pub mod sgd;
pub mod squared_error;
pub mod step;
pub mod table;
pub mod tap_product;
pub mod vector;
pub mod weight_norm;
