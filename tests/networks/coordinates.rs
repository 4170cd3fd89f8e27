//! The deep linear network computed on coordinates and on samples, compared layer by layer in f64, over norms, depths, widths and inputs of
//! any rank.

use normscape::network::{Dln, Engine, Network, Norm, Normalisation, Reduction, Scalar, dln, initial_parameters};
use normscape::probe::curvature::{self, Effort};
use normscape::probe::ics::{self, Update};
use normscape::probe::line::{self, Along};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out, View};
use std::sync::Arc;

const NORMS: [Norm; 6] =
    [Norm::None, Norm::Batch, Norm::Lp(2.0), Norm::Lp(1.0), Norm::Lp(3.0), Norm::Lp(f64::INFINITY)];

fn drawn(stream: u32, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(normal(word(5, Purpose::Case, stream, 0, i as u64)))).collect()
}

/// A batch of inputs and targets, `[samples, dim]` each.
type Batch = (Vec<f64>, Vec<f64>);

/// Normal inputs with means of their own, and targets.
fn plain(samples: usize, dim: usize) -> Batch {
    let means = drawn(3, dim);
    let x = drawn(1, samples * dim).iter().enumerate().map(|(i, z)| z + means[i % dim]).collect();
    (x, drawn(2, samples * dim))
}

/// One network on a batch, by coordinates or by samples.
struct Side {
    engine: Engine<Cpu<f64>>,
    theta: View,
    grad: View,
}

impl Side {
    fn of(network: &Network, (x, target): &Batch, samples: bool) -> Side {
        let n = x.len() / network.input(1).len();
        let mut engine = Engine::new(Cpu::<f64>::default(), network.clone(), n, Arc::default()).unwrap();
        assert!(engine.takes_whole(), "not taken on coordinates");
        if samples {
            engine.take_layers();
        }
        engine.set_batch_f64(x, Some(target), None).unwrap();
        engine.set_state(&StepState::new(5, 2, 1e-3)).unwrap();
        let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
        let start = initial_parameters(network, 3);
        let moved: Vec<_> = drawn(4, start.len()).iter().zip(start).map(|(z, t)| f64::from(t) + 0.1 * z).collect();
        engine.backend().upload_f64(&moved, Out(theta)).unwrap();
        Side { engine, theta, grad }
    }

    fn pass(&mut self) -> f64 {
        let (loss, correct) = (self.engine.slot(Scalar::Loss), self.engine.slot(Scalar::Correct));
        self.engine.loss_and_grad(In(self.theta), Out(self.grad), Out(loss), Out(correct)).unwrap();
        self.engine.scalar(Scalar::Loss).unwrap()
    }
}

fn both(network: &Network, batch: &Batch) -> [Side; 2] {
    [false, true].map(|samples| Side::of(network, batch, samples))
}

/// ‖a − b‖/‖b‖; 0 of nothing.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = length(&mut a.iter().zip(b).map(|(a, b)| a - b));
    if difference == 0.0 { 0.0 } else { difference / length(&mut b.iter().copied()) }
}

/// All that a pass leaves, within `limit`; single losses of samples relative to the largest of them.
fn agree(what: &str, network: &Network, batch: &Batch, limit: f64) {
    let mut sides = both(network, batch);
    let [loss, other] = [0, 1].map(|side| sides[side].pass());
    assert!((loss - other).abs() <= limit * other.abs(), "{what}: losses {loss} and {other}");
    let found = sides.each_mut().map(|side| {
        let mut before = vec![side.engine.read(side.grad).unwrap()];
        let (samples, output) = (side.engine.samples().unwrap(), side.engine.output().unwrap());
        side.engine.move_running(0.5).unwrap();
        let running = side.engine.running();
        before.extend([samples, output, running].map(|view| side.engine.read(view).unwrap()));
        before
    });
    for (name, (a, b)) in ["gradient", "losses", "prediction", "running"].iter().zip(found[0].iter().zip(&found[1])) {
        let apart = apart(a, b);
        assert!(apart <= limit, "{what}: {name} {apart:e} apart");
    }
    // Forward alone is the same to the bit.
    let side = &mut sides[0];
    let (aside, correct) = (side.engine.slot(Scalar::Aside), side.engine.slot(Scalar::AsideCorrect));
    side.engine.loss(In(side.theta), Out(aside), Out(correct)).unwrap();
    assert_eq!(side.engine.scalar(Scalar::Aside).unwrap(), loss, "{what}: another loss without a gradient");
}

