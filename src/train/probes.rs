//! The probes of a run: what is asked of the device at a probed step, and the files that what they find goes to.

use super::probe_log::ProbeLog;
use super::run_folder::RunFolder;
use super::settings::Settings;
use crate::files::{Array, Arrays, disk};
use crate::network::Engine;
use crate::ops::backend::Backend;
use crate::probe::curvature::{self, Curvature, Effort};
use crate::probe::ics;
use crate::probe::line::{self, Along, Landscape};
use crate::runtime::tensor::In;
use crate::{Error, Result};

/// The probes along lines, each with the line that its points lie on.
const LINES: [(&str, Along); 3] =
    [("landscape", Along::Gradient), ("predictiveness", Along::Gradient), ("random", Along::Random)];
/// The others.
const ICS: &str = "ics";
const CURVATURE: &str = "curvature";
/// Those that a later version has.
const LATER: [&str; 3] = ["activations", "moments", "theory"];

/// Refuses a probe that is not there.
pub fn check_name(name: &str) -> Result<()> {
    if [ICS, CURVATURE].contains(&name) || LINES.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    let problem = if LATER.contains(&name) { "not in this version" } else { "unknown" };
    Err(Error::input(
        format!("--probe {name}"),
        problem,
        "there are landscape, predictiveness, random, ics and curvature",
    ))
}

/// What the probes of a run ask of a device, with the room that each works in.
#[derive(Debug, Clone, Default)]
pub struct Work {
    lines: Vec<(Along, line::Room)>,
    ics: Option<ics::Room>,
    curvature: Option<curvature::Room>,
}

impl Work {
    /// Plans what `settings` ask for. Errors: a probe that does not fit the network; not enough memory.
    pub fn plan<B: Backend>(engine: &mut Engine<B>, settings: &Settings) -> Result<Work> {
        let (s, asked) = (settings.step_lengths()?, |name: &str| settings.probe.iter().any(|p| p == name));
        let mut work = Work::default();
        for along in [Along::Gradient, Along::Random] {
            if LINES.iter().any(|(name, of)| *of == along && asked(name)) {
                work.lines.push((along, line::Room::new(engine, &s, along)?));
            }
        }
        if asked(ICS) {
            work.ics = Some(ics::Room::new(engine, settings.momentum > 0.0)?);
        }
        if asked(CURVATURE) {
            let Settings { probe_lanczos: lanczos, probe_hutchinson: hutchinson, .. } = *settings;
            work.curvature = Some(curvature::Room::new(engine, Effort { lanczos, hutchinson })?);
        }
        Ok(work)
    }

    /// Asks the device for all of it at `theta`, whose gradient is `grad`; `update` leads to the next θ.
    pub fn ask<B: Backend>(&self, engine: &mut Engine<B>, theta: In, grad: In, update: ics::Update) -> Result<()> {
        for &(_, room) in &self.lines {
            line::ask(engine, theta, grad, room)?;
        }
        if let Some(room) = &self.curvature {
            curvature::ask(engine, theta, grad, room)?;
        }
        self.ics.as_ref().map_or(Ok(()), |room| ics::ask(engine, theta, grad, update, room))
    }
}

/// The probes of a run.
pub struct Probes {
    s: Vec<f64>,
    work: Work,
    /// Of each line, the logs of the probes that want its points: they are measured once.
    lines: Vec<Vec<ProbeLog>>,
    ics: Option<ProbeLog>,
    curvature: Option<ProbeLog>,
}

