//! Vector arithmetic, the update and the running statistics against numbers worked out by hand, in f32 and f64.

use normscape::ops::norm::{Divisor, Norm, NormPass, NormSpec};
use normscape::ops::running::Running;
use normscape::ops::sgd::{Descent, Sgd};
use normscape::ops::vector::{NormKind, Vector};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::float::Float;
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

/// Tensors of given values in one arena, then a scalar slot and a step state at learning rate ½.
fn tensors<T: Float>(backend: &mut Cpu<T>, values: &[&[f64]]) -> (Vec<View>, View, View) {
    let mut plan = backend.plan();
    let views: Vec<View> = values.iter().map(|v| plan.view(Shape::new([v.len()]), T::DTYPE)).collect();
    let (slot, state) = (plan.view(Shape::new([1]), DType::F64), plan.view(StepState::shape(), StepState::DTYPE));
    backend.commit(&plan).unwrap();
    for (view, values) in views.iter().zip(values) {
        backend.upload_f64(values, Out(*view)).unwrap();
    }
    backend.set_state(&StepState::new(7, 41, 0.5), Out(state)).unwrap();
    (views, slot, state)
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 1e-6 * e.abs().max(1.0), "{found:?} for {expected:?}");
    }
}

fn vectors<T: Float>() {
    let mut b = Cpu::<T>::default();
    let (v, slot, _) = tensors(&mut b, &[&[3.0, -4.0, 0.0], &[1.0, 2.0, -2.0], &[0.0; 3]]);
    let (x, y, out) = (In(v[0]), In(v[1]), Out(v[2]));
    let scalar = |b: &mut Cpu<T>, expected: f64| close(&[b.scalar(In(slot)).unwrap()], &[expected]);
    b.dot(x, y, Out(slot)).unwrap();
    scalar(&mut b, -5.0);
    for (kind, norm, difference) in
        [(NormKind::L1, 7.0, 10.0), (NormKind::L2, 5.0, 44f64.sqrt()), (NormKind::LInf, 4.0, 6.0)]
    {
        b.norm(kind, x, Out(slot)).unwrap();
        scalar(&mut b, norm);
        b.diff_norm(kind, x, y, Out(slot)).unwrap();
        scalar(&mut b, difference);
    }
    b.displace(x, -0.5, y, out).unwrap();
    close(&b.download_f64(In(v[2])).unwrap(), &[2.5, -5.0, 1.0]);
    rows(&mut b, x, y);
    b.axpy(2.0, y, out).unwrap();
    close(&b.download_f64(In(v[2])).unwrap(), &[4.5, -1.0, -3.0]);
    b.copy(x, out).unwrap();
    close(&b.download_f64(In(v[2])).unwrap(), &[3.0, -4.0, 0.0]);
    let nan = [f64::NAN, 1.0, 2.0];
    b.upload_f64(&nan, Out(v[0])).unwrap();
    for kind in [NormKind::L1, NormKind::L2, NormKind::LInf] {
        b.norm(kind, x, Out(slot)).unwrap();
        assert!(b.scalar(In(slot)).unwrap().is_nan(), "{kind:?} loses a NaN");
    }
}

/// Two rows, x + ½ y and x − y, of which the last element is no part of; then each against y.
fn rows<T: Float>(b: &mut Cpu<T>, x: In, y: In) {
    let mut plan = b.plan();
    let (matrix, a) = (plan.view(Shape::new([2, 4]), T::DTYPE), plan.view(Shape::new([2]), DType::F64));
    let (compared, scaled) = (plan.view(Shape::new([2, 3]), DType::F64), plan.view(Shape::new([2]), DType::F64));
    b.commit(&plan).unwrap();
    b.upload_f64(&[9.0; 8], Out(matrix)).unwrap();
    b.upload_f64(&[0.5, -1.0], Out(a)).unwrap();
    b.displace_rows(x, In(a), y, Out(matrix)).unwrap();
    close(&b.download_f64(In(matrix)).unwrap(), &[3.5, -3.0, -1.0, 9.0, 2.0, -6.0, 2.0, 9.0]);
    b.compare_rows(In(matrix), y, Out(compared)).unwrap();
    close(&b.download_f64(In(compared)).unwrap(), &[32.25, -0.5, 22.25, 81.0, -14.0, 44.0]);
    // a · 22.25/81
    b.stretch(In(a), In(compared.slice(2, Shape::new([1]))), In(compared.slice(3, Shape::new([1]))), Out(scaled))
        .unwrap();
    close(&b.download_f64(In(scaled)).unwrap(), &[0.5 * 22.25 / 81.0, -22.25 / 81.0]);
    assert!(b.displace_rows(x, In(a), y, Out(matrix.slice(0, Shape::new([2, 2])))).is_err());
    assert!(b.compare_rows(In(matrix), y, Out(compared.slice(0, Shape::new([2])))).is_err());
}

#[test]
fn vectors_add_up() {
    vectors::<f32>();
    vectors::<f64>();
}

