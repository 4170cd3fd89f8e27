//! Weights packed into panels: at every depth, the columns of one panel are contiguous.

use crate::runtime::float::Float;
use crate::runtime::simd::{Isa, Lanes, isa};

/// The number of columns in a panel: two registers, which with twelve rows fill the register file.
pub fn panel_width<T: Float>() -> usize {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => 2 * T::Avx512::WIDTH,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => 2 * T::Avx2::WIDTH,
        _ => 2 * T::Plain::WIDTH,
    }
}

/// The number of panels that `columns` columns make.
pub fn panels<T: Float>(columns: usize) -> usize {
    columns.div_ceil(panel_width::<T>())
}

/// The number of elements in all panels of `taps` matrices `depth × columns`.
pub fn panel_len<T: Float>(taps: usize, depth: usize, columns: usize) -> usize {
    taps * depth * panels::<T>(columns) * panel_width::<T>()
}

/// Packs columns `first..` of `source` (`rows × columns`, row-major) into `rows × width`, with zeros beyond the last column.
pub fn pack<T: Float>(source: &[T], columns: usize, first: usize, width: usize, out: &mut [T]) {
    let count = width.min(columns - first);
    if count == width {
        for (to, from) in out.chunks_exact_mut(width).zip(source.chunks_exact(columns)) {
            to.copy_from_slice(&from[first..first + width]);
        }
        return;
    }
    for (to, from) in out.chunks_exact_mut(width).zip(source.chunks_exact(columns)) {
        // A loop, not a copy: these rows are short, and a call for each would cost more than they do.
        for (to, &v) in to.iter_mut().zip(&from[first..first + count]) {
            *to = v;
        }
        to[count..].fill(T::ZERO);
    }
}

/// Packs rows `first..` of `source` (`rows × columns`, row-major) as columns: `out[column, row − first]`, with zeros beyond the last row.
pub fn pack_transposed<T: Float>(source: &[T], columns: usize, first: usize, width: usize, out: &mut [T]) {
    let rows = source.len() / columns;
    let count = width.min(rows - first);
    if count < width {
        out.fill(T::ZERO);
    }
    // Blocks of a cache line of columns: each line of the source is used whole while it is in the cache.
    for from in (0..columns).step_by(16) {
        let to = (from + 16).min(columns);
        for row in 0..count {
            let line = &source[(first + row) * columns..][from..to];
            for (column, &value) in (from..to).zip(line) {
                out[column * width + row] = value;
            }
        }
    }
}
