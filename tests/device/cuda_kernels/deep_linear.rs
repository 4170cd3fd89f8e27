//! The deep linear network as one kernel: compared with layer-by-layer passes on the CPU, several at once, and with threads in any order.

use normscape::network::{
    Dln, Engine, Network, Norm, Normalisation, Reduction, Scalar, Update, dln, initial_parameters,
};
use normscape::ops::backend::Backend;
use normscape::ops::boundary::relative_error;
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

type Device = Cuda<Ledger<Box<dyn Driver>>>;

fn device(order: Option<u64>) -> Device {
    let options = Options { order, poison: true, ..Options::from_environment().unwrap() };
    let driver = crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")));
    Cuda::new(Ledger::new(driver, false), Mode::F32).unwrap()
}

fn drawn(seed: u64, len: usize) -> Vec<f32> {
    (0..len).map(|i| normal(word(seed, Purpose::Case, 0, 0, i as u64))).collect()
}

/// The network's parameters, γ and β drawn too, so that they matter.
fn parameters(network: &Network, seed: u64) -> Vec<f32> {
    let mut theta = initial_parameters(network, seed);
    for slot in network.slots().iter().filter(|slot| slot.name.starts_with("norm")) {
        for (v, z) in theta[slot.start..][..slot.shape.len()].iter_mut().zip(drawn(seed + 1, slot.shape.len())) {
            *v += 0.3 * z;
        }
    }
    theta
}

fn engine<B: Backend>(backend: B, network: &Network, samples: usize) -> Engine<B> {
    let mut engine = Engine::new(backend, network.clone(), samples, Arc::default()).unwrap();
    let len = network.input(samples).len();
    engine.set_target(&drawn(3, len), &drawn(4, len)).unwrap();
    engine.set_state(&StepState::new(1, 4, 0.1)).unwrap();
    engine
}

/// Everything that a pass leaves, and the loss of a pass without a gradient.
fn pass<B: Backend>(backend: B, network: &Network, samples: usize) -> (Vec<Vec<f64>>, Engine<B>) {
    let mut engine = engine(backend, network, samples);
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&parameters(network, 7), Out(theta)).unwrap();
    let (loss, correct, test) =
        (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct), engine.slot(Scalar::TestLoss));
    engine.loss(In(theta), Out(test), Out(correct)).unwrap();
    engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
    engine.move_running(0.1).unwrap();
    assert!(engine.scalar(Scalar::Correct).unwrap().is_nan());
    let (samples, output) = (engine.samples().unwrap(), engine.output().unwrap());
    let found = [loss, test, grad, samples, output, engine.running()];
    let found = found.map(|view| engine.backend().download_f64(In(view)).unwrap());
    (found.to_vec(), engine)
}

fn passes(engine: &mut Engine<Device>, kernel: &str) -> usize {
    engine.backend().driver().entries.iter().filter(|e| e.kernel.starts_with(kernel)).count()
}

#[test]
fn one_kernel_finds_what_the_layers_find() {
    let (linf, l3) = (Norm::Lp(f64::INFINITY), Norm::Lp(3.0));
    for (norm, depth, dim, samples, norm_last, mean_loss) in [
        (Norm::Batch, 25, 10, 1000, false, false),
        (Norm::None, 6, 10, 100, false, true),
        (Norm::Batch, 3, 16, 67, true, false),
        (Norm::Lp(1.0), 4, 10, 33, false, true),
        (Norm::Lp(2.0), 4, 7, 40, true, false),
        (Norm::Lp(2.0), 25, 10, 1000, false, false),
        (Norm::Batch, 3, 10, 12, false, false),
        (linf, 5, 10, 100, false, false),
        (linf, 2, 3, 9, true, true),
        (l3, 4, 10, 50, false, false),
        (Norm::Batch, 2, 1, 2, true, false),
        (Norm::None, 1, 5, 1, false, false),
        // Wider than a thread's registers: the layers one by one.
        (Norm::Batch, 3, 17, 30, false, false),
    ] {
        let name = format!("{norm}, {depth} layers of {dim}, {samples} samples");
        let network = dln(
            Dln { depth, dim, norm_last, loss: if mean_loss { Reduction::Mean } else { Reduction::Half } },
            Normalisation::new(norm),
        )
        .unwrap();
        let (found, mut on) = pass(device(None), &network, samples);
        // On coordinates: every device, where there are more samples than directions and a norm's spread is a function of those.
        let coordinates = samples >= 16 && matches!(norm, Norm::None | Norm::Batch | Norm::Lp(2.0));
        // Clusters came with sm_90.
        let clusters = on.backend().driver().properties().capability >= 90;
        let expected = match dim {
            17.. => [0, 0, 0],
            _ if coordinates => [2, 0, 1],
            _ => [0, if clusters { 2 } else { 0 }, 0],
        };
        let kernels = ["deep_linear_coordinates", "deep_linear_1", "deep_linear_samples"];
        assert_eq!(kernels.map(|kernel| passes(&mut on, kernel)), expected, "{name}");
        let (exact, _) = pass(Cpu::<f64>::default(), &network, samples);
        let (cpu, _) = pass(Cpu::<f32>::default(), &network, samples);
        for (i, what) in ["loss", "loss alone", "gradient", "samples", "output", "running"].into_iter().enumerate() {
            let (error, on_cpu) = (relative_error(&found[i], &exact[i]), relative_error(&cpu[i], &exact[i]));
            // What f32 itself loses, on the CPU: the kernel may lose four times as much.
            assert!(error <= 4.0 * on_cpu + 1e-6, "{name}: {what} {error:e}, on the CPU {on_cpu:e}");
        }
        if dim == 10 && samples < 1000 {
            let (other, _) = pass(device(Some(5)), &network, samples);
            let bits = |all: &[Vec<f64>]| all.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(bits(&found) == bits(&other), "{name}: other bits in another order of threads");
        }
    }
}

