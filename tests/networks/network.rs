//! Whole networks against central differences, and the engine's promises about every pass.

use normscape::network::{
    Activation, Dln, Engine, Network, Norm, Normalisation, Reduction, Scalar, dln, initial_parameters, vgg,
};
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::ops::norm::renorm::RenormLimits;
use normscape::ops::sgd::{Descent, Sgd};
use normscape::ops::vector::Vector;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn normals(n: usize, stream: u32) -> Vec<f64> {
    (0..n).map(|i| f64::from(normal(word(11, Purpose::Case, stream, 0, i as u64)))).collect()
}

/// An engine in f64 with a random batch, random parameters, and its vectors.
struct Fixture {
    engine: Engine<Cpu<f64>>,
    theta: View,
    grad: View,
}

fn fixture(network: Network, n: usize) -> Fixture {
    let start = initial_parameters(&network, 5);
    // γ, β and biases away from their even starting values.
    let theta0: Vec<f64> = start.iter().zip(normals(start.len(), 1)).map(|(&t, z)| f64::from(t) + 0.05 * z).collect();
    let mut engine = Engine::new(Cpu::<f64>::default(), network, n, Arc::default()).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f64(&theta0, Out(theta)).unwrap();
    let x = normals(engine.network().input(n).len(), 2);
    if engine.network().input(1).hwnc()[0] == 1 {
        let target = normals(x.len(), 3);
        engine.set_batch_f64(&x, Some(&target), None).unwrap();
    } else {
        let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % 10).collect();
        engine.set_batch_f64(&x, None, Some(&labels)).unwrap();
    }
    engine.set_state(&StepState::new(9, 4, 0.1)).unwrap();
    Fixture { engine, theta, grad }
}

impl Fixture {
    fn loss_and_grad(&mut self) -> f64 {
        let (loss, correct) = (self.engine.slot(Scalar::Loss), self.engine.slot(Scalar::Correct));
        self.engine.loss_and_grad(In(self.theta), Out(self.grad), Out(loss), Out(correct)).unwrap();
        self.engine.scalar(Scalar::Loss).unwrap()
    }

    fn loss_at(&mut self, theta: View) -> f64 {
        let (loss, correct) = (self.engine.slot(Scalar::TestLoss), self.engine.slot(Scalar::TestCorrect));
        self.engine.loss(In(theta), Out(loss), Out(correct)).unwrap();
        self.engine.scalar(Scalar::TestLoss).unwrap()
    }
}

fn noisy() -> Normalisation {
    Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(Norm::Batch) }
}

/// Bounds that r and d meet in every channel: there they are constants, as the gradient takes them.
const RENORM: Norm = Norm::Renorm(RenormLimits { r_max: 1.000_001, d_max: 1e-6 });

fn every_normalisation() -> Vec<(&'static str, Normalisation)> {
    let bare_noise = Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(Norm::None) };
    let noisy_l1 = Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(Norm::Lp(1.0)) };
    vec![
        ("none", Normalisation::new(Norm::None)),
        ("batch", Normalisation::new(Norm::Batch)),
        ("noisy", noisy()),
        ("bare noise", bare_noise),
        ("noisy l1", noisy_l1),
        ("l1", Normalisation::new(Norm::Lp(1.0))),
        ("l2", Normalisation::new(Norm::Lp(2.0))),
        ("linf", Normalisation::new(Norm::Lp(f64::INFINITY))),
        ("lp:3", Normalisation::new(Norm::Lp(3.0))),
        ("renorm", Normalisation::new(RENORM)),
        ("weight", Normalisation::new(Norm::Weight)),
        ("weight and noise", Normalisation { norm: Norm::Weight, ..noisy() }),
        ("layer", Normalisation::new(Norm::Grouped(Grouping::Layer))),
    ]
}

/// The other non-linearities, which only VGG has.
fn every_activation() -> Vec<(&'static str, Normalisation)> {
    let with = |activation, norm: Normalisation| Normalisation { activation, ..norm };
    vec![
        ("elu", with(Activation::Elu, Normalisation::new(Norm::None))),
        ("selu", with(Activation::Selu, Normalisation::new(Norm::None))),
        ("elu batch", with(Activation::Elu, Normalisation::new(Norm::Batch))),
        ("selu noisy", with(Activation::Selu, noisy())),
    ]
}

