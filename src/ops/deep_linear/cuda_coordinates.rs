//! The deep linear network on a device, on the coordinates of its batch: `kernels/dln_coordinates.cu`, one block for each run.
//!
//! The coordinates are computed on the host once for each batch, as the CPU computes them, and the workspace has the CPU's layout.

use super::coordinates::prepare;
use super::layout::{Layout, fits, needs_samples};
use super::{Chain, ChainBatch, ChainNorm, ChainOut, ChainStep};
use crate::runtime::cuda::driver::{Driver, Grid, Properties};
use crate::runtime::cuda::kernels::{self, AfterPass, Coordinates};
use crate::runtime::cuda::{Cuda, count};
use crate::runtime::state::StepState;
use crate::runtime::tensor::{In, Out};
use crate::{Error, Result};

const OP: &str = "deep_linear";
/// The widest layer that there is a kernel for.
const WIDEST: usize = 16;
/// Bytes of shared memory that the kernel itself declares, for sums over the block.
const DECLARED: usize = 256;

/// Whether a device computes such a chain on coordinates. Other ℓp norms than ℓ2 need the samples.
pub fn takes(chain: &Chain, device: &Properties) -> bool {
    let fits = fits(chain) && chain.dim <= WIDEST && !(chain.norms() > 0 && needs_samples(chain.norm));
    fits && chain.samples < 1 << 20 && chain.depth < 1 << 12 && shared(chain) + DECLARED <= device.shared as usize
}

/// The length of the workspace, in doubles.
pub fn room(chain: &Chain) -> usize {
    Layout::of(chain, 1).total
}

/// The bytes of dynamic shared memory of a block, which the kernel lays out in this order.
fn shared(chain: &Chain) -> usize {
    let Chain { depth, dim, .. } = *chain;
    let pitch = if dim == 10 { 11 } else { WIDEST + 1 };
    8 * (depth * dim * pitch + (depth + 1) * (dim + 1) * pitch + 2 * (dim + 1) * pitch + 5 * depth * dim)
}

/// The chain as the kernels take it.
fn coordinates(chain: &Chain, layout: &Layout) -> Result<Coordinates> {
    let number = |n: usize| count(OP, n);
    Ok(Coordinates {
        depth: number(chain.depth)?,
        dim: number(chain.dim)?,
        norms: number(chain.norms())?,
        samples: number(chain.samples)?,
        kind: match chain.norm {
            ChainNorm::None => 0,
            ChainNorm::Batch { .. } => 1,
            ChainNorm::Lp { .. } => 3,
        },
        row: number(layout.stride)?,
        x: number(layout.x)?,
        last: number(layout.tape)?,
    })
}

/// ε, where there is a norm.
fn eps_of(chain: &Chain) -> f64 {
    match chain.norm {
        ChainNorm::None => 0.0,
        ChainNorm::Batch { eps } | ChainNorm::Lp { eps, .. } => eps,
    }
}

/// A block for each run, a thread for each coordinate of a unit.
fn grid(chain: &Chain, runs: usize) -> Grid {
    let threads = ((chain.dim + 1) * chain.dim).next_multiple_of(32) as u32;
    Grid::new(runs, threads).shared(shared(chain))
}

fn layout_of(chain: &Chain, batch: ChainBatch) -> Result<Layout> {
    let layout = Layout::of(chain, 1);
    match batch.room.0.shape.len() {
        found if found == layout.total => Ok(layout),
        found => Err(Error::operator(OP, format!("room of {}", layout.total), found.to_string())),
    }
}

impl<D: Driver> Cuda<D> {
    /// Computes the coordinates of a batch, on the host.
    pub(super) fn prepare_coordinates(&mut self, chain: &Chain, batch: ChainBatch) -> Result<()> {
        let (layout, elements) = (layout_of(chain, batch)?, chain.samples * chain.dim);
        let (driver, mut views) = self.begin(OP);
        let (x, target) = (views.read::<f32>(batch.x)?, views.read::<f32>(batch.target)?);
        let room = views.write::<f64>(batch.room)?;
        if [x.len(), target.len()] != [elements; 2] {
            let found = format!("{} and {}", x.len(), target.len());
            return Err(Error::operator(OP, format!("x and target of {elements}"), found));
        }
        let mut on_host = |from| {
            let mut values = vec![0.0f32; elements];
            driver.download(from, bytemuck::cast_slice_mut(&mut values))?;
            Ok::<Vec<f64>, Error>(values.into_iter().map(f64::from).collect())
        };
        let (x, target) = (on_host(x.region)?, on_host(target.region)?);
        let mut values = vec![0.0; layout.total];
        prepare(chain, &layout, &x, &target, &mut values);
        driver.upload(room.region, bytemuck::cast_slice(&values))
    }

