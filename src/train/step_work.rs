//! The work that a step issues to the device.

use super::probes::{Due, Work};
use crate::Result;
use crate::network::{Engine, Scalar, Update};
use crate::ops::backend::Backend;
use crate::ops::gather::ImageBytes;
use crate::probe::measure::Moment;
use crate::probe::portion::Portion;
use crate::runtime::tensor::{In, Out, View};

/// Momentum of the running statistics, as PyTorch counts it.
const RUNNING_MOMENTUM: f64 = 0.1;

/// What a step finds out at its θ: the pass, and what the probes that are due measure. Of what lasts it changes the running statistics, and, without probes,
/// weights that the engine updates beside their gradients: θ is then as [`Engine::loss_and_update`] leaves it.
pub(super) struct StepPass<'a, B> {
    /// The training set, where the device makes its own batches, and whether they are augmented.
    pub gather: Option<(ImageBytes, bool)>,
    pub theta: View,
    pub grad: View,
    /// The update that leads to the next θ.
    pub update: Update,
    /// This is the last row, which has no update.
    pub last: bool,
    pub probe: Option<(Due, &'a Work<B>)>,
    /// The portion of lines that this device takes.
    pub portion: Portion,
}

/// The work that a step issues to the device. It is the same each time, so that a device may record it.
pub(super) struct StepWork<'a, B> {
    pub pass: StepPass<'a, B>,
    pub running_before: View,
    pub journal: View,
}

impl<B: Backend> StepPass<'_, B> {
    /// A number that tells kinds of steps apart: a device records a graph for each.
    pub fn key(&self) -> u64 {
        let due = self.probe.map_or(0, |(due, _)| due.key());
        u64::from(self.last) + 2 * due + (self.portion.key() << 33)
    }

    /// Whether nothing of the step needs θ or the gradient but the update.
    fn updates(&self) -> bool {
        !self.last && self.probe.is_none()
    }

    pub fn ask(&self, engine: &mut Engine<B>) -> Result<()> {
        let (theta, grad) = (In(self.theta), Out(self.grad));
        let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
        if let Some((set, augment)) = self.gather {
            engine.gather(set, augment)?;
        }
        match self.updates() {
            true => {
                let of = [loss, correct].map(Out);
                engine.loss_and_update(Out(self.theta), grad, of, true, self.update)?;
            }
            false => {
                engine.loss_and_grad(theta, grad, Out(loss), Out(correct))?;
                let state = engine.state();
                engine.backend().judge(In(loss), Out(state))?;
            }
        }
        if !self.last {
            engine.move_running(RUNNING_MOMENTUM)?;
        }
        if let Some((due, work)) = self.probe {
            work.ask(engine, due, Moment { theta, grad: grad.into(), update: self.update }, self.portion)?;
        }
        Ok(())
    }

    /// The pass and the update at once, where nothing comes between them and the engine has that; `false` where not.
    fn ask_with_update(&self, engine: &mut Engine<B>) -> Result<bool> {
        // A network that gathers its batches is no chain of linear layers.
        if !self.updates() || self.gather.is_some() {
            return Ok(false);
        }
        let [loss, correct] = [Scalar::Loss, Scalar::Correct].map(|scalar| Out(engine.slot(scalar)));
        let (theta, grad) = (Out(self.theta), Out(self.grad));
        let updated = engine.whole_step(theta, grad, [loss, correct], RUNNING_MOMENTUM, self.update)?;
        if updated {
            let state = engine.state();
            engine.backend().judge(loss.into(), Out(state))?;
        }
        Ok(updated)
    }
}

impl<B: Backend> StepWork<'_, B> {
    pub fn ask(&self, engine: &mut Engine<B>) -> Result<()> {
        let StepPass { theta, grad, update, last, .. } = self.pass;
        let updated = self.pass.ask_with_update(engine)?;
        if !updated {
            self.pass.ask(engine)?;
        }
        let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
        let (running, before, state) = (engine.running(), self.running_before, engine.state());
        // From here on nothing can be interrupted.
        let put_back = (!last).then_some([Out(before), Out(running)]);
        engine.backend().settle(In(loss), In(correct), Out(self.journal), put_back, Out(state))?;
        if !last && !updated {
            engine.update(Out(theta), In(grad), update)?;
        }
        Ok(())
    }
}
