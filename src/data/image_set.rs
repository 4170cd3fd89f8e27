//! Labelled 32×32 colour images in memory, and their standardisation.

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Height and width of every image.
pub const SIDE: usize = 32;
/// Colour channels: red, green, blue.
pub const CHANNELS: usize = 3;
/// Pixels of one channel of an image.
pub const PLANE: usize = SIDE * SIDE;
/// Bytes of an image: the red plane, the green, the blue, each row by row.
pub const IMAGE: usize = CHANNELS * PLANE;
/// Number of classes in every image set.
pub const CLASSES: usize = 10;

/// Images and their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// [`IMAGE`] bytes for each image: NCHW.
    pub pixels: Vec<u8>,
    /// The class of each image, below [`CLASSES`].
    pub labels: Vec<u8>,
}

impl Images {
    /// `count` black images of class 0, to be overwritten.
    pub fn blank(count: usize) -> Self {
        Images { pixels: vec![0; count * IMAGE], labels: vec![0; count] }
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The bytes of image `i`.
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * IMAGE..(i + 1) * IMAGE]
    }

    /// How many images each class has.
    pub fn per_class(&self) -> [usize; CLASSES] {
        let mut counts = [0; CLASSES];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// Keeps the first `n` images. The error names `option` where `n` is 0 or more than there are.
    fn limit(&mut self, n: usize, option: &str) -> Result<()> {
        check_limit(n, self.len(), option)?;
        self.pixels.truncate(n * IMAGE);
        self.labels.truncate(n);
        Ok(())
    }
}

/// Refuses a limit of 0 images, or of more than `there`; the error names the option.
pub fn check_limit(n: usize, there: usize, option: &str) -> Result<()> {
    if (1..=there).contains(&n) {
        return Ok(());
    }
    let remedy = format!("give a number of images from 1 to {there}");
    Err(Error::input(option, format!("{n} images were asked for"), remedy))
}

/// A training and a test set of the same classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// The set's name: `cifar10` or `images`.
    pub name: &'static str,
    /// Where it came from, for people.
    pub description: String,
    /// The name of each label, in label order.
    pub classes: [&'static str; CLASSES],
    /// The training images.
    pub train: Images,
    /// The test images, used only for evaluation.
    pub test: Images,
}

impl ImageSet {
    /// Keeps the first `train` training and the first `test` test images (`--limit-train`, `--limit-test`); `None` keeps all. A limit of 0
    /// or above the number of images is an error that names its option.
    pub fn limit(&mut self, train: Option<usize>, test: Option<usize>) -> Result<()> {
        if let Some(n) = train {
            self.train.limit(n, "--limit-train")?;
        }
        if let Some(n) = test {
            self.test.limit(n, "--limit-test")?;
        }
        Ok(())
    }

    /// SHA-256, in hexadecimal, of both sets' sizes, labels and pixels. It is equal where runs would see the same data.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for images in [&self.train, &self.test] {
            hash.update((images.len() as u64).to_le_bytes());
            hash.update(&images.labels);
            hash.update(&images.pixels);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Per-channel standardisation: (pixel/255 − mean)/std, as one fused multiply-add of the pixel's byte.
///
/// The sums are exact integers, so the constants do not depend on the order of the images or on the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standardisation {
    /// Mean of each channel over images and pixels, in units of 0 to 1.
    pub mean: [f32; CHANNELS],
    /// Standard deviation (biased) of each channel, in the same units.
    pub std: [f32; CHANNELS],
    /// 1/(255 std); 0 for a constant channel, which thus becomes 0 everywhere.
    pub scale: [f32; CHANNELS],
    /// −mean/std; 0 for a constant channel.
    pub shift: [f32; CHANNELS],
}

impl Standardisation {
    /// The standardisation of `images`, the images actually trained on. With no images it is a constant channel's.
    pub fn of(images: &Images) -> Self {
        let mut sums = [(0u64, 0u64); CHANNELS];
        for image in images.pixels.chunks_exact(IMAGE) {
            for (channel, (sum, squares)) in sums.iter_mut().enumerate() {
                // A plane's sums fit u32: 1,024 × 255².
                let plane = &image[channel * PLANE..(channel + 1) * PLANE];
                *sum += u64::from(plane.iter().map(|&v| u32::from(v)).sum::<u32>());
                *squares += u64::from(plane.iter().map(|&v| u32::from(v) * u32::from(v)).sum::<u32>());
            }
        }
        let mut all = Standardisation { mean: [0.0; 3], std: [0.0; 3], scale: [0.0; 3], shift: [0.0; 3] };
        let n = images.len() as u128 * PLANE as u128;
        for (channel, (sum, squares)) in sums.into_iter().enumerate() {
            if n == 0 {
                continue;
            }
            // (255 n)² times the variance, exact: subtracting rounded means would cancel.
            let spread = n * u128::from(squares) - u128::from(sum) * u128::from(sum);
            let mean = sum as f64 / (255.0 * n as f64);
            let std = (spread as f64).sqrt() / (255.0 * n as f64);
            all.mean[channel] = mean as f32;
            all.std[channel] = std as f32;
            if spread > 0 {
                all.scale[channel] = (1.0 / (255.0 * std)) as f32;
                all.shift[channel] = (-mean / std) as f32;
            }
        }
        all
    }

