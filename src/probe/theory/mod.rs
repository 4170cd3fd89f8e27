//! The paper's statements on a network as it trains: both sides of each, for single units of chosen layers (section 4, appendix C).
//!
//! Inside a network with BatchNorm they are about a layer's own norm; in a network without, about the paper's comparison (figure 5): a
//! BatchNorm inserted after the layer with γ = S and β = μ, so that z = y, every other parameter equal. `y [m]` is a unit of what the norm
//! reads, `z` of what it gives, `g = ∂L/∂z`, `v = ∂L̂/∂y`, `H` and `Ĥ` the second derivatives. v comes from the engine's backward pass,
//! products with H and Ĥ from its Hessian-vector products, all in training mode; only then are the statements evaluated.
//!
//! - `pass`: what the device is asked for · [`statements`]: what is made of it
//!
//! An evaluation: θ, running statistics and the step state stay as they are.

mod pass;
pub mod statements;

pub use statements::Statements;

use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row};
use crate::files::{Array, Arrays};
use crate::network::layer::Layer;
use crate::network::{Engine, Scalar, Tangents};
use crate::ops::backend::Backend;
use crate::ops::norm::{Axes, NormSpec};
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};
use statements::{Products, Unit};

/// Dot products that are kept of a unit: the fields of [`Products`].
const PRODUCTS: usize = 6;

/// A layer whose units are looked at.
#[derive(Debug, Clone)]
struct At {
    /// The paper's number, from 1.
    number: usize,
    /// The link whose output is z.
    link: usize,
    units: Vec<usize>,
    /// A row for every unit: 1 in its place and 0 elsewhere, `[units, C]`.
    chosen: View,
    /// ∂L/∂z
    grad: View,
    /// The network's own norm's γ, `[C]`, as it is when the device is asked.
    gamma: Option<View>,
    /// The norm that is thought of where the network has none.
    inserted: Option<Inserted>,
    /// f64 `[units, PRODUCTS]`
    products: View,
}

/// What a BatchNorm after the layer would do, for γ = 1 and β = 0: the rest is a scale.
#[derive(Debug, Clone, Copy)]
struct Inserted {
    /// ∂L̂/∂y for ∂L/∂z = g
    through: View,
    /// μ and σ², and dγ and dβ, `[C]` each.
    statistics: [View; 2],
    grads: [View; 2],
}

/// Room to work in.
#[derive(Debug, Clone)]
pub struct Room {
    tangents: Tangents,
    layers: Vec<At>,
    /// ε of every norm: the network's, or one that is inserted.
    eps: f64,
    /// Like the largest of the layers' tensors.
    vectors: [View; 5],
    /// Like the widest layer's units: zeros, ones, and four that are written and read no more.
    per_unit: [View; 6],
    workspace: View,
}

impl Room {
    /// Allocates it, for some units (from 0) of some layers (weighted ones, from 1); `eps` is the ε of the network's norms, or of one that is
    /// inserted.
    ///
    /// Errors: a layer or a unit that the network does not have; a network with another norm than BatchNorm; bf16; not enough memory.
    pub fn new<B: Backend>(engine: &mut Engine<B>, chosen: &[(usize, Vec<usize>)], eps: f64) -> Result<Room> {
        let tangents = engine.tangents()?;
        Self::with(engine, tangents, chosen, eps)
    }

