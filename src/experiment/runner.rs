//! Makes the runs of a plan, several at once with several workers. Finished runs are not made again.

use super::cost::Costs;
use super::hold::hold;
use super::images::Images;
use super::plan::Plan;
use super::runs::Group;
use super::stage::Stage;
use crate::files::disk;
use crate::train::held_folder::HeldFolder;
use crate::train::metrics::Row;
use crate::train::{Finished, Observer, Settings, Source};
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One run of a plan, in progress.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The run's index in the plan.
    pub number: usize,
    /// The run's group.
    pub group: &'a Group,
    /// The name of the run's folder.
    pub name: &'a str,
    /// The run's settings.
    pub settings: &'a Settings,
}

/// Receives the progress of a plan, from several threads.
pub trait Watch: Sync {
    /// A run had been finished before.
    fn finished_before(&self, task: &Task);
    /// A run begins at step `first`, or an existing one is resumed there.
    fn begins(&self, task: &Task, first: u64, resumed: bool);
    /// The run has logged a row.
    fn row(&self, task: &Task, row: &Row);
    /// A message that the user should see.
    fn warn(&self, task: &Task, message: &str);
    /// The run has ended, successfully or by diverging.
    fn ended(&self, task: &Task, finished: &Finished);
}

/// How runs are made.
pub trait Make: Sync {
    /// The name of the device, as a run's record has it.
    fn device(&self) -> &str;
    /// Makes one run in its folder from its data, or continues the run that is there. `worker`, counted from 0, is which of the workers makes
    /// it: each may have a device of its own. `stop` ends the run.
    fn make(
        &self,
        worker: usize,
        settings: &Settings,
        source: Source,
        folder: HeldFolder,
        stop: &Arc<AtomicBool>,
        observer: &mut dyn Observer,
    ) -> Result<Finished>;
    /// Notes that a worker finds no more runs to make.
    fn rests(&self, worker: usize) {
        let _ = worker;
    }
}

/// Makes every run of `plan` in a folder of its name under `folder`: `workers` runs at a time, each with `threads` threads. A run's folder
/// that another process has is waited for as long as `patience`.
///
/// A run that diverges is a result, not an error. After an error, or when `stop` is set, the other runs save what they have. Errors: as in
/// training; a folder there that is not of this plan, or a run there from another device or on other data; [`Error::Busy`].
pub fn run_all(
    plan: &Plan,
    folder: &Path,
    (workers, threads): (usize, usize),
    patience: Duration,
    stop: &Arc<AtomicBool>,
    watch: &dyn Watch,
    make: &dyn Make,
) -> Result<()> {
    disk::create_dir_all(folder)?;
    let images = Images::new(workers);
    let mut tasks = Vec::new();
    for (number, (group, name, settings)) in plan.runs().enumerate() {
        let task = Task { number, group, name, settings };
        if is_finished(&task, &folder.join(name), make.device(), &images)? {
            watch.finished_before(&task);
        } else {
            tasks.push((Costs::of(settings)?.run(settings), task));
        }
    }
    // The longest first, so that no worker is left with a long one at the end; among equals in the plan's order.
    tasks.sort_by(|a, b| b.0.total_cmp(&a.0));
    let tasks: Vec<Task> = tasks.into_iter().map(|(_, task)| task).collect();
    let one = |worker: usize, task: &Task| {
        let out = folder.join(task.name);
        let waits = || watch.warn(task, "another process works in its folder; waiting for it");
        let held = hold(&out, patience, stop, waits)?;
        let resumed = held.record().is_some();
        // Another process may have begun or ended it since it was looked at; now nobody can.
        if resumed && is_finished(task, &out, make.device(), &images)? {
            watch.finished_before(task);
            return Ok(());
        }
        let source = images.source(task.settings)?;
        let mut observer = Telling { task, resumed, watch };
        let finished = make.make(worker, task.settings, source, held, stop, &mut observer)?;
        watch.ended(task, &finished);
        Ok(())
    };
    each(&tasks, (workers, threads), stop, one, |worker| make.rests(worker))
}

/// Runs `one` on each task, in order, on several workers, and gives it the worker's number, from 0. A worker that finds no more tasks calls `rests`.
/// After an error the other workers are asked to stop. Returns the first error other than their interruption.
pub fn each<T: Sync>(
    tasks: &[T],
    (workers, threads): (usize, usize),
    stop: &AtomicBool,
    one: impl Fn(usize, &T) -> Result<()> + Sync,
    rests: impl Fn(usize) + Sync,
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let work = |worker: usize| {
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { one(worker, task) };
            if let Err(error) = done {
                let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if failed.is_none() || matches!(*failed, Some(Error::Interrupted)) {
                    *failed = Some(error);
                }
                stop.store(true, Ordering::Relaxed);
                return;
            }
        }
        rests(worker);
    };
    let needed = workers.clamp(1, tasks.len().max(1));
    (needed..workers).for_each(&rests);
    let pools: Vec<rayon::ThreadPool> = (0..needed)
        .map(|_| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.map_err(|e| Error::input(format!("{workers} runs at once"), e.to_string(), "give fewer --jobs"))
        })
        .collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        for (worker, pool) in pools.iter().enumerate() {
            let work = &work;
            scope.spawn(move || pool.install(|| work(worker)));
        }
    });
    match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Forwards the messages of a run, with its task.
