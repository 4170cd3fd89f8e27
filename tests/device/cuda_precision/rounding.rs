//! The reference: the CPU in f64, rounding stored numbers and operands where a device does.

use normscape::Result;
use normscape::ops::activation::{Activate, Activation, TangentOperands};
use normscape::ops::conv2d::{Conv2d, Map};
use normscape::ops::cross_entropy::{CrossEntropy, LossOut};
use normscape::ops::deep_linear::{Chain, ChainBatch, ChainOut, DeepLinear};
use normscape::ops::distribution::{Bins, Distribution};
use normscape::ops::gather::{Gather, ImageBytes};
use normscape::ops::linear::{Extents, Linear};
use normscape::ops::max_pool2d::MaxPool2d;
use normscape::ops::noise::{Noise, NoiseOptions};
use normscape::ops::norm::renorm::{Correction, Renorm, RenormLimits, Uncorrected};
use normscape::ops::norm::{Norm, NormGrads, NormPass, NormSpec, NormTangentBackward, NormTangents};
use normscape::ops::running::Running;
use normscape::ops::sgd::{Descent, Sgd};
use normscape::ops::squared_error::SquaredError;
use normscape::ops::step::Step;
use normscape::ops::vector::{Direction, NormKind, Vector};
use normscape::ops::weight_grads::WeightGrads;
use normscape::ops::weight_norm::{Parts, PartsOut, WeightNorm};
use normscape::runtime::cpu::Cpu;
use normscape::runtime::cuda::Mode;
use normscape::runtime::memory::Element;
use normscape::runtime::rng::{Purpose, normal, word};
use normscape::runtime::rounding::bf16_of;
use normscape::runtime::storage::Storage;
use normscape::runtime::tensor::{ArenaId, ArenaPlan, DType, In, Out, Shape};

/// The CPU in f64, rounding where a device in `mode` does.
pub struct Rounding {
    pub cpu: Cpu<f64>,
    pub mode: Mode,
    /// Disturbs what is stored, by as much as f32 arithmetic would; with what is drawn at this place.
    pub disturbance: Option<u64>,
}

