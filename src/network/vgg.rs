//! VGG for 32×32 images, as tables: a number is a 3×3 convolution to that many channels, `M` a 2×2 max-pool.

use super::chain::{Loss, Network};
use super::layer::Layer;
use super::norm::{Norm, Normalisation};
use crate::ops::conv2d::Conv2dLayer;
use crate::ops::linear::LinearLayer;
use crate::ops::max_pool2d::MaxPool2dLayer;
use crate::runtime::tensor::Shape;
use crate::{Error, Result};

/// Marks a pool in the tables below.
const M: usize = 0;

/// The name and the layers of each depth (Simonyan and Zisserman 2015, columns A, B, D, E).
const DEPTHS: [(&str, &[usize]); 4] = [
    ("vgg11", &[64, M, 128, M, 256, 256, M, 512, 512, M, 512, 512, M]),
    ("vgg13", &[64, 64, M, 128, 128, M, 256, 256, M, 512, 512, M, 512, 512, M]),
    ("vgg16", &[64, 64, M, 128, 128, M, 256, 256, 256, M, 512, 512, 512, M, 512, 512, 512, M]),
    ("vgg19", &[64, 64, M, 128, 128, M, 256, 256, 256, 256, M, 512, 512, 512, 512, M, 512, 512, 512, 512, M]),
];

/// The number of classes of CIFAR-10 and of the generated images.
pub const CLASSES: usize = 10;

/// The widest multiplier that is accepted: beyond it a layer has over 65,536 channels, and no machine has the memory.
const WIDEST: f64 = 128.0;

/// VGG of a depth (`vgg11`, `vgg13`, `vgg16`, `vgg19`) and width: layer i has `max(1, ⌊width · c⌋)` channels. After the last pool, one linear layer
/// with bias leads to the classes.
///
/// Convolutions have a bias only where no norm follows. Under weight normalisation they have direction and gain in place of the weight, and the
/// linear layer stays as it is. Errors: an unknown name, a width that is not in (0, 128].
pub fn vgg(name: &str, width: f64, normalisation: Normalisation) -> Result<Network> {
    let Some((_, table)) = DEPTHS.iter().find(|(n, _)| *n == name) else {
        return Err(Error::input(format!("--model {name}"), "unknown", "there are vgg11, vgg13, vgg16, vgg19 and dln"));
    };
    if !(width > 0.0 && width <= WIDEST) {
        return Err(Error::input(
            format!("--width {width:?}"),
            "not a width",
            format!("it lies above 0, and is at most {WIDEST}"),
        ));
    }
    let mut layers = Vec::new();
    let mut index = 0;
    for &channels in *table {
        if channels == M {
            layers.push((String::new(), Layer::MaxPool2d(MaxPool2dLayer)));
            continue;
        }
        index += 1;
        let channels = ((width * channels as f64) as usize).max(1);
        let weight_norm = normalisation.norm == Norm::Weight;
        let bias = weight_norm || normalisation.norm == Norm::None;
        layers.push((format!("conv{index}"), Layer::Conv2d(Conv2dLayer { channels, bias, weight_norm })));
        layers.extend(normalisation.layers(index, true));
    }
    layers.push(("fc".into(), Layer::Linear(LinearLayer { outputs: CLASSES, bias: true, weight_norm: false })));
    Network::new(layers, Shape::new([32, 32, 1, 3]), Loss::CrossEntropy)
}
