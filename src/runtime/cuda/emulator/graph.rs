//! Work that is recorded once and replayed, like a CUDA graph: with the arguments that it had when it was recorded.

use crate::runtime::cuda::driver::{Arg, Gemm, Grid, Kernel, Region};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// One operation that was asked for.
#[derive(Debug, Clone)]
pub enum Command {
    Launch(&'static Kernel, Grid, Vec<Arg>),
    Copy(Region, Region),
    Gemm(Gemm),
}

/// What is known about one key.
#[derive(Debug)]
enum Known {
    /// The work has been done once.
    Once,
    Recorded(Arc<Vec<Command>>),
}

/// All recorded work of a device, and the recording in progress.
#[derive(Debug, Default)]
pub struct Graphs {
    known: HashMap<u64, Known>,
    open: Option<u64>,
    recording: Option<Vec<Command>>,
}

impl Graphs {
    /// Begins the work `key`, and returns its recording if there is one. Errors: other work has not ended.
    pub fn begin(&mut self, key: u64) -> Result<Option<Arc<Vec<Command>>>> {
        if let Some(open) = self.open {
            return Err(Error::device("emulator", format!("begin graph {key}"), format!("graph {open} has not ended")));
        }
        match self.known.get(&key) {
            Some(Known::Recorded(commands)) => return Ok(Some(commands.clone())),
            Some(Known::Once) => self.recording = Some(Vec::new()),
            None => {}
        }
        self.open = Some(key);
        Ok(None)
    }

    /// Ends the work `key`, and returns what was recorded and must now be done.
    pub fn end(&mut self, key: u64, good: bool) -> Option<Arc<Vec<Command>>> {
        self.open = None;
        let recorded = self.recording.take();
        if !good {
            self.known.remove(&key);
            return None;
        }
        let known = recorded.map_or(Known::Once, |commands| Known::Recorded(Arc::new(commands)));
        let commands = if let Known::Recorded(commands) = &known { Some(commands.clone()) } else { None };
        self.known.insert(key, known);
        commands
    }

    /// Adds a command to the recording in progress. Returns whether there is one.
    pub fn records(&mut self, command: impl FnOnce() -> Command) -> bool {
        match &mut self.recording {
            Some(recording) => {
                recording.push(command());
                true
            }
            None => false,
        }
    }

    /// Refuses an action that cannot be part of a graph, even the first time, when nothing is recorded yet.
    pub fn refuse(&self, action: &str) -> Result<()> {
        match self.open {
            Some(key) => Err(Error::device("emulator", action, format!("graph {key} has not ended"))),
            None => Ok(()),
        }
    }
}
