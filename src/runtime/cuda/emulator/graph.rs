//! Work that is recorded once and replayed, like a CUDA graph: with the arguments that it had when it was recorded.

use crate::runtime::cuda::driver::{Arg, Gemm, Grid, Kernel, Region};
use crate::runtime::cuda::order::{self, Piece};
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

impl Command {
    /// What it touches.
    fn piece(&self) -> Piece {
        let (name, touches) = match self {
            Command::Launch(kernel, _, args) => (kernel.name, args.iter().filter_map(Arg::touches).collect()),
            Command::Copy(from, to) => ("copy", vec![(*from, false), (*to, true)]),
            Command::Gemm(of) => ("gemm", vec![(of.a.region, false), (of.b.region, false), (of.out, true)]),
        };
        Piece { name, touches, after: Vec::new() }
    }
}

/// Recorded work.
#[derive(Debug)]
pub struct Recording {
    commands: Vec<Command>,
    /// Of each command those before it that it must follow, by what they touch.
    after: Vec<Vec<usize>>,
}

impl Recording {
    fn new(commands: Vec<Command>) -> Recording {
        let pieces: Vec<_> = commands.iter().map(Command::piece).collect();
        Recording { after: order::needed(&pieces), commands }
    }

    /// The commands as they were asked for, or with a seed in another order in which each still follows those that it must.
    pub fn commands(&self, seed: Option<u64>) -> impl Iterator<Item = &Command> {
        let order = seed.and_then(|seed| order::any(&self.after, seed));
        order.unwrap_or_else(|| (0..self.commands.len()).collect()).into_iter().map(|place| &self.commands[place])
    }
}

/// What is known about one key.
#[derive(Debug)]
enum Known {
    /// The work has been done once.
    Once,
    Recorded(Arc<Recording>),
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
    pub fn begin(&mut self, key: u64) -> Result<Option<Arc<Recording>>> {
        if let Some(open) = self.open {
            return Err(Error::device("emulator", format!("begin graph {key}"), format!("graph {open} has not ended")));
        }
        match self.known.get(&key) {
            Some(Known::Recorded(recording)) => return Ok(Some(recording.clone())),
            Some(Known::Once) => self.recording = Some(Vec::new()),
            None => {}
        }
        self.open = Some(key);
        Ok(None)
    }

    /// Ends the work `key`, and returns what was recorded and must now be done.
    pub fn end(&mut self, key: u64, good: bool) -> Option<Arc<Recording>> {
        self.open = None;
        let recorded = self.recording.take();
        if !good {
            self.known.remove(&key);
            return None;
        }
        let known = recorded.map_or(Known::Once, |commands| Known::Recorded(Arc::new(Recording::new(commands))));
        let recording = if let Known::Recorded(recording) = &known { Some(recording.clone()) } else { None };
        self.known.insert(key, known);
        recording
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tensor::ArenaId;

    #[test]
    fn what_touches_the_same_bytes_keeps_its_order() {
        let region = |number: usize| Region { arena: ArenaId::numbered(0), offset: 64 * number, bytes: 64 };
        let copies = [(0, 1), (2, 3), (1, 4), (3, 4)].map(|(from, to)| Command::Copy(region(from), region(to)));
        let recording = Recording::new(copies.to_vec());
        let order = |seed: Option<u64>| -> Vec<usize> {
            let place = |command: &Command| match command {
                Command::Copy(from, _) => from.offset / 64,
                _ => usize::MAX,
            };
            recording.commands(seed).map(place).collect()
        };
        assert_eq!(order(None), [0, 2, 1, 3]);
        let orders: std::collections::BTreeSet<_> = (0..64).map(|seed| order(Some(seed))).collect();
        // The third follows the first, the fourth the second and the third.
        assert_eq!(orders.into_iter().collect::<Vec<_>>(), [[0, 1, 2, 3], [0, 2, 1, 3], [2, 0, 1, 3]]);
    }
}
