//! A norm that pools in its own passes finds what the norm and the pool find one after the other: ties and NaN too.

use normscape::ops::backend::Backend;
use normscape::ops::door::relative_error;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use normscape::ops::running::{RunningStatistics, Spread};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Batch,
    Noisy,
    Lp(f64),
}

/// y, dx, dγ, dβ, and y at evaluation.
type Found = [Vec<f64>; 5];

fn passes<B: Backend>(b: &mut B, kind: Kind, [h, w, n, c]: [usize; 4], options: NormOptions, nan: bool) -> Found {
    let (float, small) = (b.activation_dtype(), Shape::new([h / 2, w / 2, n, c]));
    let whole = Shape::new([h, w, n, c]);
    let mut plan = b.plan();
    let [x, dx, between, d_between] = [0; 4].map(|_| plan.view(whole, float));
    let [y, dy, evaluated] = [0; 3].map(|_| plan.view(small, float));
    let [weight, bias, mean, spread, grad_weight, grad_bias] = [0; 6].map(|_| plan.view(Shape::new([c]), b.dtype()));
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    let workspace = plan.view(b.norm_workspace(whole), b.dtype());
    b.commit(&plan).unwrap();
    let drawn = |seed: u64, len: usize| -> Vec<f32> {
        // Halves: windows with two largest are common.
        (0..len).map(|i| (2.0 * normal(word(seed, Purpose::Case, 0, 0, i as u64))).round() / 2.0).collect()
    };
    let mut values = drawn(1, whole.len());
    if nan {
        values[5] = f32::NAN;
    }
    b.upload_f32(&values, Out(x)).unwrap();
    b.upload_f32(&drawn(2, small.len()), Out(dy)).unwrap();
    b.upload_f32(&drawn(3, c).iter().map(|v| 1.0 + 0.25 * v).collect::<Vec<_>>(), Out(weight)).unwrap();
    b.upload_f32(&drawn(4, c), Out(bias)).unwrap();
    b.set_state(&StepState::new(5, 3, 0.1), Out(state)).unwrap();
    let params = NormParams { weight: In(weight), bias: In(bias) };
    let stats = Statistics { mean: Out(mean), spread: Out(spread) };
    let noise = NoiseOptions { layer: 2, ..NoiseOptions::default() };
    let (to, from) = if options.pool { (y, dy) } else { (between, d_between) };
    let (w, eval) = (Out(workspace), RunningStatistics { mean: Out(mean), spread: Out(spread) });
    match kind {
        Kind::Batch => b.batch_norm(In(x), params, options, Out(to), stats, w),
        Kind::Noisy => b.noisy_batch_norm(noise, In(x), params, options, In(state), Out(to), stats, w),
        Kind::Lp(p) => b.lp_norm(p, In(x), params, options, Out(to), stats, w),
    }
    .unwrap();
    if !options.pool {
        b.max_pool2d(In(between), Out(y)).unwrap();
        b.max_pool2d_backward(In(between), In(dy), Out(d_between)).unwrap();
    }
    let grads = NormGrads { x: Out(dx), weight: Out(grad_weight), bias: Out(grad_bias) };
    let dy = In(from);
    match kind {
        Kind::Batch => b.batch_norm_backward(In(x), params, options, stats, dy, grads, w),
        Kind::Noisy => b.noisy_batch_norm_backward(noise, In(x), params, options, In(state), stats, dy, grads, w),
        Kind::Lp(p) => b.lp_norm_backward(p, In(x), params, options, stats, dy, grads, w),
    }
    .unwrap();
    let spread = if matches!(kind, Kind::Lp(_)) { Spread::Scale } else { Spread::Variance };
    let last = if options.pool { evaluated } else { between };
    b.norm_eval(spread, In(x), params, options, eval, Out(last)).unwrap();
    if !options.pool {
        b.max_pool2d(In(between), Out(evaluated)).unwrap();
    }
    [y, dx, grad_weight, grad_bias, evaluated].map(|view: View| b.download_f64(In(view)).unwrap())
}

const KINDS: [Kind; 6] =
    [Kind::Batch, Kind::Noisy, Kind::Lp(1.0), Kind::Lp(2.0), Kind::Lp(3.0), Kind::Lp(f64::INFINITY)];

#[test]
fn a_norm_that_pools_finds_what_norm_and_pool_find() {
    for (mode, bound) in [(Mode::F32, 2e-6), (Mode::Bf16, 2e-2)] {
        for (kind, relu) in KINDS.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
            for shape in [[4, 6, 3, 5], [2, 2, 1, 33], [2, 8, 40, 2]] {
                let name = format!("{kind:?}, relu {relu}, {shape:?}, {mode:?}");
                let options = NormOptions { eps: 1e-5, relu, pool: false };
                let pooled = NormOptions { pool: true, ..options };
                let mut device = crate::shared::device(mode, None).unwrap();
                let apart = passes(&mut device, kind, shape, options, false);
                let together = passes(&mut device, kind, shape, pooled, false);
                assert!(together[0] == apart[0] && together[4] == apart[4], "{name}: y");
                for (what, i) in [("dx", 1), ("dγ", 2), ("dβ", 3)] {
                    let error = relative_error(&together[i], &apart[i]);
                    assert!(error <= bound, "{name}: {what} {error:e}");
                }
                let other = passes(&mut crate::shared::device(mode, Some(7)).unwrap(), kind, shape, pooled, false);
                assert!(together == other, "{name}: other bits in another order of threads");
            }
        }
    }
}

#[test]
fn a_nan_shows() {
    for kind in KINDS {
        let options = NormOptions { eps: 1e-5, relu: true, pool: true };
        let found = passes(&mut crate::shared::device(Mode::F32, None).unwrap(), kind, [4, 4, 2, 3], options, true);
        // Element 5 is of unit 2: all of that unit.
        for (i, v) in found[0].iter().enumerate() {
            assert_eq!(v.is_nan(), i % 3 == 2, "{kind:?}, element {i}");
        }
    }
}

#[test]
fn what_cannot_be_pooled_is_refused() {
    let options = NormOptions { eps: 1e-5, relu: true, pool: true };
    fn refused<B: Backend>(mut b: B, shape: Shape, options: NormOptions) -> String {
        let mut plan = b.plan();
        let [x, y] = [0; 2].map(|_| plan.view(shape, b.dtype()));
        let [unit, mean, spread] = [0; 3].map(|_| plan.view(Shape::new([shape.hwnc()[3]]), DType::F32));
        b.commit(&plan).unwrap();
        let params = NormParams { weight: In(unit), bias: In(unit) };
        let stats = Statistics { mean: Out(mean), spread: Out(spread) };
        b.batch_norm(In(x), params, options, Out(y), stats, Out(y)).unwrap_err().to_string()
    }
    let odd = refused(crate::shared::device(Mode::F32, None).unwrap(), Shape::new([3, 4, 2, 5]), options);
    assert!(odd.contains("even height and width"), "{odd}");
    let cpu = refused(Cpu::<f32>::default(), Shape::new([4, 4, 2, 5]), options);
    assert!(cpu.contains("whose norms pool"), "{cpu}");
}
