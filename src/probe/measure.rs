//! What the probes of a run have in common: a row that tells everything else of each, and how it is planned, asked and read.

use super::units::Look;
use crate::Result;
use crate::files::{Array, Arrays};
use crate::network::{Engine, Network, Tangents, WeightedLayer};
use crate::ops::backend::Backend;
use crate::runtime::tensor::{In, View};

/// The update that leads to θ_{t+1}.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// v, where there is momentum.
    pub velocity: Option<View>,
    /// μ
    pub momentum: f64,
    /// λ
    pub weight_decay: f64,
}

/// What an array of a probe's file has for every probed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A number.
    Number,
    /// A number for each point along the line.
    Points,
    /// For each layer with weights.
    Layers,
    /// For each unit that is looked at.
    Units,
    /// A count for each bin of each of these.
    Bins,
    /// Two counts for each of these: what lies below the bins, and above.
    Outside,
}

impl Entry {
    /// Whether it holds whole numbers.
    pub fn counts(self) -> bool {
        matches!(self, Entry::Bins | Entry::Outside)
    }
}

/// A probe as `--probe` names it: it has a file of its own.
#[derive(Debug)]
pub struct Probe {
    /// Its name.
    pub name: &'static str,
    /// The arrays of its file that have an entry for every probed step.
    pub arrays: &'static [(&'static str, Entry)],
}

/// What is measured together, and what that takes.
#[derive(Debug)]
pub struct Row {
    /// The probes whose files it fills.
    pub probes: &'static [Probe],
    /// Vectors as long as θ that it works in; `momentum` is 1 where updates have a velocity, else 0.
    pub vectors: fn(momentum: u128) -> u128,
    /// It moves the network: it needs the linearised one.
    pub tangents: bool,
    /// It looks at single units.
    pub units: bool,
    /// Whether it fits a network.
    pub fits: fn(&Network) -> bool,
    /// What each of its probes costs at a probed step.
    pub work: fn(&Basis) -> f64,
    /// When it is planned and asked, beside others.
    pub order: Order,
}

/// When a measurement is planned and asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Asked first: it looks at what the pass has left, which another pass overwrites.
    First,
    /// It does not matter.
    Any,
    /// Planned last: of the memory that all others leave it takes what it can use.
    PlannedLast,
}

/// What costs are made of, in multiplications.
#[derive(Debug, Clone, Copy)]
pub struct Basis {
    /// A pass forward and backward, as a step makes it.
    pub step: f64,
    /// The same over all samples, where a step takes coordinates for them.
    pub on_samples: f64,
    /// A line of points.
    pub line: f64,
    /// A look at activations.
    pub look: f64,
    /// Layers with weights.
    pub layers: f64,
    /// Products with the Hessian.
    pub products: f64,
    /// Units that are looked at, and three for each of their layers.
    pub entries: f64,
}

/// What a run asks of its probes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The step lengths of its lines.
    pub s: Vec<f64>,
    /// Its seed.
    pub seed: u64,
    /// Its learning rate.
    pub lr: f64,
    /// Whether updates have a velocity.
    pub momentum: bool,
    /// ε of its norms.
    pub eps: f64,
    /// Steps of Lanczos, and vectors for the trace.
    pub lanczos: usize,
    /// See `lanczos`.
    pub hutchinson: usize,
    /// Which units are looked at, and how, where a probe does.
    pub look: Option<Look>,
    /// The linearised network, where a probe moves it: they use it one after the other.
    pub tangents: Option<Tangents>,
}

/// Where a probe looks: right after the pass that made θ's gradient.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// θ
    pub theta: In,
    /// ∇L(θ)
    pub grad: In,
    /// What leads to the next θ.
    pub update: Update,
}

/// What was found at a step.
#[derive(Debug, Default)]
pub struct Found {
    /// For each of the row's probes its arrays' entries, in order; where one is missing, nothing is known.
    pub entries: Vec<Vec<Vec<f64>>>,
    /// Single numbers for curves, by name. NaN is what the file holds there; `None` is a number that could not be measured.
    pub numbers: Vec<(&'static str, Option<f64>)>,
}

impl Found {
    /// Of a row with one probe.
    pub fn one(entries: Vec<Vec<f64>>, numbers: Vec<(&'static str, Option<f64>)>) -> Found {
        Found { entries: vec![entries], numbers }
    }
}

/// A measurement with the room that it works in.
pub trait Measurement<B: Backend> {
    /// The arrays of the file of probe `name` that are the same at every step.
    fn fixed(&self, name: &str) -> Arrays;
    /// The shape of an entry.
    fn shape(&self, entry: Entry) -> Vec<usize>;
    /// Asks the device; nothing is read back. The same work each time: it may be part of a graph.
    fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()>;
    /// Reads what was asked for, of a step whose loss is `loss`; of one that is not finite nothing is known.
    fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found>;
}

/// A kind of measurement: its row, and how it is planned.
pub trait Kind: Sized {
    /// Its row.
    const ROW: Row;
    /// Allocates it. Errors: it does not fit the network; not enough memory.
    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self>;
}

/// Numbers and names of layers, as a probe's file has them.
pub(super) fn layers_of(layers: &[WeightedLayer]) -> Arrays {
    let count = layers.len();
    let names = Array::text([count], layers.iter().map(|layer| layer.name.clone()).collect());
    let numbers = Array::i64([count], (1..=count as i64).collect());
    Arrays::from([("layer".into(), numbers), ("name".into(), names)])
}
