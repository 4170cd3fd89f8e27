//! Varied keys: all combinations of values, and texts with values filled in.

use std::collections::BTreeMap;
use toml::Value;

/// The text with `{key}` replaced by a value.
pub(super) fn filled(text: &str, key: &str, value: &Value) -> String {
    text.replace(&format!("{{{key}}}"), &shown(value))
}

/// A value as it is written in an id.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // The shortest that reads back: 1e-6, 0.1, 3.
        Value::Float(number) => format!("{number:?}").trim_end_matches(".0").to_owned(),
        other => other.to_string(),
    }
}

/// All choices of one value for each key; one empty choice where there are no keys.
pub(super) fn combinations(vary: &BTreeMap<String, Vec<Value>>) -> Vec<Vec<(&String, &Value)>> {
    vary.iter().fold(vec![Vec::new()], |all, (key, values)| {
        all.iter()
            .flat_map(|chosen: &Vec<(&String, &Value)>| {
                values.iter().map(move |value| {
                    let mut chosen = chosen.clone();
                    chosen.push((key, value));
                    chosen
                })
            })
            .collect()
    })
}
