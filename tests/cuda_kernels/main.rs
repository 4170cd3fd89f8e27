//! Kernels beyond the operators' own cases (which are in `parity.rs`): one program, since each carries all kernels with it.

#[path = "../shared/mod.rs"]
mod shared;

mod conv_epilogue;
mod deep_linear;
mod distribution;
mod draws;
mod gather;
mod norm_pool;