/// The gradient's slope along random directions against central differences of the loss.
///
/// Kinks (ReLU, pool, ℓ∞) between the two points would spoil a difference, not the gradient: three step sizes are
/// taken, and the best counts. A wrong gradient is wrong at all.
fn check_gradient(name: &str, network: Network, n: usize) {
    let mut fixture = fixture(network, n);
    fixture.loss_and_grad();
    let gradient = fixture.engine.backend().download_f64(In(fixture.grad)).unwrap();
    let (point, direction) = (fixture.engine.vector().unwrap(), fixture.engine.vector().unwrap());
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for stream in 0..3 {
        let noise = normals(gradient.len(), 20 + stream);
        let length = noise.iter().map(|d| d * d).sum::<f64>().sqrt();
        // Half along the gradient: a purely random direction has almost no slope to compare.
        let towards: Vec<f64> = noise.iter().zip(&gradient).map(|(d, g)| 0.5 * g / norm + 0.5 * d / length).collect();
        let slope: f64 = towards.iter().zip(&gradient).map(|(d, g)| d * g).sum();
        fixture.engine.backend().upload_f64(&towards, Out(direction)).unwrap();
        let error = [3e-6, 1e-6, 3e-7]
            .into_iter()
            .map(|h| {
                let [up, down] = [h, -h].map(|h| {
                    fixture.engine.backend().displace(In(fixture.theta), h, In(direction), Out(point)).unwrap();
                    fixture.loss_at(point)
                });
                ((up - down) / (2.0 * h) - slope).abs() / slope.abs()
            })
            .fold(f64::INFINITY, f64::min);
        assert!(error <= 1e-6, "{name}: relative error {error:.2e}");
    }
}

#[test]
fn vggs_gradient_is_the_slope_of_its_loss() {
    for (name, normalisation) in every_normalisation().into_iter().chain(every_activation()) {
        check_gradient(&format!("vgg11 {name}"), vgg("vgg11", 0.06, normalisation).unwrap(), 4);
    }
    for norm in [Norm::Grouped(Grouping::Groups(2)), Norm::Grouped(Grouping::Instance), Norm::Rms] {
        check_gradient(&format!("vgg11 {norm}"), vgg("vgg11", 0.0625, Normalisation::new(norm)).unwrap(), 4);
    }
    check_gradient("vgg16 batch", vgg("vgg16", 0.05, Normalisation::new(Norm::Batch)).unwrap(), 3);
}

#[test]
fn the_deep_linear_networks_gradient_is_the_slope_of_its_loss() {
    for (name, normalisation) in every_normalisation() {
        let settings = Dln {
            depth: 6,
            dim: 7,
            norm_last: name == "l2",
            loss: if name == "batch" { Reduction::Mean } else { Reduction::Sum },
        };
        check_gradient(&format!("dln {name}"), dln(settings, normalisation).unwrap(), 33);
    }
    let halves = Normalisation {
        noise: Some(NoiseOptions::default()),
        ..Normalisation::new(Norm::Grouped(Grouping::Groups(2)))
    };
    check_gradient("dln noisy group:2", dln(Dln { depth: 6, dim: 8, ..Dln::default() }, halves).unwrap(), 33);
    check_gradient("dln of the paper", dln(Dln::default(), Normalisation::new(Norm::Batch)).unwrap(), 100);
}

