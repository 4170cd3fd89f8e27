//! Internal covariate shift, compared with its literal definition: k whole passes, each at a θ assembled on the host.

use normscape::network::{Activation, Dln, Engine, Network, Norm, Normalisation, Scalar, dln, initial_parameters, vgg};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::probe::ics::{self, CovariateShift, Update, Workspace};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;

const SEED: u64 = 5;
const STEP: u64 = 3;

fn engine<B: Backend>(backend: B, network: &Network, batch: usize, rate: f64) -> Engine<B> {
    let mut engine = Engine::new(backend, network.clone(), batch, Arc::default()).unwrap();
    let input = network.input(batch);
    let drawn = |seed: u64, len: usize| -> Vec<f64> {
        (0..len).map(|i| f64::from(normal(word(seed, Purpose::Case, 0, 0, i as u64)))).collect()
    };
    let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 10).collect();
    match input.hwnc()[0] > 1 {
        true => engine.set_batch_f64(&drawn(1, input.len()), None, Some(&labels)).unwrap(),
        false => engine.set_batch_f64(&drawn(1, input.len()), Some(&drawn(2, input.len())), None).unwrap(),
    }
    engine.set_state(&StepState::new(SEED, STEP, rate)).unwrap();
    engine
}

/// Momentum ¾ and decay 0.01, the velocity being a tenth of θ.
fn measured<B: Backend>(backend: B, network: &Network, batch: usize, rate: f64) -> CovariateShift {
    let mut engine = engine(backend, network, batch, rate);
    let [theta, grad, velocity] = [0; 3].map(|_| engine.vector().unwrap());
    let start = initial_parameters(network, 3);
    engine.backend().upload_f32(&start, Out(theta)).unwrap();
    engine.backend().upload_f32(&start.iter().map(|v| 0.1 * v).collect::<Vec<_>>(), Out(velocity)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
    let room = Workspace::new(&mut engine, true).unwrap();
    let kept = |engine: &mut Engine<B>| -> Vec<Vec<u64>> {
        let views: [View; 5] = [theta, grad, velocity, engine.running(), loss];
        let bits = |view| engine.read(view).unwrap().into_iter().map(f64::to_bits).collect();
        let mut all: Vec<Vec<u64>> = views.map(bits).to_vec();
        let mut words = vec![0u64; 4];
        let state = engine.state();
        engine.backend().download(In(state), &mut words).unwrap();
        all.push(words);
        all
    };
    let before = kept(&mut engine);
    let update = Update { velocity: Some(velocity), momentum: 0.75, weight_decay: 0.01 };
    ics::ask(&mut engine, In(theta), In(grad), update, &room).unwrap();
    assert!(before == kept(&mut engine), "the probe moved something");
    ics::read(&mut engine, &room).unwrap()
}

/// The definition: layers before i wholly at θ_{t+1}, a whole pass for each i.
fn literal(network: &Network, batch: usize, rate: f64) -> CovariateShift {
    let mut engine = engine(Cpu::<f64>::default(), network, batch, rate);
    let (at, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    let theta: Vec<f64> = initial_parameters(network, 3).into_iter().map(f64::from).collect();
    let mut gradient = |theta: &[f64]| {
        engine.backend().upload_f64(theta, Out(at)).unwrap();
        let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
        engine.loss_and_grad(In(at), Out(grad), Out(loss), Out(correct)).unwrap();
        engine.read(grad).unwrap()
    };
    let g = gradient(&theta);
    let velocity = initial_parameters(network, 3).into_iter().map(|v| f64::from(0.1 * v));
    let step = theta.iter().zip(&g).zip(velocity).map(|((t, g), v)| t - rate * (0.75 * v + g + 0.01 * t));
    let next: Vec<f64> = step.collect();
    let mut found = CovariateShift::default();
    // Under weight normalisation it is about the directions.
    let of_layer = |name: &str| name.ends_with(".weight") || name.ends_with(".direction");
    let is_weight = |name: &str| of_layer(name) && !name.starts_with("norm");
    for own in network.slots().iter().filter(|slot| is_weight(&slot.name)) {
        let mut mixed = theta.clone();
        mixed[..own.start].copy_from_slice(&next[..own.start]);
        let moved = gradient(&mixed);
        let range = own.start..own.start + own.shape.len();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (a, b) = (&moved[range.clone()], &g[range]);
        let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        found.l2.push(dot(&apart, &apart).sqrt());
        found.cosine.push(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt());
        found.grad_norm.push(dot(b, b).sqrt());
    }
    found
}

fn networks() -> Vec<(&'static str, Network, usize, f64)> {
    let noise = Some(NoiseOptions::default());
    let of = |norm| Normalisation::new(norm);
    let small = |normalisation| vgg("vgg11", 0.06, normalisation).unwrap();
    let deep = |norm| dln(Dln { depth: 5, dim: 10, ..Dln::default() }, of(norm)).unwrap();
    vec![
        ("vgg none", small(of(Norm::None)), 4, 0.05),
        ("vgg batch", small(of(Norm::Batch)), 4, 0.05),
        ("vgg noisy", small(Normalisation { noise, ..of(Norm::Batch) }), 4, 0.05),
        ("vgg l1", small(of(Norm::Lp(1.0))), 4, 0.05),
        ("vgg weight", small(of(Norm::Weight)), 4, 0.05),
        ("vgg selu", small(Normalisation { activation: Activation::Selu, ..of(Norm::None) }), 4, 0.05),
        ("vgg layer", small(of(Norm::Grouped(Grouping::Layer))), 4, 0.05),
        ("dln none", deep(Norm::None), 30, 1e-6),
        ("dln batch", deep(Norm::Batch), 30, 1e-6),
        ("dln weight", deep(Norm::Weight), 30, 1e-6),
    ]
}

#[test]
fn it_is_what_the_definition_says() {
    for (name, network, batch, rate) in networks() {
        let (found, expected) =
            (measured(Cpu::<f64>::default(), &network, batch, rate), literal(&network, batch, rate));
        assert_eq!(found.l2.len(), expected.l2.len(), "{name}");
        // Nothing lies before the first layer.
        assert_eq!((found.l2[0], found.cosine[0]), (0.0, 1.0), "{name}");
        for i in 0..found.l2.len() {
            let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-9 * scale;
            assert!(close(found.l2[i], expected.l2[i], expected.grad_norm[i]), "{name}, layer {i}: l2");
            assert!(close(found.cosine[i], expected.cosine[i], 1.0), "{name}, layer {i}: cosine");
            assert!(close(found.grad_norm[i], expected.grad_norm[i], expected.grad_norm[i]), "{name}, layer {i}: ‖G‖");
        }
        assert!(found.l2[1..].iter().all(|&l2| l2 > 0.0), "{name}: {:?}", found.l2);
    }
}

#[test]
fn every_device_finds_the_same() {
    for (name, network, batch, rate) in networks() {
        let exact = measured(Cpu::<f64>::default(), &network, batch, rate);
        let cpu = measured(Cpu::<f32>::default(), &network, batch, rate);
        let device = crate::shared::plain_device(Mode::F32).unwrap_or_else(|e| panic!("{e:?}"));
        let cuda = measured(device, &network, batch, rate);
        for (on, found) in [("CPU", cpu), ("CUDA", cuda)] {
            assert_eq!((found.l2[0], found.cosine[0]), (0.0, 1.0), "{name} on {on}");
            for i in 0..found.l2.len() {
                let (a, b) = (found.cosine[i], exact.cosine[i]);
                assert!((a - b).abs() <= 1e-3, "{name} on {on}, layer {i}: cosine {a} for {b}");
            }
        }
    }
}

#[test]
fn a_network_of_one_layer_is_refused() {
    let network = dln(Dln { depth: 1, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    let error = Workspace::new(&mut engine(Cpu::<f32>::default(), &network, 4, 0.1), false).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("1 layer"), "{error}");
}
