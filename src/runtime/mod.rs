//! Memory and devices; this module has no mathematics.
//!
//! - [`tensor`]: shape, dtype and place, as handles · [`element`]: element types · [`slots`]: named parts of a flat vector · [`state`]: the values
//!   that change from step to step
//! - [`rng`]: random numbers as pure functions, the same bits on every device
//! - [`storage`]: what every backend can do with memory · [`alias_check`]: the borrow check of an operator's views
//! - [`cuda`]: the CUDA backend, on a GPU or on an emulator
//! - [`memory`], [`cpu`]: host arenas and the CPU backend · [`float`], [`simd`], [`lanes`]: its element types and vector units · [`rounding`]: f64 to
//!   bf16

pub mod alias_check;
pub mod cpu;
pub mod cuda;
pub mod element;
pub mod float;
pub mod lanes;
pub mod memory;
pub mod rng;
pub mod rounding;
pub mod simd;
pub mod slots;
pub mod state;
pub mod storage;
pub mod tensor;
