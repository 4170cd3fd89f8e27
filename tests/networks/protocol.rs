//! The paper's protocol: what a run does by default, and what is written about it.

use normscape::network::{Activation, Dln, Norm, Normalisation, Reduction, dln, vgg};
use normscape::ops::noise::NoiseOptions;
use normscape::ops::norm::Grouping;
use normscape::train::settings::Settings;
use std::collections::BTreeSet;

#[test]
fn the_defaults_are_the_papers() {
    for (model, steps, lr, range) in
        [("vgg16", 15_000, 0.1, [0.5, 4.0]), ("vgg11", 15_000, 0.1, [0.5, 4.0]), ("dln", 10_000, 1e-6, [0.01, 30.0])]
    {
        let s = Settings::defaults(model);
        assert_eq!(s.steps, steps, "{model}: steps");
        assert_eq!((s.lr, s.probe_range, s.probe_points), (lr, range, 8), "{model}");
        // Plain gradient descent: the update lies along the gradient.
        assert_eq!((s.momentum, s.weight_decay), (0.0, 0.0), "{model}");
        // All images, and as they are.
        assert!(!s.augment && s.limit_train.is_none() && s.limit_test.is_none(), "{model}: the data");
        assert!(s.width == 1.0 && !s.noise && s.norm == "none", "{model}");
    }
    let deep = Settings::defaults("dln");
    assert_eq!((deep.depth, deep.dim, deep.samples), (25, 10, 1000));
    assert!(!deep.norm_last && !deep.mean_loss && !deep.half_loss);
    assert_eq!(Settings::defaults("vgg16").batch, 128);
    let noise = NoiseOptions::default();
    assert_eq!((noise.mean, noise.scale, noise.spread), (0.5, 1.25, 0.1));
}

#[test]
fn networks_that_differ_are_described_apart() {
    let noisy = Normalisation { noise: Some(NoiseOptions::default()), ..Normalisation::new(Norm::Batch) };
    let all = [
        Normalisation::new(Norm::None),
        Normalisation::new(Norm::Batch),
        Normalisation { eps: 1e-3, ..Normalisation::new(Norm::Batch) },
        noisy,
        Normalisation::new(Norm::Lp(1.0)),
        Normalisation::new(Norm::Lp(2.0)),
        Normalisation::new(Norm::Lp(f64::INFINITY)),
        Normalisation::new(Norm::Weight),
        Normalisation::new(Norm::Grouped(Grouping::Layer)),
        Normalisation::new(Norm::Grouped(Grouping::Groups(2))),
        Normalisation::new(Norm::Grouped(Grouping::Groups(1))),
    ];
    let deep = Dln { depth: 3, dim: 4, ..Dln::default() };
    let mut hashes = BTreeSet::new();
    for normalisation in all {
        hashes.insert(vgg("vgg11", 0.25, normalisation).unwrap().hash());
        hashes.insert(vgg("vgg13", 0.25, normalisation).unwrap().hash());
        hashes.insert(dln(deep, normalisation).unwrap().hash());
        hashes.insert(dln(Dln { loss: Reduction::Mean, ..deep }, normalisation).unwrap().hash());
        hashes.insert(dln(Dln { loss: Reduction::Half, ..deep }, normalisation).unwrap().hash());
        if normalisation.norm != Norm::None {
            // A norm after the last layer too is another network.
            hashes.insert(dln(Dln { norm_last: true, ..deep }, normalisation).unwrap().hash());
        }
    }
    assert_eq!(hashes.len(), 5 * all.len() + all.len() - 1);
    // The deep linear network has no non-linearity.
    for (activation, normalisation) in
        [Activation::Elu, Activation::Selu].into_iter().flat_map(|kind| all.map(|of| (kind, of)))
    {
        hashes.insert(vgg("vgg11", 0.25, Normalisation { activation, ..normalisation }).unwrap().hash());
        let error = dln(deep, Normalisation { activation, ..normalisation }).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("it is linear"), "{error}");
    }
    assert_eq!(hashes.len(), 8 * all.len() - 1);
}

/// The mistakes that the tests are tried with are in development builds alone.
#[test]
fn a_release_makes_no_mistakes() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_normscape")).unwrap();
    let variable = ["NORMSCAPE", "MUTANT"].join("_");
    let there = binary.windows(variable.len()).any(|window| window == variable.as_bytes());
    assert_eq!(there, cfg!(debug_assertions));
}