/// Runs side by side find to the bit what each finds alone; on the CPU they go one after another.
fn side_by_side<B: Backend>(backend: B, network: &Network) {
    let (samples, runs) = (20, 3);
    let mut engine = engine(backend, network, samples);
    let len = network.slots().len();
    let (thetas, grads) = (engine.vectors(runs).unwrap(), engine.vectors(runs).unwrap());
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    let mut plan = engine.backend().plan();
    let [loss, correct] = [0, 1].map(|_| plan.view(Shape::new([runs]), DType::F64));
    engine.backend().commit(&plan).unwrap();
    let stride = thetas.shape.matrix().1;
    let row = |view: normscape::runtime::tensor::View, run: usize| view.slice(run * stride, Shape::new([len]));
    for run in 0..runs {
        engine.backend().upload_f32(&parameters(network, 10 + run as u64), Out(row(thetas, run))).unwrap();
    }
    engine.losses_and_grads(In(thetas), Out(grads), Out(loss), Out(correct)).unwrap();
    let losses = engine.backend().download_f64(In(loss)).unwrap();
    let slots = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    for (run, many) in losses.into_iter().enumerate() {
        engine.backend().upload_f32(&parameters(network, 10 + run as u64), Out(theta)).unwrap();
        engine.loss_and_grad(In(theta), Out(grad), Out(slots.0), Out(slots.1)).unwrap();
        assert_eq!(engine.scalar(Scalar::Loss).unwrap().to_bits(), many.to_bits(), "run {run}");
        let [alone, of_many] = [grad, row(grads, run)].map(|view| engine.backend().download_f64(In(view)).unwrap());
        assert!(alone.iter().zip(&of_many).all(|(a, b)| a.to_bits() == b.to_bits()), "run {run}");
    }
}

