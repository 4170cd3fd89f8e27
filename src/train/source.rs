//! Provides a run's batches.

use super::settings::Settings;
use crate::data::batch::{Batches, check_batch};
use crate::data::gaussian::GaussianSet;
use crate::data::image_set::{ImageSet, check_limit};
use crate::data::prefetch::Prefetch;
use crate::data::{cifar10, images};
use crate::files::hash;
use crate::network::{Engine, Scalar};
use crate::ops::backend::Backend;
use crate::ops::gather::ImageBytes;
use crate::runtime::rng::shuffled;
use crate::runtime::tensor::{DType, In, Out, Shape};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The data of a run.
pub enum Source {
    /// Labelled images with a test set.
    Images {
        /// Order, augmentation and standardisation.
        batches: Arc<Batches>,
        /// The thread that prepares batches; started with the first step.
        prefetch: Option<Prefetch>,
        /// A buffer for a batch of test images.
        x: Vec<f32>,
        /// The labels of these images.
        labels: Vec<u32>,
        /// The training set on the device, where the device makes its own batches.
        resident: Option<ImageBytes>,
    },
    /// The deep linear network's data.
    Gaussian {
        /// Samples and targets.
        set: GaussianSet,
        /// The seed of the samples' order.
        seed: u64,
        /// A buffer for a batch of samples.
        x: Vec<f32>,
        /// The targets of these samples.
        target: Vec<f32>,
        /// The whole set was handed over as one batch, and stays there.
        handed: bool,
    },
}

/// What a run's record says about its data.
pub struct Description {
    /// Kind and size in words.
    pub text: String,
    /// SHA-256 of every byte that training and testing use.
    pub hash: String,
    /// Number of training samples.
    pub train: usize,
    /// Number of test samples.
    pub test: usize,
}

/// The images that `--data` names, reduced to the limits.
pub fn load_images(settings: &Settings) -> Result<ImageSet> {
    let mut set = match settings.data.as_str() {
        "images" => {
            // How many there will be is known before they are made, which takes a while.
            check_limit(settings.limit_train.unwrap_or(images::TRAIN), images::TRAIN, "--limit-train")?;
            check_limit(settings.limit_test.unwrap_or(images::TEST), images::TEST, "--limit-test")?;
            check_batch(settings.batch, settings.limit_train.unwrap_or(images::TRAIN))?;
            // A larger set begins with the smaller one: what would be cut off is not made.
            let (train, test) =
                (settings.limit_train.unwrap_or(images::TRAIN), settings.limit_test.unwrap_or(images::TEST));
            images::generate(settings.seed, train, test)
        }
        path => cifar10::load(Path::new(path))?,
    };
    set.limit(settings.limit_train, settings.limit_test)?;
    Ok(set)
}

impl Source {
    /// Loads or generates the data of a run.
    pub fn open(settings: &Settings) -> Result<Source> {
        if settings.deep_linear() {
            let set = GaussianSet::generate(settings.seed, settings.samples, settings.dim)?;
            let room = vec![0.0; settings.batch * settings.dim];
            return Ok(Source::Gaussian { set, seed: settings.seed, x: room.clone(), target: room, handed: false });
        }
        Source::of(Arc::new(load_images(settings)?), settings)
    }

    /// A source of images that are already loaded; several runs may share them.
    pub fn of(set: Arc<ImageSet>, settings: &Settings) -> Result<Source> {
        let batches = Arc::new(Batches::new(set, settings.seed, settings.batch, settings.augment)?);
        let (x, labels) = (vec![0.0; settings.batch * 3 * 32 * 32], vec![0; settings.batch]);
        Ok(Source::Images { batches, prefetch: None, x, labels, resident: None })
    }

    /// A source of the same batches, for another device.
    pub fn twin(&self) -> Source {
        match self {
            Source::Images { batches, x, labels, .. } => {
                let (batches, x, labels) = (batches.clone(), x.clone(), labels.clone());
                Source::Images { batches, prefetch: None, x, labels, resident: None }
            }
            Source::Gaussian { set, seed, x, target, .. } => {
                let (set, x, target) = (set.clone(), x.clone(), target.clone());
                Source::Gaussian { set, seed: *seed, x, target, handed: false }
            }
        }
    }

    /// What the run's record says about these data.
    pub fn describe(&self) -> Description {
        match self {
            Source::Images { batches, .. } => {
                let set = batches.set();
                let (train, test) = (set.train.len(), set.test.len());
                Description { text: set.description.clone(), hash: set.hash(), train, test }
            }
            Source::Gaussian { set, .. } => Description {
                text: format!("{} Gaussian samples of {} dimensions", set.samples, set.dim),
                hash: hash::sha256(bytemuck::cast_slice(&[set.x.as_slice(), set.target.as_slice()].concat())),
                train: set.samples,
                test: 0,
            },
        }
    }

