//! The linear layer in which a classifier ends, on a device: `kernels/head.cu`. It has ten outputs; every other linear layer takes the convolution's
//! kernels.

use super::{Extents, OP};
use crate::ops::cross_entropy::LossOut;
use crate::ops::implicit_gemm::aligned;
use crate::ops::weight_grads::NormBelow;
use crate::runtime::cuda::backend::PARTIALS;
use crate::runtime::cuda::driver::{Driver, Grid, Slice, SliceMut, Stored};
use crate::runtime::cuda::kernels::{self, Norming};
use crate::runtime::cuda::{Cuda, DeviceBorrow, Mode, count};
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

/// The outputs of such a layer.
const OUTPUTS: usize = 10;
/// Inputs whose gradients a block makes.
const INPUTS_EACH: usize = 8;
/// Rows of x are whole vectors of 16 bytes, in bf16 and in f32.
const VECTOR: usize = 8;
/// Samples at most: a block's gradients are from all of them.
const MOST_SAMPLES: usize = 2048;
/// Samples of a block, whose warps take one each at a time.
const SAMPLES_EACH: usize = 4;

/// Whether a layer of these extents is such a layer.
pub(super) fn takes(extents: Extents) -> bool {
    let Extents { n, i, o } = extents;
    o == OUTPUTS && i.is_multiple_of(VECTOR) && (1..=MOST_SAMPLES).contains(&n)
}

/// Whether its outputs can be made of these operands.
pub(super) fn reads<T: Stored>(x: &Slice<'_, T>, weight: &Slice<'_, T>) -> bool {
    aligned::<T>(&[x.region, weight.region], &[]) == 1
}

/// Whether its gradients can be made of this one.
pub(super) fn reads_gradient<T: Stored>(grad_y: &Slice<'_, T>) -> bool {
    aligned::<T>(&[grad_y.region], &[]) == 1
}

/// What its kernels take of extents and precision: samples, inputs, and whether operands are rounded to tf32.
fn numbers(mode: Mode, extents: Extents) -> Result<[u32; 3]> {
    Ok([count(OP, extents.n)?, count(OP, extents.i)?, u32::from(mode == Mode::Tf32)])
}

/// `y = x w + b`
pub(super) fn outputs<D: Driver, T: Stored>(
    driver: &mut D,
    mode: Mode,
    extents: Extents,
    (x, weight, bias): (Slice<'_, T>, Slice<'_, T>, Option<Slice<'_, f32>>),
    out: &mut SliceMut<'_, T>,
) -> Result<()> {
    let [samples, inputs, tf32] = numbers(mode, extents)?;
    kernels::Head { x, weight, bias, out, samples, inputs, tf32 }.launch(driver, grid(extents))
}

/// A warp for each sample.
fn grid(extents: Extents) -> Grid {
    Grid::new(extents.n.div_ceil(SAMPLES_EACH), 32 * SAMPLES_EACH as u32)
}

impl<D: Driver> Cuda<D> {
    /// See [`super::Linear::linear_cross_entropy`].
    pub(super) fn head_cross_entropy<T: Stored>(
        &mut self,
        (x, weight, bias): (In, In, Option<In>),
        y: Out,
        labels: In,
        out: LossOut,
    ) -> Result<bool> {
        let extents = Extents::of(x.0.shape, weight.0.shape, bias.map(|b| b.0.shape), y.0.shape)?;
        if !takes(extents) {
            return Ok(false);
        }
        let Extents { n, o, .. } = extents;
        let grad = out.grad.map_or(n * o, |grad| grad.0.shape.len());
        let found = [labels.0.shape.len(), out.sample.0.shape.len(), grad];
        if found != [n, n, n * o] {
            let expected = format!("{n} labels, losses of {n} samples and a gradient of {}", n * o);
            return Err(Error::operator(OP, expected, format!("{found:?}")));
        }
        let (mode, partials, tickets) = (self.mode(), self.partials(), self.tickets());
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) = (views.read::<T>(x)?, views.read::<T>(weight)?, views.read_some::<f32>(bias)?);
        if !reads(&x, &weight) {
            return Ok(false);
        }
        let (mut y, labels, mut samples) =
            (views.write::<T>(y)?, views.read::<u32>(labels)?, views.write::<f64>(out.sample)?);
        let (mut loss, mut correct) = (views.write::<f64>(out.loss)?, views.write::<f64>(out.correct)?);
        let (mut grad, mut right) = (views.write_some::<T>(out.grad)?, views.write::<f64>(partials)?);
        let mut tickets = views.write::<u32>(tickets)?;
        let [count_n, inputs, tf32] = numbers(mode, extents)?;
        kernels::HeadCrossEntropy {
            x,
            weight,
            bias,
            out: &mut y,
            labels,
            sample: &mut samples,
            right: &mut right,
            loss: &mut loss,
            correct: &mut correct,
            grad: grad.as_mut(),
            tickets: &mut tickets.first(1),
            samples: count_n,
            inputs,
            tf32,
        }
        .launch(driver, grid(extents))?;
        Ok(true)
    }
}

