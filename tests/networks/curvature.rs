//! The curvature probe in cases with known curvature: on a quadratic, on a network small enough for its full Hessian, and as the limit of
//! the landscape's measurements.

use crate::shared;
use normscape::network::{Dln, Engine, Network, Norm, Normalisation, Scalar, dln, initial_parameters, vgg};
use normscape::ops::backend::Backend;
use normscape::probe::curvature::{self, Curvature, Effort};
use normscape::probe::line::{self, Along};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;

fn drawn(stream: u32, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(normal(word(31, Purpose::Case, stream, 0, i as u64)))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// An engine with a batch, θ and ∇L(θ).
struct At<B> {
    engine: Engine<B>,
    theta: View,
    grad: View,
}

fn at<B: Backend>(backend: B, network: &Network, n: usize) -> At<B> {
    let mut engine = Engine::new(backend, network.clone(), n, Arc::default()).unwrap();
    let len = network.input(n).len();
    if network.input(1).hwnc()[0] == 1 {
        engine.set_batch_f64(&drawn(1, len), Some(&drawn(2, len)), None).unwrap();
    } else {
        let labels: Vec<u32> = (0..n as u32).map(|i| i * 3 % 10).collect();
        engine.set_batch_f64(&drawn(1, len), None, Some(&labels)).unwrap();
    }
    engine.set_state(&StepState::new(5, 2, 0.1)).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&initial_parameters(network, 3), Out(theta)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
    At { engine, theta, grad }
}

impl<B: Backend> At<B> {
    fn curvature(&mut self, lanczos: usize, hutchinson: usize) -> Curvature {
        let room = curvature::Workspace::new(&mut self.engine, Effort { lanczos, hutchinson }).unwrap();
        curvature::ask(&mut self.engine, In(self.theta), In(self.grad), &room).unwrap();
        curvature::read(&mut self.engine, &room).unwrap()
    }

    /// The rows of ∇²L(θ).
    fn hessian(&mut self) -> Vec<Vec<f64>> {
        let (v, out) = (self.engine.vector().unwrap(), self.engine.vector().unwrap());
        let room = self.engine.tangents().unwrap();
        let (loss, correct) = (self.engine.slot(Scalar::Aside), self.engine.slot(Scalar::AsideCorrect));
        self.engine.linearise(&room, In(self.theta), Out(loss), Out(correct)).unwrap();
        let len = v.shape.len();
        let row = |i: usize| {
            let unit: Vec<f64> = (0..len).map(|k| f64::from(u8::from(k == i))).collect();
            self.engine.backend().upload_f64(&unit, Out(v)).unwrap();
            self.engine.hessian_vector(&room, In(self.theta), In(v), Out(out)).unwrap();
            self.engine.read(out).unwrap()
        };
        (0..len).map(row).collect()
    }
}

/// The largest eigenvalue of a symmetric matrix, by powers of what is shifted to be positive.
fn largest_eigenvalue(matrix: &[Vec<f64>]) -> f64 {
    let shift = matrix.iter().map(|row| row.iter().map(|v| v.abs()).sum::<f64>()).fold(0.0, f64::max);
    let mut v = drawn(9, matrix.len());
    let mut value = 0.0;
    for _ in 0..20_000 {
        let product: Vec<f64> = matrix.iter().zip(&v).map(|(row, v0)| dot(row, &v) + shift * v0).collect();
        let length = dot(&product, &product).sqrt();
        value = dot(&product, &v) / dot(&v, &v) - shift;
        v = product.into_iter().map(|p| p / length).collect();
    }
    value
}

#[test]
fn on_a_quadratic_it_is_exact() {
    let (n, dim) = (40, 5);
    let network = dln(Dln { depth: 1, dim, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    let mut here = at(Cpu::<f64>::default(), &network, n);
    let found = here.curvature(20, 64);
    // H is 2 XᵀX for each output.
    let x = drawn(1, n * dim);
    let gram = |i: usize, k: usize| 2.0 * (0..n).map(|s| x[s * dim + i] * x[s * dim + k]).sum::<f64>();
    let gram: Vec<Vec<f64>> = (0..dim).map(|i| (0..dim).map(|k| gram(i, k)).collect()).collect();
    let g = here.engine.read(here.grad).unwrap();
    let hg: Vec<f64> =
        (0..dim * dim).map(|at| (0..dim).map(|k| gram[at / dim][k] * g[k * dim + at % dim]).sum()).collect();
    let near = |found: f64, known: f64| assert!((found / known - 1.0).abs() < 1e-10, "{found} and {known}");
    near(found.rayleigh, dot(&hg, &g) / dot(&g, &g));
    near(found.gain, (dot(&hg, &hg) / dot(&g, &g)).sqrt());
    near(found.top[0], largest_eigenvalue(&gram));
    assert!(found.top[1] < 1e-8 * found.top[0], "five eigenvalues, and Lanczos has found them: {:?}", found.top);
    let trace = dim as f64 * (0..dim).map(|i| gram[i][i]).sum::<f64>();
    assert!((found.trace[0] - trace).abs() < 4.0 * found.trace[1], "{:?} and {trace}", found.trace);
    assert!(found.trace[1] < 0.1 * trace);
    // One vector has no error to speak of.
    assert!(here.curvature(1, 1).trace[1].is_nan());
}

/// Where ‖Hg‖ is 1e10 times as long as g, as at the start of a deep linear network it can be 1e8 times, no digit of either is lost.
#[test]
fn a_gain_far_above_one_is_as_exact() {
    let (n, dim) = (40, 5);
    let network = dln(Dln { depth: 1, dim, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    let mut here = at(Cpu::<f64>::default(), &network, n);
    let plain = here.curvature(5, 1);
    // Inputs and targets 2¹⁶ times as large, weights as before: gradient and Hessian are 2³² times as large.
    let large = |stream| drawn(stream, n * dim).into_iter().map(|v| 65_536.0 * v).collect::<Vec<_>>();
    here.engine.set_batch_f64(&large(1), Some(&large(2)), None).unwrap();
    let (loss, correct) = (here.engine.slot(Scalar::Loss), here.engine.slot(Scalar::Correct));
    here.engine.loss_and_grad(In(here.theta), Out(here.grad), Out(loss), Out(correct)).unwrap();
    let found = here.curvature(5, 1);
    let factor = 65_536.0f64.powi(2);
    for (found, plain) in [(found.gain, plain.gain), (found.rayleigh, plain.rayleigh)] {
        assert!((found / (factor * plain) - 1.0).abs() < 1e-10, "{found} and {plain}");
    }
}

#[test]
fn on_a_small_network_it_is_that_of_the_whole_hessian() {
    for norm in [Norm::None, Norm::Batch, Norm::Lp(1.0)] {
        let network = dln(Dln { depth: 3, dim: 4, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        let mut here = at(Cpu::<f64>::default(), &network, 12);
        let (hessian, g) = (here.hessian(), here.engine.read(here.grad).unwrap());
        let found = here.curvature(hessian.len(), 400);
        let hg: Vec<f64> = hessian.iter().map(|row| dot(row, &g)).collect();
        assert!((found.rayleigh * dot(&g, &g) / dot(&hg, &g) - 1.0).abs() < 1e-10);
        let top = largest_eigenvalue(&hessian);
        assert!((found.top[0] / top - 1.0).abs() < 1e-8, "{norm}: {:?} and {top}", found.top);
        // What is told of the error holds also where Lanczos has not come far.
        let early = here.curvature(6, 2);
        assert!((early.top[0] - top).abs() <= early.top[1] + 1e-9 * top && early.top[0] <= top * (1.0 + 1e-9));
        let trace: f64 = (0..hessian.len()).map(|i| hessian[i][i]).sum();
        assert!((found.trace[0] - trace).abs() < 4.0 * found.trace[1], "{norm}: {:?} and {trace}", found.trace);
    }
}

#[test]
fn the_landscape_tends_to_it() {
    let deep = Dln { depth: 4, dim: 6, ..Dln::default() };
    for norm in [Norm::None, Norm::Batch, Norm::Lp(1.0), Norm::Lp(f64::INFINITY)] {
        let normalisation = Normalisation::new(norm);
        let networks = [(dln(deep, normalisation).unwrap(), 30), (vgg("vgg11", 0.0625, normalisation).unwrap(), 4)];
        for (network, n) in networks {
            let mut here = at(Cpu::<f64>::default(), &network, n);
            let limit = here.curvature(1, 1);
            // Lengths at which a step turns the gradient by a ten-millionth to a billionth of itself.
            let s = [1e-7, 1e-8, 1e-9].map(|part| part / limit.gain);
            let room = line::Workspace::new(&mut here.engine, &s, Along::Gradient).unwrap();
            let found = line::landscape(&mut here.engine, In(here.theta), In(here.grad), &s, room).unwrap();
            let compared = here.engine.read(room.compared()).unwrap();
            let square = found.grad_norm * found.grad_norm;
            for (i, s) in s.iter().enumerate() {
                // A difference of gradients so near has lost as many digits.
                let allowed = [1e-4, 1e-5, 1e-5][i];
                let slope = (square - compared[3 * i + 1]) / (s * square);
                let quotient = found.grad_l2_diff[i] / s;
                let near = |found: f64, known: f64| (found / known - 1.0).abs() < allowed;
                assert!(near(found.beta[i], limit.gain), "{norm}: β {} and {}", found.beta[i], limit.gain);
                assert!(near(quotient, limit.gain * found.grad_norm), "{norm}: {quotient}");
                assert!(near(slope, limit.rayleigh), "{norm}: {slope} and {}", limit.rayleigh);
            }
        }
    }
}

#[test]
fn every_backend_finds_the_same() {
    let network = dln(Dln { depth: 4, dim: 6, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    let device = |order| shared::device(Mode::F32, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("")));
    let exact = at(Cpu::<f64>::default(), &network, 20).curvature(8, 4);
    let others =
        [at(Cpu::<f32>::default(), &network, 20).curvature(8, 4), at(device(None), &network, 20).curvature(8, 4)];
    for found in others {
        let pairs = [
            (found.rayleigh, exact.rayleigh),
            (found.gain, exact.gain),
            (found.top[0], exact.top[0]),
            (found.trace[0], exact.trace[0]),
            (found.trace[1], exact.trace[1]),
        ];
        for (found, exact) in pairs {
            assert!((found / exact - 1.0).abs() < 1e-4, "{found} and {exact}");
        }
    }
    assert_eq!(at(device(Some(4)), &network, 20).curvature(8, 4), others[1]);
}

#[test]
fn no_effort_finds_nothing() {
    let network = dln(Dln { depth: 2, dim: 3, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    let mut here = at(Cpu::<f32>::default(), &network, 4);
    for effort in [Effort { lanczos: 0, hutchinson: 1 }, Effort { lanczos: 1, hutchinson: 0 }] {
        let error = curvature::Workspace::new(&mut here.engine, effort).unwrap_err();
        assert!(error.to_string().contains("at least one of each"), "{error}");
    }
}