#[test]
fn a_pass_is_a_pure_function_of_its_arguments() {
    for (name, normalisation) in every_normalisation().into_iter().chain(every_activation()) {
        let mut fixture = fixture(vgg("vgg11", 0.06, normalisation).unwrap(), 4);
        let running_before = fixture.engine.running();
        let running_before = fixture.engine.backend().download_f64(In(running_before)).unwrap();
        let theta = fixture.theta;
        let first = (fixture.loss_and_grad(), fixture.engine.backend().download_f64(In(fixture.grad)).unwrap());
        // Other passes between the two: at another θ, under other noise, at evaluation.
        let elsewhere = fixture.engine.vector().unwrap();
        fixture.engine.backend().displace(In(theta), 1e-3, In(theta), Out(elsewhere)).unwrap();
        fixture.loss_at(elsewhere);
        fixture.engine.set_state(&StepState::new(9, 5, 0.1)).unwrap();
        let other_noise = fixture.loss_at(theta);
        let (loss, correct) = (fixture.engine.slot(Scalar::TestLoss), fixture.engine.slot(Scalar::TestCorrect));
        fixture.engine.evaluate(In(theta), Out(loss), Out(correct)).unwrap();
        fixture.engine.set_state(&StepState::new(9, 4, 0.1)).unwrap();
        let again = (fixture.loss_and_grad(), fixture.engine.backend().download_f64(In(fixture.grad)).unwrap());
        assert_eq!(first, again, "{name}: the same arguments, other values");
        assert_eq!(
            other_noise != first.0,
            normalisation.noise.is_some(),
            "{name}: the step is part of the noise's key, and of nothing else"
        );
        let running = fixture.engine.running();
        assert_eq!(
            running_before,
            fixture.engine.backend().download_f64(In(running)).unwrap(),
            "{name}: a pass moved running statistics"
        );
    }
}

#[test]
fn loss_alone_is_the_loss_beside_the_gradient() {
    let mut fixture = fixture(vgg("vgg13", 0.06, noisy()).unwrap(), 3);
    let both = fixture.loss_and_grad();
    let theta = fixture.theta;
    assert_eq!(both.to_bits(), fixture.loss_at(theta).to_bits());
}

#[test]
fn backward_assigns_every_element() {
    for (name, normalisation) in every_normalisation().into_iter().chain(every_activation()) {
        let mut fixture = fixture(vgg("vgg11", 0.06, normalisation).unwrap(), 4);
        fixture.loss_and_grad();
        let first = fixture.engine.backend().download_f64(In(fixture.grad)).unwrap();
        let nan = vec![f64::NAN; first.len()];
        fixture.engine.backend().upload_f64(&nan, Out(fixture.grad)).unwrap();
        fixture.loss_and_grad();
        assert_eq!(first, fixture.engine.backend().download_f64(In(fixture.grad)).unwrap(), "{name}");
    }
}

#[test]
fn an_interruption_ends_every_pass() {
    let stop = Arc::new(AtomicBool::new(false));
    let network = vgg("vgg11", 0.06, Normalisation::new(Norm::Batch)).unwrap();
    let mut engine = Engine::new(Cpu::<f32>::default(), network, 2, stop.clone()).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    stop.store(true, Ordering::Relaxed);
    let pass = engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct));
    assert!(matches!(pass, Err(normscape::Error::Interrupted)));
}

#[test]
fn a_norm_over_one_sample_is_refused() {
    let network = dln(Dln::default(), Normalisation::new(Norm::Batch)).unwrap();
    let error = Engine::new(Cpu::<f32>::default(), network, 1, Arc::default()).err().expect("refused");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--batch 1"), "{error}");
}

#[test]
fn weight_norm_starts_as_the_standard_network() {
    let run = |network: &Network, n: usize| {
        let mut engine = Engine::new(Cpu::<f64>::default(), network.clone(), n, Arc::default()).unwrap();
        let theta = engine.vector().unwrap();
        engine.backend().upload_f32(&initial_parameters(network, 5), Out(theta)).unwrap();
        let x = normals(network.input(n).len(), 2);
        match network.input(1).hwnc()[0] {
            1 => engine.set_batch_f64(&x, Some(&normals(x.len(), 3)), None).unwrap(),
            _ => engine.set_batch_f64(&x, None, Some(&[1, 5, 9])).unwrap(),
        }
        let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
        engine.loss(In(theta), Out(loss), Out(correct)).unwrap();
        let y = engine.output().unwrap();
        (engine.scalar(Scalar::Loss).unwrap(), engine.read(y).unwrap())
    };
    let of = |norm| {
        let (normalisation, deep) = (Normalisation::new(norm), Dln { depth: 5, dim: 6, ..Dln::default() });
        [vgg("vgg11", 0.06, normalisation).unwrap(), dln(deep, normalisation).unwrap()]
    };
    for (standard, made) in of(Norm::None).into_iter().zip(of(Norm::Weight)) {
        let ((loss, y), (made_loss, made_y)) = (run(&standard, 3), run(&made, 3));
        // Gains are lengths rounded to f32, one a layer.
        let bound = 10.0 * f64::from(f32::EPSILON);
        assert!((loss - made_loss).abs() <= bound * loss, "{loss} {made_loss}");
        let size = y.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        assert!(y.iter().zip(&made_y).all(|(a, b)| (a - b).abs() <= bound * size), "{y:?} {made_y:?}");
        assert_ne!(standard.hash(), made.hash());
    }
}