#[test]
fn runs_go_side_by_side() {
    let network = dln(Dln { depth: 4, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    side_by_side(device(None), &network);
    side_by_side(Cpu::<f32>::default(), &network);
}

/// θ after six steps, of which the last three are on another batch; and the losses of that batch's samples. As a graph, steps are replayed from the third
/// on.
fn six_steps(as_graph: bool) -> [Vec<f64>; 2] {
    let network = dln(Dln { depth: 3, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    let samples = 24;
    let mut engine = engine(device(None), &network, samples);
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&parameters(&network, 7), Out(theta)).unwrap();
    engine.set_state(&StepState::new(1, 4, 1e-3)).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    for step in 0..6 {
        if step == 3 {
            let len = network.input(samples).len();
            engine.set_target(&drawn(5, len), &drawn(6, len)).unwrap();
        }
        let work = |engine: &mut Engine<Device>| {
            engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct))?;
            engine.update(Out(theta), In(grad), Update { velocity: None, momentum: 0.0, weight_decay: 0.0 })
        };
        if as_graph { engine.as_graph(0, work).unwrap() } else { work(&mut engine).unwrap() }
    }
    let of_samples = engine.samples().unwrap();
    [engine.read(theta).unwrap(), engine.read(of_samples).unwrap()]
}

#[test]
fn a_replayed_step_takes_the_batch_that_is_set_and_leaves_its_samples_to_be_asked_for() {
    let bits = |all: [Vec<f64>; 2]| all.map(|values| values.into_iter().map(f64::to_bits).collect::<Vec<_>>());
    assert_eq!(bits(six_steps(true)), bits(six_steps(false)));
}

/// θ, gradient, loss, running statistics, samples and prediction after a step, in one launch or by three operators, and the kernels that made it.
fn one_step(
    network: &Network,
    samples: usize,
    theta: &[f32],
    state: StepState,
    at_once: bool,
) -> Option<(Vec<Vec<u64>>, Vec<&'static str>)> {
    let mut engine = engine(device(None), network, samples);
    let (to, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(theta, Out(to)).unwrap();
    engine.set_state(&state).unwrap();
    let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
    let by = Update { velocity: None, momentum: 0.0, weight_decay: 0.01 };
    // A batch is prepared before.
    engine.loss(In(to), Out(loss), Out(correct)).unwrap();
    let begun = engine.backend().driver().entries.len();
    if at_once {
        if !engine.whole_step(Out(to), Out(grad), [Out(loss), Out(correct)], 0.1, by).unwrap() {
            return None;
        }
    } else {
        engine.loss_and_grad(In(to), Out(grad), Out(loss), Out(correct)).unwrap();
        engine.move_running(0.1).unwrap();
        engine.update(Out(to), In(grad), by).unwrap();
    }
    let kernels = engine.backend().driver().entries[begun..].iter().map(|entry| entry.kernel).collect();
    let (of_samples, output) = (engine.samples().unwrap(), engine.output().unwrap());
    let views = [to, grad, loss, engine.running(), of_samples, output];
    let bits = views.map(|view| engine.read(view).unwrap().into_iter().map(f64::to_bits).collect());
    Some((bits.to_vec(), kernels))
}

#[test]
fn a_step_in_one_launch_has_the_bits_of_three() {
    for (norm, depth, dim, samples, norm_last) in [
        (Norm::Batch, 5, 10, 100, false),
        // More layers than a thread asks for at once.
        (Norm::Batch, 28, 10, 40, true),
        (Norm::None, 4, 10, 50, false),
        (Norm::Lp(2.0), 4, 7, 40, true),
        (Norm::Batch, 3, 16, 67, false),
    ] {
        let name = format!("{norm}, {depth} layers of {dim}");
        let network = dln(Dln { depth, dim, norm_last, loss: Reduction::Mean }, Normalisation::new(norm)).unwrap();
        let (theta, state) = (parameters(&network, 7), StepState::new(1, 4, 1e-3));
        let [(three, kernels), (one, alone)] =
            [false, true].map(|at_once| one_step(&network, samples, &theta, state, at_once).unwrap());
        assert_eq!(kernels.len(), if norm == Norm::None { 2 } else { 3 }, "{name}: {kernels:?}");
        assert_eq!(alone, [if dim == 10 { "deep_linear_step_10" } else { "deep_linear_step_16" }], "{name}");
        assert_eq!(one, three, "{name}");
        let start: Vec<u64> = theta.iter().map(|&v| f64::from(v).to_bits()).collect();
        assert_ne!(one[0], start, "{name}: θ has not moved");
        // A step that has halted leaves θ alone, and so does one whose loss is not finite.
        let (halted, _) = one_step(&network, samples, &theta, StepState { halted: 1, ..state }, true).unwrap();
        assert_eq!((&halted[0], &halted[1..]), (&start, &one[1..]), "{name}");
        let mut far = theta.clone();
        far.iter_mut().for_each(|v| *v *= 1e30);
        let (diverged, _) = one_step(&network, samples, &far, state, true).unwrap();
        let loss = f64::from_bits(diverged[2][0]);
        let moved = far.iter().zip(&diverged[0]).any(|(&v, &bits)| f64::from(v).to_bits() != bits);
        assert_eq!(moved, loss.is_finite(), "{name}: {loss}");
    }
    // Over the samples a step takes three operators.
    let network = dln(Dln { depth: 3, ..Dln::default() }, Normalisation::new(Norm::Lp(3.0))).unwrap();
    assert!(one_step(&network, 40, &parameters(&network, 7), StepState::new(1, 4, 1e-3), true).is_none());
}
