//! A run that was interrupted and resumed equals an uninterrupted run, to the bit: parameters, rows, probe files.

use normscape::data::image_set::ImageSet;

use normscape::files::{Array, Arrays, Values, npz, safetensors};
use normscape::network::initial_parameters;
use normscape::probe::table;
use normscape::runtime::cpu::Cpu;
use normscape::train::metrics::Row;
use normscape::train::source::load_images;
use normscape::train::{Observer, Place, Settings, Silent, Source, Start, Trainer, checkpoint};
use normscape::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Everything that has state: noise, augmentation, momentum, running statistics, tests, probes, checkpoints.
fn settings(steps: u64) -> Settings {
    let mut settings = Settings {
        width: 0.04,
        norm: "noisy".into(),
        data: "images".into(),
        batch: 6,
        steps,
        augment: true,
        momentum: 0.9,
        weight_decay: 1e-4,
        lr: 0.01,
        limit_train: Some(50),
        limit_test: Some(20),
        eval_every: Some(17),
        checkpoint_every: Some(9),
        probe: table::names().into_iter().map(Into::into).collect(),
        probe_every: Some(11),
        probe_at: vec![5.min(steps)],
        probe_points: 2,
        seed: 3,
        ..Settings::defaults("vgg11")
    };
    settings.resolve().unwrap();
    settings
}

/// Sets the stop flag at a row.
struct StopAt {
    step: Option<u64>,
    stop: Arc<AtomicBool>,
    warnings: Vec<String>,
}

