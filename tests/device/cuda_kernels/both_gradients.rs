//! Both gradients of a layer in one launch, with the channels of every layer of VGG-16 in the tiles that it has: the bits of the launches that make one
//! each, whichever gradient's blocks come first, in every order of blocks and threads, and on any number of blocks that go through tiles.

use half::bf16;
use normscape::Result;
use normscape::ops::boundary::relative_error;
use normscape::runtime::cuda::driver::{Driver, Grid, Stored};
use normscape::runtime::cuda::emulator::Options;
use normscape::runtime::cuda::kernels::{self, Both, Descending, Map, Norming};
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

const BATCH: usize = 128;
const WIDTH: usize = 2;
/// Rows of each of the weight gradient's two splits.
const PER_SPLIT: u32 = BATCH as u32;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernel {
    Wide,
    Mixed,
    Split,
    Narrow,
    /// By warpgroups alone, along lines of the map: the input's gradient is added in another order.
    Line,
}
use Kernel::{Line, Mixed, Narrow, Split, Wide};

impl Kernel {
    fn columns(self) -> usize {
        if self == Wide { 128 } else { 64 }
    }

    fn side(self) -> usize {
        if matches!(self, Narrow | Line) { 64 } else { 128 }
    }
}

fn driver(order: Option<u64>, hopper: bool) -> Box<dyn Driver> {
    let options = Options { order, poison: true, hopper, ..Options::from_environment().unwrap() };
    crate::shared::driver(options).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// A layer of C → K channels on a map of 1 × 2 pixels.
#[derive(Debug, Clone, Copy)]
struct Case {
    kernel: Kernel,
    channels: (usize, usize),
    /// By warpgroups.
    hopper: bool,
    /// Whether a norm is below, of which both leave dγ and dβ.
    norm: bool,
}

/// How the launches are made.
#[derive(Debug, Clone, Copy)]
enum How {
    Apart,
    /// In one, with the weight's blocks first or after, so many blocks of the first gradient taken away. Where clusters go through tiles, there are so
    /// many of them.
    Together {
        weights_first: bool,
        short: u32,
        clusters: usize,
    },
}

impl Case {
    /// Whether there is a device with such kernels.
    fn is_there(&self) -> bool {
        !self.hopper || driver(None, true).properties().hopper
    }

    /// dx, dw, dγ and dβ.
    fn gradients<T: Stored>(&self, mode: Mode, how: How, order: Option<u64>) -> Result<[Vec<f64>; 4]> {
        let Case { kernel, channels: (c, k), hopper, norm } = *self;
        let mut gpu: Cuda<Box<dyn Driver>> = Cuda::new(driver(order, hopper), mode).unwrap();
        let (rows, wide, side) = (WIDTH * BATCH, kernel.columns(), kernel.side());
        let mut plan = gpu.plan();
        let [x, dx] = [0; 2].map(|_| plan.view(Shape::new([1, WIDTH, BATCH, c]), T::DTYPE));
        let dy = plan.view(Shape::new([1, WIDTH, BATCH, k]), T::DTYPE);
        let weight = plan.view(Shape::new([9, c, k]), T::DTYPE);
        let parts = plan.view(Shape::new([2, 9, c, k]), DType::F32);
        let dw = plan.view(Shape::new([9, c, k]), DType::F32);
        let per_unit = [0; 6].map(|_| plan.view(Shape::new([c]), DType::F32));
        let sums = plan.view(Shape::new([WIDTH, 2, c]), DType::F64);
        gpu.commit(&plan).unwrap();
        let [gamma, beta, mean, spread, grad_gamma, grad_beta] = per_unit;
        for (which, view) in [x, dy, weight, gamma, beta, mean, spread].into_iter().enumerate() {
            let value = |at: usize| normal(word(43, Purpose::Case, which as u32, 0, at as u64));
            let value = |at: usize| if view == spread { 0.5 + value(at) * value(at) } else { value(at) };
            gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
        }
        let tickets = gpu.tickets();
        let (driver, mut views) = gpu.begin("conv2d");
        let mut read = |view: View| views.read::<T>(In(view)).unwrap();
        let (of_x, of_y, of_weight) = (read(x), read(dy), read(weight));
        let numbers = |view: View| views.read::<f32>(In(view)).unwrap();
        let [gamma, beta, mean, spread] = [gamma, beta, mean, spread].map(numbers);
        let mut to_x = views.write::<T>(Out(dx)).unwrap();
        let [mut partials, mut to_weight, mut to_gamma, mut to_beta] =
            [parts, dw, grad_gamma, grad_beta].map(|view| views.write::<f32>(Out(view)).unwrap());
        let mut sums = views.write::<f64>(Out(sums)).unwrap();
        let all = views.write::<u32>(tickets).unwrap();
        let half = all.len() / 2;
        let [mut tickets, mut norm_tickets] = all.split(half);
        let norming = Norming { eps: 1e-3, kind: 0, relu: 1 };
        let [n, inner, columns, w] = [rows, c, k, WIDTH].map(|v| v as u32);
        let map = Map { rows: n, inner, columns, height: 1, width: w, batch: BATCH as u32, taps: 9, direction: 1 };
        let back = Map { inner: columns, columns: inner, direction: -1, ..map };
        let box_rows = if side == 128 { 64 } else { 128 };
        let tiles_x = || of_x.tiles([c, rows], [64, box_rows]);
        // Where a cluster's parts are of the same channels of x.
        let quarters_x = || of_x.tiles([c, rows], [64, if k.is_multiple_of(256) { box_rows / 4 } else { box_rows }]);
        let rows_y = || of_y.tiles([k, rows], [64, box_rows]);
        // As many tiles of a cluster side by side as there are: the fewer lie below one another.
        let across = [4, 2, 1].into_iter().find(|across| (c / wide).is_multiple_of(*across)).unwrap_or(1);
        let tiles_y = || of_y.tiles([k, rows], [64, 128 / across]);
        let tiles_weight = || of_weight.tiles([k, 9 * c], [64, wide * across / 4]);
        let across = across as u32;
        let input_blocks = WIDTH * (c / wide) * if kernel == Split { 4 } else { 1 };
        let weight_blocks = (9 * (c / side) * (k / side) * 2).next_multiple_of(4);
        macro_rules! one {
            ($input:ident, $weight:ident, $a:expr, $b:expr, $out:expr, $of_x:expr, $x:expr, $rows_y:expr, $grids:expr $(, $splits:ident, $across:ident)?) => {{
                if norm {
                    kernels::$input {
                        a: $a,
                        b: $b,
                        out: $out,
                        x: $of_x,
                        gamma,
                        beta,
                        mean,
                        spread,
                        sums: &mut sums,
                        grad_gamma: &mut to_gamma,
                        grad_beta: &mut to_beta,
                        tickets: &mut norm_tickets,
                        norming,
                        map: back,
                        $($across,)?
                    }
                    .launch(driver, $grids[0])
                    .unwrap();
                }
                kernels::$weight {
                    x: $x,
                    grad_y: $rows_y,
                    partials: &mut partials,
                    out: Some(&mut to_weight),
                    tickets: Some(&mut tickets),
                    map,
                    per_split: PER_SPLIT,
                    $($splits: 2,)?
                }
                .launch(driver, $grids[1])
            }};
        }
        macro_rules! both {
            ($kernel:ident, $weight:expr, $y:expr, $out:expr, $of_x:expr, $x:expr, $grid:expr, $both:expr, ($($more:tt)*)) => {
                kernels::$kernel {
                    x: $x,
                    weight: $weight,
                    grad_y: $y,
                    grad_x: $out,
                    norm_x: norm.then_some($of_x),
                    gamma: norm.then_some(gamma),
                    beta: norm.then_some(beta),
                    mean: norm.then_some(mean),
                    spread: norm.then_some(spread),
                    sums: norm.then_some(&mut sums),
                    grad_gamma: norm.then_some(&mut to_gamma),
                    grad_beta: norm.then_some(&mut to_beta),
                    norm_tickets: norm.then_some(&mut norm_tickets),
                    partials: &mut partials,
                    out: Some(&mut to_weight),
                    tickets: Some(&mut tickets),
                    norming,
                    map,
                    both: $both,
                    $($more)*
                }
                .launch(driver, $grid)
            };
        }
        match how {
            How::Apart if hopper => {
                // A block goes through tiles of several columns, whose constants take the place of those that all have read.
                let grids = [208_896, 180_224].map(|shared| Grid::new(4, 288).shared(shared));
                let (out, of_x) = (&mut to_x.as_bf16(), of_x.as_bf16());
                macro_rules! warpgroups {
                    ($input:ident, $weight:ident) => {
                        one!(
                            $input,
                            $weight,
                            tiles_y(),
                            tiles_weight(),
                            out,
                            of_x,
                            tiles_x(),
                            rows_y(),
                            grids,
                            splits,
                            across
                        )
                    };
                }
                match kernel {
                    Wide => warpgroups!(InputGradientWgmma128, WeightGradientWgmma128),
                    Narrow | Line => warpgroups!(InputGradientWgmma64, WeightGradientWgmma64),
                    _ => warpgroups!(InputGradientWgmma64, WeightGradientWgmma128),
                }
            }
            How::Apart => {
                let input = [WIDTH * if kernel == Split { 4 } else { 1 }, c / wide, 1];
                let grids = [input, [c / side * (k / side), 9, 2]].map(|blocks| Grid::of(blocks, 128).shared(98_304));
                macro_rules! tiles {
                    ($input:ident, $weight:ident) => {
                        one!($input, $weight, of_y, of_weight, &mut to_x, of_x, of_x, of_y, grids)
                    };
                }
                match kernel {
                    Wide => tiles!(InputGradientTile128, WeightGradientTile128),
                    Mixed => tiles!(InputGradientTile64, WeightGradientTile128),
                    Split => tiles!(InputGradientTileSplit, WeightGradientTile128),
                    Narrow | Line => tiles!(InputGradientTile64, WeightGradientTile64),
                }
            }
            How::Together { weights_first, short, clusters } => {
                let first = if weights_first { weight_blocks } else { input_blocks } as u32;
                let both = Both {
                    blocks: first - short,
                    weights_first: weights_first.into(),
                    splits: 2,
                    per_split: PER_SPLIT,
                };
                if hopper {
                    let descending = Descending { momentum: 0.0, decay: 0.0 };
                    let grid = Grid::new(4 * clusters, 288).shared(208_896);
                    let (out, of_x) = (&mut to_x.as_bf16(), of_x.as_bf16());
                    macro_rules! warpgroups {
                        ($kernel:ident) => {
                            both!($kernel, tiles_weight(), tiles_y(), out, of_x, quarters_x(), grid, both, (rows_y: rows_y(), across, theta: None, velocity: None, operands: None, state: None, descending))
                        };
                    }
                    match kernel {
                        Line => {
                            let (tiles_y, tiles_weight) =
                                (of_y.tiles([k, rows], [64, 128]), of_weight.tiles([k, 9 * c], [64, 64]));
                            both!(GradientsWgmmaLine, tiles_weight, tiles_y, out, of_x, tiles_x(), grid, both, (rows_y: rows_y(), theta: None, velocity: None, operands: None, state: None, descending))
                        }
                        Wide => warpgroups!(GradientsWgmma128),
                        Narrow => warpgroups!(GradientsWgmma64),
                        _ => warpgroups!(GradientsWgmmaMixed),
                    }
                } else {
                    let grid = Grid::new(input_blocks + weight_blocks, 128).shared(98_304);
                    macro_rules! tiles {
                        ($kernel:ident) => {
                            both!($kernel, of_weight, of_y, &mut to_x, of_x, of_x, grid, both, ())
                        };
                    }
                    match kernel {
                        Wide => tiles!(GradientsTile128),
                        Mixed => tiles!(GradientsTileMixed),
                        Split => tiles!(GradientsTileSplit),
                        Narrow | Line => tiles!(GradientsTile64),
                    }
                }
            }
        }?;
        Ok([dx, dw, grad_gamma, grad_beta].map(|view| gpu.download_f64(In(view)).unwrap()))
    }
}

/// The layers of VGG-16 after the first, and the tiles that they have.
const LAYERS: [(Kernel, (usize, usize)); 9] = [
    (Line, (64, 64)),
    (Narrow, (64, 64)),
    (Narrow, (64, 128)),
    (Wide, (128, 128)),
    (Mixed, (128, 256)),
    (Wide, (256, 256)),
    (Split, (256, 512)),
    (Mixed, (512, 512)),
    (Split, (512, 512)),
];

fn check<T: Stored>(mode: Mode, case: Case, orders: &[Option<u64>]) {
    if !case.is_there() {
        return;
    }
    let apart = case.gradients::<T>(mode, How::Apart, None).unwrap();
    let mut first = None;
    for (i, &order) in orders.iter().enumerate() {
        let how = How::Together { weights_first: i % 2 == 0, short: 0, clusters: 1 + i };
        let found = case.gradients::<T>(mode, how, order).unwrap();
        let names = ["dx", "dw", "dγ", "dβ"];
        let compared = if case.norm { 0..4 } else { 1..2 };
        for at in compared {
            let what = format!("{}: {case:?}, {mode:?}, {how:?}, {order:?}", names[at]);
            match case.kernel {
                Line if at != 1 => assert!(relative_error(&found[at], &apart[at]) < 4e-3, "{what}"),
                _ => assert!(found[at] == apart[at], "{what}"),
            }
        }
        // The others are the norm's.
        let made = if case.norm { 4 } else { 2 };
        assert!(first.get_or_insert_with(|| found.clone())[..made] == found[..made], "{case:?}, {how:?}, {order:?}");
        // Without a norm dx is what it is with one.
        assert!(found[0].iter().all(|v| v.is_finite()), "dx: {case:?}, {mode:?}, {how:?}, {order:?}");
    }
}

#[test]
fn every_layers_gradients_are_those_of_launches_of_their_own() {
    for (kernel, channels) in LAYERS {
        for hopper in [false, true] {
            if hopper && kernel == Split || !hopper && kernel == Line {
                continue;
            }
            check::<bf16>(Mode::Bf16, Case { kernel, channels, hopper, norm: true }, &[None, Some(1)]);
        }
    }
}

#[test]
fn no_order_of_blocks_and_threads_changes_a_bit() {
    let line = Case { kernel: Line, channels: (64, 64), hopper: true, norm: true };
    check::<bf16>(Mode::Bf16, line, &[Some(2), Some(3), Some(4), Some(5)]);
    for kernel in [Wide, Mixed, Split, Narrow] {
        let case = Case { kernel, channels: (128, 128), hopper: false, norm: true };
        check::<bf16>(Mode::Bf16, case, &[Some(2), Some(3), Some(4)]);
        check::<f32>(Mode::Tf32, case, &[None, Some(5)]);
        if kernel != Split {
            check::<bf16>(Mode::Bf16, Case { hopper: true, ..case }, &[Some(2), Some(3), Some(4)]);
        }
    }
}

#[test]
fn what_has_no_norm_below_has_the_same_gradients() {
    for (kernel, hopper) in [(Narrow, false), (Narrow, true), (Split, false), (Wide, true), (Line, true)] {
        let channels = if kernel == Line { (64, 64) } else { (128, 128) };
        let case = Case { kernel, channels, hopper, norm: false };
        check::<bf16>(Mode::Bf16, case, &[None, Some(1)]);
        let how = How::Together { weights_first: false, short: 0, clusters: 1 };
        if case.is_there() {
            let found = |norm| Case { norm, ..case }.gradients::<bf16>(Mode::Bf16, how, None).unwrap();
            assert!(found(true)[..2] == found(false)[..2], "{case:?}");
        }
    }
}

#[test]
fn blocks_that_are_missing_are_found() {
    // Of the one gradient a tile is not made, of the other one more than there is.
    for (weights_first, short) in [(false, 1), (true, 3)] {
        let case = Case { kernel: Narrow, channels: (64, 64), hopper: false, norm: true };
        let how = How::Together { weights_first, short, clusters: 0 };
        if driver(None, false).hardware().is_none() {
            assert!(case.gradients::<bf16>(Mode::Bf16, how, None).is_err(), "{weights_first}");
        }
    }
}
