//! Estimates how long a plan will take. The work counted for its runs ([`super::cost`]) is divided by a measured rate: a second or two of
//! steps are timed for each kind of network in the plan. The time spent around the runs is added.

use super::cost::{Costs, makespan};
use super::images::{Images, image_key};
use super::memory;
use super::plan::{Part, Plan};
use super::runner::{Make, each};
use crate::data::image_set::IMAGE;
use crate::files::scratch::Scratch;
use crate::train::held_folder::HeldFolder;
use crate::train::{Settings, Silent, Start};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// How far the real time may be from the estimate, as a share of it, if the machine stays as busy as it was while the steps were timed.
/// Estimated and real times on two busy cores, 2026-11-28: `reproduce fig4 --scale smoke` 1.3 and 1.5 s, `fig9 --scale quick` 53 and 48 s,
/// a file of 12 runs of the deep linear network with four norms and 2 of VGG-11, with probes, 70 and 70 s. On other machines the costs have
/// other ratios.
pub const UNCERTAIN: f64 = 0.3;

/// The least time for which steps are timed, in seconds, and the number of steps in the first attempt.
const TIMED: f64 = 0.5;
const STEPS: u64 = 3;
/// The most work of a timed step: the batch is halved until a step takes no more, but not below this many images.
const STEP: f64 = 4e9;
const IMAGES: usize = 32;
/// Seconds outside of steps: per run; per image that is generated, loaded, or hashed for a run; per instance of the paper's statements; and
/// per experiment, for its figure, tables and section of the report.
const RUN: f64 = 0.1;
const MADE: f64 = 8e-5;
const LOADED: f64 = 2.5e-5;
const HASHED: f64 = 4e-6;
const INSTANCE: f64 = 1e-4;
const SHOWN: f64 = 0.7;

/// The time and memory of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Seconds of each run, alone on its worker, in the plan's order.
    pub runs: Vec<f64>,
    /// Seconds of the whole plan with all workers.
    pub total: f64,
    /// Bytes of the largest run, and of as many such runs as there are workers.
    pub memory: [u128; 2],
}

/// For each kind of network, times a few steps of the run with the most work, on as many workers as will run later. Then adds up the whole plan.
///
/// Errors: as in training; no room for temporary files; [`Error::Interrupted`] where `stop` is set.
pub fn estimate(plan: &Plan, workers: (usize, usize), stop: &Arc<AtomicBool>, make: &dyn Make) -> Result<Estimate> {
    let kind = |of: &Settings| (of.deep_linear(), of.precision.clone());
    let works = plan.runs().map(|(_, _, of)| Ok(Costs::of(of)?.run(of))).collect::<Result<Vec<f64>>>()?;
    let mut rates = BTreeMap::new();
    let mut sorted: Vec<(f64, &Settings)> = works.iter().copied().zip(plan.runs().map(|(_, _, of)| of)).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, of) in sorted {
        if let Entry::Vacant(rate) = rates.entry(kind(of)) {
            rate.insert(seconds_a_unit(of, workers, stop, make)?);
        }
    }
    let images = |of: &Settings| match of.deep_linear() {
        true => 0.0,
        false => memory::of_images(of) as f64 / (IMAGE + 1) as f64,
    };
    let seconds = |((_, _, of), work): ((_, _, &Settings), &f64)| work * rates[&kind(of)] + RUN + HASHED * images(of);
    let runs: Vec<f64> = plan.runs().zip(&works).map(seconds).collect();
    // Each set once, one after the other.
    let sets: BTreeMap<String, &Settings> = plan.runs().map(|(_, _, of)| (image_key(of), of)).collect();
    let loading = sets.values().map(|of| images(of) * if of.data == "images" { MADE } else { LOADED });
    let shown = |part: &Part| {
        let instances = part.experiment.shown.theory.as_ref().and_then(|of| of.instances.at(plan.request.scale));
        SHOWN + INSTANCE * instances.map_or(0.0, |instances| *instances as f64)
    };
    let around = loading.sum::<f64>() + plan.parts.iter().map(shown).sum::<f64>();
    Ok(Estimate { total: makespan(&runs, workers.0) + around, runs, memory: memory::bytes(plan, workers.0)? })
}

/// The run to time: the same network without probes, with smaller batches where a step would take long. It never diverges.
fn timed(of: &Settings) -> Result<Settings> {
    let mut timed = Settings { probe: Vec::new(), lr: 1e-9, eval_every: None, checkpoint_every: None, ..of.clone() };
    if !timed.deep_linear() {
        while Costs::of(&timed)?.step > STEP && timed.batch / 2 >= IMAGES {
            timed.batch /= 2;
        }
        // Generated ones, which are made at once.
        (timed.data, timed.limit_train, timed.limit_test) = ("images".into(), Some(timed.batch), Some(1));
    }
    Ok(timed)
}

/// Seconds per unit of work in runs like this one; one such run is timed on each worker. Errors: as in training.
fn seconds_a_unit(of: &Settings, workers: (usize, usize), stop: &Arc<AtomicBool>, make: &dyn Make) -> Result<f64> {
    let (timed, scratch, images) = (timed(of)?, Scratch::new()?, Images::new(1));
    let copies: Vec<usize> = (0..workers.0).collect();
    let seconds = Mutex::new(0.0);
    each(
        &copies,
        workers,
        stop,
        |worker, number| {
            // Longer and longer, until what comes once (a row that warms up, a graph that is made) is little of it.
            for steps in (0..16).map(|i| STEPS << (2 * i)) {
                let (out, settings) = (format!("{number}-{steps}"), Settings { steps, ..timed.clone() });
                let source = images.source(&timed)?;
                let folder = HeldFolder::take(&scratch.path().join(out), Start::Fresh)?;
                let finished = make.make(worker, &settings, source, folder, stop, &mut Silent)?;
                let Some(last) = finished.last else { return Err(Error::Interrupted) };
                if last.seconds >= TIMED {
                    let row = last.seconds / (last.step + 1) as f64;
                    *seconds.lock().unwrap_or_else(PoisonError::into_inner) += row;
                    break;
                }
            }
            Ok(())
        },
        |_| {},
    )?;
    let seconds = seconds.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(seconds / copies.len() as f64 / Costs::of(&timed)?.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_timed_has_the_runs_network_and_short_steps() {
        let probe = vec!["landscape:10".to_owned()];
        let mut vgg = Settings { data: "images".into(), probe, eval_every: Some(10), ..Settings::defaults("vgg16") };
        vgg.resolve().unwrap();
        let small = timed(&vgg).unwrap();
        assert_eq!(small.network().unwrap(), vgg.network().unwrap());
        assert_eq!((small.batch, small.limit_train, small.probe.len()), (IMAGES, Some(IMAGES), 0));
        assert_eq!(timed(&Settings { width: 0.125, ..vgg }).unwrap().batch, 128);
        let mut deep = Settings::defaults("dln");
        deep.resolve().unwrap();
        assert_eq!(timed(&deep).unwrap().samples, deep.samples);
    }
}
