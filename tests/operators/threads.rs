//! 1, 2 and 4 threads give the same bits, for every case of every operator in f32 and f64, and so does every instruction set of the machine.

use crate::cases::{every_case, with_tangents};
use crate::shared;
use libtest_mimic::{Failed, Trial};
use normscape::files::Arrays;
use normscape::ops::boundary::Case;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::float::Float;
use normscape::runtime::simd::{self, Isa};
use std::process::Command;

fn with_threads<T: Float>(threads: usize, op: &'static str, arrays: &Arrays) -> Result<Arrays, Failed> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| shared::run(op, &mut Cpu::<T>::default(), arrays))
}

fn check<T: Float>(op: &'static str, case: &Case) -> Result<(), Failed> {
    let arrays = with_tangents(case, &case.arrays(1), 5);
    let one = with_threads::<T>(1, op, &arrays)?;
    for threads in [2, 4] {
        let different = shared::different(&one, &with_threads::<T>(threads, op, &arrays)?);
        if !different.is_empty() {
            return Err(format!("{threads} threads give other bits than 1: {different:?}").into());
        }
    }
    Ok(())
}

/// Set where this program runs itself to say what bits an instruction set gives, and nothing else.
const SAY: &str = "NORMSCAPE_TEST_SAY_BITS";

/// What this program is to say in place of running tests, where it was started by itself.
pub fn asked() -> Option<String> {
    std::env::var_os(SAY).map(|_| bits())
}

/// Of every case and precision a line with its name and a digest of all that came out.
fn bits() -> String {
    fn digest<T: Float>(op: &'static str, case: &Case) -> u64 {
        let arrays = with_tangents(case, &case.arrays(1), 5);
        let found = with_threads::<T>(1, op, &arrays).unwrap_or_default();
        let values = found.iter().flat_map(|(name, array)| {
            let numbers = array.to_f64().unwrap_or_default().into_iter().map(f64::to_bits);
            name.bytes().map(u64::from).chain(numbers).collect::<Vec<_>>()
        });
        values
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23))
    }
    let line = |(op, case): (&'static str, Case)| {
        format!("{op}::{} {:x} {:x}\n", case.name, digest::<f32>(op, &case), digest::<f64>(op, &case))
    };
    every_case().map(line).collect()
}

fn instruction_sets() -> Result<(), Failed> {
    let with = |isa: Isa| -> Result<String, Failed> {
        let mut program = Command::new(std::env::current_exe()?);
        let said = program.env(SAY, "1").env(simd::VARIABLE, isa.word()).output()?;
        Ok(String::from_utf8(said.stdout)?)
    };
    let widest = simd::widest();
    let expected = with(widest)?;
    if expected.lines().count() != every_case().count() {
        return Err("not every case was computed".into());
    }
    for isa in [Isa::Avx2, Isa::Portable].into_iter().filter(|isa| *isa > widest) {
        let found = with(isa)?;
        let differing: Vec<_> = expected.lines().zip(found.lines()).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
        if found.lines().count() != expected.lines().count() || !differing.is_empty() {
            return Err(format!("{} gives other bits than {}: {differing:?}", isa.name(), widest.name()).into());
        }
    }
    Ok(())
}

pub fn trials() -> Vec<Trial> {
    let trial = |(op, case): (&'static str, Case)| {
        Trial::test(format!("threads::{op}::{}", case.name), move || {
            check::<f32>(op, &case)?;
            check::<f64>(op, &case)
        })
    };
    let mut trials: Vec<_> = every_case().map(trial).collect();
    trials.push(Trial::test("threads::every_instruction_set_gives_the_same_bits", instruction_sets));
    trials
}
