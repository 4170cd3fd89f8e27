//! The kernels of whole tiles against those of any, on tensor cores and in exact f32: the same sums, in the same order but where warps, groups of threads or
//! blocks share a sum. And all that VGG-16's layers call for, with their real channels and batch on a slice of their maps, against the CPU in f64.

use normscape::files::Values;
use normscape::ops::boundary::{compare, relative_error};
use normscape::ops::conv2d;
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::driver::{Driver, Grid, Stored};
use normscape::runtime::cuda::kernels::{self, Map};
use normscape::runtime::cuda::{Cuda, Mode};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape, View};

const BATCH: usize = 128;

fn device(mode: Mode, order: Option<u64>) -> Cuda {
    crate::shared::device(mode, order).unwrap_or_else(|e| panic!("{}", e.message().unwrap_or("no device")))
}

/// Maps of 1 × 3 pixels, of which those at the ends lack taps; all extents are whole tiles of 128.
struct Layer {
    mode: Mode,
    gpu: Cuda,
    x: View,
    weight: View,
    bias: View,
    y: View,
    sums: View,
    moments: [View; 2],
    grad_weight: View,
    parts: View,
}

const WIDTH: usize = 3;
const CHANNELS: usize = 128;
/// The most blocks that share a weight gradient here.
const MOST_BLOCKS: usize = 40;

impl Layer {
    fn new(mode: Mode, dtype: DType, order: Option<u64>) -> Layer {
        let mut gpu = device(mode, order);
        let mut plan = gpu.plan();
        let activations = Shape::new([1, WIDTH, BATCH, CHANNELS]);
        let x = plan.view(activations, dtype);
        let weight = plan.view(Shape::new([9, CHANNELS, CHANNELS]), dtype);
        let bias = plan.view(Shape::new([CHANNELS]), DType::F32);
        let y = plan.view(activations, dtype);
        let sums = plan.view(Shape::new([WIDTH, 2, CHANNELS]), DType::F64);
        let moments = [0; 2].map(|_| plan.view(Shape::new([CHANNELS]), DType::F32));
        let grad_weight = plan.view(Shape::new([9, CHANNELS, CHANNELS]), DType::F32);
        let parts = plan.view(Shape::new([2 * MOST_BLOCKS, CHANNELS, CHANNELS]), DType::F32);
        gpu.commit(&plan).unwrap();
        for (i, (view, scale)) in [(x, 1.0), (weight, 0.03), (bias, 1.0)].into_iter().enumerate() {
            let value = |at: usize| scale * normal(word(17, Purpose::Case, i as u32, 0, at as u64));
            gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
        }
        Layer { mode, gpu, x, weight, bias, y, sums, moments, grad_weight, parts }
    }

    /// Whether the device has sm_90a's instructions.
    fn hopper(&mut self) -> bool {
        self.gpu.driver().properties().hopper
    }

    /// Whether the device is the emulator, which adds a tensor core's products one by one and in order.
    fn emulated(&mut self) -> bool {
        self.gpu.driver().hardware().is_none()
    }

    fn map(direction: i32) -> Map {
        let [batch, width, channels] = [BATCH, WIDTH, CHANNELS].map(|n| n as u32);
        let rows = batch * width;
        Map { rows, inner: channels, columns: channels, height: 1, width, batch, taps: 9, direction }
    }

