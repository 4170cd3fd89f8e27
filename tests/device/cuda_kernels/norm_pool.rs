//! A norm that pools in its own passes gives what the norm followed by the pool gives, including ties and NaN.

use normscape::ops::backend::Backend;
use normscape::ops::boundary::relative_error;
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::{NormGrads, NormPass, NormSpec};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::state::StepState;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

/// y, dx, dγ, dβ, and y at evaluation.
type Found = [Vec<f64>; 5];

fn passes<B: Backend>(b: &mut B, spec: NormSpec, [h, w, n, c]: [usize; 4], nan: bool) -> Found {
    let (float, small) = (b.activation_dtype(), Shape::new([h / 2, w / 2, n, c]));
    let whole = Shape::new([h, w, n, c]);
    let mut plan = b.plan();
    let [x, dx, between, d_between] = [0; 4].map(|_| plan.view(whole, float));
    let [y, dy, evaluated] = [0; 3].map(|_| plan.view(small, float));
    let [weight, bias, mean, spread, grad_weight, grad_bias] = [0; 6].map(|_| plan.view(Shape::new([c]), b.dtype()));
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    let workspace = plan.view(b.norm_workspace(&spec, whole), b.dtype());
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
    let (to, from) = if spec.pool { (y, dy) } else { (between, d_between) };
    let pass = NormPass {
        x: In(x),
        weight: In(weight),
        bias: In(bias),
        y: Out(to),
        mean: Out(mean),
        spread: Out(spread),
        state: Some(In(state)),
        moments_left: false,
        chosen: None,
        workspace: Out(workspace),
    };
    b.norm_forward(spec, pass).unwrap();
    if !spec.pool {
        b.max_pool2d(In(between), Out(y)).unwrap();
        b.max_pool2d_backward(In(between), In(dy), Out(d_between)).unwrap();
    }
    let grads = NormGrads { x: Out(dx), weight: Out(grad_weight), bias: Out(grad_bias), left: false };
    b.norm_backward(spec, pass, In(from), grads).unwrap();
    let last = if spec.pool { evaluated } else { between };
    b.norm_eval(spec, NormPass { y: Out(last), ..pass }).unwrap();
    if !spec.pool {
        b.max_pool2d(In(between), Out(evaluated)).unwrap();
    }
    [y, dx, grad_weight, grad_bias, evaluated].map(|view: View| b.download_f64(In(view)).unwrap())
}

fn specs() -> [NormSpec; 6] {
    let noise = NoiseOptions { layer: 2, ..NoiseOptions::default() };
    let [first, second, third, last] = [1.0, 2.0, 3.0, f64::INFINITY].map(NormSpec::lp);
    [NormSpec::batch(), NormSpec::noisy(noise), first, second, third, last]
}

#[test]
fn a_norm_that_pools_finds_what_norm_and_pool_find() {
    for (mode, bound) in [(Mode::F32, 2e-6), (Mode::Bf16, 2e-2)] {
        for spec in specs().into_iter().flat_map(|spec| [true, false].map(|relu| NormSpec { relu, ..spec })) {
            // Of the last, rows are whole vectors of a device: fewer samples than a block has rows, and more.
            for shape in [[4, 6, 3, 5], [2, 2, 1, 33], [2, 8, 40, 2], [4, 6, 5, 24], [6, 4, 37, 64], [2, 2, 300, 8]] {
                let name = format!("{spec}, {shape:?}, {mode:?}");
                let pooled = NormSpec { pool: true, ..spec };
                let mut device = crate::shared::device(mode, None).unwrap();
                let apart = passes(&mut device, spec, shape, false);
                let together = passes(&mut device, pooled, shape, false);
                assert!(together[0] == apart[0] && together[4] == apart[4], "{name}: y");
                for (what, i) in [("dx", 1), ("dγ", 2), ("dβ", 3)] {
                    let error = relative_error(&together[i], &apart[i]);
                    assert!(error <= bound, "{name}: {what} {error:e}");
                }
                let other = passes(&mut crate::shared::device(mode, Some(7)).unwrap(), pooled, shape, false);
                assert!(together == other, "{name}: other bits in another order of threads");
            }
        }
    }
}

#[test]
fn a_nan_shows() {
    for spec in specs() {
        let spec = NormSpec { relu: true, pool: true, ..spec };
        for (mode, units) in [(Mode::F32, 3), (Mode::F32, 4), (Mode::Bf16, 8)] {
            let found = passes(&mut crate::shared::device(mode, None).unwrap(), spec, [4, 4, 2, units], true);
            // Element 5 is of this unit: all of it.
            for (i, v) in found[0].iter().enumerate() {
                assert_eq!(v.is_nan(), i % units == 5 % units, "{spec}, element {i} of {units} units");
            }
        }
    }
}

#[test]
fn what_cannot_be_pooled_is_refused() {
    fn refused<B: Backend>(mut b: B, spec: NormSpec, shape: Shape) -> String {
        let mut plan = b.plan();
        let [x, y] = [0; 2].map(|_| plan.view(shape, b.dtype()));
        let [unit, mean, spread] = [0; 3].map(|_| plan.view(Shape::new([shape.hwnc()[3]]), DType::F32));
        b.commit(&plan).unwrap();
        let pass = NormPass {
            x: In(x),
            weight: In(unit),
            bias: In(unit),
            y: Out(y),
            mean: Out(mean),
            spread: Out(spread),
            state: None,
            moments_left: false,
            chosen: None,
            workspace: Out(y),
        };
        b.norm_forward(spec, pass).unwrap_err().to_string()
    }
    let spec = NormSpec { relu: true, pool: true, ..NormSpec::batch() };
    let device = || crate::shared::device(Mode::F32, None).unwrap();
    let odd = refused(device(), spec, Shape::new([3, 4, 2, 5]));
    assert!(odd.contains("even height and width"), "{odd}");
    let cpu = refused(Cpu::<f32>::default(), spec, Shape::new([4, 4, 2, 5]));
    assert!(cpu.contains("whose norms pool"), "{cpu}");
    let grouped = NormSpec { pool: true, ..NormSpec::rms() };
    let groups = refused(device(), grouped, Shape::new([4, 4, 2, 5]));
    assert!(groups.contains("a norm whose passes pool"), "{groups}");
}
