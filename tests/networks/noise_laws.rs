//! Algorithm 1's noise has the paper's distributions on both levels, over more than a million draws each, and no draw depends on another.
//!
//! `μ_j ~ U(−n_μ, n_μ)`, `σ_j ~ U(1, n_σ)` per step, layer and unit; `m_ij ~ U(μ_j − r, μ_j + r)`, `s_ij ~ N(σ_j, r)` per sample. With r =
//! 0 the samples show the units' own draws. Seeds are fixed. The bounds follow from the number of draws, such that each assertion on a true
//! distribution fails with probability under 1e-5.

use normscape::ops::noise::{Noise, NoiseOptions};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out, Shape};

/// n_μ, n_σ and r, as [`NoiseOptions`] has them in single precision.
const MEAN: f64 = 0.5;
const SCALE: f64 = 1.25;
const SPREAD: f64 = 0.1f32 as f64;
/// What the sum of a few numbers about 1 may be off by in single precision.
const ROUNDING: f64 = 3e-7;
/// Standard errors that a mean may lie from its expectation.
const ERRORS: f64 = 5.0;
/// What √n times the largest distance of two distribution functions may be: 2 exp(−2·2.5²) = 7e-6 (Kolmogorov, Smirnov).
const DISTANCE: f64 = 2.5;

/// Which draws.
#[derive(Clone, Copy)]
struct At {
    seed: u64,
    step: u64,
    layer: u32,
    /// r
    spread: f32,
}

const HERE: At = At { seed: 17, step: 3, layer: 2, spread: 0.1 };

/// m and s of every sample and unit: `[samples, units]` each.
fn draws(at: At, samples: usize, units: usize) -> [Vec<f64>; 2] {
    let mut cpu = Cpu::<f32>::default();
    let mut plan = cpu.plan();
    let views = [0; 2].map(|_| plan.view(Shape::new([1, 1, samples, units]), cpu.dtype()));
    let state = plan.view(StepState::shape(), StepState::DTYPE);
    cpu.commit(&plan).unwrap();
    cpu.set_state(&StepState::new(at.seed, at.step, 0.1), Out(state)).unwrap();
    let options = NoiseOptions { layer: at.layer, spread: at.spread, ..NoiseOptions::default() };
    cpu.noise_draws(options, In(state), Out(views[0]), Out(views[1])).unwrap();
    views.map(|view| cpu.download_f64(In(view)).unwrap())
}

/// μ and σ of every unit.
fn of_units(at: At, units: usize) -> [Vec<f64>; 2] {
    draws(At { spread: 0.0, ..at }, 1, units)
}

