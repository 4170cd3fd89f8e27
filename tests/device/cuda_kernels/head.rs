//! A classifier's last layer and its loss: made in one launch they have the bits of two, and its gradients are one launch in every precision.

use half::bf16;
use normscape::ops::cross_entropy::{CrossEntropy, LossOut};
use normscape::ops::linear::Linear;
use normscape::ops::weight_grads::WeightGrads;
use normscape::runtime::cuda::driver::{Driver, Stored};
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::ledger::Ledger;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

/// The outputs that these kernels are for.
const CLASSES: usize = 10;

/// Samples, inputs, whether a gradient is asked for, and a label that takes the place of the first.
#[derive(Debug, Clone, Copy)]
struct Case {
    n: usize,
    i: usize,
    grad: bool,
    label: u32,
}

struct Found {
    /// y, the samples' losses, loss, right answers, the gradient.
    bits: Vec<Vec<u64>>,
    kernels: Vec<&'static str>,
}

fn judged<T: Stored>(mode: Mode, case: Case, together: bool, order: Option<u64>) -> Found {
    let Case { n, i, grad, label } = case;
    let options = Options { order, poison: true, ..Options::from_environment().unwrap() };
    let driver: Box<dyn Driver> =
        crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")));
    let mut gpu = Cuda::new(Ledger::new(driver, false), mode).unwrap();
    let mut plan = gpu.plan();
    let x = plan.view(Shape::new([1, 1, n, i]), T::DTYPE);
    let [y, dy] = [0; 2].map(|_| plan.view(Shape::new([1, 1, n, CLASSES]), T::DTYPE));
    let weight = plan.view(Shape::new([i, CLASSES]), T::DTYPE);
    let bias = plan.view(Shape::new([CLASSES]), DType::F32);
    let labels = plan.view(Shape::new([n]), DType::U32);
    let (sample, loss) = (plan.view(Shape::new([n]), DType::F64), plan.view(Shape::new([2]), DType::F64));
    let workspace = plan.view(Shape::new([1 << 16]), DType::F32);
    gpu.commit(&plan).unwrap();
    for (which, view) in [x, weight, bias].into_iter().enumerate() {
        let value = |at: usize| normal(word(43, Purpose::Case, which as u32, 0, at as u64));
        gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
    }
    let mut of_samples: Vec<u32> = (0..n as u32).map(|at| at * 7 % 10).collect();
    of_samples[0] = label;
    gpu.upload(&of_samples, Out(labels)).unwrap();
    let [loss, correct] = [0, 1].map(|at| loss.slice(at, Shape::new([1])));
    let out = LossOut { loss: Out(loss), correct: Out(correct), sample: Out(sample), grad: grad.then_some(Out(dy)) };
    let begun = gpu.driver().entries.len();
    if together {
        let done = gpu.linear_cross_entropy(In(x), In(weight), Some(In(bias)), Out(y), In(labels), out).unwrap();
        assert!(done, "{case:?}");
    } else {
        gpu.linear(In(x), In(weight), Some(In(bias)), Out(y), Out(workspace)).unwrap();
        gpu.cross_entropy(In(y), In(labels), out).unwrap();
    }
    let kernels = gpu.driver().entries[begun..].iter().map(|entry| entry.kernel).collect();
    let mut bits = |view: View| gpu.download_f64(In(view)).unwrap().into_iter().map(f64::to_bits).collect();
    let mut all: Vec<Vec<u64>> = [y, sample, loss, correct].into_iter().map(&mut bits).collect();
    if grad {
        all.push(bits(dy));
    }
    Found { bits: all, kernels }
}

