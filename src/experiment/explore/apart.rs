//! Tells apart groups of runs with the same legend, by the settings in which they differ.

use super::super::runs::Group;
use crate::report::significant;
use toml::{Table, Value};

/// The settings that are tried first.
const FIRST: [&str; 2] = ["model", "lr"];
/// Settings that say how a run was made or measured, not what it is.
const NEVER: [&str; 5] = ["seed", "eval_every", "checkpoint_every", "keep_checkpoints", "precision"];

/// A name for each group such that no two groups with the same label share one: "DLN, lr 1e-6", else the group's id. `None` where labels
/// suffice.
pub fn names(groups: &[&Group]) -> Option<Vec<String>> {
    let mut words: Vec<Vec<String>> = vec![Vec::new(); groups.len()];
    twins(groups, &words).next()?;
    let all: Vec<Table> = groups.iter().map(|g| Table::try_from(g.settings()).unwrap_or_default()).collect();
    let mut keys: Vec<&str> = FIRST.to_vec();
    for key in all.iter().flat_map(Table::keys) {
        if !(keys.contains(&key.as_str()) || NEVER.contains(&key.as_str()) || key.starts_with("probe")) {
            keys.push(key);
        }
    }
    for key in keys {
        // A setting is named where two that are still the same differ in it.
        if twins(groups, &words).any(|(i, j)| all[i].get(key) != all[j].get(key)) {
            for (words, table) in words.iter_mut().zip(&all) {
                words.extend(table.get(key).map(|value| shown(key, value)));
            }
        }
    }
    let told = |i: usize| {
        let alone = twins(groups, &words).all(|(a, b)| a != i && b != i);
        if alone && !words[i].is_empty() { words[i].join(", ") } else { groups[i].id.clone() }
    };
    Some((0..groups.len()).map(told).collect())
}

/// The pairs of groups with the same name.
fn twins<'a>(groups: &'a [&Group], words: &'a [Vec<String>]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let pairs = (0..groups.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    pairs.filter(|&(i, j)| groups[i].label == groups[j].label && words[i] == words[j])
}

/// A setting in words.
fn shown(key: &str, value: &Value) -> String {
    match (key, value) {
        ("model", Value::String(model)) => model.to_uppercase().replace("VGG", "VGG-"),
        // Where it lies is this machine's own matter.
        ("data", Value::String(data)) if data != "images" && data != "gaussian" => "CIFAR-10".into(),
        ("data", Value::String(data)) => format!("generated {}", data.replace("gaussian", "samples")),
        (_, Value::Float(number)) => format!("{} {}", key.replace('_', " "), significant(*number, 4)),
        (_, Value::String(text)) => format!("{} {text}", key.replace('_', " ")),
        (_, Value::Boolean(on)) => format!("{}{}", if *on { "" } else { "no " }, key.replace('_', " ")),
        (_, other) => format!("{} {other}", key.replace('_', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;

    fn group(id: &str, label: &str, settings: Settings) -> Group {
        Group { id: id.into(), label: label.into(), style: 0, runs: vec![(id.into(), settings)] }
    }

    fn named(groups: &[Group]) -> Option<Vec<String>> {
        names(&groups.iter().collect::<Vec<_>>())
    }

    fn dln(lr: f64) -> Settings {
        Settings { lr, ..Settings::defaults("dln") }
    }

    #[test]
    fn groups_of_one_label_are_named_by_what_differs() {
        let rates = [
            group("dln-none-rate-1e-6", "no norm", dln(1e-6)),
            group("dln-batch-rate-1e-6", "BatchNorm", Settings { norm: "batch".into(), ..dln(1e-6) }),
            group("dln-none-rate-1e-7", "no norm", dln(1e-7)),
            group("dln-batch-rate-1e-7", "BatchNorm", Settings { norm: "batch".into(), ..dln(1e-7) }),
        ];
        assert_eq!(named(&rates[..2]), None, "labels that differ say enough");
        assert_eq!(named(&rates).unwrap(), ["lr 1e-6", "lr 1e-6", "lr 1e-7", "lr 1e-7"]);
        let both = [group("vgg-none", "no norm", Settings::defaults("vgg11")), rates[0].clone(), rates[2].clone()];
        assert_eq!(named(&both[..2]).unwrap(), ["VGG-11", "DLN"]);
        assert_eq!(named(&both).unwrap(), ["VGG-11, lr 0.1", "DLN, lr 1e-6", "DLN, lr 1e-7"]);
        let wide = |width| Settings { width, ..Settings::defaults("vgg11") };
        let widths = [group("a", "x", wide(0.5)), group("b", "x", wide(1.0))];
        assert_eq!(named(&widths).unwrap(), ["width 0.5", "width 1"]);
    }

    #[test]
    fn what_nothing_tells_apart_has_its_id() {
        let same = |id: &str| group(id, "no norm", Settings { probe: vec![id.into()], ..dln(1e-6) });
        assert_eq!(named(&[same("a"), same("b"), group("c", "other", dln(1e-6))]).unwrap(), ["a", "b", "c"]);
    }
}
