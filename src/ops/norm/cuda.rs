//! The norms on a device: each pass is forwarded to the module that its axes name.

use super::{Axes, Norm, NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents};
use crate::Result;
use crate::ops::launch_grid;
use crate::runtime::cuda::driver::Driver;
use crate::runtime::cuda::{Cuda, in_storage_type};
use crate::runtime::tensor::{In, Shape};

impl<D: Driver> Norm for Cuda<D> {
    fn norm_workspace(&self, spec: &NormSpec, x: Shape) -> Shape {
        match spec.axes {
            Axes::Batch => launch_grid::workspace(x),
            Axes::Groups(_) => super::group::cuda::workspace(x),
        }
    }

    fn norm_pools(&self) -> bool {
        true
    }

    fn norm_forward(&mut self, spec: NormSpec, pass: NormPass) -> Result<()> {
        spec.check()?;
        match spec.axes {
            Axes::Batch => in_storage_type!(self, T => self.batch_norm::<T>(&spec, pass)),
            Axes::Groups(_) => in_storage_type!(self, T => self.group_norm::<T>(&spec, pass)),
        }
    }

    fn norm_statistics(&mut self, spec: NormSpec, pass: NormPass) -> Result<()> {
        spec.check()?;
        in_storage_type!(self, T => self.batch_statistics::<T>(&spec, &pass))
    }

    fn norm_eval(&mut self, spec: NormSpec, pass: NormPass) -> Result<()> {
        spec.check()?;
        let spec = NormSpec { noise: None, ..spec };
        in_storage_type!(self, T => self.norm_apply::<T>(&spec, pass))
    }

    fn norm_backward(&mut self, spec: NormSpec, pass: NormPass, grad_y: In, grads: NormGrads) -> Result<()> {
        spec.check()?;
        match spec.axes {
            Axes::Batch => in_storage_type!(self, T => self.batch_norm_gradient::<T>(&spec, pass, grad_y, grads)),
            Axes::Groups(_) => in_storage_type!(self, T => self.group_norm_gradient::<T>(&spec, pass, grad_y, grads)),
        }
    }

    fn norm_tangent(&mut self, spec: NormSpec, pass: NormPass, tangents: NormTangents) -> Result<()> {
        spec.check()?;
        match spec.axes {
            Axes::Batch => self.batch_norm_tangent(&spec, pass, tangents),
            Axes::Groups(_) => self.group_norm_tangent(&spec, pass, tangents),
        }
    }

    fn norm_tangent_backward(&mut self, spec: NormSpec, pass: NormPass, io: NormTangentBackward) -> Result<()> {
        spec.check()?;
        match spec.axes {
            Axes::Batch => self.batch_norm_tangent_backward(&spec, pass, io),
            Axes::Groups(_) => self.group_norm_tangent_backward(&spec, pass, io),
        }
    }
}