    /// The standardised value of a byte of `channel`.
    #[inline]
    pub fn apply(&self, channel: usize, pixel: u8) -> f32 {
        f32::from(pixel).mul_add(self.scale[channel], self.shift[channel])
    }

    /// The standardised value of every byte of every channel. There are only 256 bytes, and a look-up is faster than the arithmetic.
    pub fn table(&self) -> [[f32; 256]; CHANNELS] {
        std::array::from_fn(|channel| std::array::from_fn(|pixel| self.apply(channel, pixel as u8)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(train: usize, test: usize) -> ImageSet {
        let images = |n: usize, k: usize| Images {
            pixels: (0..n * IMAGE).map(|i| (i * k % 251) as u8).collect(),
            labels: (0..n).map(|i| (i % CLASSES) as u8).collect(),
        };
        let (train, test) = (images(train, 7), images(test, 11));
        ImageSet { name: "t", description: String::new(), classes: ["c"; CLASSES], train, test }
    }

    #[test]
    fn limits_keep_the_first_images_and_refuse_what_is_not_there() {
        let whole = set(20, 10);
        let mut cut = whole.clone();
        cut.limit(Some(5), None).unwrap();
        assert_eq!((cut.train.len(), cut.test.len()), (5, 10));
        assert_eq!(cut.train.pixels, whole.train.pixels[..5 * IMAGE]);
        for n in [0, 21] {
            let message = whole.clone().limit(Some(n), None).unwrap_err().to_string();
            assert!(message.starts_with("--limit-train: ") && message.contains("1 to 20"), "{message}");
        }
        let message = whole.clone().limit(None, Some(11)).unwrap_err().to_string();
        assert!(message.starts_with("--limit-test: ") && message.contains("1 to 10"), "{message}");
    }

    #[test]
    fn the_hash_sees_every_label_pixel_and_boundary() {
        let whole = set(20, 10);
        let mut other = whole.clone();
        other.test.pixels[10 * IMAGE - 1] ^= 1;
        assert_ne!(whole.hash(), other.hash());
        let mut other = whole.clone();
        other.train.labels[3] ^= 1;
        assert_ne!(whole.hash(), other.hash());
        let mut other = whole.clone();
        other.limit(Some(19), None).unwrap();
        assert_ne!(whole.hash(), other.hash());
        assert_eq!(whole.hash(), whole.clone().hash());
        assert_eq!(whole.hash().len(), 64);
    }

    #[test]
    fn standardised_images_have_mean_0_and_variance_1() {
        let images = set(30, 1).train;
        let standard = Standardisation::of(&images);
        let table = standard.table();
        for (channel, table) in table.iter().enumerate() {
            let values: Vec<f64> = images
                .pixels
                .chunks_exact(PLANE)
                .skip(channel)
                .step_by(CHANNELS)
                .flatten()
                .map(|&v| f64::from(table[usize::from(v)]))
                .collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let var = values.iter().map(|v| v * v).sum::<f64>() / n - mean * mean;
            assert!(mean.abs() < 1e-6 && (var - 1.0).abs() < 1e-6, "channel {channel}: {mean} {var}");
        }
    }

    #[test]
    fn standardisation_is_of_each_channel_and_a_constant_one_becomes_0() {
        let mut images = Images::blank(2);
        images.pixels[..PLANE].fill(255); // red: half white, half black
        images.pixels[PLANE..2 * PLANE].fill(77);
        images.pixels[IMAGE + PLANE..IMAGE + 2 * PLANE].fill(77); // green: constant
        let s = Standardisation::of(&images);
        assert_eq!((s.mean[0], s.std[0]), (0.5, 0.5));
        assert_eq!(s.apply(0, 0), -1.0);
        assert!((s.apply(0, 255) - 1.0).abs() < 2e-7); // 1/(255 std) is not a binary fraction
        assert_eq!((s.mean[1], s.std[1]), (77.0 / 255.0, 0.0));
        for pixel in 0..=255 {
            assert_eq!(s.apply(1, pixel), 0.0);
            assert_eq!(s.apply(2, pixel), 0.0);
        }
    }
}
