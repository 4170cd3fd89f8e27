//! Estimates the memory of a run, before any of it is allocated and before data are generated or read.
//!
//! The estimate lays out the run's own plans on a backend that allocates nothing. It adds what else is needed: data, the numbers that
//! probes log, and the copies made when a checkpoint is written or read. So a run that is accepted is not killed later.

use super::probes::Work;
use super::settings::Settings;
use crate::Result;
use crate::data::image_set::IMAGE;
use crate::data::images as generated;
use crate::files::limits;
use crate::network::{Engine, Network};
use crate::ops::backend::Backend;
use crate::probe::measure::{Entry, Probe};
use crate::probe::table::{self, ROWS};
use crate::runtime::cpu::Cpu;
use crate::runtime::tensor::{DType, Shape};
use std::sync::Arc;

/// More bytes than any machine has. Beyond it tensors are only counted, not laid out.
const BEYOND: u128 = 1 << 50;
/// The number of CIFAR-10's images, which are all read before a limit drops some; below it, the bytes for reading a part of them.
const READ: u128 = 60_000;
const READING: u128 = 32 << 20;

/// Refuses a run that takes more memory than the machine, the control group or the shell has left. Where the system does not say how much
/// that is, nothing is refused here; an allocation that fails is then refused when it is made.
///
/// # Errors
/// [`crate::Error::Input`] with both sizes and the limit; a layer that does not accept the output of the layer before it.
pub fn require(settings: &Settings, network: &Network) -> Result<()> {
    let Some(bound) = limits::memory() else { return Ok(()) };
    let remedy = match settings.deep_linear() {
        true => "a smaller --dim, --depth, --samples or --batch needs less",
        false => "a smaller --width or --batch needs less",
    };
    bound.require(needed(settings, network, false)? + images(settings) + program(), remedy)
}

/// Bytes that a run needs, without its images and the program. Errors: the settings make no network, or the network does not accept them.
pub fn bytes(settings: &Settings) -> Result<u128> {
    needed(settings, &settings.network()?, false)
}

/// Bytes that a run takes if memory is plentiful: it then also evaluates several points at once. Errors: the same.
pub fn most(settings: &Settings) -> Result<u128> {
    needed(settings, &settings.network()?, true)
}

/// Bytes that the program itself takes after its start: its code, and a stack for each thread.
pub fn program() -> u128 {
    (8 << 20) + (rayon::current_num_threads() as u128) * (512 << 10)
}

/// Bytes of a run's images and labels, including what is needed to load them.
pub fn images(settings: &Settings) -> u128 {
    let limited = |limit: Option<usize>, all: usize| limit.map_or(all, |limit| limit.min(all)) as u128;
    let one = IMAGE as u128 + 1;
    match settings.data.as_str() {
        _ if settings.deep_linear() => 0,
        "images" => {
            one * (limited(settings.limit_train, generated::TRAIN) + limited(settings.limit_test, generated::TEST))
        }
        _ => one * READ + READING,
    }
}

/// Bytes of a run without its images and the program.
fn needed(settings: &Settings, network: &Network, companions: bool) -> Result<u128> {
    let least = least(settings, network)?;
    if least > BEYOND {
        return Ok(least);
    }
    let planned = match (settings.dtype()?, companions) {
        (DType::F64, true) => planned(Cpu::<f64>::planning_beside(), settings, network)?,
        (DType::F64, false) => planned(Cpu::<f64>::planning(), settings, network)?,
        (_, true) => planned(Cpu::<f32>::planning_beside(), settings, network)?,
        (_, false) => planned(Cpu::<f32>::planning(), settings, network)?,
    };
    Ok(planned + beside(settings, network)?)
}

/// Bytes laid out by a run's own plans: everything that [`super::Trainer::open`] asks of its backend.
fn planned<B: Backend>(mut backend: B, settings: &Settings, network: &Network) -> Result<u128> {
    if settings.direct_convolution {
        backend.convolve_directly();
    }
    let mut engine = Engine::new(backend, network.clone(), settings.batch, Arc::default())?;
    for _ in 0..2 + usize::from(settings.momentum > 0.0) {
        engine.vector()?;
    }
    engine.running_vector()?;
    Work::plan(&mut engine, settings)?;
    Ok(engine.bytes() as u128)
}

