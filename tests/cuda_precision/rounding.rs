//! The reference: the CPU in f64, rounding what it stores and multiplies where a device does.

use normscape::Result;
use normscape::ops::activation::{Activate, Activation};
use normscape::ops::batch_norm::BatchNorm;
use normscape::ops::conv2d::{Conv2d, Conv2dGrads, Map};
use normscape::ops::cross_entropy::{CrossEntropy, LossOut};
use normscape::ops::deep_linear::{Chain, ChainBatch, ChainOut, DeepLinear};
use normscape::ops::distribution::{Bins, Distribution};
use normscape::ops::gather::{Gather, ImageBytes};
use normscape::ops::group_norm::{GroupNorm, GroupSpec};
use normscape::ops::linear::{Extents, Linear, LinearGrads};
use normscape::ops::lp_norm::LpNorm;
use normscape::ops::max_pool2d::MaxPool2d;
use normscape::ops::noise::{Noise, NoiseOptions};
use normscape::ops::noisy_batch_norm::NoisyBatchNorm;
use normscape::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use normscape::ops::norm_tangent::{Moving, NormTangent, Normed, Upstream};
use normscape::ops::running::{Running, RunningStatistics, Spread};
use normscape::ops::sgd::Sgd;
use normscape::ops::squared_error::SquaredError;
use normscape::ops::step::Step;
use normscape::ops::vector::{Direction, NormKind, Vector};
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
            let v = v as f32;
            f64::from(f32::from_bits(v.to_bits().wrapping_add(0x1000) & 0xFFFF_E000))
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
    fn conv2d_backward(&mut self, x: In, weight: In, dy: In, grads: Conv2dGrads, workspace: Out) -> Result<()> {
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
    fn linear_backward(&mut self, x: In, weight: In, dy: In, grads: LinearGrads, workspace: Out) -> Result<()> {
        let (x, weight, dy) = (self.operand(x)?, self.operand(weight)?, self.operand(dy)?);
        self.cpu.linear_backward(x, weight, dy, grads, workspace)?;
        self.store_some(grads.x)
    }
}

impl BatchNorm for Rounding {
    fn norm_workspace(&self, x: Shape) -> Shape {
        self.cpu.norm_workspace(x)
    }
    fn batch_norm(&mut self, x: In, p: NormParams, o: NormOptions, y: Out, s: Statistics, w: Out) -> Result<()> {
        self.cpu.batch_norm(x, p, o, y, s, w)?;
        self.store(y)
    }
    fn batch_norm_backward(
        &mut self,
        x: In,
        p: NormParams,
        o: NormOptions,
        s: Statistics,
        dy: In,
        g: NormGrads,
        w: Out,
    ) -> Result<()> {
        self.cpu.batch_norm_backward(x, p, o, s, dy, g, w)?;
        self.store(g.x)
    }
}

impl NoisyBatchNorm for Rounding {
    fn noisy_batch_norm(
        &mut self,
        noise: NoiseOptions,
        x: In,
        p: NormParams,
        o: NormOptions,
        state: In,
        y: Out,
        s: Statistics,
        w: Out,
    ) -> Result<()> {
        self.cpu.noisy_batch_norm(noise, x, p, o, state, y, s, w)?;
        self.store(y)
    }
    fn noisy_batch_norm_backward(
        &mut self,
        noise: NoiseOptions,
        x: In,
        p: NormParams,
        o: NormOptions,
        state: In,
        s: Statistics,
        dy: In,
        g: NormGrads,
        w: Out,
    ) -> Result<()> {
        self.cpu.noisy_batch_norm_backward(noise, x, p, o, state, s, dy, g, w)?;
        self.store(g.x)
    }
}

impl LpNorm for Rounding {
    fn lp_norm(&mut self, e: f64, x: In, p: NormParams, o: NormOptions, y: Out, s: Statistics, w: Out) -> Result<()> {
        self.cpu.lp_norm(e, x, p, o, y, s, w)?;
        self.store(y)
    }
    fn lp_norm_backward(
        &mut self,
        e: f64,
        x: In,
        p: NormParams,
        o: NormOptions,
        s: Statistics,
        dy: In,
        g: NormGrads,
        w: Out,
    ) -> Result<()> {
        self.cpu.lp_norm_backward(e, x, p, o, s, dy, g, w)?;
        self.store(g.x)
    }
}