#[test]
fn long_sums_lose_no_digits() {
    // A million ones and one of a thousandth: the second is below f32's last digit of the sum.
    let mut b = Cpu::<f32>::default();
    let mut values = vec![1.0; 1_000_001];
    values[500_000] = 1e-3;
    let (v, slot, _) = tensors(&mut b, &[&values]);
    b.norm(NormKind::L1, In(v[0]), Out(slot)).unwrap();
    assert!((b.scalar(In(slot)).unwrap() - 1_000_000.001).abs() < 1e-6);
}

fn updates<T: Float>() {
    let mut b = Cpu::<T>::default();
    let (v, _, state) = tensors(&mut b, &[&[1.0, -2.0], &[4.0, 8.0], &[0.0, 0.0]]);
    let (theta, grad, velocity) = (Out(v[0]), In(v[1]), Out(v[2]));
    let plain = Descent::plain(theta, In(state));
    b.sgd(grad, plain).unwrap();
    close(&b.download_f64(theta.into()).unwrap(), &[-1.0, -6.0]);
    // d = g + ½ θ = (3.5, 5)
    b.sgd(grad, Descent { weight_decay: 0.5, ..plain }).unwrap();
    close(&b.download_f64(theta.into()).unwrap(), &[-2.75, -8.5]);
    // v = d = (4, 8), then v = ¾ v + d = (7, 14)
    b.sgd(grad, Descent { velocity: Some(velocity), momentum: 0.75, ..plain }).unwrap();
    b.sgd(grad, Descent { velocity: Some(velocity), momentum: 0.75, ..plain }).unwrap();
    close(&b.download_f64(velocity.into()).unwrap(), &[7.0, 14.0]);
    close(&b.download_f64(theta.into()).unwrap(), &[-8.25, -19.5]);
    b.advance(Out(state)).unwrap();
    let mut words = [0u64; 4];
    b.download(In(state), &mut words).unwrap();
    assert_eq!(words, [7, 42, 0.5f64.to_bits(), 0]);
}

#[test]
fn the_update_is_pytorchs() {
    updates::<f32>();
    updates::<f64>();
}

fn running<T: Float>() {
    let mut b = Cpu::<T>::default();
    let values: [&[f64]; 8] =
        [&[2.0, -1.0], &[4.0, 3.0], &[0.0, 0.0], &[1.0, 1.0], &[2.0, 1.0], &[0.5, -3.0], &[3.0, 1.0], &[0.0; 2]];
    let (v, _, _) = tensors(&mut b, &values);
    let (mean, spread) = (Out(v[2]), Out(v[3]));
    let mut plan = b.plan();
    let factors = plan.view(Shape::new([2]), DType::F64);
    b.commit(&plan).unwrap();
    let move_by = |b: &mut Cpu<T>, batch: View, divisor: Option<Divisor>, to: Out| {
        b.upload(&[divisor.map_or(1.0, |divisor| divisor.running_factor(5)); 2], Out(factors)).unwrap();
        b.move_running(0.1, In(batch), In(factors), to).unwrap();
    };
    // Of five samples the unbiased variance is 5/4 of the biased one: 0.9 · 1 + 0.1 · 5 and 0.9 + 0.1 · 3.75.
    move_by(&mut b, v[0], None, mean);
    move_by(&mut b, v[1], Some(Divisor::Std), spread);
    close(&b.download_f64(mean.into()).unwrap(), &[0.2, -0.1]);
    close(&b.download_f64(spread.into()).unwrap(), &[1.4, 1.275]);
    // s of an ℓp norm enters as it is.
    move_by(&mut b, v[1], Some(Divisor::PowerMean(2.0)), spread);
    close(&b.download_f64(spread.into()).unwrap(), &[1.66, 1.4475]);
    assert_eq!(Divisor::Std.running_factor(1), 1.0);
    b.upload_f64(&[1.0, -1.0], mean).unwrap();
    b.upload_f64(&[3.0, 8.0], spread).unwrap();
    let y = Out(v[7]);
    let pass = NormPass {
        x: In(v[6]),
        weight: In(v[4]),
        bias: In(v[5]),
        y,
        mean,
        spread,
        state: None,
        moments_left: false,
        chosen: None,
        workspace: y,
    };
    // One sample (3, 1): γ (x − μ)/√(σ² + 1) + β = 2 · 2/2 + ½ and 1 · 2/3 − 3, which the ReLU cuts.
    b.norm_eval(NormSpec { eps: 1.0, relu: true, ..NormSpec::batch() }, pass).unwrap();
    close(&b.download_f64(y.into()).unwrap(), &[2.5, 0.0]);
    b.norm_eval(NormSpec { eps: 1.0, ..NormSpec::lp(2.0) }, pass).unwrap();
    close(&b.download_f64(y.into()).unwrap(), &[1.5, 2.0 / 9.0 - 3.0]);
}

#[test]
fn running_statistics_move_and_divide() {
    running::<f32>();
    running::<f64>();
}
