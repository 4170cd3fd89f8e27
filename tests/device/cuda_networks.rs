//! Whole networks and training on the CUDA backend, against the CPU.

use crate::shared;
use normscape::bench::device::work_of;
use normscape::bench::limits::Limits;
use normscape::bench::results::Work;
use normscape::files::disk;
use normscape::network::{
    Activation, Dln, Engine, Network, Norm, Normalisation, Scalar, Update, dln, initial_parameters, vgg,
};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::ops::norm::renorm::RenormLimits;
use normscape::ops::vector::Vector;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Driver, Properties};
use normscape::runtime::cuda::emulator::{Build, Options};
use normscape::runtime::cuda::failing::{Failing, Failure};
use normscape::runtime::cuda::ledger::{Dry, Ledger};
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out};
use normscape::train::metrics::Row;
use normscape::train::{Observer, Place, Settings, Source, Start, Trainer, checkpoint};
use normscape::{Error, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn device(mode: Mode, order: Option<u64>) -> Cuda {
    shared::device(mode, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

fn small_vgg(norm: Norm, noise: bool) -> Network {
    let noise = noise.then(NoiseOptions::default);
    vgg("vgg11", 0.0625, Normalisation { noise, ..Normalisation::new(norm) }).unwrap()
}

fn bent_vgg(activation: Activation, norm: Norm) -> Network {
    vgg("vgg11", 0.0625, Normalisation { activation, ..Normalisation::new(norm) }).unwrap()
}

/// Loss and gradient of a network at its initial parameters, on a drawn batch.
fn loss_and_grad<B: Backend>(backend: B, network: Network, batch: usize) -> (f64, Vec<f64>) {
    let start = initial_parameters(&network, 5);
    let input = network.input(batch);
    let x: Vec<f32> = (0..input.len()).map(|i| normal(word(9, Purpose::Case, 0, 0, i as u64))).collect();
    let labelled = input.hwnc()[0] > 1;
    let mut engine = Engine::new(backend, network, batch, Arc::default()).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&start, Out(theta)).unwrap();
    if labelled {
        let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 10).collect();
        engine.set_labelled(&x, &labels).unwrap();
    } else {
        let target: Vec<f32> = x.iter().map(|v| 0.5 - v * v).collect();
        engine.set_target(&x, &target).unwrap();
    }
    engine.set_state(&StepState::new(1, 4, 0.1)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
    let loss = engine.scalar(Scalar::Loss).unwrap();
    (loss, engine.backend().download_f64(In(grad)).unwrap())
}

fn relative(found: &[f64], expected: &[f64]) -> f64 {
    normscape::ops::boundary::relative_error(found, expected)
}

#[test]
fn small_networks_agree_with_f64() {
    let deep = |norm| dln(Dln { depth: 6, ..Dln::default() }, Normalisation::new(norm)).unwrap();
    for (name, network, batch) in [
        ("vgg none", small_vgg(Norm::None, false), 5),
        ("vgg batch", small_vgg(Norm::Batch, false), 5),
        ("vgg noisy", small_vgg(Norm::Batch, true), 5),
        ("vgg l1", small_vgg(Norm::Lp(1.0), false), 4),
        ("vgg elu", bent_vgg(Activation::Elu, Norm::None), 4),
        ("vgg selu batch", bent_vgg(Activation::Selu, Norm::Batch), 4),
        ("vgg weight", small_vgg(Norm::Weight, false), 4),
        ("dln batch", deep(Norm::Batch), 100),
        ("dln weight", deep(Norm::Weight), 100),
        ("vgg group:2", small_vgg(Norm::Grouped(Grouping::Groups(2)), true), 4),
        ("vgg instance", small_vgg(Norm::Grouped(Grouping::Instance), false), 4),
        ("vgg renorm", small_vgg(Norm::Renorm(RenormLimits::default()), false), 4),
        ("vgg rms", small_vgg(Norm::Rms, false), 4),
        ("vgg gelu rms", bent_vgg(Activation::Gelu, Norm::Rms), 4),
        ("vgg silu batch", bent_vgg(Activation::Silu, Norm::Batch), 4),
        ("dln layer", deep(Norm::Grouped(Grouping::Layer)), 100),
        ("dln linf", deep(Norm::Lp(f64::INFINITY)), 100),
    ] {
        let (loss, grad) = loss_and_grad(device(Mode::F32, None), network.clone(), batch);
        let (exact_loss, exact_grad) = loss_and_grad(Cpu::<f64>::default(), network.clone(), batch);
        // What f32 arithmetic itself loses, on the CPU: the kernels may lose four times as much.
        let (cpu_loss, cpu_grad) = loss_and_grad(Cpu::<f32>::default(), network, batch);
        let error = |loss: f64| (loss - exact_loss).abs() / exact_loss.abs();
        assert!(error(loss) <= 4.0 * error(cpu_loss) + 1e-6, "{name}: loss {loss} for {exact_loss}");
        let (found, cpu) = (relative(&grad, &exact_grad), relative(&cpu_grad, &exact_grad));
        assert!(found <= 4.0 * cpu + 1e-6, "{name}: gradient {found:e}, on the CPU {cpu:e}");
    }
}

#[test]
fn a_whole_network_gives_the_same_bits_in_any_order_of_threads() {
    // Without noise, tensor cores leave the norms' gradients.
    for (mode, noise) in [(Mode::F32, true), (Mode::Tf32, true), (Mode::Bf16, true), (Mode::Bf16, false)] {
        let (loss, grad) = loss_and_grad(device(mode, None), small_vgg(Norm::Batch, noise), 3);
        for order in [3, 4] {
            let (other_loss, other_grad) = loss_and_grad(device(mode, Some(order)), small_vgg(Norm::Batch, noise), 3);
            assert_eq!(loss.to_bits(), other_loss.to_bits(), "{mode:?}");
            assert!(grad.iter().zip(&other_grad).all(|(a, b)| a.to_bits() == b.to_bits()), "{mode:?}");
        }
    }
}

#[test]
fn norms_take_their_own_sums_where_the_layer_above_cannot_leave_them() {
    let properties =
        Properties { name: "dry".into(), capability: 90, multiprocessors: 132, shared: 227 << 10, hopper: true };
    let sums = |mode, network: Network| {
        let backend = Cuda::new(Ledger::new(Dry::new(properties.clone()), false), mode).unwrap();
        let mut engine = Engine::new(backend, network, 6, Arc::default()).unwrap();
        let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
        let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
        engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
        engine.observe().driver().entries.iter().filter(|entry| entry.kernel.contains("gradient_sums")).count()
    };
    for mode in [Mode::Bf16, Mode::Tf32] {
        for norm in [Norm::Batch, Norm::Lp(1.0), Norm::Lp(f64::INFINITY)] {
            assert_eq!(sums(mode, small_vgg(norm, false)), 0, "{mode:?}, {norm:?}");
        }
    }
    // The exact products leave nothing; noise is drawn again, and batch renormalisation has another γ than its own.
    let renorm = Norm::Renorm(RenormLimits::default());
    // The last norm's are left by the head in every precision.
    let alone =
        [(Mode::F32, Norm::Batch, false, 7), (Mode::Bf16, Norm::Batch, true, 8), (Mode::Bf16, renorm, false, 8)];
    for (mode, norm, noise, expected) in alone {
        assert_eq!(sums(mode, small_vgg(norm, noise)), expected, "{mode:?}, {norm:?}, noise {noise}");
    }
    // Another activation lies between the norm and the next convolution: only the ReLU is part of the norm's pass.
    assert_eq!(sums(Mode::Bf16, bent_vgg(Activation::Silu, Norm::Batch)), 8);
}

/// θ after these of four steps in bf16, of which the third has another vector's pass in it; with `apart` θ is rounded anew for every pass, with `timed` each
/// launch is repeated. `order` shuffles threads and what the graphs leave open.
fn bf16_steps(steps: Range<usize>, apart: bool, timed: bool, order: Option<u64>) -> (Vec<f64>, usize) {
    let network = small_vgg(Norm::Batch, false);
    let start = initial_parameters(&network, 5);
    let driver = shared::driver(Options { order, ..Options::from_environment().unwrap() }).unwrap();
    let device = Cuda::new(Ledger::new(driver, timed).repeating(2), Mode::Bf16);
    let mut engine = Engine::new(device.unwrap(), network, 3, Arc::default()).unwrap();
    let [theta, elsewhere, grad] = [0; 3].map(|_| engine.vector().unwrap());
    engine.backend().upload_f32(&start, Out(theta)).unwrap();
    engine.set_labelled(&vec![0.5; 3 * 3072], &[1, 2, 3]).unwrap();
    engine.set_state(&StepState::new(1, 0, 0.1)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    for step in steps {
        engine
            .as_graph(u64::from(step == 2), |engine| {
                engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct))?;
                if step == 2 {
                    engine.backend().displace(In(theta), -0.1, In(grad), Out(elsewhere))?;
                    engine.loss(In(elsewhere), Out(loss), Out(correct))?;
                }
                engine.update(Out(theta), In(grad), Update { velocity: None, momentum: 0.0, weight_decay: 0.0 })
            })
            .unwrap();
        if apart {
            engine.backend();
        }
        // To look makes nothing forgotten.
        engine.observe().driver().mark(0).unwrap();
    }
    let recasts = engine.observe().driver().entries.iter().filter(|e| e.kernel == "recast").count();
    (engine.read(theta).unwrap(), recasts)
}

#[test]
fn the_update_rounds_for_the_next_pass() {
    let ((together, few), (apart, many)) = (bf16_steps(0..4, false, false, None), bf16_steps(0..4, true, false, None));
    assert!(together.iter().zip(&apart).all(|(a, b)| a.to_bits() == b.to_bits()));
    // At first and for the other vector; apart also for every pass but the last, which is replayed and not asked for.
    assert_eq!((few, many), (2, 4));
}

#[test]
fn a_launch_that_is_timed_leaves_what_it_would_have_left() {
    // Every launch of both graphs.
    let ((plain, _), (timed, _)) = (bf16_steps(1..3, false, false, None), bf16_steps(1..3, false, true, None));
    assert!(plain.iter().zip(&timed).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn a_graph_gives_the_same_bits_in_any_order_that_its_tensors_leave_open() {
    let (straight, _) = bf16_steps(0..4, false, false, None);
    for order in [3, 4] {
        let (other, _) = bf16_steps(0..4, false, false, Some(order));
        assert!(straight.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()), "order {order}");
    }
}

#[test]
fn every_pass_of_every_layer_is_timed_with_its_bytes_and_operations() {
    let network = small_vgg(Norm::Batch, false);
    let limits = Limits { matrix: Some(1e12), copy: 1e12 };
    for mode in [Mode::F32, Mode::Bf16] {
        let driver = shared::driver(Options { build: Build::Plain, ..Options::default() }).unwrap();
        let (kernels, layers) = work_of(driver, mode, &network, (2, 0.01), false, &limits).unwrap();
        let work = |layer: &str, pass: &str| {
            let found: Vec<_> = layers.iter().filter(|l| l.layer.starts_with(layer) && l.pass == pass).collect();
            assert_eq!(found.len(), 1, "{layer}, {pass}: {layers:?}");
            let work = found[0].work;
            assert!(work.bytes > 0 && work.seconds > 0.0 && work.of_bandwidth > 0.0, "{layer}, {pass}: {work:?}");
            work
        };
        let mut first = true;
        for link in network.links().iter().filter(|link| link.params[0].is_some()) {
            let name = format!("{},", link.name);
            if !link.layer.multiplies() {
                work(&name, "forward");
                work(&name, "backward");
                continue;
            }
            // Nothing asks for the gradient of the batch.
            let products = ["forward", "weight gradient", "input gradient"];
            // The last layer's gradients are one launch.
            let products =
                if link.name == "fc" { &["forward", "backward"][..] } else { &products[..if first { 2 } else { 3 }] };
            for pass in products {
                let work = work(&name, pass);
                assert!(work.flops > 0.0 && work.nominal_flops >= work.flops, "{name} {pass}: {work:?}");
                assert!(work.of_rate.is_some_and(|share| share > 0.0), "{name} {pass}: {work:?}");
            }
            first = false;
        }
        work("beside the layers", "");
        let all = |of: &dyn Fn(&Work) -> f64| {
            let sum = |works: Vec<Work>| works.iter().map(of).sum::<f64>();
            (sum(kernels.iter().map(|k| k.work).collect()), sum(layers.iter().map(|l| l.work).collect()))
        };
        // Whichever way they are put together, nothing is lost.
        let (launches, flops) = (all(&|work| work.launches as f64), all(&|work| work.flops));
        assert!(launches.0 == launches.1 && (flops.0 / flops.1 - 1.0).abs() < 1e-12, "{launches:?} {flops:?}");
    }
}

/// Keeps the rows.
#[derive(Default)]
struct Rows(Vec<Row>);

impl Observer for Rows {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, row: &Row) {
        self.0.push(*row);
    }
    fn warn(&mut self, message: &str) {
        panic!("{message}");
    }
}

fn images(steps: u64) -> Settings {
    let mut settings = Settings {
        width: 0.04,
        norm: "batch".into(),
        data: "images".into(),
        batch: 4,
        steps,
        augment: true,
        momentum: 0.9,
        lr: 0.01,
        limit_train: Some(30),
        limit_test: Some(10),
        eval_every: Some(9),
        checkpoint_every: Some(6),
        probe: vec!["landscape".into()],
        probe_every: Some(8),
        probe_points: 2,
        seed: 3,
        ..Settings::defaults("vgg11")
    };
    settings.resolve().unwrap();
    settings
}

fn deep(steps: u64) -> Settings {
    let mut settings = Settings { steps, seed: 2, norm: "batch".into(), samples: 200, ..Settings::defaults("dln") };
    settings.resolve().unwrap();
    settings
}

fn train<B: Backend>(backend: B, settings: &Settings, out: &Path, resume: bool) -> Result<Vec<Row>> {
    let source = Source::open(settings)?;
    let place = Place::take(out, Start::resumed(resume), "test")?;
    let mut rows = Rows::default();
    let stop = Arc::new(AtomicBool::new(false));
    Trainer::open(backend, settings.clone(), source, place, stop, &mut rows)?.run(&mut rows)?;
    Ok(rows.0)
}

/// The driver that trains, without the emulator's checks.
fn driver() -> Box<dyn Driver> {
    let options = Options::from_environment().unwrap();
    let build = if options.build == Build::Watched { Build::Plain } else { options.build };
    shared::driver(Options { build, ..options }).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

#[test]
fn training_follows_the_cpu() {
    for (settings, bound) in [(images(20), 1e-4), (deep(5), 1e-4)] {
        let folder = tempfile::tempdir().unwrap();
        let expected = train(Cpu::<f32>::default(), &settings, &folder.path().join("cpu"), false).unwrap();
        let backend = Cuda::new(driver(), Mode::F32).unwrap();
        let found = train(backend, &settings, &folder.path().join("cuda"), false).unwrap();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            assert!((a.loss - b.loss).abs() <= bound * b.loss.abs(), "step {}: {} for {}", b.step, a.loss, b.loss);
            assert_eq!((a.step, a.epoch, a.test.is_some()), (b.step, b.epoch, b.test.is_some()));
        }
        let names = |folder: &Path| {
            let mut names: Vec<_> =
                disk::list_dir(folder).unwrap().iter().map(|p| p.file_name().map(|n| n.to_owned())).collect();
            names.sort();
            names
        };
        assert_eq!(names(&folder.path().join("cuda")), names(&folder.path().join("cpu")));
    }
}

#[test]
fn a_run_that_is_resumed_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let new = || Cuda::new(driver(), Mode::Bf16).unwrap();
    let bf16 = |steps| Settings { precision: "bf16".into(), ..images(steps) };
    let all = train(new(), &bf16(14), &whole, false).unwrap();
    let first = train(new(), &bf16(7), &parts, false).unwrap();
    let rest = train(new(), &bf16(14), &parts, true).unwrap();
    let bits = |rows: &[Row]| rows.iter().map(|r| (r.step, r.loss.to_bits())).collect::<Vec<_>>();
    // The row at which the first part ended is made again.
    let joined: Vec<Row> = first[..7].iter().chain(&rest).copied().collect();
    assert_eq!(bits(&joined), bits(&all));
    let read = |run: &Path, name: &str| disk::read_to_end_capped(&run.join(name), 1 << 30).unwrap();
    assert_eq!(read(&whole, "landscape.npz"), read(&parts, "landscape.npz"));
    let parameters = "checkpoints/step-14/parameters.safetensors";
    assert_eq!(read(&whole, parameters), read(&parts, parameters));
}

