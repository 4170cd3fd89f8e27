//! What `normscape bench --device emulator --counters --sampled --json` prints, as far as the model takes it.

use serde::Deserialize;
use std::collections::BTreeMap;

/// One step.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub commit: String,
    pub precision: String,
    pub name: String,
    pub batch: usize,
    pub sampled: Option<usize>,
    /// The nodes of the step's graph, in order.
    pub work: Vec<Node>,
}

/// One node.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    pub layer: String,
    pub pass: String,
    pub kernel: String,
    pub blocks: [u64; 3],
    pub threads: u32,
    pub dynamic_shared: u32,
    /// Nominal, and effective: of valid taps only.
    pub flops: [f64; 2],
    pub tensors: Vec<Tensor>,
    pub counts: Option<Counts>,
}

/// A tensor that a node is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Tensor {
    pub arena: u32,
    pub offset: u64,
    pub bytes: u64,
    pub written: bool,
}

/// Counters of all of a node's blocks.
#[derive(Debug, Clone, Deserialize)]
pub struct Counts {
    pub loads: Global,
    pub stores: Global,
    pub shared_loads: Shared,
    pub shared_stores: Shared,
    pub ldmatrix: Shared,
    pub remote: f64,
    pub mma: f64,
    pub shuffles: f64,
    pub barriers: Barriers,
    /// What programs from before bulk copies were counted do not print.
    #[serde(default)]
    pub bulk: Bulk,
    #[serde(default)]
    pub wgmma: Wgmma,
    #[serde(default)]
    pub waits: f64,
}

/// Bulk copies of tiles.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Bulk {
    pub copies: f64,
    pub sectors: f64,
    pub bytes: f64,
    pub once: f64,
}

/// Products of warpgroups.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Wgmma {
    pub requests: f64,
    pub mma: f64,
    pub bytes: f64,
    pub busiest: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Global {
    pub sectors: f64,
    pub once: f64,
    pub once_a_block: f64,
    widths: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Shared {
    pub requests: f64,
    pub wavefronts: f64,
    widths: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Barriers {
    pub block: f64,
    #[serde(default)]
    pub some: f64,
}

/// Bytes of one lane of all requests together.
fn lane_bytes(widths: &BTreeMap<String, f64>) -> f64 {
    widths.iter().map(|(width, requests)| width.parse().unwrap_or(0.0) * requests).sum()
}

impl Global {
    /// Bytes of one lane of all requests together: what an instruction of a warp counts for, by its width, however requests were joined.
    pub fn lane_bytes(&self) -> f64 {
        lane_bytes(&self.widths)
    }
}

impl Shared {
    /// As [`Global::lane_bytes`].
    pub fn lane_bytes(&self) -> f64 {
        lane_bytes(&self.widths)
    }
}

impl Node {
    /// Blocks of its grid.
    pub fn all_blocks(&self) -> f64 {
        self.blocks.iter().product::<u64>() as f64
    }

    /// How much more the busiest block multiplies than a block does on average, where operands come by bulk copies: blocks go through tiles then, of which
    /// some have one more.
    pub fn unevenness(&self) -> f64 {
        match &self.counts {
            Some(Counts { wgmma, mma, bulk, .. }) if bulk.copies > 0.0 && wgmma.mma + mma > 0.0 => {
                (wgmma.busiest * self.all_blocks() / (wgmma.mma + mma)).max(1.0)
            }
            _ => 1.0,
        }
    }

    /// Warps of its grid.
    pub fn warps(&self) -> f64 {
        self.all_blocks() * f64::from(self.threads.div_ceil(32))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    impl Counts {
        /// Loads and stores of 16 bytes a lane: so many requests.
        pub fn set_global(&mut self, loads: f64, stores: f64) {
            for (global, requests) in [(&mut self.loads, loads), (&mut self.stores, stores)] {
                *global = Global {
                    sectors: 16.0 * requests,
                    once: 512.0 * requests,
                    once_a_block: 512.0 * requests,
                    widths: [("16".to_owned(), requests)].into(),
                };
            }
        }
    }

    /// Two blocks of four warps that asked for nothing.
    pub fn node() -> Node {
        let nothing = || Shared { requests: 0.0, wavefronts: 0.0, widths: BTreeMap::new() };
        let global = || Global { sectors: 0.0, once: 0.0, once_a_block: 0.0, widths: BTreeMap::new() };
        Node {
            layer: "conv2, 64→64 at 32²".into(),
            pass: "forward".into(),
            kernel: "k".into(),
            blocks: [2, 1, 1],
            threads: 128,
            dynamic_shared: 0,
            flops: [0.0; 2],
            tensors: Vec::new(),
            counts: Some(Counts {
                loads: global(),
                stores: global(),
                shared_loads: nothing(),
                shared_stores: nothing(),
                ldmatrix: nothing(),
                remote: 0.0,
                mma: 0.0,
                shuffles: 0.0,
                barriers: Barriers { block: 0.0, some: 0.0 },
                bulk: Bulk::default(),
                wgmma: Wgmma::default(),
                waits: 0.0,
            }),
        }
    }
}