impl Observer for StopAt {
    fn begin(&mut self, _: u64, _: u64) {}
    fn row(&mut self, row: &Row) {
        if Some(row.step) == self.step {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn warn(&mut self, message: &str) {
        self.warnings.push(message.into());
    }
}

/// The run's images; those of the usual limits are made once.
fn source(settings: &Settings) -> Result<Source> {
    static USUAL: OnceLock<Arc<ImageSet>> = OnceLock::new();
    if settings.limit_train != Some(50) {
        return Source::open(settings);
    }
    Source::of(USUAL.get_or_init(|| Arc::new(load_images(settings).unwrap())).clone(), settings)
}

fn part(out: &Path, settings: &Settings, resume: bool, stop_at: Option<u64>) -> (Result<()>, Vec<String>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut observer = StopAt { step: stop_at, stop: stop.clone(), warnings: Vec::new() };
    let ended = Place::take(out, Start::resumed(resume), "cpu")
        .and_then(|place| Ok((place, source(settings)?)))
        .and_then(|(place, source)| {
            Trainer::open(Cpu::<f32>::default(), settings.clone(), source, place, stop, &mut observer)
        })
        .and_then(|trainer| trainer.run(&mut observer).map(drop));
    (ended, observer.warnings)
}

/// Everything of a run that must be equal: final tensors, rows without `seconds`, probe arrays.
fn outcome(out: &Path, steps: u64) -> (Vec<String>, Vec<Arrays>) {
    let text = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
    let rows = text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
    let last = checkpoint::folder(&out.join("checkpoints"), steps);
    let tensors = |name: &str| safetensors::read(&last.join(name)).unwrap().0;
    let probe = |name: &str| npz::read(&out.join(format!("{name}.npz"))).unwrap();
    let probes = table::names().into_iter().map(probe);
    let tensors = ["parameters.safetensors", "state.safetensors"].map(tensors);
    (rows, probes.chain(tensors).collect())
}

#[test]
fn probes_of_one_line_agree_and_move_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (probed, plain) = (folder.path().join("probed"), folder.path().join("plain"));
    part(&probed, &settings(12), false, None).0.unwrap();
    part(&plain, &Settings { probe: Vec::new(), probe_every: None, probe_at: Vec::new(), ..settings(12) }, false, None)
        .0
        .unwrap();
    let (rows, found) = outcome(&probed, 12);
    let text = std::fs::read_to_string(plain.join("metrics.csv")).unwrap();
    assert_eq!(rows, text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect::<Vec<_>>());
    let [landscape, predictiveness, random] = [0, 1, 2].map(|i| &found[i]);
    assert_eq!(landscape, predictiveness);
    assert_eq!(random["seed"], Array::i64([], vec![3]));
    for same in ["step", "s", "base_loss", "grad_norm"] {
        assert_eq!(landscape[same], random[same], "{same}");
    }
    // Both lie at s‖g‖ before every parameter is rounded, which moves it by 2⁻²⁴ of its size at the most.
    let theta =
        initial_parameters(&settings(12).network().unwrap(), 3).iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let [along, across] = [landscape, random].map(|of| of["distance"].to_f64().unwrap());
    for (a, b) in along.iter().zip(&across) {
        // A tenth more, since training has changed θ's length.
        assert!((a - b).abs() <= 2.2 * 0.5f64.powi(24) * (theta.sqrt() + a), "{a} and {b}");
    }
    assert_ne!(landscape["loss"], random["loss"]);
    let place = |name: &str| table::names().iter().position(|probe| *probe == name).unwrap();
    let shift = &found[place("ics")];
    assert_eq!((shift["step"].shape.as_slice(), shift["cosine"].shape.as_slice()), (&[3][..], &[3, 9][..]));
    let names: Vec<String> = (1..=8).map(|i| format!("conv{i}")).chain(["fc".into()]).collect();
    assert_eq!(shift["name"], Array::text([9], names));
    // Of all layers but the last two units each.
    let [histograms, moments] = ["activations", "moments"].map(|name| &found[place(name)]);
    assert_eq!(histograms["layer"], Array::i64([8], (1..=8).collect()));
    for (name, shape) in
        [("unit", &[8, 2][..]), ("edges", &[8, 2, 65]), ("count", &[3, 8, 2, 64]), ("outside", &[3, 8, 2, 2])]
    {
        assert_eq!(histograms[name].shape, shape, "{name}");
    }
    assert_eq!((&histograms["step"], &histograms["unit"]), (&moments["step"], &moments["unit"]));
    assert_eq!((moments["mean"].shape.as_slice(), moments["var"].shape.as_slice()), (&[3, 8, 2][..], &[3, 8, 2][..]));
    assert_eq!(
        histograms["edges"].to_f64().unwrap()[..65],
        (0..65).map(|i| f64::from(i) / 8.0 - 4.0).collect::<Vec<_>>()
    );
    // Every value of the first layer's maps is counted: 6 images of 32×32.
    let [count, outside] = ["count", "outside"].map(|name| match &histograms[name].values {
        Values::I64(values) => values,
        other => panic!("{other:?}"),
    });
    assert_eq!(count[..64].iter().chain(&outside[..2]).sum::<i64>(), 6 * 32 * 32);
}

#[test]
fn interrupted_anywhere_it_ends_in_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(100);
    let whole = folder.path().join("whole");
    part(&whole, &settings, false, None).0.unwrap();
    let expected = outcome(&whole, 100);
    assert_eq!(expected.0.len(), 102, "a header and N + 1 rows");

    // After chosen rows: before, at and after probes, tests and checkpoints.
    let pieces = folder.path().join("pieces");
    for (number, stop) in [0, 4, 5, 8, 9, 10, 16, 17, 50, 98, 99].into_iter().enumerate() {
        let (ended, _) = part(&pieces, &settings, number > 0, Some(stop));
        assert!(matches!(ended, Err(Error::Interrupted)), "stop at {stop}: {ended:?}");
    }
    part(&pieces, &settings, true, None).0.unwrap();
    assert_eq!(outcome(&pieces, 100), expected);

    // Inside passes, at times that nobody chose.
    let random = folder.path().join("random");
    let mut parts = 0;
    loop {
        let stop = Arc::new(AtomicBool::new(false));
        let place = Place::take(&random, Start::resumed(parts > 0), "cpu").unwrap();
        let source = source(&settings).unwrap();
        let trainer =
            Trainer::open(Cpu::<f32>::default(), settings.clone(), source, place, stop.clone(), &mut Silent).unwrap();
        let timer = std::thread::spawn({
            let wait = std::time::Duration::from_micros(20_000 + 7_919 * parts);
            move || {
                std::thread::sleep(wait);
                stop.store(true, Ordering::Relaxed);
            }
        });
        let ended = trainer.run(&mut Silent);
        timer.join().unwrap();
        parts += 1;
        match ended {
            Err(Error::Interrupted) => {}
            other => break assert!(other.unwrap().diverged.is_none()),
        }
    }
    assert_eq!(outcome(&random, 100), expected, "after {parts} parts");
}