impl GroupNorm for Rounding {
    fn group_norm_workspace(&self, x: Shape) -> Shape {
        self.cpu.group_norm_workspace(x)
    }
    fn group_norm(
        &mut self,
        groups: GroupSpec,
        x: In,
        p: NormParams,
        o: NormOptions,
        y: Out,
        s: Statistics,
        w: Out,
    ) -> Result<()> {
        self.cpu.group_norm(groups, x, p, o, y, s, w)?;
        self.store(y)
    }
    fn group_norm_backward(
        &mut self,
        groups: GroupSpec,
        x: In,
        p: NormParams,
        o: NormOptions,
        s: Statistics,
        dy: In,
        g: NormGrads,
        w: Out,
    ) -> Result<()> {
        self.cpu.group_norm_backward(groups, x, p, o, s, dy, g, w)?;
        self.store(g.x)
    }
    fn group_norm_tangent(
        &mut self,
        groups: GroupSpec,
        n: Normed,
        m: Moving,
        y: Out,
        s: Statistics,
        w: Out,
    ) -> Result<()> {
        self.cpu.group_norm_tangent(groups, n, m, y, s, w)
    }
    fn group_norm_tangent_backward(
        &mut self,
        groups: GroupSpec,
        n: Normed,
        m: Moving,
        s: Statistics,
        u: Upstream,
        g: NormGrads,
        w: Out,
    ) -> Result<()> {
        self.cpu.group_norm_tangent_backward(groups, n, m, s, u, g, w)
    }
}

impl Noise for Rounding {
    fn noise(&mut self, options: NoiseOptions, relu: bool, x: In, state: In, y: Out) -> Result<()> {
        self.cpu.noise(options, relu, x, state, y)?;
        self.store(y)
    }
    fn noise_backward(&mut self, o: NoiseOptions, relu: bool, x: In, dy: In, state: In, dx: Out) -> Result<()> {
        self.cpu.noise_backward(o, relu, x, dy, state, dx)?;
        self.store(dx)
    }
    fn noise_draws(&mut self, options: NoiseOptions, state: In, shift: Out, scale: Out) -> Result<()> {
        self.cpu.noise_draws(options, state, shift, scale)
    }
}

impl Running for Rounding {
    fn move_running(&mut self, momentum: f64, batch: In, factors: In, running: Out) -> Result<()> {
        self.cpu.move_running(momentum, batch, factors, running)
    }
    fn norm_eval(
        &mut self,
        k: Spread,
        x: In,
        p: NormParams,
        o: NormOptions,
        r: RunningStatistics,
        y: Out,
    ) -> Result<()> {
        self.cpu.norm_eval(k, x, p, o, r, y)?;
        self.store(y)
    }
}

impl Activate for Rounding {
    fn activation(&mut self, kind: Activation, x: In, y: Out) -> Result<()> {
        self.cpu.activation(kind, x, y)?;
        self.store(y)
    }
    fn activation_backward(&mut self, kind: Activation, x: In, dy: In, dx: Out) -> Result<()> {
        self.cpu.activation_backward(kind, x, dy, dx)?;
        self.store(dx)
    }
    fn activation_tangent_backward(
        &mut self,
        kind: Activation,
        x: In,
        xt: In,
        dy: In,
        dyt: In,
        out: Out,
    ) -> Result<()> {
        self.cpu.activation_tangent_backward(kind, x, xt, dy, dyt, out)
    }
}

impl WeightNorm for Rounding {
    fn weight_norm(&mut self, of: Parts, weight: Out) -> Result<()> {
        self.cpu.weight_norm(of, weight)
    }
    fn weight_norm_backward(&mut self, of: Parts, grad_weight: In, grads: PartsOut) -> Result<()> {
        self.cpu.weight_norm_backward(of, grad_weight, grads)
    }
    fn weight_norm_tangent(&mut self, of: Parts, moving: Parts, weight_tangent: Out) -> Result<()> {
        self.cpu.weight_norm_tangent(of, moving, weight_tangent)
    }
    fn weight_norm_tangent_backward(&mut self, of: Parts, by: Parts, grad: (In, In), to: PartsOut) -> Result<()> {
        self.cpu.weight_norm_tangent_backward(of, by, grad, to)
    }
}

impl MaxPool2d for Rounding {
    fn max_pool2d(&mut self, x: In, y: Out) -> Result<()> {
        self.cpu.max_pool2d(x, y)
    }
    fn max_pool2d_backward(&mut self, x: In, dy: In, dx: Out) -> Result<()> {
        self.cpu.max_pool2d_backward(x, dy, dx)
    }
    fn max_pool2d_tangent(&mut self, x: In, moving: In, y: Out) -> Result<()> {
        self.cpu.max_pool2d_tangent(x, moving, y)
    }
}

