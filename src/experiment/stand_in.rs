//! What stands for a run while its time is estimated: the same network with fewer images in a batch, and where that is not
//! enough with fewer channels, so that a step takes some milliseconds at every scale.
//!
//! What a step takes is then counted up. Of a network that has all its channels it grows as the work does. Else the products
//! are those of a larger stand-in without a norm, which all classes of that network share; and what the class's own norm
//! adds to a small one grows with the numbers between the layers.

use super::cost::{Counted, Row};
use super::runs::Kind;
use crate::Result;
use crate::network::Norm;
use crate::train::Settings;

/// The work of a step that is timed, of a larger one that all classes of a network share, and of one with a probe.
pub const STEP: f64 = 1e9;
pub const SHARED: f64 = 3e9;
pub const PROBED: f64 = 5e8;

/// Images of a batch below which the products are another kind of work.
const LEAST_BATCH: usize = 32;
/// Widths below which layers have hardly a channel.
const LEAST_WIDTH: f64 = 1.0 / 16.0;

/// A run's class, at its size: what the time of its step depends on, and nothing else. It never diverges.
pub fn class(settings: &Settings) -> Settings {
    let Settings { model, norm, activation, precision, direct_convolution, .. } = settings.clone();
    let kind = Kind::of(settings);
    Settings {
        norm,
        activation,
        precision,
        direct_convolution,
        width: settings.width,
        depth: settings.depth,
        dim: settings.dim,
        samples: settings.samples,
        norm_last: settings.norm_last,
        mean_loss: settings.mean_loss,
        half_loss: settings.half_loss,
        noise: settings.noise,
        batch: settings.batch,
        momentum: settings.momentum,
        weight_decay: settings.weight_decay,
        augment: settings.augment,
        data: if kind == Kind::Dln { "gaussian".into() } else { "images".into() },
        // Batches of few images, which are made at once.
        limit_train: (kind == Kind::Vgg).then_some(settings.batch),
        limit_test: (kind == Kind::Vgg).then_some(1),
        lr: 1e-9,
        steps: 1_000_000,
        ..Settings::defaults(&model)
    }
}

/// The class of the network alone.
pub fn bare(class: &Settings) -> Settings {
    Settings { norm: "none".into(), norm_last: false, noise: false, activation: "relu".into(), ..class.clone() }
}

/// The same with one probe, which runs at every step.
pub fn probed(small: &Settings, name: &str, settings: &Settings) -> Settings {
    Settings {
        probe: vec![format!("{name}:1")],
        probe_points: settings.probe_points,
        probe_lanczos: settings.probe_lanczos,
        probe_hutchinson: settings.probe_hutchinson,
        probe_layers: settings.probe_layers.clone(),
        probe_units: settings.probe_units,
        probe_pre_norm: settings.probe_pre_norm,
        probe_bins: settings.probe_bins,
        ..small.clone()
    }
}

/// What is counted of a step. Errors: settings that make no network.
pub fn counted(settings: &Settings) -> Result<Counted> {
    Counted::of(settings, &settings.network()?)
}

/// The largest that stands for a class with at most so much work in a step; the smallest that there is where all have more.
///
/// Errors: settings that make no network.
pub fn small(class: &Settings, most: f64) -> Result<Settings> {
    let mut small = class.clone();
    while counted(&small)?.work() > most {
        match smaller(&small) {
            // A network that would not be one stays as it is.
            Some(next) if next.network().is_ok() => small = next,
            _ => break,
        }
    }
    Ok(small)
}

fn smaller(of: &Settings) -> Option<Settings> {
    let half = of.batch / 2;
    match Kind::of(of) {
        _ if half >= LEAST_BATCH => {
            let limit_train = of.limit_train.map(|_| half);
            Some(Settings { batch: half, samples: of.samples.min(half), limit_train, ..of.clone() })
        }
        Kind::Vgg if of.width / 2.0 >= LEAST_WIDTH => {
            Some(Settings { width: of.width / 2.0, norm: half_the_groups(&of.norm), ..of.clone() })
        }
        Kind::Dln if of.dim >= 4 => Some(Settings { dim: of.dim / 2, norm: half_the_groups(&of.norm), ..of.clone() }),
        Kind::Dln if of.depth >= 4 => Some(Settings { depth: of.depth / 2, ..of.clone() }),
        _ => None,
    }
}

