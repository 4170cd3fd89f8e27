//! 3×3 convolution, stride 1, padding 1: the VGG's only linear map but the last.
//!
//! With `x [H, W, N, C]`, `w [3·3, C, K]`, `b [K]`, and taps (i, j) whose input pixel lies on the map:
//!
//! ```text
//! y[h, w, n, k]  = b[k] + Σ_ij Σ_c x[h+i−1, w+j−1, n, c] · w[ij, c, k]
//! dx[h, w, n, c] = Σ_ij Σ_k dy[h−i+1, w−j+1, n, k] · w[ij, c, k]
//! dw[ij, c, k]   = Σ_hw Σ_n x[h+i−1, w+j−1, n, c] · dy[h, w, n, k]          db[k] = Σ dy[·, k]
//! ```
//!
//! Padding is never multiplied: at 4×4 that saves 31 % of the arithmetic, at 2×2 56 %. Source: the paper's VGG (Simonyan and
//! Zisserman 2015), PyTorch's `conv2d(padding=1)`.
//!
//! In f32 the CPU takes fewer multiplications than that where the shape allows it ([`Algorithm`], [`winograd`]): at VGG-16's shapes with a
//! relative error (L2) of at most 3e-6 against f64. [`Conv2d::convolve_directly`] asks for these everywhere; in f64
//! they are all there is ([`direct`]).

pub mod algorithm;
pub mod cases;
pub mod cpu;
mod cuda;
pub mod direct;
mod layer;
pub mod winograd;

pub use algorithm::Algorithm;
pub use layer::{Conv2dLayer, OPERATOR};

use crate::ops::fusion::Fusion;
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};

/// Extents of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// Height of the map.
    pub h: usize,
    /// Width of the map.
    pub w: usize,
    /// Batch size.
    pub n: usize,
    /// Input channels.
    pub c: usize,
    /// Output channels.
    pub k: usize,
}

impl Map {
    /// The extents that the tensors' shapes agree on. Errors: they do not.
    pub fn of(x: Shape, weight: Shape, bias: Option<Shape>, y: Shape) -> Result<Map> {
        let [h, w, n, c] = x.hwnc();
        let k = y.hwnc()[3];
        let fits = weight == Shape::new([9, c, k]) && y.hwnc() == [h, w, n, k] && bias.is_none_or(|b| b.len() == k);
        if fits {
            return Ok(Map { h, w, n, c, k });
        }
        let expected = "x H×W×N×C, weight 9×C×K, bias K, y H×W×N×K";
        Err(Error::operator("conv2d", expected, format!("x {x}, weight {weight}, y {y}")))
    }
}

/// 3×3 convolution.
pub trait Conv2d {
    /// From now on every convolution is the direct sum of its definition, which takes more time and other roundings. To be asked for before a
    /// workspace is planned. Without effect on a backend that knows nothing else.
    fn convolve_directly(&mut self) {}
    /// The shape of the workspace that both directions need, in the backend's dtype.
    fn conv2d_workspace(&self, map: Map) -> Shape;
    /// Writes `y [H, W, N, K]` from `x [H, W, N, C]`, `weight [9, C, K]` and `bias [K]`.
    fn conv2d(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()>;
    /// What [`Conv2d::conv2d_fused`] can do in the same pass: nothing, unless a backend says so.
    fn conv2d_epilogues(&self) -> Fusion {
        Fusion::default()
    }
    /// As [`Conv2d::conv2d`], and the ReLU on y; and y's sums in the workspace, for the norm that follows: as `fusion` asks. Errors: it
    /// asks for what this backend does not do.
    fn conv2d_fused(
        &mut self,
        x: In,
        weight: In,
        bias: Option<In>,
        fusion: Fusion,
        y: Out,
        workspace: Out,
    ) -> Result<()> {
        let _ = (x, weight, bias, y, workspace);
        Err(Error::operator("conv2d", "a convolution by itself", format!("{fusion:?}")))
    }
    /// Writes the gradients asked for, from the forward's operands and `grad_y [H, W, N, K]`.
    fn conv2d_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()>;
}
