//! A generated image set: ten classes of textured shapes, so that everything runs without a download.
//!
//! A class is one of five shapes with one of two textures. The shape has a random place, size, angle and colours; its background has a
//! random gradient and bands; a bar hides part of the image, and noise covers it. As in photographs, the hues of background and shape say a
//! little about the class. For the rest, a network has to find edges and what is between them. Brightness says nothing.
//!
//! The number of images, the strength of the hues and the visibility of the shapes were chosen so that VGG learns from these images as fast
//! as from CIFAR-10, with and without BatchNorm: docs/protocol.md.
//!
//! Every image is a function of (seed, set, index), computed in integers and f32 `+ − ×` only. So its bits are the same on every machine
//! and for every number of threads.

use rayon::prelude::*;

use crate::data::image_set::{CLASSES, IMAGE, ImageSet, Images, PLANE, SIDE};
use crate::runtime::rng::{self, Purpose};

/// Default number of training images: as many as CIFAR-10 has. With a fifth of them, the network with BatchNorm learns every image by heart.
pub const TRAIN: usize = 50_000;
/// Default number of test images.
pub const TEST: usize = 2_000;

/// The classes, in label order: label = 2 × shape + texture.
pub const NAMES: [&str; CLASSES] = [
    "striped disc",
    "checked disc",
    "striped square",
    "checked square",
    "striped triangle",
    "checked triangle",
    "striped cross",
    "checked cross",
    "striped ring",
    "checked ring",
];

/// The streams of [`Purpose::Data`] for the two sets; streams 0 and 1 are the Gaussian set's.
const STREAMS: [u32; 2] = [2, 3];

/// The set for `seed`, with `train` and `test` images. A larger set begins with the smaller one, and the classes take turns, so that a set
/// cut to any limit is balanced.
pub fn generate(seed: u64, train: usize, test: usize) -> ImageSet {
    let images = |stream, count| {
        let mut images = Images::blank(count);
        let places = images.pixels.par_chunks_exact_mut(IMAGE).zip(&mut images.labels);
        places.enumerate().for_each(|(i, (pixels, label))| {
            *label = (i % CLASSES) as u8;
            paint(&mut Words::new(seed, stream, i as u64), *label, pixels);
        });
        images
    };
    let description = format!("generated images of textured shapes, seed {seed}");
    let (train, test) = (images(STREAMS[0], train), images(STREAMS[1], test));
    ImageSet { name: "images", description, classes: NAMES, train, test }
}

/// The hue that each class tends to: ten around the colour circle, all equally bright.
const HUES: [[f32; 3]; CLASSES] = [
    [1.00, -0.50, -0.50],
    [0.81, 0.10, -0.91],
    [0.31, 0.67, -0.98],
    [-0.31, 0.98, -0.67],
    [-0.81, 0.91, -0.10],
    [-1.00, 0.50, 0.50],
    [-0.81, -0.10, 0.91],
    [-0.31, -0.67, 0.98],
    [0.31, -0.98, 0.67],
    [0.81, -0.91, 0.10],
];
/// How far a colour is shifted towards its hue, of 255. A background's channel varies by 175, a shape's by 135.
const LEAN: f32 = 40.0;

/// The hue of a class's background and the hue of its shape. The two use different permutations of the classes, so each carries its own
/// information.
fn hues(label: u8) -> [[f32; 3]; 2] {
    let label = usize::from(label);
    [HUES[label], HUES[(3 * label + 4) % CLASSES]]
}

/// The random words of one image, in sequence.
struct Words {
    seed: u64,
    stream: u32,
    image: u64,
    next: u32,
}

impl Words {
    fn new(seed: u64, stream: u32, image: u64) -> Self {
        Words { seed, stream, image, next: 0 }
    }

    /// The next four words; an image uses a few hundred.
    fn four(&mut self) -> [u32; 4] {
        // The upper half of the image's number stands where other draws have the step.
        let at = self.next;
        self.next += 1;
        rng::draw(self.seed, Purpose::Data, self.stream, (self.image >> 32) as u32, self.image as u32, at)
    }

    /// The next four uniform numbers, each in [lo, lo + width).
    fn uniform(&mut self, lo: f32, width: f32) -> [f32; 4] {
        self.four().map(|word| rng::uniform_in(word, lo, width))
    }

