//! The paper's statements on random instances: the theorems hold up to rounding, the others fail in known cases, and a wrong formula is
//! detected.

use normscape::ops::backend::Backend;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::emulator::{Emulator, Options};
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::theory::case::Case;
use normscape::theory::dense::Square;
use normscape::theory::instance::Instance;
use normscape::theory::layer::Layer;
use normscape::theory::loss::{Family, Loss};
use normscape::theory::row::{Kind, Outcome};
use normscape::theory::{
    Choice, Result, facts, observation_4_3, own, run, theorem_4_1, theorem_4_2, theorem_4_4, theorem_c1,
};

fn choice(instances: u64, m: usize) -> Choice {
    Choice { instances, m, lambda: 1.0, family: None, seed: 7 }
}

fn row<'a>(results: &'a [Result], name: &str) -> &'a Result {
    results.iter().find(|r| r.row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

fn all_hold(choice: &Choice) {
    for Result { row, tally, found } in run(choice) {
        let place = format!("{choice:?} {}", row.name);
        assert_eq!(tally.instances, choice.instances, "{place}");
        if row.kind.must_hold() {
            assert_eq!(tally.failed, 0, "{place}: {tally:?}");
        }
        if row.kind == Kind::Identity {
            assert!(tally.max_residual() <= 1e-9, "{place}: {tally:?}");
            assert!(found.is_none_or(|f| f.residual <= 1e-9), "{place}: {found:?}");
        }
    }
}

#[test]
fn what_must_hold_holds() {
    for (instances, m, lambda) in [(3000, 3, 1.0), (3000, 8, 0.3), (3000, 8, 10.0), (40, 64, 2.0)] {
        all_hold(&Choice { lambda, ..choice(instances, m) });
    }
    for family in Family::ALL {
        all_hold(&Choice { family: Some(family), lambda: 2.0, ..choice(500, 5) });
    }
}

#[test]
fn two_samples_have_no_gradient() {
    all_hold(&choice(3000, 2));
    for index in 0..300 {
        let of = choice(1, 2).instance(index);
        let p = Case::new(&of, 1.0).exact;
        assert!(p.vv.sqrt() <= 1e-12 * (1.0 + p.gg) && p.hat.norm() <= 1e-11 * (1.0 + p.h.norm() + p.gg), "{index}");
    }
}

#[test]
fn a_negative_gain_changes_nothing() {
    for index in 0..500 {
        let mut of = choice(1, 6).instance(index);
        of.gamma = -of.gamma;
        let case = Case::new(&of, 1.0);
        for statement in [facts::FACT_C1, facts::HESSIAN, theorem_4_1::STATEMENT, theorem_4_2::FIRST] {
            for (row, outcome) in statement.rows.iter().zip((statement.evaluate)(&case)) {
                assert!(!outcome.fails || row.kind == Kind::Printed, "{index} {}: {outcome:?}", row.name);
            }
        }
    }
}

fn close(found: f64, known: f64, digits: f64) {
    assert!((found - known).abs() <= digits, "{found} for {known}");
}

#[test]
fn at_y_the_first_theorem_is_false() {
    let t = [1.0, 2.0, 4.0];
    let matrix = Square::new(3, |i, k| if i == k { (i + 1) as f64 } else { 0.0 });
    let of = Instance::given(&t, 2.0, 0.0, Loss::Quadratic { matrix, target: t.to_vec() });
    let case = Case::new(&of, 1.0);
    let [left, right, _] = theorem_4_1::at_y(&case);
    close(left, 4.498, 5e-4);
    assert_eq!(right, 0.0);
    let outcomes = (theorem_4_1::STATEMENT.evaluate)(&case);
    assert!(!outcomes[0].fails && outcomes[4].fails);
    let results = run(&choice(3000, 8));
    let share = row(&results, "theorem_4_1_at_y").tally.failing_share().unwrap();
    assert!((0.1..0.6).contains(&share), "{share}");
    let linear = run(&Choice { family: Some(Family::Linear), ..choice(500, 8) });
    assert_eq!(row(&linear, "theorem_4_1_at_y").tally.failed, 0);
    assert_eq!(row(&linear, "theorem_4_2_at_y").tally.failed, 0);
}

#[test]
fn the_second_form_needs_more_than_is_printed() {
    let y = [-1.0, 0.0, 1.0];
    let sigma = (2.0f64 / 3.0).sqrt();
    let matrix = Square::new(3, |i, k| f64::from(u8::from(i == k)));
    let loss = Loss::Quadratic { matrix, target: vec![3.0, -6.0, 3.0] };
    let of = Instance::given(&y, 10.0 * sigma, 0.0, loss);
    let p = Case::new(&of, 1.0).exact;
    let right = theorem_4_2::second_right(&p);
    close(p.hat_v / right, 0.0, 1e-9);
    assert!((-5.15e5..-5.05e5).contains(&right), "{right}");
    let results = run(&choice(5000, 8));
    assert_eq!(row(&results, "theorem_4_2_second_iff").tally.failed, 0);
    for name in ["theorem_4_2_second_printed", "theorem_4_2_second_psd"] {
        let tally = &row(&results, name).tally;
        assert!(tally.failed > 0 && tally.failed < tally.premise_held, "{name}: {tally:?}");
    }
    assert!(row(&results, "theorem_4_2_second_premises").tally.premise_held > 20);
}

#[test]
fn the_printed_forms_of_the_minimax_bound_are_none() {
    let y = [-1.0, 0.0, 1.0];
    let loss = Loss::Linear { slope: vec![0.0, -2.0, 2.0] };
    let of = |loss: Loss| Instance::given(&y, (2.0f64 / 3.0).sqrt(), 0.0, loss);
    let sides = |of: &Instance| theorem_4_4::sides(&Case::new(of, 1.0).exact, 1.0);
    for (found, known) in sides(&of(loss.clone())).into_iter().zip([6.0, 6.0, 58.0, 2.0, 4.536]) {
        close(found, known, 1e-3);
    }
    let [worst, _, a, ..] = sides(&of(loss.times(0.1).unwrap()));
    close(worst, 0.06, 1e-12);
    close(a, -0.0536, 1e-4);
    let results = run(&choice(2000, 8));
    for name in ["theorem_4_4_printed", "theorem_4_4_printed_b", "theorem_4_4_printed_c"] {
        assert!(row(&results, name).tally.failed > 0, "{name}");
    }
    assert!(row(&results, "theorem_4_4_printed_c").tally.failing_share().unwrap() > 0.95);
}

#[test]
fn a_minimum_stays_one_where_the_layer_has_a_bias() {
    let gradients = |bias| -> Vec<f64> {
        let layers = (0..200).filter_map(|index| Layer::at_minimum(1, index, 12, bias));
        let of = |layer: Layer| {
            let law = observation_4_3::undoing(&layer.output(&layer.weights), 0.0);
            let ([w, gamma, beta], _) = layer.gradients(&layer.weights, law);
            w.hypot(gamma).hypot(beta)
        };
        layers.map(of).collect()
    };
    let (with, without) = (gradients(true), gradients(false));
    assert!(with.len() > 150 && without.len() > 150);
    assert!(with.iter().all(|length| *length <= 1e-9));
    assert!(without.iter().filter(|length| **length > 0.1).count() > without.len() / 2);
    let results = run(&choice(1000, 8));
    assert!(row(&results, "observation_4_3_other_batch").tally.failing_share().unwrap() > 0.99);
}

#[test]
fn the_last_theorem_fails_at_its_true_maxima() {
    let results = run(&choice(10_000, 8));
    let tally = &row(&results, "theorem_c1_ii").tally;
    let share = tally.failing_share().unwrap();
    assert!(tally.premise_held > 100 && share > 0.0 && share < 0.3, "{share} of {}", tally.premise_held);
    assert!(tally.median_ratio().unwrap() > 1.2, "{:?}", tally.median_ratio());
    // The left side is 0 or more, the right one is below 0.
    let linear = &row(&results, "theorem_c1_ii_linear").tally;
    assert!(linear.premise_held > 50 && linear.failed == linear.premise_held, "{linear:?}");
    let of = (0..).map(|i| Instance::draw(1, i, 5, Some(Family::Linear)));
    let (left, right) =
        of.map(|of| Case::new(&of, 2.0).exact).find(|p| p.a > 0.0).map(|p| theorem_c1::maxima(&p, 2.0).into()).unwrap();
    assert!(left >= 0.0 && right < 0.0, "{left} {right}");
}

#[test]
fn the_result_is_that_of_any_number_of_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&choice(700, 5)))
    };
    assert_eq!(on(1), on(2));
}