#[test]
fn they_agree_over_norms_and_shapes() {
    for norm in NORMS {
        for (depth, dim, samples) in
            [(1, 3, 16), (2, 10, 33), (4, 7, 50), (3, 8, 64), (25, 10, 200), (3, 16, 41), (2, 29, 70)]
        {
            for (norm_last, loss) in
                [(false, Reduction::Sum), (true, Reduction::Half), (false, Reduction::Mean), (true, Reduction::Mean)]
            {
                let what = format!("{norm}, {depth} layers of {dim}, {samples} samples, {norm_last}, {loss:?}");
                let network = dln(Dln { depth, dim, norm_last, loss }, Normalisation::new(norm)).unwrap();
                agree(&what, &network, &plain(samples, dim), 1e-12);
            }
        }
    }
}

#[test]
fn they_agree_on_inputs_of_any_rank() {
    let (samples, dim) = (40, 6);
    let column = |x: &mut [f64], at: usize, value: &dyn Fn(usize, &[f64]) -> f64| {
        for (n, row) in x.chunks_exact_mut(dim).enumerate() {
            row[at] = value(n, row);
        }
    };
    for norm in NORMS {
        for norm_last in [false, true] {
            let network =
                dln(Dln { depth: 4, dim, norm_last, loss: Reduction::Sum }, Normalisation::new(norm)).unwrap();
            type Spoil<'a> = (&'a str, &'a dyn Fn(&mut [f64]));
            let cases: [Spoil; 8] = [
                ("a constant column", &|x| column(x, 2, &|_, _| 3.7)),
                ("a column of zeros", &|x| column(x, 0, &|_, _| 0.0)),
                ("two equal columns", &|x| column(x, 5, &|_, row| row[1])),
                ("a sum of columns", &|x| column(x, 3, &|_, row| row[0] - 2.0 * row[4] + 1.0)),
                ("all columns equal", &|x| (1..dim).for_each(|at| column(x, at, &|_, row| row[0]))),
                ("equal samples", &|x| x.copy_within(0..dim, dim)),
                ("nearly equal columns", &|x| column(x, 5, &|n, row| row[1] + 1e-5 * (n as f64).sin())),
                ("columns of other sizes", &|x| {
                    column(x, 1, &|_, row| 1e3 * row[1]);
                    column(x, 4, &|_, row| 1e-3 * row[4]);
                }),
            ];
            for (what, spoil) in cases {
                let mut batch = plain(samples, dim);
                spoil(&mut batch.0);
                // Of one direction a norm leaves a part ε/S² of the gradient: so many times the digits are lost, on either side.
                let limit = if what == "all columns equal" { 1e-12 / 1e-5 } else { 1e-12 };
                agree(&format!("{norm}, {norm_last}, {what}"), &network, &batch, limit);
            }
        }
    }
}

