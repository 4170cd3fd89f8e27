//! The passes over a chain on coordinates. The same program serves plain numbers, and numbers with their tangents ([`super::rows::Dual`]).
//!
//! A layer's activations have one row of units for each coordinate. Below, c stands for the coordinates other than the constant's. The constant has
//! index 0 here, and its row is the last one in memory:
//!
//! ```text
//! linear     a = h W;  dW = hᵀ da;  dh = da Wᵀ
//! BatchNorm  S² = ‖a_c‖²/m + ε;  ŷ_c = a_c/S;  da_c = γ/S (dh_c − dγ ŷ_c/m);  da_0 = 0
//! ℓp         D = s + ε;  ŷ_c = a_c/D;  da = γ/D (dh_c − dγ v), v being the coordinates of ∂s/∂a
//! both       h_c = γ ŷ_c;  h_0 = √m β;  dγ = Σ dh_c ŷ_c;  dβ = √m dh_0
//! ```
//!
//! ŷ is saved for each layer; γ is multiplied into the weights of the next layer. Every element of a result is one chain of operations, in an order
//! that the shapes fix.

use super::layout::{Layout, needs_samples};
use super::rows::Row;
use super::samples::Spread;
use super::spread::spread;
use super::{Chain, ChainNorm};

/// Squares of spreads outside this range have lost digits, or may soon lose them; such a pass is left to the layers one by one, which go over the
/// samples.
const RANGE: (f64, f64) = (1e-280, 1e280);

/// A chain, its batch and its workspace. The pointers are to the places of [`Layout`].
#[derive(Clone, Copy)]
pub struct Net<'a> {
    pub chain: &'a Chain,
    pub layout: &'a Layout,
    /// The workspace. Its batch is prepared, and its rows are of the kind that the pass works with.
    pub room: *mut f64,
    /// The basis, in single numbers; and the part of the loss that lies outside it.
    pub basis: *const f64,
    pub outside: f64,
    pub theta: *const f64,
}

/// The input of a layer: rows, a factor for each of their units, and the constant's row, which the factor does not apply to.
#[derive(Clone, Copy)]
pub struct Input {
    pub rows: *const f64,
    pub gain: Option<*const f64>,
    pub constant: *const f64,
}

/// What the forward pass saves of a layer.
#[derive(Clone, Copy)]
pub struct Tape {
    /// ŷ, or a where there is no norm; then the constant's row of the layer's output.
    pub y: *mut f64,
    pub out: *mut f64,
    /// The constant's row of a; 1/D; variance or s; v.
    pub constant: *mut f64,
    pub inverse: *mut f64,
    pub spread: *mut f64,
    pub slope: *mut f64,
}

