//! Eigenvalues of small symmetric matrices, and the largest value of a quadratic form on a ball.

/// The eigenvalues of a symmetric matrix with `n` rows, and its eigenvectors as the columns of a matrix, by Jacobi rotations; for matrices of some
/// tens of rows.
pub fn eigen(n: usize, entry: impl Fn(usize, usize) -> f64) -> (Vec<f64>, Vec<f64>) {
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

/// Applies the rotation that makes element (p, q) of `a` zero, to `a` and to the vectors `v`.
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

/// The largest value of `wᵀAw` over the ball `‖w − c‖ ≤ r`. A is given by its eigenvalues, and c by its components in the basis of A's eigenvectors.
///
/// With w = c + r s this is a trust-region problem. Its maximum is the minimum over ν ≥ max r²Λ of `cᵀAc + ν + Σ b²/(ν − r²Λ)`, where b = r Λ c. This
/// function is convex in ν, and setting its slope to 0 gives the secular equation; the result is right in the hard case too.
pub fn largest_on_ball(values: &[f64], centre: &[f64], radius: f64) -> f64 {
    let at_centre: f64 = values.iter().zip(centre).map(|(l, c)| l * c * c).sum();
    let terms: Vec<(f64, f64)> =
        values.iter().zip(centre).map(|(l, c)| (radius * radius * l, (radius * l * c).powi(2))).collect();
    let top = terms.iter().fold(f64::NEG_INFINITY, |top, &(d, _)| top.max(d)).max(0.0);
    let length = terms.iter().map(|(_, b)| b).sum::<f64>().sqrt();
    let slope =
        |nu: f64| 1.0 - terms.iter().map(|(d, b)| if *b == 0.0 { 0.0 } else { b / (nu - d).powi(2) }).sum::<f64>();
    let (mut low, mut high) = (top, top + length);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    let rest: f64 = terms.iter().map(|(d, b)| if *b == 0.0 { 0.0 } else { b / (high - d) }).sum();
    if rest.is_finite() { at_centre + high + rest } else { at_centre + high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_a_matrix_that_is_known() {
        // 2 on the diagonal and −1 beside it: 2 − 2 cos(k π/(n + 1)).
        let n = 12;
        let of = |k: usize| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
        let (mut values, vectors) = eigen(n, |i, k| [2.0, -1.0, 0.0][i.abs_diff(k).min(2)]);
        let length: f64 = (0..n).map(|i| vectors[i * n].powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-14);
        values.sort_by(f64::total_cmp);
        for (k, value) in values.iter().enumerate() {
            assert!((value - of(k + 1)).abs() < 1e-13, "{k}: {value}");
        }
    }

    #[test]
    fn the_largest_value_on_a_ball_that_is_known() {
        // One direction: w from c − r to c + r.
        assert!((largest_on_ball(&[2.0], &[1.0], 0.5) - 2.0 * 2.25).abs() < 1e-12);
        assert!(largest_on_ball(&[-2.0], &[1.0], 1.0).abs() < 1e-12);
        // The hard case: nothing of c lies along the top eigenvector.
        let found = largest_on_ball(&[3.0, 1.0], &[0.0, 1.0], 1.0);
        let swept = (0..100_000).map(|i| {
            let angle = f64::from(i) * 1e-5 * std::f64::consts::TAU;
            3.0 * angle.sin().powi(2) + (1.0 + angle.cos()).powi(2)
        });
        assert!((found - swept.fold(0.0, f64::max)).abs() < 1e-8, "{found}");
    }
}
