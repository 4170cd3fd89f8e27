//! The kernels for sm_90a (wgmma and bulk copies): the sums of any tiles' kernels, with the channels of all of VGG-16's layers; one result for every
//! number of blocks and every order of threads; and whole operators of them against the CPU in f64.

use super::whole_tiles::LAYERS;
use half::bf16;
use normscape::files::Values;
use normscape::ops::boundary::{compare, relative_error};
use normscape::ops::conv2d;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Driver, Grid};
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::kernels::{self, Map};
use normscape::runtime::cuda::ledger::Ledger;
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

const BATCH: usize = 128;

fn device(order: Option<u64>, hopper: bool) -> Box<dyn Driver> {
    let options = Options { order, poison: true, hopper, ..Options::from_environment().unwrap() };
    crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// Whether there is nothing to be tested, on a GPU of another kind.
fn is_other() -> bool {
    !device(None, true).properties().hopper
}

/// A convolution of a map of 1 × `width` pixels, `inner` channels to `columns`.
#[derive(Debug, Clone, Copy)]
struct Case {
    width: usize,
    inner: usize,
    columns: usize,
    order: Option<u64>,
}

/// The kernel: that of any tiles, or warpgroups with tiles of so many columns on so many blocks; of a product on so many clusters, whose tiles lie so many
/// side by side.
#[derive(Debug, Clone, Copy)]
enum How {
    Any,
    Warpgroups(usize, usize),
    Clusters(usize, usize, usize),
    /// Along lines, on so many blocks.
    Lines(usize),
}

impl Case {
    fn map(&self, direction: i32) -> Map {
        let [batch, width, inner, columns] = [BATCH, self.width, self.inner, self.columns].map(|n| n as u32);
        Map { rows: batch * width, inner, columns, height: 1, width, batch, taps: 9, direction }
    }

    /// Output and column sums of the product, from activations that `seed` gives.
    fn product(&self, how: How, transposed: bool) -> [Vec<f64>; 2] {
        let Case { width, inner, columns, order } = *self;
        let mut gpu = Cuda::new(device(order, true), Mode::Bf16).unwrap();
        let mut plan = gpu.plan();
        let x = plan.view(Shape::new([1, width, BATCH, inner]), DType::Bf16);
        let weight = plan.view(Shape::new([9, inner, columns]), DType::Bf16);
        let bias = plan.view(Shape::new([columns]), DType::F32);
        let y = plan.view(Shape::new([1, width, BATCH, columns]), DType::Bf16);
        let moments = plan.view(Shape::new([width, 2, columns]), DType::F64);
        let [mean, var] = [0; 2].map(|_| plan.view(Shape::new([columns]), DType::F32));
        gpu.commit(&plan).unwrap();
        let tickets = gpu.tickets();
        for (i, view) in [x, weight, bias].into_iter().enumerate() {
            let value = |at: usize| normal(word(29, Purpose::Case, i as u32, 0, at as u64));
            gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
        }
        let (driver, mut views) = gpu.begin("conv2d");
        let (a, b) = (views.read::<bf16>(In(x)).unwrap(), views.read::<bf16>(In(weight)).unwrap());
        let bias = Some(views.read::<f32>(In(bias)).unwrap());
        let (mut out, mut sums) = (views.write::<bf16>(Out(y)).unwrap(), views.write::<f64>(Out(moments)).unwrap());
        let [mut of_mean, mut of_var] = [mean, var].map(|view| views.write::<f32>(Out(view)).unwrap());
        let mut tickets = views.write::<u32>(tickets).unwrap();
        let (out, sums, relu) = (&mut out, Some(&mut sums), 1);
        let (to_mean, to_var, tickets) = (Some(&mut of_mean), Some(&mut of_var), Some(&mut tickets));
        let map = self.map(if transposed { -1 } else { 1 });
        let (of_b, turned) =
            (if transposed { [inner, 9 * columns] } else { [columns, 9 * inner] }, u32::from(transposed));
        match how {
            How::Any => {
                let grid = Grid::of([width, columns / 64, 1], 256).shared(98_304);
                let (transposed, mean, var) = (turned, to_mean, to_var);
                kernels::ProductMma { a, b, bias, out, sums, mean, var, tickets, map, transposed, relu, vector: 1 }
                    .launch(driver, grid)
            }
            How::Warpgroups(..) => unreachable!("products are made by clusters"),
            How::Lines(blocks) => {
                let (a, b) = (a.tiles([inner, width * BATCH], [64, 128]), b.tiles(of_b, [64, 64]));
                let grid = Grid::of([blocks, 1, 1], 288).shared(184_320);
                let (mean, var) = (to_mean, to_var);
                kernels::ProductWgmmaLine { a, b, bias, out, sums, mean, var, tickets, map, relu }.launch(driver, grid)
            }
            How::Clusters(wide, clusters, across) => {
                let a = a.tiles([inner, width * BATCH], [64, 128 / across]);
                let share = wide * across / 4;
                let b = b.tiles(of_b, [64, if transposed { share } else { share.min(64) }]);
                let grid = Grid::of([4 * clusters, 1, 1], 288).shared(208_896);
                let (transposed, mean, var, across) = (turned, to_mean, to_var, across as u32);
                macro_rules! warpgroups {
                    ($kernel:ident) => {
                        kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, across, transposed, relu }
                            .launch(driver, grid)
                    };
                }
                if wide == 128 { warpgroups!(ProductWgmma128) } else { warpgroups!(ProductWgmma64) }
            }
        }
        .unwrap();
        let found = [y, mean, var].map(|view| gpu.download_f64(In(view)).unwrap());
        let [y, mean, var] = found;
        [y, [mean, var].concat()]
    }

    /// The two parts of the weight's gradient.
    fn weight_gradient(&self, how: How) -> Vec<f64> {
        let Case { width, inner, columns, order } = *self;
        let mut gpu = Cuda::new(device(order, true), Mode::Bf16).unwrap();
        let mut plan = gpu.plan();
        let x = plan.view(Shape::new([1, width, BATCH, inner]), DType::Bf16);
        let y = plan.view(Shape::new([1, width, BATCH, columns]), DType::Bf16);
        let parts = plan.view(Shape::new([2, 9, inner, columns]), DType::F32);
        gpu.commit(&plan).unwrap();
        for (i, view) in [x, y].into_iter().enumerate() {
            let value = |at: usize| normal(word(31, Purpose::Case, i as u32, 0, at as u64));
            gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
        }
        let (driver, mut views) = gpu.begin("conv2d");
        let (x, grad_y) = (views.read::<bf16>(In(x)).unwrap(), views.read::<bf16>(In(y)).unwrap());
        let mut out = views.write::<f32>(Out(parts)).unwrap();
        let (partials, map, splits) = (&mut out, self.map(1), 2);
        let per_split = (width * BATCH).div_ceil(2).next_multiple_of(128) as u32;
        match how {
            How::Any => {
                let grid = Grid::of([inner / 64 * (columns / 64), 9, 2], 256).shared(98_304);
                kernels::WeightGradientMma { x, grad_y, partials, map, per_split, vector: 1 }.launch(driver, grid)
            }
            How::Clusters(..) | How::Lines(_) => unreachable!("neither has a weight's gradient"),
            How::Warpgroups(side, blocks) => {
                let rows = if side == 128 { 64 } else { 128 };
                let (x, grad_y) =
                    (x.tiles([inner, width * BATCH], [64, rows]), grad_y.tiles([columns, width * BATCH], [64, rows]));
                let grid = Grid::of([blocks, 1, 1], 288).shared(180_224);
                macro_rules! warpgroups {
                    ($kernel:ident) => {
                        kernels::$kernel { x, grad_y, partials, out: None, tickets: None, map, per_split, splits }
                            .launch(driver, grid)
                    };
                }
                if side == 128 { warpgroups!(WeightGradientWgmma128) } else { warpgroups!(WeightGradientWgmma64) }
            }
        }
        .unwrap();
        gpu.download_f64(In(parts)).unwrap()
    }
}

