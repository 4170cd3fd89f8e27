//! Exact Hessian-vector products: a tangent forward pass, then a tangent backward pass, through every layer linearised at θ.
//!
//! [`Engine::linearise`] runs the network at θ and keeps everything that both loops computed. Each product at that θ then takes two more loops, in
//! training mode, so the batch's statistics move with θ too. `∇²L v` is the derivative of ∇L(θ + t v) at t = 0; it is computed without finite
//! differences (Pearlmutter 1994).

use super::super::chain::Loss;
use super::effective::Moved;
use super::plan::{Laid, Planned, kept, lay_out};
use super::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::ops::layer::{Backward, Forward, Params, Saved, Tangent, TangentBackward};
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};

/// One layer's tensors at θ, and their tangents.
#[derive(Debug, Clone, Copy)]
struct Linear {
    planned: Planned,
    /// The upstream gradient, dy.
    grad_y: View,
    /// ẏ
    moving: View,
    /// The tangents of the saved statistics.
    saved: Saved,
}

/// Room for a network linearised at one θ, and for its tangents: about three times its activations, besides those of the engine.
#[derive(Debug, Clone)]
pub struct Tangents {
    links: Vec<Linear>,
    workspace: View,
    spare: [View; 2],
    /// The tangents of two neighbouring gradients.
    moving: [View; 2],
    /// ∇L(θ), and a place for gradients that nobody asked for.
    grad: View,
    aside: View,
    /// For weight normalisation: the weights and their tangents.
    moved: Option<Moved>,
    /// A workspace for products of the network as one operator, if the backend has them.
    whole: Option<View>,
}

/// A layer at the θ of the last [`Engine::linearise`].
#[derive(Debug, Clone, Copy)]
pub struct Linearised {
    /// Its input, `[H, W, N, C]`.
    pub x: In,
    /// Its output.
    pub y: In,
    /// The gradient of its output.
    pub grad_y: In,
    /// A norm's saved statistics of the batch.
    pub saved: Saved,
}

impl<B: Backend> Engine<B> {
    /// Allocates the room. Errors: a precision without tangents (bf16); not enough memory.
    pub fn tangents(&mut self) -> Result<Tangents> {
        let dtype = self.backend.dtype();
        if self.backend.activation_dtype() != dtype {
            let problem = "Hessian-vector products are not taken in bf16";
            return Err(Error::input("--precision bf16", problem, "f32, tf32 and f64 have them"));
        }
        let slots = self.network.slots();
        let weight = slots.iter().map(|slot| slot.shape.len()).max().unwrap_or(0);
        let mut plan = self.backend.plan();
        let statistics = [0; 2].map(|_| plan.view(self.statistics.shape, dtype));
        let laid = lay_out(&self.backend, &mut plan, &self.network, (self.batch, self.input), statistics[0], false)?;
        let Laid { planned, workspace, widest, .. } = laid;
        let mut links = Vec::with_capacity(planned.len());
        for (link, planned) in self.network.links().iter().zip(planned) {
            let of = |[mean, spread]: [usize; 2]| {
                let [mean, spread] = [mean, spread].map(|slot| self.network.running().view(statistics[1], slot));
                Saved { mean: Some(mean), spread: Some(spread), chosen: None }
            };
            let saved = match link.layer.keeps(planned.x.shape) {
                Some(shape) => kept(&mut plan, shape, dtype),
                None => link.running.map_or(Saved::default(), of),
            };
            let [grad_y, moving] = [0; 2].map(|_| plan.view(planned.y.shape, dtype));
            links.push(Linear { planned, grad_y, moving, saved });
        }
        let workspace = plan.view(Shape::new([workspace]), dtype);
        let spare = [0; 2].map(|_| plan.view(Shape::new([widest.max(weight)]), dtype));
        let moving = [0; 2].map(|_| plan.view(Shape::new([widest]), dtype));
        let [grad, aside] = [0; 2].map(|_| plan.view(Shape::new([slots.len()]), dtype));
        let moved = Moved::plan(&mut plan, &self.network, dtype);
        let chain = self.whole.map(|whole| whole.chain);
        let needed = chain.and_then(|chain| self.backend.deep_linear_hessian_room(&chain));
        let whole = needed.map(|len| plan.view(Shape::new([len]), DType::F64));
        self.backend.commit(&plan)?;
        Ok(Tangents { links, workspace, spare, moving, grad, aside, moved, whole })
    }

