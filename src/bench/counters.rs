//! Counters of one training step in the emulator: what its kernels ask of memory and of their warps, kernel by kernel and layer by layer.

use super::device::{BESIDE, layer_names, pass_name};
use super::kind::StepKind;
use super::step::Bench;
use crate::Result;
use crate::report::{Cell, Table, significant};
use crate::runtime::cuda::counts::{Counts, Global, SECTOR, Shared, Widths};
use crate::runtime::cuda::driver::{Driver, Part, Region};
use crate::runtime::cuda::ledger::{Entry, Ledger};
use crate::runtime::cuda::{Cuda, Mode};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is counted where no step is named.
pub const USUAL: &str = "vgg16-0.125-batch";
/// Samples of a VGG's batch, and of a deep linear network's, where no number is asked for: the emulator is slow.
pub const SAMPLES: [usize; 2] = [4, 64];

/// Multiplications and additions of an mma of 16 × 8 × 16.
const MMA_FLOP: u64 = 2 * 16 * 8 * 16;

/// Everything that was counted of one step.
#[derive(Debug, Clone, Serialize)]
pub struct CountedStep {
    /// Of normscape.
    pub version: &'static str,
    /// Of its source.
    pub commit: &'static str,
    /// The emulator, and its compiler.
    pub device: String,
    /// f32, tf32 or bf16.
    pub precision: String,
    /// As in `vgg16-0.125-batch`.
    pub name: String,
    /// Samples of a batch.
    pub batch: usize,
    /// Nodes of the step's graph: launches, dense products and copies.
    pub nodes: usize,
    /// Launches of kernels among them.
    pub launches: usize,
    /// Blocks of each launch that ran at the most (clusters, where there are): the counts are scaled to all of them. None: all ran.
    pub sampled: Option<usize>,
    /// Each kernel's launches together, in the order in which the step has them.
    pub kernels: Vec<Group>,
    /// The same of each pass of each layer by itself; empty where they were not asked for.
    pub layers: Vec<Group>,
    /// Each node of the step's graph by itself, in order, where a part of the blocks was counted: what a model of its time begins with.
    pub work: Vec<Node>,
}

/// What is to be counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Samples of the batch; [`SAMPLES`] otherwise.
    pub samples: Option<usize>,
    /// Each pass of each layer by itself.
    pub layers: bool,
    /// Blocks of each launch that the device runs, if not all.
    pub sampled: Option<usize>,
}

/// One node of the step's graph.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// As in a [`Group`]; `beside the layers` where it belongs to none.
    pub layer: String,
    /// As in a [`Group`]; empty where it belongs to none.
    pub pass: &'static str,
    /// The kernel; `gemm` for a dense product, `copy` for a copy.
    pub kernel: &'static str,
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub dynamic_shared: u32,
    /// Blocks of a cluster; 1 without clusters.
    pub cluster: u32,
    /// Multiplications and additions of a product over taps, nominal and effective; 0 of others.
    pub flops: [f64; 2],
    /// The tensors that it is given.
    pub tensors: Vec<Touched>,
    /// What it asked for; none of what is no kernel of ours.
    pub counts: Option<Counts>,
}

/// A tensor that a node is given.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Touched {
    /// The number of its arena.
    pub arena: u32,
    /// Its offset in the arena, in bytes.
    pub offset: usize,
    /// Its length in bytes.
    pub bytes: usize,
    /// Whether the node may write to it.
    pub written: bool,
}

/// Launches that are counted together.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// As in `conv2, 64→64 at 32²`; none where all layers are together.
    pub layer: Option<String>,
    /// As in `weight gradient`; none where all passes are together.
    pub pass: Option<&'static str>,
    /// The kernel.
    pub kernel: &'static str,
    /// Its launches.
    pub launches: usize,
    /// Blocks of all of them.
    pub blocks: u64,
    /// What they asked for; none of what is no kernel of ours (`gemm`, `copy`).
    pub counts: Option<Counts>,
}

