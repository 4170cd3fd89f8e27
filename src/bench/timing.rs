//! Times of one repeated piece of work.

use serde::Serialize;
use std::time::Instant;

/// Seconds per repetition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Time {
    /// The median.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// How many times were measured.
    pub runs: usize,
    /// Each measured time is the mean of this many repetitions.
    pub each: usize,
}

impl Time {
    /// Summarises measured times; there is at least one. Each is the mean of `each` repetitions.
    pub fn of(mut seconds: Vec<f64>, each: usize) -> Time {
        seconds.sort_by(f64::total_cmp);
        let runs = seconds.len();
        Time { median: seconds[runs / 2], min: seconds[0], max: seconds[runs - 1], runs, each }
    }
}

/// Times `work`: twice uncounted, then until `seconds` have passed, but at least three and at most 1,000 times.
pub fn time(seconds: f64, work: impl FnMut()) -> Time {
    up_to(1000, seconds, work)
}

/// Times `work` likewise, but as often as `seconds` allow.
pub fn time_all(seconds: f64, work: impl FnMut()) -> Time {
    up_to(1 << 22, seconds, work)
}

fn up_to(most: usize, seconds: f64, mut work: impl FnMut()) -> Time {
    work();
    work();
    let (began, mut times) = (Instant::now(), Vec::with_capacity(1000));
    while times.len() < 3 || (times.len() < most && began.elapsed().as_secs_f64() < seconds) {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
    }
    Time::of(times, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_lies_between_the_ends() {
        let mut calls = 0;
        let time = time(0.0, || calls += 1);
        assert_eq!((time.runs, calls), (3, 5));
        assert!(time.min <= time.median && time.median <= time.max);
    }
}