#[test]
fn a_wrong_formula_is_seen() {
    let mut seen = [0; 4];
    let n = 500;
    for index in 0..n {
        let of = choice(1, 8).instance(index);
        let p = Case::new(&of, 1.0).exact;
        // a²/m² for a²/m; no mean; half of 4.2's second term; g at y.
        let off = |right: f64| Outcome::equal(p.vv, right, p.f * p.gg).fails;
        seen[0] += u64::from(off(p.f * (p.gg - p.m * p.mean_g * p.mean_g - p.a * p.a / (p.m * p.m))));
        seen[1] += u64::from(off(p.f * (p.gg - p.a * p.a / p.m)));
        let half = 0.5 * (p.f * p.vhv + theorem_4_2::right(&p));
        seen[2] += u64::from(Outcome::equal(p.hat_v, half, p.third()).fails);
        let [left, right, scale] = theorem_4_1::at_y(&Case::new(&of, 1.0));
        seen[3] += u64::from(Outcome::equal(left, right, scale).fails);
    }
    assert!(seen.iter().all(|seen| *seen > n * 7 / 10), "{seen:?} of {n}");
}

fn own_holds<B: Backend>(mut backend: B, name: &str) {
    for m in [3, 8, 64] {
        let results = own::run(&mut backend, &Choice { seed: 3, ..choice(60, m) }).unwrap();
        assert_eq!(results.len(), 4);
        for result in results {
            assert!(result.holds(), "{name} m = {m} {}: {:?}", result.row.name, result.tally);
            assert_eq!(result.tally.instances, 120);
        }
    }
}

#[test]
fn the_engines_batch_norm_obeys_them() {
    own_holds(Cpu::<f64>::default(), "f64");
    own_holds(Cpu::<f32>::default(), "f32");
    let emulator = Emulator::new(Options::default()).unwrap();
    own_holds(Cuda::new(emulator, Mode::F32).unwrap(), "emulator");
}
