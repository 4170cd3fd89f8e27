//! The probed distributions, compared with those of the activation functions' inputs by definition, on every backend.

use crate::probed::{At, at, networks, values};
use normscape::network::{Dln, Network, Norm, Normalisation, dln};
use normscape::ops::backend::Backend;
use normscape::probe::activations::{self, Distributions, Look, Workspace};
use normscape::probe::units;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::tensor::In;

const RANGE: [f64; 2] = [-1.5, 2.0];
const BINS: usize = 20;

fn look(network: &Network, count: usize, pre_norm: bool) -> Look {
    let all: Vec<usize> = (1..=network.weighted_layers().len()).collect();
    Look { chosen: units::choose(network, &all, count, 7).unwrap(), pre_norm, range: RANGE, bins: BINS }
}

fn measured<B: Backend>(backend: B, network: &Network, n: usize, look: &Look) -> Distributions {
    let mut here = at(backend, network, n);
    here.pass();
    let room = Workspace::new(&mut here.engine, look.clone()).unwrap();
    activations::ask(&mut here.engine, In(here.theta), &room).unwrap();
    activations::read(&mut here.engine, &room).unwrap()
}

/// Mean and biased variance.
fn moments(of: &[f64]) -> (f64, f64) {
    let mean = of.iter().sum::<f64>() / of.len() as f64;
    (mean, of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / of.len() as f64)
}

#[test]
fn it_is_what_enters_the_non_linearity() {
    let mut outside = 0;
    for (name, network, n) in networks() {
        for pre_norm in [false, true] {
            let look = look(&network, 3, pre_norm);
            let found = measured(Cpu::<f64>::default(), &network, n, &look);
            let (edges, mut at) = (look.edges(), 0);
            for (number, units) in &look.chosen {
                let (all, columns) = values(&network, n, *number, pre_norm);
                for &unit in units {
                    let unit: Vec<f64> = all.iter().skip(unit).step_by(columns).copied().collect();
                    let within =
                        |i: usize, v: f64| edges[i] <= v && (v < edges[i + 1] || (i + 1 == BINS && v == edges[i + 1]));
                    let expected: Vec<u32> =
                        (0..BINS).map(|i| unit.iter().filter(|&&v| within(i, v)).count() as u32).collect();
                    let place = format!("{name}, layer {number}, pre_norm {pre_norm}");
                    assert_eq!(found.count[at * BINS..][..BINS], expected, "{place}");
                    let beyond = [
                        unit.iter().filter(|&&v| v < RANGE[0]).count(),
                        unit.iter().filter(|&&v| v > RANGE[1]).count(),
                    ];
                    assert_eq!(found.outside[2 * at..][..2], beyond.map(|n| n as u32), "{place}");
                    outside += beyond[0] + beyond[1];
                    let (mean, var) = moments(&unit);
                    let scale = mean.abs() + var.sqrt();
                    assert!((found.mean[at] - mean).abs() <= 1e-12 * scale, "{place}: {} {mean}", found.mean[at]);
                    assert!((found.var[at] - var).abs() <= 1e-12 * scale * scale, "{place}: {} {var}", found.var[at]);
                    at += 1;
                }
            }
            assert_eq!(at, found.mean.len(), "{name}");
        }
    }
    assert!(outside > 100, "the range is to leave something out");
}

#[test]
fn a_batch_norm_maps_the_spread_before_to_one() {
    // γ²σ²/(σ² + ε) of what was σ² before; γ and β are the network's own.
    let network = dln(Dln { depth: 3, dim: 6, ..Dln::default() }, Normalisation::new(Norm::Batch)).unwrap();
    let (before, after) = (look(&network, 6, true), look(&network, 6, false));
    let [before, after_norm] = [&before, &after].map(|look| measured(Cpu::<f64>::default(), &network, 40, look));
    let mut here = at(Cpu::<f64>::default(), &network, 40);
    let theta = here.engine.read(here.theta).unwrap();
    let slot = |name: &str| network.slots().iter().find(|slot| slot.name == name).map(|slot| slot.start);
    for (row, (number, units)) in after.chosen.iter().enumerate().take(2) {
        for (column, unit) in units.iter().enumerate() {
            let at = row * 6 + column;
            let [gamma, beta] =
                ["weight", "bias"].map(|what| theta[slot(&format!("norm{number}.{what}")).unwrap() + unit]);
            let expected = gamma * gamma * before.var[at] / (before.var[at] + 1e-5);
            assert!((after_norm.mean[at] - beta).abs() < 1e-12);
            assert!((after_norm.var[at] - expected).abs() < 1e-12 * expected, "{} {expected}", after_norm.var[at]);
        }
    }
}

/// Counts of values below each edge, from those of the bins.
fn below(found: &Distributions, at: usize) -> Vec<i64> {
    let first = std::iter::once(found.outside[2 * at]);
    let counts = first.chain(found.count[at * BINS..][..BINS].iter().copied());
    counts
        .scan(0, |sum, count| {
            *sum += i64::from(count);
            Some(*sum)
        })
        .collect()
}