fn rounded(v: f64, mode: Mode) -> f64 {
    match mode {
        Mode::F32 => v,
        Mode::Tf32 => {
            let bits = (v as f32).to_bits();
            f64::from(f32::from_bits((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFF_E000))
        }
        Mode::Bf16 => bf16_of(v).to_f64(),
    }
}

impl Rounding {
    /// What is stored as an activation.
    fn store(&mut self, tensor: Out) -> Result<()> {
        let mut values = self.cpu.download_f64(tensor.into())?;
        if let Some(place) = &mut self.disturbance {
            for v in &mut values {
                *place += 1;
                *v *= 1.0 + f64::from(f32::EPSILON) * f64::from(normal(word(3, Purpose::Case, 1, 0, *place)));
            }
        }
        if self.mode == Mode::Bf16 {
            values.iter_mut().for_each(|v| *v = rounded(*v, Mode::Bf16));
        }
        self.cpu.upload(&values, tensor)
    }

    fn store_some(&mut self, tensor: Option<Out>) -> Result<()> {
        tensor.map_or(Ok(()), |tensor| self.store(tensor))
    }

    /// A copy of an operand of a matrix product, rounded.
    fn operand(&mut self, tensor: In) -> Result<In> {
        let mut plan = self.cpu.plan();
        let copy = plan.view(tensor.0.shape, DType::F64);
        self.cpu.commit(&plan)?;
        let values = self.cpu.download_f64(tensor)?;
        let values: Vec<f64> = values.into_iter().map(|v| rounded(v, self.mode)).collect();
        self.cpu.upload(&values, Out(copy))?;
        Ok(In(copy))
    }
}

impl Storage for Rounding {
    fn dtype(&self) -> DType {
        DType::F64
    }
    fn reserve(&mut self) -> ArenaId {
        self.cpu.reserve()
    }
    fn commit(&mut self, plan: &ArenaPlan) -> Result<()> {
        self.cpu.commit(plan)
    }
    fn bytes(&self) -> usize {
        self.cpu.bytes()
    }
    fn upload<E: Element>(&mut self, values: &[E], to: Out) -> Result<()> {
        self.cpu.upload(values, to)
    }
    fn download<E: Element>(&mut self, from: In, values: &mut [E]) -> Result<()> {
        self.cpu.download(from, values)
    }
    fn upload_f32(&mut self, values: &[f32], to: Out) -> Result<()> {
        self.cpu.upload_f32(values, to)
    }
}

impl Conv2d for Rounding {
    fn conv2d_workspace(&self, map: Map) -> Shape {
        self.cpu.conv2d_workspace(map)
    }
    fn conv2d(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        let (x, weight) = (self.operand(x)?, self.operand(weight)?);
        self.cpu.conv2d(x, weight, bias, y, workspace)?;
        self.store(y)
    }
    fn conv2d_backward(&mut self, x: In, weight: In, dy: In, grads: WeightGrads, workspace: Out) -> Result<()> {
        let (x, weight, dy) = (self.operand(x)?, self.operand(weight)?, self.operand(dy)?);
        self.cpu.conv2d_backward(x, weight, dy, grads, workspace)?;
        self.store_some(grads.x)
    }
}

impl Linear for Rounding {
    fn linear_workspace(&self, extents: Extents) -> Shape {
        self.cpu.linear_workspace(extents)
    }
    fn linear(&mut self, x: In, weight: In, bias: Option<In>, y: Out, workspace: Out) -> Result<()> {
        let (x, weight) = (self.operand(x)?, self.operand(weight)?);
        self.cpu.linear(x, weight, bias, y, workspace)?;
        self.store(y)
    }
    fn linear_backward(&mut self, x: In, weight: In, dy: In, grads: WeightGrads, workspace: Out) -> Result<()> {
        let (x, weight, dy) = (self.operand(x)?, self.operand(weight)?, self.operand(dy)?);
        self.cpu.linear_backward(x, weight, dy, grads, workspace)?;
        self.store_some(grads.x)
    }
}

/// The operators that compute as the CPU does, and store what follows `stores` as a device does. `shape` gives a workspace's.
macro_rules! as_the_cpu {
    ($($operator:ident {
        $(shape $shape:ident($($x:ident: $of:ty),*);)?
        $(fn $name:ident($($arg:ident: $ty:ty),*) $(stores $stored:expr)?;)+
    })+) => {$(
        impl $operator for Rounding {
            $(fn $shape(&self, $($x: $of),*) -> Shape {
                self.cpu.$shape($($x),*)
            })?
            $(fn $name(&mut self, $($arg: $ty),*) -> Result<()> {
                self.cpu.$name($($arg),*)?;
                $(self.store_some($stored.into())?;)?
                Ok(())
            })+
        }
    )+};
}

as_the_cpu! {
    Norm {
        shape norm_workspace(spec: &NormSpec, x: Shape);
        fn norm_forward(spec: NormSpec, pass: NormPass) stores pass.y;
        fn norm_statistics(spec: NormSpec, pass: NormPass);
        fn norm_eval(spec: NormSpec, pass: NormPass) stores pass.y;
        fn norm_backward(spec: NormSpec, pass: NormPass, grad_y: In, grads: NormGrads) stores grads.x;
        fn norm_tangent(spec: NormSpec, pass: NormPass, tangents: NormTangents);
        fn norm_tangent_backward(spec: NormSpec, pass: NormPass, io: NormTangentBackward);
    }
    Renorm {
        fn renorm(limits: RenormLimits, eps: f64, of: Uncorrected, to: Correction);
        fn renorm_tangent(by: Correction, of: [Option<In>; 2], to: [Out; 2]);
        fn renorm_gradient(by: Correction, raw: In, grad_bias: In, to: Out);
    }
    Noise {
        fn noise(options: NoiseOptions, relu: bool, x: In, state: In, y: Out) stores y;
        fn noise_backward(o: NoiseOptions, relu: bool, x: In, dy: In, state: In, dx: Out) stores dx;
        fn noise_draws(options: NoiseOptions, state: In, shift: Out, scale: Out);
    }
    Running {
        fn move_running(momentum: f64, batch: In, factors: In, running: Out);
    }
    Activate {
        fn activation(kind: Activation, x: In, y: Out) stores y;
        fn activation_backward(kind: Activation, x: In, dy: In, dx: Out) stores dx;
        fn activation_tangent_backward(kind: Activation, of: TangentOperands, to: Out);
    }
    WeightNorm {
        fn weight_norm(of: Parts, weight: Out);
        fn weight_norm_backward(of: Parts, grad_weight: In, grads: PartsOut);
        fn weight_norm_tangent(of: Parts, moving: Parts, weight_tangent: Out);
        fn weight_norm_tangent_backward(of: Parts, by: Parts, grad: (In, In), to: PartsOut);
    }
    MaxPool2d {
        fn max_pool2d(x: In, y: Out);
        fn max_pool2d_backward(x: In, dy: In, dx: Out);
        fn max_pool2d_tangent(x: In, moving: In, y: Out);
    }
    CrossEntropy {
        fn cross_entropy(logits: In, labels: In, out: LossOut) stores out.grad;
        fn cross_entropy_tangent(logits: In, moving: In, out: Out);
    }
    SquaredError {
        fn squared_error(scale: f64, x: In, target: In, out: LossOut) stores out.grad;
        fn squared_error_tangent(scale: f64, x: In, out: Out);
    }
    Gather {
        fn gather(set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) stores x;
    }
    Sgd {
        fn sgd(g: In, of: Descent);
        fn sgd_pieces(g: In, of: Descent, pieces: In);
        fn advance(state: Out);
    }
    Step {
        fn judge(loss: In, state: Out);
        fn settle(loss: In, correct: In, journal: Out, running: Option<[Out; 2]>, state: Out);
    }
    Distribution {
        fn distribution(x: In, bins: Bins, count: Out, moments: Out);
    }
    Vector {
        fn axpy(a: f64, x: In, y: Out);
        fn displace(x: In, a: f64, y: In, out: Out);
        fn displace_rows(x: In, a: In, y: In, out: Out);
        fn compare_rows(rows: In, y: In, out: Out);
        fn direction(kind: Direction, index: u32, state: In, out: Out);
        fn jitter(x: In, part: f64, index: u32, state: In, out: Out);
        fn stretch(lengths: In, by: In, over: In, out: Out);
        fn dot(x: In, y: In, slot: Out);
        fn norm(kind: NormKind, x: In, slot: Out);
        fn diff_norm(kind: NormKind, x: In, y: In, slot: Out);
        fn copy(from: In, to: Out);
        fn recast(from: In, to: Out);
    }
}

impl DeepLinear for Rounding {
    fn has_deep_linear(&mut self, _: &Chain) -> bool {
        false
    }
    fn deep_linear(&mut self, chain: &Chain, theta: In, batch: ChainBatch, out: ChainOut) -> Result<bool> {
        self.cpu.deep_linear(chain, theta, batch, out)
    }
}
