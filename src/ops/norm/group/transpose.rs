//! Transposes of small blocks: a row of one becomes a column of the other.

use crate::runtime::float::Float;

/// `to[j · to_row + i] = from[i · from_row + j]` for all `i < rows`, `j < columns`.
pub fn transpose<T: Float>(from: &[T], from_row: usize, (rows, columns): (usize, usize), to: &mut [T], to_row: usize) {
    #[cfg(target_arch = "x86_64")]
    if T::DTYPE == crate::runtime::tensor::DType::F32 && rows >= 4 && columns >= 4 {
        let (from, to) = (bytemuck::cast_slice(from), bytemuck::cast_slice_mut(to));
        return by_fours(from, from_row, (rows, columns), to, to_row);
    }
    #[cfg(target_arch = "x86_64")]
    if T::DTYPE == crate::runtime::tensor::DType::F64 && rows >= 2 && columns >= 2 {
        let (from, to) = (bytemuck::cast_slice(from), bytemuck::cast_slice_mut(to));
        return by_twos(from, from_row, (rows, columns), to, to_row);
    }
    for i in 0..rows {
        let from = &from[i * from_row..][..columns];
        for (&v, to) in from.iter().zip(to[i..].chunks_mut(to_row)) {
            to[0] = v;
        }
    }
}

/// The same for f32, in blocks of 4×4; the last block of a row or column overlaps the one before. Compilers turn plain code into single moves, which
/// take three times as long.
#[cfg(target_arch = "x86_64")]
fn by_fours(from: &[f32], from_row: usize, (rows, columns): (usize, usize), to: &mut [f32], to_row: usize) {
    use std::arch::x86_64::*;
    assert!(rows >= 4 && columns >= 4);
    assert!(from.len() >= (rows - 1) * from_row + columns && to.len() >= (columns - 1) * to_row + rows);
    let starts = |len: usize| (0..len).step_by(4).map(move |at| at.min(len - 4));
    for i in starts(rows) {
        for j in starts(columns) {
            // SAFETY: i + 3 < rows and j + 3 < columns, so that by the assertion all lie inside; SSE belongs to every x86-64.
            unsafe {
                let (from, to) = (from.as_ptr().add(i * from_row + j), to.as_mut_ptr().add(j * to_row + i));
                let [a, b, c, d] = [0, 1, 2, 3].map(|row| _mm_loadu_ps(from.add(row * from_row)));
                let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
                let (ab_high, cd_high) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
                _mm_storeu_ps(to, _mm_movelh_ps(ab, cd));
                _mm_storeu_ps(to.add(to_row), _mm_movehl_ps(cd, ab));
                _mm_storeu_ps(to.add(2 * to_row), _mm_movelh_ps(ab_high, cd_high));
                _mm_storeu_ps(to.add(3 * to_row), _mm_movehl_ps(cd_high, ab_high));
            }
        }
    }
}

/// The same for f64, in blocks of 2×2.
#[cfg(target_arch = "x86_64")]
fn by_twos(from: &[f64], from_row: usize, (rows, columns): (usize, usize), to: &mut [f64], to_row: usize) {
    use std::arch::x86_64::*;
    assert!(rows >= 2 && columns >= 2);
    assert!(from.len() >= (rows - 1) * from_row + columns && to.len() >= (columns - 1) * to_row + rows);
    let starts = |len: usize| (0..len).step_by(2).map(move |at| at.min(len - 2));
    for i in starts(rows) {
        for j in starts(columns) {
            // SAFETY: i + 1 < rows and j + 1 < columns, so that by the assertion all lie inside; SSE2 belongs to every x86-64.
            unsafe {
                let (from, to) = (from.as_ptr().add(i * from_row + j), to.as_mut_ptr().add(j * to_row + i));
                let (a, b) = (_mm_loadu_pd(from), _mm_loadu_pd(from.add(from_row)));
                _mm_storeu_pd(to, _mm_unpacklo_pd(a, b));
                _mm_storeu_pd(to.add(to_row), _mm_unpackhi_pd(a, b));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Float>(rows: usize, columns: usize) {
        let (from_row, to_row) = (columns + 3, rows + 2);
        let from: Vec<T> = (0..rows * from_row).map(|i| T::of(i as f64)).collect();
        let from = &from[..(rows - 1) * from_row + columns];
        let mut to = vec![-T::ONE; columns * to_row];
        transpose(from, from_row, (rows, columns), &mut to, to_row);
        for (at, found) in to.iter().enumerate() {
            let (j, i) = (at / to_row, at % to_row);
            let expected = if i < rows { from[i * from_row + j] } else { -T::ONE };
            assert_eq!(*found, expected, "{rows}×{columns}: {i}, {j}");
        }
    }

    #[test]
    fn every_element_finds_its_place_and_no_other_is_written() {
        for rows in 1..10 {
            for columns in 1..10 {
                check::<f32>(rows, columns);
                check::<f64>(rows, columns);
            }
        }
    }
}
