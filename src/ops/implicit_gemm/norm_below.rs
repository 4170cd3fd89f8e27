//! The norm below an input's gradient, as kernels take it: `kernels/norm_below.cuh`.

use super::extents::Extents;
use crate::ops::launch_grid;
use crate::ops::weight_grads::NormBelow;
use crate::runtime::cuda::DeviceBorrow;
use crate::runtime::cuda::Mode;
use crate::runtime::cuda::driver::{Slice, SliceMut, Stored};
use crate::runtime::cuda::kernels::Norming;
use crate::{Error, Result};

/// The norm whose dy an input's gradient is, and what the kernels need to leave its gradients.
pub struct Below<'s, T> {
    /// x of the norm, or what its pool chose of it: it lies like dy.
    pub x: Slice<'s, T>,
    /// γ
    pub gamma: Slice<'s, f32>,
    /// β
    pub beta: Slice<'s, f32>,
    /// μ
    pub mean: Slice<'s, f32>,
    /// σ² or s
    pub spread: Slice<'s, f32>,
    /// How it divides, and whether the ReLU follows.
    pub norming: Norming,
    /// Σdy and Σdy·ŷ of every column, for each tile of rows.
    pub sums: SliceMut<'s, f64>,
    /// dγ
    pub grad_gamma: SliceMut<'s, f32>,
    /// dβ
    pub grad_beta: SliceMut<'s, f32>,
    /// Tickets that the weight's gradient does not use.
    pub tickets: SliceMut<'s, u32>,
}

/// A norm below as kernels take it that are launched without one too.
pub(super) struct OfNorm<'e, 's, T> {
    pub norm_x: Option<Slice<'s, T>>,
    pub gamma: Option<Slice<'s, f32>>,
    pub beta: Option<Slice<'s, f32>>,
    pub mean: Option<Slice<'s, f32>>,
    pub spread: Option<Slice<'s, f32>>,
    pub norming: Norming,
    pub sums: Option<&'e mut SliceMut<'s, f64>>,
    pub grad_gamma: Option<&'e mut SliceMut<'s, f32>>,
    pub grad_beta: Option<&'e mut SliceMut<'s, f32>>,
    pub norm_tickets: Option<&'e mut SliceMut<'s, u32>>,
}

impl<'e, 's, T: Stored> OfNorm<'e, 's, T> {
    /// None of it without a norm.
    pub fn of(below: Option<&'e mut Below<'s, T>>) -> Self {
        let Some(of) = below else {
            let norming = Norming { eps: 0.0, kind: 0, relu: 0 };
            let (norm_x, gamma, beta, mean, spread) = (None, None, None, None, None);
            let (sums, grad_gamma, grad_beta, norm_tickets) = (None, None, None, None);
            return OfNorm { norm_x, gamma, beta, mean, spread, norming, sums, grad_gamma, grad_beta, norm_tickets };
        };
        OfNorm {
            norm_x: Some(of.x),
            gamma: Some(of.gamma),
            beta: Some(of.beta),
            mean: Some(of.mean),
            spread: Some(of.spread),
            norming: of.norming,
            sums: Some(&mut of.sums),
            grad_gamma: Some(&mut of.grad_gamma),
            grad_beta: Some(&mut of.grad_beta),
            norm_tickets: Some(&mut of.tickets),
        }
    }
}

/// Workspace and tickets of the gradients of one layer: those of the weight and the bias, and those of a norm below.
pub struct Shares<'s, T> {
    /// For the weight and the bias.
    pub workspace: SliceMut<'s, f32>,
    /// Likewise.
    pub tickets: SliceMut<'s, u32>,
    /// The norm with its own.
    pub below: Option<Below<'s, T>>,
}

impl Extents {
    /// Shares out workspace and tickets, and resolves the norm below. Errors: its tensors do not fit x, or its gradients cannot be left.
    pub fn share<'s, T: Stored>(
        &self,
        op: &'static str,
        mode: Mode,
        views: &mut DeviceBorrow<'s>,
        norm: Option<NormBelow>,
        (workspace, tickets): (SliceMut<'s, f32>, SliceMut<'s, u32>),
    ) -> Result<Shares<'s, T>> {
        let Some(norm) = norm else { return Ok(Shares { workspace, tickets, below: None }) };
        let per_column = [norm.weight.0, norm.bias.0, norm.mean.0, norm.spread.0, norm.grad_weight.0, norm.grad_bias.0];
        if norm.x.0.shape.len() != self.rows() * self.inputs
            || per_column.iter().any(|view| view.shape.len() != self.inputs)
        {
            let expected = format!("a norm below of {} rows of {} channels", self.rows(), self.inputs);
            return Err(Error::operator(op, expected, format!("x {}, γ {}", norm.x.0.shape, norm.weight.0.shape)));
        }
        if !self.leaves_norm_grads(mode) {
            return Err(Error::operator(op, "extents and a precision at which a norm's gradients are left", "others"));
        }
        let [workspace, sums] = workspace.split(self.before_norm_sums(mode));
        let [sums, _] = sums.split(2 * self.norm_sums(mode));
        let half = tickets.len() / 2;
        let [tickets, own] = tickets.split(half);
        let [own, _] = own.split(launch_grid::tickets_of(self.inputs.div_ceil(32)));
        let below = Below {
            x: views.read::<T>(norm.x)?,
            gamma: views.read::<f32>(norm.weight)?,
            beta: views.read::<f32>(norm.bias)?,
            mean: views.read::<f32>(norm.mean)?,
            spread: views.read::<f32>(norm.spread)?,
            norming: Norming { eps: norm.eps, kind: norm.divisor.kind(), relu: u32::from(norm.relu) },
            sums: sums.retyped::<f64>(),
            grad_gamma: views.write::<f32>(norm.grad_weight)?,
            grad_beta: views.write::<f32>(norm.grad_bias)?,
            tickets: own,
        };
        Ok(Shares { workspace, tickets, below: Some(below) })
    }
}
