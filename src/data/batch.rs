//! Batches of images: their order and augmentation as pure functions of (seed, epoch, image), written in HWNC.

use std::sync::Arc;

use crate::data::image_set::{CHANNELS, IMAGE, ImageSet, Images, PLANE, SIDE, Standardisation};
pub use crate::ops::gather::{Augmentation, PADDING};
use crate::runtime::rng;
use crate::{Error, Result};

/// Images that are gathered together. Their standardised pixels at one place fill three cache lines.
const BLOCK: usize = 16;

/// What determines a training batch, apart from its step.
#[derive(Debug, Clone)]
pub struct Batches {
    set: Arc<ImageSet>,
    table: [[f32; 256]; CHANNELS],
    standardisation: Standardisation,
    seed: u64,
    batch: usize,
    augment: bool,
}

/// Refuses a batch of 0, or one larger than the training set.
pub fn check_batch(batch: usize, images: usize) -> Result<()> {
    if (1..=images).contains(&batch) {
        return Ok(());
    }
    let remedy = format!("give a number from 1 to the {images} training images");
    Err(Error::input("--batch", format!("is {batch}"), remedy))
}

impl Batches {
    /// Batches of `batch` training images of `set`. `seed` gives their order and, with `augment`, their crops and flips.
    ///
    /// Pixels are standardised by the constants of `set`'s training images. A batch of 0 or larger than the training set is an error, and
    /// so is an empty test set.
    pub fn new(set: Arc<ImageSet>, seed: u64, batch: usize, augment: bool) -> Result<Self> {
        let images = set.train.len();
        check_batch(batch, images)?;
        if set.test.is_empty() || u32::try_from(images.max(set.test.len())).is_err() {
            let problem = format!("holds {images} training and {} test images", set.test.len());
            return Err(Error::input("--data", problem, "give from 1 to 4294967295 of each"));
        }
        let standardisation = Standardisation::of(&set.train);
        Ok(Batches { table: standardisation.table(), standardisation, set, seed, batch, augment })
    }

    /// The images.
    pub fn set(&self) -> &ImageSet {
        &self.set
    }

    /// The constants by which pixels are standardised.
    pub fn standardisation(&self) -> &Standardisation {
        &self.standardisation
    }

    /// Whether images are cropped and mirrored.
    pub fn augment(&self) -> bool {
        self.augment
    }

    /// The standardised value of each byte of each colour.
    pub fn table(&self) -> &[[f32; 256]; CHANNELS] {
        &self.table
    }

    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The epoch (modulo 2³²) and the training image at place `i` of the batch of `step`.
    ///
    /// Epochs follow each other without a gap and are cut into full batches. So a batch may span two epochs, and every epoch uses every
    /// image once.
    pub fn place(&self, step: u64, i: usize) -> (u32, u32) {
        let images = self.set.train.len() as u128;
        let position = u128::from(step) * self.batch as u128 + i as u128;
        let epoch = (position / images) as u32;
        // Below 2³²: `new` has checked the number of images.
        (epoch, rng::shuffled(self.seed, epoch, (position % images) as u32, images as u32))
    }

    /// Writes the training batch of `step`. Pixel (h, w), channel c of image n goes to `x[((h·32 + w)·N + n)·3 + c]` (HWNC, standardised),
    /// and the image's class to `labels[n]`. The padding of augmented images is black (pixel 0), as when torchvision's `RandomCrop` comes
    /// before `ToTensor` and `Normalize`.
    ///
    /// # Panics
    ///
    /// If `labels` does not have N = [`Batches::batch`] places, or `x` not N × 3072.
    pub fn fill(&self, step: u64, x: &mut [f32], labels: &mut [u32]) {
        assert_eq!(labels.len(), self.batch, "labels of a batch");
        let images = &self.set.train;
        self.gather(x, labels, |i, pixels| {
            let (epoch, image) = self.place(step, i);
            let source = images.image(image as usize);
            if self.augment {
                window(source, Augmentation::of(self.seed, epoch, image), pixels);
            } else {
                pixels.copy_from_slice(source);
            }
            u32::from(images.labels[image as usize])
        });
    }

    /// Writes images `first`, `first + 1`, … of `images` (the training or the test set), unaugmented, in the layout of [`Batches::fill`]
    /// with N = `labels.len()`. Past the end, the last image is repeated. Returns how many of the images are real: 0 where `first` is past
    /// the end.
    ///
    /// # Panics
    ///
    /// If `images` is empty, or `x` does not have N × 3072 places.
    pub fn fill_eval(&self, images: &Images, first: usize, x: &mut [f32], labels: &mut [u32]) -> usize {
        let last = images.len() - 1;
        let count = labels.len();
        self.gather(x, labels, |i, pixels| {
            let image = first.saturating_add(i).min(last);
            pixels.copy_from_slice(images.image(image));
            u32::from(images.labels[image])
        });
        images.len().saturating_sub(first).min(count)
    }