/// `(m − μ_j)/r` and `(s − σ_j)/r` of every sample and unit.
fn standardised(at: At, samples: usize, units: usize) -> [Vec<f64>; 2] {
    let (drawn, own) = (draws(at, samples, units), of_units(at, units));
    let each = |i: usize| drawn[i].iter().enumerate().map(|(k, v)| (v - own[i][k % units]) / SPREAD).collect();
    [each(0), each(1)]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Asserts that a mean of `n` draws is `expected`, whose single draws have the variance `variance`.
fn expect(what: &str, found: f64, expected: f64, variance: f64, n: usize) {
    let error = (variance / n as f64).sqrt();
    assert!((found - expected).abs() <= ERRORS * error, "{what}: {found} for {expected} ± {error:e}");
}

/// Asserts that `values` have the distribution function `law`.
fn has_law(what: &str, mut values: Vec<f64>, law: impl Fn(f64) -> f64) {
    let n = values.len() as f64;
    assert!(n >= 1e6, "{what}: {n} draws");
    values.sort_by(f64::total_cmp);
    let apart = |(i, v): (usize, &f64)| (law(*v) - i as f64 / n).abs().max((law(*v) - (i + 1) as f64 / n).abs());
    let distance = values.iter().enumerate().map(apart).fold(0.0, f64::max) * n.sqrt();
    assert!(distance <= DISTANCE, "{what}: {distance}");
}

fn uniform(low: f64, high: f64) -> impl Fn(f64) -> f64 {
    move |v| ((v - low) / (high - low)).clamp(0.0, 1.0)
}

/// Φ, by its series at 0.
fn normal(z: f64) -> f64 {
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term.abs() > 1e-18 * sum.abs() && k < 400.0 {
        k += 2.0;
        term *= z * z / k;
        sum += term;
    }
    0.5 + sum * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Units of a tensor of one row.
const MANY: usize = 1 << 16;

#[test]
fn units_draw_uniformly() {
    let (mut mu, mut sigma) = (Vec::new(), Vec::new());
    for step in 0..4 {
        for layer in 1..=4 {
            let [m, s] = of_units(At { step, layer, ..HERE }, MANY);
            mu.extend(m);
            sigma.extend(s);
        }
    }
    assert!(mu.iter().all(|m| (-MEAN..=MEAN).contains(m)) && sigma.iter().all(|s| (1.0..=SCALE).contains(s)));
    expect("E μ", mean(&mu), 0.0, MEAN * MEAN / 3.0, mu.len());
    has_law("μ", mu, uniform(-MEAN, MEAN));
    has_law("σ", sigma, uniform(1.0, SCALE));
    // With r = 0 all samples draw what their unit has.
    let [m, s] = draws(At { spread: 0.0, ..HERE }, 5, 33);
    assert!([m, s].iter().all(|all| (33..all.len()).all(|i| all[i] == all[i - 33])));
}

#[test]
fn samples_draw_about_their_units() {
    let [d, z] = standardised(HERE, 1 << 15, 33);
    // m_ij lies in μ_j ± r and comes near both ends, in every unit.
    assert!(d.iter().all(|d| d.abs() <= 1.0 + ROUNDING / SPREAD));
    for unit in 0..33 {
        let own = || d.iter().skip(unit).step_by(33).copied();
        // The chance that none of 32768 draws lies in the last thousandth: (1 − 0.0005)^32768 = 8e-8.
        assert!(own().fold(1.0, f64::min) < -0.999 && own().fold(-1.0, f64::max) > 0.999, "unit {unit}");
    }
    expect("E (s − σ)²/r²", mean(&z.iter().map(|z| z * z).collect::<Vec<_>>()), 1.0, 2.0, z.len());
    expect("E (s − σ)⁴/r⁴", mean(&z.iter().map(|z| z.powi(4)).collect::<Vec<_>>()), 3.0, 96.0, z.len());
    has_law("m about μ", d, uniform(-1.0, 1.0));
    has_law("s about σ", z, normal);
}

#[test]
fn together_they_have_the_papers_moments() {
    // Of U units with k samples each, the mean of v = a + d has the variance Var(a)/U + Var(d)/Uk; that of v² likewise, term by term.
    let (k, mut m, mut s) = (16, Vec::new(), Vec::new());
    for step in 0..2 {
        for layer in 1..=2 {
            let [shift, scale] = draws(At { step, layer, ..HERE }, k, MANY);
            m.extend(shift);
            s.extend(scale);
        }
    }
    let (units, r, half) = (m.len() / k, SPREAD, (SCALE - 1.0) / 2.0);
    let k = k as f64;
    // The square of a number that is uniform in ±h has the variance 4h⁴/45.
    let of_square = |h: f64| 4.0 * h.powi(4) / 45.0;
    let (var_m, var_s) = ((MEAN * MEAN + r * r) / 3.0, half * half / 3.0 + r * r);
    assert!((var_m - 0.0867).abs() < 5e-5 && (var_s - 0.0152).abs() < 5e-5, "methods' own numbers");
    expect("E m", mean(&m), 0.0, MEAN * MEAN / 3.0 + r * r / 3.0 / k, units);
    expect("E s", mean(&s), 1.125, half * half / 3.0 + r * r / k, units);
    let square = |values: &[f64], about: f64| mean(&values.iter().map(|v| (v - about).powi(2)).collect::<Vec<_>>());
    let in_units = of_square(MEAN) + (4.0 * MEAN * MEAN / 3.0 * r * r / 3.0 + of_square(r)) / k;
    expect("Var m", square(&m, 0.0), var_m, in_units, units);
    let in_units = of_square(half) + (4.0 * half * half / 3.0 * r * r + 2.0 * r.powi(4)) / k;
    expect("Var s", square(&s, 1.125), var_s, in_units, units);
}

/// Asserts that two lists of draws are not correlated: √n times the coefficient has about the standard normal law.
fn apart(what: &str, a: &[f64], b: &[f64]) {
    let n = a.len().min(b.len());
    assert!(n >= 1_000_000, "{what}: {n} draws");
    let (a, b) = (&a[..n], &b[..n]);
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    let correlation = sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    assert!(correlation.abs() * (n as f64).sqrt() <= ERRORS, "{what}: {correlation:e} over {n} draws");
}

#[test]
fn no_draw_tells_of_another() {
    // On the level of units.
    let units = |at: At| {
        let mut all = [Vec::new(), Vec::new()];
        // Steps and layers that are apart, so that the next ones of these are none of these.
        for i in 0..16u32 {
            let own = of_units(At { step: at.step + 10 * u64::from(i), layer: at.layer + 10 * i, ..at }, MANY);
            all.iter_mut().zip(own).for_each(|(all, own)| all.extend(own));
        }
        all
    };
    let samples = |at: At| standardised(at, 1 << 14, 66);
    let elsewhere =
        [("step", At { step: 4, ..HERE }), ("layer", At { layer: 3, ..HERE }), ("seed", At { seed: 18, ..HERE })];
    type Drawn<'a> = &'a dyn Fn(At) -> [Vec<f64>; 2];
    for (level, drawn, width) in [("units", &units as Drawn, 0), ("samples", &samples as Drawn, 66)] {
        let [m, s] = drawn(HERE);
        apart(&format!("{level}: m and s"), &m, &s);
        for (what, at) in elsewhere {
            let [other_m, other_s] = drawn(at);
            apart(&format!("{level}: m and the next {what}'s"), &m, &other_m);
            apart(&format!("{level}: s and the next {what}'s"), &s, &other_s);
            apart(&format!("{level}: m and the next {what}'s s"), &m, &other_s);
        }
        // A draw of four words serves two units: neighbours, and those of the next draw.
        for (what, distance) in [("the next unit's", 1), ("the one after's", 2), ("the next sample's", width)] {
            if distance > 0 {
                apart(&format!("{level}: m and {what}"), &m, &m[distance..]);
                apart(&format!("{level}: s and {what}"), &s, &s[distance..]);
                apart(&format!("{level}: m and {what} s"), &m, &s[distance..]);
            }
        }
        // Nor do sizes: noise that is correlated in its squares is of varying strength.
        let square = |values: &[f64]| values.iter().map(|v| v * v).collect::<Vec<_>>();
        apart(&format!("{level}: sizes"), &square(&m), &square(&s));
    }
}
