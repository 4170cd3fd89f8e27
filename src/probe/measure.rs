//! What all probes of a run have in common: a row that describes the probe to the rest of the program, and how it is planned, asked and read.

use super::portion::{Points, Portion};
use super::units::Look;
use crate::Result;
use crate::files::{Array, Arrays};
use crate::network::{Engine, Network, Tangents, Update, WeightedLayer};
use crate::ops::backend::Backend;
use crate::runtime::tensor::In;

/// What an array of a probe's file holds for every probed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// One number.
    Number,
    /// A number for each point of the line.
    Points,
    /// A number for each layer with weights.
    Layers,
    /// A number for each probed unit.
    Units,
    /// A count for each bin of each probed unit.
    Bins,
    /// Two counts for each probed unit: of the values below the bins, and above.
    Outside,
}

impl Entry {
    /// Whether the entries are integers.
    pub fn counts(self) -> bool {
        matches!(self, Entry::Bins | Entry::Outside)
    }
}

/// A probe as `--probe` names it. It has a file of its own.
#[derive(Debug)]
pub struct Probe {
    /// Its name.
    pub name: &'static str,
    /// The arrays of its file that have an entry for every probed step.
    pub arrays: &'static [(&'static str, Entry)],
}

/// A measurement that may serve several probes, and what it needs.
#[derive(Debug)]
pub struct Row {
    /// The probes whose files it fills.
    pub probes: &'static [Probe],
    /// The number of vectors as long as θ that it works in. `momentum` is 1 where updates have a velocity, else 0.
    pub vectors: fn(momentum: u128) -> u128,
    /// Whether it needs tangents, that is the linearised network.
    pub tangents: bool,
    /// Whether it looks at single units.
    pub units: bool,
    /// Whether the measurement is possible on a network.
    pub fits: fn(&Network) -> bool,
    /// The cost of each of its probes at a probed step.
    pub work: fn(&Basis) -> f64,
    /// When it is planned and asked, relative to others.
    pub order: Order,
}

/// When a measurement is planned and asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Asked first, because it reads what the pass has left, which another pass overwrites.
    First,
    /// At any time.
    Any,
    /// Planned last, because it uses as much as it can of the memory that the others leave.
    PlannedLast,
}

/// The quantities from which costs are computed, in multiplications.
#[derive(Debug, Clone, Copy)]
pub struct Basis {
    /// A forward and backward pass, as a step makes it.
    pub step: f64,
    /// The same over all samples, where a step works on coordinates instead.
    pub on_samples: f64,
    /// All points of a line.
    pub line: f64,
    /// A look at activations.
    pub look: f64,
    /// The number of layers with weights.
    pub layers: f64,
    /// The number of products with the Hessian.
    pub products: f64,
    /// The number of probed units, plus three for each of their layers.
    pub entries: f64,
}

/// The settings that a run gives to its probes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The step lengths of the run's lines.
    pub s: Vec<f64>,
    /// The run's seed.
    pub seed: u64,
    /// The run's learning rate.
    pub lr: f64,
    /// Whether updates have a velocity.
    pub momentum: bool,
    /// ε of the run's norms.
    pub eps: f64,
    /// Steps of Lanczos.
    pub lanczos: usize,
    /// Vectors for the trace, by Hutchinson.
    pub hutchinson: usize,
    /// Which units are probed, and how, if a probe looks at units.
    pub look: Option<Look>,
    /// The linearised network, if a probe needs it; the probes use it one after the other.
    pub tangents: Option<Tangents>,
}

/// Where a probe measures: right after the pass that computed θ's gradient.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// θ
    pub theta: In,
    /// ∇L(θ)
    pub grad: In,
    /// The update that leads to the next θ.
    pub update: Update,
}

/// The result at a step.
#[derive(Debug, Default)]
pub struct Found {
    /// For each of the row's probes, the entries of its arrays, in order; a missing entry means that nothing is known.
    pub entries: Vec<Vec<Vec<f64>>>,
    /// Single numbers for curves, by name. NaN means that the file holds NaN; `None` is a number that could not be measured.
    pub numbers: Vec<(&'static str, Option<f64>)>,
}

impl Found {
    /// The result of a row with one probe.
    pub fn one(entries: Vec<Vec<f64>>, numbers: Vec<(&'static str, Option<f64>)>) -> Found {
        Found { entries: vec![entries], numbers }
    }
}

/// A measurement with its workspace.
pub trait Measurement<B: Backend> {
    /// The arrays in the file of probe `name` that are the same at every step.
    fn fixed(&self, name: &str) -> Arrays;
    /// The shape of an entry.
    fn shape(&self, entry: Entry) -> Vec<usize>;
    /// Issues the work to the device; nothing is read back. The work is the same each time, so it may be part of a graph.
    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()>;
    /// Reads the results for a step whose loss is `loss`. Nothing is known if that is not finite.
    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found>;
    /// The measurement as one whose points several devices may share; `None` if it has no points.
    fn shared(&self) -> Option<&dyn Shared<B>> {
        None
    }
}

/// A measurement along a line, whose points several devices may share.
pub trait Shared<B: Backend> {
    /// [`Measurement::ask`] for a portion of the points.
    fn ask_portion(&self, engine: &mut Engine<B>, at: Moment, portion: Portion) -> Result<()>;
    /// Reads what [`Shared::ask_portion`] found.
    fn points(&self, engine: &mut Engine<B>, portion: Portion) -> Result<Points>;
    /// [`Measurement::read`] where this device took the first portion, and `others` are those that follow, in order.
    fn read_with(&self, engine: &mut Engine<B>, loss: f64, others: Vec<Points>) -> Result<Found>;
}

/// A kind of measurement: its row, and how to plan it.
pub trait Kind: Sized {
    /// The kind's row.
    const ROW: Row;
    /// Allocates the measurement. Errors: it does not fit the network; not enough memory.
    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self>;
}

/// The layers' numbers and names, as arrays of a probe's file.
pub(super) fn layers_of(layers: &[WeightedLayer]) -> Arrays {
    let count = layers.len();
    let names = Array::text([count], layers.iter().map(|layer| layer.name.clone()).collect());
    let numbers = Array::i64([count], (1..=count as i64).collect());
    Arrays::from([("layer".into(), numbers), ("name".into(), names)])
}