#[test]
fn so_it_is_under_weight_norm() {
    let settings = Settings { norm: "weight".into(), activation: "selu".into(), ..settings(20) };
    let folder = tempfile::tempdir().unwrap();
    let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
    part(&whole, &settings, false, None).0.unwrap();
    for (resume, stop) in [(false, Some(5)), (true, Some(13)), (true, None)] {
        assert_eq!(part(&pieces, &settings, resume, stop).0.is_ok(), stop.is_none());
    }
    let expected = outcome(&whole, 20);
    assert_eq!(outcome(&pieces, 20), expected);
    let names: Vec<_> = expected.1.iter().flat_map(|arrays| arrays.keys()).collect();
    for name in ["conv1.direction", "conv8.gain", "velocity.conv1.gain", "fc.weight"] {
        assert!(names.iter().any(|n| *n == name), "{name}");
    }
    // Gains have PyTorch's shape, and the one of earlier versions is read too.
    let gains = |arrays: &Arrays| arrays.iter().filter(|(name, _)| name.ends_with(".gain")).count();
    let older = folder.path().join("older");
    assert!(part(&older, &settings, false, Some(11)).0.is_err());
    let step = *checkpoint::list(&older.join("checkpoints")).unwrap().last().unwrap();
    let last = checkpoint::folder(&older.join("checkpoints"), step);
    let mut manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(last.join("manifest.json")).unwrap()).unwrap();
    for name in ["parameters.safetensors", "state.safetensors"] {
        let path = last.join(name);
        let (mut arrays, metadata) = safetensors::read(&path).unwrap();
        assert_eq!(gains(&arrays), 8, "{name}");
        for (name, array) in arrays.iter_mut().filter(|(name, _)| name.ends_with(".gain")) {
            assert_eq!(array.shape, [array.len(), 1, 1, 1], "{name}");
            array.shape = vec![array.len()];
        }
        safetensors::write(&path, &arrays.into_iter().collect::<Vec<_>>(), &metadata).unwrap();
        manifest["files"][name]["bytes"] = path.metadata().unwrap().len().into();
        manifest["files"][name]["sha256"] = normscape::files::hash::sha256_file(&path).unwrap().into();
    }
    std::fs::write(last.join("manifest.json"), manifest.to_string()).unwrap();
    let (ended, warnings) = part(&older, &settings, true, None);
    ended.unwrap();
    assert_eq!((outcome(&older, 20), warnings), (expected, Vec::<String>::new()));
}

#[test]
fn more_steps_continue_a_finished_run() {
    let folder = tempfile::tempdir().unwrap();
    let (long, short) = (folder.path().join("long"), folder.path().join("short"));
    part(&long, &settings(60), false, None).0.unwrap();
    part(&short, &settings(31), false, None).0.unwrap();
    part(&short, &settings(60), true, None).0.unwrap();
    // Test results stand at every 17th row and at the run's last: row 31 was the last of the shorter run only.
    assert_eq!(outcome(&short, 60), outcome(&long, 60));
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_older_one_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, hurt) = (folder.path().join("whole"), folder.path().join("hurt"));
    part(&whole, &settings(40), false, None).0.unwrap();
    let expected = outcome(&whole, 40);
    let spoil = |name: &str, what: fn(&Path)| {
        let _ = std::fs::remove_dir_all(&hurt);
        let (ended, _) = part(&hurt, &settings(40), false, Some(29));
        assert!(matches!(ended, Err(Error::Interrupted)));
        let steps = checkpoint::list(&hurt.join("checkpoints")).unwrap();
        assert_eq!(steps.len(), 2, "two are kept");
        what(&checkpoint::folder(&hurt.join("checkpoints"), steps[1]).join(name));
        let (ended, warnings) = part(&hurt, &settings(40), true, None);
        ended.unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(name), "{name}: {warnings:?}");
        assert_eq!(outcome(&hurt, 40), expected, "{name}");
    };
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(path, bytes).unwrap();
    };
    for name in ["parameters.safetensors", "state.safetensors", "state.json"] {
        spoil(name, flip);
        spoil(name, |path| std::fs::remove_file(path).unwrap());
    }
    spoil("manifest.json", |path| std::fs::write(path, "{").unwrap());

    for step in checkpoint::list(&hurt.join("checkpoints")).unwrap() {
        flip(&checkpoint::folder(&hurt.join("checkpoints"), step).join("parameters.safetensors"));
    }
    let error = part(&hurt, &settings(40), true, None).0.expect_err("none is valid");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("checkpoints"), "{error}");
}