/// On the emulator, which adds a tensor core's products one by one, sums of the same order have the same bits.
fn same(found: &[f64], expected: &[f64], what: &str) {
    let emulated = device(None, true).hardware().is_none();
    assert!(if emulated { found == expected } else { relative_error(found, expected) < 1e-3 }, "{what}");
}

/// How many tiles of a cluster may lie side by side where there are so many in all.
fn ways(tiles: usize) -> impl Iterator<Item = usize> {
    [1, 2, 4].into_iter().filter(move |&across| tiles.is_multiple_of(across))
}

#[test]
fn every_layers_channels_give_the_sums_of_other_tiles() {
    if is_other() {
        return;
    }
    let backward = [(128, 64, true), (512, 256, true)];
    for (inner, columns, transposed) in LAYERS.map(|(c, k)| (c, k, false)).into_iter().chain(backward) {
        let case = Case { width: 2, inner, columns, order: None };
        let [expected, _] = case.product(How::Any, transposed);
        for wide in [64, 128].into_iter().filter(|wide| columns % wide == 0) {
            let across = ways(columns / wide).last().unwrap_or(1);
            let [found, _] = case.product(How::Clusters(wide, 2, across), transposed);
            same(&found, &expected, &format!("{case:?}, {across} × {wide} columns, transposed: {transposed}"));
        }
    }
}

#[test]
fn neither_blocks_nor_the_order_of_threads_change_a_bit() {
    if is_other() {
        return;
    }
    let case = Case { width: 4, inner: 128, columns: 128, order: None };
    for size in [64, 128] {
        let first = case.weight_gradient(How::Warpgroups(size, 1));
        for (blocks, order) in [(2, None), (8, None), (3, Some(1)), (3, Some(2)), (1, Some(3))] {
            let (case, how) = (Case { order, ..case }, How::Warpgroups(size, blocks));
            assert!(case.weight_gradient(how) == first, "the gradient: {case:?}, {how:?}");
        }
    }
}