impl NormTangent for Rounding {
    fn norm_tangent(&mut self, n: Normed, m: Moving, y: Out, s: Statistics, w: Out) -> Result<()> {
        self.cpu.norm_tangent(n, m, y, s, w)
    }
    fn norm_tangent_backward(
        &mut self,
        n: Normed,
        m: Moving,
        s: Statistics,
        u: Upstream,
        g: NormGrads,
        w: Out,
    ) -> Result<()> {
        self.cpu.norm_tangent_backward(n, m, s, u, g, w)
    }
}

impl CrossEntropy for Rounding {
    fn cross_entropy(&mut self, logits: In, labels: In, out: LossOut) -> Result<()> {
        self.cpu.cross_entropy(logits, labels, out)?;
        self.store_some(out.grad)
    }
    fn cross_entropy_tangent(&mut self, logits: In, moving: In, out: Out) -> Result<()> {
        self.cpu.cross_entropy_tangent(logits, moving, out)
    }
}

impl SquaredError for Rounding {
    fn squared_error(&mut self, scale: f64, x: In, target: In, out: LossOut) -> Result<()> {
        self.cpu.squared_error(scale, x, target, out)?;
        self.store_some(out.grad)
    }
    fn squared_error_tangent(&mut self, scale: f64, x: In, out: Out) -> Result<()> {
        self.cpu.squared_error_tangent(scale, x, out)
    }
}

impl Gather for Rounding {
    fn gather(&mut self, set: ImageBytes, augment: bool, state: In, x: Out, labels: Out) -> Result<()> {
        self.cpu.gather(set, augment, state, x, labels)?;
        self.store(x)
    }
}

impl Sgd for Rounding {
    fn sgd(&mut self, theta: Out, g: In, v: Option<Out>, m: f64, decay: f64, state: In) -> Result<()> {
        self.cpu.sgd(theta, g, v, m, decay, state)
    }
    fn sgd_recast(&mut self, theta: Out, g: In, v: Option<Out>, to: Out, m: f64, decay: f64, state: In) -> Result<()> {
        self.cpu.sgd_recast(theta, g, v, to, m, decay, state)
    }
    fn advance(&mut self, state: Out) -> Result<()> {
        self.cpu.advance(state)
    }
}

impl Step for Rounding {
    fn judge(&mut self, loss: In, state: Out) -> Result<()> {
        self.cpu.judge(loss, state)
    }
    fn put_back(&mut self, before: In, running: Out, state: In) -> Result<()> {
        self.cpu.put_back(before, running, state)
    }
    fn note(&mut self, loss: In, correct: In, journal: Out, state: In) -> Result<()> {
        self.cpu.note(loss, correct, journal, state)
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

impl Distribution for Rounding {
    fn distribution(&mut self, x: In, bins: Bins, count: Out, moments: Out) -> Result<()> {
        self.cpu.distribution(x, bins, count, moments)
    }
}

impl Vector for Rounding {
    fn axpy(&mut self, a: f64, x: In, y: Out) -> Result<()> {
        self.cpu.axpy(a, x, y)
    }
    fn displace(&mut self, x: In, a: f64, y: In, out: Out) -> Result<()> {
        self.cpu.displace(x, a, y, out)
    }
    fn displace_rows(&mut self, x: In, a: In, y: In, out: Out) -> Result<()> {
        self.cpu.displace_rows(x, a, y, out)
    }
    fn compare_rows(&mut self, rows: In, y: In, out: Out) -> Result<()> {
        self.cpu.compare_rows(rows, y, out)
    }
    fn direction(&mut self, kind: Direction, index: u32, state: In, out: Out) -> Result<()> {
        self.cpu.direction(kind, index, state, out)
    }
    fn jitter(&mut self, x: In, part: f64, index: u32, state: In, out: Out) -> Result<()> {
        self.cpu.jitter(x, part, index, state, out)
    }
    fn stretch(&mut self, lengths: In, by: In, over: In, out: Out) -> Result<()> {
        self.cpu.stretch(lengths, by, over, out)
    }
    fn dot(&mut self, x: In, y: In, slot: Out) -> Result<()> {
        self.cpu.dot(x, y, slot)
    }
    fn norm(&mut self, kind: NormKind, x: In, slot: Out) -> Result<()> {
        self.cpu.norm(kind, x, slot)
    }
    fn diff_norm(&mut self, kind: NormKind, x: In, y: In, slot: Out) -> Result<()> {
        self.cpu.diff_norm(kind, x, y, slot)
    }
    fn copy(&mut self, from: In, to: Out) -> Result<()> {
        self.cpu.copy(from, to)
    }
    fn recast(&mut self, from: In, to: Out) -> Result<()> {
        self.cpu.recast(from, to)
    }
}
