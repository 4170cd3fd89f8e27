//! A precision does not report what it cannot resolve in a landscape: β is NaN where the gradient changes no more than by rounding, and
//! right elsewhere. Rounding has no greater effect on a device than on the CPU.

use normscape::data::gaussian::GaussianSet;
use normscape::network::{Dln, Engine, Network, Norm, Normalisation, Scalar, dln, initial_parameters};
use normscape::ops::backend::Backend;
use normscape::probe::curvature::{self, Effort};
use normscape::probe::line::{Along, Landscape, Workspace, landscape};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;

fn device(mode: Mode) -> Cuda {
    crate::shared::plain_device(mode).unwrap_or_else(|e| panic!("{e:?}"))
}

fn drawn(seed: u64, stream: u32, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(normal(word(seed, Purpose::Case, stream, 0, i as u64)))).collect()
}

fn norm_of(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// An engine with a batch.
struct At<B> {
    engine: Engine<B>,
    theta: View,
    grad: View,
}

impl<B: Backend> At<B> {
    fn new(backend: B, network: &Network, samples: usize, x: &[f64], target: &[f64]) -> At<B> {
        let mut engine = Engine::new(backend, network.clone(), samples, Arc::default()).unwrap();
        engine.set_batch_f64(x, Some(target), None).unwrap();
        engine.set_state(&StepState::new(5, 2, 0.1)).unwrap();
        let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
        At { engine, theta, grad }
    }

    fn grad(&mut self, theta: &[f64]) -> Vec<f64> {
        self.engine.backend().upload_f64(theta, Out(self.theta)).unwrap();
        let (loss, correct) = (self.engine.slot(Scalar::Loss), self.engine.slot(Scalar::Correct));
        self.engine.loss_and_grad(In(self.theta), Out(self.grad), Out(loss), Out(correct)).unwrap();
        self.engine.read(self.grad).unwrap()
    }

    /// At `theta`.
    fn landscape(&mut self, theta: &[f64], s: &[f64], along: Along) -> Landscape {
        self.grad(theta);
        let room = Workspace::new(&mut self.engine, s, along).unwrap();
        landscape(&mut self.engine, In(self.theta), In(self.grad), s, room).unwrap()
    }

    /// ‖Hg‖/‖g‖
    fn gain(&mut self, theta: &[f64]) -> f64 {
        self.grad(theta);
        let room = curvature::Workspace::new(&mut self.engine, Effort { lanczos: 1, hutchinson: 1 }).unwrap();
        curvature::ask(&mut self.engine, In(self.theta), In(self.grad), &room).unwrap();
        curvature::read(&mut self.engine, &room).unwrap().gain
    }
}

/// Least squares, whose Hessian is `2 XᵀX` for each output; a θ near the minimum; and the Hessian's trace over an output.
struct Quadratic {
    network: Network,
    x: Vec<f64>,
    target: Vec<f64>,
    minimum: Vec<f64>,
    scale: f64,
}

const SAMPLES: usize = 60;
const DIM: usize = 6;

fn quadratic() -> Quadratic {
    let network = dln(Dln { depth: 1, dim: DIM, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    // Numbers that every precision holds.
    let short = |stream| drawn(7, stream, SAMPLES * DIM).into_iter().map(|v| (v * 16.0).round() / 16.0).collect();
    let (x, target): (Vec<f64>, Vec<f64>) = (short(1), short(2));
    let scale = 2.0 * x.iter().map(|v| v * v).sum::<f64>();
    let mut at = At::new(Cpu::<f64>::default(), &network, SAMPLES, &x, &target);
    let mut theta = vec![0.1; DIM * DIM];
    for _ in 0..4_000 {
        let grad = at.grad(&theta);
        theta.iter_mut().zip(grad).for_each(|(theta, g)| *theta -= 2.0 / scale * g);
    }
    Quadratic { network, x, target, minimum: theta, scale }
}

impl Quadratic {
    /// ‖H v‖/‖v‖
    fn stretch(&self, v: &[f64]) -> f64 {
        let x = |n: usize, i: usize| self.x[n * DIM + i];
        let gram = |i: usize, k: usize| 2.0 * (0..SAMPLES).map(|n| x(n, i) * x(n, k)).sum::<f64>();
        let hv = (0..DIM * DIM).map(|at| (0..DIM).map(|k| gram(at / DIM, k) * v[k * DIM + at % DIM]).sum());
        norm_of(&hv.collect::<Vec<f64>>()) / norm_of(v)
    }

    /// How many β along a line are told, each held to what the Hessian makes of the line; `off` is how far θ lies from the minimum.
    fn told<B: Backend>(&self, backend: B, off: f64, along: Along) -> Vec<bool> {
        let theta: Vec<f64> = self.minimum.iter().zip(drawn(7, 3, DIM * DIM)).map(|(m, d)| m + off * d).collect();
        let mut at = At::new(backend, &self.network, SAMPLES, &self.x, &self.target);
        let s: Vec<f64> = (0..12).map(|i| 10f64.powi(i - 8) / self.scale).collect();
        let grad = at.grad(&theta);
        let found = at.landscape(&theta, &s, along);
        let line = match along {
            Along::Gradient => grad,
            Along::Random => {
                (0..grad.len() as u64).map(|i| f64::from(normal(word(5, Purpose::Direction, 0, 2, i)))).collect()
            }
        };
        let known = self.stretch(&line);
        for (i, beta) in found.beta.iter().enumerate().filter(|(_, beta)| !beta.is_nan()) {
            assert!((beta / known - 1.0).abs() < 0.1, "{along:?}, {off}, point {i}: {beta} for {known}");
        }
        found.beta.iter().map(|beta| !beta.is_nan()).collect()
    }
}

#[test]
fn near_a_minimum_beta_is_right_or_not_told() {
    let quadratic = quadratic();
    for along in [Along::Gradient, Along::Random] {
        // Once the gradient is far above what rounding makes of it, and once hardly.
        for off in [1e-2, 1e-5] {
            let narrow = quadratic.told(Cpu::<f32>::default(), off, along);
            let device32 = quadratic.told(device(Mode::F32), off, along);
            for told in [&narrow, &device32] {
                // Far off it is told, close by not, and once told always.
                assert!(told[11] && !told[0] && told.is_sorted(), "{along:?}, {off}: {told:?}");
            }
            for mode in [Mode::Tf32, Mode::Bf16] {
                let told = quadratic.told(device(mode), off, along);
                assert!(!told[0], "{mode:?}, {off}: {told:?}");
            }
            assert!(quadratic.told(Cpu::<f64>::default(), off, along)[2..].iter().all(|told| *told));
        }
        // In tf32 and bf16 what is far is told too.
        for mode in [Mode::Tf32, Mode::Bf16] {
            assert!(quadratic.told(device(mode), 1.0, along)[11], "{mode:?}");
        }
        // In f64 too everything cancels in the end: then there is no β, and none of 0.
        let told = quadratic.told(Cpu::<f64>::default(), 0.0, along);
        assert!(!told[0] && !told[4], "{along:?}: {told:?}");
    }
}

#[test]
fn the_distance_is_that_of_the_points_as_they_are() {
    let Quadratic { network, x, target, minimum, scale } = quadratic();
    let theta: Vec<f64> = minimum.iter().map(|v| f64::from(*v as f32) + 0.25).map(|v| f64::from(v as f32)).collect();
    let s: Vec<f64> = [1e-8, 1e-6, 1e-2].iter().map(|s| s / scale).collect();
    fn measured<B: Backend>(mut at: At<B>, theta: &[f64], s: &[f64]) -> (Vec<f64>, Landscape) {
        (at.grad(theta), at.landscape(theta, s, Along::Gradient))
    }
    let cpu = measured(At::new(Cpu::<f32>::default(), &network, SAMPLES, &x, &target), &theta, &s);
    let cuda = measured(At::new(device(Mode::F32), &network, SAMPLES, &x, &target), &theta, &s);
    for (grad, found) in [cpu, cuda] {
        for (i, &s) in s.iter().enumerate() {
            let moved = |(t, g): (&f64, &f64)| f64::from((-s as f32).mul_add(*g as f32, *t as f32)) - t;
            let expected = norm_of(&theta.iter().zip(&grad).map(moved).collect::<Vec<_>>());
            let distance = found.distance[i];
            assert!((distance - expected).abs() <= 1e-9 * expected, "{i}: {distance} for {expected}");
        }
        let nominal: Vec<f64> = s.iter().map(|s| s * found.grad_norm).collect();
        assert!(
            (found.distance[0] / nominal[0] - 1.0).abs() > 0.01,
            "rounding is seen: {:?}, {nominal:?}",
            found.distance
        );
        assert!((found.distance[2] / nominal[2] - 1.0).abs() < 1e-4, "{:?}, {nominal:?}", found.distance);
    }
}

/// The deep linear network of the paper, late in a run in f32: the gradient is small, and its change at the shortest distances was up to 67
/// times what the Hessian says.
#[test]
fn late_in_a_run_of_the_deep_linear_network_beta_is_the_gain_or_not_told() {
    let network = dln(Dln::default(), Normalisation::new(Norm::Lp(1.0))).unwrap();
    let set = GaussianSet::generate(1, 1000, 10).unwrap();
    let wide = |v: &[f32]| v.iter().copied().map(f64::from).collect::<Vec<_>>();
    let (x, target) = (wide(&set.x), wide(&set.target));
    let mut narrow = At::new(Cpu::<f32>::default(), &network, 1000, &x, &target);
    let mut exact = At::new(Cpu::<f64>::default(), &network, 1000, &x, &target);
    let s: Vec<f64> = (0..10).map(|i| 1e-8 * 10f64.powf(0.5 * f64::from(i))).collect();
    let mut theta = initial_parameters(&network, 1);
    let mut told = Vec::new();
    for step in 0..=8_000 {
        let at = wide(&theta);
        if [4_000, 8_000].contains(&step) {
            let found = narrow.landscape(&at, &s, Along::Gradient);
            let gain = exact.gain(&at);
            let ratios: Vec<f64> = found.beta.iter().map(|beta| beta / gain).collect();
            assert!(ratios[..3].iter().all(|r| r.is_nan() || (r - 1.0).abs() < 0.1), "step {step}: {ratios:?}");
            assert!(ratios.iter().all(|r| r.is_nan() || *r < 1.3), "step {step}: {ratios:?}");
            told.push(ratios.iter().map(|r| !r.is_nan()).collect::<Vec<_>>());
        }
        let grad = narrow.grad(&at);
        theta.iter_mut().zip(grad).for_each(|(theta, g)| *theta = (-1e-6f32).mul_add(g as f32, *theta));
    }
    assert!(told[0].iter().all(|told| *told), "f32 resolves all of it at step 4000: {told:?}");
    assert!(!told[1][0] && told[1][9], "late in the run it resolves what is far: {told:?}");
}

/// Twenty-five layers, points so far that the loss has turned over: how far each precision's gradients are from those of f64. A device sums
/// its samples no worse than the CPU does.
#[test]
fn deep_networks_round_no_worse_on_a_device() {
    let (samples, dim) = (200, 10);
    let s = [1e-8, 1e-7, 1e-6, 3e-5];
    for norm in [Norm::Lp(1.0), Norm::Lp(2.0), Norm::Batch] {
        let network = dln(Dln::default(), Normalisation::new(norm)).unwrap();
        let mut all = [Vec::new(), Vec::new()];
        for seed in 1..=12 {
            let x: Vec<f64> = drawn(seed, 1, samples * dim).into_iter().map(|v| f64::from(v as f32)).collect();
            let a = drawn(seed, 2, dim * dim);
            let row = |n: usize, o: usize| (0..dim).map(|i| x[n * dim + i] * a[o * dim + i]).sum::<f64>();
            let target: Vec<f64> = (0..samples * dim).map(|at| f64::from(row(at / dim, at % dim) as f32)).collect();
            let theta: Vec<f64> = initial_parameters(&network, seed).into_iter().map(f64::from).collect();
            let exact =
                At::new(Cpu::<f64>::default(), &network, samples, &x, &target).landscape(&theta, &s, Along::Gradient);
            let cpu =
                At::new(Cpu::<f32>::default(), &network, samples, &x, &target).landscape(&theta, &s, Along::Gradient);
            let cuda =
                At::new(device(Mode::F32), &network, samples, &x, &target).landscape(&theta, &s, Along::Gradient);
            for (errors, found) in all.iter_mut().zip([&cpu, &cuda]) {
                let pairs = found.grad_l2_diff.iter().zip(&exact.grad_l2_diff);
                errors.push(pairs.map(|(found, exact)| (found / exact - 1.0).abs()).collect::<Vec<f64>>());
            }
        }
        for point in 0..s.len() {
            let middle = |errors: &Vec<Vec<f64>>| {
                let mut of: Vec<f64> = errors.iter().map(|of| of[point]).collect();
                of.sort_by(f64::total_cmp);
                of[of.len() / 2]
            };
            let [cpu, cuda] = [middle(&all[0]), middle(&all[1])];
            assert!(cuda <= 2.0 * cpu, "{norm}, s {}: {cuda:.1e} on a device, {cpu:.1e} on the CPU", s[point]);
        }
    }
}