    /// Output and column sums of a product.
    fn product<T: Stored>(&mut self, kernel: &str, transposed: bool, relu: u32) -> [Vec<f64>; 2] {
        let (map, tickets) = (Self::map(if transposed { -1 } else { 1 }), self.gpu.tickets());
        let (driver, mut views) = self.gpu.begin("conv2d");
        let (a, b) = (views.read::<T>(In(self.x)).unwrap(), views.read::<T>(In(self.weight)).unwrap());
        let bias = Some(views.read::<f32>(In(self.bias)).unwrap());
        let mut out = views.write::<T>(Out(self.y)).unwrap();
        let mut s = views.write::<f64>(Out(self.sums)).unwrap();
        let [mut mean, mut var] = self.moments.map(|view| views.write::<f32>(Out(view)).unwrap());
        let mut tickets = views.write::<u32>(tickets).unwrap();
        let (mean, var, tickets) = (Some(&mut mean), Some(&mut var), Some(&mut tickets));
        let (out, sums, transposed) = (&mut out, Some(&mut s), u32::from(transposed));
        let grid = |x: usize, wide: usize, threads| Grid::of([x, CHANNELS / wide, 1], threads).shared(98_304);
        macro_rules! whole {
            ($kernel:ident, $grid:expr) => {
                kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, transposed, relu }
                    .launch(driver, $grid)
            };
        }
        // Of f32 alone.
        macro_rules! exact {
            ($kernel:ident, $grid:expr $(, $more:ident)?) => {{
                let (a, b, out) = (a.as_f32(), b.as_f32(), &mut out.as_f32());
                kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, transposed, relu $(, $more)? }
                    .launch(driver, $grid)
            }};
        }
        let vector = 1;
        match kernel {
            "exact_128" => exact!(ProductExact128, grid(WIDTH, 128, 256)),
            "exact_64" => exact!(ProductExact64, grid(WIDTH, 64, 256)),
            "exact_split" => exact!(ProductExactSplit, grid(4 * WIDTH, 64, 256)),
            "any" if self.mode == Mode::F32 => exact!(Product128x64, grid(WIDTH, 64, 256), vector),
            "tile_128" => whole!(ProductTile128, grid(WIDTH, 128, 128)),
            "tile_64" => whole!(ProductTile64, grid(WIDTH, 64, 128)),
            "wgmma_128" | "wgmma_64" => {
                let wide = if kernel == "wgmma_128" { 128 } else { 64 };
                // Tiles of a cluster lie one below the other, three of four of a cluster's are there.
                let (a, share, across) = (a.tiles([CHANNELS, WIDTH * BATCH], [64, 128]), wide / 4, 1);
                let b = b.tiles([CHANNELS, 9 * CHANNELS], [64, share]);
                // No more clusters than one: it has two rectangles of tiles of 64.
                let (grid, out) = (Grid::of([4, 1, 1], 288).shared(208_896), &mut out.as_bf16());
                macro_rules! warpgroups {
                    ($kernel:ident) => {
                        kernels::$kernel { a, b, bias, out, sums, mean, var, tickets, map, across, transposed, relu }
                            .launch(driver, grid)
                    };
                }
                if wide == 128 { warpgroups!(ProductWgmma128) } else { warpgroups!(ProductWgmma64) }
            }
            "tile_split" => whole!(ProductTileSplit, grid(4 * WIDTH, 64, 128)),
            _ => kernels::ProductMma { a, b, bias, out, sums, mean, var, tickets, map, transposed, relu, vector }
                .launch(driver, grid(WIDTH, 64, 256)),
        }
        .unwrap();
        [self.y, self.sums].map(|view| self.gpu.download_f64(In(view)).unwrap())
    }

    /// The part of so many pixels of the weight's gradient, with y as x's gradient: any numbers do.
    fn weight_gradient<T: Stored>(&mut self, kernel: &str, pixels: usize) -> Vec<f64> {
        let (map, per_split) = (Self::map(1), (pixels * BATCH) as u32);
        let (driver, mut views) = self.gpu.begin("conv2d");
        let (x, grad_y) = (views.read::<T>(In(self.x)).unwrap(), views.read::<T>(In(self.y)).unwrap());
        let mut out = views.write::<f32>(Out(self.grad_weight)).unwrap();
        let partials = &mut out;
        let grid = |side: usize, threads| Grid::of([(CHANNELS / side).pow(2), 9, 1], threads).shared(98_304);
        match kernel {
            "tile_128" => {
                kernels::WeightGradientTile128 { x, grad_y, partials, out: None, tickets: None, map, per_split }
                    .launch(driver, grid(128, 128))
            }
            "wgmma_128" | "wgmma_64" => {
                let (side, rows) = if kernel == "wgmma_128" { (128, 64) } else { (64, 128) };
                let [x, grad_y] = [x, grad_y].map(|slice| slice.tiles([CHANNELS, WIDTH * BATCH], [64, rows]));
                let splits = 1;
                let grid = Grid::of([4, 1, 1], 288).shared(180_224);
                macro_rules! warpgroups {
                    ($kernel:ident) => {
                        kernels::$kernel { x, grad_y, partials, out: None, tickets: None, map, per_split, splits }
                            .launch(driver, grid)
                    };
                }
                if side == 128 { warpgroups!(WeightGradientWgmma128) } else { warpgroups!(WeightGradientWgmma64) }
            }
            "tile_64" => {
                kernels::WeightGradientTile64 { x, grad_y, partials, out: None, tickets: None, map, per_split }
                    .launch(driver, grid(64, 128))
            }
            _ => kernels::WeightGradientMma { x, grad_y, partials, map, per_split, vector: 1 }
                .launch(driver, grid(64, 256)),
        }
        .unwrap();
        self.gpu.download_f64(In(self.grad_weight)).unwrap()
    }

    /// The weight's gradient in exact f32, made by so many blocks; by none in tiles that need not be whole.
    fn exact_weight_gradient(&mut self, side: usize, blocks: usize) -> Vec<f64> {
        let (map, tickets) = (Self::map(1), self.gpu.tickets());
        // What is not written stays NaN.
        self.gpu.upload_f32(&vec![f32::NAN; self.grad_weight.shape.len()], Out(self.grad_weight)).unwrap();
        let (driver, mut views) = self.gpu.begin("conv2d");
        let (x, grad_y) = (views.read::<f32>(In(self.x)).unwrap(), views.read::<f32>(In(self.y)).unwrap());
        let mut out = views.write::<f32>(Out(self.grad_weight)).unwrap();
        let mut parts = views.write::<f32>(Out(self.parts)).unwrap();
        let mut tickets = views.write::<u32>(tickets).unwrap();
        // No more than two tiles of each block.
        let (out, partials, tickets) = (&mut out, &mut parts.first(2 * blocks * side * side), &mut tickets);
        let grid = Grid::new(blocks, 256).shared(98_304);
        match (blocks, side) {
            (0, _) => {
                let per_split = (WIDTH * BATCH) as u32;
                kernels::WeightGradient64 { x, grad_y, partials: out, per_split, vector: 1, map }
                    .launch(driver, Grid::of([(CHANNELS / 64).pow(2), 9, 1], 256))
            }
            (_, 128) => kernels::WeightGradientExact128 { x, grad_y, partials, out, tickets, map }.launch(driver, grid),
            _ => kernels::WeightGradientExact64 { x, grad_y, partials, out, tickets, map }.launch(driver, grid),
        }
        .unwrap();
        self.gpu.download_f64(In(self.grad_weight)).unwrap()
    }
}

