//! Units whose scale has no inverse in the tensor's type. Their passes run one unit at a time, in f64.
//!
//! Below 2⁻¹²⁸ (f32) or 2⁻¹⁰²⁴ (f64) 1/s is infinite, and so is 1/D if ε is that small; ṙ = (p−1)(…)/s overflows somewhat earlier. The quantities of
//! the contract are finite all the same: `|x|/s` is near 1, and `dγ ∂s/∂x` is far below dy. Such units are rare, so they take this slower path, on
//! values multiplied by a power of two.

use crate::ops::norm::NormSpec;
use crate::runtime::float::Float;
use crate::runtime::tensor::DType;

/// Whether a unit of this scale needs the slow path: some constant of its passes overflows although the result does not.
pub fn faint<T: Float>(p: f64, eps: f64, scale: T, weight: T) -> bool {
    let (s, d) = (scale.f64(), scale.f64() + eps);
    if s > 1e-20 && weight.f64().abs() < 1e10 {
        return false;
    }
    // With room for what the quotient is multiplied by.
    let room = |v: f64| T::of(v) * T::of(1e10);
    let overflows = |v: f64, by: f64| by > 0.0 && v.is_finite() && !room(v / by).is_finite();
    let of_slope = p != 1.0 && p.is_finite() && overflows(1.0, s);
    of_slope || overflows(1.0, d) || overflows(weight.f64(), d)
}

/// One unit: its constants, and the position of its values. A name with `lifted` stands for a value multiplied by [`FaintUnit::lift`].
pub struct FaintUnit {
    p: f64,
    /// The unit's column in the matrix: its number, and the number of columns.
    column: usize,
    columns: usize,
    rows: usize,
    /// The factor that brings the unit's values to the middle of f64's range.
    lift: f64,
    /// μ, s and D = s + ε, all lifted.
    mean: f64,
    scale: f64,
    divisor: f64,
    /// At p = ∞, the number of elements of largest |x|.
    ties: f64,
    weight: f64,
    bias: f64,
    relu: bool,
}

/// The tangents of a unit's operands: the tensor ẋ, the y that a ReLU produced, γ̇ and β̇.
pub struct Moves<'a, T> {
    /// ẋ
    pub x: &'a [T],
    /// y, if a ReLU followed.
    pub relu: Option<&'a [T]>,
    /// γ̇
    pub weight: f64,
    /// β̇
    pub bias: f64,
}

/// The tangents μ̇ and Ḋ.
#[derive(Clone, Copy)]
pub struct Spread {
    mean: f64,
    divisor: f64,
}

impl FaintUnit {
    /// The unit in column `column` of `x`, which has `columns` columns. μ and s are computed again, since the tensor's type may hold only a few
    /// digits of them.
    pub fn of<T: Float>(
        p: f64,
        spec: &NormSpec,
        x: &[T],
        (columns, column): (usize, usize),
        (weight, bias): (T, T),
    ) -> Self {
        // An f32 is in the middle of f64's range by itself.
        let lift = if T::DTYPE == DType::F64 { 2f64.powi(600) } else { 1.0 };
        let rows = x.len() / columns;
        let values = || x[column..].iter().step_by(columns).map(|v| v.f64() * lift);
        let scale = crate::ops::channel_reduce::power_mean(p, values());
        FaintUnit {
            p,
            column,
            columns,
            rows,
            lift,
            mean: values().sum::<f64>() / rows as f64,
            scale,
            divisor: scale + spec.eps * lift,
            ties: values().filter(|v| v.abs() == scale).count() as f64,
            weight: weight.f64(),
            bias: bias.f64(),
            relu: spec.relu,
        }
    }

