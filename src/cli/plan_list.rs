//! The runs of a plan as a list, for people and for programs, with or without times.

use super::Answer;
use super::progress::duration;
use crate::experiment::memory;
use crate::experiment::plan::Plan;
use crate::report::{Cell, Table};
use crate::train::Settings;
use crate::{Error, Result};
use serde_json::{Value, json};

/// The answer to `--list-runs`: every run, without times. `at_once` is how many runs would go at once.
pub fn answer(plan: &Plan, at_once: usize, as_json: bool) -> Result<Answer> {
    if !as_json {
        return Ok(Answer::text(table(plan, None).to_string()));
    }
    let [_, bytes] = memory::bytes(plan, at_once)?;
    Ok(Answer::json(&json!({ "runs": json(plan, None)?, "at_once": at_once, "bytes": whole(bytes) })))
}

/// A byte count as JSON can hold it.
pub fn whole(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// One row per run, with the time that it takes alone where that is known.
pub fn table(plan: &Plan, seconds: Option<&[f64]>) -> Table {
    let columns = ["run", "network", "norm", "rate", "steps", "seed"];
    let mut table = Table::new(columns.into_iter().chain(seconds.map(|_| "time alone")));
    for (number, (_, name, s)) in plan.runs().enumerate() {
        let network = if s.deep_linear() { s.model.clone() } else { format!("{} × {}", s.model, s.width) };
        let cells = [
            Cell::from(name),
            Cell::from(network),
            Cell::from(if s.noise { format!("{} + noise", s.norm) } else { s.norm.clone() }),
            Cell::number(format!("{}", s.lr)),
            Cell::from(s.steps),
            Cell::from(s.seed),
        ];
        let time = seconds.and_then(|seconds| seconds.get(number)).map(|seconds| Cell::number(duration(*seconds)));
        table.row(cells.into_iter().chain(time));
    }
    table
}

/// One object per run: its name, its group, all its settings, and the time that it takes alone where that is known.
///
/// Errors: JSON cannot hold the settings.
pub fn json(plan: &Plan, seconds: Option<&[f64]>) -> Result<Vec<Value>> {
    let one = |(number, (group, name, settings)): (usize, (&crate::experiment::runs::Group, &str, &Settings))| {
        let mut run = json!({
            "run": name,
            "group": group.id,
            "network": settings.model,
            "norm": settings.norm,
            "rate": settings.lr,
            "steps": settings.steps,
            "seed": settings.seed,
            "settings": serde_json::to_value(settings).map_err(|e| Error::input(name, e.to_string(), "give other settings"))?,
        });
        if let Some(seconds) = seconds.and_then(|seconds| seconds.get(number)) {
            run["seconds"] = json!(seconds);
        }
        Ok(run)
    };
    plan.runs().enumerate().map(one).collect()
}
