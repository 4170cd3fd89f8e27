//! Tests of kernels that the operators' own cases do not cover. (Those cases run in `operators`, in `parity.rs`.)

mod both_gradients;
mod conv_epilogue;
mod deep_linear;
mod distribution;
mod draws;
mod gather;
mod group_wide;
mod head;
mod noise_wide;
mod norm_below;
mod norm_pool;
mod norm_wide;
mod power_wide;
mod shared_tiles;
mod splits;
mod stem;
mod update_beside;
mod warpgroups;
mod whole_tiles;
