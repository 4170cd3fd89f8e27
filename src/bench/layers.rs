//! VGG-16's convolutions, each pass of each layer, at batch 128 in f32.

use super::limits::Limits;
use super::timing::{Time, time};
use crate::ops::conv2d::Map;
use crate::ops::conv2d::cpu::{forward, grad_input, grad_weight, workspace};
use crate::runtime::rng::{Purpose, normal, word};
use serde::Serialize;

/// One pass of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct Pass {
    /// As in `64→64 at 32², forward`.
    pub name: String,
    /// Seconds.
    pub time: Time,
    /// Floating-point operations, the valid taps only.
    pub flops: f64,
    /// The same with all nine taps everywhere.
    pub nominal_flops: f64,
    /// Share of the machine's measured rate.
    pub share: f64,
}

/// Map sides and channels of VGG-16's layers that differ.
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

/// Times every pass at a width.
pub fn measure(width: f64, limits: &Limits, say: &mut dyn FnMut(&str)) -> Vec<Pass> {
    let mut passes = Vec::new();
    for (side, c, k) in LAYERS {
        let scaled = |channels: usize| if channels == 3 { 3 } else { ((channels as f64 * width) as usize).max(1) };
        let map = Map { h: side, w: side, n: BATCH, c: scaled(c), k: scaled(k) };
        let layer = format!("{}→{} at {side}²", map.c, map.k);
        say(&layer);
        let normals = |len: usize, stream: u32| -> Vec<f32> {
            (0..len).map(|i| normal(word(1, Purpose::Case, stream, 0, i as u64))).collect()
        };
        let pixels = side * side * BATCH;
        let (x, w, dy) = (normals(pixels * map.c, 0), normals(9 * map.c * map.k, 1), normals(pixels * map.k, 2));
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
        let mut room = vec![0.0; workspace::<f32>(&map)];
        let products = 2.0 * (BATCH * map.c * map.k) as f64;
        let (valid, all) = (((3 * side - 2) * (3 * side - 2)) as f64, (9 * side * side) as f64);
        let mut pass = |name: &str, work: &mut dyn FnMut()| {
            let time = time(0.2, work);
            let (flops, nominal_flops) = (products * valid, products * all);
            let share = flops / time.median / limits.flops;
            passes.push(Pass { name: format!("{layer}, {name}"), time, flops, nominal_flops, share });
        };
        pass("forward", &mut || forward(&map, &x, &w, None, &mut y, &mut room));
        if c != 3 {
            // The first layer's input needs no gradient.
            pass("input gradient", &mut || grad_input(&map, &w, &dy, &mut dx, &mut room));
        }
        pass("weight gradient", &mut || grad_weight(&map, &x, &dy, &mut dw, &mut room));
    }
    passes
}
