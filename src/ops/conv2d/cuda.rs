//! 3×3 convolution on a device: products over the taps that lie on the map; see [`crate::ops::implicit_gemm`].

use super::{Conv2d, Map};
use crate::ops::fusion::Fusion;
use crate::ops::implicit_gemm::{
    Direction, Epilogue, Extents, Moments, Shares, bias_gradient, gradients, product, weight_gradient,
};
use crate::ops::sgd::Descending;
use crate::ops::weight_grads::WeightGrads;
use crate::runtime::cuda::driver::{Driver, Stored};
use crate::runtime::cuda::{Cuda, Mode};
use crate::runtime::tensor::{In, Out, Shape};
use crate::{Error, Result};
use half::bf16;

const OP: &str = "conv2d";

impl Map {
    fn extents(self) -> Extents {
        let Map { h, w, n, c, k } = self;
        Extents { height: h, width: w, batch: n, inputs: c, outputs: k, taps: 9 }
    }
}

impl<D: Driver> Cuda<D> {
    fn conv2d_in<T: Stored>(
        &mut self,
        x: In,
        weight: In,
        bias: Option<In>,
        fusion: Fusion,
        moments: Option<[Out; 2]>,
        y: Out,
        workspace: Out,
    ) -> Result<()> {
        let extents = Map::of(x.0.shape, weight.0.shape, bias.map(|b| b.0.shape), y.0.shape)?.extents();
        let (mode, tickets) = (self.mode(), self.tickets());
        let moments = match moments.filter(|_| fusion.leave_moments) {
            None if fusion.leave_moments => return Err(Error::operator(OP, "a place for the moments of y", "none")),
            Some(of) if of.iter().any(|of| of.0.shape.len() != extents.outputs) => {
                let found = format!("{} and {}", of[0].0.shape, of[1].0.shape);
                return Err(Error::operator(OP, "a mean and a variance for each channel", found));
            }
            moments => moments,
        };
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) = (views.read::<T>(x)?, views.read::<T>(weight)?, views.read_some::<f32>(bias)?);
        let (mut y, mut workspace) = (views.write::<T>(y)?, views.write::<f32>(workspace)?);
        let mut moments = match moments {
            None => None,
            Some([mean, var]) => Some(Moments {
                sums: workspace.cast::<f64>(extents.sums(mode)),
                mean: views.write::<f32>(mean)?,
                var: views.write::<f32>(var)?,
                tickets: views.write::<u32>(tickets)?,
            }),
        };
        let epilogue = Epilogue { relu: fusion.relu, moments: moments.as_mut(), below: None };
        product(driver, OP, mode, extents, Direction::Forward, x, weight, bias, &mut y, epilogue)
    }

    fn conv2d_gradient_in<T: Stored>(
        &mut self,
        x: In,
        weight: In,
        grad_y: In,
        grads: WeightGrads,
        workspace: Out,
    ) -> Result<()> {
        let extents = Map::of(x.0.shape, weight.0.shape, None, grad_y.0.shape)?.extents();
        let (mode, tickets) = (self.mode(), self.tickets());
        let (driver, mut views) = self.begin(OP);
        let (x, weight, dy) = (views.read::<T>(x)?, views.read::<T>(weight)?, views.read::<T>(grad_y)?);
        let (grad_x, grad_weight) = (views.write_some::<T>(grads.x)?, views.write_some::<f32>(grads.weight)?);
        let grad_bias = views.write_some::<f32>(grads.bias)?;
        let room = (views.write::<f32>(workspace)?, views.write::<u32>(tickets)?);
        let Shares { mut workspace, mut tickets, mut below } =
            extents.share::<T>(OP, mode, &mut views, grads.norm, room)?;
        let update = match (grads.update, grads.weight) {
            (Some(of), Some(grad)) => Some(Descending::of(&mut views, grad.into(), of)?),
            _ => None,
        };
        let (below, room) = (below.as_mut(), (&mut workspace, &mut tickets));
        if grads.update.is_some() && (grad_x.is_none() || grad_weight.is_none()) {
            return Err(Error::operator(OP, "places for both gradients beside a weight's update", "fewer"));
        }
        match (grad_x, grad_weight) {
            (Some(mut dx), Some(mut dw)) => {
                gradients(driver, OP, mode, extents, x, weight, dy, &mut dx, &mut dw, below, update, room)?;
            }
            (Some(mut dx), None) => {
                let epilogue = Epilogue { below, ..Epilogue::NONE };
                product(driver, OP, mode, extents, Direction::Backward, dy, weight, None, &mut dx, epilogue)?;
            }
            (None, Some(mut dw)) => {
                weight_gradient(driver, OP, mode, extents, x, dy, &mut dw, room.0, room.1)?;
            }
            (None, None) => {}
        }
        match grad_bias {
            Some(mut db) => bias_gradient(driver, OP, extents, dy, &mut db, &mut workspace, &mut tickets),
            None => Ok(()),
        }
    }
}

impl<D: Driver> Conv2d for Cuda<D> {
    fn conv2d_workspace(&self, map: Map) -> Shape {
        map.extents().workspace(self.mode())
    }

    fn conv2d(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        self.conv2d_fused(x, weight, bias, Fusion::default(), None, y, workspace)
    }

    fn conv2d_epilogues(&self) -> Fusion {
        Fusion { relu: true, leave_moments: true, ..Fusion::default() }
    }

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
        match self.mode() {
            Mode::Bf16 => self.conv2d_in::<bf16>(x, weight, bias, fusion, moments, y, workspace),
            _ => self.conv2d_in::<f32>(x, weight, bias, fusion, moments, y, workspace),
        }
    }

    fn conv2d_leaves_norm_grads(&self, map: Map) -> bool {
        map.extents().leaves_norm_grads(self.mode())
    }

    fn conv2d_updates_weight(&self, map: Map) -> bool {
        map.extents().updates_weight(self.mode(), self.properties())
    }

    fn conv2d_backward(&mut self, x: In, weight: In, grad_y: In, grads: WeightGrads, workspace: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.conv2d_gradient_in::<bf16>(x, weight, grad_y, grads, workspace),
            _ => self.conv2d_gradient_in::<f32>(x, weight, grad_y, grads, workspace),
        }
    }
}
