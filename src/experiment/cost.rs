//! The cost of a run, counted before the run is made. The unit is one multiplication; other work counts as the multiplications that take as
//! long.
//!
//! The weights are ratios of times, measured on two cores of an AMD EPYC (Zen 4, AVX-512) on 2026-11-28: CPU time of `normscape train --threads 1`
//! with and without the norm or probe, and the least times of `normscape bench --step`. In f32 a unit is about 21 ps there.

use crate::Result;
use crate::data::images;
use crate::network::layer::Layer;
use crate::network::{Network, Norm};
use crate::ops::deep_linear::{FEWEST, WIDEST};
use crate::ops::layer::Layer as _;
use crate::ops::norm::Divisor;
use crate::probe::measure::{Basis, Row};
use crate::probe::table::ROWS;
use crate::train::Settings;

/// The cost of each output number of a layer, with its gradient: for any layer, for one that draws noise, and for an activation with an
/// exponential. A step of VGG-11 an eighth as wide with BatchNorm takes 14 ms, with noise 28 ms, on an idle machine. With ELU and no norm
/// it took 43 ms where BatchNorm took 31.
const NUMBER: f64 = 100.0;
const NOISE: f64 = 550.0;
const EXPONENTIAL: f64 = 300.0;
/// The cost of each weight of a convolution, which a step pays however few its images are. VGG-16 takes 25 ms per image in batches of 16
/// and 16 ms in batches of 64.
const WEIGHT: f64 = 300.0;
/// The cost of each number that an ℓp norm computes from coordinates (see [`coordinates`]): for p = 1, for p = ∞, and for other p (p = 2
/// has no such cost). The deep linear network's steps take 0.58, 0.23 and 1.79 ms, with BatchNorm 0.027 ms, with LayerNorm over all samples
/// 3.1 ms.
const L1: f64 = 55.0;
const L_INFINITY: f64 = 22.0;
const LP: f64 = 175.0;
/// The cost of each gradient entry that a point of a line compares. The deep linear network's points take 0.04 ms each, as long as three of
/// its passes without a norm.
const COMPARED: f64 = 150.0;
/// The cost of a forward pass alone, relative to a forward and backward pass. A test makes one, and so does a look at activations that the
/// pass has not kept.
const FORWARD: f64 = 0.35;

/// The costs of a run's parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// One step: a forward and backward pass, and the update.
    pub step: f64,
    test: f64,
    probes: Vec<(&'static str, f64)>,
}

impl Costs {
    /// The costs of a run. Errors: the settings make no network.
    pub fn of(settings: &Settings) -> Result<Costs> {
        let (network, coordinates) = (settings.network()?, coordinates(settings)?);
        // In f64 everything takes about twice as long.
        let unit = if settings.precision == "f64" { 2.0 } else { 1.0 };
        let on_samples = unit * pass(&network, settings.batch, 0)?;
        let step = match coordinates {
            Some(few) => unit * pass(&network, few, settings.batch)?,
            None => on_samples,
        };
        let line = settings.probe_points as f64 * (step + unit * COMPARED * network.slots().len() as f64);
        let products = (1 + settings.probe_lanczos + settings.probe_hutchinson) as f64;
        let chosen = settings.look(&network)?.map_or_else(Vec::new, |look| look.chosen);
        let entries = chosen.iter().map(|(_, units)| 3 + units.len()).sum::<usize>();
        let look = if coordinates.is_some() { FORWARD } else { 0.1 } * on_samples;
        let layers = network.weighted_layers().len() as f64;
        let basis = Basis { step, on_samples, line, look, layers, products, entries: entries as f64 };
        let of_row = |row: &'static Row| row.probes.iter().map(move |probe| (probe.name, (row.work)(&basis)));
        let probes = ROWS.iter().flat_map(of_row).collect();
        Ok(Costs { step, test: FORWARD * test_images(settings) as f64 / settings.batch as f64 * step, probes })
    }

    /// The cost of the whole run.
    pub fn run(&self, settings: &Settings) -> f64 {
        let probes: f64 = self.probes.iter().map(|(name, work)| work * settings.due_count(name)).sum();
        let tests = settings.eval_every.map_or(0.0, |every| settings.steps.div_ceil(every) as f64 + 1.0);
        (settings.steps + 1) as f64 * self.step + probes + tests * self.test
    }

    /// The cost of the row of step `t`, with the tests and probes that are due there.
    pub fn row(&self, settings: &Settings, t: u64) -> f64 {
        let due = self.probes.iter().filter(|(name, _)| settings.due(name, t)).map(|(_, work)| work);
        let tests = settings.eval_every.is_some_and(|every| t.is_multiple_of(every) || t == settings.steps);
        self.step + due.sum::<f64>() + if tests { self.test } else { 0.0 }
    }
}

