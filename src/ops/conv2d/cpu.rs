//! Convolution on the CPU, by the algorithm that its shape calls for.

use super::algorithm::Algorithm;
use super::winograd::{self, Filtering, FourByThree, TwoByTwo};
use super::{Conv2d, Map, direct};
use crate::Result;
use crate::ops::channel_reduce;
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Out, Shape};
use bytemuck::{cast_slice, cast_slice_mut};

/// `y = x ∗ w (+ bias)` by `algorithm`, which must suit this map and type.
pub fn forward<T: Float>(
    algorithm: Algorithm,
    map: &Map,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    workspace: &mut [T],
) {
    fn filtered<A: Filtering, T: Float>(map: &Map, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T], room: &mut [T]) {
        let bias = bias.map(|bias| cast_slice(bias));
        winograd::forward::<A>(map, cast_slice(x), cast_slice(w), bias, cast_slice_mut(y), cast_slice_mut(room));
    }
    match algorithm {
        Algorithm::Direct => direct::forward(map, x, weight, bias, y, workspace),
        Algorithm::Winograd => filtered::<FourByThree, T>(map, x, weight, bias, y, workspace),
        Algorithm::Toeplitz => filtered::<TwoByTwo, T>(map, x, weight, bias, y, workspace),
    }
}

/// `dx` of the same convolution.
pub fn grad_input<T: Float>(
    algorithm: Algorithm,
    map: &Map,
    weight: &[T],
    grad_y: &[T],
    grad_x: &mut [T],
    workspace: &mut [T],
) {
    fn filtered<A: Filtering, T: Float>(map: &Map, w: &[T], dy: &[T], dx: &mut [T], room: &mut [T]) {
        winograd::grad_input::<A>(map, cast_slice(w), cast_slice(dy), cast_slice_mut(dx), cast_slice_mut(room));
    }
    match algorithm {
        Algorithm::Direct => direct::grad_input(map, weight, grad_y, grad_x, workspace),
        Algorithm::Winograd => filtered::<FourByThree, T>(map, weight, grad_y, grad_x, workspace),
        Algorithm::Toeplitz => filtered::<TwoByTwo, T>(map, weight, grad_y, grad_x, workspace),
    }
}

/// `dw` of the same convolution.
pub fn grad_weight<T: Float>(
    algorithm: Algorithm,
    map: &Map,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [T],
    workspace: &mut [T],
) {
    fn filtered<A: Filtering, T: Float>(map: &Map, x: &[T], dy: &[T], dw: &mut [T], room: &mut [T]) {
        winograd::grad_weight::<A>(map, cast_slice(x), cast_slice(dy), cast_slice_mut(dw), cast_slice_mut(room));
    }
    match algorithm {
        Algorithm::Direct => direct::grad_weight(map, x, grad_y, grad_weight, workspace),
        Algorithm::Winograd => filtered::<FourByThree, T>(map, x, grad_y, grad_weight, workspace),
        Algorithm::Toeplitz => filtered::<TwoByTwo, T>(map, x, grad_y, grad_weight, workspace),
    }
}

/// The workspace, in elements, that the passes need.
pub fn workspace<T: Float>(algorithm: Algorithm, map: &Map) -> usize {
    match algorithm {
        Algorithm::Direct => direct::workspace::<T>(map),
        Algorithm::Winograd => winograd::workspace::<FourByThree>(map),
        Algorithm::Toeplitz => winograd::workspace::<TwoByTwo>(map),
    }
}

impl<T: Float> Cpu<T> {
    fn algorithm(&self, map: &Map) -> Algorithm {
        Algorithm::of(map, T::DTYPE, self.convolves_directly())
    }
}

impl<T: Float> Conv2d for Cpu<T> {
    fn convolve_directly(&mut self) {
        self.set_direct_convolution();
    }

    fn conv2d_workspace(&self, map: Map) -> Shape {
        let sums = 2 * channel_reduce::workspace(map.h * map.w * map.n, map.k);
        Shape::new([workspace::<T>(self.algorithm(&map), &map).max(sums)])
    }

    fn conv2d(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        let map = Map::of(x.0.shape, weight.0.shape, bias.map(|b| b.0.shape), y.0.shape)?;
        let algorithm = self.algorithm(&map);
        let mut b = self.borrow("conv2d");
        let bias = bias.map(|bias| b.read(bias)).transpose()?;
        forward::<T>(algorithm, &map, b.read(x)?, b.read(weight)?, bias, b.write(y)?, b.write(workspace)?);
        Ok(())
    }

    fn conv2d_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()> {
        let map = Map::of(x.0.shape, weight.0.shape, grads.bias.map(|b| b.0.shape), grad_y.0.shape)?;
        grads.alone("conv2d")?;
        let algorithm = self.algorithm(&map);
        let mut b = self.borrow("conv2d");
        let (x, weight, grad_y, workspace) =
            (b.read::<T>(x)?, b.read::<T>(weight)?, b.read::<T>(grad_y)?, b.write::<T>(workspace)?);
        if let Some(grad_x) = grads.x {
            grad_input(algorithm, &map, weight, grad_y, b.write(grad_x)?, workspace);
        }
        if let Some(grad_bias) = grads.bias {
            channel_reduce::sums(grad_y, map.k, b.write(grad_bias)?, channel_reduce::as_f64(workspace), |sum| sum);
        }
        if let Some(to) = grads.weight {
            grad_weight(algorithm, &map, x, grad_y, b.write(to)?, workspace);
        }
        Ok(())
    }
}