#[test]
fn directions_of_length_0_are_weights_of_0_without_a_gradient() {
    for norm_last in [false, true] {
        let settings = Dln { depth: 3, dim: 4, norm_last, ..Dln::default() };
        let network = dln(settings, Normalisation::new(Norm::Weight)).unwrap();
        let slot = network.slots().find("fc2.direction").unwrap().clone();
        let mut fixture = fixture(network, 7);
        let theta = fixture.theta;
        let mut values = fixture.engine.backend().download_f64(In(theta)).unwrap();
        // The second unit's: a column inside.
        values[slot.start..][..16].iter_mut().skip(1).step_by(4).for_each(|v| *v = 0.0);
        fixture.engine.backend().upload_f64(&values, Out(theta)).unwrap();
        assert!(fixture.loss_and_grad().is_finite());
        let grad = fixture.engine.backend().download_f64(In(fixture.grad)).unwrap();
        assert!(grad.iter().all(|g| g.is_finite()));
        assert!(grad[slot.start..][..16].iter().skip(1).step_by(4).all(|g| *g == 0.0));
        assert_eq!(grad[slot.start + 16 + 1], 0.0, "of the gain");
    }
}

#[test]
fn groups_that_do_not_fit_are_refused_by_the_layers_name() {
    let says = |network: normscape::Result<Network>, words: &[&str]| {
        let error = network.expect_err("refused");
        let text = error.to_string();
        assert!(error.exit_code() == 2 && words.iter().all(|word| text.contains(word)), "{text}");
    };
    let of = |norm| Normalisation::new(norm);
    let groups = |groups| of(Norm::Grouped(Grouping::Groups(groups)));
    says(vgg("vgg11", 1.0, groups(3)), &["--norm group:3", "norm1", "64 channels", "3 groups"]);
    says(vgg("vgg11", 1.0, groups(0)), &["norm1", "0 groups"]);
    says(dln(Dln::default(), groups(10)), &["--norm group:10", "norm1", "one value"]);
    says(dln(Dln::default(), of(Norm::Grouped(Grouping::Instance))), &["--norm instance", "norm1", "one value"]);
    says(
        dln(Dln { dim: 1, ..Dln::default() }, of(Norm::Grouped(Grouping::Layer))),
        &["--norm layer", "norm1", "one value"],
    );
    // One channel of 2 × 2 pixels at the end of the narrowest network.
    vgg("vgg16", 0.001, of(Norm::Grouped(Grouping::Instance))).unwrap();
}

#[test]
fn networks_have_the_papers_sizes() {
    let parameters = |network: Network| network.slots().len();
    let plain = Normalisation::new(Norm::None);
    // 14.7 M for VGG-16; 9 c k per convolution and a bias each, 512·10 + 10 at the end.
    assert_eq!(parameters(vgg("vgg16", 1.0, plain).unwrap()), 14_719_818);
    assert_eq!(parameters(vgg("vgg16", 1.0, Normalisation::new(Norm::Batch)).unwrap()), 14_719_818 + 4_224);
    assert_eq!(parameters(dln(Dln::default(), plain).unwrap()), 2_500);
    // A gain for each unit of each layer but the last.
    let made = Normalisation::new(Norm::Weight);
    assert_eq!(parameters(vgg("vgg16", 1.0, made).unwrap()), 14_719_818 + 4_224);
    assert_eq!(parameters(dln(Dln::default(), made).unwrap()), 2_500 + 24 * 10);
    let names = |network: Network| network.slots().iter().map(|slot| slot.name.clone()).collect::<Vec<_>>();
    let small = names(dln(Dln { depth: 2, ..Dln::default() }, made).unwrap());
    assert_eq!(small, ["fc1.direction", "fc1.gain", "fc2.weight"]);
    let vgg_names = names(vgg("vgg11", 0.1, made).unwrap());
    assert_eq!(vgg_names[..4], ["conv1.direction", "conv1.gain", "conv1.bias", "conv2.direction"]);
    assert_eq!(vgg_names[vgg_names.len() - 2..], ["fc.weight", "fc.bias"]);
    assert_eq!(parameters(dln(Dln::default(), Normalisation::new(Norm::Batch)).unwrap()), 2_500 + 24 * 20);
    assert_eq!(vgg("vgg19", 0.001, plain).unwrap().slots().find("conv16.weight").unwrap().shape.extents(), [9, 1, 1]);
}

