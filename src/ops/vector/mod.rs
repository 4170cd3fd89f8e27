//! Arithmetic on flat vectors, from which the probes are built.
//!
//! Sums are taken in f64 in a fixed order and go to scalar slots (f64) on the device.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// The norm of a vector that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Σ|x|
    L1,
    /// √Σx²
    L2,
    /// max|x|
    LInf,
}

/// The law of a random direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Standard normal numbers, which prefer no direction.
    Normal,
    /// −1 or 1 with equal probability, which gives an estimate of a trace the least variance (Hutchinson 1990).
    Signs,
}

/// The number of results of [`Vector::compare_rows`] for each row: ‖row − y‖², ⟨row, y⟩, ‖row‖².
pub const COMPARED: usize = 3;

/// Operations on vectors of one length. The rows of a matrix may be longer than the vectors that they hold; the rest of a row is left alone.
pub trait Vector {
    /// `y ← y + a x`
    fn axpy(&mut self, a: f64, x: In, y: Out) -> Result<()>;
    /// `out ← x + a y`; with a = −s this gives θ_s = θ − s·g.
    fn displace(&mut self, x: In, a: f64, y: In, out: Out) -> Result<()>;
    /// Writes every row `out_r ← x + a_r y`, for `a` (f64 `[R]`) and `out [R, …]`. This makes several points θ − s·g while reading θ and g once.
    fn displace_rows(&mut self, x: In, a: In, y: In, out: Out) -> Result<()>;
    /// Compares every row of `rows [R, …]` with y, and writes [`COMPARED`] numbers for each to `out` (f64 `[R, 3]`); each row is read once. Distance,
    /// angle and length of two gradients follow from these numbers.
    fn compare_rows(&mut self, rows: In, y: In, out: Out) -> Result<()>;
    /// Writes a random number to every element of `out`: a pure function of the state's seed and step, of `index`, and of the element's position.
    fn direction(&mut self, kind: Direction, index: u32, state: In, out: Out) -> Result<()>;
    /// `out ← x`, with every element moved up or down by the fraction `part` of itself; the sign is random, drawn as in [`Vector::direction`].
    fn jitter(&mut self, x: In, part: f64, index: u32, state: In, out: Out) -> Result<()>;
    /// `out ← lengths · by/over`, where `lengths` and `out` are f64 vectors of one length, and `by` and `over` are scalar slots.
    fn stretch(&mut self, lengths: In, by: In, over: In, out: Out) -> Result<()>;
    /// `slot ← ⟨x, y⟩`
    fn dot(&mut self, x: In, y: In, slot: Out) -> Result<()>;
    /// `slot ← ‖x‖`
    fn norm(&mut self, kind: NormKind, x: In, slot: Out) -> Result<()>;
    /// `slot ← ‖x − y‖`
    fn diff_norm(&mut self, kind: NormKind, x: In, y: In, slot: Out) -> Result<()>;
    /// `to ← from`
    fn copy(&mut self, from: In, to: Out) -> Result<()>;
    /// `to ← from`, rounded to the type in which the backend holds operands of matrix products.
    fn recast(&mut self, from: In, to: Out) -> Result<()>;
}

/// The number of rows and their stride, where `rows [R, stride]` holds vectors of `len`, and `numbers` has `count` numbers for each row.
fn rows_of(op: &'static str, rows: Shape, len: usize, (numbers, count): (Shape, usize)) -> Result<(usize, usize)> {
    let (count_of, stride) = rows.matrix();
    if count_of > 0 && stride >= len && numbers.len() == count_of * count {
        return Ok((count_of, stride));
    }
    let expected = format!("rows of at least {len}, and {count} numbers for each");
    Err(Error::operator(op, expected, format!("rows {rows}, {} numbers", numbers.len())))
}
