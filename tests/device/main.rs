//! The kernels, and networks on them: on the emulator, or with `NORMSCAPE_TEST_DEVICE=cuda` on a GPU. It is one test program, because each
//! program contains all kernels.
//!
//! - `kernels`: what the build compiled · `emulator`, `tickets`: that it sees what a kernel does wrong · `counters`: that it counts what a kernel
//!   asks for · `launch_chain`: how many launches a step is
//! - `predecessor`: that no kernel touches memory before it has waited for the launch before its own
//! - `hopper`, `hopper_clusters`: that it sees mistakes with Hopper's asynchronous instructions
//! - `cuda_kernels`: kernels one by one, beyond the operators' cases · `cuda_networks`, `cuda_precision`: whole networks
//! - `helpers`: devices that take points of a run's lines

mod counters;
mod cuda_kernels;
mod cuda_networks;
mod cuda_precision;
mod emulator;
mod helpers;
mod hopper;
mod hopper_clusters;
mod kernels;
mod launch_chain;
mod predecessor;
#[path = "../shared/mod.rs"]
mod shared;
mod tickets;