struct Telling<'a> {
    task: &'a Task<'a>,
    resumed: bool,
    watch: &'a dyn Watch,
}

impl Observer for Telling<'_> {
    fn begin(&mut self, first: u64, _: u64) {
        self.watch.begins(self.task, first, self.resumed);
    }
    fn row(&mut self, row: &Row) {
        self.watch.row(self.task, row);
    }
    fn warn(&mut self, message: &str) {
        self.watch.warn(self.task, message);
    }
}

/// Whether the run is finished. Errors: the run has other settings, is from another device, or is on other data. Resuming such a run is
/// refused, so a finished one must not be accepted silently either.
fn is_finished(task: &Task, out: &Path, device: &str, images: &Images) -> Result<bool> {
    let stage = Stage::of(out, task.settings)?;
    let Some(record) = stage.record() else { return Ok(false) };
    let differs = |what: &str, was: &str, is: &str| {
        let problem = format!("is a run whose {what} is {was}, and the plan's is {is}");
        Err(Error::file(out, problem, "choose another --out, or remove it"))
    };
    let (was, data) = (record.settings.data.as_str(), task.settings.data.as_str());
    if record.program.device != device {
        return differs("device", &record.program.device, device);
    }
    if was != data && (made_of_settings(was) || made_of_settings(data)) {
        return differs("data", was, data);
    }
    let finished = matches!(stage, Stage::Finished(_));
    if finished && !made_of_settings(data) {
        let hash = images.hash(task.settings)?;
        if record.data.sha256 != hash {
            return differs("data", &record.data.sha256, &hash);
        }
    }
    Ok(finished)
}