/// Bytes in addition to a run's plans, without its images and the program.
fn beside(settings: &Settings, network: &Network) -> Result<u128> {
    let element = settings.dtype()?.size() as u128;
    let (parameters, velocity) = (network.slots().len() as u128, u128::from(settings.momentum > 0.0));
    let largest = network.slots().iter().map(|slot| slot.shape.len()).max().unwrap_or(0) as u128;
    // To save: a vector as it lies on the device, and all of them as the files have them; to go on, a file's content and the vector that is made
    // of it, which is no more. One slot on its way is widened, and turned into the files' order.
    let saving = (2 + velocity) * element * parameters + 20 * largest;
    let [samples, dim, batch] = [settings.samples, settings.dim, settings.batch].map(|n| n as u128);
    let data = match settings.deep_linear() {
        // Samples, targets, the matrix between them, and a batch of each; while they are hashed the first two once more.
        true => 4 * dim * (2 * samples + dim + 2 * batch),
        // Two batches on their way, and one of the test's.
        false => 3 * batch * (4 * IMAGE as u128 + 4),
    };
    let hashed = if settings.deep_linear() { 8 * dim * samples } else { 0 };
    // What is copied at one time is not at another; what is logged is copied when it is written.
    Ok(saving.max(hashed) + data + 3 * logged(settings, network)?)
}

/// Bytes of the numbers that a run's probes log.
fn logged(settings: &Settings, network: &Network) -> Result<u128> {
    let look = settings.look(network)?;
    let units = look.as_ref().map_or(0, |look| look.chosen.iter().map(|(_, units)| units.len()).sum());
    let bins = look.as_ref().map_or(0, |look| look.bins + 2);
    let numbers = |entry: Entry| match entry {
        Entry::Number => 1,
        Entry::Points => settings.probe_points,
        Entry::Layers => network.weighted_layers().len(),
        Entry::Units => units,
        Entry::Bins | Entry::Outside => units * bins,
    };
    let of_probe = |probe: &Probe| {
        let entry: usize = probe.arrays.iter().map(|&(_, entry)| numbers(entry)).sum();
        settings.due_count(probe.name) * (8 * entry + 8) as f64
    };
    Ok(table::probes().filter(|probe| settings.asks(probe.name)).map(of_probe).sum::<f64>() as u128)
}

/// The least bytes that a run can take: its flat vectors, the tensors between its layers, and generated data.
fn least(settings: &Settings, network: &Network) -> Result<u128> {
    let element = settings.dtype()?.size() as u128;
    let momentum = u128::from(settings.momentum > 0.0);
    let asked = || ROWS.iter().filter(|row| row.probes.iter().any(|probe| settings.asks(probe.name)));
    let vectors = 2 + momentum + asked().map(|row| (row.vectors)(momentum)).sum::<u128>();
    let probed = u128::from(asked().any(|row| row.tangents));
    // Weights that are made have a vector of their own, and of a linearised network three more; in bf16 the first is that of the operands.
    let made = u128::from(network.links().iter().any(|link| link.gain.is_some()));
    let vectors = vectors + made * (1 + 3 * probed);
    let mut shape = network.input(settings.batch);
    let (mut between, mut widest) = (len(shape), 0);
    for link in network.links() {
        shape = link.layer.output(shape)?;
        between += len(shape);
        widest = widest.max(len(shape));
    }
    let of_network = element
        * (vectors * network.slots().len() as u128 + between + 2 * widest + probed * (3 * between + 4 * widest));
    // Counts and moments of every unit that is looked at.
    let look = settings.look(network)?;
    let of_units = look.as_ref().map_or(0, |look| {
        let units: usize = look.chosen.iter().map(|(_, units)| units.len()).sum();
        units as u128 * (4 * (look.bins as u128 + 2) + 16)
    });
    let [samples, dim, batch] = [settings.samples, settings.dim, settings.batch].map(|n| n as u128);
    // Samples and targets, the matrix between them, and the copy of a batch that is handed over; in f32.
    let of_data = if settings.deep_linear() { 4 * dim * (2 * samples + dim + 2 * batch) } else { 0 };
    Ok(of_network + of_units + of_data)
}

