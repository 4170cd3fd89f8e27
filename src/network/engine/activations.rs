//! The input of a layer's non-linearity, recovered from what a pass has left. If a ReLU or a pool is fused into the link's own pass, the link is run
//! once more without it.

use super::Engine;
use crate::Result;
use crate::ops::backend::Backend;
use crate::ops::fusion::Fusion;
use crate::ops::layer::Saved;
use crate::runtime::tensor::{In, Out, Shape, View};

/// Room for the output of one link at a time, and for the statistics of its norm; the statistics that the pass itself saved stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct Unactivated {
    /// As large as the largest output that is computed again; one element if there is none.
    y: View,
    /// Mean and spread.
    saved: [View; 2],
}

impl<B: Backend> Engine<B> {
    /// Allocates the room for calling [`Engine::unactivated`] on each of `links`. Errors: not enough memory.
    pub fn unactivated_room(&mut self, links: &[usize]) -> Result<Unactivated> {
        let (mut largest, mut widest) = (1, 1);
        for &index in links.iter().filter(|&&index| !self.is_bare(index)) {
            let shape = self.network.links()[index].layer.output(self.planned[index].x.shape)?;
            largest = largest.max(shape.len());
            let saved = self.planned[index].saved.mean.map_or(0, |mean| mean.shape.len());
            widest = widest.max(saved);
        }
        let mut plan = self.backend.plan();
        let y = plan.view(Shape::new([largest]), self.backend.activation_dtype());
        let saved = [0; 2].map(|_| plan.view(Shape::new([widest]), self.backend.dtype()));
        self.backend.commit(&plan)?;
        Ok(Unactivated { y, saved })
    }

    /// The output of link `index` on the batch, `[H, W, N, C]`, without the ReLU and the pool that may be part of its pass, and with the same noise.
    ///
    /// The last pass must have run layer by layer, in training mode, and at `theta`. If the convolution before had left sums for a norm, they are
    /// computed anew here, and may be rounded differently.
    pub fn unactivated(&mut self, index: usize, theta: In, room: &Unactivated) -> Result<In> {
        self.check_interrupted()?;
        if self.is_bare(index) {
            return Ok(In(self.planned[index].y));
        }
        self.recast(theta)?;
        self.make_weights(index..index + 1, theta)?;
        let layer = self.network.links()[index].layer.before_activation();
        let mut io = self.io(index, theta);
        let shape = layer.output(io.x.0.shape)?;
        let per_unit = |place: View, like: Option<View>| like.map(|like| place.slice(0, like.shape));
        let [mean, spread] = room.saved;
        io.y = Out(room.y.slice(0, shape));
        io.saved =
            Saved { mean: per_unit(mean, io.saved.mean), spread: per_unit(spread, io.saved.spread), chosen: None };
        io.fusion = Fusion::default();
        layer.forward(&mut self.backend, &io)?;
        Ok(io.y.into())
    }

    /// Whether neither a ReLU nor a pool is fused into the link's pass.
    fn is_bare(&self, index: usize) -> bool {
        let (layer, fusion) = (&self.network.links()[index].layer, self.planned[index].fusion);
        !fusion.relu && !fusion.pool && layer.before_activation() == *layer
    }
}
