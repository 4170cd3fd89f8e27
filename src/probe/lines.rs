//! The lines of a run as probes: along the gradient, for `landscape` and `predictiveness`, and along a random direction.

use super::line::{self, Along, Landscape, Workspace};
use super::measure::{Entry, Found, Kind, Measurement, Moment, Options, Order, Probe, Row, Shared};
use super::portion::{Points, Portion};
use crate::Result;
use crate::files::{Array, Arrays};
use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;

/// The arrays of a line's file: those with one number per step, and those with a number per point.
const ARRAYS: &[(&str, Entry)] = &[
    ("base_loss", Entry::Number),
    ("grad_norm", Entry::Number),
    ("loss", Entry::Points),
    ("grad_l2_diff", Entry::Points),
    ("distance", Entry::Points),
    ("beta", Entry::Points),
];

/// The line against the gradient: figures 4, 9 to 13.
pub struct GradientLine(Line);

/// The line against a random direction with the gradient's length: section 3.2.
pub struct RandomLine(Line);

impl Kind for GradientLine {
    const ROW: Row = Row {
        probes: &[Probe { name: "landscape", arrays: ARRAYS }, Probe { name: "predictiveness", arrays: ARRAYS }],
        vectors: |_| 2,
        tangents: false,
        units: false,
        fits: |_| true,
        work: |of| of.line,
        order: Order::PlannedLast,
    };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        Line::plan(engine, options, Along::Gradient, Self::ROW.probes.len()).map(GradientLine)
    }
}

impl Kind for RandomLine {
    const ROW: Row =
        Row { probes: &[Probe { name: "random", arrays: ARRAYS }], vectors: |_| 3, ..<GradientLine as Kind>::ROW };

    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options) -> Result<Self> {
        Line::plan(engine, options, Along::Random, Self::ROW.probes.len()).map(RandomLine)
    }
}

struct Line {
    s: Vec<f64>,
    /// The seed of the random directions; `None` along the gradient.
    seed: Option<u64>,
    room: Workspace,
    /// The number of probes whose files it fills.
    probes: usize,
}

impl Line {
    fn plan<B: Backend>(engine: &mut Engine<B>, options: &Options, along: Along, probes: usize) -> Result<Self> {
        let seed = (along == Along::Random).then_some(options.seed);
        Ok(Line { s: options.s.clone(), seed, room: Workspace::new(engine, &options.s, along)?, probes })
    }

    fn fixed(&self) -> Arrays {
        let mut fixed = Arrays::from([("s".into(), Array::f64([self.s.len()], self.s.clone()))]);
        fixed.extend(self.seed.map(|seed| ("seed".into(), Array::i64([], vec![seed as i64]))));
        fixed
    }

    fn shape(&self, entry: Entry) -> Vec<usize> {
        if entry == Entry::Points { vec![self.s.len()] } else { Vec::new() }
    }

    /// What the files hold of a landscape.
    fn found(&self, found: Landscape) -> Found {
        let [loss_max, diff_max] = [&found.loss, &found.grad_l2_diff].map(|values| most(values));
        let loss_min = -most(&found.loss.iter().map(|loss| -loss).collect::<Vec<_>>());
        // β is NaN where the difference is too small to be resolved: such points are passed over, and where all are there is no maximum.
        // Where the gradient itself was NaN, so is the maximum.
        let resolved = found.beta.iter().copied().filter(|beta| !beta.is_nan()).reduce(f64::max);
        let numbers = vec![
            ("loss_min", Some(loss_min)),
            ("loss_max", Some(loss_max)),
            ("grad_l2_diff_max", Some(diff_max)),
            ("beta_max", if diff_max.is_nan() { Some(f64::NAN) } else { resolved }),
            ("grad_norm", Some(found.grad_norm)),
        ];
        let Landscape { base_loss, grad_norm, loss, grad_l2_diff, distance, beta, .. } = found;
        let entries = vec![vec![base_loss], vec![grad_norm], loss, grad_l2_diff, distance, beta];
        Found { entries: vec![entries; self.probes], numbers }
    }
}

impl<B: Backend> Shared<B> for Line {
    fn ask_portion(&self, engine: &mut Engine<B>, at: Moment, portion: Portion) -> Result<()> {
        line::ask_portion(engine, at.theta, at.grad, self.room, portion)
    }

    fn points(&self, engine: &mut Engine<B>, portion: Portion) -> Result<Points> {
        line::points(engine, self.room, portion)
    }

    fn read_with(&self, engine: &mut Engine<B>, loss: f64, others: Vec<Points>) -> Result<Found> {
        if !loss.is_finite() {
            return Ok(self.found(Landscape::unknown(loss, &self.s)));
        }
        let grad_norm = engine.scalar(Scalar::GradNorm)?;
        let mut points = line::points(engine, self.room, Portion::own(others.len()))?;
        others.into_iter().for_each(|next| points.append(next));
        Ok(self.found(line::landscape_of(points, (loss, grad_norm), &self.s)))
    }
}

macro_rules! measured {
    ($($kind:ident),+) => {$(
        impl<B: Backend> Measurement<B> for $kind {
            fn fixed(&self, _: &str) -> Arrays {
                self.0.fixed()
            }

            fn shape(&self, entry: Entry) -> Vec<usize> {
                self.0.shape(entry)
            }

            fn ask(&self, engine: &mut Engine<B>, at: Moment) -> Result<()> {
                self.0.ask_portion(engine, at, Portion::WHOLE)
            }

            fn read(&self, engine: &mut Engine<B>, loss: f64) -> Result<Found> {
                self.0.read_with(engine, loss, Vec::new())
            }

            fn shared(&self) -> Option<&dyn Shared<B>> {
                Some(&self.0)
            }
        }
    )+};
}

measured!(GradientLine, RandomLine);

/// The largest of some numbers; NaN if one of them is NaN.
fn most(values: &[f64]) -> f64 {
    values
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, |most, value| if most.is_nan() || most >= value { most } else { value })
}