/// Counts a training step of `kind` on `driver`, a device that counts, and runs as many blocks as are asked for.
pub fn count(
    driver: Box<dyn Driver>,
    mode: Mode,
    kind: StepKind,
    Asked { samples, layers, sampled }: Asked,
) -> Result<CountedStep> {
    let device = driver.properties().name.clone();
    let batch = samples.unwrap_or(SAMPLES[usize::from(kind.is_deep_linear())]);
    let network = kind.network()?;
    let names = layer_names(&network, batch)?;
    let mut bench = Bench::new(Cuda::new(Ledger::counting(driver), mode)?, network, batch, kind.rate(), 1)?;
    for _ in 0..2 {
        // The first step rounds θ for itself; from the second on the update has done so.
        bench.step()?;
    }
    let entries = bench.engine.observe().driver().last_work();
    let place = |part: Option<Part>| part.map_or((names.len(), None), |part| (part.link, Some(part.pass)));
    let by_layer = || {
        let mut groups = groups(entries, |entry| (place(entry.part), order_of(entries, entry.kernel)));
        for (((link, pass), _), group) in &mut groups {
            group.layer = Some(names.get(*link).cloned().unwrap_or_else(|| BESIDE.into()));
            group.pass = Some(pass_name(*pass));
        }
        groups.into_values().collect()
    };
    let node = |entry: &Entry| {
        let (link, pass) = place(entry.part);
        let touched = |&(Region { arena, offset, bytes }, written): &(Region, bool)| Touched {
            arena: arena.0,
            offset,
            bytes,
            written,
        };
        Node {
            layer: names.get(link).cloned().unwrap_or_else(|| BESIDE.into()),
            pass: pass_name(pass),
            kernel: entry.kernel,
            blocks: entry.grid.blocks,
            threads: entry.grid.threads,
            dynamic_shared: entry.grid.shared,
            cluster: entry.cluster,
            flops: entry.flops,
            tensors: entry.tensors.iter().map(touched).collect(),
            counts: entry.counts,
        }
    };
    Ok(CountedStep {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("NORMSCAPE_COMMIT"),
        device,
        precision: format!("{mode:?}").to_lowercase(),
        name: kind.to_string(),
        batch,
        nodes: entries.len(),
        launches: entries.iter().filter(|entry| entry.counts.is_some()).count(),
        kernels: groups(entries, |entry| order_of(entries, entry.kernel)).into_values().collect(),
        layers: if layers { by_layer() } else { Vec::new() },
        sampled,
        work: if sampled.is_some() { entries.iter().map(node).collect() } else { Vec::new() },
    })
}

/// Where the step has a kernel first.
fn order_of(entries: &[Entry], kernel: &str) -> usize {
    entries.iter().position(|entry| entry.kernel == kernel).unwrap_or(entries.len())
}

fn groups<K: Ord>(entries: &[Entry], key: impl Fn(&Entry) -> K) -> BTreeMap<K, Group> {
    let mut all = BTreeMap::new();
    for entry in entries {
        let group = all.entry(key(entry)).or_insert_with(|| Group {
            layer: None,
            pass: None,
            kernel: entry.kernel,
            launches: 0,
            blocks: 0,
            counts: None,
        });
        group.launches += 1;
        group.blocks += entry.grid.blocks.iter().map(|&n| u64::from(n)).product::<u64>();
        if let Some(counts) = &entry.counts {
            group.counts.get_or_insert_default().add(counts);
        }
    }
    all
}

fn ratio(amount: u64, of: u64) -> Cell {
    if of == 0 { Cell::from("") } else { Cell::number(significant(amount as f64 / of as f64, 3)) }
}

fn kib(bytes: u64) -> Cell {
    if bytes == 0 { Cell::from("") } else { Cell::number(significant(bytes as f64 / 1024.0, 3)) }
}

fn some(count: u64) -> Cell {
    if count == 0 { Cell::from("") } else { Cell::from(count) }
}

/// The widths of lanes as words: each with its share in per cent, where there are several.
fn widths(of: &Widths) -> Cell {
    let all: u64 = of.each().map(|(_, requests)| requests).sum();
    let there: Vec<_> = of.each().filter(|(_, requests)| *requests > 0).collect();
    let share = |requests: u64| match 100.0 * requests as f64 / all as f64 {
        few if few < 0.5 => "<1 %".to_owned(),
        share => format!("{share:.0} %"),
    };
    Cell::from(match there.as_slice() {
        [(bytes, _)] => bytes.to_string(),
        several => several.iter().map(|(b, n)| format!("{b}: {}", share(*n))).collect::<Vec<_>>().join(", "),
    })
}

/// The cells of one direction of global memory: requests, lanes and sectors of each, use of sectors, widths.
fn requests(global: &Global) -> [Cell; 5] {
    let used = global.used().map_or(Cell::from(""), |used| Cell::number(format!("{:.0} %", 100.0 * used)));
    let Global { requests, lanes, sectors, .. } = global;
    [some(*requests), ratio(*lanes, *requests), ratio(*sectors, *requests), used, widths(&global.widths)]
}

impl CountedStep {
    /// Tables for a terminal: each kernel, or where they were asked for each pass of each layer.
    pub fn tables(&self) -> String {
        let CountedStep { device, precision, name, batch, nodes, launches, .. } = self;
        let mut text = format!(
            "{device}, {precision}: one step of {name}, batch {batch}; {launches} launches, {nodes} nodes of its graph\n"
        );
        if let Some(sampled) = self.sampled {
            text +=
                &format!("Of each launch {sampled} blocks or clusters ran at the most; counts are scaled to all.\n");
        }
        for groups in [&self.kernels, &self.layers] {
            if !groups.is_empty() {
                for (title, table) in [(GLOBAL, global(groups)), (BYTES, bytes(groups)), (WARPS, warps(groups))] {
                    text += &format!("\n{title}\n\n{table}");
                }
                let copying =
                    |group: &Group| group.counts.is_some_and(|counts| counts.bulk.copies + counts.wgmma.requests > 0);
                let asynchronous: Vec<Group> = groups.iter().filter(|group| copying(group)).cloned().collect();
                if !asynchronous.is_empty() {
                    text += &format!("\n{WARPGROUPS}\n\n{}", warpgroups(&asynchronous));
                }
            }
        }
        text
    }
}

