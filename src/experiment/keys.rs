//! Finds unknown keys of runs when a file is read, whatever the scale, so that the error can give the line.

use crate::train::Settings;
use crate::{Error, Result};
use toml::Table;
use toml::de::{DeTable, DeValue};

/// The keys of a run that are not options of `train`.
const OF_RUN: [&str; 7] = ["id", "base", "look", "label", "seeds", "scales", "vary"];
/// The tables of options for one scale.
const SCALES: [&str; 4] = ["smoke", "quick", "overnight", "paper"];

/// Refuses an unknown key of a `[[run]]` or a `[base.NAME]`, one that is neither its own nor an option of `train`. Also refuses
/// `precision`, which all runs share.
///
/// Errors name `file` and the line. `text` is TOML that has already been parsed.
pub fn check(file: &str, text: &str) -> Result<()> {
    let Ok(whole) = DeTable::parse(text) else { return Ok(()) };
    let keys = Keys { file, text, options: options()? };
    if let Some(DeValue::Array(runs)) = whole.get_ref().get("run").map(|of| of.get_ref()) {
        for run in runs.iter().filter_map(|run| run.get_ref().as_table()) {
            let id = run.get("id").and_then(|id| id.get_ref().as_str()).unwrap_or_default();
            keys.table(&format!("run {id}"), run, &OF_RUN)?;
        }
    }
    if let Some(bases) = whole.get_ref().get("base").and_then(|of| of.get_ref().as_table()) {
        for (name, base) in bases.iter() {
            base.get_ref()
                .as_table()
                .map_or(Ok(()), |base| keys.table(&format!("base {}", name.get_ref()), base, &[]))?;
        }
    }
    Ok(())
}

struct Keys<'a> {
    file: &'a str,
    text: &'a str,
    options: Table,
}

impl Keys<'_> {
    /// Checks a run or a base, its tables for one scale, and what it varies.
    fn table(&self, whose: &str, table: &DeTable, own: &[&str]) -> Result<()> {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let inner = value.get_ref().as_table();
            match inner {
                Some(inner) if SCALES.contains(&name) => self.options_in(whose, inner)?,
                Some(inner) if name == "vary" && own.contains(&name) => self.options_in(whose, inner)?,
                _ if own.contains(&name) => {}
                _ => self.option(whose, name, key.span().start)?,
            }
        }
        Ok(())
    }

    fn options_in(&self, whose: &str, table: &DeTable) -> Result<()> {
        table.keys().try_for_each(|key| self.option(whose, key.get_ref(), key.span().start))
    }

    fn option(&self, whose: &str, name: &str, at: usize) -> Result<()> {
        let line = 1 + self.text.get(..at).map_or(0, |before| before.matches('\n').count());
        let place = format!("{}, line {line}", self.file);
        match name {
            "precision" => {
                let problem = format!("{whose}: a precision of its own");
                Err(Error::input(place, problem, "--precision says that of all runs"))
            }
            _ if self.options.contains_key(name) => Ok(()),
            _ => {
                let right =
                    "see the options of normscape train; smoke, quick, overnight and paper hold those for one scale";
                Err(Error::input(place, format!("{whose}: no option {name}"), right))
            }
        }
    }
}

/// All options of `train`, with `_` for `-`, as settings name them.
fn options() -> Result<Table> {
    // Settings leave out what is not given.
    let all = Settings {
        limit_train: Some(1),
        limit_test: Some(1),
        eval_every: Some(1),
        checkpoint_every: Some(1),
        probe_every: Some(1),
        ..Settings::defaults("vgg11")
    };
    Table::try_from(all).map_err(|e| Error::input("settings", e.to_string(), "a value of each option's type is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "title = \"a\"\n\n[[run]]\nid = \"one\"\nmodel = \"dln\"\n[run.paper]\nsteps = 5\n[[run]]\nid = \"two\"\n\
                        vary.norm = [\"batch\"]\nquick = { eval_every = 5, probe_every = 1 }\n[base.x]\nlr = 0.1\n";

    #[test]
    fn a_key_that_no_run_has_is_found_at_every_scale_with_its_line() {
        check("own.toml", TEXT).unwrap();
        for (from, to, line, says) in [
            ("model =", "modell =", 5, "run one: no option modell"),
            ("steps = 5", "stepz = 5", 7, "run one: no option stepz"),
            ("[run.paper]", "[run.papre]", 6, "run one: no option papre"),
            ("vary.norm", "vary.nrom", 10, "run two: no option nrom"),
            ("eval_every", "evall_every", 11, "run two: no option evall_every"),
            ("lr = 0.1", "rate = 0.1", 13, "base x: no option rate"),
            ("steps = 5", "precision = \"f64\"", 7, "run one: a precision of its own"),
        ] {
            let message = check("own.toml", &TEXT.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.starts_with(&format!("own.toml, line {line}: {says}")), "{message}");
        }
    }

    #[test]
    fn every_setting_is_known() {
        let known = options().unwrap();
        let unknown = toml::from_str::<Settings>("no_such_option = 1").unwrap_err().to_string();
        // Serde's message lists every field.
        let fields: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
        assert!(fields.len() > 30, "{unknown}");
        fields.iter().for_each(|field| assert!(known.contains_key(*field), "{field}"));
    }
}
