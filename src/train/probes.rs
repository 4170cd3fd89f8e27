//! The probes of a run: what is asked of the device at a probed step, and the files that what they find goes to.

use super::probe_arrays;
use super::probe_log::{ProbeLog, Series};
use super::run_folder::RunFolder;
use super::settings::Settings;
use crate::files::{Array, Arrays, disk};
use crate::network::layer::Layer;
use crate::network::{Engine, Network};
use crate::ops::backend::Backend;
use crate::probe::activations::{self, Look};
use crate::probe::curvature::{self, Curvature, Effort};
use crate::probe::ics;
use crate::probe::line::{self, Along, Landscape};
use crate::probe::theory::{self, Statements};
use crate::runtime::tensor::In;
use crate::{Error, Result};

/// The probes along lines, each with the line that its points lie on.
const LINES: [(&str, Along); 3] =
    [("landscape", Along::Gradient), ("predictiveness", Along::Gradient), ("random", Along::Random)];
/// The others.
pub(super) const ICS: &str = "ics";
pub(super) const CURVATURE: &str = "curvature";
pub(super) const ACTIVATIONS: &str = "activations";
pub(super) const MOMENTS: &str = "moments";
pub(super) const THEORY: &str = "theory";
/// Those of them that look at single units.
pub const OF_UNITS: [&str; 3] = [ACTIVATIONS, MOMENTS, THEORY];

/// The probes that there are, by name.
pub fn names() -> Vec<&'static str> {
    LINES.iter().map(|(name, _)| *name).chain([ICS, CURVATURE, ACTIVATIONS, MOMENTS, THEORY]).collect()
}

/// Those that fit a network: the theorems are about BatchNorm and no other norm, and one layer has no covariate shift.
pub fn names_for(network: &Network) -> Vec<&'static str> {
    let other = network.links().iter().any(|link| matches!(link.layer, Layer::LpNorm(_) | Layer::GroupNorm(_)));
    let one = network.weighted_layers().len() < 2;
    names().into_iter().filter(|&name| !(name == THEORY && other || name == ICS && one)).collect()
}

/// Refuses a probe that is not there.
pub fn check_name(name: &str) -> Result<()> {
    let there = names();
    if there.contains(&name) {
        return Ok(());
    }
    Err(Error::input(format!("--probe {name}"), "unknown", format!("there are {}", there.join(", "))))
}

/// Which probes are asked for at a step: a bit for each of [`names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due(u32);

impl Due {
    /// Those of step `t`.
    pub fn at(settings: &Settings, t: u64) -> Due {
        if !settings.probes_at(t) {
            return Due(0);
        }
        let due = names().into_iter().map(|name| settings.due(name, t));
        Due(due.enumerate().map(|(bit, due)| u32::from(due) << bit).sum())
    }

    /// Whether there are none.
    pub fn none(self) -> bool {
        self.0 == 0
    }

    /// A number that says which: a kind of step.
    pub fn key(self) -> u64 {
        self.0.into()
    }

    fn has(self, name: &str) -> bool {
        names().into_iter().position(|of| of == name).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }

    fn along(self, along: Along) -> bool {
        LINES.iter().any(|&(name, of)| of == along && self.has(name))
    }
}

/// What the probes of a run ask of a device, with the room that each works in.
#[derive(Debug, Clone, Default)]
pub struct Work {
    lines: Vec<(Along, line::Room)>,
    ics: Option<ics::Room>,
    curvature: Option<curvature::Room>,
    activations: Option<activations::Room>,
    theory: Option<theory::Room>,
}

