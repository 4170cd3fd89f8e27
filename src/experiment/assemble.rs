//! Writes the results of a reproduction: figures with their data, claims, timings, and the report.

use super::best;
use super::claims::{Judged, judge};
use super::evidence::Evidence;
use super::file::Form;
use super::plan::{Part, Plan};
use super::runs::{Group, Kind};
use super::{answer, deviations, explore, figures, headline, networks};
use crate::files::{atomic, disk};
use crate::report::{Captioned, Cell, ClaimKind, Page, Picture, Section, Table, Verdict, significant};
use crate::train::Settings;
use crate::{Error, Result};
use rayon::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How the reproduction was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// The device, in words; the same whenever the same runs are made on it.
    pub device: String,
    /// The program's version and commit.
    pub version: String,
    /// The images that were trained on, in words.
    pub pictures: String,
    /// Names and values of everything that differs between two reproductions: dates, times, threads.
    pub cost: Vec<(String, String)>,
    /// The same as data, for `timings.json`.
    pub timings: Value,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Every claim, in the paper's order.
    pub claims: Vec<Judged>,
    /// The figures' SVG files.
    pub figures: Vec<PathBuf>,
    /// The report's file.
    pub report: PathBuf,
}

impl Made {
    /// How many of the paper's own claims have each verdict.
    pub fn counts(&self) -> Vec<(Verdict, usize)> {
        counts(&self.claims)
    }

    /// These counts in words.
    pub fn outcome(&self) -> String {
        outcome(&self.claims)
    }
}

/// Draws, judges and writes everything into `out`. Errors: a run's file is missing; a file cannot be written.
pub fn write(evidence: &Evidence, out: &Path, about: &About) -> Result<Made> {
    let folder = out.join("figures");
    disk::create_dir_all(&folder)?;
    let (mut claims, mut sections, mut drawn, mut headlines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut drawings = Drawings::default();
    for part in &evidence.plan.parts {
        let judged = judge(evidence, part)?;
        let (section, files) = section(evidence, part, &folder, &mut drawings)?;
        headlines.extend(headline::of(evidence, part, &judged)?);
        claims.extend(judged);
        sections.push(section);
        drawn.extend(files);
    }
    drawings.write()?;
    let scale = evidence.scale().name();
    let verdict = |id: &str| claims.iter().find(|claim| claim.row.id == id).map(|claim| claim.row.verdict);
    let answer = answer::answer(&verdict, scale);
    let page = Page {
        title: "How Does Batch Normalization Help Optimization? Reproduced".into(),
        question: if answer.is_empty() { String::new() } else { answer::QUESTION.into() },
        answer,
        setting: setting(evidence, about),
        headlines,
        summary: summary(),
        claims: claims.iter().map(|claim| claim.row.clone()).collect(),
        sections,
        settings: settings(evidence, about),
        cost: cost(evidence, about)?,
    };
    let list: Vec<Value> = claims.iter().map(|claim| claim.json(scale)).collect();
    write_json(&out.join("claims.json"), &Value::Array(list))?;
    write_json(&out.join("timings.json"), &about.timings)?;
    let report = out.join("report.html");
    atomic::write_bytes(&report, page.html().as_bytes())?;
    Ok(Made { claims, figures: drawn, report })
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::file(path, e.to_string(), "JSON is needed"))?;
    atomic::write_bytes(path, (text + "\n").as_bytes())
}

/// Figures whose files are still to be written. Writing takes longest, and no figure waits for another.
#[derive(Default)]
struct Drawings(Vec<Box<dyn FnOnce() -> Result<()> + Send>>);

impl Drawings {
    fn add(&mut self, write: impl FnOnce() -> Result<()> + Send + 'static) {
        self.0.push(Box::new(write));
    }

    /// Writes all of them.
    fn write(self) -> Result<()> {
        self.0.into_par_iter().with_max_len(1).try_for_each(|write| write())
    }
}

