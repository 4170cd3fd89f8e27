//! `--resume`: the settings come from the run, and the other options may change only what does not change its results.

use super::train_options::TrainOptions;
use crate::train::Settings;
use crate::{Error, Result};
use serde_json::Value;

/// The settings that may differ: the number of steps, how often the run is saved, and where the same data are.
const FREE: [&str; 3] = ["steps", "checkpoint_every", "data"];

/// The stored settings, with the changes that the options make. `precision` is the value of `--precision`, where it was given.
///
/// Errors: an option differs from the run's setting and is not one that may; or it asks for fewer steps than the run's settings.
pub fn settings(stored: &Settings, options: &TrainOptions, precision: Option<&str>) -> Result<Settings> {
    let mut wanted = stored.clone();
    options.overwrite(&mut wanted)?;
    if let Some(precision) = precision {
        wanted.precision = precision.into();
    }
    // An option of the other network, or out of range, differs from the run too: that is the more helpful thing to say.
    let mut named = wanted.clone();
    if named.norm == "noisy" {
        (named.norm, named.noise) = ("batch".into(), true);
    }
    named.probe_at.sort_unstable();
    named.probe_at.dedup();
    named.probe_layers.sort_unstable();
    named.probe_layers.dedup();
    if let Some((name, was, is)) = difference(stored, &named) {
        let option = name.replace('_', "-");
        let problem = format!("the run's is {was}");
        return Err(Error::input(format!("--{option} {is}"), problem, "leave it out, or start another run"));
    }
    wanted.resolve()?;
    if wanted.steps < stored.steps {
        let problem = format!("the run's are {}", stored.steps);
        return Err(Error::input(format!("--steps {}", wanted.steps), problem, "they can only grow"));
    }
    Ok(wanted)
}

/// The first setting that differs and must not: its name, and both values.
fn difference(stored: &Settings, wanted: &Settings) -> Option<(String, String, String)> {
    let (Ok(Value::Object(stored)), Ok(Value::Object(wanted))) =
        (serde_json::to_value(stored), serde_json::to_value(wanted))
    else {
        return None;
    };
    let names = wanted.keys().filter(|name| !FREE.contains(&name.as_str()));
    let differing = names.filter(|name| stored.get(*name) != wanted.get(*name)).map(|name| {
        let shown = |from: &serde_json::Map<String, Value>| from.get(name).map_or_else(|| "not set".into(), shown);
        (name.clone(), shown(&stored), shown(&wanted))
    });
    differing.into_iter().next()
}

/// A value as it would be written on the command line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(several) => several.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Settings {
        let mut stored =
            Settings { norm: "noisy".into(), data: "images".into(), steps: 50, ..Settings::defaults("vgg11") };
        stored.resolve().unwrap();
        stored
    }

    #[test]
    fn what_does_not_change_the_results_may_be_given() {
        let options = TrainOptions {
            steps: Some(60),
            checkpoint_every: Some(7),
            data: Some("elsewhere".into()),
            norm: Some("noisy".into()),
            lr: Some(0.1),
            ..TrainOptions::default()
        };
        let got = settings(&stored(), &options, Some("f32")).unwrap();
        let want = Settings { steps: 60, checkpoint_every: Some(7), data: "elsewhere".into(), ..stored() };
        assert_eq!(got, want);
        assert_eq!(settings(&stored(), &TrainOptions::default(), None).unwrap(), stored());
    }

    #[test]
    fn every_other_difference_is_refused_by_name() {
        let options = TrainOptions::default;
        let cases = [
            ("--lr 0.2", TrainOptions { lr: Some(0.2), ..options() }),
            ("--lr ", TrainOptions { lr: Some(f64::NAN), ..options() }),
            ("--norm none", TrainOptions { norm: Some("none".into()), ..options() }),
            ("--model dln", TrainOptions { model: Some("dln".into()), ..options() }),
            ("--seed 3", TrainOptions { seed: Some(3), ..options() }),
            ("--augment true", TrainOptions { augment: true, ..options() }),
            ("--limit-train 10", TrainOptions { limit_train: Some(10), ..options() }),
            ("--probe landscape", TrainOptions { probe: Some(vec!["landscape".into()]), ..options() }),
            ("--batch 0", TrainOptions { batch: Some(0), ..options() }),
            ("--steps 49", TrainOptions { steps: Some(49), ..options() }),
            ("--keep-checkpoints 9", TrainOptions { keep_checkpoints: Some(9), ..options() }),
        ];
        for (place, options) in cases {
            let message = settings(&stored(), &options, None).unwrap_err().to_string();
            assert!(message.starts_with(place), "{place}: {message}");
        }
        let message = settings(&stored(), &options(), Some("f64")).unwrap_err().to_string();
        assert!(message.starts_with("--precision f64: the run's is f32"), "{message}");
    }
}
