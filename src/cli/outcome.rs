//! What `reproduce` says in a report about how it was made, and what it answers once everything is written.

use super::Answer;
use super::progress::duration;
use crate::Error;
use crate::experiment::assemble::{About, Made};
use crate::experiment::plan::Plan;
use crate::experiment::runs::Request;
use crate::report::{Cell, ClaimKind, ClaimRow, Table, Verdict};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The precision of the runs, and that of deep linear networks where it differs.
pub fn precisions(request: &Request) -> String {
    let Request { precision, precision_of_dln, .. } = request;
    match precision == precision_of_dln {
        true => precision.clone(),
        false => format!("{precision}; deep linear networks {precision_of_dln}"),
    }
}

/// How a plan was made: the device's name and the program's version, and what differs between two reproductions, for people (`cost`) and as
/// data. The date is added to both.
pub fn about(
    plan: &Plan,
    device: &str,
    version: &str,
    cost: Vec<(&str, String)>,
    mut timings: Map<String, Value>,
) -> About {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let written = ("written (seconds since 1970, UTC)".to_owned(), now.to_string());
    timings.insert("written".into(), now.into());
    About {
        device: format!("{device} ({})", precisions(&plan.request)),
        version: version.into(),
        pictures: match plan.request.pictures.as_str() {
            "images" => "generated images of textured shapes".into(),
            _ => "CIFAR-10".into(),
        },
        cost: std::iter::once(written).chain(cost.into_iter().map(|(name, value)| (name.into(), value))).collect(),
        timings: Value::Object(timings),
    }
}

/// The command's answer: the verdicts, and where the files are. With `strict`, a refuted claim is an error.
pub fn answer(made: &Made, scale: &str, out: &Path, seconds: f64, strict: bool, as_json: bool) -> Answer {
    let counts = |row: &ClaimRow| row.verdict == Verdict::NotBorneOut && row.kind != ClaimKind::Sensitivity;
    let refuted = made.claims.iter().filter(|claim| counts(&claim.row));
    let refuted: Vec<String> = refuted.map(|claim| claim.row.id.clone()).collect();
    let failed = (strict && !refuted.is_empty()).then_some(Error::ClaimsFailed { claims: refuted });
    let answer = if as_json {
        let verdicts: Map<String, Value> =
            made.counts().into_iter().map(|(verdict, count)| (verdict.word().into(), count.into())).collect();
        let list: Vec<Value> = made.claims.iter().map(|claim| claim.json(scale)).collect();
        Answer::json(&json!({
            "out": out.to_string_lossy(), "report": made.report.to_string_lossy(), "claims": list, "verdicts": verdicts,
        }))
    } else {
        let mut table = Table::new(["claim", "where", "verdict", "what the paper says"]);
        for claim in &made.claims {
            let row = &claim.row;
            table
                .row([row.id.as_str(), row.place.as_str(), row.verdict.word(), row.statement.as_str()].map(Cell::from));
        }
        let words = format!("\n{} {}\nreport: {}\n", made.outcome(), duration(seconds), made.report.display());
        Answer::text(if made.claims.is_empty() { words } else { table.to_string() + &words })
    };
    let answer = answer.in_files();
    match failed {
        Some(error) => answer.with(error.to_string(), error.exit_code()),
        None => answer,
    }
}