/// A table of one kind of counters, with what `cells` makes of each group that was counted.
fn table<const N: usize>(groups: &[Group], heads: [&str; N], cells: impl Fn(&Counts) -> [Cell; N]) -> Table {
    let by_layer = groups.iter().any(|group| group.layer.is_some());
    let first: &[&str] = if by_layer { &["layer", "pass"] } else { &[] };
    let mut table = Table::new(first.iter().chain(&["kernel", "launches"]).chain(&heads).copied());
    for group in groups {
        let place = [group.layer.as_deref(), group.pass].into_iter().flatten().map(Cell::from);
        let work = [Cell::from(group.kernel), Cell::from(group.launches as u64)];
        let counted = group.counts.as_ref().map(&cells).into_iter().flatten();
        table.row(place.chain(work).chain(counted));
    }
    table
}

/// What the tables hold; [`Counts`] says what each number is.
const GLOBAL: &str = "Global memory: requests of warps; of a request its lanes and its sectors; how much of these it needs; bytes of a lane";
const BYTES: &str =
    "Bytes of global memory: those asked for; their sectors once a launch, once a block, and once a request";
const WARPS: &str = "Shared memory: requests, wavefronts beyond the least, bytes of a lane; and what warps do together";

const WARPGROUPS: &str = "Bulk copies of tiles and products of warpgroups: what they read of global memory, bring to shared memory, and read there";

fn global(groups: &[Group]) -> Table {
    let heads = [
        "loads",
        "lanes",
        "sectors",
        "used",
        "bytes",
        "stores",
        "lanes",
        "sectors",
        "used",
        "bytes",
        "of not all lanes",
    ];
    table(groups, heads, |counts| {
        let [a, b, c, d, e] = requests(&counts.loads);
        let [f, g, h, i, j] = requests(&counts.stores);
        [a, b, c, d, e, f, g, h, i, j, some(counts.loads.partial + counts.stores.partial)]
    })
}

fn bytes(groups: &[Group]) -> Table {
    let heads = ["KiB read", "in sectors", "a block", "a request", "KiB written", "in sectors", "a block", "a request"];
    table(groups, heads, |counts| {
        let of = |global: &Global| [global.asked, global.once, global.once_a_block, global.each_time()].map(kib);
        let [a, b, c, d] = of(&counts.loads);
        let [e, f, g, h] = of(&counts.stores);
        [a, b, c, d, e, f, g, h]
    })
}

fn warps(groups: &[Group]) -> Table {
    let heads = [
        "shared loads",
        "extra",
        "shared stores",
        "extra",
        "bytes",
        "ldmatrix",
        "extra",
        "cp.async",
        "mma",
        "shuffles",
        "votes",
        "barriers",
        "remote",
    ];
    table(groups, heads, |counts| {
        let Counts { shared_loads, shared_stores, ldmatrix, barriers, .. } = counts;
        // Where there are requests, no conflict is worth saying.
        let of = |shared: &Shared| {
            let extra = if shared.requests == 0 { Cell::from("") } else { Cell::from(shared.extra) };
            [some(shared.requests), extra]
        };
        let ([a, b], [c, d], [f, g]) = (of(shared_loads), of(shared_stores), of(ldmatrix));
        let mut both = shared_loads.widths;
        both.add(&shared_stores.widths);
        let [copies, mma, shuffles, votes] = [counts.copies, counts.mma, counts.shuffles, counts.votes].map(some);
        let met = some(barriers.block + barriers.cluster + barriers.warp + barriers.some);
        [a, b, c, d, widths(&both), f, g, copies, mma, shuffles, votes, met, some(counts.remote)]
    })
}

fn warpgroups(groups: &[Group]) -> Table {
    let heads = [
        "bulk copies",
        "multicast",
        "sectors",
        "KiB read",
        "KiB brought",
        "wgmma",
        "as mma",
        "FLOP a byte read",
        "KiB of operands",
        "waits",
    ];
    table(groups, heads, |counts| {
        let Counts { bulk, wgmma, waits, .. } = counts;
        let read = bulk.sectors * SECTOR as u64;
        [
            some(bulk.copies),
            some(bulk.multicast),
            some(bulk.sectors),
            kib(read),
            kib(bulk.bytes),
            some(wgmma.requests),
            some(wgmma.mma),
            ratio(wgmma.mma * MMA_FLOP, read),
            kib(wgmma.bytes),
            some(*waits),
        ]
    })
}