/// A shape's number of elements; one that overflows fits into no memory.
fn len(shape: Shape) -> u128 {
    shape.checked_len().map_or(u128::from(u64::MAX), |n| n as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(mut settings: Settings) -> u128 {
        settings.resolve().unwrap();
        least(&settings, &settings.network().unwrap()).unwrap()
    }

    #[test]
    fn what_a_run_needs_is_counted_tensor_by_tensor() {
        let small = Settings { depth: 1, dim: 3, samples: 5, ..Settings::defaults("dln") };
        // θ and gradient (9 each), input and output (15 each), two gradients between layers (15 each); x, target, A, a batch.
        assert_eq!(needs(small.clone()), 4 * (18 + 30 + 30) + 4 * (30 + 9 + 30));
        let more = Settings { momentum: 0.9, probe: vec!["landscape".into()], precision: "f64".into(), ..small };
        assert_eq!(needs(more.clone()), 8 * (45 + 30 + 30) + 4 * (30 + 9 + 30));
        // Three gains a vector, of which there is one more.
        let made = Settings { norm: "weight".into(), norm_last: true, ..more };
        assert_eq!(needs(made), 8 * (6 * 12 + 30 + 30) + 4 * (30 + 9 + 30));
        // The full-width step at the paper's batch: under 1.5 GB. On the widest network no count is lost.
        let vgg = |width, batch| needs(Settings { width, batch, data: "images".into(), ..Settings::defaults("vgg16") });
        assert!((400 << 20..1500 << 20).contains(&vgg(1.0, 128)), "{}", vgg(1.0, 128));
        assert!(vgg(128.0, 1 << 24) > 1 << 50);
    }

    #[test]
    fn a_run_that_fits_in_no_memory_is_refused_with_both_sizes() {
        let refusal = |settings: Settings| {
            let mut settings = settings;
            settings.resolve().unwrap();
            require(&settings, &settings.network().unwrap()).unwrap_err().to_string()
        };
        let vgg = Settings { width: 128.0, batch: 1 << 20, data: "images".into(), ..Settings::defaults("vgg16") };
        let dln = Settings { depth: 10_000, dim: 16_384, ..Settings::defaults("dln") };
        for (settings, option) in [(vgg, "--width"), (dln, "--dim")] {
            let message = refusal(settings);
            assert!(message.starts_with("memory: ") && message.contains(option), "{message}");
        }
    }

    #[test]
    fn a_plan_is_counted_without_memory_for_it() {
        // Far more than any machine of today has, and less than what is not laid out.
        let mut huge = Settings { depth: 10_000, dim: 16_000, samples: 10, ..Settings::defaults("dln") };
        huge.resolve().unwrap();
        let network = huge.network().unwrap();
        let (counted, laid_out) = (least(&huge, &network).unwrap(), needed(&huge, &network, false).unwrap());
        assert!(counted > 10 << 40 && laid_out > counted && laid_out < 3 * counted, "{counted} {laid_out}");
    }

    #[test]
    fn logs_count_by_how_often_a_probe_runs() {
        let of = |probe: &str, steps| {
            let mut settings = Settings { steps, probe: vec![probe.into()], ..Settings::defaults("dln") };
            settings.resolve().unwrap();
            logged(&settings, &settings.network().unwrap()).unwrap()
        };
        assert_eq!(of("landscape:10", 100), 11 * 8 * (2 + 4 * 8 + 1));
        assert_eq!(of("curvature:1", 99), 100 * 8 * (6 + 1));
        assert!(of("activations:1", 9) > 10 * 8 * 64);
    }
}
