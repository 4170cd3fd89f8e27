//! Every probe in f32, on the CPU and on the kernels, agrees with the same probe in f64 at the same θ, batch and noise. The first step of a
//! run is probed, and the files are compared array by array. An array without an entry here must keep to the common bound.

use normscape::data::image_set::ImageSet;
use normscape::files::{Array, Arrays, Values, npz};
use normscape::network::{Norm, initial_parameters};
use normscape::ops::backend::Backend;
use normscape::ops::norm::Grouping;
use normscape::probe::table;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::train::source::load_images;
use normscape::train::{Place, Settings, Silent, Source, Start, Trainer};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What a network's gradient in f32 may be off by, as a part of its length: the bound of the golden tests.
const GRADIENT: f64 = 1e-4;
/// And a cosine.
const COSINE: f64 = 1e-3;

type Files = BTreeMap<&'static str, Arrays>;

fn files<B: Backend>(backend: B, settings: &Settings) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let place = Place::take(&out, Start::Fresh, "any").unwrap();
    let trainer = Trainer::open(backend, settings.clone(), source(settings), place, Arc::default(), &mut Silent);
    trainer.unwrap().run(&mut Silent).unwrap();
    let names = table::names().into_iter().filter(|name| settings.probe.iter().any(|probe| probe == name));
    names.map(|name| (name, npz::read(&out.join(format!("{name}.npz"))).unwrap())).collect()
}

fn source(settings: &Settings) -> Source {
    static IMAGES: OnceLock<Arc<ImageSet>> = OnceLock::new();
    match settings.deep_linear() {
        true => Source::open(settings).unwrap(),
        false => Source::of(IMAGES.get_or_init(|| Arc::new(load_images(settings).unwrap())).clone(), settings).unwrap(),
    }
}

fn cases() -> Vec<Settings> {
    let deep = |norm: Norm| Settings { depth: 4, samples: 60, norm: norm.to_string(), ..Settings::defaults("dln") };
    let image = |norm: Norm, noise| Settings {
        width: 0.0625,
        norm: norm.to_string(),
        noise,
        batch: 8,
        lr: 0.01,
        data: "images".into(),
        limit_train: Some(40),
        limit_test: Some(10),
        ..Settings::defaults("vgg11")
    };
    let all = vec![
        deep(Norm::None),
        deep(Norm::Batch),
        deep(Norm::Lp(1.0)),
        image(Norm::None, false),
        image(Norm::Batch, false),
        image(Norm::Batch, true),
        image(Norm::Lp(1.0), false),
        image(Norm::Lp(f64::INFINITY), false),
        image(Norm::Grouped(Grouping::Groups(2)), false),
        image(Norm::None, true),
    ];
    let probed = |settings: Settings| {
        let mut settings = Settings {
            steps: 1,
            // The theorems' sides are differences of large numbers: tests/networks/theory_probe.rs holds them to each other.
            probe: table::names().into_iter().filter(|name| *name != "theory").map(Into::into).collect(),
            probe_at: vec![0],
            probe_points: 3,
            probe_lanczos: 3,
            probe_hutchinson: 2,
            ..settings
        };
        settings.resolve().unwrap();
        settings
    };
    all.into_iter().map(probed).collect()
}

fn floats(arrays: &Arrays, name: &str) -> Vec<f64> {
    arrays.get(name).and_then(Array::to_f64).unwrap_or_default()
}

