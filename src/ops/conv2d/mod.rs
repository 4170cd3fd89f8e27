//! 3×3 convolution, stride 1, padding 1: every linear map of the VGG but the last.
//!
//! With `x [H, W, N, C]`, `w [3·3, C, K]`, `b [K]`, and taps (i, j) whose input pixel lies on the map:
//!
//! ```text
//! y[h, w, n, k]  = b[k] + Σ_ij Σ_c x[h+i−1, w+j−1, n, c] · w[ij, c, k]
//! dx[h, w, n, c] = Σ_ij Σ_k dy[h−i+1, w−j+1, n, k] · w[ij, c, k]
//! dw[ij, c, k]   = Σ_hw Σ_n x[h+i−1, w+j−1, n, c] · dy[h, w, n, k]          db[k] = Σ dy[·, k]
//! ```
//!
//! Padding is never multiplied, which saves 31 % of the arithmetic at 4×4 and 56 % at 2×2. Source: the paper's VGG (Simonyan and Zisserman 2015),
//! PyTorch's `conv2d(padding=1)`.
//!
//! In f32 the CPU takes fewer multiplications than these formulas where the shape allows it ([`Algorithm`], [`winograd`]); at VGG-16's shapes its
//! relative error (L2) is then at most 3e-6 against f64. [`Conv2d::convolve_directly`] asks for the formulas themselves everywhere. f64 always uses
//! them ([`direct`]).

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

/// The extents of a convolution.
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
    /// The extents, taken from the tensors' shapes. Errors: the shapes do not agree.
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
    /// Computes every later convolution directly, as the definition says; this takes more time and rounds differently. Call it before a workspace is
    /// planned. It has no effect on a backend that has no other algorithm.
    fn convolve_directly(&mut self) {}
    /// The shape of the workspace that the forward and backward passes need, in the backend's dtype.
    fn conv2d_workspace(&self, map: Map) -> Shape;
    /// Writes `y [H, W, N, K]` from `x [H, W, N, C]`, `weight [9, C, K]` and `bias [K]`.
    fn conv2d(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()>;
    /// The neighbouring operations that [`Conv2d::conv2d_fused`] can do in the same pass; none unless a backend overrides this.
    fn conv2d_epilogues(&self) -> Fusion {
        Fusion::default()
    }
    /// Does what [`Conv2d::conv2d`] does, and what `fusion` asks for: the ReLU on y, and mean and variance `[K]` of every channel of y, written to
    /// `moments` for the norm that follows. Errors: `fusion` asks for something that this backend cannot do, or for moments without a place.
    fn conv2d_fused(
        &mut self,
        x: In,
        weight: In,
        bias: Option<In>,
        fusion: Fusion,
        moments: Option<[Out; 2]>,
        y: Out,
        workspace: Out,
    ) -> Result<()> {
        let _ = (x, weight, bias, moments, y, workspace);
        Err(Error::operator("conv2d", "a convolution by itself", format!("{fusion:?}")))
    }
    /// Whether [`Conv2d::conv2d_backward`] can leave the gradients of a norm below ([`WeightGrads::norm`]) on this map.
    fn conv2d_leaves_norm_grads(&self, map: Map) -> bool {
        let _ = map;
        false
    }
    /// Whether [`Conv2d::conv2d_backward`] can update the weight by its gradient ([`WeightGrads::update`]) on this map.
    fn conv2d_updates_weight(&self, map: Map) -> bool {
        let _ = map;
        false
    }
    /// Writes the gradients that `grads` asks for, from the forward pass's operands and `grad_y [H, W, N, K]`.
    fn conv2d_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()>;
}