/// Whether the data are generated, so that equal settings give equal data.
fn made_of_settings(data: &str) -> bool {
    ["images", "gaussian"].contains(&data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Scale;
    use crate::experiment::runs::Request;
    use crate::runtime::cpu::Cpu;
    use crate::train::{Place, Trainer, checkpoint};
    use std::path::PathBuf;

    /// Makes runs on the CPU, and interrupts each after the row of the step `stop_after`.
    struct Maker {
        stop_after: Option<u64>,
        device: &'static str,
        save_within: Option<Duration>,
        /// If set, the run's folder is copied there after the row of step 3, as a kill would leave it.
        copy: Option<PathBuf>,
    }

    const WHOLE: Maker = Maker { stop_after: None, device: "cpu", save_within: None, copy: None };

    struct StopAfter<'a> {
        step: Option<u64>,
        stop: Arc<AtomicBool>,
        copy: Option<(&'a Path, &'a Path)>,
        told: &'a mut dyn Observer,
    }

    impl Observer for StopAfter<'_> {
        fn begin(&mut self, first: u64, last: u64) {
            self.told.begin(first, last);
        }
        fn row(&mut self, row: &Row) {
            self.told.row(row);
            if let Some((from, to)) = self.copy.filter(|_| row.step == 3) {
                copy(from, to);
            }
            if self.step == Some(row.step) {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        fn warn(&mut self, message: &str) {
            self.told.warn(message);
        }
    }

    impl Make for Maker {
        fn device(&self) -> &str {
            self.device
        }
        fn make(
            &self,
            _: usize,
            settings: &Settings,
            source: Source,
            folder: HeldFolder,
            _: &Arc<AtomicBool>,
            observer: &mut dyn Observer,
        ) -> Result<Finished> {
            let stop = Arc::new(AtomicBool::new(false));
            let out = folder.root().to_owned();
            let mut observer = StopAfter {
                step: self.stop_after,
                stop: stop.clone(),
                copy: self.copy.as_deref().map(|to| (out.as_path(), to)),
                told: observer,
            };
            let place = Place { folder, device: self.device, tensorboard: false };
            let trainer = Trainer::open(Cpu::<f32>::default(), settings.clone(), source, place, stop, &mut observer)?;
            trainer.saving_within(self.save_within).run(&mut observer)
        }
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let to = to.join(entry.file_name().unwrap());
            if entry.is_dir() { copy(&entry, &to) } else { _ = std::fs::copy(&entry, &to).unwrap() }
        }
    }

    /// Counts the calls that it receives.
    #[derive(Default)]
    struct Count {
        finished_before: AtomicUsize,
        rows: AtomicUsize,
    }

    impl Watch for Count {
        fn finished_before(&self, _: &Task) {
            self.finished_before.fetch_add(1, Ordering::Relaxed);
        }
        fn begins(&self, _: &Task, _: u64, _: bool) {}
        fn row(&self, _: &Task, _: &Row) {
            self.rows.fetch_add(1, Ordering::Relaxed);
        }
        fn warn(&self, _: &Task, _: &str) {}
        fn ended(&self, _: &Task, _: &Finished) {}
    }

    const STEPS: u64 = 5;

    /// A plan of one run of a small network.
    fn plan(own: Settings) -> Plan {
        let mut settings = Settings { steps: STEPS, ..own };
        settings.resolve().unwrap();
        let runs = vec![("one".to_owned(), settings)];
        let group = Group { id: "one".into(), label: "one".into(), style: 0, runs };
        Plan { request: Request::at(Scale::Smoke), parts: Vec::new(), groups: vec![group] }
    }

    fn small() -> Settings {
        Settings { depth: 3, dim: 4, samples: 20, probe: vec!["landscape:1".into()], ..Settings::defaults("dln") }
    }

    /// How many runs had been finished before, and how many rows were made.
    fn made(plan: &Plan, folder: &Path, maker: &Maker) -> Result<(usize, usize)> {
        let count = Count::default();
        run_all(plan, folder, (1, 1), Duration::ZERO, &Arc::default(), &count, maker)?;
        Ok((count.finished_before.into_inner(), count.rows.into_inner()))
    }

    #[test]
    fn a_run_that_was_interrupted_before_its_last_row_is_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(small());
        // After the last update: the checkpoint's step is the last one, and its row is missing.
        let ended = made(&plan, folder.path(), &Maker { stop_after: Some(STEPS - 1), ..WHOLE });
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        assert_eq!(made(&plan, folder.path(), &WHOLE).unwrap(), (0, 1), "the last row alone is made");
        let rows = std::fs::read_to_string(folder.path().join("one/metrics.csv")).unwrap();
        assert!(rows.lines().last().unwrap().starts_with("5,"), "{rows}");
        assert_eq!(made(&plan, folder.path(), &WHOLE).unwrap(), (1, 0));
    }

    #[test]
    fn a_finished_run_of_another_device_or_of_other_data_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        made(&plan(small()), folder.path(), &WHOLE).unwrap();
        let refused = |plan: &Plan, folder: &Path, maker: &Maker, says: &str| {
            let message = made(plan, folder, maker).unwrap_err().to_string();
            assert!(message.contains(says) && message.contains("choose another --out"), "{message}");
            assert_eq!(checkpoint::list(&folder.join("one/checkpoints")).unwrap(), [STEPS]);
        };
        let elsewhere = Maker { device: "cuda", ..WHOLE };
        refused(&plan(small()), folder.path(), &elsewhere, "whose device is cpu, and the plan's is cuda");

        // A folder of CIFAR-10's form, whose files then become others; and generated images in their place.
        let [data, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut bytes: Vec<u8> = (0..10_000 * 3073).map(|i| (i % 251) as u8).collect();
        bytes.chunks_mut(3073).for_each(|image| image[0] %= 10);
        for (batch, name) in (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".into()]).enumerate()
        {
            bytes.chunks_mut(3073).for_each(|image| image[1] = batch as u8);
            std::fs::write(data.path().join(name), &bytes).unwrap();
        }
        let vgg = |data: &str| {
            let limits = Settings { limit_train: Some(8), limit_test: Some(4), ..Settings::defaults("vgg11") };
            plan(Settings { width: 0.05, batch: 4, data: data.into(), ..limits })
        };
        let path = data.path().display().to_string();
        made(&vgg(&path), folder.path(), &WHOLE).unwrap();
        assert_eq!(made(&vgg(&path), folder.path(), &WHOLE).unwrap(), (1, 0));
        refused(&vgg("images"), folder.path(), &WHOLE, "and the plan's is images");
        bytes.chunks_mut(3073).for_each(|image| image[1] = 9);
        std::fs::write(data.path().join("data_batch_1.bin"), &bytes).unwrap();
        refused(&vgg(&path), folder.path(), &WHOLE, "is a run whose data is");
    }

    #[test]
    fn a_run_that_is_saved_by_time_goes_on_after_a_kill_and_ends_in_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let [whole, saved, killed] = ["whole", "saved", "killed"].map(|name| folder.path().join(name));
        let outcome = |folder: &Path| {
            let rows = std::fs::read_to_string(folder.join("one/metrics.csv")).unwrap();
            let rows: Vec<_> = rows.lines().map(|row| row.rsplit_once(',').unwrap().0.to_owned()).collect();
            let bytes = ["landscape.npz", "checkpoints/step-5/parameters.safetensors"];
            (rows, bytes.map(|name| std::fs::read(folder.join("one").join(name)).unwrap()))
        };
        made(&plan(small()), &whole, &WHOLE).unwrap();
        let often = Maker { save_within: Some(Duration::ZERO), copy: Some(killed.join("one")), ..WHOLE };
        assert_eq!(made(&plan(small()), &saved, &often).unwrap(), (0, 6));
        assert_eq!(checkpoint::list(&saved.join("one/checkpoints")).unwrap(), [5], "what time asked for is gone");
        // After the row of step 3 step 3 was saved, and step 4 was not yet.
        assert_eq!(made(&plan(small()), &killed, &WHOLE).unwrap(), (0, 3));
        assert_eq!(outcome(&saved), outcome(&whole));
        assert_eq!(outcome(&killed), outcome(&whole));
    }
}
