//! The deep linear network on a device: on the coordinates of its batch (`super::cuda_coordinates`), or, for norms and batches that need the samples,
//! `kernels/dln.cu`, one cluster of blocks for each run.

use super::cuda_coordinates::{room, takes};
use super::{Chain, ChainBatch, ChainNorm, ChainOut, ChainStep, DeepLinear};
use crate::runtime::cuda::driver::{Driver, Grid};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, View};
use crate::{Error, Result};

const OP: &str = "deep_linear";
/// The number of blocks in a cluster.
const RANKS: usize = 8;
/// The number of threads in a block.
const THREADS: u32 = 256;
/// The widest layer that fits in a thread's registers.
const WIDEST: usize = 16;

/// Bytes of shared memory that the kernel itself declares, for sums over the block.
const DECLARED: usize = 256;

/// The bytes of dynamic shared memory of a block, which the kernel lays out in this order.
fn shared(chain: &Chain) -> usize {
    let Chain { depth, dim, samples, .. } = *chain;
    let (most, square) = (samples.div_ceil(RANKS), dim * dim);
    let sums = 512 + 2 * RANKS * 2 * WIDEST;
    let per_column = 2 * dim + 7 * chain.norms() * dim;
    8 * sums + 4 * (per_column + 2 * depth * square + (depth + 2) * dim * most)
}

/// A norm as the kernel takes it: its kind, ε and p.
fn norm(norm: ChainNorm) -> (u32, f64, f64) {
    match norm {
        ChainNorm::None => (0, 0.0, 2.0),
        ChainNorm::Batch { eps } => (1, eps, 2.0),
        ChainNorm::Lp { p: 1.0, eps } => (2, eps, 1.0),
        ChainNorm::Lp { p: 2.0, eps } => (3, eps, 2.0),
        ChainNorm::Lp { p: f64::INFINITY, eps } => (4, eps, 2.0),
        ChainNorm::Lp { p, eps } => (5, eps, p),
    }
}

/// The grid of so many runs.
fn grid(chain: &Chain, runs: usize) -> Grid {
    Grid::new(runs * RANKS, THREADS).shared(shared(chain))
}

/// How a device computes a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On coordinates, one block a run.
    Coordinates,
    /// Over the samples, one cluster of blocks a run.
    Cluster,
}

/// How the device computes `chain`, if its blocks are large enough. The kernels' products are exact, so they serve f32 only; clusters need sm_90.
fn fits<D: Driver>(cuda: &Cuda<D>, chain: &Chain) -> Option<Way> {
    let device = cuda.properties();
    let fits = chain.dim <= WIDEST && chain.samples < 1 << 20 && chain.depth < 1 << 12;
    let cluster = device.capability >= 90 && fits && shared(chain) + DECLARED <= device.shared as usize;
    match cuda.mode() {
        Mode::F32 if takes(chain, device) => Some(Way::Coordinates),
        Mode::F32 if cluster => Some(Way::Cluster),
        _ => None,
    }
}

/// Compares the shapes of a call. Errors: they do not fit.
fn check(chain: &Chain, theta: View, batch: ChainBatch, out: &ChainOut) -> Result<()> {
    let (x, target) = (batch.x.0.shape, batch.target.0.shape);
    let (runs, stride) = theta.shape.matrix();
    let (elements, parameters) = (chain.samples * chain.dim, chain.parameters());
    let per_run = out.loss.0.shape.len() == runs && out.correct.0.shape.len() == runs;
    let of_batch = x.len() == elements && target.len() == elements;
    let like_theta = out.grad.is_none_or(|grad| grad.0.shape.matrix() == (runs, stride));
    let kept = out.saved.is_none_or(|kept| {
        let shapes = [kept.y, kept.sample, kept.statistics].map(|view| view.0.shape.len());
        runs == 1 && shapes == [elements, chain.samples, chain.statistics().len()]
    });
    if runs == 0 || stride < parameters || !(per_run && of_batch && like_theta && kept) {
        let expected = format!("θ runs×{parameters}, x and target of {elements}, results of as many runs");
        return Err(Error::operator(OP, expected, format!("θ {}, x {x}", theta.shape)));
    }
    Ok(())
}