    /// Calls `source` for each image of a batch, to write its bytes and return its class; standardises the bytes and transposes them to HWNC.
    fn gather(&self, x: &mut [f32], labels: &mut [u32], mut source: impl FnMut(usize, &mut [u8; IMAGE]) -> u32) {
        let batch = labels.len();
        assert_eq!(x.len(), batch * IMAGE, "pixels of a batch of {batch}");
        let mut bytes = [[0u8; IMAGE]; BLOCK];
        for (block, labels) in labels.chunks_mut(BLOCK).enumerate() {
            for (i, label) in labels.iter_mut().enumerate() {
                *label = source(block * BLOCK + i, &mut bytes[i]);
            }
            let bytes = &bytes[..labels.len()];
            let [red, green, blue] = &self.table;
            for place in 0..PLANE {
                let start = (place * batch + block * BLOCK) * CHANNELS;
                let out = &mut x[start..start + labels.len() * CHANNELS];
                for (out, image) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(bytes) {
                    out[0] = red[usize::from(image[place])];
                    out[1] = green[usize::from(image[PLANE + place])];
                    out[2] = blue[usize::from(image[2 * PLANE + place])];
                }
            }
        }
    }
}

/// Copies the window at `at` from the padded image.
fn window(image: &[u8], at: Augmentation, out: &mut [u8; IMAGE]) {
    // The columns of the window that lie on the image, and where they come from.
    let from = at.left.saturating_sub(PADDING);
    let to = PADDING.saturating_sub(at.left);
    let width = SIDE - from.max(to);
    for channel in 0..CHANNELS {
        for row in 0..SIDE {
            let out = &mut out[channel * PLANE + row * SIDE..][..SIDE];
            out.fill(0);
            if (PADDING..PADDING + SIDE).contains(&(at.top + row)) {
                let source = channel * PLANE + (at.top + row - PADDING) * SIDE + from;
                out[to..to + width].copy_from_slice(&image[source..source + width]);
            }
            if at.flip {
                out.reverse();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::image_set::CLASSES;
    use crate::runtime::rng::Purpose;

    /// Images whose bytes are a function of (image, byte), so that any mix-up shows.
    fn set(train: usize, test: usize) -> Arc<ImageSet> {
        let images = |n: usize, salt: u32| Images {
            pixels: (0..n * IMAGE).map(|i| rng::word(salt.into(), Purpose::Case, 0, 0, i as u64) as u8).collect(),
            labels: (0..n).map(|i| (i % CLASSES) as u8).collect(),
        };
        let (train, test) = (images(train, 1), images(test, 2));
        Arc::new(ImageSet { name: "t", description: String::new(), classes: ["c"; CLASSES], train, test })
    }

    fn at(x: &[f32], n: usize, batch: usize, c: usize, h: usize, w: usize) -> f32 {
        x[((h * SIDE + w) * batch + n) * CHANNELS + c]
    }

    #[test]
    fn batches_that_span_epochs_use_every_image_once_in_each() {
        let batches = Batches::new(set(10, 1), 4, 4, false).unwrap();
        let places: Vec<_> = (0..10).flat_map(|step| (0..4).map(move |i| (step, i))).collect();
        let mut uses = [[0; 10]; 4];
        for (k, (step, i)) in places.into_iter().enumerate() {
            let (epoch, image) = batches.place(step, i);
            assert_eq!(epoch as usize, k / 10, "step 2 holds the end of epoch 0 and the start of epoch 1");
            uses[epoch as usize][image as usize] += 1;
        }
        assert_eq!(uses, [[1; 10]; 4]);
        // As far as a run can go.
        assert!(batches.place(u64::MAX, 3).1 < 10);
    }

    #[test]
    fn a_batch_holds_its_images_standardised_in_hwnc() {
        let set = set(37, 5);
        let batch = 18; // one whole block, and a part
        let batches = Batches::new(set.clone(), 11, batch, false).unwrap();
        let (mut x, mut labels) = (vec![f32::NAN; batch * IMAGE], vec![99; batch]);
        batches.fill(3, &mut x, &mut labels);
        let standard = Standardisation::of(&set.train);
        for (n, &label) in labels.iter().enumerate() {
            let image = batches.place(3, n).1 as usize;
            assert_eq!(label, u32::from(set.train.labels[image]));
            for (i, &pixel) in set.train.image(image).iter().enumerate() {
                let (c, h, w) = (i / PLANE, i % PLANE / SIDE, i % SIDE);
                assert_eq!(at(&x, n, batch, c, h, w), standard.apply(c, pixel));
            }
        }
    }

    #[test]
    fn an_augmented_batch_holds_the_windows_of_the_padded_images() {
        let set = set(40, 1);
        let batches = Batches::new(set.clone(), 5, 40, true).unwrap();
        let (mut x, mut labels) = (vec![f32::NAN; 40 * IMAGE], vec![0; 40]);
        batches.fill(7, &mut x, &mut labels);
        let standard = Standardisation::of(&set.train);
        let mut moved = 0;
        for n in 0..40 {
            let (epoch, image) = batches.place(7, n);
            let by = Augmentation::of(5, epoch, image);
            moved += usize::from(by != Augmentation::NONE);
            for (c, h, w) in (0..IMAGE).map(|i| (i / PLANE, i % PLANE / SIDE, i % SIDE)) {
                let column = if by.flip { SIDE - 1 - w } else { w };
                // The padded image, read pixel by pixel.
                let (row, column) = (h + by.top, column + by.left);
                let inside = (4..36).contains(&row) && (4..36).contains(&column);
                let image = set.train.image(image as usize);
                let pixel = if inside { image[c * PLANE + (row - 4) * SIDE + column - 4] } else { 0 };
                assert_eq!(at(&x, n, 40, c, h, w), standard.apply(c, pixel));
            }
        }
        assert!(moved > 30);
    }

    #[test]
    fn windows_and_flips_are_uniform_independent_and_differ_by_epoch() {
        let mut counts = [0u32; 162];
        for image in 0..40_500 {
            let a = Augmentation::of(1, 2, image);
            counts[(a.top * 9 + a.left) * 2 + usize::from(a.flip)] += 1;
        }
        // χ² with 161 degrees of freedom, 250 expected in each cell; five standard deviations.
        let chi2: f64 = counts.iter().map(|&n| (f64::from(n) - 250.0).powi(2) / 250.0).sum();
        assert!((chi2 - 161.0).abs() < 5.0 * (2.0f64 * 161.0).sqrt(), "χ² {chi2}");
        let epoch = |seed, epoch| (0..100).map(|i| Augmentation::of(seed, epoch, i)).collect::<Vec<_>>();
        assert_ne!(epoch(1, 0), epoch(1, 1));
        assert_ne!(epoch(1, 0), epoch(2, 0));
    }

    #[test]
    fn a_batch_is_a_function_of_its_step() {
        let batches = Batches::new(set(30, 1), 8, 7, true).unwrap();
        let fill = |step| {
            let (mut x, mut labels) = (vec![0.0; 7 * IMAGE], vec![0; 7]);
            batches.fill(step, &mut x, &mut labels);
            (x, labels)
        };
        let fifth = fill(5);
        assert_ne!(fifth, fill(4));
        assert_eq!(fifth, fill(5));
    }

    #[test]
    fn evaluation_goes_in_order_and_repeats_the_last_image() {
        let set = set(3, 5);
        let batches = Batches::new(set.clone(), 0, 3, true).unwrap();
        let (mut x, mut labels) = (vec![0.0; 4 * IMAGE], vec![0; 4]);
        assert_eq!(batches.fill_eval(&set.test, 0, &mut x, &mut labels), 4);
        assert_eq!(labels, [0, 1, 2, 3]);
        assert_eq!(batches.fill_eval(&set.test, 4, &mut x, &mut labels), 1);
        assert_eq!(labels, [4; 4]);
        for n in 0..4 {
            assert_eq!(at(&x, n, 4, 1, 2, 3), batches.standardisation().apply(1, set.test.image(4)[PLANE + 67]));
        }
        assert_eq!(batches.fill_eval(&set.test, 5, &mut x, &mut labels), 0);
        assert_eq!(batches.fill_eval(&set.train, 0, &mut x, &mut labels), 3);
    }

    #[test]
    fn a_batch_that_cannot_be_is_refused_by_name() {
        for batch in [0, 31] {
            let message = Batches::new(set(30, 1), 0, batch, false).unwrap_err().to_string();
            assert!(message.starts_with("--batch: is ") && message.contains("30 training images"), "{message}");
        }
        assert!(Batches::new(set(30, 0), 0, 1, false).is_err());
    }
}
