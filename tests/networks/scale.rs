//! The probe `scale`: its results follow from the vectors, and ⟨W, ∇_W L⟩ is the slope of the loss in W's length, which is 0 where a norm
//! follows.

use crate::probed::{At, at};
use normscape::network::{Activation, Network, Norm, Normalisation, Scalar, vgg};
use normscape::ops::norm::Grouping;
use normscape::probe::ics::Update;
use normscape::probe::measure::{Moment, Options};
use normscape::probe::table::{self, ROWS};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out, Shape, View};

const LR: f64 = 0.25;

/// ‖W‖, ‖G‖, ⟨W, G⟩ and the rate of every layer.
fn found(here: &mut At<Cpu<f64>>, grad: View) -> Vec<Vec<f64>> {
    let row = ROWS.iter().position(|row| row.probes[0].name == "scale").unwrap();
    let options = Options {
        s: vec![LR],
        seed: 0,
        lr: LR,
        momentum: false,
        eps: 0.0,
        lanczos: 1,
        hutchinson: 1,
        look: None,
        tangents: None,
    };
    let measurement = table::plan(row, &mut here.engine, &options).unwrap();
    let update = Update { velocity: None, momentum: 0.0, weight_decay: 0.0 };
    measurement.ask(&mut here.engine, Moment { theta: In(here.theta), grad: In(grad), update }).unwrap();
    let unknown = measurement.read(&mut here.engine, f64::NAN).unwrap();
    assert!(unknown.entries[0].is_empty() && unknown.numbers[0].1.is_some_and(f64::is_nan));
    measurement.read(&mut here.engine, 1.0).unwrap().entries.remove(0)
}

fn network(norm: Norm, activation: Activation, eps: f64) -> Network {
    vgg("vgg11", 0.0625, Normalisation { eps, activation, ..Normalisation::new(norm) }).unwrap()
}

/// The slope of the loss in the length of a layer's weights, by central differences.
fn slope(here: &mut At<Cpu<f64>>, part: View) -> f64 {
    let step = 1e-5;
    let own = here.engine.read(part).unwrap();
    let mut loss = |by: f64| {
        let longer: Vec<f64> = own.iter().map(|w| w * by).collect();
        here.engine.backend().upload(&longer, Out(part)).unwrap();
        here.pass();
        here.engine.scalar(Scalar::Loss).unwrap()
    };
    let slope = (loss(1.0 + step) - loss(1.0 - step)) / (2.0 * step);
    here.engine.backend().upload(&own, Out(part)).unwrap();
    slope
}

#[test]
fn it_is_what_the_vectors_say_and_the_slope_of_the_loss() {
    for (norm, activation) in [(Norm::None, Activation::Gelu), (Norm::Weight, Activation::Relu)] {
        let network = network(norm, activation, 1e-5);
        let mut here = at(Cpu::<f64>::default(), &network, 3);
        let grad = here.pass();
        let found = found(&mut here, grad);
        for (i, layer) in network.weighted_layers().iter().enumerate() {
            let part = |whole: View| whole.slice(layer.weight.start, Shape::new([layer.weight.len()]));
            let (own, slopes) = (part(here.theta), part(grad));
            let [w, g] = [own, slopes].map(|view| here.engine.read(view).unwrap());
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let expected = [dot(&w, &w).sqrt(), dot(&g, &g).sqrt(), dot(&w, &g), LR / dot(&w, &w)];
            for (which, expected) in expected.into_iter().enumerate() {
                let error = (found[which][i] - expected).abs();
                assert!(error <= 1e-12 * (found[0][i] * found[1][i] + expected.abs()), "{norm} {i} {which}: {error:e}");
            }
            let measured = slope(&mut here, own);
            let error = (found[2][i] - measured).abs();
            assert!(
                error <= 1e-6 * (found[0][i] * found[1][i] + 1e-3),
                "{norm}, layer {i}: {} and {measured}",
                found[2][i]
            );
            here.pass();
        }
    }
}

#[test]
fn a_norm_makes_the_loss_indifferent_to_the_weights_length() {
    let norms = [Norm::Batch, Norm::Lp(1.0), Norm::Grouped(Grouping::Layer), Norm::Rms, Norm::Weight];
    for norm in norms {
        let network = network(norm, Activation::Relu, 0.0);
        let mut here = at(Cpu::<f64>::default(), &network, 3);
        let grad = here.pass();
        let found = found(&mut here, grad);
        // All layers but the last, which no norm follows.
        let layers = found[0].iter().zip(&found[1]).zip(&found[2]).enumerate();
        for (i, ((w, g), along)) in layers.take(found[0].len() - 1) {
            let indifferent = *g > 1e-6 && along.abs() <= 1e-10 * w * g;
            assert!(indifferent, "{norm}, layer {i}: ‖W‖ {w}, ‖G‖ {g}, ⟨W, G⟩ {along:e}");
        }
    }
}
