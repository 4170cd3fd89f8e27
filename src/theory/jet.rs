//! Derivatives through the normalisation. Dual numbers are run through a reverse pass that is written from the definition (mean, variance, root,
//! quotient), with the derivative of each step on its own. Nothing here uses a formula of the paper.

use super::dense::Square;
use super::loss::Loss;
use std::ops::{Add, Div, Mul, Sub};

/// A number and its derivative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dual {
    /// The number.
    pub value: f64,
    /// Its derivative.
    pub slope: f64,
}

/// The kind of number that the passes work with: plain numbers, or numbers with a derivative.
pub trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> {
    /// A number with derivative 0.
    fn constant(value: f64) -> Self;
    /// The square root.
    fn root(self) -> Self;
}

impl Number for f64 {
    fn constant(value: f64) -> f64 {
        value
    }
    fn root(self) -> f64 {
        self.sqrt()
    }
}

impl Number for Dual {
    fn constant(value: f64) -> Dual {
        Dual { value, slope: 0.0 }
    }
    fn root(self) -> Dual {
        let root = self.value.sqrt();
        Dual { value: root, slope: self.slope / (2.0 * root) }
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        Dual { value: self.value + other.value, slope: self.slope + other.slope }
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, other: Dual) -> Dual {
        Dual { value: self.value - other.value, slope: self.slope - other.slope }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, other: Dual) -> Dual {
        Dual { value: self.value * other.value, slope: self.slope * other.value + self.value * other.slope }
    }
}

impl Div for Dual {
    type Output = Dual;
    fn div(self, other: Dual) -> Dual {
        let value = self.value / other.value;
        Dual { value, slope: (self.slope - value * other.slope) / other.value }
    }
}

/// The normalisation of one unit: ŷ = (y − μ)/√(σ² + ε), z = γŷ + β.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// γ
    pub gamma: f64,
    /// β
    pub beta: f64,
    /// ε
    pub eps: f64,
}

/// The numbers that the forward pass saves.
struct Kept<N> {
    /// y − μ
    centred: Vec<N>,
    /// √(σ² + ε)
    s: N,
    /// ŷ
    normed: Vec<N>,
}

fn sum<N: Number>(of: impl Iterator<Item = N>) -> N {
    of.fold(N::constant(0.0), |sum, x| sum + x)
}

impl Norm {
    fn forward<N: Number>(self, y: &[N]) -> Kept<N> {
        let m = N::constant(y.len() as f64);
        let mean = sum(y.iter().copied()) / m;
        let centred: Vec<N> = y.iter().map(|&y| y - mean).collect();
        let variance = sum(centred.iter().map(|&c| c * c)) / m;
        let s = (variance + N::constant(self.eps)).root();
        let normed = centred.iter().map(|&c| c / s).collect();
        Kept { centred, s, normed }
    }

    fn scaled<N: Number>(self, normed: &[N]) -> Vec<N> {
        normed.iter().map(|&u| N::constant(self.gamma) * u + N::constant(self.beta)).collect()
    }

    /// Computes ∂L/∂y from ∂L/∂z, going backwards step by step.
    fn backward<N: Number>(self, kept: &Kept<N>, grad_z: &[N]) -> Vec<N> {
        let Kept { centred, s, .. } = kept;
        let m = N::constant(centred.len() as f64);
        // z = γ u + β
        let grad_u: Vec<N> = grad_z.iter().map(|&g| N::constant(self.gamma) * g).collect();
        // u = c/s
        let grad_s = N::constant(0.0) - sum(grad_u.iter().zip(centred).map(|(&g, &c)| g * c)) / (*s * *s);
        // s = √(variance + ε)
        let grad_variance = grad_s / (N::constant(2.0) * *s);
        // variance = Σ c²/m
        let of_square = N::constant(2.0) * grad_variance / m;
        let grad_c: Vec<N> = grad_u.iter().zip(centred).map(|(&g, &c)| g / *s + of_square * c).collect();
        // c = y − mean, mean = Σ y/m
        let of_mean = sum(grad_c.iter().copied()) / m;
        grad_c.iter().map(|&g| g - of_mean).collect()
    }

    /// z, `[m]`
    pub fn output(self, y: &[f64]) -> Vec<f64> {
        self.scaled(&self.forward(y).normed)
    }

    /// ŷ, `[m]`
    pub fn normed(self, y: &[f64]) -> Vec<f64> {
        self.forward(y).normed
    }