// Each block leaves its number of right answers there.
const _: () = assert!(MOST_SAMPLES.div_ceil(SAMPLES_EACH) <= PARTIALS);

/// Where its gradients go.
pub(super) struct HeadGrads<'s, T> {
    pub x: Option<SliceMut<'s, T>>,
    pub weight: Option<SliceMut<'s, f32>>,
    pub bias: Option<SliceMut<'s, f32>>,
    pub norm: Option<NormBelow>,
}

/// All gradients in one launch, those of the norm below too. Errors: the norm's tensors do not fit x.
pub(super) fn gradients<D: Driver, T: Stored>(
    driver: &mut D,
    views: &mut DeviceBorrow<'_>,
    mode: Mode,
    extents: Extents,
    (x, weight, grad_y): (Slice<'_, T>, Slice<'_, T>, Slice<'_, T>),
    grads: HeadGrads<'_, T>,
) -> Result<()> {
    let Extents { n, i, .. } = extents;
    let [samples, inputs, tf32] = numbers(mode, extents)?;
    let HeadGrads { x: mut grad_x, weight: mut grad_weight, bias: mut grad_bias, norm } = grads;
    let fits = |norm: &NormBelow| {
        let NormBelow { weight, bias, mean, spread, grad_weight, grad_bias, .. } = norm;
        let units = [weight.0, bias.0, mean.0, spread.0, grad_weight.0, grad_bias.0];
        norm.x.0.shape.len() == n * i && units.iter().all(|view| view.shape.len() == i)
    };
    if let Some(norm) = norm.as_ref().filter(|norm| !fits(norm)) {
        let expected = format!("a norm below of {n} rows of {i} channels");
        return Err(Error::operator(OP, expected, format!("x {}, γ {}", norm.x.0.shape, norm.weight.0.shape)));
    }
    let norming = norm.map_or(Norming { eps: 0.0, kind: 0, relu: 0 }, |of| Norming {
        eps: of.eps,
        kind: of.divisor.kind(),
        relu: u32::from(of.relu),
    });
    let norm_x = views.read_some::<T>(norm.map(|of| of.x))?;
    let gamma = views.read_some::<f32>(norm.map(|of| of.weight))?;
    let beta = views.read_some::<f32>(norm.map(|of| of.bias))?;
    let mean = views.read_some::<f32>(norm.map(|of| of.mean))?;
    let spread = views.read_some::<f32>(norm.map(|of| of.spread))?;
    let mut grad_gamma = views.write_some::<f32>(norm.map(|of| of.grad_weight))?;
    let mut grad_beta = views.write_some::<f32>(norm.map(|of| of.grad_bias))?;
    // The bias is an input after the last.
    let blocks = (i + usize::from(grad_bias.is_some())).div_ceil(INPUTS_EACH);
    kernels::HeadGradients {
        x,
        weight,
        grad_y,
        grad_x: grad_x.as_mut(),
        grad_weight: grad_weight.as_mut(),
        grad_bias: grad_bias.as_mut(),
        norm_x,
        gamma,
        beta,
        mean,
        spread,
        grad_gamma: grad_gamma.as_mut(),
        grad_beta: grad_beta.as_mut(),
        norming,
        samples,
        inputs,
        tf32,
    }
    .launch(driver, Grid::new(blocks, 256))
}