/// How many images a test evaluates.
pub fn test_images(settings: &Settings) -> usize {
    let all = if settings.data == "images" { images::TEST } else { 10_000 };
    settings.limit_test.map_or(all, |limit| limit.min(all))
}

/// How many coordinates represent the samples of a run. The CPU computes deep linear networks in f64 this way
/// ([`crate::ops::deep_linear`]), but not with every norm.
fn coordinates(settings: &Settings) -> Result<Option<usize>> {
    let norm = !settings.noise && matches!(settings.norm.parse()?, Norm::None | Norm::Batch | Norm::Lp(_));
    let few = settings.dim + 1;
    let fits = settings.dim <= WIDEST && settings.batch >= FEWEST.max(few + 1);
    Ok((settings.deep_linear() && settings.precision == "f64" && norm && fits).then_some(few))
}

/// The cost of a forward and backward pass over `n` samples, or over `n` coordinates that represent `samples` samples.
fn pass(network: &Network, n: usize, samples: usize) -> Result<f64> {
    let (mut shape, mut work) = (network.input(n), 0.0);
    for link in network.links() {
        let weights = match link.layer.multiplies() {
            true => link.layer.params(shape).first().map_or(0, |weights| weights.shape.len()) as f64,
            false => 0.0,
        };
        shape = link.layer.output(shape)?;
        let [h, w, n, channels] = shape.hwnc();
        let (number, more) = match &link.layer {
            Layer::Noise(_) => (NOISE, 0.0),
            Layer::Norm(norm) if norm.spec.noise.is_some() => (NOISE, 0.0),
            Layer::Activation(layer) if !layer.is_relu() => (EXPONENTIAL, 0.0),
            Layer::Conv2d(_) => (NUMBER, WEIGHT * weights),
            Layer::Norm(norm) => {
                let each = match norm.spec.divisor {
                    Divisor::Std | Divisor::PowerMean(2.0) => 0.0,
                    Divisor::PowerMean(1.0) => L1,
                    Divisor::PowerMean(f64::INFINITY) => L_INFINITY,
                    Divisor::PowerMean(_) => LP,
                };
                (NUMBER, each * (samples * channels) as f64)
            }
            _ => (NUMBER, 0.0),
        };
        // Forward once and backward twice.
        work += 3.0 * weights * (h * w * n) as f64 + number * shape.len() as f64 + more;
    }
    Ok(work)
}

/// How long runs take on `workers` workers, if the longest runs start first and each worker takes the next run when its last has ended.
pub fn makespan(seconds: &[f64], workers: usize) -> f64 {
    let mut ends = vec![0.0_f64; workers.max(1)];
    let mut sorted = seconds.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for run in sorted {
        let soonest = ends.iter_mut().min_by(|a, b| a.total_cmp(b));
        soonest.into_iter().for_each(|end| *end += run);
    }
    ends.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_runs_go_first() {
        assert_eq!(makespan(&[1.0, 2.0, 3.0, 6.0], 2), 6.0);
        assert_eq!(makespan(&[1.0, 2.0, 3.0], 1), 6.0);
        assert_eq!(makespan(&[], 4), 0.0);
    }

    fn dln(own: Settings) -> Settings {
        let mut settings = Settings { precision: "f64".into(), ..own };
        settings.resolve().unwrap();
        settings
    }

    #[test]
    fn a_run_is_its_rows() {
        for steps in [100, 20_000] {
            let probe = ["landscape:10", "moments:3"].map(Into::into).into();
            let settings = dln(Settings { steps, probe, ..Settings::defaults("dln") });
            let costs = Costs::of(&settings).unwrap();
            let rows: f64 = (0..=steps).map(|t| costs.row(&settings, t)).sum();
            assert!((rows / costs.run(&settings) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_step_costs_as_was_measured() {
        let step = |norm: &str| {
            let settings = dln(Settings { norm: norm.into(), ..Settings::defaults("dln") });
            Costs::of(&settings).unwrap().step
        };
        for (norm, of_batch) in
            [("none", 0.39), ("l2", 1.1), ("l1", 22.0), ("linf", 8.6), ("lp:3", 67.0), ("layer", 114.0)]
        {
            let ratio = step(norm) / step("batch") / of_batch;
            assert!((0.6..1.6).contains(&ratio), "{norm}: {ratio}");
        }
    }
}
