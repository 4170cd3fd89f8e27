//! A run's files on a quadratic, whose gradients and Hessian are known, are exact to ten digits in f64 at every probed step. (Single
//! landscapes: tests/networks/lines.rs; covariate shift: tests/networks/ics.rs.)

use normscape::data::gaussian::GaussianSet;
use normscape::files::{Arrays, npz};
use normscape::network::initial_parameters;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::train::{Place, Settings, Silent, Source, Start, Trainer};
use std::sync::Arc;

const DIM: usize = 5;
const SAMPLES: usize = 40;
const SEED: u64 = 6;

/// Σ‖xW − t‖² times a number.
struct Quadratic {
    x: Vec<f64>,
    target: Vec<f64>,
    scale: f64,
}

impl Quadratic {
    /// xW for `w [I, O]`, less t where asked for: `[N, O]`.
    fn outputs(&self, w: &[f64], less_target: bool) -> Vec<f64> {
        let at = |n: usize, o: usize| (0..DIM).map(|i| self.x[n * DIM + i] * w[i * DIM + o]).sum::<f64>();
        let target = |k: usize| if less_target { self.target[k] } else { 0.0 };
        (0..SAMPLES * DIM).map(|k| at(k / DIM, k % DIM) - target(k)).collect()
    }

    fn loss(&self, w: &[f64]) -> f64 {
        self.scale * self.outputs(w, true).iter().map(|r| r * r).sum::<f64>()
    }

    /// 2xᵀ of such outputs: the gradient of xW − t, H along D of xD.
    fn back(&self, outputs: &[f64]) -> Vec<f64> {
        let at = |i: usize, o: usize| (0..SAMPLES).map(|n| self.x[n * DIM + i] * outputs[n * DIM + o]).sum::<f64>();
        (0..DIM * DIM).map(|k| 2.0 * self.scale * at(k / DIM, k % DIM)).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn length(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn run(settings: &Settings) -> Vec<Arrays> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let place = Place::take(&out, Start::Fresh, "cpu").unwrap();
    let source = Source::open(settings).unwrap();
    let trainer = Trainer::open(Cpu::<f64>::default(), settings.clone(), source, place, Arc::default(), &mut Silent);
    trainer.unwrap().run(&mut Silent).unwrap();
    settings.probe.iter().map(|name| npz::read(&out.join(format!("{name}.npz"))).unwrap()).collect()
}

#[test]
fn a_run_on_a_quadratic_holds_what_is_known() {
    for (mean_loss, half_loss) in [(false, false), (true, false), (false, true)] {
        let mut settings = Settings {
            depth: 1,
            dim: DIM,
            samples: SAMPLES,
            mean_loss,
            half_loss,
            lr: if mean_loss { 0.05 } else { 1e-3 },
            steps: 4,
            probe: ["landscape", "predictiveness", "random", "curvature"].map(Into::into).to_vec(),
            probe_points: 4,
            probe_range: [0.01, 5.0],
            seed: SEED,
            precision: "f64".into(),
            ..Settings::defaults("dln")
        };
        settings.resolve().unwrap();
        let files = run(&settings);
        let set = GaussianSet::generate(SEED, SAMPLES, DIM).unwrap();
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let scale = match (mean_loss, half_loss) {
            (true, _) => 1.0 / SAMPLES as f64,
            (_, true) => 0.5,
            _ => 1.0,
        };
        let quadratic = Quadratic { x: wide(set.x), target: wide(set.target), scale };
        let mut w = wide(initial_parameters(&settings.network().unwrap(), SEED));
        let s = settings.step_lengths().unwrap();
        for t in 0..=4usize {
            let g = quadratic.back(&quadratic.outputs(&w, true));
            let hg = quadratic.back(&quadratic.outputs(&g, false));
            let random = |i| f64::from(normal(word(SEED, Purpose::Direction, 0, t as u32, i)));
            let random: Vec<f64> = (0..(DIM * DIM) as u64).map(random).collect();
            let along = length(&g) / length(&random);
            let random: Vec<f64> = random.into_iter().map(|d| d * along).collect();
            let close = |file: usize, name: &str, at: usize, expected: f64| {
                let found = files[file][name].to_f64().unwrap()[at];
                let what = format!("{} of {} [{at}], mean {mean_loss}, half {half_loss}", name, settings.probe[file]);
                assert!((found - expected).abs() <= 1e-10 * expected.abs(), "{what}: {found} for {expected}");
            };
            for (file, d) in [(0, &g), (1, &g), (2, &random)] {
                let hd = quadratic.back(&quadratic.outputs(d, false));
                close(file, "base_loss", t, quadratic.loss(&w));
                close(file, "grad_norm", t, length(&g));
                for (i, s) in s.iter().enumerate() {
                    let there: Vec<f64> = w.iter().zip(d).map(|(w, d)| w - s * d).collect();
                    let at = t * s_len(&files[file]) + i;
                    close(file, "loss", at, quadratic.loss(&there));
                    close(file, "grad_l2_diff", at, s * length(&hd));
                    close(file, "distance", at, s * length(&g));
                    close(file, "beta", at, length(&hd) / length(&g));
                }
            }
            close(3, "gain", t, length(&hg) / length(&g));
            close(3, "rayleigh", t, dot(&g, &hg) / dot(&g, &g));
            w.iter_mut().zip(&g).for_each(|(w, g)| *w -= settings.lr * g);
        }
    }
}

fn s_len(arrays: &Arrays) -> usize {
    arrays["s"].shape[0]
}
