//! Vectors and square matrices of a few rows, in f64.

/// ⟨a, b⟩
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// ‖a‖
pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// ‖a − b‖
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// The mean and the biased variance.
pub fn moments(a: &[f64]) -> (f64, f64) {
    let m = a.len() as f64;
    let mean = a.iter().sum::<f64>() / m;
    (mean, a.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / m)
}

/// A square matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Square {
    n: usize,
    entries: Vec<f64>,
}

impl Square {
    /// The matrix with these entries.
    pub fn new(n: usize, entry: impl Fn(usize, usize) -> f64) -> Square {
        let mut entries = Vec::with_capacity(n * n);
        for i in 0..n {
            entries.extend((0..n).map(|k| entry(i, k)));
        }
        Square { n, entries }
    }

    /// The number of its rows.
    pub fn rows(&self) -> usize {
        self.n
    }

    /// Element (i, k).
    pub fn at(&self, i: usize, k: usize) -> f64 {
        self.entries[i * self.n + k]
    }

    /// A x
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.entries.chunks_exact(self.n).map(|row| dot(row, x)).collect()
    }

    /// xᵀ A x
    pub fn form(&self, x: &[f64]) -> f64 {
        self.entries.chunks_exact(self.n).zip(x).map(|(row, x_i)| x_i * dot(row, x)).sum()
    }

    /// The Frobenius norm, which is at least the spectral norm.
    pub fn norm(&self) -> f64 {
        norm(&self.entries)
    }

    /// The Frobenius norm of A − B.
    pub fn distance(&self, other: &Square) -> f64 {
        distance(&self.entries, &other.entries)
    }
}
