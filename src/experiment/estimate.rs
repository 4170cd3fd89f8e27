//! How long a plan will take: the work that is counted of its runs ([`super::cost`]) at the rate that a second or two of steps show of each kind of
//! network in it, and what comes around the runs.

use super::cost::{Costs, makespan};
use super::images::{Images, image_key};
use super::memory;
use super::plan::{Part, Plan};
use super::runner::{Make, each};
use crate::data::image_set::IMAGE;
use crate::files::scratch::Scratch;
use crate::train::{Settings, Silent};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// By what share of an estimate the time may be more or less, as long as the machine is as busy as it was while steps were timed. Told and taken on two
/// busy cores, 2026-11-28: `reproduce fig4 --scale smoke` 1.3 and 1.5 s, `fig9 --scale quick` 53 and 48 s, a file of 12 runs of the deep linear
/// network with four norms and 2 of VGG-11, with probes, 70 and 70 s. Other machines have other ratios of what is counted.
pub const UNCERTAIN: f64 = 0.3;

/// Seconds that steps are timed at the least, and how many steps at first.
const TIMED: f64 = 0.5;
const STEPS: u64 = 3;
/// The work of a step that is timed, where fewer images in a batch make it so small, and the fewest.
const STEP: f64 = 4e9;
const IMAGES: usize = 32;
/// Seconds of a run beside its rows; of an image that is made, loaded, or hashed for a run; of an instance of the paper's statements; of what is made
/// of an experiment's runs (figure, tables, its part of the report).
const RUN: f64 = 0.1;
const MADE: f64 = 8e-5;
const LOADED: f64 = 2.5e-5;
const HASHED: f64 = 4e-6;
const INSTANCE: f64 = 1e-4;
const SHOWN: f64 = 0.7;

/// What a plan will take.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Seconds of each run by itself on its worker, in the plan's order.
    pub runs: Vec<f64>,
    /// Seconds of all, by so many workers.
    pub total: f64,
    /// Bytes of the largest run, and of as many of the largest as there are workers.
    pub memory: [u128; 2],
}

/// Times a few steps of the run of each kind that has most of the work, as many at once as will run later, and counts up what the plan takes.
///
/// Errors: as training's; no room for temporary files; [`Error::Interrupted`] where `stop` is set.
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

/// What is timed of a run: its network, without probes, on batches of fewer images where a step would take long. It never diverges.
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

/// Seconds of a unit of work in runs like this one, of which one is timed on each worker. Errors: as training's.
fn seconds_a_unit(of: &Settings, workers: (usize, usize), stop: &Arc<AtomicBool>, make: &dyn Make) -> Result<f64> {
    let (timed, scratch, images) = (timed(of)?, Scratch::new()?, Images::new(1));
    let copies: Vec<usize> = (0..workers.0).collect();
    let seconds = Mutex::new(0.0);
    each(&copies, workers, stop, |number| {
        // Longer and longer, until what comes once (a row that warms up, a graph that is made) is little of it.
        for steps in (0..16).map(|i| STEPS << (2 * i)) {
            let (out, settings) = (format!("{number}-{steps}"), Settings { steps, ..timed.clone() });
            let source = images.source(&timed)?;
            let finished = make.make(&settings, source, &scratch.path().join(out), false, stop, &mut Silent)?;
            let Some(last) = finished.last else { return Err(Error::Interrupted) };
            if last.seconds >= TIMED {
                let row = last.seconds / (last.step + 1) as f64;
                *seconds.lock().unwrap_or_else(PoisonError::into_inner) += row;
                break;
            }
        }
        Ok(())
    })?;
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
