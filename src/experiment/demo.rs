//! The table and the figure of the main job.

use super::runner::FinishedRun;
use super::series::{Landscapes, Training, landscapes, median, smoothed, training};
use crate::Result;
use crate::files::{Array, Arrays, atomic, disk, npz};
use crate::mutant::{Mutant, made};
use crate::report::{Axis, Cell, Figure, Panel, Series, Table, significant};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Steps over which VGG's noisy batch losses are averaged.
const WINDOW: usize = 25;

/// Runs that differ in the seed alone.
struct Group {
    label: String,
    deep_linear: bool,
    style: usize,
    training: Vec<Training>,
    landscapes: Vec<Landscapes>,
}

/// What the main job shows: tables for the terminal, and a figure.
pub struct Demo {
    /// The deep linear network's table.
    pub dln: Table,
    /// VGG's table.
    pub vgg: Table,
    /// All panels.
    pub figure: Figure,
    groups: Vec<Group>,
}

impl Demo {
    /// Reads the finished runs. `title` and `notes` go onto the figure: what differs from the paper's settings.
    pub fn of(title: &str, notes: Vec<String>, runs: &[FinishedRun]) -> Result<Demo> {
        let mut groups: Vec<(String, Group)> = Vec::new();
        for run in runs {
            let (training, landscapes) = (training(&run.folder)?, landscapes(&run.folder)?);
            let at = match groups.iter().position(|(id, _)| *id == run.planned.group) {
                Some(at) => at,
                None => {
                    let deep_linear = run.planned.settings.deep_linear();
                    let style = usize::from(run.planned.settings.norm != "none");
                    let label = run.planned.label.clone();
                    let group = Group { label, deep_linear, style, training: Vec::new(), landscapes: Vec::new() };
                    groups.push((run.planned.group.clone(), group));
                    groups.len() - 1
                }
            };
            groups[at].1.training.push(training);
            groups[at].1.landscapes.push(landscapes);
        }
        let groups: Vec<Group> = groups.into_iter().map(|(_, group)| group).collect();
        let mut notes = notes;
        notes.extend(groups.iter().filter_map(Group::divergence));
        let figure = figure(title, notes, &groups);
        Ok(Demo { dln: dln_table(&groups), vgg: vgg_table(&groups), figure, groups })
    }

    /// Writes `demo.svg`, and beside it its data as `demo.csv` (one row per network, quantity and step) and `demo.npz`.
    pub fn write(&self, figures: &Path) -> Result<PathBuf> {
        disk::create_dir_all(figures)?;
        let svg = figures.join("demo.svg");
        atomic::write_bytes(&svg, self.figure.svg().as_bytes())?;
        let (mut csv, mut arrays) = ("network,quantity,step,value\n".to_owned(), Arrays::new());
        for group in &self.groups {
            for (quantity, points) in group.quantities() {
                for (step, value) in &points {
                    // Writing to a string cannot fail.
                    let _ = writeln!(csv, "\"{}\",{quantity},{step:?},{value:?}", group.label);
                }
                let values = points.iter().flat_map(|&(step, value)| [step, value]).collect();
                arrays.insert(format!("{}: {quantity}", group.label), Array::f64([points.len(), 2], values));
            }
        }
        atomic::write_bytes(&figures.join("demo.csv"), csv.as_bytes())?;
        npz::write(&figures.join("demo.npz"), &arrays)?;
        Ok(svg)
    }
}

impl Group {
    /// How many of the runs diverged, where some did. Medians count their loss as infinite; a landscape they have none after.
    fn divergence(&self) -> Option<String> {
        let count = self.training.iter().filter(|t| t.loss.last().is_some_and(|l| !l.is_finite())).count();
        (count > 0).then(|| {
            format!(
                "{}: {count} of {} draws diverged; its loss counts as infinite, the landscape is that of the others",
                self.label,
                self.training.len()
            )
        })
    }

