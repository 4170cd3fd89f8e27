//! A linear layer `y = X W` at a minimum of a least-squares loss, with and without a bias. Observation 4.3 and Lemma 4.5 are about such a layer.

use super::dense::{dot, norm};
use super::instance::{Draws, Stream};
use super::jet::Norm;

/// A layer at its minimum of `L = ½ ‖XW − t‖²`.
#[derive(Debug, Clone)]
pub struct Layer {
    /// X by columns, `[d][m]`; with a bias, the last column is all ones.
    pub columns: Vec<Vec<f64>>,
    /// W, `[d]`
    pub weights: Vec<f64>,
    /// t, `[m]`
    pub target: Vec<f64>,
}

impl Layer {
    /// A random layer with two parameters on m samples; the second parameter is a bias if `bias` is set. Inputs and targets are not centred. None if
    /// there is no single minimum that can be computed.
    pub fn at_minimum(seed: u64, index: u64, m: usize, bias: bool) -> Option<Layer> {
        let mut draws = Draws::new(seed, Stream::Layer, index);
        let [shift, lift] = [draws.normal(), 3.0 * draws.normal()];
        let first: Vec<f64> = draws.normals(m).iter().map(|x| x + shift).collect();
        let second = if bias { vec![1.0; m] } else { draws.normals(m).iter().map(|x| x + 1.0).collect() };
        let target: Vec<f64> = draws.normals(m).iter().map(|t| t + lift).collect();
        let (pp, pq, qq) = (dot(&first, &first), dot(&first, &second), dot(&second, &second));
        let determinant = pp * qq - pq * pq;
        if m < 3 || determinant <= 1e-3 * pp * qq {
            return None;
        }
        let (tp, tq) = (dot(&target, &first), dot(&target, &second));
        let weights = vec![(qq * tp - pq * tq) / determinant, (pp * tq - pq * tp) / determinant];
        let layer = Layer { columns: vec![first, second], weights, target };
        // σ is to be clear of 0.
        let (y, t) = (layer.output(&layer.weights), norm(&layer.target));
        let spread = super::dense::moments(&y).1;
        (spread > 1e-4 * t * t / m as f64).then_some(layer)
    }

    /// XW for these weights W, `[m]`.
    pub fn output(&self, weights: &[f64]) -> Vec<f64> {
        (0..self.target.len()).map(|i| self.columns.iter().zip(weights).map(|(x, w)| x[i] * w).sum()).collect()
    }

    /// ‖∇_W L̂‖, |∇_γ L̂| and |∇_β L̂| at W, and the size of the terms that cancel in them.
    pub fn gradients(&self, weights: &[f64], norm_of: Norm) -> ([f64; 3], f64) {
        let y = self.output(weights);
        let z = norm_of.output(&y);
        let g: Vec<f64> = z.iter().zip(&self.target).map(|(z, t)| z - t).collect();
        let v = norm_of.pull(&y, &g);
        let by_weights: Vec<f64> = self.columns.iter().map(|x| dot(x, &v)).collect();
        let inputs = self.columns.iter().map(|x| dot(x, x)).sum::<f64>().sqrt();
        let found = [norm(&by_weights), dot(&g, &norm_of.normed(&y)).abs(), g.iter().sum::<f64>().abs()];
        (found, (1.0 + inputs) * (1.0 + norm(&self.target)) * (1.0 + norm(&y)))
    }
}
