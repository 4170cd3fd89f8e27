//! The largest eigenvalue of Lanczos' symmetric tridiagonal matrix.

use crate::theory::symmetric::eigen;

/// The largest eigenvalue of the matrix with diagonal α (`diagonal`) and off-diagonal β (`beside`), and the length of its eigenvector's
/// residual: the last β times the vector's last element. Lanczos has ended where β is negligible against the entries before it, or not
/// finite. The entries after that are ignored.
pub fn top_of_lanczos(diagonal: &[f64], beside: &[f64]) -> [f64; 2] {
    let mut size: f64 = 0.0;
    let mut count = 0;
    for (a, b) in diagonal.iter().zip(beside) {
        if !a.is_finite() {
            break;
        }
        size = size.max(a.abs());
        count += 1;
        // Nothing is left of the product but rounding.
        if !(b.is_finite() && *b > 1e-13 * size) {
            break;
        }
        size = size.max(*b);
    }
    if count == 0 {
        return [f64::NAN; 2];
    }
    let (values, vectors) = eigen(count, |i, k| match i.abs_diff(k) {
        0 => diagonal[i],
        1 => beside[i.min(k)],
        _ => 0.0,
    });
    let top = (0..count).max_by(|&i, &k| values[i].total_cmp(&values[k])).unwrap_or(0);
    let last = beside[count - 1];
    [values[top], if last.is_finite() { last * vectors[(count - 1) * count + top].abs() } else { 0.0 }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_matrix_that_is_known() {
        // 2 on the diagonal and 1 beside it: 2 + 2 cos(π/13).
        let [top, residual] = top_of_lanczos(&[2.0; 12], &[1.0; 12]);
        assert!((top - 2.0 - 2.0 * (std::f64::consts::PI / 13.0).cos()).abs() < 1e-13);
        assert!(residual > 0.0 && residual < 1.0);
    }

    #[test]
    fn what_follows_the_end_is_left_out() {
        assert_eq!(top_of_lanczos(&[3.0, f64::NAN], &[0.0, f64::NAN]), [3.0, 0.0]);
        assert_eq!(top_of_lanczos(&[3.0, 100.0], &[1e-15, 1.0]), [3.0, 1e-15]);
        assert!(top_of_lanczos(&[f64::NAN], &[f64::NAN])[0].is_nan());
        assert_eq!(top_of_lanczos(&[0.0], &[0.0]), [0.0, 0.0]);
    }
}