#[test]
fn another_runs_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    part(&out, &settings(3), false, None).0.unwrap();
    let refused = |settings: Settings, resume: bool, part_of_message: &str| {
        let error = part(&out, &settings, resume, None).0.expect_err(part_of_message);
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(part_of_message), "{error}");
    };
    refused(settings(3), false, "exists");
    refused(settings(2), true, "--steps 2");
    refused(Settings { width: 0.08, ..settings(3) }, true, "network");
    refused(Settings { limit_train: Some(40), ..settings(3) }, true, "data");
}

/// A deep linear network on coordinates, whose batches are another each step or the whole set at every one.
#[test]
fn interrupted_on_coordinates_it_ends_in_the_same_bits() {
    for (norm, batch) in [("batch", 0), ("none", 30), ("l1", 30)] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            depth: 5,
            samples: 50,
            batch,
            norm: norm.into(),
            steps: 40,
            lr: 1e-4,
            checkpoint_every: Some(9),
            probe: ["landscape", "random", "ics"].map(Into::into).into(),
            probe_every: Some(7),
            precision: "f64".into(),
            ..Settings::defaults("dln")
        };
        settings.resolve().unwrap();
        let run = |out: &Path, resume, stop_at| {
            let stop = Arc::new(AtomicBool::new(false));
            let mut observer = StopAt { step: stop_at, stop: stop.clone(), warnings: Vec::new() };
            let place = Place::take(out, Start::resumed(resume), "cpu").unwrap();
            let source = Source::open(&settings).unwrap();
            Trainer::open(Cpu::<f64>::default(), settings.clone(), source, place, stop, &mut observer)
                .and_then(|trainer| trainer.run(&mut observer).map(drop))
        };
        let files = |out: &Path| {
            let text = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
            let rows: Vec<_> = text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect();
            let last = checkpoint::folder(&out.join("checkpoints"), 40);
            let names = ["landscape", "random", "ics"].map(|name| out.join(format!("{name}.npz")));
            let probes = names.map(|name| npz::read(&name).unwrap());
            (rows, probes, safetensors::read(&last.join("parameters.safetensors")).unwrap().0)
        };
        let (whole, pieces) = (folder.path().join("whole"), folder.path().join("pieces"));
        run(&whole, false, None).unwrap();
        for (number, stop) in [0, 6, 7, 8, 20, 39].into_iter().enumerate() {
            assert!(matches!(run(&pieces, number > 0, Some(stop)), Err(Error::Interrupted)), "stop at {stop}");
        }
        run(&pieces, true, None).unwrap();
        assert!(files(&whole) == files(&pieces), "{norm}");
    }
}