    /// The positions of its elements.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        (self.column..self.columns * self.rows).step_by(self.columns)
    }

    /// u = (x − μ)/D
    fn u<T: Float>(&self, x: T) -> f64 {
        (x.f64() * self.lift - self.mean) / self.divisor
    }

    /// u times the lift: where x is subnormal, so is u.
    fn lifted_u<T: Float>(&self, x: T) -> f64 {
        (x.f64() * self.lift - self.mean) * self.lift / self.divisor
    }

    /// r = m ∂s/∂x
    fn r<T: Float>(&self, x: T) -> f64 {
        let v = x.f64() * self.lift;
        if v == 0.0 {
            return 0.0;
        }
        let size = match self.p {
            1.0 => 1.0,
            p if p.is_finite() => (v.abs() / self.scale).powf(p - 1.0),
            _ if v.abs() == self.scale => self.rows as f64 / self.ties,
            _ => 0.0,
        };
        size.copysign(v)
    }

    fn mean_of(&self, value: impl Fn(usize) -> f64) -> f64 {
        self.places().map(value).sum::<f64>() / self.rows as f64
    }

    /// γ/D times `v`.
    fn times_gain(&self, v: f64) -> f64 {
        self.weight * v / self.divisor * self.lift
    }

    /// Writes the unit's y.
    pub fn forward<T: Float>(&self, x: &[T], y: &mut [T]) {
        for at in self.places() {
            let v = self.u(x[at]).mul_add(self.weight, self.bias);
            y[at] = T::of(if self.relu && v <= 0.0 { 0.0 } else { v });
        }
    }

    /// Writes the unit's dx; returns dγ and dβ.
    pub fn backward<T: Float>(&self, x: &[T], dy: &[T], dx: &mut [T]) -> (T, T) {
        let dy = |at: usize| {
            let cut = self.relu && self.u(x[at]).mul_add(self.weight, self.bias) <= 0.0;
            if cut { 0.0 } else { dy[at].f64() }
        };
        let (mean, mean_u) = (self.mean_of(dy), self.mean_of(|at| dy(at) * self.lifted_u(x[at])) / self.lift);
        for at in self.places() {
            dx[at] = T::of(self.times_gain(dy(at) - mean - self.r(x[at]) * mean_u));
        }
        (T::of(mean_u * self.rows as f64), T::of(mean * self.rows as f64))
    }

    /// The tangents of μ and D.
    pub fn spread<T: Float>(&self, x: &[T], moves: &Moves<'_, T>) -> Spread {
        let xt = |at: usize| moves.x[at].f64();
        Spread { mean: self.mean_of(xt), divisor: self.mean_of(|at| self.r(x[at]) * xt(at)) }
    }

    /// u̇
    fn u_moving<T: Float>(&self, x: T, xt: T, by: Spread) -> f64 {
        (xt.f64() - by.mean - self.u(x) * by.divisor) / self.divisor * self.lift
    }

    /// Writes the unit's ẏ; returns μ̇ and Ḋ.
    pub fn tangent<T: Float>(&self, x: &[T], moves: &Moves<'_, T>, out: &mut [T]) -> (T, T) {
        let by = self.spread(x, moves);
        for at in self.places() {
            let ut = self.u_moving(x[at], moves.x[at], by);
            let yt = moves.weight.mul_add(self.u(x[at]), self.weight.mul_add(ut, moves.bias));
            out[at] = if cut(moves.relu, at) { T::ZERO } else { T::of(yt) };
        }
        (T::of(by.mean), T::of(by.divisor))
    }

    /// ṙ · dγ/m, where dγ/m is lifted. It is computed as a product, since ṙ alone may be out of range.
    fn r_moving_times<T: Float>(&self, x: T, xt: T, by: Spread, lifted_mean_u: f64) -> f64 {
        let (v, p) = (x.f64() * self.lift, self.p);
        if p == 1.0 || p.is_infinite() || self.scale == 0.0 || v == 0.0 && p != 2.0 {
            return 0.0;
        }
        let size = if p == 2.0 { 1.0 } else { (v.abs() / self.scale).powf(p - 2.0) };
        lifted_mean_u / self.scale * ((p - 1.0) * (size * xt.f64() - self.r(x) * by.divisor))
    }

    /// Writes the unit's ḋx; returns ḋγ and ḋβ. `upstream` holds dy and ḋy.
    pub fn tangent_backward<T: Float>(
        &self,
        x: &[T],
        moves: &Moves<'_, T>,
        upstream: [&[T]; 2],
        out: &mut [T],
    ) -> (T, T) {
        let by = self.spread(x, moves);
        let [dy, dyt] = upstream.map(|of| move |at: usize| if cut(moves.relu, at) { 0.0 } else { of[at].f64() });
        let ut = |at: usize| self.u_moving(x[at], moves.x[at], by);
        let (mean, lifted_mean_u) = (self.mean_of(dy), self.mean_of(|at| dy(at) * self.lifted_u(x[at])));
        let mean_u = lifted_mean_u / self.lift;
        let mean_t = self.mean_of(dyt);
        let mean_ut = self.mean_of(|at| dyt(at) * self.u(x[at]) + dy(at) * ut(at));
        for at in self.places() {
            let r = self.r(x[at]);
            let own = dy(at) - mean - r * mean_u;
            let moved = dyt(at) - mean_t - r * mean_ut - self.r_moving_times(x[at], moves.x[at], by, lifted_mean_u);
            let gain_moving = (moves.weight * own - self.times_gain(own) * by.divisor) / self.divisor * self.lift;
            out[at] = T::of(gain_moving + self.times_gain(moved));
        }
        (T::of(mean_ut * self.rows as f64), T::of(mean_t * self.rows as f64))
    }
}

/// Whether the ReLU that followed has cut this element off.
fn cut<T: Float>(relu: Option<&[T]>, at: usize) -> bool {
    relu.is_some_and(|y| y[at] <= T::ZERO)
}