    /// Median over the seeds of a number of each run's training.
    fn typical(&self, number: impl Fn(&Training) -> f64) -> f64 {
        median(self.training.iter().take(if made(Mutant::M8) { 1 } else { usize::MAX }).map(number).collect())
    }

    /// Median training loss over the seeds, for each step; VGG's averaged over [`WINDOW`] steps.
    fn losses(&self) -> Vec<(f64, f64)> {
        let steps = self.training.iter().map(|t| t.loss.len()).max().unwrap_or(0);
        let middle: Vec<f64> = (0..steps).map(|t| self.typical(|run| loss_at(run, t))).collect();
        smoothed(&middle, if self.deep_linear { 1 } else { WINDOW })
    }

    /// Median over the seeds of a number of each probed step.
    fn probed(&self, number: impl Fn(&Landscapes, usize) -> f64) -> Vec<(f64, f64)> {
        let Some(longest) = self.landscapes.iter().max_by_key(|l| l.step.len()) else { return Vec::new() };
        let at = |i: usize| median(self.landscapes.iter().filter(|l| i < l.step.len()).map(|l| number(l, i)).collect());
        longest.step.iter().enumerate().map(|(i, &step)| (step, at(i))).collect()
    }

    /// Lowest and highest loss along −g at each probed step.
    fn band(&self) -> Vec<(f64, f64, f64)> {
        if made(Mutant::E11) {
            let all: Vec<f64> = self.landscapes.iter().flat_map(|l| l.loss.iter().flatten().copied()).collect();
            return self.probed(|_, _| 0.0).into_iter().map(|(step, _)| (step, least(&all), most(&all))).collect();
        }
        let low = self.probed(|l, i| least(&l.loss[i]));
        let high = self.probed(|l, i| most(&l.loss[i]));
        low.into_iter().zip(high).map(|((step, low), (_, high))| (step, low, high)).collect()
    }

    /// Everything the figure draws, by name.
    fn quantities(&self) -> Vec<(&'static str, Vec<(f64, f64)>)> {
        vec![
            ("loss", self.losses()),
            ("loss along -g: lowest", self.probed(|l, i| least(&l.loss[i]))),
            ("loss along -g: highest", self.probed(|l, i| most(&l.loss[i]))),
            ("gradient change: highest", self.probed(|l, i| most(&l.grad_l2_diff[i]))),
            ("beta: highest", self.probed(|l, i| most(&l.beta[i]))),
        ]
    }
}

/// The loss of step `t`: infinite from where the run diverged.
fn loss_at(run: &Training, t: usize) -> f64 {
    run.loss.get(t).map_or(f64::INFINITY, |&loss| finite(loss))
}

/// A loss, infinite where it is not a number.
fn finite(loss: f64) -> f64 {
    if loss.is_nan() { f64::INFINITY } else { loss }
}

/// The least of some numbers; not a number where one is not.
fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) })
}

fn most(values: &[f64]) -> f64 {
    -least(&values.iter().map(|v| -v).collect::<Vec<_>>())
}

fn panel(title: &str, y: &str, groups: &[&Group], series: impl Fn(&Group) -> Series) -> Panel {
    Panel {
        title: title.into(),
        x: Axis::linear("step"),
        y: Axis::log(y),
        series: groups.iter().map(|g| series(g)).collect(),
    }
}

fn figure(title: &str, notes: Vec<String>, groups: &[Group]) -> Figure {
    let mut panels = Vec::new();
    for (network, deep_linear) in [("DLN", true), ("VGG", false)] {
        let groups: Vec<&Group> = groups.iter().filter(|g| g.deep_linear == deep_linear).collect();
        // One legend serves both networks.
        let label = |g: &Group| if g.style == 0 { "no norm" } else { "BatchNorm" };
        let line = |g: &Group, points| Series::line(label(g), g.style, points);
        panels.push(panel(&format!("{network}: training loss"), "loss", &groups, |g| line(g, g.losses())));
        let title = format!("{network}: loss along the gradient");
        panels.push(panel(&title, "lowest to highest loss", &groups, |g| Series::band(label(g), g.style, g.band())));
        let title = format!("{network}: effective β-smoothness");
        let beta = |g: &Group| g.probed(|l, i| most(&l.beta[i]));
        panels.push(panel(&title, "highest β", &groups, |g| line(g, beta(g))));
    }
    Figure { title: title.into(), subtitle: String::new(), notes, panels, columns: Some(3) }
}

