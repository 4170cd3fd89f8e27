//! The interface to what runs kernels: a GPU, or the emulator. All code above is generic over it.

use super::counts::Counts;
pub use super::launch::{
    Arg, Grid, Kernel, Number, Parameter, Resources, Slice, SliceMut, Source, Stored, Words, scalar,
};
pub use super::region::{Region, TensorMap, TileMap};
pub use crate::runtime::storage::{Graph, Hardware, Part, Pass};
use crate::runtime::tensor::{ArenaId, DType};
use crate::{Error, Result};

/// A matrix operand of a dense product, row-major; the product may take its transpose.
#[derive(Debug, Clone, Copy)]
pub struct Operand {
    /// Where the matrix lies.
    pub region: Region,
    /// Whether the product takes the transpose.
    pub transposed: bool,
}

/// `out [m, n] = a [m, k] · b [k, n]`, where all matrices are dense and row-major. Sums accumulate in f32, and `out` is overwritten.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    /// The number of rows of `out`.
    pub m: usize,
    /// The number of columns of `out`.
    pub n: usize,
    /// The number of terms in each sum.
    pub k: usize,
    /// The left matrix; if transposed, it is stored as `[k, m]`.
    pub a: Operand,
    /// The right matrix; if transposed, it is stored as `[n, k]`.
    pub b: Operand,
    /// The dtype of `a` and `b`: f32 or bf16.
    pub operands: DType,
    /// Whether f32 operands are rounded to tf32 first.
    pub tf32: bool,
    /// Where the product goes.
    pub out: Region,
    /// The dtype of `out`: f32 or bf16.
    pub result: DType,
}

/// The properties of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Its name for users, as in `NVIDIA H200 (sm_90)`.
    pub name: String,
    /// Its compute capability times ten: 80, 90, …
    pub capability: u32,
    /// The number of multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that a block may have.
    pub shared: u32,
    /// Whether it runs kernels for sm_90a alone: those of files that include `hopper.cuh`.
    pub hopper: bool,
}

/// A device that has memory and runs kernels. It does its work in the order in which it is asked.
///
/// All errors are typed: [`Error::Device`] if the device fails, [`Error::Kernel`] if a kernel does something that it must not do.
pub trait Driver {
    /// The device's properties.
    fn properties(&self) -> &Properties;
    /// The card, if the device is a real one.
    fn hardware(&self) -> Option<Hardware> {
        None
    }
    /// Allocates arena `arena`, zeroed.
    fn allocate(&mut self, arena: ArenaId, bytes: usize) -> Result<()>;
    /// Whether plans leave guard bands between tensors, and memory starts as NaN.
    fn guarded(&self) -> bool {
        false
    }
    /// Tells the device which parts of an arena belong to no tensor; a device that can do so refuses accesses to them.
    fn guard(&mut self, arena: ArenaId, bands: &[std::ops::Range<usize>]) -> Result<()> {
        let _ = (arena, bands);
        Ok(())
    }
    /// Copies host bytes to a region of the same length.
    fn upload(&mut self, to: Region, bytes: &[u8]) -> Result<()>;
    /// Waits for all work submitted so far, and copies a region to host bytes of the same length.
    fn download(&mut self, from: Region, bytes: &mut [u8]) -> Result<()>;
    /// Copies between regions of the same length that do not overlap.
    fn copy(&mut self, from: Region, to: Region) -> Result<()>;
    /// Runs a kernel. The arguments must fit its parameters; only generated functions call this.
    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()>;
    /// What the last launch came to, on a device that counts; none where what was last asked for is no launch, or is being recorded.
    fn counts(&self) -> Option<Counts> {
        None
    }
    /// Whether the device has room for a cluster of a kernel's blocks at all. A part of a GPU may have none, although its blocks one by one fit.
    fn has_room(&mut self, kernel: &'static Kernel, grid: Grid) -> Result<bool> {
        let _ = (kernel, grid);
        Ok(true)
    }
    /// Whether [`Driver::gemm`] is there.
    fn has_gemm(&mut self) -> bool {
        true
    }
    /// Computes a dense product.
    fn gemm(&mut self, product: Gemm) -> Result<()>;
    /// Begins a piece of work, known by `key`, that is repeated with the same launches and arguments. The first time, the work is done directly; the
    /// second time, it is recorded while it is done; from then on, the recording is replayed as a whole. Nothing may be uploaded, downloaded or
    /// allocated between this call and [`Driver::end_graph`].
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        let _ = key;
        Ok(Graph::Make)
    }
    /// Ends what [`Driver::begin_graph`] began. `good` is false if something failed on the way; the recording is then discarded.
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        let _ = (key, good);
        Ok(())
    }
    /// Says which part of a network the following launches belong to: see [`crate::runtime::storage::Storage::enter`].
    fn enter(&mut self, part: Option<Part>) {
        let _ = part;
    }
    /// Says which pass the following launches belong to, within the layer last named.
    fn enter_pass(&mut self, pass: Pass) {
        let _ = pass;
    }
    /// Waits for all work submitted so far.
    fn synchronize(&mut self) -> Result<()>;
    /// Sets mark number `which`, 0 or 1, in the stream of work; [`Driver::elapsed`] gives the time between the two marks.
    fn mark(&mut self, which: usize) -> Result<()>;
    /// Waits for mark 1, and returns the seconds from mark 0 to mark 1 by the device's clock.
    fn elapsed(&mut self) -> Result<f64>;
}

