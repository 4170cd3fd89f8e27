//! Benchmarks on a CUDA device: whole steps as graphs, each pass of each layer, and each kernel next to the device's measured limits.
//!
//! Times are measured on the device, between two events. Enough repetitions run between the events to take some milliseconds. One
//! repetition before the first event is not counted: while it runs, the host issues the others. So the cost of issuing work counts only
//! where the device really waits for it.

use super::Choice;
use super::kind::StepKind;
use super::limits::Limits;
use super::results::{KernelTime, LayerTime, OneStep, Results, Step, Work};
use super::step::Bench;
use super::timing::Time;
use crate::Result;
use crate::network::{Dln, Network, Norm, Normalisation, Scalar, dln, vgg};
use crate::runtime::cuda::driver::{Driver, Gemm, Operand, Pass, Region};
use crate::runtime::cuda::ledger::{Entry, Ledger};
use crate::runtime::cuda::{Cuda, Mode};
use crate::runtime::tensor::{ArenaId, DType};
use std::collections::BTreeMap;

/// Points of the timed probe.
const POINTS: usize = 4;
/// The least time between two events, in seconds; below it, the most repetitions between them.
const SPAN: f64 = 5e-3;
const MOST: usize = 1000;
/// How often work is issued before it counts. The first step also rounds θ, so it does different work from the steps that follow. A later
/// step is issued once, recorded once, and replayed from then on.
const WARM_UP: usize = 3;

/// Mean seconds on the device of one `work`, over `each` repetitions. `driver` gives the driver inside `on`.
fn span<T: ?Sized, D: Driver + ?Sized>(
    on: &mut T,
    driver: &impl Fn(&mut T) -> &mut D,
    each: usize,
    work: &mut impl FnMut(&mut T) -> Result<()>,
) -> Result<f64> {
    work(on)?;
    driver(on).mark(0)?;
    for _ in 0..each {
        work(on)?;
    }
    driver(on).mark(1)?;
    Ok(driver(on).elapsed()? / each as f64)
}

/// Times `work` in `runs` spans, after a few that warm up and record.
fn spans<T: ?Sized, D: Driver + ?Sized>(
    on: &mut T,
    driver: impl Fn(&mut T) -> &mut D,
    runs: usize,
    mut work: impl FnMut(&mut T) -> Result<()>,
) -> Result<Time> {
    for _ in 0..WARM_UP {
        work(on)?;
    }
    let once = span(on, &driver, 1, &mut work)?;
    let each = if once > 0.0 { (SPAN / once).ceil().clamp(1.0, MOST as f64) as usize } else { MOST };
    // What takes long enough by itself has been timed once already.
    let mut seconds: Vec<f64> = (each == 1).then_some(once).into_iter().collect();
    while seconds.len() < runs {
        seconds.push(span(on, &driver, each, &mut work)?);
    }
    Ok(Time::of(seconds, each))
}

/// Bytes per second of a copy between two halves of `bytes`.
fn copy_rate(driver: &mut dyn Driver, bytes: usize) -> Result<f64> {
    let arena = ArenaId::numbered(0);
    driver.allocate(arena, 2 * bytes)?;
    let [from, to] = [0, bytes].map(|offset| Region { arena, offset, bytes });
    let time = spans(driver, |driver| driver, 10, |driver| driver.copy(from, to))?;
    Ok(2.0 * bytes as f64 / time.min)
}

/// Operations per second of a dense product of `side`³; the operands are in arena 0.
fn matrix_rate(driver: &mut dyn Driver, mode: Mode, side: usize) -> Result<Option<f64>> {
    if !driver.has_gemm() {
        return Ok(None);
    }
    let (operands, each) = if mode == Mode::Bf16 { (DType::Bf16, 2) } else { (DType::F32, 4) };
    let region =
        |i: usize| Region { arena: ArenaId::numbered(0), offset: i * side * side * each, bytes: side * side * each };
    let operand = |i| Operand { region: region(i), transposed: false };
    // Numbers, not zeros: a device computes zeros with less power, and so faster.
    let noise: Vec<u8> =
        (0..2 * side * side * each).map(|i| if i % each == each - 1 { 0x3C } else { (i * 37 % 251) as u8 }).collect();
    driver.upload(Region { bytes: noise.len(), ..region(0) }, &noise)?;
    let product = Gemm {
        m: side,
        n: side,
        k: side,
        a: operand(0),
        b: operand(1),
        operands,
        tf32: mode == Mode::Tf32,
        out: region(2),
        result: operands,
    };
    let time = spans(driver, |driver| driver, 10, |driver| driver.gemm(product))?;
    Ok(Some(2.0 * (side as f64).powi(3) / time.min))
}

