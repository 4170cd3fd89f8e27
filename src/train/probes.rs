//! The probes of a run: what is asked of the device at a probed step, and the files that what they find goes to.

use super::line_log::LineLog;
use super::run_folder::RunFolder;
use super::settings::Settings;
use crate::Result;
use crate::files::disk;
use crate::network::Engine;
use crate::ops::backend::Backend;
use crate::probe::line::{self, Along, Landscape, Room};
use crate::runtime::tensor::In;

/// The probes that this version has, each with the line that its points lie on.
pub const NAMES: [(&str, Along); 3] =
    [("landscape", Along::Gradient), ("predictiveness", Along::Gradient), ("random", Along::Random)];

/// One line, and the logs of the probes that want its points: they are measured once.
struct Line {
    room: Room,
    logs: Vec<LineLog>,
}

/// The probes of a run.
pub struct Probes {
    s: Vec<f64>,
    lines: Vec<Line>,
}

impl Probes {
    /// Plans what `settings` ask for. Errors: not enough memory.
    pub fn plan<B: Backend>(engine: &mut Engine<B>, settings: &Settings) -> Result<Vec<(Along, Room)>> {
        let s = settings.step_lengths()?;
        let asked = |along| NAMES.iter().any(|(name, of)| *of == along && settings.probe.iter().any(|p| p == name));
        let lines = [Along::Gradient, Along::Random].into_iter().filter(|&along| asked(along));
        lines.map(|along| Room::new(engine, &s, along).map(|room| (along, room))).collect()
    }

    /// The logs, new or as far as `step` goes. A log that is missing cannot be made up: only a run without a checkpoint begins anew.
    pub fn open(
        rooms: Vec<(Along, Room)>,
        folder: &RunFolder,
        settings: &Settings,
        step: u64,
        resume: bool,
    ) -> Result<Self> {
        let s = settings.step_lengths()?;
        let log = |name: &str, along: Along| {
            let (path, seed) = (folder.probe(name), (along == Along::Random).then_some(settings.seed));
            match step > 0 || (resume && disk::exists(&path)) {
                true => LineLog::reopen(path, s.clone(), seed, (0..step).filter(|&t| settings.probes_at(t))),
                false => Ok(LineLog::new(path, s.clone(), seed)),
            }
        };
        let mut lines = Vec::new();
        for (along, room) in rooms {
            let asked = NAMES.iter().filter(|(name, of)| *of == along && settings.probe.iter().any(|p| p == name));
            lines.push(Line { room, logs: asked.map(|(name, _)| log(name, along)).collect::<Result<_>>()? });
        }
        Ok(Probes { s, lines })
    }

    /// Rooms of what is asked of the device at a probed step.
    pub fn rooms(&self) -> Vec<Room> {
        self.lines.iter().map(|line| line.room).collect()
    }

    /// Reads what step `t` found, whose loss is `loss`; of a loss that is not finite nothing is known.
    pub fn read<B: Backend>(&mut self, engine: &mut Engine<B>, t: u64, loss: f64) -> Result<()> {
        for line in &mut self.lines {
            let found = match loss.is_finite() {
                true => line::read(engine, loss, &self.s, line.room)?,
                false => Landscape::unknown(loss, &self.s),
            };
            line.logs.iter_mut().for_each(|log| log.push(t, &found));
        }
        Ok(())
    }

    /// Writes the files.
    pub fn write(&self) -> Result<()> {
        self.lines.iter().flat_map(|line| &line.logs).try_for_each(LineLog::write)
    }
}

/// Asks the device for all lines at `theta`, whose gradient is `grad`.
pub fn ask<B: Backend>(engine: &mut Engine<B>, rooms: &[Room], theta: In, grad: In) -> Result<()> {
    rooms.iter().try_for_each(|&room| line::ask(engine, theta, grad, room))
}