    /// A random direction: (cos, sin) of one of 64 angles.
    fn direction(&mut self) -> (f32, f32) {
        // By repeated turning, which needs no sine.
        let (c, s) = (0.995_184_7_f32, 0.098_017_14_f32);
        let turns = self.four()[0] >> 26;
        (0..turns).fold((1.0, 0.0), |(x, y), _| (x * c - y * s, x * s + y * c))
    }
}

/// The parts that an image is painted from.
struct Scene {
    shape: u8,
    checked: bool,
    centre: (f32, f32),
    /// The reciprocal of the shape's size in pixels.
    shrink: f32,
    turn: (f32, f32),
    /// The texture's direction times its frequency in cycles per pixel; below it, the texture's phase.
    weave: (f32, f32),
    phase: (f32, f32),
    /// The texture's two colours.
    ink: [[f32; 3]; 2],
    ground: Ground,
    /// The hiding bar: its direction, its offset and half its width; below it, its colour.
    bar: (f32, f32, f32, f32),
    bar_colour: [f32; 3],
}

/// The background: a colour that changes across the image, with bands.
struct Ground {
    colour: [f32; 3],
    drift: [(f32, f32); 3],
    bands: (f32, f32, f32),
    band_colour: [f32; 3],
}

impl Scene {
    fn of(words: &mut Words, label: u8) -> Self {
        let [x, y, _, _] = words.uniform(11.0, 9.0);
        let [shrink, frequency, phase_u, phase_v] = words.uniform(0.0, 1.0);
        let [ground_hue, shape_hue] = hues(label);
        let turn = words.direction();
        let along = words.direction();
        let frequency = frequency.mul_add(0.07, 0.17);
        let [r, g, b, contrast] = words.uniform(0.0, 1.0);
        let second = words.uniform(-1.0, 2.0);
        // The two colours lie on both sides of their mean, far enough apart to be told.
        let contrast = contrast.mul_add(28.0, 32.0);
        let mean: [f32; 3] = std::array::from_fn(|c| LEAN.mul_add(shape_hue[c], [r, g, b][c].mul_add(135.0, 60.0)));
        let lean: [f32; 3] = std::array::from_fn(|c| second[c].mul_add(0.35, if second[3] < 0.0 { -0.8 } else { 0.8 }));
        let side = |sign: f32| std::array::from_fn(|c| mean[c] + sign * contrast * lean[c]);
        let ink = [side(-1.0), side(1.0)];

        let colour = words.uniform(40.0, 175.0);
        let [d0, d1, d2, d3] = words.uniform(-2.5, 5.0);
        let [d4, d5, tint, _] = words.uniform(-2.5, 5.0);
        let band = words.direction();
        let [band_frequency, band_phase, _, _] = words.uniform(0.0, 1.0);
        let band_frequency = band_frequency.mul_add(0.12, 0.04);
        let ground = Ground {
            colour: std::array::from_fn(|c: usize| LEAN.mul_add(ground_hue[c], colour[c])),
            drift: [(d0, d1), (d2, d3), (d4, d5)],
            bands: (band.0 * band_frequency, band.1 * band_frequency, band_phase),
            band_colour: [tint * 16.0, tint * 14.0, tint * 12.0],
        };
        let bar = words.direction();
        let [place, half_width, _, _] = words.uniform(0.0, 1.0);
        let shade = words.uniform(30.0, 195.0);
        Scene {
            shape: label / 2,
            checked: label % 2 == 1,
            centre: (x, y),
            shrink: shrink.mul_add(0.042, 0.102),
            turn,
            weave: (along.0 * frequency, along.1 * frequency),
            phase: (phase_u, phase_v),
            ink,
            ground,
            bar: (bar.0, bar.1, place.mul_add(20.0, -10.0), half_width.mul_add(2.4, 1.2)),
            bar_colour: [shade[0], shade[1], shade[2]],
        }
    }

    /// The colour at a point.
    fn colour(&self, x: f32, y: f32) -> [f32; 3] {
        let (from_x, from_y) = (x - 16.0, y - 16.0);
        let (c, s, place, half_width) = self.bar;
        if (c * from_x + s * from_y - place).abs() < half_width {
            return self.bar_colour;
        }
        let (dx, dy) = ((x - self.centre.0) * self.shrink, (y - self.centre.1) * self.shrink);
        let (u, v) = (dx * self.turn.0 - dy * self.turn.1, dx * self.turn.1 + dy * self.turn.0);
        if inside(self.shape, u, v) {
            let along = odd(x * self.weave.0 + y * self.weave.1 + self.phase.0);
            let across = odd(y * self.weave.0 - x * self.weave.1 + self.phase.1);
            return self.ink[usize::from(along ^ (self.checked && across))];
        }
        let ground = &self.ground;
        let (bx, by, phase) = ground.bands;
        let band = if odd(bx * x + by * y + phase) { 0.5 } else { -0.5 };
        std::array::from_fn(|i| {
            let (gx, gy) = ground.drift[i];
            ground.colour[i] + gx * from_x + gy * from_y + band * ground.band_colour[i]
        })
    }
}