/// Sums the launches with the same kernel and grid; the slowest come first.
fn kernels(entries: &[Entry], limits: &Limits) -> Vec<KernelTime> {
    let mut all: BTreeMap<(&'static str, [u32; 3], u64), Work> = BTreeMap::new();
    for entry in entries {
        let bytes = entry.bytes[0] + entry.bytes[1];
        let work = all.entry((entry.kernel, entry.grid.blocks, bytes)).or_default();
        work.add(entry.seconds.unwrap_or(0.0), bytes, entry.flops);
    }
    let times = all.into_iter().map(|((kernel, blocks, _), work)| KernelTime { kernel, blocks, work: work.of(limits) });
    let mut times: Vec<_> = times.collect();
    times.sort_by(|a, b| b.work.seconds.total_cmp(&a.work.seconds));
    times
}

/// The layers' names, each with its shape: as in `conv2, 64→64 at 32²`.
pub(super) fn layer_names(network: &Network, batch: usize) -> Result<Vec<String>> {
    let (mut names, mut x) = (Vec::new(), network.input(batch));
    for link in network.links() {
        let y = link.layer.output(x)?;
        let name = if link.name.is_empty() { link.layer.describe() } else { link.name.clone() };
        let ([side, _, _, from], to) = (x.hwnc(), y.hwnc()[3]);
        names.push(format!("{name}, {from}→{to} at {side}²"));
        x = y;
    }
    Ok(names)
}

/// A pass as tables name it.
pub(super) fn pass_name(pass: Option<Pass>) -> &'static str {
    match pass {
        Some(Pass::Forward) => "forward",
        Some(Pass::Backward) => "backward",
        Some(Pass::InputGradient) => "input gradient",
        Some(Pass::WeightGradient) => "weight gradient",
        None => "",
    }
}

/// Where launches stand that belong to no layer.
pub(super) const BESIDE: &str = "beside the layers";

/// The launches of one pass of one layer together, in the order of the chain; last those that belong to none.
fn layers(entries: &[Entry], network: &Network, batch: usize, limits: &Limits) -> Result<Vec<LayerTime>> {
    let names = layer_names(network, batch)?;
    let mut all: BTreeMap<(usize, Option<Pass>), Work> = BTreeMap::new();
    for entry in entries {
        let place = entry.part.map_or((names.len(), None), |part| (part.link, Some(part.pass)));
        let bytes = entry.bytes[0] + entry.bytes[1];
        all.entry(place).or_default().add(entry.seconds.unwrap_or(0.0), bytes, entry.flops);
    }
    let time = |((link, pass), work): ((usize, Option<Pass>), Work)| LayerTime {
        algorithm: None,
        layer: names.get(link).cloned().unwrap_or_else(|| BESIDE.into()),
        pass: pass_name(pass),
        work: work.of(limits),
    };
    Ok(all.into_iter().map(time).collect())
}

/// Runs the benchmarks. Each part opens a device of its own with `open`, so that no part holds another's memory. Without `full` the
/// networks are small: enough to check that the benchmarks work, on the emulator too.
pub fn measure(
    open: impl Fn() -> Result<Box<dyn Driver>>,
    mode: Mode,
    choice: Choice,
    say: &mut dyn FnMut(&str),
) -> Result<Results> {
    let full = choice.full;
    say("limits of the device");
    let mut driver = open()?;
    let device = driver.properties().name.clone();
    let copy = copy_rate(driver.as_mut(), if full { 1 << 30 } else { 1 << 22 })?;
    let matrix = matrix_rate(driver.as_mut(), mode, if full { 4096 } else { 128 })?;
    let limits = Limits { matrix, copy };
    drop(driver);
    let (width, batch, runs) = if full { (1.0, 128, 40) } else { (0.0625, 4, 1) };
    let mut results = Results {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("NORMSCAPE_COMMIT"),
        device,
        precision: format!("{mode:?}").to_lowercase(),
        threads: None,
        limits,
        steps: Vec::new(),
        layers: Vec::new(),
        kernels: Vec::new(),
    };
    let mut networks: Vec<(String, Network, usize, f64)> = Vec::new();
    for norm in [Norm::Batch, Norm::None] {
        let normalisation = Normalisation::new(norm);
        networks.push((format!("vgg16-{width}-{norm}"), vgg("vgg16", width, normalisation)?, batch, 0.01));
        let samples = if full { 1000 } else { 64 };
        networks.push((format!("dln-{norm}"), dln(Dln::default(), normalisation)?, samples, 1e-9));
    }
    say("single kernels");
    let (_, network, n, rate) = &networks[0];
    let (kernels, layers) = work_of(open()?, mode, network, (*n, *rate), full, &limits)?;
    results.kernels = kernels;
    if choice.layers {
        results.layers = layers;
    }
    for (name, network, n, rate) in networks {
        say(&name);
        let bench = Bench::new(Cuda::new(open()?, mode)?, network, n, rate, POINTS)?;
        results.steps.extend(steps(name, bench, runs)?);
    }
    Ok(results)
}