#[test]
fn zeros_are_taken_as_the_samples_take_them() {
    for norm in [Norm::None, Norm::Batch, Norm::Lp(2.0), Norm::Lp(1.0)] {
        let network = dln(Dln { depth: 3, dim: 5, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        let (_, target) = plain(20, 5);
        agree(&format!("{norm}"), &network, &(vec![0.0; 100], target), 1e-12);
    }
}

#[test]
fn large_targets_lose_what_the_residual_has_lost() {
    for norm in [Norm::None, Norm::Batch, Norm::Lp(2.0)] {
        let network = dln(Dln { depth: 6, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        let (x, target) = plain(100, 10);
        agree(&format!("{norm}"), &network, &(x, target.iter().map(|t| 1e6 * t + 1e7).collect()), 1e-12);
    }
}

/// What is out of range is left to the samples, whatever they make of it.
#[test]
fn what_leaves_the_range_ends_as_on_samples() {
    for norm in [Norm::None, Norm::Batch, Norm::Lp(2.0)] {
        let network = dln(Dln { depth: 4, dim: 5, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        for size in [1e60, 1e150, 1e160, 1e300, 1e-150, 1e-200, 1e-300] {
            let (x, target) = plain(20, 5);
            let x: Vec<_> = x.iter().map(|v| v * size).collect();
            let mut sides = both(&network, &(x, target));
            let [a, b] = [0, 1].map(|side| sides[side].pass());
            let same = a == b || (a - b).abs() <= 1e-12 * b.abs() || a.is_nan() && b.is_nan();
            assert!(same, "{norm}, {size:e}: {a} and {b}");
        }
    }
}

#[test]
fn landscapes_agree() {
    let s = [1e-7, 1e-5, 1e-4, 1e-3];
    for norm in NORMS {
        for along in [Along::Gradient, Along::Random] {
            let network = dln(Dln { depth: 6, ..Dln::default() }, Normalisation::new(norm)).unwrap();
            let found = both(&network, &plain(60, 10)).map(|mut side| {
                let loss = side.pass();
                let room = line::Workspace::new(&mut side.engine, &s, along).unwrap();
                line::ask(&mut side.engine, In(side.theta), In(side.grad), room).unwrap();
                line::read(&mut side.engine, loss, &s, room).unwrap()
            });
            let [a, b] = &found;
            assert!(apart(&a.loss, &b.loss) < 1e-12, "{norm}: {:?} {:?}", a.loss, b.loss);
            assert!(
                apart(&a.grad_l2_diff, &b.grad_l2_diff) < 1e-12,
                "{norm}: {:?} {:?}",
                a.grad_l2_diff,
                b.grad_l2_diff
            );
        }
    }
}

#[test]
fn covariate_shift_agrees_and_is_the_gradient_at_the_first_layer() {
    for norm in NORMS {
        for (depth, dim, norm_last) in [(2, 3, false), (5, 10, false), (4, 10, true), (6, 7, true)] {
            let network = dln(Dln { depth, dim, norm_last, loss: Reduction::Mean }, Normalisation::new(norm)).unwrap();
            let found = both(&network, &plain(45, dim)).map(|mut side| {
                side.pass();
                side.engine.set_state(&StepState::new(5, 2, 0.05)).unwrap();
                let room = ics::Workspace::new(&mut side.engine, false).unwrap();
                let update = Update { velocity: None, momentum: 0.0, weight_decay: 0.01 };
                ics::ask(&mut side.engine, In(side.theta), In(side.grad), update, &room).unwrap();
                ics::read(&mut side.engine, &room).unwrap()
            });
            let [a, b] = &found;
            assert_eq!((a.l2[0], (a.cosine[0] - 1.0).abs() < 1e-15), (0.0, true), "{norm}");
            assert!(a.l2[1..].iter().any(|l2| *l2 > 0.0), "{norm}: nothing has moved");
            let what = format!("{norm}, {depth} layers of {dim}");
            for (name, a, b) in
                [("l2", &a.l2, &b.l2), ("cosine", &a.cosine, &b.cosine), ("length", &a.grad_norm, &b.grad_norm)]
            {
                assert!(apart(a, b) < 1e-12, "{what}: {name} {a:?} and {b:?}");
            }
        }
    }
}

#[test]
fn products_with_the_hessian_agree() {
    for norm in NORMS {
        for (depth, dim, norm_last) in [(1, 4, true), (3, 10, false), (4, 10, true), (3, 7, true), (2, 20, false)] {
            let network = dln(Dln { depth, dim, norm_last, loss: Reduction::Sum }, Normalisation::new(norm)).unwrap();
            let v = drawn(9, network.slots().len());
            let found = both(&network, &plain(60, dim)).map(|mut side| {
                let room = side.engine.tangents().unwrap();
                let (along, out) = (side.engine.vector().unwrap(), side.engine.vector().unwrap());
                side.engine.backend().upload_f64(&v, Out(along)).unwrap();
                let [loss, correct] = [Scalar::Aside, Scalar::AsideCorrect].map(|slot| Out(side.engine.slot(slot)));
                side.engine.ready_products(&room, In(side.theta), loss, correct).unwrap();
                side.engine.hessian_vector(&room, In(side.theta), In(along), Out(out)).unwrap();
                side.engine.read(out).unwrap()
            });
            let apart = apart(&found[0], &found[1]);
            assert!(apart < 1e-12, "{norm}, {depth} layers of {dim}: {apart:e} apart");
        }
    }
}

#[test]
fn curvature_agrees() {
    for norm in [Norm::None, Norm::Batch, Norm::Lp(1.0)] {
        let network = dln(Dln { depth: 5, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        let found = both(&network, &plain(60, 10)).map(|mut side| {
            side.pass();
            let room = curvature::Workspace::new(&mut side.engine, Effort { lanczos: 8, hutchinson: 3 }).unwrap();
            curvature::ask(&mut side.engine, In(side.theta), In(side.grad), &room).unwrap();
            curvature::read(&mut side.engine, &room).unwrap()
        });
        let numbers = found.map(|of| [of.rayleigh, of.gain, of.top[0], of.trace[0], of.trace[1]]);
        assert!(apart(&numbers[0], &numbers[1]) < 1e-10, "{norm}: {numbers:?}");
    }
}

/// Another batch is another basis.
#[test]
fn a_batch_that_is_set_anew_is_the_one_that_counts() {
    let network = dln(Dln { depth: 3, dim: 5, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    let (one, other) = (plain(30, 5), (drawn(7, 150), drawn(8, 150)));
    let mut side = Side::of(&network, &one, false);
    let first = side.pass();
    side.engine.set_batch_f64(&other.0, Some(&other.1), None).unwrap();
    let second = side.pass();
    assert_eq!(second, Side::of(&network, &other, false).pass());
    assert_ne!(first, second);
    side.engine.set_batch_f64(&one.0, Some(&one.1), None).unwrap();
    assert_eq!(first, side.pass());
}

/// Runs side by side are the runs by themselves, to the bit.
#[test]
fn several_runs_are_each_of_them() {
    for norm in NORMS {
        let network = dln(Dln { depth: 4, ..Dln::default() }, Normalisation::new(norm)).unwrap();
        let mut side = Side::of(&network, &plain(40, 10), false);
        let len = network.slots().len();
        let (thetas, grads) = (side.engine.vectors(3).unwrap(), side.engine.vectors(3).unwrap());
        let stride = thetas.shape.matrix().1;
        let of = |run: usize| drawn(20 + run as u32, len).iter().map(|z| 0.4 * z).collect::<Vec<_>>();
        let mut all = vec![0.0; 3 * stride];
        (0..3).for_each(|run| all[run * stride..][..len].copy_from_slice(&of(run)));
        side.engine.backend().upload_f64(&all, Out(thetas)).unwrap();
        let mut plan = side.engine.backend().plan();
        let results = [0; 2]
            .map(|_| plan.view(normscape::runtime::tensor::Shape::new([3]), normscape::runtime::tensor::DType::F64));
        side.engine.backend().commit(&plan).unwrap();
        side.engine.losses_and_grads(In(thetas), Out(grads), Out(results[0]), Out(results[1])).unwrap();
        let (losses, grads) = (side.engine.read(results[0]).unwrap(), side.engine.read(grads).unwrap());
        for run in 0..3 {
            side.engine.backend().upload_f64(&of(run), Out(side.theta)).unwrap();
            assert_eq!(side.pass(), losses[run], "{norm}");
            assert_eq!(side.engine.read(side.grad).unwrap(), grads[run * stride..][..len], "{norm}");
        }
    }
}

/// Nothing is written beside its tensor, and nothing read that nobody wrote.
#[test]
fn the_room_is_large_enough_and_written_before_it_is_read() {
    for norm in NORMS {
        for (dim, norm_last) in [(10, false), (10, true), (7, true), (3, false)] {
            let network =
                dln(Dln { depth: 3, dim, norm_last, loss: Reduction::Sum }, Normalisation::new(norm)).unwrap();
            let (x, target) = plain(37, dim);
            let mut engine = Engine::new(Cpu::<f64>::guarded(), network.clone(), 37, Arc::default()).unwrap();
            engine.set_batch_f64(&x, Some(&target), None).unwrap();
            let vectors = [0; 4].map(|_| engine.vector().unwrap());
            let [theta, grad, next, moved] = vectors;
            let start = initial_parameters(&network, 3);
            let shifted: Vec<_> = start.iter().map(|t| t * 0.9).collect();
            engine.backend().upload_f32(&start, Out(theta)).unwrap();
            engine.backend().upload_f32(&shifted, Out(next)).unwrap();
            let (loss, correct) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct));
            engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
            let room = engine.tangents().unwrap();
            let (samples, output) = (engine.samples().unwrap(), engine.output().unwrap());
            for view in [grad, samples, output] {
                assert!(engine.read(view).unwrap().iter().all(|v| v.is_finite()), "{norm}, {dim}");
            }
            assert!(engine.moved_gradients(In(theta), In(next), Out(moved)).unwrap(), "{norm}, {dim}");
            if norm != Norm::Lp(3.0) {
                engine.ready_products(&room, In(theta), Out(loss), Out(correct)).unwrap();
                engine.hessian_vector(&room, In(theta), In(next), Out(moved)).unwrap();
                assert!(engine.read(moved).unwrap().iter().all(|v| v.is_finite()), "{norm}, {dim}");
            }
            assert_eq!(engine.backend().overruns(), [], "{norm}, {dim}");
        }
    }
}
