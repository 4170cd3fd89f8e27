//! What a launch is made of: a kernel, as the build found it, its grid and its arguments.

use super::region::{Region, TensorMap, TileMap};
use super::signature::Type;
use crate::runtime::memory::Element;
use crate::runtime::tensor::DType;
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
    /// Whether it begins with waiting for the launch before it (`wait_for_predecessor` in `prelude.cuh`), so that its blocks may come to the device
    /// while that one runs.
    pub waits: bool,
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

impl Arg {
    /// The memory that the kernel may reach through the argument, and whether it may write there.
    pub fn touches(&self) -> Option<(Region, bool)> {
        match *self {
            Arg::Tensor { region, written } => Some((region, written)),
            Arg::Map(map) => Some((map.region, false)),
            Arg::Null | Arg::Value(_) => None,
        }
    }
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

    /// The same bytes as bf16, for a kernel of bf16 alone whose tensors the caller knows to be bf16.
    pub fn as_bf16(&self) -> Slice<'a, bf16> {
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

    /// The first `len` elements, or all if there are fewer, and those after them.
    pub fn split(self, len: usize) -> [SliceMut<'a, T>; 2] {
        let Region { arena, offset, bytes } = self.region;
        let first = len.saturating_mul(size_of::<T>()).min(bytes);
        let rest = Region { arena, offset: offset + first, bytes: bytes - first };
        [Region { bytes: first, ..self.region }, rest].map(SliceMut::new)
    }

    /// The elements of another type in the same memory, as many as fit.
    pub fn retyped<U: Element>(self) -> SliceMut<'a, U> {
        SliceMut::new(Region { bytes: self.region.bytes / size_of::<U>() * size_of::<U>(), ..self.region })
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
