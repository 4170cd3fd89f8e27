//! The norms on the CPU: each pass is forwarded to the module that its axes name.

use super::{Axes, Norm, NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents, batch, group};
use crate::Result;
use crate::runtime::cpu::Cpu;
use crate::runtime::float::Float;
use crate::runtime::tensor::{In, Shape};

impl<T: Float> Norm for Cpu<T> {
    fn norm_workspace(&self, spec: &NormSpec, x: Shape) -> Shape {
        match spec.axes {
            Axes::Batch => batch::cpu::workspace(x),
            Axes::Groups(_) => group::cpu::workspace(x),
        }
    }

    fn norm_forward(&mut self, spec: NormSpec, pass: NormPass) -> Result<()> {
        spec.check().and_then(|()| spec.without_pool())?;
        match spec.axes {
            Axes::Batch => batch::cpu::forward(self, spec, pass),
            Axes::Groups(_) => group::cpu::forward(self, spec, pass),
        }
    }

    fn norm_statistics(&mut self, spec: NormSpec, pass: NormPass) -> Result<()> {
        spec.check()?;
        batch::cpu::statistics(self, spec, pass)
    }

    fn norm_eval(&mut self, spec: NormSpec, pass: NormPass) -> Result<()> {
        spec.check().and_then(|()| spec.without_pool())?;
        batch::cpu::evaluate(self, spec, pass)
    }

    fn norm_backward(&mut self, spec: NormSpec, pass: NormPass, grad_y: In, grads: NormGrads) -> Result<()> {
        spec.check().and_then(|()| spec.without_pool())?;
        match spec.axes {
            Axes::Batch => batch::cpu::backward(self, spec, pass, grad_y, grads),
            Axes::Groups(_) => group::cpu::backward(self, spec, pass, grad_y, grads),
        }
    }

    fn norm_tangent(&mut self, spec: NormSpec, pass: NormPass, tangents: NormTangents) -> Result<()> {
        spec.check()?;
        match spec.axes {
            Axes::Batch => batch::cpu_tangent::forward(self, spec, pass, tangents),
            Axes::Groups(_) => group::cpu_tangent::forward(self, spec, pass, tangents),
        }
    }

    fn norm_tangent_backward(&mut self, spec: NormSpec, pass: NormPass, io: NormTangentBackward) -> Result<()> {
        spec.check()?;
        match spec.axes {
            Axes::Batch => batch::cpu_tangent::backward(self, spec, pass, io),
            Axes::Groups(_) => group::cpu_tangent::backward(self, spec, pass, io),
        }
    }
}