/// Losses, parameters and running statistics after a few steps with so many threads.
fn trained(threads: usize, normalisation: Normalisation) -> (Vec<u64>, Vec<f64>, Vec<f64>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let network = vgg("vgg11", 0.3, normalisation).unwrap();
        let start = initial_parameters(&network, 1);
        // 37 samples, 19 to 153 channels: ragged tiles, panels and pieces everywhere.
        let mut engine = Engine::new(Cpu::<f32>::default(), network, 37, Arc::default()).unwrap();
        let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
        engine.backend().upload_f32(&start, Out(theta)).unwrap();
        let x: Vec<f32> = normals(engine.network().input(37).len(), 4).into_iter().map(|v| v as f32).collect();
        let labels: Vec<u32> = (0..37).map(|i| i % 10).collect();
        engine.set_labelled(&x, &labels).unwrap();
        let (loss, correct, state) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct), engine.state());
        let mut losses = Vec::new();
        for step in 0..3 {
            engine.set_state(&StepState::new(1, step, 0.05)).unwrap();
            engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
            engine.move_running(0.1).unwrap();
            engine.backend().sgd(In(grad), Descent::plain(Out(theta), In(state))).unwrap();
            losses.push(engine.scalar(Scalar::Loss).unwrap().to_bits());
        }
        let running = engine.running();
        let running = engine.backend().download_f64(In(running)).unwrap();
        (losses, engine.backend().download_f64(In(theta)).unwrap(), running)
    })
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (name, normalisation) in every_normalisation().into_iter().chain(every_activation()) {
        let one = trained(1, normalisation);
        for threads in [2, 4] {
            assert!(trained(threads, normalisation) == one, "{name}: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn batch_renormalisation_lies_between_batch_norm_and_evaluation() {
    let renorm = |r_max, d_max| Norm::Renorm(RenormLimits { r_max, d_max });
    let at = |norm| {
        let mut fixture = fixture(vgg("vgg11", 0.0625, Normalisation::new(norm)).unwrap(), 4);
        // Running statistics of a batch that has been seen once: neither their start nor this batch's.
        fixture.loss_and_grad();
        fixture.engine.move_running(0.6).unwrap();
        fixture
    };
    let grad = |fixture: &mut Fixture| fixture.engine.backend().download_f64(In(fixture.grad)).unwrap();
    // With bounds of 1 and 0, it is BatchNorm to the bit.
    let (mut none, mut batch) = (at(renorm(1.0, 0.0)), at(Norm::Batch));
    assert_eq!(none.loss_and_grad().to_bits(), batch.loss_and_grad().to_bits());
    assert_eq!(grad(&mut none), grad(&mut batch));
    // Without bounds, it is the norm at evaluation.
    let mut free = at(renorm(f64::INFINITY, f64::INFINITY));
    let loss = free.loss_and_grad();
    let (to, correct) = (free.engine.slot(Scalar::TestLoss), free.engine.slot(Scalar::TestCorrect));
    free.engine.evaluate(In(free.theta), Out(to), Out(correct)).unwrap();
    let evaluated = free.engine.scalar(Scalar::TestLoss).unwrap();
    assert!((loss - evaluated).abs() < 1e-12 * loss, "{loss} and {evaluated}");
    assert!((loss - batch.loss_and_grad()).abs() > 1e-3 * loss, "{loss}");
}