fn whole(arrays: &Arrays, name: &str) -> Vec<i64> {
    match &arrays[name].values {
        Values::I64(values) => values.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// How far every number of array `name` may lie from `exact`'s, where the parameters have the length `theta`.
fn bounds(name: &str, exact: &Arrays, theta: f64) -> Vec<f64> {
    let values = floats(exact, name);
    let relative = |part: f64| values.iter().map(|v| part * v.abs()).collect::<Vec<_>>();
    let of = |name: &str| floats(exact, name);
    let rounded = |length: f64| length * 0.5f64.powi(24);
    match name {
        "cosine" => vec![COSINE; values.len()],
        // A difference of two gradients, each off by a part of its own length, the second being at most as long as both together.
        "grad_l2_diff" => values.iter().map(|diff| GRADIENT * (2.0 * of("grad_norm")[0] + diff)).collect(),
        // Of the points as they are: every parameter was rounded to f32's nearest, which moves it by 2⁻²⁴ of its size at the most.
        "distance" => values.iter().map(|s| GRADIENT * s + rounded(theta + s)).collect(),
        "beta" => {
            let (diff, distance) = (of("grad_l2_diff"), of("distance"));
            let off = |diff: f64, s: f64| {
                GRADIENT * (2.0 * of("grad_norm")[0] + 2.0 * diff) / s + diff / s * rounded(theta + s) / s
            };
            diff.iter().zip(distance).map(|(&diff, s)| off(diff, s)).collect()
        }
        // A layer's gradient is a part of the whole one, which is off by a part of its length.
        "l2" => {
            let all = of("grad_norm").iter().map(|g| g * g).sum::<f64>().sqrt();
            values.iter().map(|diff| GRADIENT * (2.0 * all + diff)).collect()
        }
        // Of ⟨W, G⟩, which may be 0: as far as a gradient that is off by so much can bring it.
        "along" => {
            let all = of("grad_norm").iter().map(|g| g * g).sum::<f64>().sqrt();
            of("weight_norm").iter().map(|w| GRADIENT * w * all).collect()
        }
        // Of a unit's values, each off by a part of their size.
        "mean" => of("var").iter().zip(&values).map(|(var, mean)| GRADIENT * (mean * mean + var).sqrt()).collect(),
        "var" => of("mean").iter().zip(&values).map(|(mean, var)| 2.0 * GRADIENT * (mean * mean + var)).collect(),
        _ => relative(GRADIENT),
    }
}

fn agree(what: &str, found: &Files, exact: &Files, settings: &Settings) {
    let start = initial_parameters(&settings.network().unwrap(), settings.seed);
    let theta = start.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    for (probe, exact) in exact {
        let found = &found[probe];
        assert_eq!(found.keys().collect::<Vec<_>>(), exact.keys().collect::<Vec<_>>(), "{what}, {probe}");
        for (name, array) in exact {
            let place = format!("{what}, {probe}, {name}");
            assert_eq!(found[name].shape, array.shape, "{place}");
            match (&array.values, name.as_str()) {
                (Values::I64(_), "count" | "outside") => {}
                (Values::F64(_), "s" | "edges") | (Values::I64(_) | Values::Text(_), _) => {
                    assert_eq!(found[name], *array, "{place}")
                }
                _ => {
                    let (found, exact_values) = (floats(found, name), floats(exact, name));
                    for (i, (bound, (a, b))) in
                        bounds(name, exact, theta).iter().zip(found.iter().zip(&exact_values)).enumerate()
                    {
                        // f32 cannot tell every β that f64 can (`resolution` holds it to those that it must).
                        let same = a.is_nan() && (b.is_nan() || name == "beta");
                        assert!(same || (a - b).abs() <= *bound, "{place}[{i}]: {a} for {b}, allowed {bound:e}");
                    }
                }
            }
        }
    }
    // Which bin a sample near an edge falls into is up to rounding (tests/networks/activations.rs counts those); that it falls somewhere is not.
    let samples = |of: &Arrays| {
        let (count, outside) = (whole(of, "count"), whole(of, "outside"));
        let units = count.chunks(settings.probe_bins).zip(outside.chunks(2));
        units.map(|(count, outside)| count.iter().chain(outside).sum::<i64>()).collect::<Vec<_>>()
    };
    assert_eq!(samples(&found["activations"]), samples(&exact["activations"]), "{what}");
}

#[test]
fn every_probe_finds_the_same_everywhere() {
    for settings in cases() {
        let exact = files(Cpu::<f64>::default(), &Settings { precision: "f64".into(), ..settings.clone() });
        let name = format!("{} {}{}", settings.model, settings.norm, if settings.noise { " with noise" } else { "" });
        println!("{name}");
        agree(&format!("{name} on the CPU"), &files(Cpu::<f32>::default(), &settings), &exact, &settings);
        let device = crate::shared::plain_device(Mode::F32).unwrap_or_else(|e| panic!("{e:?}"));
        agree(&format!("{name} on the kernels"), &files(device, &settings), &exact, &settings);
    }
}
