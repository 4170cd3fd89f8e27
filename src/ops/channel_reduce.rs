//! Per-unit sums and elementwise passes over a tensor as a matrix: rows are samples, columns are units.
//!
//! The norms on the CPU share this code. Rows are cut into parts by the shape alone. A part is summed in pieces of 128 rows in the tensor's type, and
//! the pieces are merged in f64 in order. So a sum over 131,072 samples loses no digits, and the number of threads changes no bit.
//!
//! Few columns would leave a vector register half empty. Since rows lie end to end in memory, several rows are treated as one *line* of `span` lanes,
//! and the lanes of each column are added up at the end.

mod moments;

pub use moments::{Extremes, moments, not_below_0, out_of_range, power_mean};

use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows that are summed in the tensor's own type before f64 takes over.
const PIECE: usize = 128;

/// Elements below which a pass is not worth sharing among threads.
const SMALL: usize = 1 << 15;

/// The length of a line over `columns` columns. It is a multiple of `columns`; below 64 columns it is also a multiple of 16 and at least 64.
pub fn span(columns: usize) -> usize {
    if columns == 0 || columns >= 64 {
        return columns.max(1);
    }
    // The rows after which lines of whole registers begin anew: 16 / gcd(columns, 16).
    let rows = 16 >> columns.trailing_zeros().min(4);
    columns * rows * 64usize.div_ceil(columns * rows)
}

/// The number of parts that a matrix is cut into for its sums.
fn parts(rows: usize, columns: usize) -> usize {
    (rows * columns / SMALL).clamp(1, 64).min(rows.div_ceil(PIECE)).max(1)
}

/// The workspace, in f64 elements, that a reduction over `rows × columns` needs.
pub fn workspace(rows: usize, columns: usize) -> usize {
    parts(rows, columns) * part_size(columns)
}

/// The workspace of one part, in f64 elements.
fn part_size(columns: usize) -> usize {
    2 * columns + 3 * span(columns)
}

/// The workspace of a reduction, taken from a buffer of the tensor's type. (In f32, twice [`workspace`] elements are enough.)
pub fn as_f64<T: Float>(buffer: &mut [T]) -> &mut [f64] {
    // Tensors start at multiples of 64 bytes, so only a ragged end is lost.
    bytemuck::pod_align_to_mut::<T, f64>(buffer).1
}

/// The longest [`Line`] that is held on the stack: enough for every network up to width 2.
const ON_STACK: usize = 1024;

/// A per-unit vector repeated along a line.
pub struct Line<T> {
    stack: MaybeUninit<[T; ON_STACK]>,
    /// Holds the values where they do not fit on the stack.
    heap: Vec<T>,
    len: usize,
}

impl<T: Float> Line<T> {
    /// The vector `unit(0..columns)`, repeated. Allocates only where the line is longer than 1,024 lanes.
    #[inline(always)] // so that it is made where it stays, and not copied there
    pub fn new(columns: usize, unit: impl Fn(usize) -> T) -> Self {
        let mut line = Line { stack: MaybeUninit::uninit(), heap: Vec::new(), len: span(columns) };
        line.fill(columns, unit);
        line
    }

    fn fill(&mut self, columns: usize, unit: impl Fn(usize) -> T) {
        let values = if self.len <= ON_STACK {
            // SAFETY: zeros are numbers, and only `len` lanes are ever read.
            unsafe {
                self.stack.as_mut_ptr().cast::<T>().write_bytes(0, self.len);
                std::slice::from_raw_parts_mut(self.stack.as_mut_ptr().cast::<T>(), self.len)
            }
        } else {
            self.heap.resize(self.len, T::ZERO);
            &mut self.heap
        };
        repeat(columns, unit, values);
    }

    /// The repeated values.
    pub fn get(&self) -> &[T] {
        if self.len <= ON_STACK {
            // SAFETY: `fill` wrote the first `len`.
            unsafe { std::slice::from_raw_parts(self.stack.as_ptr().cast::<T>(), self.len) }
        } else {
            &self.heap
        }
    }
}

/// Fills a line with copies of `unit(0..columns)`.
fn repeat<T: Float>(columns: usize, unit: impl Fn(usize) -> T, line: &mut [T]) {
    let (first, rest) = line.split_at_mut(columns);
    for (c, v) in first.iter_mut().enumerate() {
        *v = unit(c);
    }
    for copy in rest.chunks_exact_mut(columns) {
        for (to, &v) in copy.iter_mut().zip(&*first) {
            *to = v;
        }
    }
}

