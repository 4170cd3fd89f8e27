//! Weight gradients whose rows are split among blocks: the launch that makes the parts adds them, in groups and in order, to the same bits in every order
//! of blocks and threads.

use half::bf16;
use normscape::runtime::cuda::driver::{Driver, Grid};
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::kernels::{self, Map};
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

const BATCH: usize = 128;

/// A map of 1 × `splits` pixels, of which each split has one, in tiles of `side`, which is the number of channels too.
#[derive(Debug, Clone, Copy)]
struct Case {
    splits: usize,
    side: usize,
    warpgroups: bool,
}

impl Case {
    /// Every split's part of dw, or their sum. `None` where the device has no such kernels.
    fn gradient(&self, order: Option<u64>, added: bool) -> Option<Vec<f64>> {
        let Case { splits, side, warpgroups } = *self;
        let options = Options { order, poison: true, hopper: true, ..Options::from_environment().unwrap() };
        let driver =
            crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")));
        let mut gpu: Cuda<Box<dyn Driver>> = Cuda::new(driver, Mode::Bf16).unwrap();
        if warpgroups && !gpu.driver().properties().hopper {
            return None;
        }
        let mut plan = gpu.plan();
        let [x, y] = [0; 2].map(|_| plan.view(Shape::new([1, splits, BATCH, side]), DType::Bf16));
        let parts = plan.view(Shape::new([splits, 9, side, side]), DType::F32);
        let sum = plan.view(Shape::new([9, side, side]), DType::F32);
        gpu.commit(&plan).unwrap();
        for (i, view) in [x, y].into_iter().enumerate() {
            let value = |at: usize| normal(word(37, Purpose::Case, i as u32, 0, at as u64));
            gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
        }
        let tickets = gpu.tickets();
        let (driver, mut views) = gpu.begin("conv2d");
        let (x, grad_y) = (views.read::<bf16>(In(x)).unwrap(), views.read::<bf16>(In(y)).unwrap());
        let (mut of_parts, mut of_sum) =
            (views.write::<f32>(Out(parts)).unwrap(), views.write::<f32>(Out(sum)).unwrap());
        let mut tickets = views.write::<u32>(tickets).unwrap();
        let (partials, out, tickets) = (&mut of_parts, added.then_some(&mut of_sum), added.then_some(&mut tickets));
        let [batch, width, channels] = [BATCH, splits, side].map(|n| n as u32);
        let map = Map {
            rows: batch * width,
            inner: channels,
            columns: channels,
            height: 1,
            width,
            batch,
            taps: 9,
            direction: 1,
        };
        let per_split = batch;
        if warpgroups {
            let rows = if side == 128 { 64 } else { 128 };
            let [x, grad_y] = [x, grad_y].map(|slice| slice.tiles([side, splits * BATCH], [64, rows]));
            // Fewer blocks than parts: a block has parts of several groups.
            let grid = Grid::of([7, 1, 1], 288).shared(180_224);
            let splits = width;
            match side {
                128 => kernels::WeightGradientWgmma128 { x, grad_y, partials, out, tickets, map, per_split, splits }
                    .launch(driver, grid),
                _ => kernels::WeightGradientWgmma64 { x, grad_y, partials, out, tickets, map, per_split, splits }
                    .launch(driver, grid),
            }
        } else {
            let grid = Grid::of([1, 9, splits], 128).shared(98_304);
            match side {
                128 => kernels::WeightGradientTile128 { x, grad_y, partials, out, tickets, map, per_split }
                    .launch(driver, grid),
                _ => kernels::WeightGradientTile64 { x, grad_y, partials, out, tickets, map, per_split }
                    .launch(driver, grid),
            }
        }
        .unwrap();
        Some(gpu.download_f64(In(if added { sum } else { parts })).unwrap())
    }
}

/// Groups of ⌈√splits⌉ are added in order, then the groups; up to four splits are one group.
fn sum(parts: &[f64], splits: usize) -> Vec<f64> {
    let len = parts.len() / splits;
    let each = if splits <= 4 { splits } else { (1..).find(|n| n * n >= splits).unwrap() };
    let in_order = |of: &[Vec<f32>]| -> Vec<f32> {
        (0..len).map(|i| of.iter().skip(1).fold(of[0][i], |sum, part| sum + part[i])).collect()
    };
    let parts: Vec<Vec<f32>> = parts.chunks(len).map(|part| part.iter().map(|&v| v as f32).collect()).collect();
    let groups: Vec<Vec<f32>> = parts.chunks(each).map(in_order).collect();
    in_order(&groups).into_iter().map(f64::from).collect()
}

#[test]
fn splits_are_added_where_they_are_made() {
    for (splits, side) in [(3, 64), (5, 64), (13, 64), (8, 128)] {
        for warpgroups in [false, true] {
            let case = Case { splits, side, warpgroups };
            let Some(parts) = case.gradient(None, false) else { continue };
            let expected = sum(&parts, splits);
            for order in [None, Some(1), Some(2)] {
                let found = case.gradient(order, true).unwrap();
                assert!(found == expected, "{case:?}, {order:?}");
            }
        }
    }
}
