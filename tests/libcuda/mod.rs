//! A stand-in for NVIDIA's libcuda and cuBLAS: the functions of both that normscape calls, on the emulator.
//!
//! With it, everything above the driver's interface runs on a machine without a GPU, and the driver's contract is held to what CUDA's manual
//! allows at worst: work that is asked for is done only when somebody waits for it, new memory holds NaN, addresses mean nothing to the host,
//! and every breach is written down. It is built as a library of its own (the example `libcuda` of `Cargo.toml`) and is a module of the test
//! program `runs`, whose tests drive it wrongly on purpose.
//!
//! - `settings`: what the environment asks of it · `codes`: CUDA's errors · `image`: which kernels a cubin or PTX holds
//! - `contexts`: devices, contexts and their memory · `work`: what is queued or recorded, and how it is done
//! - `state`: everything that is alive, the rules of a call, breaches, and the report at the end
//! - `modules`, `streams`, `graphs`: what the functions of these names do · `exports`, `maps`: the driver's functions · `cublas`: those of cuBLAS
//!
//! docs/devices.md says how to use it.

mod codes;
mod contexts;
mod cublas;
mod exports;
mod graphs;
pub mod image;
mod maps;
mod modules;
mod settings;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod work;