#[test]
fn neither_clusters_nor_their_shapes_nor_the_order_of_threads_change_a_bit() {
    if is_other() {
        return;
    }
    // Of five pixels a tall cluster has tiles that are not there, and pixels at the edge lack taps that others have.
    let case = Case { width: 5, inner: 64, columns: 256, order: None };
    for (wide, transposed) in [(64, false), (128, true)] {
        let first = case.product(How::Clusters(wide, 1, 1), transposed);
        for across in ways(case.columns / wide) {
            for (clusters, order) in [(2, None), (3, Some(1)), (1, Some(2))] {
                let (case, how) = (Case { order, ..case }, How::Clusters(wide, clusters, across));
                assert!(case.product(how, transposed) == first, "{case:?}, {how:?}");
            }
        }
    }
}

#[test]
fn products_along_lines_have_the_sums_of_other_tiles_on_any_number_of_blocks() {
    if is_other() {
        return;
    }
    // A whole segment and none, one with a neighbour on one side, and one with both.
    for width in [1, 8, 9, 18] {
        let case = Case { width, inner: 64, columns: 64, order: None };
        let [expected, moments] = case.product(How::Any, false);
        let first = case.product(How::Lines(1), false);
        // What is stored is rounded to bf16: another order of sums is an ulp of a few elements.
        assert!(relative_error(&first[0], &expected) < 1e-3 && relative_error(&first[1], &moments) < 1e-3, "{case:?}");
        for (blocks, order) in [(2, None), (3, Some(1)), (1, Some(2))] {
            let case = Case { order, ..case };
            assert!(case.product(How::Lines(blocks), false) == first, "{case:?}, {blocks} blocks");
        }
    }
}

#[test]
fn weight_gradients_have_the_sums_of_other_tiles_and_zeros_where_there_are_no_rows() {
    if is_other() {
        return;
    }
    // A map of one pixel has one tap, and nothing for the second split.
    for (width, inner, columns) in [(1, 128, 128), (3, 128, 256), (3, 64, 128)] {
        let case = Case { width, inner, columns, order: None };
        let expected = case.weight_gradient(How::Any);
        for side in [64, 128].into_iter().filter(|side| inner % side == 0 && columns % side == 0) {
            let found = case.weight_gradient(How::Warpgroups(side, 5));
            // Splits are of pixels of dy, for three taps together, in another order.
            let tap = inner * columns;
            let of_both = |of: &[f64]| (0..9 * tap).map(|at| of[at] + of[9 * tap + at]).collect::<Vec<_>>();
            assert!(relative_error(&of_both(&found), &of_both(&expected)) < 1e-6, "{case:?}, {side}");
        }
    }
}

#[test]
fn operators_of_many_tiles_are_made_of_them_and_follow_the_cpu() {
    // Of the last, parts of the weight's gradient begin and end within lines, and a pixel has four stages.
    // Of the first, segments of lines have eight pixels and one.
    for (h, w, n, c, k, kernel, [kind, other]) in [
        (4, 9, 2 * BATCH, 64, 64, "product_wgmma_line", ["line", "64"]),
        (8, 16, BATCH, 64, 128, "product_wgmma_128", ["64", "64"]),
        (3, 6, 2 * BATCH, 128, 128, "product_wgmma_64", ["mixed", "mixed"]),
    ] {
        let mut arrays = conv2d::cases::case("large", conv2d::Map { h, w, n, c, k }, false).arrays(5);
        for array in arrays.values_mut() {
            let Values::F32(values) = &mut array.values else { continue };
            values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32());
        }
        let expected = crate::shared::run("conv2d", &mut Cpu::<f64>::default(), &arrays).unwrap();
        for hopper in [true, false] {
            let mut gpu = Cuda::new(Ledger::new(device(None, hopper), false), Mode::Bf16).unwrap();
            let there = gpu.driver().properties().hopper;
            let found = crate::shared::run("conv2d", &mut gpu, &arrays).unwrap();
            let names: Vec<_> = gpu.driver().entries.iter().map(|entry| entry.kernel).collect();
            let [gradient, other] = [format!("gradients_wgmma_{kind}"), format!("gradients_tile_{other}_bf16")];
            assert_eq!(names.contains(&kernel) && names.contains(&&*gradient), there, "{names:?}");
            assert_eq!(names.contains(&&*other), !there, "{names:?}");
            // The weight's gradient is kept in float32, the others are rounded to bf16 once.
            for (name, error) in compare("conv2d", &found, &expected).unwrap() {
                let allowed = if name == "grad_weight" { 2e-6 } else { 3e-3 };
                assert!(error <= allowed, "{h} × {w} × {n}, {c} → {k}, {hopper}: {name} {error:e}");
            }
        }
    }
}
