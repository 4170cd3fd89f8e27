//! The memory that a plan takes, and the number of its runs that fit into memory at once.

use super::cost;
use super::plan::Plan;
use crate::Result;
use crate::data::image_set::IMAGE;
use crate::data::images;
use crate::files::limits::{self, Bound};
use crate::train::{Settings, footprint};

/// How many runs go at once on this machine's CPU, at most `threads`. Errors: a run does not fit into memory.
pub fn workers(plan: &Plan, threads: usize) -> Result<usize> {
    let shared = u64::try_from(shared(plan) + footprint::program()).unwrap_or(u64::MAX);
    let bound = limits::memory().map(|bound| Bound { left: bound.left.saturating_sub(shared), ..bound });
    fitting(threads, &needs(plan)?, bound.as_ref())
}

/// Bytes of the largest run, and of as many such runs as there are workers. Errors: the settings make no network.
pub fn bytes(plan: &Plan, workers: usize) -> Result<[u128; 2]> {
    let needs = needs(plan)?;
    let largest = needs.iter().copied().max().unwrap_or(0);
    Ok([largest, largest * workers.min(needs.len().max(1)) as u128 + shared(plan)])
}

/// Bytes of a run's images and labels.
pub fn of_images(settings: &Settings) -> u128 {
    let train = if settings.data == "images" { images::TRAIN } else { 50_000 };
    let train = settings.limit_train.map_or(train, |limit| limit.min(train));
    (train + cost::test_images(settings)) as u128 * (IMAGE as u128 + 1)
}

/// Bytes of each run. Every seed of generated images is a set of its own, and as many sets are kept as there are workers.
fn needs(plan: &Plan) -> Result<Vec<u128>> {
    let own = |of: &Settings| if of.data == "images" { of_images(of) } else { 0 };
    plan.runs().map(|(_, _, of)| Ok(footprint::bytes(of)? + own(of))).collect()
}

/// Bytes of the images that all runs share.
fn shared(plan: &Plan) -> u128 {
    let of_path = plan.runs().filter(|(_, _, of)| !of.deep_linear() && of.data != "images");
    of_path.map(|(_, _, of)| of_images(of)).max().unwrap_or(0)
}

/// How many runs fit into memory, at most `threads`. `needs` are the bytes of each run. Errors: not even the largest fits.
fn fitting(threads: usize, needs: &[u128], bound: Option<&Bound>) -> Result<usize> {
    let largest = needs.iter().copied().max().unwrap_or(0).max(1);
    let Some(bound) = bound else { return Ok(threads.max(1)) };
    bound.require(largest, "a smaller --scale needs less")?;
    let fit = usize::try_from(u128::from(bound.left) / largest).unwrap_or(usize::MAX);
    Ok(threads.max(1).min(fit.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_the_number_of_workers() {
        let bound = |left| Bound { left, limit: Some(1 << 30), name: "x".into() };
        assert_eq!(fitting(8, &[10, 100], Some(&bound(350))).unwrap(), 3);
        assert_eq!(fitting(2, &[10, 100], Some(&bound(350))).unwrap(), 2);
        assert_eq!(fitting(2, &[10, 100], None).unwrap(), 2);
        let refusal = fitting(2, &[10, 400 << 20], Some(&bound(350 << 20))).unwrap_err().to_string();
        assert!(refusal.contains("400 MiB are needed, 350 MiB are left of 1024 MiB, the limit of x;"), "{refusal}");
    }
}
