//! Norms over groups on a device: `kernels/groupnorm.cu`, and BatchNorm's kernel for Σx and Σx².

use super::{GroupNorm, GroupSpec, Grouped, OP};
use crate::Result;
use crate::ops::column_grid::{ColumnGrid, merging, parts_of_few_rows};
use crate::ops::norm::{NormGrads, NormOptions, NormParams, Statistics};
use crate::ops::norm_tangent::{Moving, Normed, Upstream};
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::kernels::{Groups, Matrix};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use half::bf16;

/// How the passes share out x, and the kernels' words for its extents.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The sums over pixels.
    pub sums: ColumnGrid,
    /// What goes over every element.
    pub each: ColumnGrid,
    /// A warp for each sample's group.
    pub per_group: Grid,
    /// A warp for each channel.
    pub per_channel: Grid,
    /// C, and G
    pub groups: Groups,
}

impl Shared {
    pub fn new(of: Grouped) -> Result<Self> {
        let [sums, each] = ColumnGrid::few_rows(OP, (of.pixels, of.samples * of.channels))?;
        Ok(Shared {
            sums,
            each,
            per_group: merging(of.samples * of.groups),
            per_channel: merging(of.channels),
            groups: Groups {
                channels: count(OP, of.channels)?,
                count: count(OP, of.groups)?,
                centre: u32::from(of.centre),
            },
        })
    }
}

/// A workspace's parts: partial sums, those of how they move, and four means a group.
pub(super) struct Places {
    pub sums: Out,
    pub moving: Out,
    pub means: [Out; 4],
}

impl Places {
    pub fn of(workspace: Out, of: Grouped) -> Self {
        let columns = of.samples * of.channels;
        let (sums, groups) = (4 * columns * parts_of_few_rows(of.pixels, columns), of.samples * of.groups);
        let place = |start, len| Out(workspace.0.slice(start, Shape::new([len])));
        Places {
            sums: place(0, sums),
            moving: place(sums, sums),
            means: [0, 1, 2, 3].map(|which| place(2 * sums + which * groups, groups)),
        }
    }
}

impl<D: Driver> Cuda<D> {
    fn group_norm_in<T: Stored>(
        &mut self,
        of: Grouped,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        let Shared { sums, each, per_group, groups, .. } = Shared::new(of)?;
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mut mean, mut var) = (views.write::<f32>(stats.mean)?, views.write::<f32>(stats.spread)?);
        let (mut y, mut room) = (views.write::<T>(y)?, views.write::<f32>(Places::of(workspace, of).sums)?);
        let ColumnGrid { grid, matrix, parts } = sums;
        let Matrix { rows: pixels, columns, .. } = matrix;
        let mut partials = sums.partials(&mut room);
        kernels::MomentsPartial { x, partials: &mut partials, matrix }.launch(driver, grid)?;
        kernels::GroupMomentsFinish {
            partials: partials.read(),
            mean: &mut mean,
            var: &mut var,
            pixels,
            columns,
            parts,
            groups,
        }
        .launch(driver, per_group)?;
        let ColumnGrid { grid, matrix, .. } = each;
        kernels::GroupApply {
            x,
            weight,
            bias,
            mean: mean.read(),
            var: var.read(),
            y: &mut y,
            eps: options.eps,
            relu: u32::from(options.relu),
            groups,
            matrix,
        }
        .launch(driver, grid)
    }

    fn group_norm_gradient_in<T: Stored>(
        &mut self,
        of: Grouped,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        let Shared { sums, each, per_group, per_channel, groups } = Shared::new(of)?;
        let (driver, mut views) = self.begin(OP);
        let (x, weight, bias) =
            (views.read::<T>(x)?, views.read::<f32>(params.weight)?, views.read::<f32>(params.bias)?);
        let (mean, var) = (views.read::<f32>(stats.mean.into())?, views.read::<f32>(stats.spread.into())?);
        let (grad_y, mut grad_x) = (views.read::<T>(grad_y)?, views.write::<T>(grads.x)?);
        let (mut grad_weight, mut grad_bias) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let Places { sums: room, means: [mean_q, mean_u, ..], .. } = Places::of(workspace, of);
        let (mut room, mut mean_q, mut mean_u) =
            (views.write::<f32>(room)?, views.write::<f32>(mean_q)?, views.write::<f32>(mean_u)?);
        let (eps, relu) = (options.eps, u32::from(options.relu));
        let ColumnGrid { grid, matrix, parts } = sums;
        let Matrix { rows: pixels, columns, .. } = matrix;
        let mut partials = sums.partials(&mut room);
        kernels::GroupGradientSums {
            x,
            grad_y,
            weight,
            bias,
            mean,
            var,
            partials: &mut partials,
            eps,
            relu,
            groups,
            matrix,
        }
        .launch(driver, grid)?;
        let partials = partials.read();
        let (q, u) = (&mut mean_q, &mut mean_u);
        kernels::GroupMeans { partials, weight: Some(weight), mean_a: q, mean_b: u, pixels, columns, parts, groups }
            .launch(driver, per_group)?;
        let (dw, db) = (&mut grad_weight, &mut grad_bias);
        kernels::GroupChannels { partials, grad_weight: dw, grad_bias: db, columns, channels: groups.channels, parts }
            .launch(driver, per_channel)?;
        let ColumnGrid { grid, matrix, .. } = each;
        kernels::GroupGradient {
            x,
            grad_y,
            weight,
            bias,
            mean,
            var,
            mean_q: mean_q.read(),
            mean_u: mean_u.read(),
            grad_x: &mut grad_x,
            eps,
            relu,
            groups,
            matrix,
        }
        .launch(driver, grid)
    }
}

