//! The first layer in bf16: where a block's rows are one pixel its operands are copied as they lie, to the bits of terms that are put next to one another.

use half::bf16;
use normscape::runtime::cuda::driver::Grid;
use normscape::runtime::cuda::kernels::{self, Map};
use normscape::runtime::cuda::{Mode, count};
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{DType, In, Out, Shape};

const BATCH: usize = 128;

#[derive(Debug, Clone, Copy)]
struct Case {
    height: usize,
    width: usize,
    columns: usize,
    /// With a bias and the ReLU.
    biased: bool,
}

impl Case {
    fn rows(&self) -> usize {
        self.height * self.width * BATCH
    }

    fn map(&self) -> Map {
        let of = |n: usize| count("conv2d", n).unwrap();
        Map {
            rows: of(self.rows()),
            inner: 3,
            columns: of(self.columns),
            height: of(self.height),
            width: of(self.width),
            batch: of(BATCH),
            taps: 9,
            direction: 1,
        }
    }
}

/// What is stored, the sums, and the moments; with an x that begins at a multiple of 16 bytes or one element after it.
fn forward(case: Case, aligned: bool, order: Option<u64>) -> Vec<Vec<u64>> {
    let (rows, columns, biased) = (case.rows(), case.columns, case.biased);
    let mut gpu = crate::shared::device(Mode::Bf16, order).unwrap();
    let mut plan = gpu.plan();
    let room = plan.view(Shape::new([3 * rows + 1]), DType::Bf16);
    let weight = plan.view(Shape::new([9, 3, columns]), DType::Bf16);
    let [bias, mean, var] = [0; 3].map(|_| plan.view(Shape::new([columns]), DType::F32));
    let out = plan.view(Shape::new([rows, columns]), DType::Bf16);
    let sums = plan.view(Shape::new([rows / 128, 2, columns]), DType::F64);
    gpu.commit(&plan).unwrap();
    let x = room.slice(usize::from(!aligned), Shape::new([3 * rows]));
    for (which, view) in [x, weight, bias].into_iter().enumerate() {
        let value = |at: usize| normal(word(47, Purpose::Case, which as u32, 0, at as u64));
        gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
    }
    let tickets = gpu.tickets();
    let (driver, mut views) = gpu.begin("conv2d");
    kernels::Stem {
        x: views.read::<bf16>(In(x)).unwrap(),
        weight: views.read::<bf16>(In(weight)).unwrap(),
        bias: biased.then(|| views.read::<f32>(In(bias)).unwrap()),
        out: &mut views.write::<bf16>(Out(out)).unwrap(),
        sums: Some(&mut views.write::<f64>(Out(sums)).unwrap()),
        mean: Some(&mut views.write::<f32>(Out(mean)).unwrap()),
        var: Some(&mut views.write::<f32>(Out(var)).unwrap()),
        tickets: Some(&mut views.write::<u32>(tickets).unwrap()),
        map: case.map(),
        sum_rows: 128,
        relu: u32::from(biased),
        tf32: 0,
    }
    .launch(driver, Grid::of([rows / 128, columns / 64, 1], 256))
    .unwrap();
    let bits = |view| gpu.download_f64(In(view)).unwrap().into_iter().map(f64::to_bits).collect();
    [out, sums, mean, var].map(bits).to_vec()
}

/// The weight's gradient, likewise. Operands are small whole numbers, whose sums are exact in any order.
fn weight_gradient(case: Case, per_split: usize, aligned: bool, order: Option<u64>) -> Vec<u64> {
    let (rows, columns) = (case.rows(), case.columns);
    let splits = rows.div_ceil(per_split);
    let mut gpu = crate::shared::device(Mode::Bf16, order).unwrap();
    let mut plan = gpu.plan();
    let room = plan.view(Shape::new([3 * rows + 1]), DType::Bf16);
    let grad_y = plan.view(Shape::new([rows, columns]), DType::Bf16);
    let out = plan.view(Shape::new([9, 3, columns]), DType::F32);
    let partials = plan.view(Shape::new([splits, 27, columns]), DType::F32);
    gpu.commit(&plan).unwrap();
    let x = room.slice(usize::from(!aligned), Shape::new([3 * rows]));
    for (which, view) in [x, grad_y].into_iter().enumerate() {
        let value = |at: usize| (2.0 * normal(word(48, Purpose::Case, which as u32, 0, at as u64))).round();
        gpu.upload_f32(&(0..view.shape.len()).map(value).collect::<Vec<_>>(), Out(view)).unwrap();
    }
    let tickets = gpu.tickets();
    let (driver, mut views) = gpu.begin("conv2d");
    kernels::StemGradient {
        x: views.read::<bf16>(In(x)).unwrap(),
        grad_y: views.read::<bf16>(In(grad_y)).unwrap(),
        partials: &mut views.write::<f32>(Out(partials)).unwrap(),
        out: Some(&mut views.write::<f32>(Out(out)).unwrap()),
        tickets: Some(&mut views.write::<u32>(tickets).unwrap()),
        per_split: count("conv2d", per_split).unwrap(),
        tf32: 0,
        map: case.map(),
    }
    .launch(driver, Grid::of([columns / 64, splits, 1], 256))
    .unwrap();
    gpu.download_f64(In(out)).unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn operands_copied_as_they_lie_give_the_bits_of_those_that_are_gathered() {
    for (height, width, columns, biased) in [(3, 4, 64, false), (1, 2, 128, true), (2, 1, 64, true)] {
        let case = Case { height, width, columns, biased };
        let gathered = forward(case, false, None);
        assert_eq!(forward(case, true, None), gathered, "{case:?}");
        assert_eq!(forward(case, true, Some(1)), gathered, "{case:?}, in another order");
        assert!(gathered[0].iter().any(|&bits| bits != 0), "{case:?}");
    }
}

#[test]
fn so_do_those_of_the_weights_gradient() {
    for (height, width, columns, per_split) in [(3, 4, 64, 512), (1, 2, 128, 192), (2, 1, 64, 256)] {
        let case = Case { height, width, columns, biased: false };
        let gathered = weight_gradient(case, per_split, false, None);
        assert_eq!(weight_gradient(case, per_split, true, None), gathered, "{case:?}");
        assert_eq!(weight_gradient(case, per_split, true, Some(1)), gathered, "{case:?}, in another order");
        assert!(gathered.iter().any(|&bits| bits != 0), "{case:?}");
    }
}
