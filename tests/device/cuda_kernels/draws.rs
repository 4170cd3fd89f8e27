//! CPU and CUDA draw the same noise, to the bit, in ten million draws. (Order and augmentation: tests/device/cuda_kernels/gather.rs.
//! Initial weights are drawn on the host for every device.)

use normscape::ops::backend::Backend;
use normscape::ops::noise::NoiseOptions;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{DType, In, Out, Shape};

/// The noise of one layer at some steps: every m_ij and s_ij.
fn draws<B: Backend>(mut backend: B, shape: Shape, options: NoiseOptions, steps: &[u64]) -> Vec<f32> {
    let mut plan = backend.plan();
    let views = [0, 1].map(|_| plan.view(shape, DType::F32));
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    backend.commit(&plan).unwrap();
    let mut all = Vec::new();
    for &step in steps {
        backend.set_state(&StepState::new(0x1234_5678_9ABC_DEF0, step, 0.1), Out(state)).unwrap();
        backend.noise_draws(options, In(state), Out(views[0]), Out(views[1])).unwrap();
        for view in views {
            let mut values = vec![0.0f32; shape.len()];
            backend.download(In(view), &mut values).unwrap();
            all.extend(values);
        }
    }
    all
}

#[test]
fn ten_million_draws_are_the_same_to_the_bit() {
    let mut count = 0;
    for (shape, layer, steps) in [
        (Shape::new([32, 32, 24, 64]), 1, vec![0, 14_999]),
        (Shape::new([4, 4, 128, 513]), 8, vec![3, u64::from(u32::MAX)]),
        (Shape::new([1, 1, 1000, 11]), 24, vec![5]),
        (Shape::new([7, 5, 3, 1]), 0x00FF_FFFF, vec![1, 2, 3]),
    ] {
        let options = NoiseOptions { layer, ..NoiseOptions::default() };
        let found = draws(crate::shared::plain_device(Mode::F32).unwrap(), shape, options, &steps);
        let expected = draws(Cpu::<f32>::default(), shape, options, &steps);
        assert_eq!(found.len(), expected.len());
        let differ = found.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!(differ, 0, "{shape}");
        count += found.len();
    }
    assert!(count > 10_000_000, "{count}");
}

#[test]
fn watched_and_shuffled_it_draws_the_same() {
    let (shape, options) = (Shape::new([3, 2, 33, 35]), NoiseOptions::default());
    let expected = draws(Cpu::<f32>::default(), shape, options, &[6]);
    for order in [None, Some(3)] {
        let found = draws(crate::shared::device(Mode::F32, order).unwrap(), shape, options, &[6]);
        assert!(found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
