//! Parses the competitors' output: a few numbers from JSON, and a run's CSV.

use super::Measured;

/// The median and the least seconds per step: `"median"` and `"min"` in the `"time"` of JSON on one or more lines.
pub fn times(json: &str) -> Option<Measured> {
    let time = &json[json.find("\"time\"")?..];
    Some(Measured { median: number(time, "median")?, least: number(time, "min")?, mean: false })
}

/// The number that follows the first `"key":`.
fn number(json: &str, key: &str) -> Option<f64> {
    let value = value(json, key)?;
    let end = value.find([',', '}', '\n', ' ']).unwrap_or(value.len());
    value[..end].parse().ok()
}

fn value<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    let rest = &json[json.find(&quoted)? + quoted.len()..];
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// The mean seconds per step from `metrics.csv`, whose last column is the time since the run's beginning. The first sixth is not counted.
/// The times are in milliseconds, too coarse to tell single steps apart.
pub fn mean_of_metrics(csv: &str) -> Option<f64> {
    let mut lines = csv.lines();
    lines.next()?.ends_with(",seconds").then_some(())?;
    let seconds: Option<Vec<f64>> = lines.map(|line| line.rsplit(',').next()?.parse().ok()).collect();
    let seconds = seconds?;
    let first = seconds.len() / 6;
    let steps = seconds.len().checked_sub(first + 1).filter(|steps| *steps > 0)?;
    Some((seconds.last()? - seconds[first]) / steps as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_json_are_read() {
        let peer = r#"{"model": "vgg16", "torch": "2.15.0+cpu", "loss": null, "time": {"median": 0.25, "min": 2e-1, "max": 1.0, "runs": 3}}"#;
        let own = "{\n  \"name\": \"dln-batch\",\n  \"time\": {\n    \"median\": 0.00054,\n    \"min\": 0.0005\n  },\n  \"commit\": \"abc\"\n}\n";
        assert_eq!(times(peer), Some(Measured { median: 0.25, least: 0.2, mean: false }));
        assert_eq!(times(own), Some(Measured { median: 0.00054, least: 0.0005, mean: false }));
        assert_eq!(times("{\"median\": 1, \"min\": 1}"), None);
        assert_eq!(times("{\"time\": {\"median\": \"soon\", \"min\": 1}}"), None);
    }

    #[test]
    fn a_mean_leaves_out_the_first_sixth() {
        let rows: Vec<_> = (0..12)
            .map(|i| format!("{i},0,1.5,,,,0.1,{:.3}", if i < 2 { 0.0 } else { 1.0 + 0.25 * f64::from(i) }))
            .collect();
        let csv = format!("step,epoch,loss,train_accuracy,test_loss,test_accuracy,lr,seconds\n{}\n", rows.join("\n"));
        assert_eq!(mean_of_metrics(&csv), Some(0.25));
        assert_eq!(mean_of_metrics("step,loss\n0,1\n1,1\n"), None);
        assert_eq!(mean_of_metrics("step,seconds\n0,0.1\n"), None);
    }
}
