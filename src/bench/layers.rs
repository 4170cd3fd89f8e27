//! Times of VGG-16's convolutions and norms on the CPU: each pass of each distinct layer, at batch 128 in f32.

use super::limits::Limits;
use super::results::{LayerTime, Work};
use super::timing::time;
use crate::ops::affine::Affine;
use crate::ops::channel_reduce;
use crate::ops::conv2d::cpu::{forward, grad_input, grad_weight, workspace};
use crate::ops::conv2d::{Algorithm, Map};
use crate::ops::norm::NormSpec;
use crate::ops::norm::batch::std;
use crate::runtime::rng::{Purpose, normal, word};
use crate::runtime::tensor::DType;

/// Map side, input channels and output channels of VGG-16's distinct layers.
const LAYERS: [(usize, usize, usize); 9] = [
    (32, 3, 64),
    (32, 64, 64),
    (16, 64, 128),
    (16, 128, 128),
    (8, 128, 256),
    (8, 256, 256),
    (4, 256, 512),
    (4, 512, 512),
    (2, 512, 512),
];

const BATCH: usize = 128;

/// Times every pass at the given width.
pub fn measure(width: f64, limits: &Limits, say: &mut dyn FnMut(&str)) -> Vec<LayerTime> {
    let mut layers = Vec::new();
    type Products = Option<(Algorithm, [f64; 3])>;
    let mut keep = |layer: &str, pass: &'static str, elements: usize, products: Products, run: &mut dyn FnMut()| {
        let (mut work, [nominal, effective, executed]) = (Work::default(), products.map_or([0.0; 3], |of| of.1));
        work.add(time(0.2, run).median, (elements * size_of::<f32>()) as u64, [nominal, effective]);
        work.executed_flops = executed;
        let algorithm = products.map(|of| of.0.name());
        layers.push(LayerTime { layer: layer.to_owned(), pass, algorithm, work: work.of(limits) });
    };
    let normals = |len: usize, stream: u32| -> Vec<f32> {
        (0..len).map(|i| normal(word(1, Purpose::Case, stream, 0, i as u64))).collect()
    };
    for (side, c, k) in LAYERS {
        let scaled = |channels: usize| if channels == 3 { 3 } else { ((channels as f64 * width) as usize).max(1) };
        let map = Map { h: side, w: side, n: BATCH, c: scaled(c), k: scaled(k) };
        let layer = format!("conv, {}→{} at {side}²", map.c, map.k);
        say(&layer);
        let algorithm = Algorithm::of(&map, DType::F32, false);
        let pixels = side * side * BATCH;
        let (x, w, dy) = (normals(pixels * map.c, 0), normals(9 * map.c * map.k, 1), normals(pixels * map.k, 2));
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
        let mut room = vec![0.0; workspace::<f32>(algorithm, &map)];
        let products = 2.0 * (BATCH * map.c * map.k) as f64;
        let [valid, executed] = [Algorithm::Direct, algorithm].map(|of| products * of.products(&map) as f64);
        let flops = Some((algorithm, [products * (9 * side * side) as f64, valid, executed]));
        let elements = x.len() + w.len() + y.len();
        keep(&layer, "forward", elements, flops, &mut || forward(algorithm, &map, &x, &w, None, &mut y, &mut room));
        if c != 3 {
            // The first layer's input needs no gradient.
            keep(&layer, "input gradient", elements, flops, &mut || {
                grad_input(algorithm, &map, &w, &dy, &mut dx, &mut room)
            });
        }
        keep(&layer, "weight gradient", elements, flops, &mut || {
            grad_weight(algorithm, &map, &x, &dy, &mut dw, &mut room)
        });

        let layer = format!("norm, {} at {side}²", map.k);
        let (x, mut dx) = (y, vec![0.0f32; dy.len()]);
        let spec = NormSpec { relu: true, ..NormSpec::batch() };
        let (weight, bias) = (vec![1.0f32; map.k], vec![0.0f32; map.k]);
        let [mut mean, mut var, mut dw, mut db] = [0; 4].map(|_| vec![0.0f32; map.k]);
        let (mut y, mut room) = (vec![0.0f32; dy.len()], vec![0.0f64; channel_reduce::workspace(pixels, map.k)]);
        keep(&layer, "forward", x.len() + y.len(), None, &mut || {
            std::statistics(&x, map.k, &mut mean, &mut var, &mut room);
            let divisor = |c: usize| spec.divisor_of(var[c].into());
            Affine::new(&mean, &weight, &bias, divisor, spec.relu).apply(&x, map.k, &mut y);
        });
        keep(&layer, "backward", 3 * x.len(), None, &mut || {
            let (params, statistics) = ((&weight[..], &bias[..]), (&mean[..], &var[..]));
            let upstream = std::Upstream::Apart(&dy);
            std::backward(&x, params, spec, statistics, upstream, &mut dx, (&mut dw, &mut db), &mut room);
        });
    }
    layers
}