#[test]
fn a_device_that_fails_leaves_the_last_checkpoint() {
    let settings = images(20);
    for (failure, nth) in [(Failure::Launch, 700), (Failure::Copy, 60), (Failure::Allocation, 4), (Failure::Launch, 2)]
    {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let failing: Box<dyn Driver> = Box::new(Failing::new(driver(), failure, nth));
        let ended = Cuda::new(failing, Mode::F32).and_then(|backend| train(backend, &settings, &out, false));
        let error = ended.expect_err("the device fails before the run ends");
        assert!(matches!(error, Error::Device { .. }) && error.exit_code() == 3, "{failure:?} {nth}: {error}");
        if nth < 50 {
            continue;
        }
        let saved = checkpoint::list(&out.join("checkpoints")).unwrap();
        assert!(!saved.is_empty(), "{failure:?}: no checkpoint");
        let rest = train(Cuda::new(driver(), Mode::F32).unwrap(), &settings, &out, true).unwrap();
        assert_eq!((rest[0].step, rest.last().map(|r| r.step)), (saved[saved.len() - 1], Some(20)), "{failure:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_the_device_itself() {
    // At this rate the run diverges within a burst; the CPU looks at every step.
    let settings = Settings { lr: 1e-3, ..deep(40) };
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str, cuda: bool| {
        let (source, mut rows) = (Source::open(&settings).unwrap(), Rows::default());
        let out = folder.path().join(out);
        let place = Place::take(&out, Start::Fresh, "test").unwrap();
        let finished = match cuda {
            true => {
                let backend = Cuda::new(driver(), Mode::F32).unwrap();
                Trainer::open(backend, settings.clone(), source, place, Arc::default(), &mut rows)
                    .unwrap()
                    .run(&mut rows)
            }
            false => {
                let backend = Cpu::<f32>::default();
                Trainer::open(backend, settings.clone(), source, place, Arc::default(), &mut rows)
                    .unwrap()
                    .run(&mut rows)
            }
        };
        let saved = checkpoint::list(&out.join("checkpoints")).unwrap();
        (finished.unwrap().diverged.map(|(step, _)| step), rows.0.len() as u64, saved)
    };
    let (cpu, cuda) = (run("cpu", false), run("cuda", true));
    let (step, rows, _) = cuda;
    assert!(step.is_some_and(|step| step > 0 && rows == step + 1), "{cuda:?}");
    assert_eq!(cpu, cuda);
}