impl<D: Driver> GroupNorm for Cuda<D> {
    fn group_norm_workspace(&self, x: Shape) -> Shape {
        let [h, w, samples, channels] = x.hwnc();
        let columns = samples * channels;
        // Room for as many groups as there are channels.
        Shape::new([8 * columns * parts_of_few_rows(h * w, columns) + 4 * columns])
    }

    fn group_norm(
        &mut self,
        groups: GroupSpec,
        x: In,
        params: NormParams,
        options: NormOptions,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        options.without_pool(OP)?;
        let per_channel = [params.weight.0.shape, params.bias.0.shape];
        let of = Grouped::of(x.0.shape, groups, &per_channel, &[stats.mean.0.shape, stats.spread.0.shape])?;
        match self.mode() {
            Mode::Bf16 => self.group_norm_in::<bf16>(of, x, params, options, y, stats, workspace),
            _ => self.group_norm_in::<f32>(of, x, params, options, y, stats, workspace),
        }
    }

    fn group_norm_backward(
        &mut self,
        groups: GroupSpec,
        x: In,
        params: NormParams,
        options: NormOptions,
        stats: Statistics,
        grad_y: In,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        options.without_pool(OP)?;
        let per_channel = [params.weight, params.bias, grads.weight.into(), grads.bias.into()].map(|view| view.0.shape);
        let of = Grouped::of(x.0.shape, groups, &per_channel, &[stats.mean.0.shape, stats.spread.0.shape])?;
        match self.mode() {
            Mode::Bf16 => self.group_norm_gradient_in::<bf16>(of, x, params, options, stats, grad_y, grads, workspace),
            _ => self.group_norm_gradient_in::<f32>(of, x, params, options, stats, grad_y, grads, workspace),
        }
    }

    fn group_norm_tangent(
        &mut self,
        groups: GroupSpec,
        norm: Normed,
        moving: Moving,
        y: Out,
        stats: Statistics,
        workspace: Out,
    ) -> Result<()> {
        self.group_tangent_in(groups, norm, moving, y, stats, workspace)
    }

    fn group_norm_tangent_backward(
        &mut self,
        groups: GroupSpec,
        norm: Normed,
        moving: Moving,
        stats: Statistics,
        upstream: Upstream,
        grads: NormGrads,
        workspace: Out,
    ) -> Result<()> {
        self.group_tangent_backward_in(groups, norm, moving, stats, upstream, grads, workspace)
    }
}
