//! Measurements along a line where the result is known: on a quadratic, whose Hessian is constant. On every backend.

use normscape::network::{Dln, Engine, Network, Norm, Normalisation, Scalar, dln, initial_parameters};
use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::probe::line::{Along, Landscape, Workspace, landscape};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out};
use std::sync::Arc;

fn drawn(seed: u64, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(normal(word(seed, Purpose::Case, 0, 0, i as u64)))).collect()
}

/// The landscape of `network` at its initial parameters, the state being (seed 5, step `step`); and g.
fn measured<B: Backend>(
    backend: B,
    network: &Network,
    samples: usize,
    step: u64,
    s: &[f64],
    along: Along,
) -> (Landscape, Vec<f64>) {
    let mut engine = Engine::new(backend, network.clone(), samples, Arc::default()).unwrap();
    let len = network.input(samples).len();
    engine.set_batch_f64(&drawn(1, len), Some(&drawn(2, len)), None).unwrap();
    engine.set_state(&StepState::new(5, step, 0.1)).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&initial_parameters(network, 3), Out(theta)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
    let room = Workspace::new(&mut engine, s, along).unwrap();
    let found = landscape(&mut engine, In(theta), In(grad), s, room).unwrap();
    (found, engine.read(grad).unwrap())
}

/// `2 XᵀX D`: the Hessian of Σ‖x W − t‖² along D.
fn hessian_along(samples: usize, dim: usize, d: &[f64]) -> Vec<f64> {
    let x = drawn(1, samples * dim);
    let gram = |i: usize, k: usize| (0..samples).map(|n| x[n * dim + i] * x[n * dim + k]).sum::<f64>();
    let gram: Vec<f64> = (0..dim * dim).map(|at| gram(at / dim, at % dim)).collect();
    let entry = |i: usize, o: usize| 2.0 * (0..dim).map(|k| gram[i * dim + k] * d[k * dim + o]).sum::<f64>();
    (0..dim * dim).map(|at| entry(at / dim, at % dim)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn on_a_quadratic_everything_is_known() {
    let (samples, dim, s) = (40, 5, [1e-4, 1e-3, 0.02, 0.5]);
    let network = dln(Dln { depth: 1, dim, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    for (along, step) in [(Along::Gradient, 0), (Along::Random, 0), (Along::Random, 7)] {
        let (found, g) = measured(Cpu::<f64>::default(), &network, samples, step, &s, along);
        let length = dot(&g, &g).sqrt();
        let d: Vec<f64> = match along {
            Along::Gradient => g.clone(),
            Along::Random => {
                let d = |i| f64::from(normal(word(5, Purpose::Direction, 0, step as u32, i)));
                let d: Vec<f64> = (0..(dim * dim) as u64).map(d).collect();
                let scale = length / dot(&d, &d).sqrt();
                d.into_iter().map(|d| d * scale).collect()
            }
        };
        let hd = hessian_along(samples, dim, &d);
        let close = |what: &str, found: f64, expected: f64| {
            assert!((found - expected).abs() <= 1e-10 * expected.abs(), "{along:?}, {what}: {found} for {expected}");
        };
        close("‖g‖", found.grad_norm, length);
        for (i, s) in s.into_iter().enumerate() {
            close("loss", found.loss[i], found.base_loss - s * dot(&g, &d) + s * s / 2.0 * dot(&d, &hd));
            close("‖∇L(θ_s) − g‖", found.grad_l2_diff[i], s * dot(&hd, &hd).sqrt());
            close("distance", found.distance[i], s * length);
            close("β", found.beta[i], dot(&hd, &hd).sqrt() / length);
        }
    }
}

#[test]
fn every_device_measures_the_same() {
    let s = [1e-7, 3e-7, 1e-6];
    for (norm, depth, dim) in [(Norm::Batch, 3, 10), (Norm::Lp(1.0), 2, 17)] {
        let network = dln(Dln { depth, dim, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        let theta: Vec<f64> = initial_parameters(&network, 3).into_iter().map(f64::from).collect();
        let theta_norm = dot(&theta, &theta).sqrt();
        for along in [Along::Gradient, Along::Random] {
            let (exact, _) = measured(Cpu::<f64>::default(), &network, 50, 2, &s, along);
            let (cpu, _) = measured(Cpu::<f32>::default(), &network, 50, 2, &s, along);
            let device = crate::shared::device(Mode::F32, None).unwrap_or_else(|e| panic!("{e:?}"));
            let (cuda, _) = measured(device, &network, 50, 2, &s, along);
            for (name, found) in [("CPU", cpu), ("CUDA", cuda)] {
                for (i, (loss, exact)) in found.loss.iter().zip(&exact.loss).enumerate() {
                    assert!((loss - exact).abs() <= 1e-5 * exact, "{name}, {norm}, {along:?}: {loss} for {exact}");
                    // Every θ_s is rounded to f32, and the distance is that of what comes of it.
                    let (distance, nominal) = (found.distance[i], s[i] * found.grad_norm);
                    let rounded = 2f64.powi(-24) * theta_norm + 1e-6 * nominal;
                    assert!((distance - nominal).abs() <= rounded, "{name}, {norm}: {distance} for {nominal}");
                }
            }
        }
    }
}

/// As s goes to 0, θ_s is θ: its loss is the base loss, under the same noise, on the same batch, with the batch's own statistics.
#[test]
fn at_no_distance_nothing_has_changed() {
    let noisy = |norm| Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(norm) };
    for normalisation in
        [Normalisation::new(Norm::Batch), Normalisation::new(Norm::Lp(1.0)), noisy(Norm::Batch), noisy(Norm::None)]
    {
        let network = dln(Dln { depth: 3, dim: 6, ..Dln::default() }, normalisation).unwrap();
        let (found, _) = measured(Cpu::<f64>::default(), &network, 40, 3, &[1e-13], Along::Gradient);
        assert!((found.loss[0] / found.base_loss - 1.0).abs() < 1e-6, "{normalisation:?}: {found:?}");
        assert!(found.grad_l2_diff[0] < 1e-5 * found.grad_norm, "{normalisation:?}: {found:?}");
    }
}

/// Points that several engines evaluate at once are those that one evaluates, in every bit: how many there are is the machine's matter.
#[test]
fn points_at_once_are_points_one_by_one() {
    let s = [1e-8, 1e-7, 1e-6, 3e-6, 1e-5];
    let noise = Some(NoiseOptions::default());
    let in_pool = |threads: usize, network: &Network, along| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| measured(Cpu::<f32>::default(), network, 50, 3, &s, along))
    };
    let bits = |of: &Landscape| {
        let all = [&of.loss, &of.grad_l2_diff, &of.distance, &of.beta];
        all.into_iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    for norm in [Norm::Batch, Norm::Weight, Norm::None] {
        let normalisation = Normalisation { noise, ..Normalisation::new(norm) };
        let network = dln(Dln { depth: 3, dim: 6, ..Dln::default() }, normalisation).unwrap();
        for along in [Along::Gradient, Along::Random] {
            let (alone, _) = in_pool(1, &network, along);
            for threads in [2, 3, 7] {
                let (found, _) = in_pool(threads, &network, along);
                assert_eq!(bits(&found), bits(&alone), "{norm}, {along:?}, {threads} threads");
            }
        }
        // Each thread has an engine, as far as there are points; where there is one thread, one.
        for (threads, engines) in [(1, 1), (3, 3), (7, 5)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| {
                let mut engine = Engine::new(Cpu::<f32>::default(), network.clone(), 50, Arc::default()).unwrap();
                engine.accompany(s.len()).unwrap()
            });
            assert_eq!(found, engines, "{threads} threads");
        }
    }
}
