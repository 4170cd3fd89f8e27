//! Totals over many instances. Adding is associative and order does not matter, so the result is the same for any number of threads.

use super::row::Outcome;

/// The number of worst instances that are remembered as starting points for the search.
pub const WORST: usize = 3;
/// The number of buckets for quotients: sixteen for each factor of two, from 2⁻³² to 2³².
const BUCKETS: usize = 1024;

/// The totals of one row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// The number of instances.
    pub instances: u64,
    /// The number of instances that met the premise.
    pub premise_held: u64,
    /// The number of those on which the statement failed.
    pub failed: u64,
    /// The smallest slack among instances that met the premise, and its instance.
    pub least_slack: Option<(f64, u64)>,
    /// The largest residuals among instances that met the premise, with their instances, worst first.
    pub worst: Vec<(f64, u64)>,
    ratios: Vec<u64>,
}

impl Tally {
    /// Adds an outcome.
    pub fn add(&mut self, index: u64, outcome: &Outcome) {
        self.instances += 1;
        if !outcome.premise {
            return;
        }
        self.premise_held += 1;
        self.failed += u64::from(outcome.fails);
        self.slack(outcome.slack, index);
        self.residual(outcome.residual, index);
        if let Some(ratio) = outcome.ratio {
            self.ratios.resize(BUCKETS, 0);
            let place = 16.0 * (32.0 + ratio.abs().log2());
            self.ratios[place.clamp(0.0, BUCKETS as f64 - 1.0) as usize] += 1;
        }
    }

    fn slack(&mut self, slack: f64, index: u64) {
        let less = |(least, at): (f64, u64)| slack < least || slack == least && index < at;
        if self.least_slack.is_none_or(less) {
            self.least_slack = Some((slack, index));
        }
    }

    fn residual(&mut self, residual: f64, index: u64) {
        let place = self.worst.partition_point(|&(r, at)| r > residual || r == residual && at < index);
        if place < WORST {
            self.worst.insert(place, (residual, index));
            self.worst.truncate(WORST);
        }
    }

    /// Adds the totals of another tally.
    pub fn merge(&mut self, other: &Tally) {
        self.instances += other.instances;
        self.premise_held += other.premise_held;
        self.failed += other.failed;
        other.least_slack.iter().for_each(|&(slack, index)| self.slack(slack, index));
        other.worst.iter().for_each(|&(residual, index)| self.residual(residual, index));
        if !other.ratios.is_empty() {
            self.ratios.resize(BUCKETS, 0);
            self.ratios.iter_mut().zip(&other.ratios).for_each(|(own, other)| *own += other);
        }
    }

    /// The largest residual; 0 if no instance met the premise.
    pub fn max_residual(&self) -> f64 {
        self.worst.first().map_or(0.0, |w| w.0)
    }

    /// The share of failures among the instances that met the premise.
    pub fn failing_share(&self) -> Option<f64> {
        (self.premise_held > 0).then(|| self.failed as f64 / self.premise_held as f64)
    }

    /// The median of the quotients, to within 5 %.
    pub fn median_ratio(&self) -> Option<f64> {
        let half = self.ratios.iter().sum::<u64>().div_ceil(2);
        let mut sum = 0;
        let place = self.ratios.iter().position(|n| {
            sum += n;
            half > 0 && sum >= half
        });
        place.map(|place| ((place as f64 + 0.5) / 16.0 - 32.0).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter() {
        let outcome = |i: u64| Outcome::equal((i * 7 % 10) as f64 * 1e-12, 0.0, 1.0).with(1.0 + i as f64);
        let sum = |indices: &mut dyn Iterator<Item = u64>| {
            let mut tally = Tally::default();
            indices.for_each(|i| tally.add(i, &outcome(i)));
            tally
        };
        let forward = sum(&mut (0..20));
        assert_eq!(forward, sum(&mut (0..20).rev()));
        let mut parts = sum(&mut (10..20));
        parts.merge(&sum(&mut (0..10)));
        assert_eq!(forward, parts);
        assert_eq!(forward.worst.iter().map(|w| w.1).collect::<Vec<_>>(), [7, 17, 4]);
        let median = forward.median_ratio().unwrap();
        assert!((9.0..=11.5).contains(&median), "{median}");
    }
}
