//! Devices that take points of a run's lines: their bits are those of the run's own device, and one that computes something else is found out.

use crate::shared;
use normscape::files::disk;
use normscape::runtime::cuda::driver::Driver;
use normscape::runtime::cuda::emulator::{Build, Options};
use normscape::runtime::cuda::failing::{Failing, Failure};
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::train::helpers::{Opens, Serving, Spare};
use normscape::train::metrics::Row;
use normscape::train::{Observer, Place, Settings, Source, Start, Trainer};
use normscape::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Without the emulator's checks, which every kernel goes through elsewhere.
fn driver() -> Box<dyn Driver> {
    let options = Options::from_environment().unwrap();
    let build = if options.build == Build::Watched { Build::Plain } else { options.build };
    shared::driver(Options { build, ..options }).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// A device that may help, in this precision; it may fail at its n-th launch.
struct Helping {
    mode: Mode,
    fails: Option<u64>,
    opened: AtomicUsize,
}

impl Helping {
    fn new(mode: Mode) -> Helping {
        Helping { mode, fails: None, opened: AtomicUsize::new(0) }
    }
}

impl Opens for Helping {
    fn name(&self) -> String {
        "the helper".into()
    }

    fn serve(&self, serving: Serving) -> Result<()> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let driver: Box<dyn Driver> = match self.fails {
            Some(nth) => Box::new(Failing::new(driver(), Failure::Launch, nth)),
            None => driver(),
        };
        serving.serve(Cuda::new(driver, self.mode)?)
    }
}

#[derive(Default)]
struct Warnings(Vec<String>);

impl Observer for Warnings {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, _: &Row) {}
    fn warn(&mut self, message: &str) {
        self.0.push(message.to_owned());
    }
}

fn settings(norm: &str, precision: &str) -> Settings {
    let mut settings = Settings {
        width: 0.04,
        norm: norm.into(),
        precision: precision.into(),
        data: "images".into(),
        batch: 4,
        steps: 3,
        lr: 0.01,
        limit_train: Some(30),
        limit_test: Some(10),
        probe: vec!["landscape:1".into(), "random:1".into()],
        probe_points: 5,
        ..Settings::defaults("vgg11")
    };
    settings.resolve().unwrap();
    settings
}

/// The probes' files and the parameters of a run with these helpers, and what it warned of.
fn run(settings: &Settings, mode: Mode, helpers: &[&Arc<Helping>]) -> Result<(Vec<Vec<u8>>, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::take(folder.path(), Start::Fresh, "test")?;
    let mut warnings = Warnings::default();
    let devices = helpers.iter().map(|&helper| helper.clone() as Arc<dyn Opens>).collect();
    let (backend, source) = (Cuda::new(driver(), mode)?, Source::open(settings)?);
    Trainer::open(backend, settings.clone(), source, place, Arc::default(), &mut warnings)?
        .helped_by(Arc::new(Spare::new(devices, 1)))
        .run(&mut warnings)?;
    let read = |name: &str| disk::read_to_end_capped(&folder.path().join(Path::new(name)), 1 << 30).unwrap();
    let files = ["landscape.npz", "random.npz", "checkpoints/step-3/parameters.safetensors"];
    Ok((files.map(read).into(), warnings.0))
}

#[test]
fn what_depends_on_running_statistics_and_rounding_is_the_same_on_a_helper() {
    for (norm, precision, mode) in [("renorm", "f32", Mode::F32), ("weight", "tf32", Mode::Tf32)] {
        let settings = settings(norm, precision);
        let helpers = [(); 2].map(|()| Arc::new(Helping::new(mode)));
        let (expected, _) = run(&settings, mode, &[]).unwrap();
        let (found, warned) = run(&settings, mode, &helpers.each_ref()).unwrap();
        assert!(found == expected && warned.is_empty(), "{norm}: {warned:?}");
        assert!(helpers.iter().all(|helper| helper.opened.load(Ordering::Relaxed) == 1), "{norm}");
    }
}

#[test]
fn a_helper_that_computes_something_else_is_found_out() {
    let other = Arc::new(Helping::new(Mode::Bf16));
    let error = run(&settings("batch", "f32"), Mode::F32, &[&other]).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Device { .. }) && said.starts_with("the helper: cannot take points"), "{said}");
    assert!(said.contains("its loss and the length of its gradient at the same parameters are"), "{said}");
}

#[test]
fn a_helper_fails_before_it_helps_or_while_it_does() {
    let settings = settings("batch", "f32");
    let (expected, _) = run(&settings, Mode::F32, &[]).unwrap();
    let fails = |nth| Arc::new(Helping { fails: Some(nth), ..Helping::new(Mode::F32) });
    let (found, warned) = run(&settings, Mode::F32, &[&fails(10)]).unwrap();
    assert!(found == expected);
    assert!(warned.len() == 1 && warned[0].starts_with("the helper takes no points of lines: "), "{warned:?}");
    // A rehearsal is fewer launches than this, and one line is more.
    let error = run(&settings, Mode::F32, &[&fails(300)]).unwrap_err();
    assert!(matches!(error, Error::Device { .. }) && error.exit_code() == 3, "{error}");
}
