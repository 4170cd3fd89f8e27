//! The CUDA backend: hand-written kernels (`kernels/*.cu`), run by a GPU or by an emulator on the host.
//!
//! A kernel's text has three readers: NVRTC for the GPU, the host's C++ compiler for the emulator, and [`signature`] for the parameters. From these
//! `build.rs` generates [`kernels`]: for each kernel a struct of its operands, which launches it.
//!
//! - [`driver`]: the trait that both devices implement · [`launch`]: kernels, grids and arguments · [`region`]: where tensors are, and matrices that are
//!   read tile by tile · [`order`]: which launches of a graph must follow which · [`failing`]: a driver that fails · [`ledger`]: a driver that records what is asked of it
//! - [`backend`]: [`Cuda`], generic over the driver, with its memory (`memory`)
//! - [`gpu`]: a real device, through cudarc and cuBLAS · [`places`]: where NVIDIA's libraries may be
//! - [`nvrtc`]: the compiler of its kernels · [`image`]: what the build compiled with it
//! - [`emulator`]: one coroutine per CUDA thread, every access checked · [`counts`]: what it counts of a launch, where it is asked to

pub mod backend;
pub mod counts;
pub mod driver;
pub mod emulator;
pub mod failing;
pub mod gpu;
pub mod image;
pub mod launch;
pub mod ledger;
mod memory;
pub mod nvrtc;
pub mod order;
pub mod places;
pub mod region;
pub mod signature;

pub(crate) use backend::in_storage_type;
pub use backend::{Cuda, Mode, count};
pub use memory::DeviceBorrow;

/// The launches, which `build.rs` generates from the signatures in `kernels/*.cu`; and the kernels' text.
///
/// Each kernel is a struct whose fields are the kernel's parameters. Inputs are [`driver::Slice`], outputs [`driver::SliceMut`], and numbers have
/// their own type; numbers that always go together are a struct, such as [`kernels::Matrix`]. `launch` takes the driver and the grid:
///
/// ```text
/// kernels::Axpy { a, x, y: &mut y, len }.launch(driver, Grid::cover(len as usize, 8, 256))?;
/// ```
///
/// A kernel of both element types (`KERNEL_OF_T` in its text) is generic over the type.
pub mod kernels {
    #![allow(missing_docs, reason = "a kernel's parameters are explained where the kernel is")]
    #[allow(unused_imports, reason = "not every set of kernels has all kinds of parameters")]
    use super::driver::{
        Arg, Driver, Grid, Kernel, Number, Parameter, Resources, Slice, SliceMut, Source, Stored, TileMap, Words,
        scalar,
    };
    use super::image::Image;
    #[allow(unused_imports, reason = "without NVRTC the build compiles none, and names no target")]
    use super::nvrtc::Target;
    use super::signature::Type;
    use crate::Result;

    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}