    /// v = ∂L̂/∂y, `[m]`
    pub fn gradient(self, y: &[f64], loss: &Loss) -> Vec<f64> {
        let kept = self.forward(y);
        let grad_z = loss.gradient(&self.scaled(&kept.normed));
        self.backward(&kept, &grad_z)
    }

    /// Computes ∂L/∂y from a given ∂L/∂z, `[m]`.
    pub fn pull(self, y: &[f64], grad_z: &[f64]) -> Vec<f64> {
        self.backward(&self.forward(y), grad_z)
    }

    /// v and Ĥ = ∂²L̂/∂y², one column for each element of y. `gradient` and `hessian` are those of L at z.
    pub fn second(self, y: &[f64], gradient: &[f64], hessian: &Square) -> (Vec<f64>, Square) {
        let n = y.len();
        let mut columns = Vec::with_capacity(n * n);
        let mut v = Vec::new();
        for k in 0..n {
            let (value, column) = self.along(y, gradient, hessian, |i| f64::from(u8::from(i == k)));
            columns.extend(column);
            v = value;
        }
        (v, Square::new(n, |i, k| columns[k * n + i]))
    }

    /// v, and its derivative when y moves along `direction`: Ĥ times the direction.
    pub fn along(
        self,
        y: &[f64],
        gradient: &[f64],
        hessian: &Square,
        direction: impl Fn(usize) -> f64,
    ) -> (Vec<f64>, Vec<f64>) {
        let y: Vec<Dual> = y.iter().enumerate().map(|(i, &value)| Dual { value, slope: direction(i) }).collect();
        let kept = self.forward(&y);
        let z_moves: Vec<f64> = self.scaled(&kept.normed).iter().map(|z| z.slope).collect();
        let moved = hessian.apply(&z_moves);
        let grad_z: Vec<Dual> = gradient.iter().zip(moved).map(|(&value, slope)| Dual { value, slope }).collect();
        self.backward(&kept, &grad_z).iter().map(|v| (v.value, v.slope)).unzip()
    }

    /// ∂ŷ/∂y, `[m, m]`: row b, column k.
    pub fn jacobian(self, y: &[f64]) -> Square {
        let n = y.len();
        let mut columns = Vec::with_capacity(n * n);
        for k in 0..n {
            let moving = |(i, &value): (usize, &f64)| Dual { value, slope: f64::from(u8::from(i == k)) };
            let y: Vec<Dual> = y.iter().enumerate().map(moving).collect();
            columns.extend(self.forward(&y).normed.iter().map(|u| u.slope));
        }
        Square::new(n, |b, k| columns[k * n + b])
    }
}

#[cfg(test)]
mod tests {
    use super::super::dense::{distance, norm};
    use super::super::instance::Instance;
    use super::*;

    #[test]
    fn derivatives_are_those_of_central_differences() {
        for index in 0..20 {
            let mut of = Instance::draw(5, index, 6, None);
            let mean = of.y.iter().sum::<f64>() / 6.0;
            of.y.iter_mut().for_each(|y| *y -= mean);
            let law = Norm { gamma: of.gamma, beta: of.beta, eps: 0.3 };
            let z = law.output(&of.y);
            let (v, hat) = law.second(&of.y, &of.loss.gradient(&z), &of.loss.hessian(&z));
            assert!(distance(&v, &law.gradient(&of.y, &of.loss)) <= 1e-12 * norm(&v));
            let jacobian = law.jacobian(&of.y);
            let step = 1e-5 * norm(&of.y);
            for k in 0..6 {
                let moved = |by: f64| {
                    let mut y = of.y.clone();
                    y[k] += by;
                    y
                };
                let (up, down) = (moved(step), moved(-step));
                let difference = |up: f64, down: f64| (up - down) / (2.0 * step);
                let slope = difference(of.loss.value(&law.output(&up)), of.loss.value(&law.output(&down)));
                let size = norm(&v) + of.loss.value(&z).abs() / norm(&of.y);
                assert!((slope - v[k]).abs() <= 1e-6 * size, "{index}: {slope} for {}", v[k]);
                let (gu, gd) = (law.gradient(&up, &of.loss), law.gradient(&down, &of.loss));
                let (uu, ud) = (law.normed(&up), law.normed(&down));
                for i in 0..6 {
                    let size = 1e-6 * (hat.norm() + norm(&v) / norm(&of.y));
                    assert!((difference(gu[i], gd[i]) - hat.at(i, k)).abs() <= size, "{index}");
                    assert!((difference(uu[i], ud[i]) - jacobian.at(i, k)).abs() <= 1e-6 * jacobian.norm());
                }
            }
        }
    }
}
