//! The course's shortcut and the paper's protocol on the same tiny runs: two bands, told apart, that do not measure the same.

use normscape::data::image_set::ImageSet;
use normscape::experiment::course::{Band, OF_LANDSCAPE, OF_RUNS, RATES, beside};
use normscape::experiment::series::{landscapes, training};
use normscape::runtime::cpu::Cpu;
use normscape::train::source::load_images;
use normscape::train::{Place, Settings, Silent, Source, Start, Trainer};
use std::path::Path;
use std::sync::Arc;

fn settings(lr: f64) -> Settings {
    let mut settings = Settings {
        width: 0.0625,
        norm: "batch".into(),
        data: "images".into(),
        limit_train: Some(100),
        limit_test: Some(10),
        batch: 10,
        lr,
        steps: 12,
        probe: vec!["landscape".into()],
        probe_every: Some(4),
        probe_points: 3,
        ..Settings::defaults("vgg11")
    };
    settings.resolve().unwrap();
    settings
}

fn run(settings: &Settings, set: &Arc<ImageSet>, out: &Path) {
    let place = Place::take(out, Start::Fresh, "cpu").unwrap();
    let source = Source::of(set.clone(), settings).unwrap();
    let trainer =
        Trainer::open(Cpu::<f32>::default(), settings.clone(), source, place, Arc::default(), &mut Silent).unwrap();
    trainer.run(&mut Silent).unwrap();
}

#[test]
fn the_spread_of_runs_is_not_the_landscape() {
    let folder = tempfile::tempdir().unwrap();
    let set = Arc::new(load_images(&settings(RATES[0])).unwrap());
    let outs = RATES.map(|rate| folder.path().join(rate.to_string()));
    RATES.iter().zip(&outs).for_each(|(&rate, out)| run(&settings(rate), &set, out));
    let losses: Vec<_> = outs.iter().map(|out| training(out).unwrap()).collect();
    let course = Band::of_runs(&losses).unwrap();
    let paper = Band::of_landscape(&landscapes(&outs[0]).unwrap());
    assert_eq!((course.label, paper.label), (OF_RUNS, OF_LANDSCAPE));
    assert_eq!((course.step.len(), &paper.step[..]), (13, &[0.0, 4.0, 8.0, 12.0][..]));
    // Of one seed all runs begin at one θ: no spread, whatever the landscape is like.
    let [low, high] = course.at(0.0).unwrap();
    assert_eq!(low, high);
    let [low, high] = paper.at(0.0).unwrap();
    assert!(low < high);
    // Later the course's band is of losses at four different θ; each is within it.
    for run in &losses {
        for (t, loss) in run.loss.iter().enumerate() {
            assert!((course.low[t]..=course.high[t]).contains(loss));
        }
    }
    assert!(course.low[12] < course.high[12] && course.at(12.0) != paper.at(12.0));
    let table = beside(&course, &paper).to_string();
    assert!(table.contains(OF_RUNS) && table.contains(OF_LANDSCAPE), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains(" to ")).count(), 4, "{table}");
}
