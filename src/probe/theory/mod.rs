//! The paper's statements on a network in training: both sides of each, for single units of chosen layers (section 4, appendix C).
//!
//! In a network with BatchNorm, the statements are about a layer's own norm. In a network without it, they are about the paper's comparison
//! (figure 5): a BatchNorm inserted after the layer with γ = S and β = μ, so that z = y, and every other parameter the same. `y [m]` is a
//! unit of the norm's input and `z` of its output; `g = ∂L/∂z` and `v = ∂L̂/∂y`; `H` and `Ĥ` are the second derivatives. The engine's
//! backward pass gives v, and its Hessian-vector products give the products with H and Ĥ, all in training mode. Then the statements are
//! evaluated.
//!
//! - `room`: which units, and the memory for them · `pass`: the work issued to the device · [`statements`]: the statements from its results
//!
//! The probe only evaluates: θ, running statistics and the step state do not change.

mod pass;
mod room;
pub mod statements;

pub use room::Workspace;
pub use statements::Statements;

use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row};
use crate::Result;
use crate::files::{Array, Arrays};
use crate::network::layer::Layer;
use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::runtime::tensor::{In, Out};
use room::PRODUCTS;
use statements::{Products, Unit};

/// Issues all work that the statements need at `theta` to the device; nothing is read back. It is one forward and backward pass, and for
/// every unit four Hessian-vector products of the layers after the norm.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, room: &Workspace) -> Result<()> {
    let (loss, correct) = (Out(engine.slot(Scalar::Aside)), Out(engine.slot(Scalar::AsideCorrect)));
    engine.linearise(&room.tangents, theta, loss, correct)?;
    room.layers.iter().try_for_each(|at| pass::run(engine, theta, room, at))
}

/// Reads the results of [`ask`]: an entry for each of [`Workspace::entries`].
pub fn read<B: Backend>(engine: &mut Engine<B>, room: &Workspace) -> Result<Vec<Statements>> {
    let mut found = Vec::new();
    for at in &room.layers {
        let here = engine.linearised(&room.tangents, at.link);
        let (x, through) = match at.inserted {
            Some(inserted) => (here.y, In(inserted.through)),
            None => (here.x, engine.linearised(&room.tangents, at.link - 1).grad_y),
        };
        let columns = here.y.0.shape.matrix().1;
        let [x, through, grad] = [x.0, through.0, at.grad].map(|view| engine.read(view));
        let (x, through, grad, products) = (x?, through?, grad?, engine.read(at.products)?);
        let gamma = at.gamma.map(|gamma| engine.read(gamma)).transpose()?;
        for (unit, products) in at.units.iter().zip(products.chunks_exact(PRODUCTS)) {
            let column = |of: &[f64]| of.iter().skip(*unit).step_by(columns).copied().collect();
            let gamma = gamma.as_ref().map(|gamma| gamma[*unit]);
            let unit = Unit { y: column(&x), g: column(&grad), v: column(&through), gamma, eps: room.eps };
            let [hat, v_h_v, u_h_v, u_h_u, g_h_g, normed] = std::array::from_fn(|i| products[i]);
            let products = Products { hat, v_h_v, u_h_v, u_h_u, g_h_g, normed };
            found.push(match at.inserted {
                Some(_) => Statements::of_inserted(unit, products),
                None => Statements::of_own(unit, products),
            });
        }
    }
    Ok(found)
}

/// The statements as a probe.
pub struct Measured(Workspace);

impl Kind for Measured {
    const ROW: Row = Row {
        probes: &[Probe { name: "theory", arrays: Statements::ARRAYS }],
        vectors: |_| 0,
        tangents: true,
        units: true,
        // The theorems are about BatchNorm and no other norm.
        fits: |network| {
            !network.links().iter().any(|link| matches!(&link.layer, Layer::Norm(norm) if !norm.spec.is_batch_norm()))
        },
        work: |of| (4.0 + of.entries) * of.on_samples,
        order: Order::Any,
    };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        let tangents = options.tangents.clone().map_or_else(|| engine.tangents(), Ok)?;
        let chosen = options.look.as_ref().map_or(&[][..], |look| &look.chosen);
        Workspace::with(engine, tangents, chosen, options.eps).map(Measured)
    }
}

impl<B: Backend> Measurement<B> for Measured {
    fn fixed(&self, _: &str) -> Arrays {
        let entries = self.0.entries();
        let column = |of: fn(&(usize, usize)) -> usize| {
            Array::i64([entries.len()], entries.iter().map(|entry| of(entry) as i64).collect())
        };
        Arrays::from([("layer".into(), column(|e| e.0)), ("unit".into(), column(|e| e.1))])
    }

    fn shape(&self, _: Entry) -> Vec<usize> {
        vec![self.0.entries().len()]
    }

    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()> {
        ask(engine, at.theta, &self.0)
    }

    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found> {
        if !loss.is_finite() {
            return Ok(Found::one(Vec::new(), Vec::new()));
        }
        let values: Vec<_> = read(engine, &self.0)?.iter().map(Statements::values).collect();
        let entry = |i: usize| values.iter().map(|of| of[i]).collect();
        Ok(Found::one((0..Statements::ARRAYS.len()).map(entry).collect(), Vec::new()))
    }
}
