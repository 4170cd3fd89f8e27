//! What a run costs, before it is made: work in units of one machine's own, and memory.

use crate::Result;
use crate::data::images;
use crate::files::limits::Bound;
use crate::network::Network;
use crate::train::Settings;

/// What a row's parts cost, as it is guessed before any was timed: in multiplications, comparable among runs of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The step itself: a pass forward and backward.
    pub step: f64,
    /// A test.
    pub test: f64,
    probes: [(&'static str, f64); 8],
}

impl Row {
    /// Of a run's rows. Errors: settings that make no network.
    pub fn of(settings: &Settings) -> Result<Row> {
        let network = settings.network()?;
        let step = Counted::of(settings, &network)?.work();
        let points = settings.probe_points as f64;
        let products = 2.5 * (1 + settings.probe_lanczos + settings.probe_hutchinson) as f64;
        let passes = [
            ("landscape", points),
            ("predictiveness", points),
            ("random", points),
            ("ics", 0.5 * network.weighted_layers().len() as f64),
            ("curvature", products),
            ("theory", 10.0),
            ("activations", 0.1),
            ("moments", 0.1),
        ];
        let test = test_images(settings) as f64 / settings.batch as f64 * 0.35;
        Ok(Row { step, test: test * step, probes: passes.map(|(name, passes)| (name, passes * step)) })
    }

    /// A probe.
    pub fn probe(&self, name: &str) -> f64 {
        self.probes.iter().find(|(other, _)| *other == name).map_or(self.step, |(_, work)| *work)
    }
}

/// How many images a test looks at.
pub fn test_images(settings: &Settings) -> usize {
    let all = if settings.data == "images" { images::TEST } else { 10_000 };
    settings.limit_test.map_or(all, |limit| limit.min(all))
}

/// A run's work, as it is guessed before any of it was timed.
///
/// Errors: settings that make no network.
pub fn work(settings: &Settings) -> Result<f64> {
    let row = Row::of(settings)?;
    let probes: f64 = row.probes.iter().map(|(name, work)| work * settings.due_count(name)).sum();
    let tests = settings.eval_every.map_or(0.0, |every| settings.steps as f64 / every as f64 + 1.0);
    Ok(settings.steps as f64 * row.step + probes + tests * row.test)
}

/// What is counted of a pass forward and backward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// Multiplications of the products forward.
    pub products: f64,
    /// Numbers that layers give.
    pub elements: f64,
    /// Parameters.
    pub parameters: f64,
}

impl Counted {
    /// Of a run's network on a batch. Errors: a layer that does not take what the one before it gives.
    pub fn of(settings: &Settings, network: &Network) -> Result<Counted> {
        let mut shape = network.input(settings.batch);
        let mut counted = Counted { products: 0.0, elements: 0.0, parameters: network.slots().len() as f64 };
        for link in network.links() {
            let weights =
                if link.layer.multiplies() { link.layer.params(shape).first().map_or(0, |p| p.shape.len()) } else { 0 };
            shape = link.layer.output(shape)?;
            let [h, w, n, _] = shape.hwnc();
            counted.products += weights as f64 * (h * w * n) as f64;
            counted.elements += shape.len() as f64;
        }
        Ok(counted)
    }

    /// All of it in multiplications: the products once forward and twice backward, and what else is done with each number.
    pub fn work(self) -> f64 {
        3.0 * self.products + 100.0 * self.elements
    }
}

/// How long some runs take `workers` that each take the next when one has ended: the longest runs first.
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

/// How many runs go at once on the CPU: as many as there are threads, as far as memory goes. `needs` are the bytes of each run.
///
/// Errors: not even the largest fits.
pub fn workers(threads: usize, needs: &[u128], bound: Option<&Bound>) -> Result<usize> {
    let largest = needs.iter().copied().max().unwrap_or(0).max(1);
    let Some(bound) = bound else { return Ok(threads.max(1)) };
    bound.require(largest, "a smaller --scale needs less")?;
    let fit = usize::try_from(u128::from(bound.left) / largest).unwrap_or(usize::MAX);
    Ok(threads.max(1).min(fit.max(1)))
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

    #[test]
    fn memory_bounds_the_number_of_workers() {
        let bound = |left| Bound { left, limit: Some(1 << 30), name: "x".into() };
        assert_eq!(workers(8, &[10, 100], Some(&bound(350))).unwrap(), 3);
        assert_eq!(workers(2, &[10, 100], Some(&bound(350))).unwrap(), 2);
        assert_eq!(workers(2, &[10, 100], None).unwrap(), 2);
        let refusal = workers(2, &[10, 400 << 20], Some(&bound(350 << 20))).unwrap_err().to_string();
        assert!(refusal.contains("400 MiB are needed, 350 MiB are left of 1024 MiB, the limit of x;"), "{refusal}");
    }

    #[test]
    fn work_counts_steps_and_probes() {
        let of = |steps, probe: &[&str]| {
            let probe = probe.iter().map(|&p| p.into()).collect();
            let mut settings = Settings { steps, probe, depth: 3, samples: 20, ..Settings::defaults("dln") };
            settings.resolve().unwrap();
            work(&settings).unwrap()
        };
        assert!((of(2000, &[]) / of(1000, &[]) - 2.0).abs() < 1e-9);
        // Eight points at every tenth step are nearly as much again.
        let ratio = of(1000, &["landscape:10"]) / of(1000, &[]);
        assert!((1.79..1.82).contains(&ratio), "{ratio}");
        // Beyond what is counted step by step.
        let ratio = of(20_000, &["landscape:10"]) / of(20_000, &[]);
        assert!((1.79..1.82).contains(&ratio), "{ratio}");
    }
}