impl<D: Driver> DeepLinear for Cuda<D> {
    /// A device that cannot say whether it has room for a cluster does without that kernel; if it has failed, what comes next tells of it.
    fn has_deep_linear(&mut self, chain: &Chain) -> bool {
        let kernel = if chain.dim == 10 { &kernels::DEEP_LINEAR_10 } else { &kernels::DEEP_LINEAR_16 };
        match fits(self, chain) {
            Some(Way::Coordinates) => true,
            Some(Way::Cluster) => self.driver().has_room(kernel, grid(chain, 1)).unwrap_or(false),
            None => false,
        }
    }

    fn deep_linear_room(&self, chain: &Chain) -> usize {
        if takes(chain, self.properties()) { room(chain) } else { 0 }
    }

    fn deep_linear_prepare(&mut self, chain: &Chain, batch: ChainBatch) -> Result<()> {
        if takes(chain, self.properties()) { self.prepare_coordinates(chain, batch) } else { Ok(()) }
    }

    fn deep_linear_kept(&mut self, chain: &Chain, batch: ChainBatch, y: Out, sample: Out) -> Result<()> {
        let on_request = takes(chain, self.properties());
        if on_request { self.samples_from_coordinates(chain, batch, y, sample) } else { Ok(()) }
    }

    fn deep_linear_step(
        &mut self,
        chain: &Chain,
        theta: Out,
        batch: ChainBatch,
        out: ChainOut,
        step: ChainStep,
    ) -> Result<bool> {
        if fits(self, chain) != Some(Way::Coordinates) {
            return Ok(false);
        }
        check(chain, theta.0, batch, &out)?;
        self.step_on_coordinates(chain, theta, batch, out, step).map(|()| true)
    }

    fn deep_linear(&mut self, chain: &Chain, theta: In, batch: ChainBatch, out: ChainOut) -> Result<bool> {
        let ChainBatch { x, target, .. } = batch;
        let way = fits(self, chain);
        if way.is_none() {
            let found = format!("{} layers of {} and {} samples", chain.depth, chain.dim, chain.samples);
            return Err(Error::operator(OP, "a chain that fits a cluster of this device, in f32", found));
        }
        check(chain, theta.0, batch, &out)?;
        let (runs, stride) = theta.0.shape.matrix();
        if way == Some(Way::Coordinates) {
            return self.pass_on_coordinates(chain, theta, batch, out).map(|()| true);
        }
        let (kind, eps, p) = norm(chain.norm);
        let (driver, mut views) = self.begin(OP);
        let (theta, x, target) = (views.read::<f32>(theta)?, views.read::<f32>(x)?, views.read::<f32>(target)?);
        let mut grad = views.write_some::<f32>(out.grad)?;
        let (y, sample) = (out.saved.map(|k| k.y), out.saved.map(|k| k.sample));
        let statistics = out.saved.map(|k| k.statistics).filter(|s| s.0.shape.len() > 0);
        let (mut y, mut sample) = (views.write_some::<f32>(y)?, views.write_some::<f64>(sample)?);
        let mut statistics = views.write_some::<f32>(statistics)?;
        let (mut loss, mut correct) = (views.write::<f64>(out.loss)?, views.write::<f64>(out.correct)?);
        let (depth, dim) = (count(OP, chain.depth)?, count(OP, chain.dim)?);
        let (samples, stride) = (count(OP, chain.samples)?, count(OP, stride)?);
        let grid = grid(chain, runs);
        // The kernel of ten units and the one of at most sixteen take the same operands.
        macro_rules! launch {
            ($kernel:ident) => {
                kernels::$kernel {
                    theta,
                    x,
                    target,
                    grad: grad.as_mut(),
                    y: y.as_mut(),
                    statistics: statistics.as_mut(),
                    sample: sample.as_mut(),
                    loss: &mut loss,
                    correct: &mut correct,
                    scale: chain.scale,
                    eps,
                    p,
                    kind,
                    norm_last: u32::from(chain.norm_last),
                    depth,
                    dim,
                    samples,
                    stride,
                }
                .launch(driver, grid)
            };
        }
        match chain.dim {
            10 => launch!(DeepLinear10)?,
            _ => launch!(DeepLinear16)?,
        }
        Ok(true)
    }
}
