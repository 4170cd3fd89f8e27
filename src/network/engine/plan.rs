//! The layout of the tensors of an engine's layers, decided once, before anything runs.

use super::super::chain::Network;
use super::super::layer::Layer;
use crate::ops::backend::Backend;
use crate::ops::fusion::Fusion;
use crate::ops::layer::Saved;
use crate::runtime::tensor::{ArenaPlan, DType, Shape, View};
use crate::{Error, Result};

/// The planned tensors of one layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub x: View,
    pub y: View,
    /// The statistics of its norm; those of the norm that follows, where it leaves them.
    pub saved: Saved,
    pub fusion: Fusion,
    /// Whether this is a ReLU or a pool that the layer before applies. x is then y, and the forward pass has nothing to do.
    pub applied: bool,
    /// Whether the backward pass has nothing to do either, as for a pool.
    pub gone: bool,
    /// The norm whose gradients the backward pass leaves.
    pub norm_below: Option<usize>,
    /// Whether the backward pass can update the weight beside its gradient. The first layer's cannot: it makes no gradient of its input.
    pub updates: bool,
}

/// The tensors of all layers.
pub(super) struct Laid {
    pub planned: Vec<Planned>,
    /// The output of the last layer.
    pub x: View,
    /// The number of elements of the largest workspace, and of the largest activation.
    pub workspace: usize,
    pub widest: usize,
    /// The factors with which batch statistics update the running ones.
    pub factors: Vec<f64>,
}

/// Lays out the layers' tensors for a batch of `batch` samples, which is in `input`. The norms save theirs in `statistics`, with the slots of the
/// running statistics. With `fused`, layers do for their neighbours what the backend can fuse; otherwise each layer works on its own.
pub(super) fn lay_out<B: Backend>(
    backend: &B,
    plan: &mut ArenaPlan,
    network: &Network,
    (batch, input): (usize, View),
    statistics: View,
    fused: bool,
) -> Result<Laid> {
    let dtype = backend.dtype();
    let mut factors = vec![1.0; network.running().len()];
    let (mut planned, mut x) = (Vec::with_capacity(network.links().len()), input);
    let (mut workspace, mut widest) = (0, 0);
    let epilogues = |layer: &Layer| if fused { layer.epilogues(backend) } else { Fusion::default() };
    for (index, link) in network.links().iter().enumerate() {
        let before = index.checked_sub(1).map(|at| &network.links()[at].layer);
        let can = before.map_or(Fusion::default(), epilogues);
        let take_moments = can.leave_moments && link.layer.takes_moments();
        let gone = planned.last().is_some_and(|before: &Planned| before.fusion.pool);
        let applied = gone || can.relu && link.layer.is_relu();
        if let Some(before) = planned.last_mut() {
            let before: &mut Planned = before;
            before.fusion.leave_moments = take_moments;
            before.fusion.relu = applied && !gone;
        }
        let next = network.links().get(index + 1).map(|link| &link.layer);
        let pool = epilogues(&link.layer).pool && next.is_some_and(|next| next.is_pool()) && even(x.shape);
        // A pool that is part of the norm's pass is no layer in between.
        let below = planned.iter().rposition(|before: &Planned| !before.gone);
        let norm_below = below.filter(|&at| {
            let takes = network.links()[at].layer.takes_norm_grads().is_some();
            fused && takes && link.layer.leaves_norm_grads(backend, x.shape)
        });
        if let Some(norm) = norm_below {
            let norm: &mut Planned = &mut planned[norm];
            norm.fusion.take_norm_grads = true;
            if norm.fusion.pool {
                norm.saved.chosen = Some(plan.view(x.shape, backend.activation_dtype()));
            }
        }
        let fusion = Fusion { take_moments, pool, ..Fusion::default() };
        // A pool's output is there already.
        let mut shape = if gone { x.shape } else { link.layer.output(x.shape)? };
        if let Some(next) = next.filter(|_| pool) {
            shape = next.output(shape)?;
        }
        let y = if applied { x } else { plan.view(checked(shape)?, backend.activation_dtype()) };
        let mut saved = Saved::default();
        if let (Some((_, divisor)), Some([mean, spread])) = (link.layer.statistics(x.shape), link.running) {
            let samples = x.shape.matrix().0;
            if samples < 2 {
                let place = format!("--batch {batch}");
                let problem = format!("{} would see one sample per unit, and map it to 0", link.name);
                return Err(Error::input(place, problem, "a norm on a 1×1 map needs a batch of at least 2"));
            }
            let [mean, spread] = [mean, spread].map(|slot| network.running().view(statistics, slot));
            factors[(spread.offset - statistics.offset) / dtype.size()..][..spread.shape.len()]
                .fill(divisor.running_factor(samples));
            saved = Saved { mean: Some(mean), spread: Some(spread), chosen: None };
        }
        if let Some(before) = planned.last_mut().filter(|_| take_moments) {
            let before: &mut Planned = before;
            before.saved = saved;
        }
        if let Some(shape) = link.layer.keeps(x.shape) {
            saved = kept(plan, shape, dtype);
        }
        workspace = workspace.max(link.layer.workspace(backend, x.shape).len());
        widest = widest.max(y.shape.len());
        let updates = fused && index > 0 && link.layer.updates_weight(backend, x.shape);
        planned.push(Planned { x, y, saved, fusion, applied, gone, norm_below, updates });
        x = y;
    }
    Ok(Laid { planned, x, workspace, widest, factors })
}

/// Places for the statistics of a layer that keeps them for itself.
pub(super) fn kept(plan: &mut ArenaPlan, shape: Shape, dtype: DType) -> Saved {
    let [mean, spread] = [0; 2].map(|_| Some(plan.view(shape, dtype)));
    Saved { mean, spread, chosen: None }
}

/// Whether every row and column of the map is in a 2×2 window.
fn even(x: Shape) -> bool {
    let [h, w, ..] = x.hwnc();
    h > 0 && w > 0 && h % 2 == 0 && w % 2 == 0
}

/// Checks that the shape could fit in memory at all.
pub(super) fn checked(shape: Shape) -> Result<Shape> {
    match shape.checked_len() {
        Some(len) if len <= isize::MAX as usize / 64 => Ok(shape),
        _ => Err(Error::input(
            "network",
            format!("{shape} activations fit in no memory"),
            "a smaller --batch or --width needs less",
        )),
    }
}