/// Half as many channels have half as many groups.
fn half_the_groups(norm: &str) -> String {
    match norm.strip_prefix("group:").and_then(|groups| groups.parse::<usize>().ok()) {
        Some(groups) => format!("group:{}", (groups / 2).max(1)),
        None => norm.to_owned(),
    }
}

/// Seconds of a class's step, from what its stand-ins take: `timed` gives the seconds of a step, where it was timed.
///
/// Errors: settings that make no network.
pub fn step(class: &Settings, timed: &dyn Fn(&Settings) -> Option<f64>) -> Result<Option<f64>> {
    let own = small(class, STEP)?;
    let Some(seconds) = timed(&own) else { return Ok(None) };
    let (whole, part) = (counted(class)?, counted(&own)?);
    let grown = seconds * whole.work() / part.work();
    let (narrow, wide) = (small(&bare(class), STEP)?, small(&bare(class), SHARED)?);
    if !reduced(&own, class) || narrow == wide {
        return Ok(Some(grown));
    }
    let (Some(narrow), Some(seconds_wide)) = (timed(&narrow), timed(&wide)) else { return Ok(Some(grown)) };
    let products = seconds_wide * counted(&bare(class))?.work() / counted(&wide)?.work();
    // What makes the weights grows with them, what makes the activations with those.
    let more = match class.norm.parse::<Norm>()? {
        Norm::Weight => whole.parameters / part.parameters,
        _ => whole.elements / part.elements,
    };
    Ok(Some((products + (seconds - narrow) * more).max(0.5 * products)))
}

/// Whether it has fewer channels than the class, and not fewer images alone.
pub fn reduced(small: &Settings, class: &Settings) -> bool {
    (small.width, small.dim, small.depth) != (class.width, class.dim, class.depth)
}

/// How many steps' worth of time a probe is guessed to take. Errors: settings that make no network.
pub fn guessed(settings: &Settings, name: &str) -> Result<f64> {
    let row = Row::of(settings)?;
    Ok(row.probe(name) / row.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vgg(norm: &str) -> Settings {
        let mut settings =
            Settings { norm: norm.into(), data: "images".into(), seed: 7, ..Settings::defaults("vgg16") };
        settings.resolve().unwrap();
        class(&settings)
    }

    #[test]
    fn what_stands_for_a_run_is_small_and_of_its_class() {
        for norm in ["none", "batch", "l1", "group:32", "layer", "weight"] {
            for most in [STEP, SHARED, PROBED] {
                let (class, small) = (vgg(norm), small(&vgg(norm), most).unwrap());
                assert!(counted(&small).unwrap().work() <= most, "{norm}");
                assert_eq!((&small.model, small.noise), (&class.model, class.noise));
                assert!(small.norm.split(':').next() == class.norm.split(':').next() && small.batch >= LEAST_BATCH);
            }
        }
        let quick = Settings { width: 0.125, ..vgg("batch") };
        assert!(!reduced(&small(&quick, STEP).unwrap(), &quick), "fewer images are enough");
        let deep = class(&Settings { depth: 4000, dim: 64, batch: 1000, ..Settings::defaults("dln") });
        assert!(counted(&small(&deep, STEP).unwrap()).unwrap().work() <= STEP);
        let dln = class(&Settings { batch: 1000, ..Settings::defaults("dln") });
        assert_eq!(small(&dln, STEP).unwrap(), dln, "the paper's own is small enough");
    }

    #[test]
    fn seconds_grow_as_what_is_counted() {
        // A machine on which a multiplication, a number and BatchNorm's part in a number take these seconds.
        let [product, number, norm] = [1e-11, 1e-9, 3e-9];
        let truth = |of: &Settings| {
            let counted = counted(of).unwrap();
            let bare = counted_bare(of);
            3.0 * product * counted.products
                + number * bare
                + if of.norm == "none" { 0.0 } else { norm * counted.elements }
        };
        fn counted_bare(of: &Settings) -> f64 {
            counted(&bare(of)).unwrap().elements
        }
        for class in [vgg("none"), vgg("batch")] {
            let told = step(&class, &|of| Some(truth(of))).unwrap().unwrap();
            let ratio = told / truth(&class);
            assert!((0.95..1.05).contains(&ratio), "{}: {ratio}", class.norm);
        }
        // Without the larger one there is still the small one, and without that nothing.
        let only = |of: &Settings| (counted(of).unwrap().work() <= STEP).then(|| truth(of));
        assert!(step(&vgg("batch"), &only).unwrap().unwrap() > 0.0);
        assert_eq!(step(&vgg("batch"), &|_| None).unwrap(), None);
    }
}
