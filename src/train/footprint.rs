//! The memory of a run, judged before any of it is taken and before data are made or read.

use super::settings::Settings;
use crate::files::machine;
use crate::network::Network;
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// Refuses a run that takes more memory than the machine has available. Where the system does not say what it has, nothing
/// is refused here; what cannot be had is then refused as it is asked for.
///
/// # Errors
/// [`Error::Input`] with both sizes; a layer that does not take what the one before it gives.
pub fn require(settings: &Settings, network: &Network) -> Result<()> {
    let Some(available) = machine::memory("MemAvailable") else { return Ok(()) };
    let needed = least(settings, network)?;
    if needed <= u128::from(available) {
        return Ok(());
    }
    let problem = format!("{} MiB are needed, {} MiB are available", needed >> 20, available >> 20);
    let remedy = match settings.deep_linear() {
        true => "a smaller --dim, --depth, --samples or --batch needs less",
        false => "a smaller --width or --batch needs less",
    };
    Err(Error::input("memory", problem, remedy))
}

/// Bytes that a run takes at the least. Errors: settings that make no network.
pub fn bytes(settings: &Settings) -> Result<u128> {
    least(settings, &settings.network()?)
}

/// Bytes that a run takes at the least: its flat vectors, what lies between its layers, and generated data.
fn least(settings: &Settings, network: &Network) -> Result<u128> {
    let element = settings.dtype()?.size() as u128;
    let asked = |name: &str| u128::from(settings.asks(name));
    let momentum = u128::from(settings.momentum > 0.0);
    let line = asked("landscape").max(asked("predictiveness"));
    let vectors =
        2 + momentum + 2 * line + 3 * asked("random") + (3 + momentum) * asked("ics") + 7 * asked("curvature");
    let probed = asked("curvature").max(asked("theory"));
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

/// A shape's elements; what no number holds fits in no memory.
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
}
