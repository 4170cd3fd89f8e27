//! The interface to what runs kernels: a GPU, or the emulator. All code above is generic over it.

use super::counts::Counts;
pub use super::region::{Region, TensorMap, TileMap};
use super::signature::Type;
use crate::runtime::memory::Element;
pub use crate::runtime::storage::{Graph, Hardware, Part, Pass};
use crate::runtime::tensor::{ArenaId, DType};
use crate::{Error, Result};
use half::bf16;
use std::marker::PhantomData;

/// One file of kernels.
#[derive(Debug)]
pub struct Source {
    /// Its name without `.cu`.
    pub name: &'static str,
    /// The one architecture that it is for, as 90 for sm_90a; none where it is for all.
    pub only_for: Option<u32>,
    /// Its text.
    pub text: &'static str,
}

/// A kernel's resource use, as the build found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The architecture; 90 stands for sm_90.
    pub arch: u32,
    /// Registers per thread.
    pub registers: u32,
    /// Bytes that a thread spills to local memory.
    pub spills: u32,
    /// Bytes of static shared memory per block.
    pub shared: u32,
}

/// One kernel, as `build.rs` found it.
#[derive(Debug)]
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// The file that holds it: its place in [`super::kernels::SOURCES`].
    pub source: usize,
    /// The most threads that a block may have.
    pub max_threads: u32,
    /// The number of blocks in a cluster; 1 without clusters.
    pub cluster: u32,
    /// Its parameters, in order.
    pub parameters: &'static [Parameter],
}

/// One parameter of a kernel.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// The numbers it consists of: none for a tensor, one for a number, or the fields of a struct.
    pub numbers: &'static [Number],
}

/// A number among a kernel's parameters.
#[derive(Debug)]
pub struct Number {
    /// The parameter's name, or the field's.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Its offset in bytes within the parameter.
    pub at: usize,
}

/// The number of threads that run a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The number of blocks along x, y and z; with clusters, x is a multiple of the cluster's size.
    pub blocks: [u32; 3],
    /// The number of threads per block.
    pub threads: u32,
    /// Bytes of dynamic shared memory per block.
    pub shared: u32,
}

impl Grid {
    /// A grid of `blocks` blocks along x with `threads` threads each, and no dynamic shared memory.
    pub fn new(blocks: usize, threads: u32) -> Grid {
        Grid::of([blocks, 1, 1], threads)
    }

    /// A grid with blocks along x, y and z. A grid that the device cannot run is refused at the launch.
    pub fn of(blocks: [usize; 3], threads: u32) -> Grid {
        Grid { blocks: blocks.map(|n| u32::try_from(n).unwrap_or(u32::MAX)), threads, shared: 0 }
    }

    /// A grid with enough blocks of `threads` threads to cover `elements` at `each` elements per thread.
    pub fn cover(elements: usize, each: usize, threads: u32) -> Grid {
        Grid::new(elements.div_ceil(each * threads as usize).max(1), threads)
    }

    /// The same grid with this many bytes of dynamic shared memory.
    pub fn shared(self, bytes: usize) -> Grid {
        Grid { shared: u32::try_from(bytes).unwrap_or(u32::MAX), ..self }
    }
}

/// The bytes of a number, or of a struct of numbers, aligned for every type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Words(pub [u8; 32]);

/// One argument of a launch.
#[derive(Debug, Clone, Copy)]
pub enum Arg {
    /// A tensor.
    Tensor {
        /// Where the tensor lies.
        region: Region,
        /// Whether the kernel may write to it.
        written: bool,
    },
    /// No tensor, for an optional parameter.
    Null,
    /// A number, or a struct of numbers.
    Value(Words),
    /// A matrix that is read tile by tile.
    Map(TensorMap),
}

/// A tensor that a launch reads, resolved and checked.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a, T> {
    /// Where the tensor lies.
    pub region: Region,
    life: PhantomData<&'a [T]>,
}