/// The report's section on one experiment. Its figures are also added to `drawings`.
fn section(
    evidence: &Evidence,
    part: &Part,
    folder: &Path,
    drawings: &mut Drawings,
) -> Result<(Section, Vec<PathBuf>)> {
    let (experiment, shown) = (&part.experiment, &part.experiment.shown);
    let mut notes = deviations::of(evidence.plan, part);
    let mut diverged = Vec::new();
    for &at in &part.groups {
        let group = &evidence.plan.groups[at];
        let count = evidence.diverged(group)?;
        if count > 0 {
            diverged.push(format!("{} [{}] {count} of {}", group.label, group.id, group.runs.len()));
        }
    }
    if !diverged.is_empty() {
        let histograms = match shown.panels.iter().any(|panel| panel.form == Form::Ridge) {
            true => " A histogram is of the first seed that did not.",
            false => "",
        };
        let who = diverged.join(", ");
        let counts = "from there on loss and landscape count as infinite, accuracy as 0";
        notes.push(format!("Runs that diverged, {counts}: {who}.{histograms}"));
    }
    notes.extend(shown.notes.iter().cloned());
    let (mut pictures, mut files) = (Vec::new(), Vec::new());
    let name = &experiment.name;
    let mut add = |svg: String, name: &str| {
        files.push(folder.join(format!("{name}.svg")));
        let beside = ["svg", "png", "csv", "npz"].map(|kind| format!("figures/{name}.{kind}"));
        pictures.push(Picture { svg, files: beside.into() });
    };
    let figure = figures::figure(evidence, part, notes.clone())?;
    let plotted = !figure.panels.is_empty();
    if plotted {
        add(figure.svg(), name);
        let (folder, name) = (folder.to_owned(), name.clone());
        drawings.add(move || figure.write(&folder, &name).map(drop));
    }
    let diagram = networks::diagram(evidence.plan, part, Vec::new())?;
    if !diagram.columns.is_empty() {
        let name = if plotted { format!("{name}-networks") } else { name.clone() };
        add(diagram.svg(), &name);
        let folder = folder.to_owned();
        drawings.add(move || diagram.write(&folder, &name).map(drop));
    }
    let mut tables = Vec::new();
    if !evidence.statements(name).is_empty() {
        tables.push(statements(evidence, part));
    }
    if let Some(spec) = &shown.best
        && !evidence.plan.chosen(part, Some(&spec.runs)).is_empty()
    {
        tables.push(best::table(evidence, part, spec)?);
    }
    if !part.groups.is_empty() {
        tables.push(ends(evidence, part)?);
    }
    let section = Section {
        id: name.clone(),
        title: shown.title.clone(),
        beyond: shown.beyond,
        paper: shown.paper.clone(),
        deviations: notes,
        pictures,
        explorers: explore::explorers(evidence, part)?,
        tables,
    };
    Ok((section, files))
}

/// A table of how every group of runs ended.
fn ends(evidence: &Evidence, part: &Part) -> Result<Captioned> {
    let mut table = Table::new(["run", "variant", "seeds", "first loss", "last loss", "test accuracy", "diverged"]);
    for &at in &part.groups {
        let group = &evidence.plan.groups[at];
        let (mut first, mut last, mut test) = (Vec::new(), Vec::new(), Vec::new());
        for run in evidence.of(group) {
            let training = run.training()?;
            let bound =
                |loss: Option<&f64>| loss.map_or(f64::NAN, |&loss| if loss.is_nan() { f64::INFINITY } else { loss });
            first.push(bound(training.loss.first()));
            // Of single batches the mean of the last ones says more.
            let rows = if run.settings().deep_linear() { 1 } else { 50 };
            let tail = &training.loss[training.loss.len().saturating_sub(rows)..];
            last.push(tail.iter().map(|loss| bound(Some(loss))).sum::<f64>() / tail.len().max(1) as f64);
            test.extend(training.test_accuracy.iter().rev().find(|accuracy| !accuracy.is_nan()));
        }
        let number = |values: Vec<f64>| match values.is_empty() {
            true => Cell::from(""),
            false => Cell::number(significant(super::series::median(values), 4)),
        };
        table.row([
            Cell::from(group.id.as_str()),
            Cell::from(group.label.as_str()),
            Cell::from(group.runs.len() as u64),
            number(first),
            number(last),
            match test.is_empty() {
                true => Cell::from(""),
                false => Cell::number(format!("{:.1} %", 100.0 * super::series::median(test))),
            },
            Cell::from(evidence.diverged(group)? as u64),
        ]);
    }
    let caption = "How the runs ended: medians over the seeds; VGG's last loss is the mean of the last 50 batches";
    Ok(Captioned { caption: caption.into(), table })
}

