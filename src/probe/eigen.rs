//! The largest eigenvalue of Lanczos' symmetric tridiagonal matrix.

/// The largest eigenvalue of the matrix with `diagonal` α and `beside` it β, and the length of its vector's residual: the last β times the
/// vector's last element. Lanczos has come to an end where β is nothing beside what came before, or no number; what follows it is left out.
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
    let (values, vectors) = symmetric(count, |i, k| match i.abs_diff(k) {
        0 => diagonal[i],
        1 => beside[i.min(k)],
        _ => 0.0,
    });
    let top = (0..count).max_by(|&i, &k| values[i].total_cmp(&values[k])).unwrap_or(0);
    let last = beside[count - 1];
    [values[top], if last.is_finite() { last * vectors[(count - 1) * count + top].abs() } else { 0.0 }]
}

/// Eigenvalues of a symmetric matrix of `n` rows, and its eigenvectors as the columns of a matrix, by Jacobi's rotations: for matrices of
/// some tens of rows.
fn symmetric(n: usize, entry: impl Fn(usize, usize) -> f64) -> (Vec<f64>, Vec<f64>) {
    let mut a: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
    let mut v: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
    let total: f64 = a.iter().map(|x| x * x).sum();
    // Each sweep squares what is left; sixty are more than any matrix takes.
    for _ in 0..60 {
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum();
        if off <= 1e-32 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

/// The rotation that makes element (p, q) of `a` zero, also of the vectors `v`.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for k in 0..n {
        let (kp, kq) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * kp - s * kq, s * kp + c * kq);
    }
    for k in 0..n {
        let (pk, qk) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * pk - s * qk, s * pk + c * qk);
        let (kp, kq) = (v[k * n + p], v[k * n + q]);
        (v[k * n + p], v[k * n + q]) = (c * kp - s * kq, s * kp + c * kq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_a_matrix_that_is_known() {
        // 2 on the diagonal and −1 beside it: 2 − 2 cos(k π/(n + 1)).
        let n = 12;
        let of = |k: usize| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
        let (mut values, vectors) = symmetric(n, |i, k| [2.0, -1.0, 0.0][i.abs_diff(k).min(2)]);
        let length: f64 = (0..n).map(|i| vectors[i * n].powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-14);
        values.sort_by(f64::total_cmp);
        for (k, value) in values.iter().enumerate() {
            assert!((value - of(k + 1)).abs() < 1e-13, "{k}: {value}");
        }
        let [top, residual] = top_of_lanczos(&[2.0; 12], &[1.0; 12]);
        assert!((top - of(n)).abs() < 1e-13 && residual > 0.0 && residual < 1.0);
    }

    #[test]
    fn what_follows_the_end_is_left_out() {
        assert_eq!(top_of_lanczos(&[3.0, f64::NAN], &[0.0, f64::NAN]), [3.0, 0.0]);
        assert_eq!(top_of_lanczos(&[3.0, 100.0], &[1e-15, 1.0]), [3.0, 1e-15]);
        assert!(top_of_lanczos(&[f64::NAN], &[f64::NAN])[0].is_nan());
        assert_eq!(top_of_lanczos(&[0.0], &[0.0]), [0.0, 0.0]);
    }
}