/// A tensor that a launch writes, resolved and checked: it overlaps no other tensor of the same operator call.
#[derive(Debug)]
pub struct SliceMut<'a, T> {
    /// Where the tensor lies.
    pub region: Region,
    life: PhantomData<&'a mut [T]>,
}

impl<'a, T: Element> Slice<'a, T> {
    /// The tensor at `region`.
    pub(super) fn new(region: Region) -> Self {
        Slice { region, life: PhantomData }
    }

    /// The number of its elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.region.bytes / size_of::<T>()
    }

    /// The tensor as a matrix of so many columns and rows, to be read in tiles of so many.
    pub fn tiles(&self, extents: [usize; 2], tile: [usize; 2]) -> TileMap<'a> {
        let half = T::DTYPE == DType::Bf16;
        TileMap::new(TensorMap { region: self.region, half, extents, tile })
    }

    /// The same bytes as f32, for tensors that are f32 whatever the caller's mode.
    pub fn as_f32(&self) -> Slice<'a, f32> {
        Slice::new(self.region)
    }

    /// The tensor as a launch argument.
    pub fn arg(&self) -> Arg {
        Arg::Tensor { region: self.region, written: false }
    }
}

impl<'a, T: Element> SliceMut<'a, T> {
    /// The tensor at `region`.
    pub(super) fn new(region: Region) -> Self {
        SliceMut { region, life: PhantomData }
    }

    /// The number of its elements.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.region.bytes / size_of::<T>()
    }

    /// The tensor as a launch argument.
    pub fn arg(&mut self) -> Arg {
        Arg::Tensor { region: self.region, written: true }
    }

    /// The same bytes as f32, for tensors that are f32 whatever the caller's mode.
    pub fn as_f32(&mut self) -> SliceMut<'_, f32> {
        SliceMut::new(self.region)
    }

    /// The same bytes as bf16, for a kernel of bf16 alone whose tensors the caller knows to be bf16.
    pub fn as_bf16(&mut self) -> SliceMut<'_, bf16> {
        SliceMut::new(self.region)
    }

    /// The written tensor, for the next launch to read.
    pub fn read(&self) -> Slice<'_, T> {
        Slice::new(self.region)
    }

    /// The first `len` elements, or all if there are fewer. A kernel is given only the part of a workspace that it uses.
    pub fn first(&mut self, len: usize) -> SliceMut<'_, T> {
        let bytes = len.saturating_mul(size_of::<T>()).min(self.region.bytes);
        SliceMut::new(Region { bytes, ..self.region })
    }

    /// The first `len` elements of another type in the same memory, or as many as fit.
    pub fn cast<U: Element>(&mut self, len: usize) -> SliceMut<'_, U> {
        let bytes = len.saturating_mul(size_of::<U>()).min(self.region.bytes / size_of::<U>() * size_of::<U>());
        SliceMut::new(Region { bytes, ..self.region })
    }
}

/// A type in which activations are stored on a device.
pub trait Stored: Element {
    /// Whether it is bf16.
    const HALF: bool;
}

impl Stored for f32 {
    const HALF: bool = false;
}
impl Stored for bf16 {
    const HALF: bool = true;
}

impl TileMap<'_> {
    /// The matrix as a launch argument.
    pub fn arg(&self) -> Arg {
        Arg::Map(self.map())
    }
}

/// A number as a launch argument.
pub fn scalar<T: bytemuck::Pod>(value: T) -> Arg {
    let mut words = Words([0; 32]);
    words.put(0, &value);
    Arg::Value(words)
}

impl Words {
    /// Writes one number of a struct at its offset, `at` bytes from the beginning.
    pub fn put<T: bytemuck::Pod>(&mut self, at: usize, value: &T) {
        self.0[at..at + size_of::<T>()].copy_from_slice(bytemuck::bytes_of(value));
    }
}

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