/// A table of the paper's statements on random instances.
fn statements(evidence: &Evidence, part: &Part) -> Captioned {
    let mut table =
        Table::new(["statement", "kind", "instances", "premise held", "failed", "largest residual", "it says"]);
    let rows = evidence.statements(&part.experiment.name);
    for of in rows {
        let residual = of.tally.max_residual().max(of.found.map_or(0.0, |found| found.residual));
        table.row([
            Cell::from(of.row.name),
            Cell::from(of.row.kind.name()),
            Cell::from(of.tally.instances),
            Cell::from(of.tally.premise_held),
            Cell::from(of.tally.failed),
            Cell::number(significant(residual, 2)),
            Cell::from(of.row.says),
        ]);
    }
    Captioned { caption: "The paper's statements on random instances of one unit and one batch".into(), table }
}

fn counts(claims: &[Judged]) -> Vec<(Verdict, usize)> {
    let of_paper = || claims.iter().filter(|claim| claim.row.kind == ClaimKind::Paper);
    let count = |verdict| (verdict, of_paper().filter(|claim| claim.row.verdict == verdict).count());
    Verdict::ALL.into_iter().map(count).collect()
}

/// A summary of the verdicts on the paper's own claims: "Claims: 50 reproduced, 4 in part, … (70 in all)."
fn outcome(claims: &[Judged]) -> String {
    let counts = counts(claims);
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    if all == 0 {
        return "None of the paper's claims is among them.".into();
    }
    let there = counts.into_iter().filter(|(_, count)| *count > 0);
    let words = there.map(|(verdict, count)| match verdict {
        Verdict::LargerScale if count > 1 => format!("{count} need a larger scale"),
        _ => format!("{count} {}", verdict.word()),
    });
    format!("Claims of the paper: {} ({all} in all).", words.collect::<Vec<_>>().join(", "))
}

/// The scale and the images, in words.
fn setting(evidence: &Evidence, about: &About) -> String {
    let scale = match evidence.plan.request.scale {
        super::Scale::Smoke => {
            "smoke: a few steps of small networks, which show that everything runs and can support no claim about training"
        }
        super::Scale::Quick => {
            "quick: the deep linear networks at the paper's own size and length, VGG small and short, so that the effects show on two cores"
        }
        super::Scale::Overnight => {
            "overnight: the paper's number of steps, VGG-16 at a quarter of its width, for a night on a laptop's processor"
        }
        super::Scale::Paper => "paper: the paper's own settings",
    };
    let images = pictures(evidence.plan, about).map_or(String::new(), |of| format!(" VGG was trained on {of}."));
    format!("Scale {scale}.{images}")
}

/// How the result was found, in words.
fn summary() -> Vec<String> {
    let how = "Every number comes from runs that this program made; each verdict follows from a rule that was written down before, \
               with the runs it was judged by. A claim that this scale or this data cannot test says so.";
    vec![how.into()]
}

/// The images that VGG's runs say they were trained on, those of most runs first; `None` without VGG.
fn pictures(plan: &Plan, about: &About) -> Option<String> {
    let words = |data: &str| match data {
        _ if data == plan.request.pictures => about.pictures.clone(),
        "images" => "generated images".into(),
        _ => "CIFAR-10".into(),
    };
    let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
    for group in plan.groups.iter().filter(|group| Kind::of(group.settings()) == Kind::Vgg) {
        let of = words(&group.settings().data);
        match kinds.iter_mut().find(|(known, _)| *known == of) {
            Some((_, ids)) => ids.push(&group.id),
            None => kinds.push((of, vec![&group.id])),
        }
    }
    kinds.sort_by_key(|(_, ids)| std::cmp::Reverse(ids.len()));
    let mut kinds = kinds.into_iter();
    let (most, _) = kinds.next()?;
    let others = kinds.map(|(of, ids)| format!(", and on {of} in {}", ids.join(", ")));
    Some(others.fold(most, |all, other| all + &other))
}