#[test]
fn in_single_precision_only_samples_on_an_edge_are_counted_elsewhere() {
    for (name, network, n) in networks() {
        let look = look(&network, 2, false);
        let exact = measured(Cpu::<f64>::default(), &network, n, &look);
        let device = crate::shared::plain_device(Mode::F32).unwrap_or_else(|e| panic!("{e:?}"));
        let others = [
            ("CPU", measured(Cpu::<f32>::default(), &network, n, &look)),
            ("kernels", measured(device, &network, n, &look)),
        ];
        let mut at = 0;
        for (number, units) in &look.chosen {
            let (all, columns) = values(&network, n, *number, false);
            for &unit in units {
                let unit: Vec<f64> = all.iter().skip(unit).step_by(columns).copied().collect();
                let (mean, var) = moments(&unit);
                // What a network in single precision may be off by: a ten-thousandth of its values' size, as in the golden tests.
                let size = (mean * mean + var).sqrt();
                let rounding = 1e-4 * size;
                for (on, found) in &others {
                    let place = format!("{name} on the {on}, layer {number}");
                    for (i, edge) in look.edges().iter().enumerate() {
                        let near = unit.iter().filter(|&v| (v - edge).abs() <= rounding).count() as i64;
                        let (a, b) = (below(found, at)[i], below(&exact, at)[i]);
                        assert!((a - b).abs() <= near, "{place}: {a} below {edge} for {b}, {near} are near");
                    }
                    assert!((found.mean[at] - mean).abs() <= rounding, "{place}: mean {} for {mean}", found.mean[at]);
                    assert!(
                        (found.var[at] - var).abs() <= 2.0 * rounding * size,
                        "{place}: variance {} for {var}",
                        found.var[at]
                    );
                }
                at += 1;
            }
        }
    }
}

#[test]
fn every_precision_of_the_kernels_finds_it() {
    for (name, network, n) in networks() {
        let look = look(&network, 2, false);
        let exact = measured(Cpu::<f64>::default(), &network, n, &look);
        for (mode, part) in [(Mode::Tf32, TF32), (Mode::Bf16, BF16)] {
            let device = crate::shared::plain_device(mode).unwrap_or_else(|e| panic!("{e:?}"));
            let found = measured(device, &network, n, &look);
            for at in 0..exact.mean.len() {
                let samples = |of: &Distributions| {
                    of.count[at * BINS..][..BINS].iter().sum::<u32>() + of.outside[2 * at..][..2].iter().sum::<u32>()
                };
                assert_eq!(samples(&found), samples(&exact), "{name}, {mode:?}");
                let scale = exact.mean[at].abs() + exact.var[at].sqrt();
                let (mean, var) = (found.mean[at] - exact.mean[at], found.var[at] - exact.var[at]);
                assert!(mean.abs() <= part * scale, "{name}, {mode:?}, {at}: mean off by {:e}", mean / scale);
                assert!(
                    var.abs() <= 2.0 * part * scale * scale,
                    "{name}, {mode:?}, {at}: variance off by {:e}",
                    var / scale / scale
                );
            }
        }
    }
}

/// What the moments of a unit may be off by, as a part of its values: operands are rounded to 11 and 8 bits in each of some nine layers, and
/// what a layer adds is of the size of what it was given. So nine roundings, the errors in the worst case all of one sign.
const TF32: f64 = 9.0 / 2048.0;
const BF16: f64 = 9.0 / 256.0;

#[test]
fn it_leaves_the_values_that_it_reads() {
    // Asked twice, and after the pass of a landscape's point elsewhere and back: the same.
    for (name, network, n) in networks() {
        let look = look(&network, 2, false);
        let mut here: At<Cpu<f32>> = at(Cpu::default(), &network, n);
        here.pass();
        let room = Workspace::new(&mut here.engine, look).unwrap();
        let mut all = Vec::new();
        for _ in 0..2 {
            activations::ask(&mut here.engine, In(here.theta), &room).unwrap();
            all.push(activations::read(&mut here.engine, &room).unwrap());
        }
        here.pass();
        activations::ask(&mut here.engine, In(here.theta), &room).unwrap();
        all.push(activations::read(&mut here.engine, &room).unwrap());
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
    }
}

#[test]
fn what_is_no_number_is_in_no_bin_and_shows() {
    let network = dln(Dln { depth: 2, dim: 3, ..Dln::default() }, Normalisation::new(Norm::None)).unwrap();
    let mut here = at(Cpu::<f64>::default(), &network, 4);
    let mut x = vec![0.5; 12];
    (x[0], x[3]) = (f64::NAN, f64::INFINITY);
    here.engine.set_batch_f64(&x, None, None).unwrap();
    here.pass();
    let room = Workspace::new(&mut here.engine, look(&network, 1, false)).unwrap();
    activations::ask(&mut here.engine, In(here.theta), &room).unwrap();
    let found = activations::read(&mut here.engine, &room).unwrap();
    // Of four samples the first is no number in any unit, the second infinite.
    assert_eq!(found.count[..BINS].iter().sum::<u32>() + found.outside[..2].iter().sum::<u32>(), 3);
    assert!(found.outside[..2].iter().sum::<u32>() >= 1 && found.mean[0].is_nan() && found.var[0].is_nan());
}
