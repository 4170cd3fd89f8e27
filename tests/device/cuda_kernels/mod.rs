//! Kernels beyond the operators' own cases (which `operators` has, in `parity.rs`).

mod conv_epilogue;
mod deep_linear;
mod distribution;
mod draws;
mod gather;
mod norm_pool;
mod norm_wide;