    /// The same beside `tangents`, which others may use at other times.
    pub fn with<B: Backend>(
        engine: &mut Engine<B>,
        tangents: Tangents,
        chosen: &[(usize, Vec<usize>)],
        eps: f64,
    ) -> Result<Room> {
        let dtype = engine.backend().dtype();
        let (mut layers, mut largest, mut widest, mut workspace) = (Vec::new(), 0, 1, 0);
        for (number, units) in chosen {
            let (link, own) = place(engine, *number)?;
            let y = engine.linearised(&tangents, link).y.0.shape;
            let (rows, columns) = y.matrix();
            if let Some(unit) = units.iter().find(|&&unit| unit >= columns) {
                let problem = format!("layer {number} has {columns} units");
                return Err(Error::input(format!("unit {unit}"), problem, "they are numbered from 0"));
            }
            let mut plan = engine.backend().plan();
            let chosen = plan.view(Shape::new([units.len(), columns]), dtype);
            let grad = plan.view(y, dtype);
            let inserted = (!own).then(|| {
                let mut per_unit = || plan.view(Shape::new([columns]), dtype);
                let (statistics, grads) = ([per_unit(), per_unit()], [per_unit(), per_unit()]);
                Inserted { through: plan.view(y, dtype), statistics, grads }
            });
            let gamma = own.then(|| plan.view(Shape::new([columns]), dtype));
            let products = plan.view(Shape::new([units.len(), PRODUCTS]), DType::F64);
            engine.backend().commit(&plan)?;
            let mut rows_of = vec![0.0; units.len() * columns];
            units.iter().enumerate().for_each(|(row, unit)| rows_of[row * columns + unit] = 1.0);
            engine.backend().upload_f32(&rows_of, Out(chosen))?;
            (largest, widest) = (largest.max(rows * columns), widest.max(columns));
            workspace = workspace.max(engine.backend().norm_workspace(&NormSpec::batch(), y).len());
            layers.push(At { number: *number, link, units: units.clone(), chosen, grad, gamma, inserted, products });
        }
        let mut plan = engine.backend().plan();
        let vectors = [0; 5].map(|_| plan.view(Shape::new([largest]), dtype));
        let per_unit = [0; 6].map(|_| plan.view(Shape::new([widest]), dtype));
        let workspace = plan.view(Shape::new([workspace]), dtype);
        engine.backend().commit(&plan)?;
        for (value, to) in [0.0, 1.0].into_iter().zip(per_unit) {
            engine.backend().upload_f32(&vec![value; widest], Out(to))?;
        }
        Ok(Room { tangents, layers, eps, vectors, per_unit, workspace })
    }

    /// Layer and unit of every entry, in order.
    pub fn entries(&self) -> Vec<(usize, usize)> {
        self.layers.iter().flat_map(|at| at.units.iter().map(|&unit| (at.number, unit))).collect()
    }
}

/// The link whose output is z of weighted layer `number`, and whether the network's own norm is there.
fn place<B: Backend>(engine: &Engine<B>, number: usize) -> Result<(usize, bool)> {
    let weighted = engine.network().weighted_layers();
    let Some(layer) = number.checked_sub(1).and_then(|at| weighted.get(at)) else {
        let problem = format!("the network has {} layers with weights", weighted.len());
        return Err(Error::input(format!("--probe-layers {number}"), problem, "they are numbered from 1"));
    };
    let link = layer.links.start;
    match engine.network().links().get(link + 1).map(|link| &link.layer) {
        Some(Layer::Norm(norm)) if norm.spec.is_batch_norm() => Ok((link + 1, true)),
        Some(Layer::Norm(norm)) if norm.spec.renorm.is_some() => Err(no_theorem("batch renormalisation")),
        Some(Layer::Norm(norm)) if norm.spec.axes == Axes::Batch => Err(no_theorem("an ℓp norm")),
        Some(Layer::Norm(_)) => Err(no_theorem("a norm of each sample by itself")),
        _ => Ok((link, false)),
    }
}

fn no_theorem(norm: &str) -> Error {
    let problem = format!("the theorems are about BatchNorm, and this network has {norm}");
    Error::input("--probe theory", problem, "--norm none and --norm batch have them")
}

/// Asks the device for all that the statements need at `theta`; nothing is read back. One pass forward and backward, and for every unit
/// four Hessian-vector products of the layers after the norm.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, room: &Room) -> Result<()> {
    let (loss, correct) = (Out(engine.slot(Scalar::Aside)), Out(engine.slot(Scalar::AsideCorrect)));
    engine.linearise(&room.tangents, theta, loss, correct)?;
    room.layers.iter().try_for_each(|at| pass::run(engine, theta, room, at))
}

/// Reads what [`ask`] asked for: an entry for each of [`Room::entries`].
pub fn read<B: Backend>(engine: &mut Engine<B>, room: &Room) -> Result<Vec<Statements>> {
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
pub struct Measured(Room);

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
        Room::with(engine, tangents, chosen, options.eps).map(Measured)
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
