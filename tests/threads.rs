//! 1, 2 and 4 threads give the same bits, for every case of every operator in f32 and f64.

mod shared;

use libtest_mimic::{Arguments, Failed, Trial};
use normscape::files::Arrays;
use normscape::ops::door::Case;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::float::Float;
use std::process::ExitCode;

fn with_threads<T: Float>(threads: usize, op: &'static str, arrays: &Arrays) -> Result<Arrays, Failed> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| shared::run(op, &mut Cpu::<T>::default(), arrays))
}

fn check<T: Float>(op: &'static str, case: &Case) -> Result<(), Failed> {
    let arrays = shared::with_tangents(&case.arrays(1), 5);
    let one = with_threads::<T>(1, op, &arrays)?;
    for threads in [2, 4] {
        let different = shared::different(&one, &with_threads::<T>(threads, op, &arrays)?);
        if !different.is_empty() {
            return Err(format!("{threads} threads give other bits than 1: {different:?}").into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let trial = |(op, case): (&'static str, Case)| {
        Trial::test(format!("{op}::{}", case.name), move || {
            check::<f32>(op, &case)?;
            check::<f64>(op, &case)
        })
    };
    libtest_mimic::run(&Arguments::from_args(), shared::every_case().map(trial).collect()).exit_code()
}
