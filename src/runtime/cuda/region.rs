//! A range of bytes on a device, and a matrix in it that kernels read tile by tile.

use crate::runtime::tensor::ArenaId;
use crate::{Error, Result};
use std::marker::PhantomData;

/// A range of bytes in one arena on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The arena.
    pub arena: ArenaId,
    /// Its offset in bytes.
    pub offset: usize,
    /// Its length in bytes.
    pub bytes: usize,
}

/// A matrix as bulk copies take it, row-major, and the box of elements that one copy brings. A box's rows have 128 bytes, and the copy permutes their
/// 16-byte chunks: chunk c of row r comes to place c ^ (r mod 8), which is CUDA's 128-byte swizzle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorMap {
    /// Where the matrix lies: its first element is that of the region.
    pub region: Region,
    /// Whether elements are bf16, rather than f32.
    pub half: bool,
    /// The number of columns and of rows.
    pub extents: [usize; 2],
    /// The columns and rows of a box.
    pub tile: [usize; 2],
}

impl TensorMap {
    /// Bytes of an element.
    pub fn element(&self) -> usize {
        if self.half { 2 } else { 4 }
    }

    /// Bytes from one row to the next.
    pub fn pitch(&self) -> usize {
        self.extents[0] * self.element()
    }

    /// Refuses what a device cannot describe: CUDA's limits, and a matrix that is larger than its region.
    pub fn check(&self, kernel: &'static str) -> Result<()> {
        let [columns, rows] = self.extents;
        let whole = self.tile[0] * self.element() == 128 && (1..=256).contains(&self.tile[1]);
        let small = (1..=1 << 31).contains(&columns) && (1..=1 << 31).contains(&rows);
        let inside = small && self.pitch().checked_mul(rows).is_some_and(|bytes| bytes <= self.region.bytes);
        let aligned = self.region.offset.is_multiple_of(16) && inside && self.pitch().is_multiple_of(16);
        if whole && aligned {
            return Ok(());
        }
        let expected =
            "a matrix that begins and has rows at multiples of 16 bytes, and boxes of 128 bytes by 1 to 256 rows";
        Err(Error::operator(kernel, expected, format!("{self:?}")))
    }
}

/// A matrix that a launch reads tile by tile.
#[derive(Debug, Clone, Copy)]
pub struct TileMap<'a> {
    map: TensorMap,
    life: PhantomData<&'a ()>,
}

impl TileMap<'_> {
    /// The matrix `map`, for as long as what it is of may be read.
    pub(super) fn new(map: TensorMap) -> Self {
        TileMap { map, life: PhantomData }
    }

    /// Its description.
    pub fn map(&self) -> TensorMap {
        self.map
    }
}