fn number(value: f64) -> Cell {
    Cell::number(significant(value, 3))
}

fn dln_table(groups: &[Group]) -> Table {
    let mut table = Table::new(["deep linear network", "loss at 0", "100", "1,000", "the end", "ms a step"]);
    for group in groups.iter().filter(|g| g.deep_linear) {
        let at = |t: usize| number(group.typical(|r| loss_at(r, t)));
        let end = number(group.typical(|r| r.loss.last().map_or(f64::INFINITY, |&l| finite(l))));
        table.row([
            Cell::from(group.label.as_str()),
            at(0),
            at(100),
            at(1000),
            end,
            number(1e3 * group.typical(seconds_per_step)),
        ]);
    }
    table
}

fn vgg_table(groups: &[Group]) -> Table {
    let headers = ["VGG", "loss at 0", "the end", "accuracy", "loss along -g, high/low", "highest β", "ms a step"];
    let mut table = Table::new(headers);
    for group in groups.iter().filter(|g| !g.deep_linear) {
        let last = |values: &[f64]| {
            values[values.len().saturating_sub(2 * WINDOW)..].iter().sum::<f64>()
                / values.len().clamp(1, 2 * WINDOW) as f64
        };
        let accuracy = 100.0 * group.typical(|r| last(&r.accuracy));
        let ratio = median(group.band().iter().map(|(_, low, high)| high / low).collect());
        let beta = median(group.probed(|l, i| most(&l.beta[i])).iter().map(|p| p.1).collect());
        table.row([
            Cell::from(group.label.as_str()),
            number(group.typical(|r| r.loss.first().copied().unwrap_or(f64::NAN))),
            number(group.typical(|r| last(&r.loss))),
            Cell::number(format!("{accuracy:.1} %")),
            number(ratio),
            number(beta),
            number(1e3 * group.typical(seconds_per_step)),
        ]);
    }
    table
}

/// Mean time of a step, probes included.
fn seconds_per_step(run: &Training) -> f64 {
    match (run.seconds.first(), run.seconds.last()) {
        (Some(first), Some(last)) if run.seconds.len() > 1 => (last - first) / (run.seconds.len() - 1) as f64,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let run = |losses: [f64; 3]| Training { loss: losses.to_vec(), ..Training::default() };
        let landscape = |scale: f64| Landscapes {
            step: vec![0.0, 10.0],
            loss: vec![vec![scale, 3.0 * scale], vec![10.0 * scale, 20.0 * scale]],
            ..Landscapes::default()
        };
        Group {
            label: "BatchNorm".into(),
            deep_linear: true,
            style: 1,
            training: vec![run([9.0, 9.0, 9.0]), run([4.0, 2.0, 1.0]), run([5.0, 3.0, f64::NAN])],
            landscapes: vec![landscape(1.0), landscape(2.0), landscape(30.0)],
        }
    }

    #[test]
    fn a_band_is_that_of_one_step() {
        // Lowest and highest over s at each step by itself, then the middle of the draws.
        assert_eq!(group().band(), [(0.0, 2.0, 6.0), (10.0, 20.0, 40.0)]);
    }

    #[test]
    fn several_draws_stand_for_one_network() {
        let losses: Vec<f64> = group().losses().into_iter().map(|(_, loss)| loss).collect();
        assert_eq!(losses, [5.0, 3.0, 9.0], "a draw that diverged counts as infinite");
    }
}