impl Net<'_> {
    #[inline(always)]
    pub(super) fn normed(&self, layer: usize) -> bool {
        self.chain.norms() > layer
    }

    /// Whether the constant is part of the basis.
    #[inline(always)]
    fn constant(&self) -> bool {
        self.chain.norms() > 0
    }

    #[inline(always)]
    pub(super) unsafe fn at(&self, offset: usize) -> *mut f64 {
        // SAFETY: the caller's offsets are the layout's.
        unsafe { self.room.add(offset) }
    }

    #[inline(always)]
    pub(super) unsafe fn tape(&self, layer: usize) -> Tape {
        let Layout { stride, tape, tape_layer, .. } = *self.layout;
        let rows = self.chain.dim * stride;
        // SAFETY: there is room for two layers more than the chain has.
        unsafe {
            let y = self.at(tape + layer * tape_layer);
            let out = y.add(rows);
            let [constant, inverse, spread, slope] = [1, 2, 3, 4].map(|at| out.add(at * stride));
            Tape { y, out, constant, inverse, spread, slope }
        }
    }

    #[inline(always)]
    unsafe fn batch(&self) -> Input {
        // SAFETY: the layout's places.
        unsafe {
            let rows = self.at(self.layout.x);
            Input { rows, gain: None, constant: rows.add(self.chain.dim * self.layout.stride) }
        }
    }

    /// The output of layer `layer`, as the input of the next one; `params` are the layer's parameters.
    #[inline(always)]
    unsafe fn output(&self, layer: usize, params: *const f64, tape: Tape) -> Input {
        // SAFETY: γ lies behind the weight.
        let gain = self.normed(layer).then(|| unsafe { params.add(self.chain.dim * self.layout.stride) });
        Input { rows: tape.y, gain, constant: tape.out }
    }

    #[inline(always)]
    pub(super) unsafe fn params(&self, theta: *const f64, layer: usize) -> *const f64 {
        // SAFETY: the caller's layer is one of the chain's.
        unsafe { theta.add(layer * self.layout.layer) }
    }

    /// Computes the loss, and the gradient if `grad` has a place for it; `None` where numbers have left their range.
    ///
    /// # Safety
    /// The instruction set of `R` is available; the pointers are right.
    #[inline(always)]
    pub unsafe fn pass<R: Row, const N: usize>(&self, grad: Option<*mut f64>) -> Option<f64> {
        let depth = self.chain.depth;
        // SAFETY: the caller's promise, for all that follows.
        unsafe {
            let mut input = self.batch();
            for layer in 0..depth {
                let params = self.params(self.theta, layer);
                let tape = self.tape(layer);
                if !self.forward::<R, N>(layer, params, input, tape, grad.is_some()) {
                    return None;
                }
                input = self.output(layer, params, tape);
            }
            let loss = self.residual::<R>(self.at(self.layout.errors[0]));
            let Some(grad) = grad.filter(|_| loss.is_finite()) else { return loss.is_finite().then_some(loss) };
            self.turn::<R>(0);
            let mut from = 0;
            let mut constant = self.constant();
            for layer in (0..depth).rev() {
                let input = match layer.checked_sub(1) {
                    Some(before) => self.output(before, self.params(self.theta, before), self.tape(before)),
                    None => self.batch(),
                };
                let to = grad.add(layer * self.layout.layer);
                let params = self.params(self.theta, layer);
                let [error, lower] = [from, 1 - from].map(|at| self.at(self.layout.errors[at]));
                if layer + 1 == depth {
                    constant = self.through_norm::<R>(layer, params, self.tape(layer), error, constant, Some(to));
                }
                self.weight_gradient::<R, N>(input, error, constant, to);
                if layer > 0 {
                    let (below, to) = (layer - 1, grad.add((layer - 1) * self.layout.layer));
                    constant =
                        self.down::<R, N>(layer, error, constant, lower, self.params(self.theta, below), Some(to));
                }
                from = 1 - from;
            }
            Some(loss)
        }
    }

    /// Computes every layer's G′, the gradient of its weights when the layers before it are at `next`, and writes it into `moved`, laid out as
    /// parameters are. Returns `false` where numbers have left their range.
    ///
    /// # Safety
    /// As for [`Net::pass`].
    #[inline(always)]
    pub unsafe fn shift<R: Row, const N: usize>(&self, next: *const f64, moved: *mut f64) -> bool {
        let depth = self.chain.depth;
        // SAFETY: the caller's promise, for all that follows.
        unsafe {
            self.turn::<R>(1);
            let mut before = self.batch();
            for first in 0..depth {
                let mut input = before;
                for layer in first..depth {
                    let params = self.params(self.theta, layer);
                    if !self.forward::<R, N>(layer, params, input, self.tape(layer), true) {
                        return false;
                    }
                    input = self.output(layer, params, self.tape(layer));
                }
                let mut from = 0;
                if !self.residual::<R>(self.at(self.layout.errors[0])).is_finite() {
                    return false;
                }
                let (last, top) = (depth - 1, self.at(self.layout.errors[0]));
                let params = self.params(self.theta, last);
                let mut constant = self.through_norm::<R>(last, params, self.tape(last), top, self.constant(), None);
                for layer in (first + 1..depth).rev() {
                    let [error, lower] = [from, 1 - from].map(|at| self.at(self.layout.errors[at]));
                    let below = self.params(self.theta, layer - 1);
                    constant = self.down::<R, N>(layer, error, constant, lower, below, None);
                    from = 1 - from;
                }
                let to = moved.add(first * self.layout.layer);
                self.weight_gradient::<R, N>(before, self.at(self.layout.errors[from]), constant, to);
                if first + 1 < depth {
                    // Two places in turn: one is what the other is made of.
                    let (params, tape) = (self.params(next, first), self.tape(depth + first % 2));
                    if !self.forward::<R, N>(first, params, before, tape, false) {
                        return false;
                    }
                    before = self.output(first, params, tape);
                }
            }
        }
        true
    }

    /// Runs one layer and its norm. `sloped` asks for the slopes that a backward pass needs where the spread is computed from samples.
    #[inline(always)]
    unsafe fn forward<R: Row, const N: usize>(
        &self,
        layer: usize,
        params: *const f64,
        input: Input,
        tape: Tape,
        sloped: bool,
    ) -> bool {
        let Chain { dim, norm, .. } = *self.chain;
        let (stride, padded) = (R::STRIDE, self.layout.padded);
        // SAFETY: the caller's promise.
        unsafe {
            let mut weights = params;
            if self.constant() {
                let scaled = self.at(self.layout.scaled);
                let mut sum = R::splat(0.0);
                for k in 0..dim {
                    let row = R::load(params.add(k * stride));
                    sum = sum.fma(R::splat_at(input.constant, k), row);
                    if let Some(gain) = input.gain {
                        row.mul(R::splat_at(gain, k)).store(scaled.add(k * stride));
                    }
                }
                if input.gain.is_some() {
                    weights = scaled;
                }
                sum.store(if self.normed(layer) { tape.constant } else { tape.out });
            }
            if !self.normed(layer) {
                product::<R, N>(dim, input.rows, weights, dim, tape.y);
                return true;
            }
            let m = self.chain.samples as f64;
            let each = R::splat(1.0 / m);
            // Where all rows fit in registers they stay there until they are normed.
            let mut held = [R::splat(0.0); N];
            let holds = N == dim && !needs_samples(norm);
            if holds {
                held = block::<R, N>(input.rows, weights, dim);
            } else {
                product::<R, N>(dim, input.rows, weights, dim, tape.y);
            }
            let squares = match (holds, needs_samples(norm)) {
                (true, _) => held_squares(&held),
                (false, false) => products::<R>(dim, tape.y, tape.y),
                (false, true) => R::splat(0.0),
            };
            let bias = R::load(params.add((dim + 1) * stride));
            bias.mul(R::splat(m.sqrt())).store(tape.out);
            let inverse = match norm {
                ChainNorm::Batch { eps } => {
                    let variance = squares.mul(each);
                    variance.store(tape.spread);
                    R::splat(1.0).div(variance.add(R::splat(eps)).sqrt())
                }
                ChainNorm::Lp { p, eps } => {
                    let spread_row = if p == 2.0 {
                        let constant = R::load(tape.constant);
                        squares.fma(constant, constant).mul(each).sqrt()
                    } else {
                        let rows = (tape.y.cast_const(), tape.constant.cast_const());
                        let [values, sums] = [self.layout.values, self.layout.sums].map(|at| self.at(at));
                        let of = Spread {
                            p,
                            samples: self.chain.samples,
                            padded,
                            dim,
                            stride,
                            basis: self.basis,
                            values,
                            sums,
                        };
                        spread(of, rows, tape.spread, sloped.then_some(tape.slope));
                        if stride > R::WIDTH {
                            self.spread_moves::<R>(tape);
                        }
                        R::load(tape.spread)
                    };
                    spread_row.store(tape.spread);
                    R::splat(1.0).div(spread_row.add(R::splat(eps)))
                }
                ChainNorm::None => return true,
            };
            inverse.store(tape.inverse);
            if holds {
                for (p, row) in held.into_iter().enumerate() {
                    row.mul(inverse).store(tape.y.add(p * stride));
                }
            } else {
                for p in 0..dim {
                    let y = tape.y.add(p * stride);
                    R::load(y).mul(inverse).store(y);
                }
            }
            in_range(norm, std::slice::from_raw_parts(tape.spread, dim))
        }
    }

    /// The tangent of a spread that is computed from samples: `ṡ = ⟨v, ȧ⟩`. v's own tangent is 0, since p is 1 or infinite here.
    #[inline(always)]
    unsafe fn spread_moves<R: Row>(&self, tape: Tape) {
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        // SAFETY: the caller's promise; a row's second half is how it moves.
        unsafe {
            for unit in 0..dim {
                let mut sum = 0.0;
                for p in 0..=dim {
                    let a = if p < dim { tape.y.add(p * stride) } else { tape.constant };
                    let slope = tape.slope.add(p * stride);
                    sum = (*slope.add(unit)).mul_add(*a.add(R::WIDTH + unit), sum);
                    *slope.add(R::WIDTH + unit) = 0.0;
                }
                *tape.spread.add(R::WIDTH + unit) = sum;
            }
        }
    }

    /// Computes the loss, and the gradient of the last layer's output: 2 × scale × residual.
    #[inline(always)]
    unsafe fn residual<R: Row>(&self, error: *mut f64) -> f64 {
        let Chain { depth, dim, scale, .. } = *self.chain;
        let stride = R::STRIDE;
        // SAFETY: the caller's promise.
        unsafe {
            let tape = self.tape(depth - 1);
            let target = self.at(self.layout.target);
            let twice = R::splat(2.0 * scale);
            let gain = self.normed(depth - 1).then(|| R::load(self.params(self.theta, depth - 1).add(dim * stride)));
            if let Some(gain) = gain {
                gain.store(self.at(self.layout.gain));
            }
            let mut sum = R::splat(0.0);
            for p in 0..dim {
                let y = R::load(tape.y.add(p * stride));
                let y = match gain {
                    Some(gain) => y.mul(gain),
                    None => y,
                };
                let r = y.sub(R::load(target.add(p * stride)));
                sum = sum.fma(r, r);
                r.mul(twice).store(error.add(p * stride));
            }
            if self.constant() {
                let r = R::load(tape.out).sub(R::load(target.add(dim * stride)));
                sum = sum.fma(r, r);
                r.mul(twice).store(error.add(dim * stride));
            }
            let scratch = self.at(self.layout.scaled);
            sum.store(scratch);
            let units = std::slice::from_raw_parts(scratch, dim);
            scale * (units.iter().sum::<f64>() + self.outside)
        }
    }
}

