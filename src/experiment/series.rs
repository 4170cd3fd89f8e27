//! Reads a finished run's logs as numbers.

use crate::files::disk;
use crate::{Error, Result};
use std::path::Path;

/// The largest `metrics.csv` that is read; it has 15 million rows.
const METRICS_CAP: u64 = 1 << 30;

/// What a run logged about its training.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Training {
    /// Loss on the batch of step t, from t = 0.
    pub loss: Vec<f64>,
    /// Accuracy on that batch; NaN for a network without classes.
    pub accuracy: Vec<f64>,
    /// Loss on the test set; NaN where it was not measured.
    pub test_loss: Vec<f64>,
    /// Accuracy on the test set; NaN where it was not measured.
    pub test_accuracy: Vec<f64>,
    /// Seconds from the run's beginning to each row.
    pub seconds: Vec<f64>,
}

/// Reads a run's `metrics.csv`. Errors: it is missing, or has another form.
pub fn training(run: &Path) -> Result<Training> {
    let path = run.join("metrics.csv");
    let text = disk::read_text_capped(&path, METRICS_CAP)?;
    let mut found = Training::default();
    for (number, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number_at = |i: usize| match fields.get(i) {
            Some(&"") => Ok(f64::NAN),
            Some(field) => field.parse().map_err(|_| ()),
            None => Err(()),
        };
        let (Ok(loss), Ok(accuracy), Ok(test_loss), Ok(test_accuracy), Ok(seconds)) =
            (number_at(2), number_at(3), number_at(4), number_at(5), number_at(7))
        else {
            return Err(Error::file(
                &path,
                format!("line {} is no row", number + 1),
                "the log of a finished run is needed",
            ));
        };
        found.loss.push(loss);
        found.accuracy.push(accuracy);
        found.test_loss.push(test_loss);
        found.test_accuracy.push(test_accuracy);
        found.seconds.push(seconds);
    }
    Ok(found)
}

/// Means over windows of `width` steps, each at the middle of its window.
pub fn smoothed(values: &[f64], width: usize) -> Vec<(f64, f64)> {
    let width = width.max(1);
    let mean = |w: &[f64]| w.iter().sum::<f64>() / w.len() as f64;
    let window = |(i, w): (usize, &[f64])| ((i * width) as f64 + (w.len() - 1) as f64 / 2.0, mean(w));
    values.chunks(width).enumerate().map(window).collect()
}

/// The median of some numbers; NaN where there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_windows() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
        assert_eq!(smoothed(&[1.0, 3.0, 5.0], 2), [(0.5, 2.0), (2.0, 5.0)]);
    }
}
