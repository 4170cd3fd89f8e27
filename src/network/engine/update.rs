//! The update of θ. A backend may update a weight in the launch that makes its gradient, which then need not go through memory: the step's pass does so
//! ([`Engine::loss_and_update`]), and [`Engine::update`] does the rest. Meanwhile the pass still reads its operands, so the new ones go to a second
//! vector, and the two take turns.

use super::{Beside, Engine, Operands, one_row};
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::deep_linear::ChainStep;
use crate::ops::sgd::Descent;
use crate::runtime::tensor::{DType, In, Out, Shape, View};

/// How θ is updated by its gradient: see [`crate::ops::sgd`]. The learning rate is the step state's.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// v, with momentum.
    pub velocity: Option<View>,
    /// μ
    pub momentum: f64,
    /// λ
    pub weight_decay: f64,
}

/// The most elements of a piece: four for each thread of a block.
const PIECE: usize = 1024;

impl<B: Backend> Engine<B> {
    /// Plans room for updates beside gradients, a second vector of operands, if the backend can make such updates. Without it, and where it cannot,
    /// [`Engine::update`] does everything.
    pub fn plan_updates(&mut self) -> Result<()> {
        let links = self.network.links().iter().zip(&self.planned).filter(|(_, planned)| planned.updates);
        let beside: Vec<usize> = links.filter_map(|(link, _)| link.params[0]).collect();
        let Some(operands) = self.operands.filter(|_| !beside.is_empty() && self.beside.is_none()) else {
            return Ok(());
        };
        // What lies between these weights.
        let slots = self.network.slots();
        let (mut words, mut from) = (Vec::new(), 0);
        let weights = slots.iter().enumerate().filter(|(at, _)| beside.contains(at));
        let ends = weights.map(|(_, slot)| [slot.start, slot.start + slot.shape.len()]);
        for [start, end] in ends.chain([[slots.len(); 2]]) {
            let pieces = (from..start).step_by(PIECE);
            words.extend(pieces.flat_map(|first| [first as u32, PIECE.min(start - first) as u32]));
            from = end;
        }
        let mut plan = self.backend.plan();
        let next = plan.view(operands.shape, operands.dtype);
        let pieces = plan.view(Shape::new([words.len() / 2, 2]), DType::U32);
        self.backend.commit(&plan)?;
        self.backend.upload(&words, Out(pieces))?;
        self.beside = Some(Beside { next, pieces, begun: false });
        Ok(())
    }

    /// What [`Engine::loss_and_grad`] does, and the updates that the backend can make beside gradients; `grad` then lacks the gradients of these weights.
    /// [`Engine::update`] must follow. With `judged`, the step state halts first if the loss is not finite ([`crate::ops::step::Step::judge`]), and no
    /// update changes θ. Once an update has begun the pass is not interrupted.
    pub fn loss_and_update(
        &mut self,
        theta: Out,
        grad: Out,
        [loss, correct]: [Out; 2],
        judged: bool,
        by: Update,
    ) -> Result<()> {
        let state = Out(self.state);
        let halt = |engine: &mut Self| if judged { engine.backend.judge(loss.into(), state) } else { Ok(()) };
        if self.beside.is_none() || self.whole.is_some() {
            self.loss_and_grad(theta.into(), grad, loss, correct)?;
            return halt(self);
        }
        self.loss_and_top(0, theta.into(), loss, correct)?;
        halt(self)?;
        self.backward_and_update(theta, grad, by)?;
        if let Some(beside) = &mut self.beside {
            beside.begun = true;
        }
        Ok(())
    }

    /// [`Engine::loss_and_grad`], [`Engine::move_running`] and [`Engine::update`] as one operator, where the backend has it for this network and update: to
    /// the same bits, but that θ stays where the loss is not finite. `false`, with nothing done, where it does not.
    pub fn whole_step(
        &mut self,
        theta: Out,
        grad: Out,
        [loss, correct]: [Out; 2],
        running_momentum: f64,
        by: Update,
    ) -> Result<bool> {
        self.check_interrupted()?;
        let Some((chain, batch)) = self.whole_batch()?.filter(|_| by.velocity.is_none()) else { return Ok(false) };
        let out = self.chain_out(Some(grad), loss, correct);
        let (running, factors, state) = (Out(self.running), In(self.factors), In(self.state));
        let step = ChainStep { running, factors, running_momentum, weight_decay: by.weight_decay, state };
        let taken = self.backend.deep_linear_step(&chain, Out(one_row(theta.0)), batch, out, step)?;
        if taken {
            self.leave_unmade(true);
            self.rounded = None;
        }
        Ok(taken)
    }

    /// The update of the weight of link `index` beside its gradient, if its layer is to make it.
    pub(super) fn update_beside(&self, index: usize, theta: Out, by: Update) -> Option<Descent> {
        let beside = self.beside.filter(|_| self.planned[index].updates)?;
        let of = |whole: View| self.params(index, whole).weight.map(Out);
        Some(Descent {
            theta: of(theta.0)?,
            velocity: by.velocity.and_then(of),
            operands: Some(of(beside.next)?),
            momentum: by.momentum,
            weight_decay: by.weight_decay,
            state: In(self.state),
        })
    }

    /// The update of [`crate::ops::sgd`] with the step state's learning rate, of what the pass has not updated; it also rounds θ for the next pass.
    pub fn update(&mut self, theta: Out, grad: In, by: Update) -> Result<()> {
        let Update { velocity, momentum, weight_decay } = by;
        let (velocity, operands, state) = (velocity.map(Out), self.operands.map(Out), In(self.state));
        let of = Descent { theta, velocity, operands, momentum, weight_decay, state };
        self.rounded = None;
        match &mut self.beside {
            Some(beside) if beside.begun => {
                beside.begun = false;
                let (next, pieces) = (beside.next, In(beside.pieces));
                self.backend.sgd_pieces(grad, Descent { operands: Some(Out(next)), ..of }, pieces)?;
                self.stand([Some(next), None]);
            }
            _ => self.backend.sgd(grad, of)?,
        }
        // Without operands nobody asks.
        self.rounded = self.operands.map(|_| theta.0);
        Ok(())
    }

    /// Takes these operands for the ones of the next pass, and the others for those that the next updates leave.
    pub(super) fn stand(&mut self, [operands, rounded]: Operands) {
        if let (Some(beside), Some(old)) = (&mut self.beside, self.operands)
            && operands != self.operands
        {
            beside.next = old;
        }
        (self.operands, self.rounded) = (operands, rounded);
    }
}
