//! Arithmetic on flat vectors: what the probes are made of.
//!
//! Sums are taken in f64 in a fixed order and go to scalar slots (f64) on the device.

mod cpu;
mod cuda;

use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// Which norm of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Σ|x|
    L1,
    /// √Σx²
    L2,
    /// max|x|
    LInf,
}

/// What a random direction is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Standard normal numbers: no way is preferred.
    Normal,
    /// −1 or 1, each as likely: the least variance in an estimate of a trace (Hutchinson 1990).
    Signs,
}

/// What [`Vector::compare_rows`] finds of each row: ‖row − y‖², ⟨row, y⟩, ‖row‖².
pub const COMPARED: usize = 3;

/// Operations on vectors of one length. Rows of a matrix may be longer than the vectors that they hold: what is beyond is left alone.
pub trait Vector {
    /// `y ← y + a x`
    fn axpy(&mut self, a: f64, x: In, y: Out) -> Result<()>;
    /// `out ← x + a y`: θ_s = θ − s·g with a = −s.
    fn displace(&mut self, x: In, a: f64, y: In, out: Out) -> Result<()>;
    /// Every row `out_r ← x + a_r y`, for `a` (f64 `[R]`) and `out [R, …]`: several θ − s·g, reading θ and g once.
    fn displace_rows(&mut self, x: In, a: In, y: In, out: Out) -> Result<()>;
    /// [`COMPARED`] numbers of every row of `rows [R, …]` with y, to `out` (f64 `[R, 3]`), reading each once: what distance, angle and
    /// length of two gradients are made of.
    fn compare_rows(&mut self, rows: In, y: In, out: Out) -> Result<()>;
    /// `out ← ` a random number for every element: a pure function of the state's seed and step, of `index`, and of its place.
    fn direction(&mut self, kind: Direction, index: u32, state: In, out: Out) -> Result<()>;
    /// `out ← x`, every element moved by `part` of itself, up or down: at random, as of [`Vector::direction`].
    fn jitter(&mut self, x: In, part: f64, index: u32, state: In, out: Out) -> Result<()>;
    /// `out ← lengths · by/over`: f64 vectors of one length, and two scalar slots.
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

/// Rows and their stride, where `rows [R, stride]` holds vectors of `len` and there are `count` numbers for each of them.
fn rows_of(op: &'static str, rows: Shape, len: usize, (numbers, count): (Shape, usize)) -> Result<(usize, usize)> {
    let (count_of, stride) = rows.matrix();
    if count_of > 0 && stride >= len && numbers.len() == count_of * count {
        return Ok((count_of, stride));
    }
    let expected = format!("rows of at least {len}, and {count} numbers for each");
    Err(Error::operator(op, expected, format!("rows {rows}, {} numbers", numbers.len())))
}
