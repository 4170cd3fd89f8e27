//! Graphs.

use super::codes::{Done, UNKNOWN};
use super::state::State;
use super::work::{self, Node, Op};
use normscape::runtime::cuda::order::{self, Wrong};
use std::sync::Arc;

/// A graph, as it was recorded.
#[derive(Debug)]
pub struct Graph {
    /// The context that it was recorded in.
    pub context: usize,
    /// Its nodes.
    pub nodes: Arc<Vec<Node>>,
}

/// A graph that can be launched.
#[derive(Debug)]
pub struct Exec {
    /// The context that it was made in.
    pub context: usize,
    /// Its nodes.
    pub nodes: Arc<Vec<Node>>,
}

impl State {
    /// Makes a graph ready to be launched.
    pub fn instantiate(&mut self, graph: usize) -> Done<usize> {
        self.own("graph", self.graphs.get(&graph).map(|graph| graph.context))?;
        let Some(nodes) = self.graphs.get(&graph).map(|graph| graph.nodes.clone()) else { return Err(UNKNOWN) };
        self.look_at_edges(&nodes)?;
        let (context, handle) = (self.current(), self.handle());
        self.execs.insert(handle, Exec { context, nodes });
        Ok(handle)
    }

    /// Reports nodes that touch the same memory in an order that the graph leaves open. CUDA takes such a graph and gives one result or another.
    fn look_at_edges(&mut self, nodes: &[Node]) -> Done {
        let pieces = work::pieces(self.context()?, nodes);
        let problem = match order::check(&pieces) {
            Ok(()) => return Ok(()),
            Err(Wrong::Circle) => "the edges of the graph lead in a circle".to_owned(),
            Err(Wrong::Unordered { pieces: [first, later], region }) => {
                let [first, later] = [first, later].map(|node| format!("node {node} ({})", pieces[node].name));
                format!("no path leads from {first} to {later}, which touch the same {} bytes", region.bytes)
            }
        };
        self.breach::<()>(0, problem).or(Ok(()))
    }

    /// Asks for a graph's work.
    pub fn replay(&mut self, exec: usize, stream: usize) -> Done {
        self.own("graph that can be launched", self.execs.get(&exec).map(|exec| exec.context))?;
        let Some(nodes) = self.execs.get(&exec).map(|exec| exec.nodes.clone()) else { return Err(UNKNOWN) };
        self.submit(stream, Op::Replay(exec, nodes))
    }

    /// Lets a graph go. What was made of it stays.
    pub fn destroy_graph(&mut self, graph: usize) -> Done {
        self.own("graph", self.graphs.get(&graph).map(|graph| graph.context))?;
        self.graphs.remove(&graph);
        Ok(())
    }

    /// Lets a graph go that can be launched.
    pub fn destroy_exec(&mut self, exec: usize) -> Done {
        self.own("graph that can be launched", self.execs.get(&exec).map(|exec| exec.context))?;
        let queued = |op: &Op| matches!(op, Op::Replay(of, _) if *of == exec);
        if self.streams.values().any(|stream| stream.queue.iter().any(queued)) {
            let _ = self.breach::<()>(0, "the graph is queued in a stream that was not waited for");
        }
        self.execs.remove(&exec);
        Ok(())
    }
}