impl<D: Driver + ?Sized> Driver for Box<D> {
    fn properties(&self) -> &Properties {
        (**self).properties()
    }
    fn hardware(&self) -> Option<Hardware> {
        (**self).hardware()
    }
    fn allocate(&mut self, arena: ArenaId, bytes: usize) -> Result<()> {
        (**self).allocate(arena, bytes)
    }
    fn guarded(&self) -> bool {
        (**self).guarded()
    }
    fn guard(&mut self, arena: ArenaId, bands: &[std::ops::Range<usize>]) -> Result<()> {
        (**self).guard(arena, bands)
    }
    fn upload(&mut self, to: Region, bytes: &[u8]) -> Result<()> {
        (**self).upload(to, bytes)
    }
    fn download(&mut self, from: Region, bytes: &mut [u8]) -> Result<()> {
        (**self).download(from, bytes)
    }
    fn copy(&mut self, from: Region, to: Region) -> Result<()> {
        (**self).copy(from, to)
    }
    fn launch(&mut self, kernel: &'static Kernel, grid: Grid, args: &[Arg]) -> Result<()> {
        (**self).launch(kernel, grid, args)
    }
    fn counts(&self) -> Option<Counts> {
        (**self).counts()
    }
    fn has_room(&mut self, kernel: &'static Kernel, grid: Grid) -> Result<bool> {
        (**self).has_room(kernel, grid)
    }
    fn has_gemm(&mut self) -> bool {
        (**self).has_gemm()
    }
    fn gemm(&mut self, product: Gemm) -> Result<()> {
        (**self).gemm(product)
    }
    fn begin_graph(&mut self, key: u64) -> Result<Graph> {
        (**self).begin_graph(key)
    }
    fn end_graph(&mut self, key: u64, good: bool) -> Result<()> {
        (**self).end_graph(key, good)
    }
    fn enter(&mut self, part: Option<Part>) {
        (**self).enter(part)
    }
    fn enter_pass(&mut self, pass: Pass) {
        (**self).enter_pass(pass)
    }
    fn synchronize(&mut self) -> Result<()> {
        (**self).synchronize()
    }
    fn mark(&mut self, which: usize) -> Result<()> {
        (**self).mark(which)
    }
    fn elapsed(&mut self) -> Result<f64> {
        (**self).elapsed()
    }
}

/// Refuses a grid that the device cannot run, or that the kernel was not written for.
pub fn check_grid(kernel: &Kernel, grid: Grid, properties: &Properties) -> Result<()> {
    let refuse = |expected: String, found: String| Err(Error::operator(kernel.name, expected, found));
    let [x, y, z] = grid.blocks;
    if grid.threads == 0 || grid.threads > kernel.max_threads {
        return refuse(format!("1 to {} threads a block", kernel.max_threads), grid.threads.to_string());
    }
    if x == 0 || x > i32::MAX as u32 || y == 0 || y > 65_535 || z == 0 || z > 65_535 {
        return refuse("a grid of blocks that a device takes".into(), format!("{x}×{y}×{z}"));
    }
    if !x.is_multiple_of(kernel.cluster) {
        return refuse(format!("a multiple of {} blocks", kernel.cluster), x.to_string());
    }
    if grid.shared > properties.shared {
        return refuse(format!("at most {} bytes of shared memory", properties.shared), grid.shared.to_string());
    }
    Ok(())
}
