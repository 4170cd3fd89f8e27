//! The dense product on the host, in place of cuBLAS. Rows are computed in parallel, and each sum in the order of its terms.

use crate::runtime::cuda::driver::Gemm;
use crate::runtime::tensor::DType;
use half::bf16;
use rayon::prelude::*;

/// Reads a matrix of `rows × columns`, or its transpose, as f32. The elements are rounded as the device would round operands.
///
/// # Safety
/// `from` points to `rows · columns` elements of `dtype`.
unsafe fn matrix(from: *const u8, dtype: DType, tf32: bool, transposed: bool, rows: usize, columns: usize) -> Vec<f32> {
    let element = |i: usize| -> f32 {
        // SAFETY: by the caller's promise.
        unsafe {
            match dtype {
                DType::Bf16 => f32::from(*from.cast::<bf16>().add(i)),
                _ if tf32 => tf32_of(*from.cast::<f32>().add(i)),
                _ => *from.cast::<f32>().add(i),
            }
        }
    };
    (0..rows * columns)
        .map(|i| if transposed { element(i % columns * rows + i / columns) } else { element(i) })
        .collect()
}

/// Rounds to 10 bits of mantissa, to nearest even, as the kernels do.
pub fn tf32_of(x: f32) -> f32 {
    let bits = x.to_bits();
    if x.is_finite() { f32::from_bits((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFF_E000) } else { x }
}

struct Target(*mut u8);
// SAFETY: rows are disjoint.
unsafe impl Sync for Target {}

/// Computes the product. The pointers point to the operands' regions, which the caller has checked.
pub fn run(product: &Gemm, a: *const u8, b: *const u8, out: *mut u8) {
    let &Gemm { m, n, k, operands, tf32, result, .. } = product;
    // SAFETY: the regions hold the matrices: `Gemm` says their extents.
    let (a, b) = unsafe {
        (matrix(a, operands, tf32, product.a.transposed, m, k), matrix(b, operands, tf32, product.b.transposed, k, n))
    };
    let target = Target(out);
    (0..m).into_par_iter().for_each(|row| {
        let target = &target;
        let mut sums = vec![0.0f32; n];
        for (i, &x) in a[row * k..(row + 1) * k].iter().enumerate() {
            for (sum, &y) in sums.iter_mut().zip(&b[i * n..(i + 1) * n]) {
                *sum = x.mul_add(y, *sum);
            }
        }
        for (column, sum) in sums.into_iter().enumerate() {
            // SAFETY: element (row, column) of `out` is written by this row alone.
            unsafe {
                match result {
                    DType::Bf16 => *target.0.cast::<bf16>().add(row * n + column) = bf16::from_f32(sum),
                    _ => *target.0.cast::<f32>().add(row * n + column) = sum,
                }
            }
        }
    });
}
