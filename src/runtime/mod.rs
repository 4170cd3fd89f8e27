//! Memory and devices, no mathematics.
//!
//! - [`tensor`]: shape + dtype + place, as handles · [`slots`]: named parts of a flat vector · [`state`]: what changes from
//!   step to step
//! - [`rng`]: random numbers as pure functions, the same bits on every device
//! - [`memory`], [`cpu`]: host arenas and the CPU backend · [`float`], [`simd`]: its element types and vector units

pub mod cpu;
pub mod float;
pub mod memory;
pub mod rng;
pub mod simd;
pub mod slots;
pub mod state;
pub mod tensor;
