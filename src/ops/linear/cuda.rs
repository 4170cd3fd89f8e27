//! Linear layers on a device. The driver computes large products (with cuBLAS on a GPU), kernels of its own a layer of ten outputs, and the convolution's
//! kernels, with one tap, all others.

use super::cuda_head::{self, HeadGrads};
use super::{Extents, Linear, OP};
use crate::Result;
use crate::ops::cross_entropy::LossOut;
use crate::ops::implicit_gemm::{self, Direction, Epilogue, Shares, bias_gradient, product, weight_gradient};
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::cuda::driver::{Driver, Gemm, Grid, Operand, Pass, Slice, SliceMut, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use half::bf16;

impl Extents {
    fn as_taps(self) -> implicit_gemm::Extents {
        let Extents { n, i, o } = self;
        implicit_gemm::Extents { height: 1, width: 1, batch: n, inputs: i, outputs: o, taps: 1 }
    }
}

/// The number of multiplications from which on the driver computes a product; below it, the driver's overhead exceeds the gain.
const LARGE: usize = 1 << 27;

/// Whether the driver computes a layer's products.
fn large(driver: &mut impl Driver, extents: &implicit_gemm::Extents) -> bool {
    is_large(extents) && driver.has_gemm()
}

/// Whether it does so if it can.
fn is_large(extents: &implicit_gemm::Extents) -> bool {
    extents.batch.saturating_mul(extents.inputs).saturating_mul(extents.outputs) >= LARGE
}

/// `out [m, n] = a [m, k] · b [k, n]` by the driver; each of a and b may be transposed.
fn dense<D: Driver, T: Stored, R: Stored>(
    driver: &mut D,
    mode: Mode,
    [m, n, k]: [usize; 3],
    (a, across_a): (Slice<'_, T>, bool),
    (b, across_b): (Slice<'_, T>, bool),
    out: &mut SliceMut<'_, R>,
) -> Result<()> {
    let a = Operand { region: a.region, transposed: across_a };
    let b = Operand { region: b.region, transposed: across_b };
    let (operands, result, tf32) = (T::DTYPE, R::DTYPE, mode == Mode::Tf32);
    driver.gemm(Gemm { m, n, k, a, b, operands, tf32, out: out.region, result })
}

impl<D: Driver> Cuda<D> {
    fn linear_in<T: Stored>(&mut self, x: In, weight: In, bias: Option<In>, y: Out) -> Result<()> {
        let extents = Extents::of(x.0.shape, weight.0.shape, bias.map(|b| b.0.shape), y.0.shape)?;
        let mode = self.mode();
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) = (views.read::<T>(x)?, views.read::<T>(weight)?, views.read_some::<f32>(bias)?);
        let mut y = views.write::<T>(y)?;
        if cuda_head::takes(extents) && cuda_head::reads(&x, &weight) {
            return cuda_head::outputs(driver, mode, extents, (x, weight, bias), &mut y);
        }
        let extents = extents.as_taps();
        if large(driver, &extents) {
            let implicit_gemm::Extents { batch: n, inputs: i, outputs: o, .. } = extents;
            dense(driver, mode, [n, o, i], (x, false), (weight, false), &mut y)?;
            let Some(bias) = bias else { return Ok(()) };
            let (len, columns) = (count(OP, n * o)?, count(OP, o)?);
            return kernels::AddBias { bias, y: &mut y, columns, len }.launch(driver, Grid::cover(n * o, 8, 256));
        }
        product(driver, OP, mode, extents, Direction::Forward, x, weight, bias, &mut y, Epilogue::NONE)
    }

    fn linear_gradient_in<T: Stored>(
        &mut self,
        x: In,
        weight: In,
        grad_y: In,
        grads: WeightGrads,
        workspace: Out,
    ) -> Result<()> {
        grads.without_update(OP)?;
        let extents = Extents::of(x.0.shape, weight.0.shape, None, grad_y.0.shape)?;
        let (mode, tickets) = (self.mode(), self.tickets());
        let (driver, mut views) = self.begin(OP);
        let (x, weight, dy) = (views.read::<T>(x)?, views.read::<T>(weight)?, views.read::<T>(grad_y)?);
        let (grad_x, grad_weight) = (views.write_some::<T>(grads.x)?, views.write_some::<f32>(grads.weight)?);
        let grad_bias = views.write_some::<f32>(grads.bias)?;
        if cuda_head::takes(extents) && cuda_head::reads_gradient(&dy) {
            let to = HeadGrads { x: grad_x, weight: grad_weight, bias: grad_bias, norm: grads.norm };
            return cuda_head::gradients(driver, &mut views, mode, extents, (x, weight, dy), to);
        }
        let extents = extents.as_taps();
        let room = (views.write::<f32>(workspace)?, views.write::<u32>(tickets)?);
        let Shares { mut workspace, mut tickets, mut below } =
            extents.share::<T>(OP, mode, &mut views, grads.norm, room)?;
        let epilogue = Epilogue { below: below.as_mut(), ..Epilogue::NONE };
        if large(driver, &extents) {
            let implicit_gemm::Extents { batch: n, inputs: i, outputs: o, .. } = extents;
            if let Some(mut dx) = grad_x {
                driver.enter_pass(Pass::InputGradient);
                dense(driver, mode, [n, i, o], (dy, false), (weight, true), &mut dx)?;
            }
            if let Some(mut dw) = grad_weight {
                driver.enter_pass(Pass::WeightGradient);
                dense(driver, mode, [i, o, n], (x, true), (dy, false), &mut dw)?;
            }
        } else {
            if let Some(mut dx) = grad_x {
                product(driver, OP, mode, extents, Direction::Backward, dy, weight, None, &mut dx, epilogue)?;
            }
            if let Some(mut dw) = grad_weight {
                weight_gradient(driver, OP, mode, extents, x, dy, &mut dw, &mut workspace, &mut tickets)?;
            }
        }
        match grad_bias {
            Some(mut db) => bias_gradient(driver, OP, extents, dy, &mut db, &mut workspace, &mut tickets),
            None => Ok(()),
        }
    }
}

impl<D: Driver> Linear for Cuda<D> {
    fn linear_workspace(&self, extents: Extents) -> Shape {
        extents.as_taps().workspace(self.mode())
    }

    fn linear(&mut self, x: In, weight: In, bias: Option<In>, y: Out, _workspace: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.linear_in::<bf16>(x, weight, bias, y),
            _ => self.linear_in::<f32>(x, weight, bias, y),
        }
    }

    fn linear_cross_entropy(
        &mut self,
        x: In,
        weight: In,
        bias: Option<In>,
        y: Out,
        labels: In,
        out: LossOut,
    ) -> Result<bool> {
        match self.mode() {
            Mode::Bf16 => self.head_cross_entropy::<bf16>((x, weight, bias), y, labels, out),
            _ => self.head_cross_entropy::<f32>((x, weight, bias), y, labels, out),
        }
    }

    fn linear_leaves_norm_grads(&self, extents: Extents) -> bool {
        if cuda_head::takes(extents) {
            return true;
        }
        let extents = extents.as_taps();
        // The driver's products leave nothing else.
        !is_large(&extents) && extents.leaves_norm_grads(self.mode())
    }

    fn linear_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.linear_gradient_in::<bf16>(x, weight, grad_y, grads, workspace),
            _ => self.linear_gradient_in::<f32>(x, weight, grad_y, grads, workspace),
        }
    }
}