impl Work {
    /// Plans what `settings` ask for. Errors: a probe that does not fit the network; not enough memory.
    pub fn plan<B: Backend>(engine: &mut Engine<B>, settings: &Settings) -> Result<Work> {
        let (s, asked) = (settings.step_lengths()?, |name: &str| settings.asks(name));
        let mut work = Work::default();
        if asked(ICS) {
            work.ics = Some(ics::Room::new(engine, settings.momentum > 0.0)?);
        }
        // One room serves all that moves a network, one after the other.
        let tangents = [CURVATURE, THEORY].iter().any(|name| asked(name)).then(|| engine.tangents()).transpose()?;
        if let Some(tangents) = tangents.clone().filter(|_| asked(CURVATURE)) {
            let Settings { probe_lanczos: lanczos, probe_hutchinson: hutchinson, .. } = *settings;
            work.curvature = Some(curvature::Room::with(engine, tangents, Effort { lanczos, hutchinson })?);
        }
        if let Some(look) = settings.look(engine.network())? {
            if let Some(tangents) = tangents.filter(|_| asked(THEORY)) {
                work.theory = Some(theory::Room::with(engine, tangents, &look.chosen, settings.eps)?);
            }
            if asked(ACTIVATIONS) || asked(MOMENTS) {
                work.activations = Some(activations::Room::new(engine, look)?);
            }
        }
        // Last: to take several points at once a line takes of the memory that all others leave.
        for along in [Along::Gradient, Along::Random] {
            if LINES.iter().any(|(name, of)| *of == along && asked(name)) {
                work.lines.push((along, line::Room::new(engine, &s, along)?));
            }
        }
        Ok(work)
    }

    /// Asks the device for what is due at `theta`, whose gradient is `grad`, right after the pass that made it; `update` leads to the next θ.
    pub fn ask<B: Backend>(
        &self,
        engine: &mut Engine<B>,
        due: Due,
        theta: In,
        grad: In,
        update: ics::Update,
    ) -> Result<()> {
        // What the pass has left is looked at before another one overwrites it.
        if let Some(room) = self.activations.as_ref().filter(|_| due.has(ACTIVATIONS) || due.has(MOMENTS)) {
            activations::ask(engine, theta, room)?;
        }
        for (_, room) in self.lines.iter().filter(|(along, _)| due.along(*along)) {
            line::ask(engine, theta, grad, *room)?;
        }
        if let Some(room) = self.curvature.as_ref().filter(|_| due.has(CURVATURE)) {
            curvature::ask(engine, theta, grad, room)?;
        }
        if let Some(room) = self.theory.as_ref().filter(|_| due.has(THEORY)) {
            theory::ask(engine, theta, room)?;
        }
        self.ics.as_ref().filter(|_| due.has(ICS)).map_or(Ok(()), |room| ics::ask(engine, theta, grad, update, room))
    }
}