/// Calls `work(range)` over pieces of a matrix of `len` elements, each of whole lines: the loop of the elementwise passes.
pub fn for_pieces(len: usize, columns: usize, work: impl Fn(Range<usize>) + Sync + Send) {
    let line = span(columns);
    if len <= SMALL {
        return work(0..len);
    }
    let piece = line * (SMALL / 4 / line).max(1);
    (0..len.div_ceil(piece)).into_par_iter().for_each(|i| work(i * piece..((i + 1) * piece).min(len)));
}

/// A mutable slice shared by the pieces of one pass; each piece takes its own range.
pub struct Shared<T>(*mut T, usize);

// SAFETY: `range` hands out disjoint ranges only, by its contract.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: likewise.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// Shares `slice`.
    pub fn new(slice: &mut [T]) -> Self {
        Shared(slice.as_mut_ptr(), slice.len())
    }

    /// Gives the elements of `range`.
    ///
    /// # Safety
    /// No two ranges alive at one time may overlap, and the slice must outlive them.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.1);
        // SAFETY: inside the slice; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

/// Some rows of a matrix: a piece of one part.
struct Piece {
    /// Its first row.
    first: usize,
    /// Its rows.
    count: usize,
    /// The number of rows of the same part that come before it.
    before: usize,
}

/// Runs `work(piece, lines, totals)` over all pieces. Each part has `2·columns` totals of its own, which are zeroed first.
///
/// The workspace holds, for each part, its totals and then three lines for `work` to use.
fn reduce<T: Float>(
    (rows, columns): (usize, usize),
    workspace: &mut [f64],
    work: impl Fn(Piece, [&mut [T]; 3], &mut [f64]) + Sync,
) {
    let (parts, line, size) = (parts(rows, columns), span(columns), part_size(columns));
    let pieces = rows.div_ceil(PIECE);
    let part = |(index, room): (usize, &mut [f64])| {
        let (totals, lines) = room.split_at_mut(2 * columns);
        totals.fill(0.0);
        // Three lines of T fit in the room of three lines of f64.
        let lines: &mut [T] = bytemuck::cast_slice_mut(lines);
        let (a, rest) = lines.split_at_mut(line);
        let (b, rest) = rest.split_at_mut(line);
        let start = index * pieces / parts;
        for p in start..(index + 1) * pieces / parts {
            let (first, before) = (p * PIECE, (p - start) * PIECE);
            let piece = Piece { first, before, count: PIECE.min(rows - first) };
            work(piece, [&mut *a, &mut *b, &mut rest[..line]], totals);
        }
    };
    let workspace = &mut workspace[..parts * size];
    if parts == 1 {
        part((0, workspace));
    } else {
        workspace.par_chunks_exact_mut(size).enumerate().for_each(part);
    }
}

/// Adds up the lanes of unit `c` in a line of sums.
fn fold<T: Float>(line: &[T], columns: usize, c: usize) -> T {
    line[c..].iter().step_by(columns).copied().fold(T::ZERO, |sum, v| sum + v)
}

/// Two sums per unit: `piece(elements, line a, line b)` adds the lines of a piece to both. `finish(unit, a, b)` gets the totals.
pub fn pair_sums<T: Float>(
    (rows, columns): (usize, usize),
    workspace: &mut [f64],
    piece: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
    mut finish: impl FnMut(usize, f64, f64),
) {
    reduce::<T>((rows, columns), workspace, |rows, [a, b, _], totals| {
        a.fill(T::ZERO);
        b.fill(T::ZERO);
        piece(rows.first * columns..(rows.first + rows.count) * columns, a, b);
        for (c, total) in totals.chunks_exact_mut(2).enumerate() {
            total[0] += fold(a, columns, c).f64();
            total[1] += fold(b, columns, c).f64();
        }
    });
    let size = part_size(columns);
    let mut again = None;
    for c in 0..columns {
        let parts = workspace[..parts(rows, columns) * size].chunks_exact(size);
        let (mut a, mut b) = parts.fold((0.0, 0.0), |(a, b), part| (a + part[2 * c], b + part[2 * c + 1]));
        if !(a.is_finite() && b.is_finite()) {
            (a, b) = again.get_or_insert_with(|| pair_sums_wide(rows * columns, columns, &piece))[c];
        }
        finish(c, a, b);
    }
}

