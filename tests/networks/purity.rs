//! A probe changes nothing: parameters, gradient, running statistics, velocity, step state, the batch's results. A run with all probes
//! equals the run without them. Every probe that fits is tested with every norm; a new probe is tested without a change here.

use crate::probed::{At, activations, at, networks, norms};
use normscape::data::image_set::ImageSet;
use normscape::network::{Network, Norm, Normalisation, Scalar};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::probe::ics::Update;
use normscape::probe::measure::Moment;
use normscape::probe::portion::Portion;
use normscape::probe::table;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::tensor::{In, Out, View};
use normscape::train::source::load_images;
use normscape::train::{Place, Settings, Silent, Source, Start, Trainer, probes};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The settings that matter to probes, for a network of [`networks`].
fn settings(network: &Network, probe: &[&str]) -> Settings {
    let count = network.weighted_layers().len();
    Settings {
        momentum: 0.9,
        probe: probe.iter().map(|name| (*name).into()).collect(),
        probe_every: Some(1),
        probe_points: 2,
        probe_lanczos: 2,
        probe_hutchinson: 1,
        probe_layers: vec![1, count],
        ..Settings::defaults(if network.input(1).hwnc()[0] > 1 { "vgg11" } else { "dln" })
    }
}

/// A hash of everything that a step leaves to the next one, by name.
fn hashes<B: Backend>(here: &mut At<B>, vectors: &[(&'static str, View)]) -> BTreeMap<&'static str, String> {
    let At { engine, theta } = here;
    let mut all: BTreeMap<_, _> = BTreeMap::new();
    let slots = [Scalar::Loss, Scalar::Correct].map(|slot| engine.slot(slot));
    let running = engine.running();
    let own = [("theta", *theta), ("running", running), ("loss", slots[0]), ("correct", slots[1])];
    for &(name, view) in own.iter().chain(vectors) {
        let bits: Vec<u8> = engine.read(view).unwrap().iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
        all.insert(name, Sha256::digest(bits).iter().map(|b| format!("{b:02x}")).collect());
    }
    let (mut words, state) = (vec![0u64; 4], engine.state());
    engine.backend().download(In(state), &mut words).unwrap();
    all.insert("state", format!("{words:?}"));
    all
}

/// A step's pass and moved statistics, a probe, and what of it is another afterwards.
fn probed<B: Backend>(backend: B, network: &Network, n: usize, probe: &[&str]) {
    let mut here = at(backend, network, n);
    let settings = settings(network, probe);
    let velocity = here.engine.vector().unwrap();
    here.engine.backend().copy(In(here.theta), Out(velocity)).unwrap();
    let work = probes::Work::plan(&mut here.engine, &settings).unwrap();
    let grad = here.pass();
    here.engine.move_running(0.1).unwrap();
    let vectors = [("gradient", grad), ("velocity", velocity)];
    let before = hashes(&mut here, &vectors);
    let update = Update { velocity: Some(velocity), momentum: 0.9, weight_decay: 1e-3 };
    let at = Moment { theta: In(here.theta), grad: In(grad), update };
    work.ask(&mut here.engine, probes::Due::at(&settings, 0), at, Portion::WHOLE).unwrap();
    assert_eq!(before, hashes(&mut here, &vectors), "{probe:?} moved something");
    // Batch, labels and noise are what they were: the same pass gives the same.
    let again = here.pass();
    let after = hashes(&mut here, &[("gradient", again), ("velocity", velocity)]);
    assert_eq!(before, after, "after {probe:?} the same pass gives something else");
}

#[test]
fn no_probe_moves_anything() {
    for (name, network, n) in networks() {
        for probe in table::names_for(&network) {
            println!("{name}, {probe}");
            probed(Cpu::<f32>::default(), &network, n, &[probe]);
            if name.starts_with("dln") {
                probed(Cpu::<f64>::default(), &network, n, &[probe]);
            }
        }
    }
}

#[test]
fn nor_do_they_on_the_kernels() {
    for (name, network, n) in networks() {
        println!("{name}");
        let device = crate::shared::plain_device(Mode::F32).unwrap_or_else(|e| panic!("{e:?}"));
        probed(device, &network, n, &table::names_for(&network));
    }
}

/// A run of a few steps with every kind of state.
fn run<B: Backend>(backend: B, settings: &Settings, source: Source, out: &Path) {
    let place = Place::take(out, Start::Fresh, "any").unwrap();
    Trainer::open(backend, settings.clone(), source, place, Arc::default(), &mut Silent)
        .and_then(|trainer| trainer.run(&mut Silent))
        .unwrap();
}

/// Rows without `seconds`, and the bytes of the last checkpoint.
fn outcome(out: &Path, steps: u64) -> (Vec<String>, Vec<Vec<u8>>) {
    let text = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
    let rows = text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
    let last = out.join(format!("checkpoints/step-{steps}"));
    let files = ["parameters.safetensors", "state.safetensors"].map(|name| std::fs::read(last.join(name)).unwrap());
    (rows, files.into())
}

/// Makes a run with all probes and one with none, and compares them.
fn both<B: Backend>(device: impl Fn() -> B, settings: &Settings, source: impl Fn() -> Source) {
    let folder = tempfile::tempdir().unwrap();
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    run(device(), settings, source(), &with);
    for probe in &settings.probe {
        assert!(with.join(format!("{probe}.npz")).is_file(), "{probe} has left no file");
    }
    let plain = Settings { probe: Vec::new(), probe_every: None, ..settings.clone() };
    run(device(), &plain, source(), &without);
    assert!(outcome(&with, settings.steps) == outcome(&without, settings.steps), "{} is another run", settings.norm);
}

fn of_run(of: Normalisation, vgg: bool) -> Settings {
    let small = match vgg {
        true => Settings {
            width: 0.0625,
            data: "images".into(),
            limit_train: Some(50),
            limit_test: Some(20),
            eval_every: Some(2),
            augment: true,
            batch: 6,
            lr: 0.01,
            ..Settings::defaults("vgg11")
        },
        false => Settings { depth: 3, samples: 40, ..Settings::defaults("dln") },
    };
    let mut settings = Settings {
        norm: of.norm.to_string(),
        noise: of.noise.is_some(),
        activation: of.activation.to_string(),
        steps: 5,
        momentum: 0.9,
        weight_decay: 1e-4,
        probe_every: Some(2),
        probe_points: 2,
        probe_lanczos: 2,
        probe_hutchinson: 1,
        seed: 3,
        ..small
    };
    let fitting = table::names_for(&settings.network().unwrap());
    settings.probe = fitting.into_iter().map(Into::into).collect();
    settings.resolve().unwrap();
    settings
}

#[test]
fn a_run_with_all_probes_is_the_run_without() {
    static IMAGES: OnceLock<Arc<ImageSet>> = OnceLock::new();
    for (_, normalisation) in norms().into_iter().chain(activations()) {
        let settings = of_run(normalisation, true);
        let images = || IMAGES.get_or_init(|| Arc::new(load_images(&settings).unwrap())).clone();
        both(Cpu::<f32>::default, &settings, || Source::of(images(), &settings).unwrap());
    }
}

#[test]
fn so_it_is_on_coordinates() {
    for (_, normalisation) in norms() {
        let settings = Settings { precision: "f64".into(), ..of_run(normalisation, false) };
        both(Cpu::<f64>::default, &settings, || Source::open(&settings).unwrap());
    }
}

#[test]
fn so_it_is_in_graphs_on_the_kernels() {
    let noise = Some(NoiseOptions::default());
    for (norm, noise) in
        [(Norm::None, None), (Norm::Batch, noise), (Norm::Lp(1.0), None), (Norm::Grouped(Grouping::Groups(2)), None)]
    {
        let settings = of_run(Normalisation { noise, ..Normalisation::new(norm) }, false);
        let device = || crate::shared::plain_device(Mode::F32).unwrap_or_else(|e| panic!("{e:?}"));
        both(device, &settings, || Source::open(&settings).unwrap());
    }
}
