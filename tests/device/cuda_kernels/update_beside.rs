//! Weights that are updated in the launch that makes their gradient: to the bit what the gradient and the update in launches of their own leave, with one
//! split and with many, with momentum and without, where the step has halted, in every order of blocks and threads, and through the steps of a network.

use normscape::network::{Engine, Loss, Network, Scalar, Update, initial_parameters, layer::Layer};
use normscape::ops::conv2d::{Conv2d, Conv2dLayer, Map};
use normscape::ops::linear::LinearLayer;
use normscape::ops::max_pool2d::MaxPool2dLayer;
use normscape::ops::sgd::{Descent, Sgd};
use normscape::ops::step::Step;
use normscape::ops::weight_grads::WeightGrads;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::Driver;
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::ledger::Ledger;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};
use std::sync::Arc;

fn driver(order: Option<u64>, hopper: bool) -> Box<dyn Driver> {
    let options = Options { order, poison: true, hopper, ..Options::from_environment().unwrap() };
    crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

fn drawn(which: u32, len: usize) -> Vec<f32> {
    (0..len).map(|at| normal(word(47, Purpose::Case, which, 0, at as u64))).collect()
}

/// How a weight is updated.
#[derive(Debug, Clone, Copy)]
struct How {
    hopper: bool,
    /// By the launch that makes its gradient, if a kernel can.
    beside: bool,
    momentum: Option<f64>,
    halted: bool,
    order: Option<u64>,
}

const MU: f64 = 0.9;

/// dx, θ, the velocity and the operands after the update of a convolution's weight; and the kernels that made them.
fn updated(map: Map, how: How) -> ([Vec<f64>; 4], Vec<&'static str>) {
    let mut gpu = Cuda::new(Ledger::new(driver(how.order, how.hopper), false), Mode::Bf16).unwrap();
    let (Map { h, w, n, c, k }, float) = (map, gpu.activation_dtype());
    let mut plan = gpu.plan();
    let [x, dx] = [0; 2].map(|_| plan.view(Shape::new([h, w, n, c]), float));
    let dy = plan.view(Shape::new([h, w, n, k]), float);
    let [weight, next] = [0; 2].map(|_| plan.view(Shape::new([9, c, k]), float));
    let [theta, velocity, dw] = [0; 3].map(|_| plan.view(Shape::new([9, c, k]), DType::F32));
    let workspace = plan.view(gpu.conv2d_workspace(map), DType::F32);
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    gpu.commit(&plan).unwrap();
    for (which, view) in [x, dy, theta, velocity].into_iter().enumerate() {
        gpu.upload_f32(&drawn(which as u32, view.shape.len()), Out(view)).unwrap();
    }
    gpu.upload_f32(&drawn(2, weight.shape.len()), Out(weight)).unwrap();
    gpu.set_state(&StepState::new(1, 4, 0.01), Out(state)).unwrap();
    if how.halted {
        let mut plan = gpu.plan();
        let loss = plan.view(Shape::new([1]), DType::F64);
        gpu.commit(&plan).unwrap();
        gpu.upload(&[f64::NAN], Out(loss)).unwrap();
        gpu.judge(In(loss), Out(state)).unwrap();
    }
    let begun = gpu.driver().entries.len();
    let (v, momentum) = (how.momentum.map(|_| Out(velocity)), how.momentum.unwrap_or(0.0));
    let plain = Descent::plain(Out(theta), In(state));
    let update = Descent { velocity: v, operands: Some(Out(next)), momentum, weight_decay: 1e-3, ..plain };
    let grads = WeightGrads {
        x: Some(Out(dx)),
        weight: Some(Out(dw)),
        bias: None,
        norm: None,
        update: how.beside.then_some(update),
    };
    gpu.conv2d_backward(In(x), In(weight), In(dy), grads, Out(workspace)).unwrap();
    if !how.beside {
        gpu.sgd(In(dw), update).unwrap();
    }
    let names = gpu.driver().entries[begun..].iter().map(|entry| entry.kernel).collect();
    ([dx, theta, velocity, next].map(|view| gpu.download_f64(In(view)).unwrap()), names)
}

/// With one split of the rows, of few tiles by a cluster each; and with many, along lines.
const MAPS: [Map; 2] = [Map { h: 1, w: 2, n: 128, c: 128, k: 128 }, Map { h: 8, w: 9, n: 128, c: 64, k: 64 }];

#[test]
fn a_weight_is_updated_beside_its_gradient() {
    let there = driver(None, true).properties().hopper;
    for map in MAPS {
        let large = map.h > 1;
        let small = [(None, false), (Some(MU), false), (Some(MU), true)];
        let (cases, orders): (&[_], &[_]) = match large {
            true => (&small[1..2], &[Some(5)]),
            false => (&small, &[None, Some(5), Some(6)]),
        };
        for &(momentum, halted) in cases {
            let apart = How { hopper: true, beside: false, momentum, halted, order: None };
            let (expected, names) = updated(map, apart);
            assert!(names.iter().any(|name| name.starts_with("sgd")), "{names:?}");
            let start = drawn(2, expected[1].len());
            let moved = expected[1].iter().zip(&start).any(|(now, before)| *now != f64::from(*before));
            assert_eq!(moved, !halted, "{map:?}");
            for &order in orders {
                let (found, names) = updated(map, How { beside: true, order, ..apart });
                assert!(found == expected, "{map:?}, {momentum:?}, halted {halted}, order {order:?}");
                assert!(!there || names.len() == 1, "one launch: {names:?}");
            }
        }
    }
    // Where no kernel makes it, a launch of its own does.
    let apart = How { hopper: false, beside: false, momentum: Some(MU), halted: false, order: None };
    let (expected, _) = updated(MAPS[0], apart);
    let (found, names) = updated(MAPS[0], How { beside: true, ..apart });
    assert!(found == expected && names.last() == Some(&"sgd_momentum"), "{names:?}");
}

#[test]
fn a_backend_that_cannot_update_a_weight_says_so() {
    let mut cpu = Cpu::<f32>::default();
    let map = Map { h: 1, w: 1, n: 2, c: 1, k: 1 };
    assert!(!cpu.conv2d_updates_weight(map));
    let mut plan = cpu.plan();
    let [x, dx, dy] = [0; 3].map(|_| plan.view(Shape::new([1, 1, 2, 1]), DType::F32));
    let [w, dw] = [0; 2].map(|_| plan.view(Shape::new([9, 1, 1]), DType::F32));
    let workspace = plan.view(cpu.conv2d_workspace(map), DType::F32);
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    cpu.commit(&plan).unwrap();
    let update = Some(Descent::plain(Out(w), In(state)));
    let grads = WeightGrads { x: Some(Out(dx)), weight: Some(Out(dw)), bias: None, norm: None, update };
    let refused = cpu.conv2d_backward(In(x), In(w), In(dy), grads, Out(workspace)).unwrap_err();
    assert!(refused.to_string().contains("a backend that updates this weight"), "{refused}");
}

/// Two convolutions of 128 channels after a first one, a pool and a head, for images of 2 × 2 pixels.
fn network() -> Network {
    let conv = |channels| Layer::Conv2d(Conv2dLayer { channels, bias: true, weight_norm: false });
    let pool = Layer::MaxPool2d(MaxPool2dLayer);
    let fc = Layer::Linear(LinearLayer { outputs: 10, bias: true, weight_norm: false });
    let layers = [("conv1", conv(128)), ("conv2", conv(128)), ("conv3", conv(128)), ("", pool), ("fc", fc)];
    let layers = layers.into_iter().map(|(name, layer)| (name.to_owned(), layer)).collect();
    Network::new(layers, Shape::new([2, 2, 1, 3]), Loss::CrossEntropy).unwrap()
}

/// θ and the velocity, as bits, after so many steps as graphs, of which the third needs the gradient; and the kernels of all that was asked for.
fn steps(count: usize, hopper: bool, beside: bool, momentum: f64, rate: f64) -> ([Vec<u64>; 2], Vec<&'static str>) {
    let (network, batch) = (network(), 128);
    let start = initial_parameters(&network, 5);
    let device = Cuda::new(Ledger::new(driver(None, hopper), false), Mode::Bf16).unwrap();
    let mut engine = Engine::new(device, network, batch, Arc::default()).unwrap();
    let [theta, velocity, grad] = [0; 3].map(|_| engine.vector().unwrap());
    engine.backend().upload_f32(&start, Out(theta)).unwrap();
    engine.backend().upload_f32(&vec![0.0; start.len()], Out(velocity)).unwrap();
    let x = drawn(9, engine.network().input(batch).len());
    engine.set_labelled(&x, &(0..batch as u32).map(|i| i % 10).collect::<Vec<_>>()).unwrap();
    engine.set_state(&StepState::new(1, 0, rate)).unwrap();
    if beside {
        engine.plan_updates().unwrap();
    }
    let update = Update { velocity: (momentum > 0.0).then_some(velocity), momentum, weight_decay: 1e-3 };
    let (loss, correct) = (Out(engine.slot(Scalar::Loss)), Out(engine.slot(Scalar::Correct)));
    let begun = engine.observe().driver().entries.len();
    for step in 0..count {
        let probed = step == 2;
        engine
            .as_graph(u64::from(probed), |engine| {
                match probed {
                    true => engine.loss_and_grad(In(theta), Out(grad), loss, correct)?,
                    false => engine.loss_and_update(Out(theta), Out(grad), [loss, correct], true, update)?,
                }
                engine.update(Out(theta), In(grad), update)
            })
            .unwrap();
    }
    let names = engine.observe().driver().entries[begun..].iter().map(|entry| entry.kernel).collect();
    let bits = |of: Vec<f64>| of.into_iter().map(f64::to_bits).collect();
    ([theta, velocity].map(|view| bits(engine.read(view).unwrap())), names)
}

#[test]
fn a_network_takes_the_same_steps() {
    let there = driver(None, true).properties().hopper;
    for momentum in [0.0, MU] {
        let (expected, names) = steps(6, true, false, momentum, 0.05);
        assert!(!names.contains(&"sgd_pieces"), "{names:?}");
        let (found, names) = steps(6, true, true, momentum, 0.05);
        assert!(found == expected, "momentum {momentum}");
        // All steps but the probed one; and θ is rounded by itself only before the first.
        let count = |of: &str| names.iter().filter(|name| **name == of).count();
        assert_eq!(count("sgd_pieces"), if there { 5 } else { 0 }, "{names:?}");
        assert_eq!(count("recast"), 1, "{names:?}");
    }
}

#[test]
fn a_step_whose_loss_is_not_finite_updates_nothing() {
    // The first step leads so far away that no later one has a finite loss.
    let (one, _) = steps(1, true, true, MU, 1e30);
    let (five, _) = steps(5, true, true, MU, 1e30);
    assert!(one == five);
    assert_ne!(one, steps(1, true, true, MU, 0.05).0);
}
