//! An experiment as data: a TOML file that names runs.

use crate::train::Settings;
use crate::{Error, Result};
use toml::{Table, Value};

/// The experiment that `normscape reproduce demo` makes.
pub const DEMO: (&str, &str) = ("experiments/demo.toml", include_str!("../../experiments/demo.toml"));

/// What `data` says in an experiment for CIFAR-10 where it is found and generated images elsewhere.
const PICTURES: &str = "pictures";

/// Several runs and what they are for.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In one line.
    pub title: String,
    /// In the file's order, seeds next to one another.
    pub runs: Vec<PlannedRun>,
}

/// One run of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRun {
    /// Its folder's name: the group's, with the kind of pictures and, of several seeds, the seed.
    pub id: String,
    /// The group of seeds that it belongs to.
    pub group: String,
    /// What figures and tables call the group.
    pub label: String,
    /// Its settings, resolved.
    pub settings: Settings,
}

impl Plan {
    /// Reads an experiment. `pictures` is where images come from: a path, or `images`; `first_seed` is the seed of each group's
    /// first run; `seeds`, where given, replaces the file's numbers of seeds.
    ///
    /// Errors name `file` and the run: bad TOML, an unknown key, a value that `train` would refuse.
    pub fn read(file: &str, text: &str, pictures: &str, first_seed: u64, seeds: Option<u64>) -> Result<Plan> {
        let bad = |problem: String| Error::input(file, problem, "see the options of normscape train");
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| bad(e.message().to_owned()))?;
        let title = match table.remove("title") {
            Some(Value::String(title)) => title,
            _ => return Err(bad("no title".into())),
        };
        let Some(Value::Array(entries)) = table.remove("run") else { return Err(bad("no [[run]]".into())) };
        if let Some(key) = table.keys().next() {
            return Err(bad(format!("unknown key {key}")));
        }
        let mut runs = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            let Value::Table(mut entry) = entry else { return Err(bad(format!("run {} is not a table", number + 1))) };
            let Some(group) = take_text(&mut entry, "id") else {
                return Err(bad(format!("run {} has no id", number + 1)));
            };
            let label = take_text(&mut entry, "label").unwrap_or_else(|| group.clone());
            let count = match entry.remove("seeds") {
                None => 1,
                Some(Value::Integer(n)) if (1..=1000).contains(&n) => n as u64,
                Some(other) => return Err(bad(format!("run {group}: seeds = {other}"))),
            };
            let mut name = group.clone();
            if entry.get("data").and_then(Value::as_str) == Some(PICTURES) {
                // Runs on the one kind of picture are not runs on the other.
                name += if pictures == "images" { "-images" } else { "-cifar10" };
                entry.insert("data".into(), Value::String(pictures.to_owned()));
            }
            // The number of seeds of a group that has several; a single run stays one.
            let count = if count > 1 { seeds.unwrap_or(count) } else { 1 };
            for seed in first_seed..first_seed + count {
                let settings = settings(&entry, seed).map_err(|e| bad(format!("run {group}: {e}")))?;
                let id = if count > 1 { format!("{name}-{seed}") } else { name.clone() };
                runs.push(PlannedRun { id, group: group.clone(), label: label.clone(), settings });
            }
        }
        Ok(Plan { title, runs })
    }
}

fn take_text(table: &mut Table, key: &str) -> Option<String> {
    match table.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A model's default settings with a run's keys laid over them.
fn settings(entry: &Table, seed: u64) -> Result<Settings> {
    let internal = |e: String| Error::input("settings", e, "a value of the option's own type is needed");
    let model = entry.get("model").and_then(Value::as_str).ok_or_else(|| internal("no model".into()))?;
    let mut all =
        Table::try_from(Settings { seed, ..Settings::defaults(model) }).map_err(|e| internal(e.to_string()))?;
    for (key, value) in entry {
        all.insert(key.clone(), value.clone());
    }
    // `Settings` refuses unknown keys.
    let mut settings: Settings = all.try_into().map_err(|e: toml::de::Error| internal(e.message().to_owned()))?;
    settings.resolve()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_a_plan() {
        let plan = Plan::read(DEMO.0, DEMO.1, "images", 1, None).unwrap();
        assert_eq!(plan.runs.len(), 8);
        assert_eq!(plan.runs[1].id, "dln-none-2");
        assert_eq!((plan.runs[6].id.as_str(), plan.runs[6].settings.data.as_str()), ("vgg-none-images", "images"));
        assert_eq!(plan.runs[6].settings.seed, 1);
        assert_eq!(Plan::read(DEMO.0, DEMO.1, "images", 1, Some(5)).unwrap().runs.len(), 12);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let run = "[[run]]\nid = \"a\"\nmodel = \"dln\"\n";
        let title = "title = \"t\"\n";
        for (text, part) in [
            (format!("{title}{run}stepps = 3\n"), "stepps"),
            (format!("{title}{run}steps = \"many\"\n"), "run a"),
            (format!("{title}{run}lr = -1.0\n"), "--lr"),
            (format!("{title}other = 1\n{run}"), "other"),
            (run.to_owned(), "title"),
            (title.to_owned(), "[[run]]"),
            ("title = ".to_owned(), "x.toml"),
        ] {
            let error = Plan::read("x.toml", &text, "images", 1, None).expect_err(&text).to_string();
            assert!(error.contains(part) && error.starts_with("x.toml"), "{error}");
        }
    }
}
