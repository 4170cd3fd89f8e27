//! Estimates how long the rest of a plan takes, from the work left and the recent rate of work.

/// The time constant of the recent rate, in seconds: work done this long ago has about a third of the weight.
const LATELY: f64 = 30.0;

/// The work of a plan's runs, and the rate at which it is done. Times are seconds from an arbitrary origin.
#[derive(Debug)]
pub struct Eta {
    all: f64,
    /// The work left in each run.
    left: Vec<f64>,
    /// Recent work and the seconds that it took; older work weighs less.
    done: f64,
    seconds: f64,
    last: Option<f64>,
}

impl Eta {
    /// A plan whose runs cost this much each; nothing is done yet.
    pub fn new(runs: Vec<f64>) -> Eta {
        Eta { all: runs.iter().sum(), left: runs, done: 0.0, seconds: 0.0, last: None }
    }

    /// Notes that a run begins, with the share `before` already done.
    pub fn begins(&mut self, run: usize, before: f64, now: f64) {
        self.left[run] *= 1.0 - before;
        self.last.get_or_insert(now);
    }

    /// Notes that `work` was done in a run.
    pub fn row(&mut self, run: usize, work: f64, now: f64) {
        let passed = self.last.map_or(0.0, |last| (now - last).max(0.0));
        let keep = (-passed / LATELY).exp();
        (self.done, self.seconds) = (keep * self.done + work, keep * self.seconds + passed);
        self.left[run] = (self.left[run] - work).max(0.0);
        self.last = Some(now);
    }

    /// Notes that a run has ended, successfully or not: its remaining work will not be done.
    pub fn ended(&mut self, run: usize) {
        self.left[run] = 0.0;
    }

    /// The share of all work that needs no more doing.
    pub fn share(&self) -> f64 {
        if self.all > 0.0 { 1.0 - self.left.iter().sum::<f64>() / self.all } else { 1.0 }
    }

    /// Seconds that the rest will take; `None` before anything was done.
    pub fn left(&self) -> Option<f64> {
        let left: f64 = self.left.iter().sum();
        (self.seconds > 0.0 && self.done > 0.0).then(|| left * self.seconds / self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done_lately() {
        let mut eta = Eta::new(vec![1000.0, 1000.0]);
        assert_eq!(eta.left(), None);
        eta.begins(0, 0.0, 5.0);
        assert_eq!(eta.left(), None);
        // Ten a second, in rows that cost 1 and 9, of which two may come at once.
        for second in 6..=45 {
            eta.row(0, 9.0, f64::from(second));
            eta.row(0, 1.0, f64::from(second));
        }
        assert!((eta.left().unwrap() - 160.0).abs() < 1e-9 && (eta.share() - 0.2).abs() < 1e-12);
        // Then half as fast, for two minutes: what was before is almost forgotten.
        (1..=120).for_each(|i| eta.row(0, 5.0, 45.0 + f64::from(i)));
        let left = eta.left().unwrap();
        assert!((0.95..1.0).contains(&(left / 200.0)), "{left}");
    }

    #[test]
    fn what_has_ended_or_was_done_before_takes_no_more_time() {
        let mut eta = Eta::new(vec![100.0, 200.0, 300.0]);
        eta.ended(0);
        eta.begins(1, 0.5, 0.0);
        eta.row(1, 10.0, 1.0);
        assert!((eta.left().unwrap() - 39.0).abs() < 1e-9);
        // It diverges.
        eta.ended(1);
        assert!((eta.left().unwrap() - 30.0).abs() < 1e-9);
        eta.ended(2);
        assert_eq!((eta.left(), eta.share()), (Some(0.0), 1.0));
        assert_eq!(Eta::new(Vec::new()).share(), 1.0);
    }
}
