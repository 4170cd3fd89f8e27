//! Tests on CIFAR-10 itself, from the folder that `NORMSCAPE_DATA` names.
//!
//! Without it, they are reported as ignored, with the reason. Under `CI=true` that is a failure, unless `NORMSCAPE_WITHOUT_DATA=1` says
//! that it is intended.

use libtest_mimic::{Failed, Trial};
use normscape::data::cifar10;
use normscape::data::image_set::Standardisation;
use normscape::runtime::cpu::Cpu;
use normscape::train::metrics::Row;
use normscape::train::{Observer, Place, Settings, Source, Start, Trainer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn trials() -> Vec<Trial> {
    let data = std::env::var_os("NORMSCAPE_DATA").filter(|p| !p.is_empty()).map(PathBuf::from);
    type Test = fn(&Path) -> Result<(), Failed>;
    let tests: [(&str, Test); 2] = [
        ("real_data::the_set_is_whole_and_has_the_known_moments", whole),
        ("real_data::batch_norm_leads_from_the_start", batch_norm_leads),
    ];
    let trials = tests.map(|(name, test)| match data.clone() {
        Some(data) => Trial::test(name, move || test(&data)),
        None if may_lack_data() => {
            Trial::test(name, || Ok(())).with_kind("NORMSCAPE_DATA is not set").with_ignored_flag(true)
        }
        None => Trial::test(name, || Err("NORMSCAPE_DATA is not set; NORMSCAPE_WITHOUT_DATA=1 would skip this".into())),
    });
    trials.into()
}

fn may_lack_data() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    !is("CI", "true") || is("NORMSCAPE_WITHOUT_DATA", "1")
}

fn whole(data: &Path) -> Result<(), Failed> {
    let set = cifar10::load(data)?;
    assert_eq!((set.train.len(), set.test.len()), (50_000, 10_000));
    assert_eq!((set.train.per_class(), set.test.per_class()), ([5_000; 10], [1_000; 10]));
    let Standardisation { mean, std, .. } = Standardisation::of(&set.train);
    for (found, known) in mean.iter().chain(&std).zip([0.4914, 0.4822, 0.4465, 0.2470, 0.2435, 0.2616]) {
        assert!((found - known).abs() < 1e-4, "{found} for {known}");
    }
    Ok(())
}

/// Mean loss of the last steps.
struct Tail(Vec<f64>);

impl Observer for Tail {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, row: &Row) {
        self.0.push(row.loss);
    }
    fn warn(&mut self, _: &str) {}
}

/// Sixty steps of a narrow VGG-16: the normalised network has begun to learn, the standard one has not.
fn batch_norm_leads(data: &Path) -> Result<(), Failed> {
    let set = Arc::new(cifar10::load(data)?);
    let mut ends = Vec::new();
    for norm in ["batch", "none"] {
        let mut settings = Settings {
            norm: norm.into(),
            width: 0.125,
            data: data.display().to_string(),
            steps: 60,
            seed: 1,
            ..Settings::defaults("vgg16")
        };
        settings.resolve()?;
        let folder = tempfile::tempdir()?;
        let place = Place::take(&folder.path().join("run"), Start::Fresh, "cpu").unwrap();
        let mut tail = Tail(Vec::new());
        let source = Source::of(set.clone(), &settings)?;
        Trainer::open(Cpu::<f32>::default(), settings, source, place, Arc::default(), &mut tail)?.run(&mut tail)?;
        let last = &tail.0[tail.0.len() - 10..];
        ends.push(last.iter().sum::<f64>() / last.len() as f64);
    }
    // ln 10 is what knowing nothing costs.
    assert!(ends[0] < 2.15 && ends[1] > 2.2, "BatchNorm {:.3}, none {:.3}", ends[0], ends[1]);
    Ok(())
}
