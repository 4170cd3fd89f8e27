//! `normscape theory`: evaluates the paper's statements on random instances, and on the device's own BatchNorm.

use super::device::{self, Device, Job};
use super::device_options::Precision;
use super::{Answer, Globals, values};
use crate::Result;
use crate::ops::backend::Backend;
use crate::report::{Cell, Table, significant};
use crate::theory::loss::Family;
use crate::theory::row::{Kind, TOLERANCE};
use crate::theory::{self, Choice, own};
use serde_json::{Map, Value, json};

/// Options of `theory`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Options {
    /// Number of random instances
    #[arg(long, value_name = "N", default_value = "10000", value_parser = values::whole)]
    instances: u64,
    /// Samples in each instance, 2 to 256
    #[arg(long, value_name = "M", default_value = "8", value_parser = values::count)]
    m: usize,
    /// λ, the bound on ‖X‖ in Theorems 4.4 and C.1
    #[arg(long, value_name = "L", default_value = "1", value_parser = values::number)]
    lambda: f64,
    /// Which losses to use
    #[arg(long, value_name = "NAME", default_value = "all")]
    #[arg(value_parser = ["all", "quadratic", "indefinite", "linear", "logsumexp", "quartic"])]
    loss: String,
    /// Seed of the instances
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::whole)]
    seed: u64,
}

impl Options {
    fn choice(&self) -> Result<Choice> {
        let Options { instances, m, lambda, loss, seed } = self;
        let family = Family::ALL.into_iter().find(|family| family.name() == loss);
        let choice = Choice { instances: *instances, m: *m, lambda: *lambda, family, seed: *seed };
        choice.check(|name| format!("--{name}"))?;
        Ok(choice)
    }
}

/// Evaluates the statements and shows the results.
pub fn run(options: &Options, globals: &Globals) -> Result<Answer> {
    let choice = options.choice()?;
    let device = Device::choose(globals.device, globals.precision.unwrap_or(Precision::F32))?;
    let own = device.run(Own(&choice))?;
    device::announce(device, globals);
    let mut results = theory::run(&choice);
    results.extend(own);
    Ok(if globals.json { Answer::json(&programs(&choice, &results)) } else { Answer::text(people(&choice, &results)) })
}

struct Own<'a>(&'a Choice);

impl Job for Own<'_> {
    type Output = Vec<theory::Result>;
    fn run<B: Backend>(self, mut backend: B) -> Result<Self::Output> {
        own::run(&mut backend, self.0)
    }
}

fn programs(choice: &Choice, results: &[theory::Result]) -> Value {
    let mut map = Map::new();
    for result in results {
        let (row, tally) = (&result.row, &result.tally);
        let searched = result.found.map(|f| json!({ "residual": f.residual, "from_index": f.from, "steps": f.steps }));
        let value = json!({
            "kind": row.kind.name(),
            "says": row.says,
            "instances": tally.instances,
            "premise_held": tally.premise_held,
            "failed": tally.failed,
            "failing_share": tally.failing_share(),
            "max_residual": tally.max_residual(),
            "min_slack": tally.least_slack.map(|s| s.0),
            "holds": result.holds(),
            "worst": tally.worst.first().map(|w| json!({ "seed": choice.seed, "index": w.1, "residual": w.0 })),
            "searched": searched,
            "median_ratio": tally.median_ratio(),
        });
        map.insert(row.name.to_owned(), value);
    }
    Value::Object(map)
}

fn people(choice: &Choice, results: &[theory::Result]) -> String {
    let mut table = Table::new([
        "statement",
        "kind",
        "premise held",
        "fails",
        "residual",
        "searched",
        "least slack",
        "median",
        "holds",
    ]);
    let number = |x: Option<f64>| x.map_or("".into(), |x| Cell::number(significant(x, 2)));
    let mut legend = Table::new(["", ""]);
    for result in results {
        let (row, tally) = (&result.row, &result.tally);
        let percent = |share: f64| Cell::number(format!("{} %", significant(100.0 * share, 3)));
        table.row([
            row.name.into(),
            row.kind.name().into(),
            tally.premise_held.into(),
            tally.failing_share().map_or("".into(), percent),
            number((tally.premise_held > 0).then(|| tally.max_residual())),
            number(result.found.map(|f| f.residual)),
            number(tally.least_slack.filter(|_| row.kind != Kind::Identity).map(|s| s.0)),
            number(tally.median_ratio()),
            match (tally.premise_held, result.holds()) {
                (0, _) => "",
                (_, true) => "yes",
                (_, false) => "no",
            }
            .into(),
        ]);
        legend.row([row.name.into(), row.says.into()]);
    }
    let Choice { instances, m, lambda, family, seed } = choice;
    let loss = family.map_or("all", Family::name);
    let legend = legend.to_string().lines().skip(2).collect::<Vec<_>>().join("\n");
    let absolute = if *m == 2 { ", absolute since v is 0 at m = 2" } else { "" };
    format!(
        "{instances} instances of m = {m}, λ = {lambda}, losses {loss}, seed {seed}\n\n{table}\nResiduals and slack are in units of each \
         statement's scale{absolute}; below {TOLERANCE:e} they are rounding\n(rows own_…: below what the device's precision gives). \
         Shares are of the instances whose premise holds.\n\n{legend}"
    )
}