/// `out ← x w` for `rows` rows, in blocks of N rows whose sums stay in registers.
#[inline(always)]
pub(super) unsafe fn product<R: Row, const N: usize>(
    rows: usize,
    x: *const f64,
    w: *const f64,
    inner: usize,
    out: *mut f64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut first = 0;
        while first + N <= rows {
            let sums = block::<R, N>(x.add(first * R::STRIDE), w, inner);
            for (n, sum) in sums.into_iter().enumerate() {
                sum.store(out.add((first + n) * R::STRIDE));
            }
            first += N;
        }
        while first < rows {
            let [sum] = block::<R, 1>(x.add(first * R::STRIDE), w, inner);
            sum.store(out.add(first * R::STRIDE));
            first += 1;
        }
    }
}

#[inline(always)]
pub(super) unsafe fn block<R: Row, const N: usize>(x: *const f64, w: *const f64, inner: usize) -> [R; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [R::splat(0.0); N];
        for k in 0..inner {
            let row = R::load(w.add(k * R::STRIDE));
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = sum.fma(R::splat_at(x.add(n * R::STRIDE), k), row);
            }
        }
        sums
    }
}

/// `Σ a b` over rows, in two chains.
#[inline(always)]
pub(super) unsafe fn products<R: Row>(rows: usize, a: *const f64, b: *const f64) -> R {
    let stride = R::STRIDE;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [R::splat(0.0); 2];
        for p in 0..rows {
            let of = &mut sums[p % 2];
            *of = of.fma(R::load(a.add(p * stride)), R::load(b.add(p * stride)));
        }
        sums[0].add(sums[1])
    }
}

/// `Σ a²` over rows in registers, in the same two chains.
#[inline(always)]
unsafe fn held_squares<R: Row, const N: usize>(rows: &[R; N]) -> R {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [R::splat(0.0); 2];
        for (p, row) in rows.iter().enumerate() {
            sums[p % 2] = sums[p % 2].fma(*row, *row);
        }
        sums[0].add(sums[1])
    }
}

/// Whether the spreads of all units have kept their digits. Every unit is checked, so that the loop has no branches.
#[inline(always)]
fn in_range(norm: ChainNorm, spreads: &[f64]) -> bool {
    let (low, high) = RANGE;
    match norm {
        ChainNorm::Batch { eps } => {
            spreads.iter().fold(true, |fine, &q| fine & ((q >= low) | (q == 0.0)) & (q + eps >= low) & (q <= high))
        }
        _ => spreads.iter().fold(true, |fine, &s| fine & (s * s >= low) & (s * s <= high)),
    }
}
