//! The distribution of the values that enter activation functions: a histogram, and mean and variance, of single units over the batch and
//! its pixels (figures 1c, 2, 7, 8, 14).
//!
//! The measured value is the input of the activation function: the output of the norm (and noise), where there is one, before the ReLU;
//! otherwise the layer's output. An option measures the layer's output before the norm instead, whose spread is σ_j. The pass is in
//! training mode, with the step's own noise.
//!
//! Bins are equally wide, and the same at every step. The probe only evaluates: θ, running statistics and the step state do not change.

use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row};
pub use super::units::Look;
use crate::files::{Array, Arrays};
use crate::network::{Engine, Unactivated};
use crate::ops::backend::Backend;
use crate::ops::distribution::Bins;
use crate::runtime::tensor::{DType, In, Out, Shape, View};
use crate::{Error, Result};

/// The probe's workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    look: Look,
    /// The link of each layer whose output is measured.
    links: Vec<usize>,
    aside: Unactivated,
    /// u32 `[layers · units, 2 + bins]`
    count: View,
    /// f64 `[layers · units, 2]`
    moments: View,
}

/// The result: an entry per layer and unit, layers outermost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distributions {
    /// Values in each bin, `[layers, units, bins]`. With `outside` they account for all samples except NaNs.
    pub count: Vec<u32>,
    /// Values below the first bin and above the last, `[layers, units, 2]`.
    pub outside: Vec<u32>,
    /// Mean, `[layers, units]`; NaN where a value is NaN.
    pub mean: Vec<f64>,
    /// Biased variance, likewise.
    pub var: Vec<f64>,
}

impl Workspace {
    /// Allocates the workspace. Errors: those of [`Look::check`]; a layer that the network does not have; layers with different numbers of
    /// units; not enough memory.
    pub fn new<B: Backend>(engine: &mut Engine<B>, look: Look) -> Result<Workspace> {
        look.check()?;
        let network = engine.network();
        let layers = network.weighted_layers();
        let units = look.units();
        let mut links = Vec::with_capacity(look.chosen.len());
        for (number, of) in &look.chosen {
            let layer = number.checked_sub(1).and_then(|at| layers.get(at)).filter(|_| of.len() == units);
            let Some(layer) = layer else {
                let found = format!("{} units of layer {number}", of.len());
                return Err(Error::operator("activations", "as many units of each layer that is there", found));
            };
            links.push(if look.pre_norm { layer.links.start } else { network.before_activation(layer) });
        }
        let aside = engine.unactivated_room(&links)?;
        let rows = links.len() * units;
        let mut plan = engine.backend().plan();
        let count = plan.view(Shape::new([rows, 2 + look.bins]), DType::U32);
        let moments = plan.view(Shape::new([rows, 2]), DType::F64);
        engine.backend().commit(&plan)?;
        Ok(Workspace { look, links, aside, count, moments })
    }

    /// Which values are measured.
    pub fn look(&self) -> &Look {
        &self.look
    }
}

/// Issues the work for the distributions at `theta` to the device; nothing is read back. It must follow a training-mode pass at `theta`,
/// before any other pass. The work is the same each time, so it may be part of a graph.
pub fn ask<B: Backend>(engine: &mut Engine<B>, theta: In, room: &Workspace) -> Result<()> {
    if engine.takes_whole() {
        // The one operator leaves nothing of what lies between the layers.
        let all = 0..engine.network().links().len();
        engine.forward_part(all, theta)?;
    }
    let Look { chosen, range: [low, high], bins, .. } = &room.look;
    let mut row = 0;
    for (&link, (_, units)) in room.links.iter().zip(chosen) {
        let x = engine.unactivated(link, theta, &room.aside)?;
        for &unit in units {
            let count = room.count.slice(row * (2 + bins), Shape::new([2 + bins]));
            let moments = room.moments.slice(row * 2, Shape::new([2]));
            let bins = Bins { unit, low: *low, high: *high };
            engine.backend().distribution(x, bins, Out(count), Out(moments))?;
            row += 1;
        }
    }
    Ok(())
}

/// Reads the results of [`ask`].
pub fn read<B: Backend>(engine: &mut Engine<B>, room: &Workspace) -> Result<Distributions> {
    let mut counts = vec![0u32; room.count.shape.len()];
    engine.backend().download(In(room.count), &mut counts)?;
    let mut found = Distributions::default();
    for of in counts.chunks_exact(2 + room.look.bins) {
        found.outside.extend([of[0], of[of.len() - 1]]);
        found.count.extend(&of[1..of.len() - 1]);
    }
    for of in engine.read(room.moments)?.chunks_exact(2) {
        found.mean.push(of[0]);
        found.var.push(of[1]);
    }
    Ok(found)
}

/// The distributions as two probes: the histograms, and the moments.
pub struct Measured(Workspace);

impl Kind for Measured {
    const ROW: Row = Row {
        probes: &[
            Probe { name: "activations", arrays: &[("count", Entry::Bins), ("outside", Entry::Outside)] },
            Probe { name: "moments", arrays: &[("mean", Entry::Units), ("var", Entry::Units)] },
        ],
        vectors: |_| 0,
        tangents: false,
        units: true,
        fits: |_| true,
        work: |of| of.look,
        order: Order::First,
    };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        let none = || Error::operator("activations", "units to look at", "none");
        Workspace::new(engine, options.look.clone().ok_or_else(none)?).map(Measured)
    }
}

impl<B: Backend> Measurement<B> for Measured {
    fn fixed(&self, name: &str) -> Arrays {
        let look = self.0.look();
        let layers: Vec<i64> = look.chosen.iter().map(|(number, _)| *number as i64).collect();
        let units = look.chosen.iter().flat_map(|(_, units)| units.iter().map(|&unit| unit as i64)).collect();
        let [of_layers, of_units] = [layers.len(), look.units()];
        let mut fixed = Arrays::from([
            ("layer".into(), Array::i64([of_layers], layers)),
            ("unit".into(), Array::i64([of_layers, of_units], units)),
        ]);
        if name == "activations" {
            let edges = look.edges().repeat(of_layers * of_units);
            fixed.insert("edges".into(), Array::f64([of_layers, of_units, look.bins + 1], edges));
        }
        fixed
    }

    fn shape(&self, entry: Entry) -> Vec<usize> {
        let look = self.0.look();
        let mut shape = vec![look.chosen.len(), look.units()];
        shape.extend(match entry {
            Entry::Bins => Some(look.bins),
            Entry::Outside => Some(2),
            _ => None,
        });
        shape
    }

    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()> {
        ask(engine, at.theta, &self.0)
    }

    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found> {
        if !loss.is_finite() {
            return Ok(Found { entries: vec![Vec::new(), Vec::new()], numbers: Vec::new() });
        }
        let Distributions { count, outside, mean, var } = read(engine, &self.0)?;
        let whole = |counts: Vec<u32>| counts.into_iter().map(f64::from).collect();
        Ok(Found { entries: vec![vec![whole(count), whole(outside)], vec![mean, var]], numbers: Vec::new() })
    }
}