/// How far two sums of the same terms in other orders may be apart: rounding of float32 sums, and of what is stored in bf16 an ulp of few elements.
fn bound(mode: Mode) -> f64 {
    if mode == Mode::Bf16 { 1e-3 } else { 1e-6 }
}

const EXACT: [&str; 3] = ["exact_128", "exact_64", "exact_split"];

fn products<T: Stored>(mode: Mode, order: Option<u64>) {
    let mut layer = Layer::new(mode, T::DTYPE, order);
    for (transposed, relu) in [(false, 0), (false, 1), (true, 0)] {
        let [plain, _] = layer.product::<T>("any", transposed, relu);
        let hopper: &[_] = if T::HALF && layer.hopper() { &["wgmma_128", "wgmma_64"] } else { &[] };
        let whole = if mode == Mode::F32 { EXACT } else { ["tile_128", "tile_64", "tile_split"] };
        for kernel in whole.iter().chain(hopper).copied() {
            let [y, sums] = layer.product::<T>(kernel, transposed, relu);
            match kernel {
                "tile_128" => assert!(y == plain, "{kernel}"),
                "wgmma_128" | "wgmma_64" if layer.emulated() => assert!(y == plain, "{kernel}"),
                _ => assert!(relative_error(&y, &plain) < bound(mode), "{kernel}: {}", relative_error(&y, &plain)),
            }
            // The sums are those of what is stored, however it came about.
            for (tile, rows) in y.chunks(BATCH * CHANNELS).enumerate() {
                for j in 0..CHANNELS {
                    let column = || rows.iter().skip(j).step_by(CHANNELS);
                    let (sum, square): (f64, f64) = (column().sum(), column().map(|v| v * v).sum());
                    let size: f64 = column().map(|v| v.abs()).sum();
                    let at = |which: usize| sums[(2 * tile + which) * CHANNELS + j];
                    // A thread takes the sums of its few rows in float32.
                    let close = (at(0) - sum).abs() <= 1e-6 * size && (at(1) - square).abs() <= 1e-6 * square;
                    assert!(close, "{kernel}, tile {tile}, column {j}: {} {sum}, {} {square}", at(0), at(1));
                }
            }
        }
    }
}