/// Tables of what was run, and on which data.
fn settings(evidence: &Evidence, about: &About) -> Vec<Captioned> {
    let mut on = Table::new(["what", "value"]);
    for (name, value) in [
        ("program", Some(format!("normscape {}", about.version))),
        ("device", Some(about.device.clone())),
        ("scale", Some(evidence.scale().name().into())),
        ("images", pictures(evidence.plan, about)),
        ("first seed", Some(evidence.plan.request.seed.to_string())),
    ] {
        value.map(|value| on.row([Cell::from(name), Cell::from(value)]));
    }
    let mut runs = Table::new(["run", "network", "norm", "noise", "rate", "steps", "batch", "seeds", "probes"]);
    for group in &evidence.plan.groups {
        let s = group.settings();
        runs.row([
            Cell::from(group.id.as_str()),
            Cell::from(network(s)),
            Cell::from(s.norm.as_str()),
            Cell::from(if s.noise { "Algorithm 1" } else { "" }),
            Cell::number(significant(s.lr, 3)),
            Cell::from(s.steps),
            Cell::from(s.batch as u64),
            Cell::from(group.runs.len() as u64),
            Cell::from(probes(s)),
        ]);
    }
    vec![
        Captioned { caption: "Made by, and on".into(), table: on },
        Captioned { caption: "Runs; all settings of each are in its run.toml".into(), table: runs },
    ]
}

fn network(s: &Settings) -> String {
    match s.deep_linear() {
        true => format!("dln, {} layers of {}", s.depth, s.dim),
        false => format!("{}, width {}, {}", s.model, significant(s.width, 3), s.activation),
    }
}

fn probes(s: &Settings) -> String {
    let of = |entry: &String| match (entry.split_once(':'), s.probe_every) {
        (Some((name, every)), _) => format!("{name} every {every}"),
        (None, Some(every)) => format!("{entry} every {every}"),
        (None, None) => entry.clone(),
    };
    s.probe.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// Tables of what differs between two reproductions.
fn cost(evidence: &Evidence, about: &About) -> Result<Vec<Captioned>> {
    let mut all = Table::new(["what", "value"]);
    for (name, value) in &about.cost {
        all.row([Cell::from(name.as_str()), Cell::from(value.as_str())]);
    }
    let mut runs = Table::new(["run", "seconds", "milliseconds a step"]);
    for group in &evidence.plan.groups {
        let (seconds, steps) = seconds(evidence, group)?;
        runs.row([
            Cell::from(group.id.as_str()),
            Cell::number(format!("{seconds:.1}")),
            Cell::number(significant(1e3 * seconds / steps.max(1) as f64, 3)),
        ]);
    }
    Ok(vec![
        Captioned { caption: "Times and dates".into(), table: all },
        Captioned { caption: "Time of each group of runs, probes included".into(), table: runs },
    ])
}

fn seconds(evidence: &Evidence, group: &Group) -> Result<(f64, usize)> {
    evidence.of(group).try_fold((0.0, 0), |(seconds, steps), run| {
        let training = run.training()?;
        Ok((seconds + training.seconds.last().copied().unwrap_or(0.0), steps + training.loss.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::runs::Request;
    use super::super::scale::Scale;
    use super::*;

    #[test]
    fn the_images_are_those_that_the_runs_were_trained_on() {
        let about = About { pictures: "CIFAR-10".into(), ..About::default() };
        let group = |id: &str, data: &str| {
            let settings = Settings { data: data.into(), ..Settings::defaults("vgg11") };
            Group { id: id.into(), label: id.into(), style: 0, runs: vec![(id.into(), settings)] }
        };
        let plan = |groups: Vec<Group>| {
            let request = Request { pictures: "/data/cifar".into(), ..Request::at(Scale::Quick) };
            Plan { request, parts: Vec::new(), groups }
        };
        let of = |groups: Vec<Group>| pictures(&plan(groups), &about);
        let dln = || Group { runs: vec![("dln".into(), Settings::defaults("dln"))], ..group("dln", "") };
        assert_eq!(of(vec![dln()]), None);
        assert_eq!(of(vec![group("a", "/data/cifar"), dln()]).as_deref(), Some("CIFAR-10"));
        assert_eq!(of(vec![group("a", "images")]).as_deref(), Some("generated images"));
        let mixed = vec![group("a", "images"), group("b", "/data/cifar"), group("c", "/data/cifar")];
        assert_eq!(of(mixed).as_deref(), Some("CIFAR-10, and on generated images in a"));
    }
}