#[test]
fn an_output_and_its_loss_in_one_launch_have_the_bits_of_two() {
    fn check<T: Stored>(mode: Mode, kernel: &str) {
        let cases = [
            Case { n: 128, i: 512, grad: true, label: 3 },
            Case { n: 37, i: 24, grad: true, label: 9 },
            Case { n: 5, i: 264, grad: false, label: 0 },
            // No class has this label: its loss is NaN, and so is their mean.
            Case { n: 6, i: 8, grad: true, label: 10 },
        ];
        for case in cases {
            let [apart, together] = [false, true].map(|both| judged::<T>(mode, case, both, None));
            assert_eq!((apart.kernels.len(), &*together.kernels), (2, &[kernel][..]), "{case:?}");
            assert_eq!(apart.bits, together.bits, "{case:?}, {mode:?}");
            assert_eq!(f64::from_bits(together.bits[2][0]).is_nan(), case.label == 10, "{case:?}");
            for order in [1, 2] {
                assert_eq!(judged::<T>(mode, case, true, Some(order)).bits, together.bits, "{case:?}, order {order}");
            }
        }
    }
    check::<f32>(Mode::F32, "head_cross_entropy_f32");
    check::<f32>(Mode::Tf32, "head_cross_entropy_f32");
    check::<bf16>(Mode::Bf16, "head_cross_entropy_bf16");
}

#[test]
fn other_layers_are_judged_apart() {
    let mut gpu = crate::shared::device(Mode::F32, None).unwrap();
    let mut plan = gpu.plan();
    let float = |plan: &mut normscape::runtime::tensor::ArenaPlan, shape| plan.view(shape, DType::F32);
    let (x, y) = (float(&mut plan, Shape::new([4, 16])), float(&mut plan, Shape::new([4, 9])));
    let (weight, labels) = (float(&mut plan, Shape::new([16, 9])), plan.view(Shape::new([4]), DType::U32));
    let (sample, loss) = (plan.view(Shape::new([4]), DType::F64), plan.view(Shape::new([2]), DType::F64));
    gpu.commit(&plan).unwrap();
    let [loss, correct] = [0, 1].map(|at| Out(loss.slice(at, Shape::new([1]))));
    let out = LossOut { loss, correct, sample: Out(sample), grad: None };
    assert!(!gpu.linear_cross_entropy(In(x), In(weight), None, Out(y), In(labels), out).unwrap());
}

#[test]
fn all_gradients_of_a_head_are_one_launch() {
    fn kernels<T: Stored>(mode: Mode, o: usize) -> Vec<&'static str> {
        let options = Options { poison: true, ..Options::from_environment().unwrap() };
        let driver =
            crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")));
        let mut gpu = Cuda::new(Ledger::new(driver, false), mode).unwrap();
        let mut plan = gpu.plan();
        let [x, dx] = [0; 2].map(|_| plan.view(Shape::new([20, 16]), T::DTYPE));
        let [dy, weight] = [20, 16].map(|rows| plan.view(Shape::new([rows, o]), T::DTYPE));
        let (dw, db) = (plan.view(Shape::new([16, o]), DType::F32), plan.view(Shape::new([o]), DType::F32));
        let workspace = plan.view(Shape::new([1 << 16]), DType::F32);
        gpu.commit(&plan).unwrap();
        for view in [x, dy, weight] {
            gpu.upload_f32(&vec![1.0; view.shape.len()], Out(view)).unwrap();
        }
        let grads =
            WeightGrads { x: Some(Out(dx)), weight: Some(Out(dw)), bias: Some(Out(db)), norm: None, update: None };
        let begun = gpu.driver().entries.len();
        gpu.linear_backward(In(x), In(weight), In(dy), grads, Out(workspace)).unwrap();
        gpu.driver().entries[begun..].iter().map(|entry| entry.kernel).collect()
    }
    for mode in [Mode::F32, Mode::Tf32] {
        assert_eq!(kernels::<f32>(mode, CLASSES), ["head_gradients_f32"]);
    }
    assert_eq!(kernels::<bf16>(Mode::Bf16, CLASSES), ["head_gradients_bf16"]);
    assert_eq!(kernels::<bf16>(Mode::Bf16, 9).len(), 3);
}
