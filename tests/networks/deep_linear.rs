//! The deep linear network at the paper's settings, against the results of an independent program in float64.

use normscape::data::gaussian::GaussianSet;
use normscape::network::{Dln, Engine, Norm, Normalisation, Scalar, dln, initial_parameters};
use normscape::ops::sgd::{Descent, Sgd};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::float::Float;
use normscape::runtime::state::StepState;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{In, Out};
use std::sync::Arc;

/// Loss at steps 0, 100 and 1,000 of one draw of weights, x and A.
fn losses<T: Float>(norm: Norm, seed: u64) -> [f64; 3] {
    let network = dln(Dln::default(), Normalisation::new(norm)).unwrap();
    let start = initial_parameters(&network, seed);
    let mut engine = Engine::new(Cpu::<T>::default(), network, 1000, Arc::default()).unwrap();
    let (theta, grad) = (engine.vector().unwrap(), engine.vector().unwrap());
    engine.backend().upload_f32(&start, Out(theta)).unwrap();
    let set = GaussianSet::generate(seed, 1000, 10).unwrap();
    engine.set_target(&set.x, &set.target).unwrap();
    engine.set_state(&StepState::new(seed, 0, 1e-6)).unwrap();
    let (loss, correct, state) = (engine.slot(Scalar::Loss), engine.slot(Scalar::Correct), engine.state());
    let mut found = [0.0; 3];
    for t in 0..=1000 {
        engine.loss_and_grad(In(theta), Out(grad), Out(loss), Out(correct)).unwrap();
        if let Some(at) = [0, 100, 1000].iter().position(|&s| s == t) {
            found[at] = engine.scalar(Scalar::Loss).unwrap();
        }
        engine.backend().sgd(In(grad), Descent::plain(Out(theta), In(state))).unwrap();
    }
    found
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Single draws differ by a factor of four and long trajectories are chaotic, so medians of draws are held to the range
/// that 40 draws of the independent program spanned.
#[test]
fn medians_of_draws_lie_where_they_should() {
    lie_there::<f64>();
    lie_there::<f32>();
}

fn lie_there<T: Float>() {
    let draws = 7;
    for (norm, ranges) in [
        (Norm::Batch, [(6e4, 2.2e5), (2e4, 7e4), (0.5e4, 2.1e4)]),
        (Norm::None, [(6e4, 2.2e5), (3e4, 1e5), (1.3e4, 4.7e4)]),
    ] {
        let all: Vec<_> = (0..draws).map(|seed| losses::<T>(norm, seed)).collect();
        for (at, (low, high)) in ranges.into_iter().enumerate() {
            let found = median(all.iter().map(|l| l[at]).collect());
            assert!((low..high).contains(&found), "{norm}, entry {at}: {found:.3e} is not in {low:.1e}..{high:.1e}");
        }
    }
}