/// The probes of a run.
pub struct Probes {
    s: Vec<f64>,
    work: Work,
    /// Of each line, the logs of the probes that want its points: they are measured once.
    lines: Vec<Vec<(&'static str, ProbeLog)>>,
    ics: Option<ProbeLog>,
    curvature: Option<ProbeLog>,
    activations: Option<ProbeLog>,
    moments: Option<ProbeLog>,
    theory: Option<ProbeLog>,
    /// What the last probed step found, as single numbers by name.
    last: Vec<(String, Option<f64>)>,
}

impl Probes {
    /// The logs, new or as far as `step` goes. A log that is missing cannot be made up: only a run without a checkpoint begins anew.
    pub fn open(work: Work, folder: &RunFolder, settings: &Settings, step: u64, resume: bool) -> Result<Self> {
        let s = settings.step_lengths()?;
        let log = |name: &str, fixed: Arrays, series: Vec<Series>| {
            let log = ProbeLog::new(folder.probe(name), fixed, series);
            match step > 0 || (resume && disk::exists(log.path())) {
                true => log.reopen((0..step).filter(|&t| settings.due(name, t))),
                false => Ok(log),
            }
        };
        let line = |name: &str, along: Along| {
            let mut fixed = Arrays::from([("s".into(), Array::f64([s.len()], s.clone()))]);
            if along == Along::Random {
                fixed.insert("seed".into(), Array::i64([], vec![settings.seed as i64]));
            }
            let each = probe_arrays::OF_LINE.map(|name| Series::numbers(name, []));
            let points = probe_arrays::OF_POINTS.map(|name| Series::numbers(name, [s.len()]));
            log(name, fixed, each.into_iter().chain(points).collect())
        };
        let asked = |name: &str| settings.asks(name);
        let of = |along: Along| LINES.iter().filter(move |(name, of)| *of == along && asked(name));
        let lines = work
            .lines
            .iter()
            .map(|&(along, _)| of(along).map(|(name, along)| Ok((*name, line(name, *along)?))).collect());
        let lines = lines.collect::<Result<_>>()?;
        let shift = |room: &ics::Room| {
            let (count, layers) = (room.layers().len(), room.layers());
            let names = Array::text([count], layers.iter().map(|layer| layer.name.clone()).collect());
            let numbers = Array::i64([count], (1..=count as i64).collect());
            let fixed = Arrays::from([("layer".into(), numbers), ("name".into(), names)]);
            log(ICS, fixed, probe_arrays::OF_ICS.map(|name| Series::numbers(name, [count])).into())
        };
        let ics = work.ics.as_ref().map(shift).transpose()?;
        let bent =
            |_| log(CURVATURE, Arrays::new(), probe_arrays::OF_CURVATURE.map(|name| Series::numbers(name, [])).into());
        let curvature = work.curvature.as_ref().map(bent).transpose()?;
        let look = work.activations.as_ref().map(activations::Room::look);
        let activations = look.filter(|_| asked(ACTIVATIONS)).map(|look| {
            let ([layers, units], bins) = ([look.chosen.len(), look.units()], look.bins);
            let edges = look.edges().repeat(layers * units);
            let mut fixed = looked_at(look);
            fixed.insert("edges".into(), Array::f64([layers, units, bins + 1], edges));
            let [count, outside] = probe_arrays::OF_ACTIVATIONS;
            let series =
                vec![Series::counts(count, [layers, units, bins]), Series::counts(outside, [layers, units, 2])];
            log(ACTIVATIONS, fixed, series)
        });
        let moments = look.filter(|_| asked(MOMENTS)).map(|look| {
            let shape = [look.chosen.len(), look.units()];
            log(MOMENTS, looked_at(look), probe_arrays::OF_MOMENTS.map(|name| Series::numbers(name, shape)).into())
        });
        let (activations, moments) = (activations.transpose()?, moments.transpose()?);
        let statements = |room: &theory::Room| {
            let entries = room.entries();
            let column = |of: fn(&(usize, usize)) -> usize| {
                Array::i64([entries.len()], entries.iter().map(|entry| of(entry) as i64).collect())
            };
            let fixed = Arrays::from([("layer".into(), column(|e| e.0)), ("unit".into(), column(|e| e.1))]);
            let series = Statements::NAMES.map(|name| Series::numbers(name, [entries.len()]));
            log(THEORY, fixed, series.into())
        };
        let theory = work.theory.as_ref().map(statements).transpose()?;
        Ok(Probes { s, work, lines, ics, curvature, activations, moments, theory, last: Vec::new() })
    }

    /// What the last probed step found, in single numbers: `landscape/beta_max`, `ics/cosine_mean`, and the like. NaN is what the probes'
    /// files hold there, as at the step where a run diverged; `None` is a number that could not be measured.
    pub fn last(&self) -> &[(String, Option<f64>)] {
        &self.last
    }