/// Times each kernel, and each pass of each layer, in a training step on a batch of `n` at the learning rate `rate`.
pub fn work_of(
    driver: Box<dyn Driver>,
    mode: Mode,
    network: &Network,
    (n, rate): (usize, f64),
    full: bool,
    limits: &Limits,
) -> Result<(Vec<KernelTime>, Vec<LayerTime>)> {
    let ledger = Ledger::new(driver, true);
    // Small networks are for the emulator, whose times mean nothing.
    let ledger = if full { ledger } else { ledger.repeating(1) };
    let mut bench = Bench::new(Cuda::new(ledger, mode)?, network.clone(), n, rate, 1)?;
    for _ in 0..2 {
        // The first step rounds θ for itself; from the second on the update has done so.
        bench.step()?;
    }
    let entries = bench.engine.observe().driver().last_work();
    Ok((kernels(entries, limits), layers(entries, network, n, limits)?))
}

/// Times a training step on the device that `open` gives, for about `seconds`.
pub fn one(open: impl Fn() -> Result<Box<dyn Driver>>, mode: Mode, kind: StepKind, seconds: f64) -> Result<OneStep> {
    let driver = open()?;
    let device = driver.properties().name.clone();
    let mut bench = Bench::new(Cuda::new(driver, mode)?, kind.network()?, kind.samples(), kind.rate(), 1)?;
    fn driver_of<'a>(bench: &'a mut Bench<Cuda>) -> &'a mut (dyn Driver + 'static) {
        bench.engine.observe().driver()
    }
    let once = spans(&mut bench, driver_of, 1, Bench::step)?;
    let each = once.median * once.each as f64;
    let runs = if each > 0.0 { (seconds / each).clamp(3.0, MOST as f64) as usize } else { MOST };
    let time = spans(&mut bench, driver_of, runs, Bench::step)?;
    let (loss, bytes) = (Some(bench.engine.scalar(Scalar::Loss)?), bench.engine.bytes());
    let step = Step { name: kind.to_string(), time, of_passes: None, loss, bytes };
    Ok(OneStep::new(device, &format!("{mode:?}").to_lowercase(), None, step))
}

/// Times a training step, a landscape, the covariate shift, and the distributions.
fn steps(name: String, mut bench: Bench<Cuda>, runs: usize) -> Result<[Step; 4]> {
    let mut timed = |runs: usize, work: fn(&mut Bench<Cuda>) -> Result<()>| {
        spans(&mut bench, |bench| bench.engine.observe().driver(), runs, work)
    };
    let few = runs.div_ceil(4);
    let step = timed(runs, Bench::step)?;
    let [pass, landscape, shift] = [timed(few, Bench::pass)?, timed(few, Bench::probe)?, timed(few, Bench::shift)?];
    let distributions = timed(few, Bench::distributions)?;
    let loss = Some(bench.engine.scalar(Scalar::Loss)?);
    let (layers, units, bytes) = (bench.layers(), bench.units(), bench.engine.bytes());
    let probe = |what: String, time: Time, passes: usize| Step {
        name: format!("{name}, {what}"),
        time,
        of_passes: Some(time.median / (passes as f64 * pass.median)),
        loss: None,
        bytes,
    };
    Ok([
        Step { name: name.clone(), time: step, of_passes: None, loss, bytes },
        probe(format!("landscape of {POINTS} points"), landscape, POINTS),
        probe(format!("covariate shift of {layers} layers"), shift, layers),
        probe(format!("activations and moments of {units} units"), distributions, 1),
    ])
}