    /// One pass of every run on coordinates; the shapes have been compared.
    pub(super) fn pass_on_coordinates(
        &mut self,
        chain: &Chain,
        theta: In,
        batch: ChainBatch,
        out: ChainOut,
    ) -> Result<()> {
        let layout = layout_of(chain, batch)?;
        let of = coordinates(chain, &layout)?;
        let (runs, stride) = theta.0.shape.matrix();
        let eps = eps_of(chain);
        let statistics = out.saved.map(|kept| kept.statistics).filter(|view| view.0.shape.len() > 0);
        let (driver, mut views) = self.begin(OP);
        let (theta, mut room) = (views.read::<f32>(theta)?, views.write::<f64>(batch.room)?);
        let (mut grad, mut statistics) = (views.write_some::<f32>(out.grad)?, views.write_some::<f32>(statistics)?);
        let (mut loss, mut correct) = (views.write::<f64>(out.loss)?, views.write::<f64>(out.correct)?);
        let grid = grid(chain, runs);
        // The kernel of ten units and the one of at most sixteen take the same operands.
        macro_rules! launch {
            ($kernel:ident) => {
                kernels::$kernel {
                    theta,
                    batch: &mut room,
                    grad: grad.as_mut(),
                    statistics: statistics.as_mut(),
                    loss: &mut loss,
                    correct: &mut correct,
                    scale: chain.scale,
                    eps,
                    stride: count(OP, stride)?,
                    target: count(OP, layout.target)?,
                    of,
                }
                .launch(driver, grid)
            };
        }
        match chain.dim {
            10 => launch!(DeepLinearCoordinates10),
            _ => launch!(DeepLinearCoordinates16),
        }
    }

    /// A training step of a single run on coordinates; the shapes of the pass have been compared.
    pub(super) fn step_on_coordinates(
        &mut self,
        chain: &Chain,
        theta: Out,
        batch: ChainBatch,
        out: ChainOut,
        step: ChainStep,
    ) -> Result<()> {
        let layout = layout_of(chain, batch)?;
        let of = coordinates(chain, &layout)?;
        let ChainStep { running, factors, running_momentum, weight_decay, state } = step;
        let expected = [1, chain.statistics().len(), chain.statistics().len(), StepState::shape().len()];
        let found = [theta.0.shape.matrix().0, running.0.shape.len(), factors.0.shape.len(), state.0.shape.len()];
        let (Some(grad), Some(saved)) = (out.grad, out.saved) else {
            return Err(Error::operator(OP, "places for the gradient and the statistics of a step", "none"));
        };
        if found != expected {
            let expected = format!("{expected:?} runs, running statistics, factors and words of step state");
            return Err(Error::operator(OP, expected, format!("{found:?}")));
        }
        let norms = chain.norms() > 0;
        let some = |view| norms.then_some(view);
        let (driver, mut views) = self.begin(OP);
        let (mut theta, mut room) = (views.write::<f32>(theta)?, views.write::<f64>(batch.room)?);
        let (mut grad, state) = (views.write::<f32>(grad)?, views.read::<u64>(state)?);
        let mut statistics = views.write_some::<f32>(some(saved.statistics))?;
        let (mut running, factors) =
            (views.write_some::<f32>(some(running))?, views.read_some::<f64>(norms.then_some(factors))?);
        let (mut loss, mut correct) = (views.write::<f64>(out.loss)?, views.write::<f64>(out.correct)?);
        macro_rules! launch {
            ($kernel:ident) => {
                kernels::$kernel {
                    theta: &mut theta,
                    batch: &mut room,
                    grad: &mut grad,
                    statistics: statistics.as_mut(),
                    loss: &mut loss,
                    correct: &mut correct,
                    factors,
                    running: running.as_mut(),
                    state,
                    scale: chain.scale,
                    eps: eps_of(chain),
                    target: count(OP, layout.target)?,
                    after: AfterPass { momentum: running_momentum, decay: weight_decay as f32 },
                    of,
                }
                .launch(driver, grid(chain, 1))
            };
        }
        match chain.dim {
            10 => launch!(DeepLinearStep10),
            _ => launch!(DeepLinearStep16),
        }
    }

    /// The prediction and the sample losses of the last single run.
    pub(super) fn samples_from_coordinates(
        &mut self,
        chain: &Chain,
        batch: ChainBatch,
        y: Out,
        sample: Out,
    ) -> Result<()> {
        let layout = layout_of(chain, batch)?;
        let of = coordinates(chain, &layout)?;
        let (driver, mut views) = self.begin(OP);
        let (room, target) = (views.read::<f64>(batch.room.into())?, views.read::<f32>(batch.target)?);
        let (mut y, mut sample) = (views.write::<f32>(y)?, views.write::<f64>(sample)?);
        let elements = chain.samples * chain.dim;
        if [target.len(), y.len(), sample.len()] != [elements, elements, chain.samples] {
            let expected = format!("target and prediction of {elements}, {} losses", chain.samples);
            let found = format!("{}, {}, {}", target.len(), y.len(), sample.len());
            return Err(Error::operator(OP, expected, found));
        }
        kernels::DeepLinearSamples {
            batch: room,
            target,
            y: &mut y,
            sample: &mut sample,
            scale: chain.scale,
            basis: count(OP, layout.basis)?,
            padded: count(OP, layout.padded)?,
            of,
        }
        .launch(driver, Grid::cover(chain.samples, 1, 128))
    }
}