    /// Runs forward and backward at `theta` on the batch, in training mode, and keeps every tensor in `room`.
    pub fn linearise(&mut self, room: &Tangents, theta: In, loss: Out, correct: Out) -> Result<()> {
        for index in 0..room.links.len() {
            self.check_interrupted()?;
            if let Some(moved) = room.moved {
                self.make_weight(index, theta, moved.weights)?;
            }
            let io = self.forward_at(room, index, theta);
            self.network.links()[index].layer.forward(&mut self.backend, &io)?;
        }
        let Some(last) = room.links.last() else { return Ok(()) };
        let (y, grad_y) = (In(last.planned.y), Out(last.grad_y));
        self.judge_of(y, loss, correct, Some(grad_y))?;
        for index in (0..room.links.len()).rev() {
            self.check_interrupted()?;
            let io = Backward {
                forward: self.forward_at(room, index, theta),
                grad_y: In(room.links[index].grad_y),
                grad_x: index.checked_sub(1).map(|before| Out(room.links[before].grad_y)),
                grads: self.grads_at(room, index),
                norm: None,
                update: None,
            };
            self.network.links()[index].layer.backward(&mut self.backend, &io)?;
            self.part_gradient(room, index, theta)?;
        }
        Ok(())
    }

    /// Does what [`Engine::hessian_vector`] needs beforehand at `theta`. That is [`Engine::linearise`], except if the network's products run as one
    /// operator, which needs nothing.
    pub fn ready_products(&mut self, room: &Tangents, theta: In, loss: Out, correct: Out) -> Result<()> {
        match room.whole.filter(|_| self.whole.is_some()) {
            Some(_) => Ok(()),
            None => self.linearise(room, theta, loss, correct),
        }
    }

    /// `out ← ∇²L(θ) v`, at the θ of the last [`Engine::ready_products`] or [`Engine::linearise`].
    pub fn hessian_vector(&mut self, room: &Tangents, theta: In, v: In, out: Out) -> Result<()> {
        self.check_interrupted()?;
        if let Some(whole) = room.whole
            && let Some((chain, batch)) = self.whole_batch()?
        {
            if self.backend.deep_linear_hessian(&chain, theta, v, batch, Out(whole), out)? {
                return Ok(());
            }
            // What is out of range there the layers can tell, one by one.
            let [loss, correct] = [Scalar::Aside, Scalar::AsideCorrect].map(|slot| Out(self.slot(slot)));
            self.linearise(room, theta, loss, correct)?;
        }
        self.tangent_forward(room, (0, None), theta, Some(v))?;
        self.tangent_backward(room, (0, None), theta, Some(v), out, None)
    }

    /// The same with respect to the input x of link `first`: `out ← ∂²L/∂x² v`, with θ and all earlier layers held fixed. Errors: the link is the
    /// network's first.
    pub fn hessian_vector_at(&mut self, room: &Tangents, first: usize, theta: In, v: In, out: Out) -> Result<()> {
        if first == 0 || first > room.links.len() {
            let expected = format!("a link from 1 to {}", room.links.len());
            return Err(Error::operator("hessian_vector_at", expected, first.to_string()));
        }
        if first == room.links.len() {
            // Nothing follows but the loss.
            return self.judge_tangent(In(room.links[first - 1].planned.y), v, out);
        }
        self.tangent_forward(room, (first, Some(v)), theta, None)?;
        self.tangent_backward(room, (first, Some(v)), theta, None, Out(room.aside), Some(out))
    }

    /// ∇L(θ) of the last [`Engine::linearise`].
    pub fn linearised_grad(&self, room: &Tangents) -> In {
        In(room.grad)
    }

    /// Layer `index` of the last [`Engine::linearise`].
    pub fn linearised(&self, room: &Tangents, index: usize) -> Linearised {
        let Linear { planned, grad_y, .. } = room.links[index];
        Linearised { x: In(planned.x), y: In(planned.y), grad_y: In(grad_y), saved: planned.saved }
    }

    /// The weight of link `index` in the vector `theta`, such as a norm's γ. `None` if it has none.
    pub fn weight(&self, index: usize, theta: In) -> Option<In> {
        self.params(index, theta.0).weight.map(In)
    }

    /// The tangent forward pass from link `first` on. The tangent of its input is `x`, that of the parameters is `v`.
    fn tangent_forward(
        &mut self,
        room: &Tangents,
        (first, x): (usize, Option<In>),
        theta: In,
        v: Option<In>,
    ) -> Result<()> {
        for index in first..room.links.len() {
            self.check_interrupted()?;
            if let Some(v) = v {
                self.move_weight(room, index, theta, v)?;
            }
            let io = self.tangent_at(room, index, (first, x), theta, v);
            self.network.links()[index].layer.tangent(&mut self.backend, &io)?;
        }
        Ok(())
    }

