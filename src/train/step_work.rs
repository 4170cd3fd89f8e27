//! The work that a step issues to the device.

use super::probes::{Due, Work};
use crate::Result;
use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::ops::gather::ImageBytes;
use crate::probe::ics::Update;
use crate::probe::measure::Moment;
use crate::runtime::tensor::{In, Out, View};

/// Momentum of the running statistics, as PyTorch counts it.
const RUNNING_MOMENTUM: f64 = 0.1;

/// The work that a step issues to the device. It is the same each time, so that a device may record it.
pub(super) struct StepWork<'a, B> {
    /// The training set, where the device makes its own batches, and whether they are augmented.
    pub gather: Option<(ImageBytes, bool)>,
    pub theta: View,
    pub grad: View,
    pub velocity: Option<View>,
    pub running_before: View,
    pub journal: View,
    /// Momentum and weight decay.
    pub rule: (f64, f64),
    /// This is the last row, which has no update.
    pub last: bool,
    pub probe: Option<(Due, &'a Work<B>)>,
}

impl<B: Backend> StepWork<'_, B> {
    pub fn ask(&self, engine: &mut Engine<B>) -> Result<()> {
        let (theta, grad) = (In(self.theta), Out(self.grad));
        let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
        let (running, before, state) = (engine.running(), self.running_before, engine.state());
        if let Some((set, augment)) = self.gather {
            engine.gather(set, augment)?;
        }
        engine.loss_and_grad(theta, grad, Out(loss), Out(correct))?;
        engine.backend().judge(In(loss), Out(state))?;
        if !self.last {
            engine.move_running(RUNNING_MOMENTUM)?;
        }
        let (momentum, weight_decay) = self.rule;
        if let Some((due, work)) = self.probe {
            let update = Update { velocity: self.velocity, momentum, weight_decay };
            work.ask(engine, due, Moment { theta, grad: grad.into(), update })?;
        }
        // From here on nothing can be interrupted.
        let put_back = (!self.last).then_some([Out(before), Out(running)]);
        engine.backend().settle(In(loss), In(correct), Out(self.journal), put_back, Out(state))?;
        if !self.last {
            engine.update(Out(self.theta), grad.into(), self.velocity.map(Out), momentum, weight_decay)?;
        }
        Ok(())
    }
}