impl Probes {
    /// The logs, new or as far as `step` goes. A log that is missing cannot be made up: only a run without a checkpoint begins anew.
    pub fn open(work: Work, folder: &RunFolder, settings: &Settings, step: u64, resume: bool) -> Result<Self> {
        let s = settings.step_lengths()?;
        let log = |name: &str, fixed: Arrays, series: &[(&'static str, Vec<usize>)]| {
            let log = ProbeLog::new(folder.probe(name), fixed, series);
            match step > 0 || (resume && disk::exists(log.path())) {
                true => log.reopen((0..step).filter(|&t| settings.probes_at(t))),
                false => Ok(log),
            }
        };
        let line = |name: &str, along: Along| {
            let mut fixed = Arrays::from([("s".into(), Array::f64([s.len()], s.clone()))]);
            if along == Along::Random {
                fixed.insert("seed".into(), Array::i64([], vec![settings.seed as i64]));
            }
            let points = || vec![s.len()];
            let [loss, diff] = [("loss", points()), ("grad_l2_diff", points())];
            let [distance, beta] = [("distance", points()), ("beta", points())];
            log(name, fixed, &[("base_loss", vec![]), ("grad_norm", vec![]), loss, diff, distance, beta])
        };
        let asked = |name: &str| settings.probe.iter().any(|p| p == name);
        let of = |along: Along| LINES.iter().filter(move |(name, of)| *of == along && asked(name));
        let lines = work.lines.iter().map(|&(along, _)| of(along).map(|(name, along)| line(name, *along)).collect());
        let lines = lines.collect::<Result<_>>()?;
        let shift = |room: &ics::Room| {
            let (count, layers) = (room.layers().len(), room.layers());
            let names = Array::text([count], layers.iter().map(|layer| layer.name.clone()).collect());
            let numbers = Array::i64([count], (1..=count as i64).collect());
            let each = |name| (name, vec![count]);
            let fixed = Arrays::from([("layer".into(), numbers), ("name".into(), names)]);
            log(ICS, fixed, &[each("l2"), each("cosine"), each("grad_norm")])
        };
        let ics = work.ics.as_ref().map(shift).transpose()?;
        let series =
            ["rayleigh", "gain", "top_eigenvalue", "top_residual", "trace", "trace_stderr"].map(|name| (name, vec![]));
        let curvature = work.curvature.as_ref().map(|_| log(CURVATURE, Arrays::new(), &series)).transpose()?;
        Ok(Probes { s, work, lines, ics, curvature })
    }

    /// What is asked of the device at a probed step.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Reads what step `t` found, whose loss is `loss`; of a loss that is not finite nothing is known.
    pub fn read<B: Backend>(&mut self, engine: &mut Engine<B>, t: u64, loss: f64) -> Result<()> {
        for (logs, &(_, room)) in self.lines.iter_mut().zip(&self.work.lines) {
            let found = match loss.is_finite() {
                true => line::read(engine, loss, &self.s, room)?,
                false => Landscape::unknown(loss, &self.s),
            };
            let (base_loss, grad_norm) = ([found.base_loss], [found.grad_norm]);
            let entries: [&[f64]; 6] =
                [&base_loss, &grad_norm, &found.loss, &found.grad_l2_diff, &found.distance, &found.beta];
            logs.iter_mut().for_each(|log| log.push(t, &entries));
        }
        if let (Some(log), Some(room)) = (&mut self.curvature, &self.work.curvature) {
            let found = if loss.is_finite() { curvature::read(engine, room)? } else { Curvature::UNKNOWN };
            let Curvature { rayleigh, gain, top: [top, residual], trace: [trace, stderr] } = found;
            let entries = [rayleigh, gain, top, residual, trace, stderr].map(|v| [v]);
            log.push(t, &entries.each_ref().map(|v| &v[..]));
        }
        if let (Some(log), Some(room)) = (&mut self.ics, &self.work.ics) {
            match loss.is_finite() {
                true => {
                    let found = ics::read(engine, room)?;
                    log.push(t, &[&found.l2, &found.cosine, &found.grad_norm]);
                }
                false => log.push(t, &[]),
            }
        }
        Ok(())
    }

    /// Writes the files.
    pub fn write(&self) -> Result<()> {
        self.lines.iter().flatten().chain(&self.ics).chain(&self.curvature).try_for_each(ProbeLog::write)
    }
}