    /// The tangent backward pass down to link `first`; `grad_x` is where the tangent of its input's gradient goes.
    fn tangent_backward(
        &mut self,
        room: &Tangents,
        (first, x): (usize, Option<In>),
        theta: In,
        v: Option<In>,
        out: Out,
        grad_x: Option<Out>,
    ) -> Result<()> {
        let Some(last) = room.links.last() else { return Ok(()) };
        let [mut upper, mut lower] = room.moving;
        let top = View { shape: last.planned.y.shape, ..upper };
        self.judge_tangent(In(last.planned.y), In(last.moving), Out(top))?;
        for index in (first..room.links.len()).rev() {
            self.check_interrupted()?;
            let Linear { planned, grad_y, .. } = room.links[index];
            let moving = View { shape: planned.y.shape, ..upper };
            let below = View { shape: planned.x.shape, ..lower };
            (upper, lower) = (lower, upper);
            let mut grads_tangent = self.params(index, out.0);
            if let (Some(moved), Some(_), Some(weight)) = (room.moved, self.pair(index, out.0), grads_tangent.weight) {
                grads_tangent.weight = Some(moved.tangent(weight));
            }
            let io = TangentBackward {
                tangent: self.tangent_at(room, index, (first, x), theta, v),
                grad_y: In(grad_y),
                moving: In(moving),
                grads: self.grads_at(room, index),
                grad_x: if index > first { Some(Out(below)) } else { grad_x },
                grads_tangent,
            };
            self.network.links()[index].layer.tangent_backward(&mut self.backend, &io)?;
            if let Some(v) = v {
                self.part_tangent(room, index, theta, v, out)?;
            }
        }
        Ok(())
    }

    fn forward_at(&self, room: &Tangents, index: usize, theta: In) -> Forward {
        let Planned { x, y, saved, fusion, .. } = room.links[index].planned;
        let params = self.made(room.moved.map(|moved| moved.weights), index, theta.0);
        let (workspace, state, running) = (room.workspace, In(self.state), self.running_of(index));
        Forward { x: In(x), y: Out(y), params, saved, workspace, state, running, fusion }
    }

    fn tangent_at(
        &self,
        room: &Tangents,
        index: usize,
        (first, x): (usize, Option<In>),
        theta: In,
        v: Option<In>,
    ) -> Tangent {
        let Linear { moving, saved, .. } = room.links[index];
        Tangent {
            forward: self.forward_at(room, index, theta),
            x: if index == first { x } else { Some(In(room.links[index - 1].moving)) },
            params: v.map_or(Params::default(), |v| self.made(room.moved.map(|moved| moved.moving), index, v.0)),
            y: Out(moving),
            saved,
            spare: room.spare,
        }
    }

    /// The parameters of link `index`: those in `whole`, but a weight that is made in `weights`.
    fn made(&self, weights: Option<View>, index: usize, whole: View) -> Params {
        let params = self.params(index, whole);
        match weights.filter(|_| self.network.links()[index].gain.is_some()) {
            Some(weights) => Params { weight: self.params(index, weights).weight, ..params },
            None => params,
        }
    }

    /// Where the gradients of link `index` are.
    fn grads_at(&self, room: &Tangents, index: usize) -> Params {
        self.made(room.moved.map(|moved| moved.grads), index, room.grad)
    }

    /// Splits the gradient of a weight that is made of direction and gain; the weight's own gradient is kept.
    fn part_gradient(&mut self, room: &Tangents, index: usize, theta: In) -> Result<()> {
        let (Some(of), Some(to)) = (self.pair(index, theta.0), self.pair(index, room.grad)) else { return Ok(()) };
        let Some(grad_weight) = self.grads_at(room, index).weight else { return Ok(()) };
        self.backend.weight_norm_backward(of.read(), In(grad_weight), to.written())
    }

    /// Computes the tangent of a weight that is made of direction and gain, from the tangents of these in `v`.
    fn move_weight(&mut self, room: &Tangents, index: usize, theta: In, v: In) -> Result<()> {
        let (Some(moved), Some(of), Some(by)) = (room.moved, self.pair(index, theta.0), self.pair(index, v.0)) else {
            return Ok(());
        };
        let Some(to) = self.params(index, moved.moving).weight else { return Ok(()) };
        self.backend.weight_norm_tangent(of.read(), by.read(), Out(to))
    }

    /// Splits the tangent of such a weight's gradient.
    fn part_tangent(&mut self, room: &Tangents, index: usize, theta: In, v: In, out: Out) -> Result<()> {
        let pairs = [theta.0, v.0, out.0].map(|whole| self.pair(index, whole));
        let (Some(moved), [Some(of), Some(by), Some(to)]) = (room.moved, pairs) else { return Ok(()) };
        let Some(grad_weight) = self.grads_at(room, index).weight else { return Ok(()) };
        let grad_weight = (In(grad_weight), In(moved.tangent(to.direction)));
        self.backend.weight_norm_tangent_backward(of.read(), by.read(), grad_weight, to.written())
    }

    /// The tangent of the loss's gradient with respect to y.
    fn judge_tangent(&mut self, y: In, moving: In, out: Out) -> Result<()> {
        let (moving, out) = (In(moving.0.reshape(y.0.shape)), Out(out.0.reshape(y.0.shape)));
        let scale = self.loss_scale();
        match self.network.loss() {
            Loss::CrossEntropy => self.backend.cross_entropy_tangent(y, moving, out),
            Loss::SquaredError(_) => self.backend.squared_error_tangent(scale, moving, out),
        }
    }
}