/// The same sums in f64, line by line, for when the sums of a piece have overflowed T. A unit that contains an infinity or a NaN has no finite sum
/// here either.
#[cold]
fn pair_sums_wide<T: Float>(
    len: usize,
    columns: usize,
    piece: impl Fn(Range<usize>, &mut [T], &mut [T]),
) -> Vec<(f64, f64)> {
    let span = span(columns);
    let (mut a, mut b, mut sums) = (vec![T::ZERO; span], vec![T::ZERO; span], vec![(0.0, 0.0); columns]);
    for start in (0..len).step_by(span) {
        a.fill(T::ZERO);
        b.fill(T::ZERO);
        piece(start..(start + span).min(len), &mut a, &mut b);
        for (lane, (a, b)) in a.iter().zip(&b).enumerate() {
            let sum = &mut sums[lane % columns];
            *sum = (sum.0 + a.f64(), sum.1 + b.f64());
        }
    }
    sums
}

/// `finish(column sum)` of `x`, per column.
pub fn sums<T: Float>(x: &[T], columns: usize, out: &mut [T], workspace: &mut [f64], finish: impl Fn(f64) -> f64) {
    let shape = (x.len() / columns, columns);
    pair_sums(shape, workspace, |r, a, _| add_lines(&x[r], a), |c, a, _| out[c] = T::of(finish(a)));
}

/// max|x| of each column; NaN where the column contains a NaN.
pub fn maxima<T: Float>(x: &[T], columns: usize, out: &mut [T], workspace: &mut [f64]) {
    let rows = x.len() / columns;
    reduce::<T>((rows, columns), workspace, |rows, [most, _, _], totals| {
        most.fill(T::ZERO);
        max_lines(&x[rows.first * columns..(rows.first + rows.count) * columns], most);
        for (c, total) in totals.chunks_exact_mut(2).enumerate() {
            for v in most[c..].iter().step_by(columns) {
                total[0] = larger(total[0], v.f64());
            }
        }
    });
    let size = part_size(columns);
    for (c, out) in out.iter_mut().enumerate() {
        let parts = workspace[..parts(rows, columns) * size].chunks_exact(size);
        *out = T::of(parts.fold(0.0, |most, part| larger(most, part[2 * c])));
    }
}

/// The larger of two numbers, NaN if either is.
#[inline(always)]
fn larger<T: Float>(a: T, b: T) -> T {
    #[allow(clippy::eq_op)] // b != b is NaN
    if b > a || b != b { b } else { a }
}

/// Counts, for each column, the elements whose |x| equals the column's entry of `most`.
pub fn counts_of<T: Float>(x: &[T], columns: usize, most: &[T], out: &mut [T], workspace: &mut [f64]) {
    let (wanted, shape) = (Line::new(columns, |c| most[c]), (x.len() / columns, columns));
    let add = |r: Range<usize>, count: &mut [T], _: &mut [T]| count_lines(&x[r], wanted.get(), count);
    pair_sums(shape, workspace, add, |c, count, _| out[c] = T::of(count));
}

vectorize! {
    /// `sum += line` for every line of `x`; the last line may be short.
    pub fn add_lines<T>(x: &[T], sum: &mut [T]) {
        for line in x.chunks(sum.len()) {
            for (s, &v) in sum.iter_mut().zip(line) {
                *s += v;
            }
        }
    }

    /// `most = max(most, |line|)` for every line of `x`.
    pub fn max_lines<T>(x: &[T], most: &mut [T]) {
        for line in x.chunks(most.len()) {
            for (m, &v) in most.iter_mut().zip(line) {
                *m = larger(*m, v.abs());
            }
        }
    }

    /// Counts the elements whose |x| equals the value in the line `wanted`.
    fn count_lines<T>(x: &[T], wanted: &[T], count: &mut [T]) {
        for line in x.chunks(count.len()) {
            for ((n, &v), &m) in count.iter_mut().zip(line).zip(wanted) {
                *n += if v.abs() == m { T::ONE } else { T::ZERO };
            }
        }
    }

    /// Adds `x − origin` to `sum` and its square to `square`, line by line.
    pub fn add_lines_about<T>(x: &[T], origin: &[T], sum: &mut [T], square: &mut [T]) {
        for line in x.chunks(sum.len()) {
            for (((s, q), &v), &o) in sum.iter_mut().zip(square.iter_mut()).zip(line).zip(origin) {
                let d = v - o;
                *s += d;
                *q = d.fma(d, *q);
            }
        }
    }
}
