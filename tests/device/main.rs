//! The kernels, and networks on them: on the emulator, or with `NORMSCAPE_TEST_DEVICE=cuda` on a GPU. It is one test program, because each
//! program contains all kernels.
//!
//! - `kernels`: the compiled kernels · `emulator`: the emulator detects mistakes in kernels
//! - `cuda_kernels`: single kernels, beyond the operators' cases · `cuda_networks`, `cuda_precision`: whole networks

mod cuda_kernels;
mod cuda_networks;
mod cuda_precision;
mod emulator;
mod kernels;
#[path = "../shared/mod.rs"]
mod shared;
