//! A run takes no more memory than estimated, and not much less.

use crate::ALLOCATOR;
use normscape::runtime::cpu::Cpu;
use normscape::train::metrics::Row;
use normscape::train::{Observer, Place, Settings, Source, Start, Trainer, footprint};
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, _: &Row) {}
    fn warn(&mut self, message: &str) {
        panic!("{message}");
    }
}

/// Bytes that were taken at once while a run was made, or made longer.
fn most(settings: &Settings, out: &std::path::Path, resume: bool) -> usize {
    let before = ALLOCATOR.now.load(Ordering::Relaxed);
    ALLOCATOR.most.store(before, Ordering::Relaxed);
    let source = Source::open(settings).unwrap();
    let place = Place::take(out, Start::resumed(resume), "cpu").unwrap();
    let (stop, mut silent) = (Arc::default(), Silent);
    match settings.precision.as_str() {
        "f64" => drop(
            Trainer::open(Cpu::<f64>::default(), settings.clone(), source, place, stop, &mut silent)
                .and_then(|trainer| trainer.run(&mut silent))
                .unwrap(),
        ),
        _ => drop(
            Trainer::open(Cpu::<f32>::default(), settings.clone(), source, place, stop, &mut silent)
                .and_then(|trainer| trainer.run(&mut silent))
                .unwrap(),
        ),
    }
    ALLOCATOR.most.load(Ordering::Relaxed) - before
}

pub fn a_run_takes_what_it_was_judged_by() {
    let dir = tempfile::tempdir().unwrap();
    let vgg = |width, batch| Settings {
        width,
        batch,
        data: "images".into(),
        limit_train: Some(64),
        limit_test: Some(8),
        norm: "batch".into(),
        ..Settings::defaults("vgg11")
    };
    let probed = |probe: &str| vec![format!("{probe}:1")];
    for (i, settings) in [
        Settings { depth: 6, dim: 200, samples: 3000, ..Settings::defaults("dln") },
        vgg(0.5, 4),
        vgg(0.1, 48),
        Settings { momentum: 0.9, norm: "weight".into(), ..vgg(0.4, 4) },
        Settings { precision: "f64".into(), norm: "none".into(), ..vgg(0.3, 8) },
        Settings { probe: probed("landscape"), probe_points: 2, ..vgg(0.3, 8) },
        Settings { probe: probed("curvature"), probe_lanczos: 2, probe_hutchinson: 1, ..vgg(0.2, 8) },
        Settings { probe: vec!["ics:1".into(), "random:1".into(), "moments:1".into()], probe_points: 2, ..vgg(0.2, 8) },
    ]
    .into_iter()
    .enumerate()
    {
        let mut settings = Settings { steps: 1, ..settings };
        settings.resolve().unwrap();
        let judged = footprint::most(&settings).unwrap() + footprint::images(&settings);
        let out = dir.path().join(i.to_string());
        let first = most(&settings, &out, false);
        settings.steps = 2;
        let resumed = most(&settings, &out, true);
        let taken = first.max(resumed);
        let shown = || format!("{i}: judged {judged}, taken {first}, and {resumed} to go on");
        eprintln!("{}", shown());
        // What a run has beside its large tensors is the program's own.
        assert!(taken as u128 <= judged + (2 << 20), "{}", shown());
        assert!(judged * 5 <= taken as u128 * 6 + (10 << 20), "{}", shown());
    }
}
