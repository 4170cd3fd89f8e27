//! The backward half of a pass on coordinates: through a norm, to the weights, and down a layer. See [`super::pass`].

use super::ChainNorm;
use super::layout::needs_samples;
use super::pass::{Input, Net, Tape, block, product, products};
use super::rows::Row;

impl Net<'_> {
    /// From the gradient of a layer's output, in `error`, computes the gradient of its norm's input in place. Returns whether that gradient has a
    /// constant's row.
    #[inline(always)]
    pub(super) unsafe fn through_norm<R: Row>(
        &self,
        layer: usize,
        params: *const f64,
        tape: Tape,
        error: *mut f64,
        constant: bool,
        grad: Option<*mut f64>,
    ) -> bool {
        if !self.normed(layer) {
            return constant;
        }
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        // SAFETY: the caller's promise.
        unsafe {
            let last = error.add(dim * stride);
            let along = products::<R>(dim, error, tape.y);
            if needs_samples(self.chain.norm) {
                self.norm_gradients::<R>(along, last, constant, grad);
                let factor = R::load(params.add(dim * stride)).mul(R::load(tape.inverse));
                for p in 0..dim {
                    let (error, slope) = (error.add(p * stride), tape.slope.add(p * stride));
                    factor.mul(R::load(error).fnma(along, R::load(slope))).store(error);
                }
                let slope = R::load(tape.slope.add(dim * stride));
                factor.mul(R::splat(0.0).fnma(along, slope)).store(last);
                return true;
            }
            let (factor, part) = self.norm_factors::<R>(params, tape, along, last, constant, grad);
            for p in 0..dim {
                let (error, y) = (error.add(p * stride), tape.y.add(p * stride));
                factor.mul(R::load(error).fnma(part, R::load(y))).store(error);
            }
            self.norm_constant::<R>(tape, factor, part, last)
        }
    }

    /// dW, from the layer's input and the gradient of its matrix product.
    #[inline(always)]
    pub(super) unsafe fn weight_gradient<R: Row, const N: usize>(
        &self,
        input: Input,
        error: *const f64,
        constant: bool,
        to: *mut f64,
    ) {
        let dim = self.chain.dim;
        // SAFETY: the caller's promise.
        unsafe {
            let mut k = 0;
            while k + N <= dim {
                self.weight_rows::<R, N>(input, error, constant, k, to);
                k += N;
            }
            while k < dim {
                self.weight_rows::<R, 1>(input, error, constant, k, to);
                k += 1;
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn weight_rows<R: Row, const N: usize>(
        &self,
        input: Input,
        error: *const f64,
        constant: bool,
        first: usize,
        to: *mut f64,
    ) {
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [R::splat(0.0); N];
            for p in 0..dim {
                let (row, error) = (input.rows.add(p * stride), R::load(error.add(p * stride)));
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.fma(R::splat_at(row, first + n), error);
                }
            }
            if let Some(gain) = input.gain {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.mul(R::splat_at(gain, first + n));
                }
            }
            if constant {
                let error = R::load(error.add(dim * stride));
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.fma(R::splat_at(input.constant, first + n), error);
                }
            }
            for (n, sum) in sums.into_iter().enumerate() {
                sum.store(to.add((first + n) * stride));
            }
        }
    }

    /// Computes `da Wᵀ`, then goes through the norm of the layer below, whose parameters are `params`: see [`Net::through_norm`].
    #[inline(always)]
    pub(super) unsafe fn down<R: Row, const N: usize>(
        &self,
        layer: usize,
        error: *const f64,
        constant: bool,
        to: *mut f64,
        params: *const f64,
        grad: Option<*mut f64>,
    ) -> bool {
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        // SAFETY: the caller's promise.
        unsafe {
            let turned = self.at(self.layout.turned + layer * dim * stride).cast_const();
            let tape = self.tape(layer - 1);
            if N != dim || !self.normed(layer - 1) || needs_samples(self.chain.norm) {
                product::<R, N>(dim + usize::from(constant), error, turned, dim, to);
                return self.through_norm::<R>(layer - 1, params, tape, to, constant, grad);
            }
            // All rows stay in registers.
            let last = to.add(dim * stride);
            if constant {
                let [row] = block::<R, 1>(error.add(dim * stride), turned, dim);
                row.store(last);
            }
            let held = block::<R, N>(error, turned, dim);
            let mut sums = [R::splat(0.0); 2];
            for (p, row) in held.iter().enumerate() {
                sums[p % 2] = sums[p % 2].fma(*row, R::load(tape.y.add(p * stride)));
            }
            let along = sums[0].add(sums[1]);
            let (factor, part) = self.norm_factors::<R>(params, tape, along, last, constant, grad);
            for (p, row) in held.into_iter().enumerate() {
                factor.mul(row.fnma(part, R::load(tape.y.add(p * stride)))).store(to.add(p * stride));
            }
            self.norm_constant::<R>(tape, factor, part, last)
        }
    }

    /// Writes the norm's own gradients, and returns the numbers that make its input gradient, `factor (dh − part ŷ)`. Not for a spread that needs
    /// samples.
    #[inline(always)]
    pub(super) unsafe fn norm_factors<R: Row>(
        &self,
        params: *const f64,
        tape: Tape,
        along: R,
        last: *const f64,
        constant: bool,
        grad: Option<*mut f64>,
    ) -> (R, R) {
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        let m = self.chain.samples as f64;
        // SAFETY: the caller's promise.
        unsafe {
            self.norm_gradients::<R>(along, last, constant, grad);
            let inverse = R::load(tape.inverse);
            let mut part = along.mul(R::splat(1.0 / m));
            if matches!(self.chain.norm, ChainNorm::Lp { .. }) {
                part = part.div(R::load(tape.spread).mul(inverse));
            }
            (R::load(params.add(dim * stride)).mul(inverse), part)
        }
    }

    /// Writes dγ and dβ, if they are asked for.
    #[inline(always)]
    pub(super) unsafe fn norm_gradients<R: Row>(
        &self,
        along: R,
        last: *const f64,
        constant: bool,
        grad: Option<*mut f64>,
    ) {
        let Some(grad) = grad else { return };
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        // SAFETY: the caller's promise.
        unsafe {
            let root = R::splat((self.chain.samples as f64).sqrt());
            let shift = if constant { R::load(last).mul(root) } else { R::splat(0.0) };
            along.store(grad.add(dim * stride));
            shift.store(grad.add((dim + 1) * stride));
        }
    }

    /// Writes the constant's row of the gradient. After BatchNorm there is none.
    #[inline(always)]
    pub(super) unsafe fn norm_constant<R: Row>(&self, tape: Tape, factor: R, part: R, last: *mut f64) -> bool {
        let there = matches!(self.chain.norm, ChainNorm::Lp { .. });
        // SAFETY: the caller's promise.
        unsafe {
            if there {
                let y = R::load(tape.constant).mul(R::load(tape.inverse));
                factor.mul(R::splat(0.0).fnma(part, y)).store(last);
            }
        }
        there
    }

    /// Transposes the weights of every layer from `first` on.
    #[inline(always)]
    pub(super) unsafe fn turn<R: Row>(&self, first: usize) {
        let (dim, stride) = (self.chain.dim, R::STRIDE);
        // SAFETY: the caller's promise.
        unsafe {
            for layer in first..self.chain.depth {
                let from = self.params(self.theta, layer);
                let to = self.at(self.layout.turned + layer * dim * stride);
                for part in (0..stride).step_by(R::WIDTH) {
                    R::turn(from.add(part), to.add(part), R::STRIDE, dim);
                }
            }
        }
    }
}