    /// Number of training samples, which `epoch` is counted by.
    pub fn train_len(&self) -> u64 {
        match self {
            Source::Images { batches, .. } => batches.set().train.len() as u64,
            Source::Gaussian { set, .. } => set.samples as u64,
        }
    }

    /// The training set on the device, where batches are gathered there, and whether they are augmented. Known once the first step has been
    /// handed over.
    pub fn resident(&self) -> Option<(ImageBytes, bool)> {
        match self {
            Source::Images { resident, batches, .. } => resident.map(|set| (set, batches.augment())),
            Source::Gaussian { .. } => None,
        }
    }

    /// Hands the batch of step `t` to the engine, or to an asynchronous device the set from which it makes the batch. Steps must be asked
    /// for in order, from any first step.
    pub fn hand_over<B: Backend>(&mut self, t: u64, engine: &mut Engine<B>) -> Result<()> {
        match self {
            Source::Images { batches, resident, .. } if engine.is_async() => {
                if resident.is_none() {
                    *resident = Some(upload(batches, engine)?);
                }
                Ok(())
            }
            Source::Images { batches, prefetch, .. } => {
                if prefetch.is_none() {
                    *prefetch = Some(Prefetch::start(batches.clone(), t)?);
                }
                let Some(prefetch) = prefetch else { return Ok(()) };
                let batch = prefetch.next_batch()?;
                debug_assert_eq!(batch.step, t);
                engine.set_labelled(&batch.x, &batch.labels)
            }
            Source::Gaussian { set, seed, x, target, handed } => {
                let (dim, n) = (set.dim, x.len() / set.dim);
                // A full batch is the same at every step, and nothing else writes there.
                if std::mem::replace(handed, n == set.samples) {
                    return Ok(());
                }
                for (i, (x, target)) in x.chunks_exact_mut(dim).zip(target.chunks_exact_mut(dim)).enumerate() {
                    let position = t * n as u64 + i as u64;
                    let (epoch, place) = (position / set.samples as u64, position % set.samples as u64);
                    // A full batch is the set as it lies: gradient descent has no order.
                    let sample = match n == set.samples {
                        true => i,
                        false => shuffled(*seed, epoch as u32, place as u32, set.samples as u32) as usize,
                    };
                    x.copy_from_slice(&set.x[sample * dim..][..dim]);
                    target.copy_from_slice(&set.target[sample * dim..][..dim]);
                }
                engine.set_target(x, target)
            }
        }
    }

    /// Mean loss and accuracy on the test set at `theta`, with the running statistics. `None` where there is no test set.
    pub fn test<B: Backend>(&mut self, engine: &mut Engine<B>, theta: In) -> Result<Option<(f64, f64)>> {
        let Source::Images { batches, x, labels, .. } = self else { return Ok(None) };
        let images = &batches.set().test;
        if images.is_empty() {
            return Ok(None);
        }
        let (loss, correct) = (engine.slot(Scalar::TestLoss), engine.slot(Scalar::TestCorrect));
        let (mut sum, mut right) = (0.0, 0usize);
        let mut first = 0;
        while first < images.len() {
            let valid = batches.fill_eval(images, first, x, labels);
            if valid == 0 {
                return Err(Error::operator("evaluation", "a batch with an image in it", "none"));
            }
            engine.set_labelled(x, labels)?;
            engine.evaluate(theta, Out(loss), Out(correct))?;
            // The last batch may be filled up with repeats: count the samples that are real.
            let samples = engine.samples()?;
            sum += engine.read(samples)?[..valid].iter().sum::<f64>();
            let output = engine.output()?;
            let logits = engine.read(output)?;
            let classes = logits.len() / labels.len();
            right +=
                logits.chunks_exact(classes).zip(&labels[..valid]).filter(|(z, l)| answer(z) == **l as usize).count();
            first += valid;
        }
        Ok(Some((sum / images.len() as f64, right as f64 / images.len() as f64)))
    }
}

/// Uploads the training set to the device, where it stays.
fn upload<B: Backend>(batches: &Batches, engine: &mut Engine<B>) -> Result<ImageBytes> {
    let set = &batches.set().train;
    let backend = engine.backend();
    let mut plan = backend.plan();
    let pixels = plan.view(Shape::new([set.len(), set.pixels.len() / set.len().max(1)]), DType::U8);
    let labels = plan.view(Shape::new([set.len()]), DType::U8);
    let table = plan.view(Shape::new([3, 256]), backend.dtype());
    backend.commit(&plan)?;
    backend.upload(&set.pixels, Out(pixels))?;
    backend.upload(&set.labels, Out(labels))?;
    backend.upload_f32(batches.table().as_flattened(), Out(table))?;
    Ok(ImageBytes { pixels: In(pixels), labels: In(labels), table: In(table) })
}

/// The index of the first largest logit.
fn answer(logits: &[f64]) -> usize {
    logits.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, &z)| if z > best.1 { (i, z) } else { best }).0
}