/// Whether a point is in the second half of its cycle.
fn odd(cycles: f32) -> bool {
    cycles - cycles.floor() >= 0.5
}

/// Whether a point is inside the shape, which is about as large as the unit circle.
fn inside(shape: u8, u: f32, v: f32) -> bool {
    let (r2, far, near) = (u * u + v * v, u.abs().max(v.abs()), u.abs().min(v.abs()));
    match shape {
        0 => r2 < 0.74,
        1 => far < 0.76,
        2 => v < 0.62 && 1.732_050_8 * u.abs() - v < 1.24,
        3 => far < 1.0 && near < 0.34,
        _ => r2 < 1.0 && r2 > 0.27,
    }
}

/// Paints an image of a class: each pixel is the mean of four points, plus noise.
fn paint(words: &mut Words, label: u8, pixels: &mut [u8]) {
    const POINTS: [(f32, f32); 4] = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
    let scene = Scene::of(words, label);
    let [strength, _, _, _] = words.uniform(0.08, 0.24);
    for place in 0..PLANE {
        let (x, y) = ((place % SIDE) as f32, (place / SIDE) as f32);
        let mut sum = [0.0f32; 3];
        for (dx, dy) in POINTS {
            let colour = scene.colour(x + dx, y + dy);
            sum = std::array::from_fn(|c| sum[c] + colour[c]);
        }
        // One draw serves a pixel; a channel's noise is the sum of a word's bytes, which is close to normal.
        let noise = words.four();
        for channel in 0..3 {
            let bytes: i32 = noise[channel].to_be_bytes().iter().map(|&byte| i32::from(byte)).sum();
            let value = sum[channel] * 0.25 + (bytes - 510) as f32 * strength;
            pixels[channel * PLANE + place] = (value.clamp(0.0, 255.0) + 0.5) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_a_function_of_seed_set_and_index() {
        let set = generate(1, 40, 20);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| generate(1, 40, 20)), set, "on one thread");
        assert_eq!(generate(1, 10, 20).train.pixels, set.train.pixels[..10 * IMAGE], "the smaller set");
        assert_ne!(generate(2, 40, 20).train, set.train);
        assert_ne!(set.train.pixels[..20 * IMAGE], set.test.pixels, "test images are others");
        assert_ne!(set.train.image(0), set.train.image(10), "so are others of the class");
    }

    #[test]
    fn the_bits_are_these_on_every_machine() {
        assert_eq!(generate(0, 50, 10).hash(), "dd0f1e473d4f6e84ddc476d2b3a0c8ce66d6cd8f4883dd608e40200fea212246");
    }

    #[test]
    fn classes_are_balanced_under_any_limit_and_alike_in_brightness() {
        let set = generate(3, 2_000, 100);
        assert_eq!((set.train.per_class(), set.test.per_class()), ([200; 10], [10; 10]));
        let mut sums = [0.0; CLASSES];
        for i in 0..2_000 {
            let sum: u64 = set.train.image(i).iter().map(|&v| u64::from(v)).sum();
            sums[i % CLASSES] += sum as f64 / (200 * IMAGE) as f64;
        }
        let mean = sums.iter().sum::<f64>() / 10.0;
        // An image's mean brightness varies by some 25: that of 200 images by 2.
        assert!(sums.iter().all(|sum| (sum - mean).abs() < 8.0), "{sums:?}");
        assert!((90.0..165.0).contains(&mean), "{mean}");
    }

    #[test]
    fn shapes_are_where_they_should_be() {
        let at = |u, v| [0, 1, 2, 3, 4].map(|shape| inside(shape, u, v));
        assert_eq!(at(0.0, 0.0), [true, true, true, true, false]);
        assert_eq!(at(0.7, 0.7), [false, true, false, false, true]);
        assert_eq!(at(0.9, 0.0), [false, false, false, true, true]);
        assert_eq!(at(0.0, -1.0), [false, false, true, false, false]);
        assert_eq!(at(2.0, 2.0), [false; 5]);
    }
}
