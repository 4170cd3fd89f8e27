//! Operators write their whole outputs, read no memory that was never written, and touch nothing else. Every case runs in memory that
//! starts as NaN, between guard bands, and gives the same bits as in memory that starts as 0.

use crate::cases::{every_case, with_tangents};
use crate::shared;
use libtest_mimic::{Failed, Trial};
use normscape::ops::boundary::Case;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::float::Float;

fn check<T: Float>(op: &str, case: &Case) -> Result<(), Failed> {
    let arrays = with_tangents(case, &case.arrays(1), 5);
    let plain = shared::run(op, &mut Cpu::<T>::default(), &arrays)?;
    let mut guarded = Cpu::<T>::guarded();
    let outputs = shared::run(op, &mut guarded, &arrays)?;
    let different = shared::different(&plain, &outputs);
    if !different.is_empty() {
        return Err(format!("other bits in memory that starts as NaN: {different:?}").into());
    }
    for (name, array) in &outputs {
        if array.to_f64().is_none_or(|values| values.iter().any(|v| !v.is_finite())) {
            return Err(format!("{name} is not finite").into());
        }
    }
    let overruns = guarded.overruns();
    match overruns.first() {
        None => Ok(()),
        Some((_, at)) => Err(format!("{} bytes outside all tensors were written, first {at}", overruns.len()).into()),
    }
}

/// The check must see what it is there to see: a byte in a guard band, and memory that starts as NaN.
fn the_guards_work() -> Result<(), Failed> {
    use normscape::runtime::storage::Storage;
    use normscape::runtime::tensor::{DType, In, Out, Shape};
    let mut cpu = Cpu::<f32>::guarded();
    let mut plan = cpu.plan();
    let (first, second) = (plan.view(Shape::new([3]), DType::F32), plan.view(Shape::new([64]), DType::F32));
    cpu.commit(&plan)?;
    if !cpu.download_f64(In(second))?.iter().all(|v| v.is_nan()) {
        return Err("guarded memory does not start as NaN".into());
    }
    for view in [first, second] {
        cpu.upload(&vec![0f32; view.shape.len()], Out(view))?;
    }
    let inside = cpu.overruns();
    // The bytes just beside the tensors: before the first, and after each.
    let beside = [first.offset - 1, first.offset + first.bytes(), second.offset - 1, second.offset + second.bytes()];
    for at in beside {
        cpu.raw(plan.id())[at] = 0;
    }
    let seen: Vec<usize> = cpu.overruns().into_iter().map(|(_, at)| at).collect();
    if inside.is_empty() && seen == beside {
        return Ok(());
    }
    Err(format!("writes beside tensors at {beside:?}, seen at {seen:?}; writes inside seen at {inside:?}").into())
}

pub fn trials() -> Vec<Trial> {
    let trial = |(op, case): (&'static str, Case)| {
        Trial::test(format!("memory::{op}::{}", case.name), move || {
            check::<f32>(op, &case)?;
            check::<f64>(op, &case)
        })
    };
    let mut all = vec![Trial::test("memory::the_guards_work", the_guards_work)];
    all.extend(every_case().map(trial));
    all
}
