//! Holds the model to measurements: what `normscape bench --full --layers --json` wrote on a card, kept in `benches/results` as a `.json` file.
//!
//! A step and each pass of each layer that takes a fiftieth of it or more must lie within the model's range, or within 25 % of an end of it.

use super::card::Card;
use super::counted::Step;
use super::report::total;
use super::time::Predicted;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How far beyond its range the model may be wrong.
const ALLOWED: f64 = 0.25;
/// Parts of a step that take less of it are not looked at.
const SHARE: f64 = 0.02;

#[derive(Deserialize)]
struct Results {
    device: String,
    precision: String,
    steps: Vec<Measured>,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Measured {
    name: String,
    time: Time,
}

#[derive(Deserialize)]
struct Time {
    median: f64,
}

#[derive(Deserialize)]
struct Layer {
    layer: String,
    pass: String,
    seconds: f64,
}

/// What came of it.
pub struct Held {
    /// Whether every measurement agrees; true where there is none.
    pub agree: bool,
    pub lines: Vec<String>,
}

/// Compares with every file of the folder that is of this card, precision and step; one that names no device is no measurement of one. Errors: a folder
/// or a file that cannot be read.
pub fn held(folder: &Path, step: &Step, card: &Card, nodes: &[Predicted]) -> Result<Held, String> {
    let told = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let mut files: Vec<_> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| told(folder, &e))? {
        let path = entry.map_err(|e| told(folder, &e))?.path();
        if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    files.sort();
    let mut held = Held { agree: true, lines: Vec::new() };
    let mut found = false;
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|e| told(&path, &e))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| told(&path, &e))?;
        if value.get("device").is_none() {
            // The results of something else.
            continue;
        }
        let results: Results = serde_json::from_value(value).map_err(|e| told(&path, &e))?;
        if !results.device.contains(&card.device) || results.precision != step.precision {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for measured in results.steps.iter().filter(|m| m.name == step.name) {
            found = true;
            held.compare(&name, &step.name, measured.time.median, total(nodes, card));
        }
        // The layers are those of the first network that is timed.
        if results.steps.first().is_some_and(|m| m.name == step.name) {
            held.layers(&name, &results.layers, nodes);
        }
    }
    if !found {
        held.lines.push(format!(
            "No measurement of {} in {} on such a card is kept to compare with.",
            step.name, step.precision
        ));
    }
    Ok(held)
}

impl Held {
    fn compare(&mut self, file: &str, what: &str, seconds: f64, [slow, fast]: [f64; 2]) {
        let agrees = seconds <= slow * (1.0 + ALLOWED) && seconds >= fast * (1.0 - ALLOWED);
        self.agree &= agrees;
        let verdict = if agrees { "agrees with" } else { "lies beyond 25 % of" };
        let [seconds, fast, slow] = [seconds, fast, slow].map(|s| 1e6 * s);
        self.lines
            .push(format!("{file}: {what}: {seconds:.1} µs measured {verdict} the model's {fast:.1}–{slow:.1} µs"));
    }

    fn layers(&mut self, file: &str, layers: &[Layer], nodes: &[Predicted]) {
        let mut all: BTreeMap<(&str, &str), [f64; 2]> = BTreeMap::new();
        for node in nodes {
            let sum = all.entry((&node.layer, &node.pass)).or_default();
            sum.iter_mut().zip(node.seconds).for_each(|(sum, seconds)| *sum += seconds);
        }
        let whole: f64 = layers.iter().map(|layer| layer.seconds).sum();
        for Layer { layer, pass, seconds } in layers.iter().filter(|layer| layer.seconds >= SHARE * whole) {
            if let Some(&range) = all.get(&(&**layer, &**pass)) {
                self.compare(file, &format!("{layer}, {pass}"), *seconds, range);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::counted::tests::node;
    use super::super::l2::L2;
    use super::super::time::predict;
    use super::*;

    /// A folder of results that is gone afterwards.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, String)]) -> Folder {
            let folder = std::env::temp_dir().join(format!("normscape-model-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            files.iter().for_each(|(file, text)| std::fs::write(folder.join(file), text).unwrap());
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn results(device: &str, precision: &str, median: f64, layer: f64) -> String {
        // As `bench --full --layers --json` writes it, with what is not read left out.
        serde_json::json!({
            "device": device, "precision": precision, "limits": { "copy": 1.0 },
            "steps": [{ "name": "vgg16-1-batch", "time": { "median": median, "min": median, "runs": 3 }, "bytes": 5 }],
            "layers": [{ "layer": "conv2, 64→64 at 32²", "pass": "forward", "seconds": layer, "launches": 1 }],
            "kernels": [],
        })
        .to_string()
    }

    #[test]
    fn a_measurement_beyond_25_per_cent_of_the_range_fails() {
        let card = Card::named("h200").unwrap();
        let step = Step {
            commit: String::new(),
            precision: "bf16".into(),
            name: "vgg16-1-batch".into(),
            batch: 128,
            sampled: None,
            work: vec![node()],
        };
        let mut predicted = predict(&step.work[0], None, &card, &mut L2::new(1.0));
        predicted.seconds = [40e-6, 20e-6];
        let held = |name: &str, results: String| {
            let folder = Folder::new(name, &[("card.json", results), ("notes.md", "no JSON".into())]);
            held(&folder.0, &step, &card, std::slice::from_ref(&predicted))
        };
        for (name, step, layer, agree) in [
            ("within", 30e-6, 30e-6, true),
            ("just", 49e-6, 15.1e-6, true),
            ("slow", 51e-6, 30e-6, false),
            ("fast", 14e-6, 30e-6, false),
            ("layer", 30e-6, 51e-6, false),
        ] {
            let found = held(name, results("NVIDIA H200", "bf16", step, layer)).unwrap();
            assert_eq!((found.agree, found.lines.len()), (agree, 2), "{name}: {:?}", found.lines);
            assert_eq!(found.lines.iter().any(|line| line.contains("lies beyond 25 %")), !agree, "{name}");
        }
        // Another card, another precision: nothing is held.
        for (name, device, precision) in [("card", "NVIDIA A100", "bf16"), ("precision", "NVIDIA H200", "f32")] {
            let found = held(name, results(device, precision, 1.0, 1.0)).unwrap();
            assert!(found.agree && found.lines.len() == 1 && found.lines[0].starts_with("No measurement"), "{name}");
        }
        assert!(held("another", "{}".into()).is_ok_and(|found| found.agree));
        for (name, broken) in [("cut", r#"{"device": "NVIDIA H2"#), ("less", r#"{"device": "NVIDIA H200"}"#)] {
            assert!(held(name, broken.into()).is_err(), "{name}");
        }
    }
}
