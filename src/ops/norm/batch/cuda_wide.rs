//! Norms over the batch whose rows are whole vectors of 16 bytes: the launches of `kernels/batchnorm_wide.cu`. Which norms these are depends on the
//! shapes alone, so the order of every sum does too.

use crate::Result;
use crate::ops::implicit_gemm::aligned;
use crate::ops::launch_grid::{ColumnGrid, Over, counted_in_32_bits};
use crate::runtime::cuda::driver::{Driver, Region, Slice, SliceMut, Stored};
use crate::runtime::cuda::kernels;
use crate::runtime::tensor::Shape;

/// Whether wide passes take an x of this shape, and these tensors like it.
pub fn is_wide<T: Stored>(x: Shape, tensors: &[Region]) -> bool {
    aligned::<T>(tensors, &[x.matrix().1]) == 1 && counted_in_32_bits::<T>(x)
}

/// A norm whose statistics are there.
#[derive(Clone, Copy)]
pub struct Normed<'a, T> {
    pub op: &'static str,
    pub over: Over,
    pub x: Slice<'a, T>,
    pub weight: Slice<'a, f32>,
    pub bias: Slice<'a, f32>,
    pub mean: Slice<'a, f32>,
    /// σ², or s where `kind` is 1.
    pub spread: Slice<'a, f32>,
    pub eps: f64,
    pub kind: u32,
    pub relu: u32,
}

impl<T: Stored> Normed<'_, T> {
    /// `y = γ (x − μ)/D + β`, then ReLU and pool.
    pub fn apply<D: Driver>(self, driver: &mut D, y: &mut SliceMut<'_, T>) -> Result<()> {
        let Normed { op, over: Over { shape, pool }, x, weight, bias, mean, spread, eps, kind, relu } = self;
        let ColumnGrid { grid, matrix, .. } = ColumnGrid::wide_each::<T>(op, shape)?;
        if pool.width == 0 {
            return kernels::NormApplyWide { x, weight, bias, mean, spread, y, eps, kind, relu, matrix }
                .launch(driver, grid);
        }
        kernels::NormApplyWidePool { x, weight, bias, mean, spread, y, eps, kind, relu, matrix, pool }
            .launch(driver, grid)
    }

    /// Leaves Σdy and Σdy·ŷ of every part.
    pub fn gradient_sums<D: Driver>(
        self,
        driver: &mut D,
        at: ColumnGrid,
        grad_y: Slice<'_, T>,
        partials: &mut SliceMut<'_, f64>,
    ) -> Result<()> {
        let Normed { over: Over { pool, .. }, x, weight, bias, mean, spread, eps, kind, relu, .. } = self;
        let ColumnGrid { grid, matrix, .. } = at;
        if pool.width == 0 {
            return kernels::NormGradientSumsWide {
                x,
                grad_y,
                weight,
                bias,
                mean,
                spread,
                partials,
                eps,
                kind,
                relu,
                matrix,
            }
            .launch(driver, grid);
        }
        kernels::NormGradientSumsWidePool {
            x,
            grad_y,
            weight,
            bias,
            mean,
            spread,
            partials,
            eps,
            kind,
            relu,
            matrix,
            pool,
        }
        .launch(driver, grid)
    }

    /// dx of BatchNorm, from dγ and dβ.
    pub fn gradient<D: Driver>(
        self,
        driver: &mut D,
        grad_y: Slice<'_, T>,
        [grad_weight, grad_bias]: [Slice<'_, f32>; 2],
        grad_x: &mut SliceMut<'_, T>,
    ) -> Result<()> {
        let Normed { op, over: Over { shape, pool }, x, weight, bias, mean, spread: var, eps, relu, .. } = self;
        let ColumnGrid { grid, matrix, .. } = ColumnGrid::wide_each::<T>(op, shape)?;
        if pool.width == 0 {
            return kernels::BatchNormGradientWide {
                x,
                grad_y,
                weight,
                bias,
                mean,
                var,
                grad_weight,
                grad_bias,
                grad_x,
                eps,
                relu,
                matrix,
            }
            .launch(driver, grid);
        }
        kernels::BatchNormGradientWidePool {
            x,
            grad_y,
            weight,
            bias,
            mean,
            var,
            grad_weight,
            grad_bias,
            grad_x,
            eps,
            relu,
            matrix,
            pool,
        }
        .launch(driver, grid)
    }
}