#[test]
fn products_in_whole_tiles_are_those_of_any_tiles() {
    products::<half::bf16>(Mode::Bf16, None);
    products::<half::bf16>(Mode::Bf16, Some(3));
    products::<f32>(Mode::Tf32, None);
}

#[test]
fn exact_products_in_whole_tiles_are_those_of_any_tiles() {
    products::<f32>(Mode::F32, None);
    products::<f32>(Mode::F32, Some(3));
    let bits = |order| {
        let mut layer = Layer::new(Mode::F32, DType::F32, order);
        EXACT.map(|kernel| layer.product::<f32>(kernel, true, 0))
    };
    assert!(bits(None) == bits(Some(5)), "no order of threads and blocks changes a bit");
}

/// One block has all items; seven share some of them, and have whole ones; forty have less than an item each.
#[test]
fn exact_weight_gradients_are_those_of_any_tiles_however_many_blocks_share_them() {
    let found = |order| {
        let mut layer = Layer::new(Mode::F32, DType::F32, order);
        layer.product::<f32>("any", false, 0);
        let plain = layer.exact_weight_gradient(64, 0);
        let mut all = Vec::new();
        for (side, blocks) in [(128, 1), (128, 7), (128, MOST_BLOCKS), (64, 1), (64, 7), (64, MOST_BLOCKS)] {
            let found = layer.exact_weight_gradient(side, blocks);
            let error = relative_error(&found, &plain);
            assert!(error < 1e-6, "{blocks} blocks of tiles of {side}: {error:e}");
            all.push(found);
        }
        all
    };
    let all = found(None);
    assert!(all == found(Some(1)) && all == found(Some(2)), "no order of threads and blocks changes a bit");
}

#[test]
fn weight_gradients_in_whole_tiles_are_those_of_any_tiles() {
    fn check<T: Stored>(mode: Mode) {
        let mut layer = Layer::new(mode, T::DTYPE, None);
        layer.product::<T>("any", false, 0);
        let plain = layer.weight_gradient::<T>("any", 2);
        assert!(plain == layer.weight_gradient::<T>("tile_128", 2), "a warp of a tile of 128 has the whole sum");
        let mut shared = vec![("tile_64", 2)];
        // Warpgroups count pixels of dy for three taps together: the sums are of the same rows where they are of all.
        if T::HALF && layer.hopper() {
            shared.extend([("wgmma_64", WIDTH), ("wgmma_128", WIDTH)]);
        }
        for (kernel, pixels) in shared {
            let (found, plain) =
                (layer.weight_gradient::<T>(kernel, pixels), layer.weight_gradient::<T>("any", pixels));
            assert!(relative_error(&found, &plain) < 1e-6, "{kernel}: {}", relative_error(&found, &plain));
        }
    }
    check::<half::bf16>(Mode::Bf16);
    check::<f32>(Mode::Tf32);
}

/// Channels in and out of VGG-16's layers but the first, which has kernels of its own.
pub const LAYERS: [(usize, usize); 7] =
    [(64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)];

#[test]
fn slices_of_every_layer_of_vgg_16_follow_the_cpu() {
    for (mode, (c, k)) in [Mode::Bf16, Mode::F32].into_iter().flat_map(|mode| LAYERS.map(|layer| (mode, layer))) {
        let mut arrays = conv2d::cases::case("slice", conv2d::Map { h: 1, w: 2, n: BATCH, c, k }, false).arrays(5);
        for array in arrays.values_mut() {
            let Values::F32(values) = &mut array.values else { continue };
            values.iter_mut().for_each(|v| *v = half::bf16::from_f32(*v).to_f32());
        }
        let found = crate::shared::run("conv2d", &mut device(mode, None), &arrays).unwrap();
        let expected = crate::shared::run("conv2d", &mut Cpu::<f64>::default(), &arrays).unwrap();
        // In f32, and of the weight's gradient, sums are kept in float32; the others are rounded to bf16 once.
        for (name, error) in compare("conv2d", &found, &expected).unwrap() {
            let allowed = if mode == Mode::F32 || name == "grad_weight" { 2e-6 } else { 3e-3 };
            assert!(error <= allowed, "{mode:?}, {c} → {k}: {name} {error:e}");
        }
    }
}
