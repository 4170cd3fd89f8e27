//! The paper's statements on a network as it trains: both sides of each, for single units of chosen layers (section 4, appendix C).
//!
//! Inside a network with BatchNorm they are about a layer's own norm; in a network without, about the paper's comparison (figure 5): a
//! BatchNorm inserted after the layer with γ = S and β = μ, so that z = y, every other parameter equal. `y [m]` is a unit of what the norm
//! reads, `z` of what it gives, `g = ∂L/∂z`, `v = ∂L̂/∂y`, `H` and `Ĥ` the second derivatives. v comes from the engine's backward pass,
//! products with H and Ĥ from its Hessian-vector products, all in training mode; only then are the statements evaluated.
//!
//! - `room`: which units, and the memory for them · `pass`: what the device is asked for · [`statements`]: what is made of it
//!
//! An evaluation: θ, running statistics and the step state stay as they are.

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

/// Asks the device for all that the statements need at `theta`; nothing is read back. One pass forward and backward, and for every unit
/// four Hessian-vector products of the layers after the norm.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, room: &Workspace) -> Result<()> {
    let (loss, correct) = (Out(engine.slot(Scalar::Aside)), Out(engine.slot(Scalar::AsideCorrect)));
    engine.linearise(&room.tangents, theta, loss, correct)?;
    room.layers.iter().try_for_each(|at| pass::run(engine, theta, room, at))
}

/// Reads what [`ask`] asked for: an entry for each of [`Workspace::entries`].
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