#[test]
fn a_run_that_diverges_is_recorded_with_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut settings = Settings {
        lr: 1.0,
        steps: 50,
        probe: table::names().into_iter().map(Into::into).collect(),
        probe_every: Some(1),
        ..Settings::defaults("dln")
    };
    settings.resolve().unwrap();
    let place = Place::take(&out, Start::Fresh, "cpu").unwrap();
    let source = Source::open(&settings).unwrap();
    let trainer =
        Trainer::open(Cpu::<f32>::default(), settings.clone(), source, place, Arc::default(), &mut Silent).unwrap();
    let (step, loss) = trainer.run(&mut Silent).unwrap().diverged.expect("a learning rate of 1 diverges");
    assert!(!loss.is_finite() && step > 0);
    let state = checkpoint::state_of(&checkpoint::folder(&out.join("checkpoints"), step)).unwrap();
    assert_eq!((state.step, state.diverged), (step, Some(step)));
    let text = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
    assert!(text.lines().last().unwrap().starts_with(&format!("{step},")));
    let arrays = npz::read(&out.join("landscape.npz")).unwrap();
    let beta = arrays["beta"].to_f64().unwrap();
    assert!(beta[beta.len() - 8..].iter().all(|b| b.is_nan()), "what was not measured is not a number, and no zero");
    let moments = npz::read(&out.join("moments.npz")).unwrap()["mean"].to_f64().unwrap();
    assert!(moments[moments.len() - 24 * 2..].iter().all(|m| m.is_nan()) && moments[0].is_finite());
    let histograms = npz::read(&out.join("activations.npz")).unwrap();
    for (name, each) in [("count", 24 * 2 * 64), ("outside", 24 * 2 * 2)] {
        let Values::I64(counts) = &histograms[name].values else { panic!("{name} is not of whole numbers") };
        assert!(counts[counts.len() - each..].iter().all(|&count| count == -1), "{name}");
        assert!(counts[..counts.len() - each].iter().all(|&count| count >= 0), "{name}");
    }
}

#[test]
fn a_damaged_checkpoint_never_outlives_a_valid_one() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let one = |steps| Settings { keep_checkpoints: 1, ..settings(steps) };
    assert!(part(&out, &settings(40), false, Some(29)).0.is_err());
    let checkpoints = out.join("checkpoints");
    let newest = *checkpoint::list(&checkpoints).unwrap().last().unwrap();
    std::fs::write(checkpoint::folder(&checkpoints, newest).join("state.json"), "").unwrap();
    // Goes on from the older one, and is stopped before it comes as far as the damaged one.
    assert!(part(&out, &one(40), true, Some(27)).0.is_err());
    assert_eq!(checkpoint::list(&checkpoints).unwrap(), [28]);
    part(&out, &one(40), true, None).0.unwrap();
}

#[test]
fn divergence_is_recorded_though_its_step_is_saved_already() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut settings = Settings { lr: 1.0, steps: 50, checkpoint_every: Some(1), ..Settings::defaults("dln") };
    settings.resolve().unwrap();
    let place = Place::take(&out, Start::Fresh, "cpu").unwrap();
    let trainer = Trainer::open(
        Cpu::<f32>::default(),
        settings.clone(),
        Source::open(&settings).unwrap(),
        place,
        Arc::default(),
        &mut Silent,
    );
    let (step, _) = trainer.unwrap().run(&mut Silent).unwrap().diverged.expect("a learning rate of 1 diverges");
    let state = checkpoint::state_of(&checkpoint::folder(&out.join("checkpoints"), step)).unwrap();
    assert_eq!(state.diverged, Some(step));
}

#[test]
fn logs_that_lack_rows_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    part(&out, &settings(12), false, None).0.unwrap();
    for (name, cut) in [("metrics.csv", "step,epoch"), ("landscape.npz", "")] {
        let path = out.join(name);
        let whole = std::fs::read(&path).unwrap();
        let short = match cut {
            "" => None,
            _ => Some(whole[..whole.len() / 2].to_vec()),
        };
        match &short {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = part(&out, &settings(20), true, None).0.expect_err(name);
        assert!(error.exit_code() == 2 && error.to_string().contains(name), "{error}");
        assert_eq!(std::fs::read(&path).ok(), short, "{name} was changed");
        std::fs::write(&path, whole).unwrap();
    }
    // A kill between the record and the folder of checkpoints.
    std::fs::remove_dir_all(out.join("checkpoints")).unwrap();
    part(&out, &settings(12), true, None).0.unwrap();
}