    /// What is asked of the device at a probed step.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Reads what step `t` found, whose loss is `loss`; of a loss that is not finite nothing is known.
    pub fn read<B: Backend>(&mut self, engine: &mut Engine<B>, due: Due, t: u64, loss: f64) -> Result<()> {
        self.last.clear();
        for (logs, &(along, room)) in self.lines.iter_mut().zip(&self.work.lines) {
            if !due.along(along) {
                continue;
            }
            let found = match loss.is_finite() {
                true => line::read(engine, loss, &self.s, room)?,
                false => Landscape::unknown(loss, &self.s),
            };
            let (base_loss, grad_norm) = ([found.base_loss], [found.grad_norm]);
            let entries: [&[f64]; 6] =
                [&base_loss, &grad_norm, &found.loss, &found.grad_l2_diff, &found.distance, &found.beta];
            let [loss_max, diff_max] = [&found.loss, &found.grad_l2_diff].map(|values| most(values));
            let loss_min = -most(&found.loss.iter().map(|loss| -loss).collect::<Vec<_>>());
            // β is NaN where the difference is too small to be resolved: such points are passed over, and where all are there is no maximum.
            // Where the gradient itself was NaN, so is the maximum.
            let resolved = found.beta.iter().copied().filter(|beta| !beta.is_nan()).reduce(f64::max);
            let ends = [
                ("loss_min", Some(loss_min)),
                ("loss_max", Some(loss_max)),
                ("grad_l2_diff_max", Some(diff_max)),
                ("beta_max", if diff_max.is_nan() { Some(f64::NAN) } else { resolved }),
                ("grad_norm", Some(found.grad_norm)),
            ];
            for (name, log) in logs.iter_mut().filter(|(name, _)| due.has(name)) {
                log.push(t, &entries);
                self.last.extend(ends.map(|(end, value)| (format!("{name}/{end}"), value)));
            }
        }
        if let (Some(log), Some(room)) = (self.curvature.as_mut().filter(|_| due.has(CURVATURE)), &self.work.curvature)
        {
            let found = if loss.is_finite() { curvature::read(engine, room)? } else { Curvature::UNKNOWN };
            let Curvature { rayleigh, gain, top: [top, residual], trace: [trace, stderr] } = found;
            let shown = [("rayleigh", rayleigh), ("gain", gain), ("top_eigenvalue", top), ("trace", trace)];
            self.last.extend(shown.map(|(name, value)| (format!("{CURVATURE}/{name}"), Some(value))));
            let entries = [rayleigh, gain, top, residual, trace, stderr].map(|v| [v]);
            log.push(t, &entries.each_ref().map(|v| &v[..]));
        }
        if let Some(room) = self.work.activations.as_ref().filter(|_| due.has(ACTIVATIONS) || due.has(MOMENTS)) {
            let found = if loss.is_finite() { Some(activations::read(engine, room)?) } else { None };
            let whole = |counts: &[u32]| counts.iter().copied().map(f64::from).collect::<Vec<_>>();
            if let Some(log) = self.activations.as_mut().filter(|_| due.has(ACTIVATIONS)) {
                let entries = found.as_ref().map(|found| [whole(&found.count), whole(&found.outside)]);
                log.push(t, &entries.iter().flatten().map(|entry| &entry[..]).collect::<Vec<_>>());
            }
            if let Some(log) = self.moments.as_mut().filter(|_| due.has(MOMENTS)) {
                let entries = found.as_ref().map(|found| [&found.mean[..], &found.var[..]]);
                log.push(t, entries.as_ref().map_or(&[][..], |entries| &entries[..]));
            }
        }
        if let (Some(log), Some(room)) = (self.theory.as_mut().filter(|_| due.has(THEORY)), &self.work.theory) {
            let found = if loss.is_finite() { theory::read(engine, room)? } else { Vec::new() };
            let values: Vec<_> = found.iter().map(Statements::values).collect();
            let entry = |i: usize| values.iter().map(|of| of[i]).collect::<Vec<f64>>();
            let entries: Vec<_> = (0..Statements::NAMES.len()).map(entry).collect();
            log.push(t, &entries.iter().map(|entry| &entry[..]).collect::<Vec<_>>());
        }
        if let (Some(log), Some(room)) = (self.ics.as_mut().filter(|_| due.has(ICS)), &self.work.ics) {
            let [cosine, l2] = match loss.is_finite() {
                true => {
                    let found = ics::read(engine, room)?;
                    log.push(t, &[&found.l2, &found.cosine, &found.grad_norm]);
                    [&found.cosine, &found.l2].map(|values| values.iter().sum::<f64>() / values.len() as f64)
                }
                false => {
                    log.push(t, &[]);
                    [f64::NAN; 2]
                }
            };
            self.last.push((format!("{ICS}/cosine_mean"), Some(cosine)));
            self.last.push((format!("{ICS}/l2_mean"), Some(l2)));
        }
        Ok(())
    }

    /// Writes the files.
    pub fn write(&self) -> Result<()> {
        let others = [&self.ics, &self.curvature, &self.activations, &self.moments, &self.theory];
        let lines = self.lines.iter().flatten().map(|(_, log)| log);
        lines.chain(others.into_iter().flatten()).try_for_each(ProbeLog::write)
    }
}

/// The largest of some numbers; NaN where one is.
fn most(values: &[f64]) -> f64 {
    values
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, |most, value| if most.is_nan() || most >= value { most } else { value })
}

/// Which layers and units are looked at, as arrays.
fn looked_at(look: &Look) -> Arrays {
    let layers: Vec<i64> = look.chosen.iter().map(|(number, _)| *number as i64).collect();
    let units = look.chosen.iter().flat_map(|(_, units)| units.iter().map(|&unit| unit as i64)).collect();
    let shape = [layers.len(), look.units()];
    Arrays::from([("layer".into(), Array::i64([shape[0]], layers)), ("unit".into(), Array::i64(shape, units))])
}
