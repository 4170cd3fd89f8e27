//! Norms over groups on a device: `kernels/groupnorm.cu` and `kernels/groupnorm_wide.cu`, and of BatchNorm's kernels one for Σx and Σx².

use super::Grouped;
use crate::Result;
use crate::ops::implicit_gemm::aligned;
use crate::ops::launch_grid::{ColumnGrid, counted_in_32_bits, merging, parts_of_few_rows};
use crate::ops::norm::{NormGrads, NormPass, NormSpec};
use crate::runtime::cuda::driver::{Driver, Grid, Region, Stored};
use crate::runtime::cuda::kernels::{Groups, Matrix};
use crate::runtime::cuda::{Cuda, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};

/// How the passes share out x, and its extents as the kernels take them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The grid of sums over pixels.
    pub sums: ColumnGrid,
    /// The grid of passes over every element.
    pub each: ColumnGrid,
    /// A grid with one warp for each sample's group.
    pub per_group: Grid,
    /// A grid with one warp for each channel.
    pub per_channel: Grid,
    /// C and G.
    pub groups: Groups,
}

impl Shared {
    pub fn new(spec: &NormSpec, of: Grouped) -> Result<Self> {
        Self::of_grids(spec, of, ColumnGrid::few_rows(spec.name(), (of.pixels, of.samples * of.channels))?)
    }

    /// The same with grids of wide passes, where these take an x of this shape and `tensors` like it; and whether they do. Channels must be whole vectors of
    /// 16 bytes, so that a vector is of one sample.
    fn in_vectors<T: Stored>(spec: &NormSpec, of: Grouped, x: Shape, tensors: &[Region]) -> Result<(Self, bool)> {
        if aligned::<T>(tensors, &[of.channels]) == 0 || !counted_in_32_bits::<T>(x) {
            return Ok((Self::new(spec, of)?, false));
        }
        let grids = ColumnGrid::few_wide_rows::<T>(spec.name(), (of.pixels, of.samples * of.channels))?;
        Ok((Self::of_grids(spec, of, grids)?, true))
    }

    fn of_grids(spec: &NormSpec, of: Grouped, [sums, each]: [ColumnGrid; 2]) -> Result<Self> {
        let op = spec.name();
        Ok(Shared {
            sums,
            each,
            per_group: merging(of.samples * of.groups),
            per_channel: merging(of.channels),
            groups: Groups {
                channels: count(op, of.channels)?,
                count: count(op, of.groups)?,
                centre: u32::from(of.centre),
            },
        })
    }
}

/// The parts of a workspace: partial sums, their tangents, and four means for each group.
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

/// The workspace of all passes over an x of this shape, in f32 elements. It has room for as many groups as there are channels.
pub fn workspace(x: Shape) -> Shape {
    let [h, w, samples, channels] = x.hwnc();
    let columns = samples * channels;
    Shape::new([8 * columns * parts_of_few_rows(h * w, columns) + 4 * columns])
}

/// Launches the first kernel, or where `wide` the second; both take the same operands.
macro_rules! launch {
    ($driver:expr, $grid:expr, $wide:expr, [$narrow:ident, $vectors:ident] $operands:tt) => {
        if $wide { kernels::$vectors $operands.launch($driver, $grid) } else { kernels::$narrow $operands.launch($driver, $grid) }
    };
}

impl<D: Driver> Cuda<D> {
    /// See [`crate::ops::norm::Norm::norm_forward`].
    pub(in crate::ops::norm) fn group_norm<T: Stored>(&mut self, spec: &NormSpec, pass: NormPass) -> Result<()> {
        let of = Grouped::of(spec, &pass, &[], &[])?;
        let (driver, mut views) = self.begin(spec.name());
        let (x, weight, bias) =
            (views.read::<T>(pass.x)?, views.read::<f32>(pass.weight)?, views.read::<f32>(pass.bias)?);
        let (mut mean, mut var) = (views.write::<f32>(pass.mean)?, views.write::<f32>(pass.spread)?);
        let (mut y, mut room) = (views.write::<T>(pass.y)?, views.write::<f32>(Places::of(pass.workspace, of).sums)?);
        let (Shared { sums, each, per_group, groups, .. }, wide) =
            Shared::in_vectors::<T>(spec, of, pass.x.0.shape, &[x.region, y.region])?;
        let ColumnGrid { grid, matrix, parts } = sums;
        let Matrix { rows: pixels, columns, .. } = matrix;
        let mut partials = sums.partials(&mut room);
        // Each part's sums alone: the moments are those of groups.
        if wide {
            kernels::GroupMomentsWide { x, partials: &mut partials, matrix }.launch(driver, grid)?;
        } else {
            kernels::MomentsPartial { x, partials: &mut partials, mean: None, var: None, tickets: None, matrix }
                .launch(driver, grid)?;
        }
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
        let (mean, var, y, eps, relu) = (mean.read(), var.read(), &mut y, spec.eps, u32::from(spec.relu));
        launch!(driver, grid, wide, [GroupApply, GroupApplyWide] { x, weight, bias, mean, var, y, eps, relu, groups, matrix })
    }

    /// See [`crate::ops::norm::Norm::norm_backward`].
    pub(in crate::ops::norm) fn group_norm_gradient<T: Stored>(
        &mut self,
        spec: &NormSpec,
        pass: NormPass,
        grad_y: In,
        grads: NormGrads,
    ) -> Result<()> {
        let of = Grouped::of(spec, &pass, &[grads.weight.0.shape, grads.bias.0.shape], &[])?;
        let (driver, mut views) = self.begin(spec.name());
        let (x, weight, bias) =
            (views.read::<T>(pass.x)?, views.read::<f32>(pass.weight)?, views.read::<f32>(pass.bias)?);
        let (mean, var) = (views.read::<f32>(pass.mean.into())?, views.read::<f32>(pass.spread.into())?);
        let (grad_y, mut grad_x) = (views.read::<T>(grad_y)?, views.write::<T>(grads.x)?);
        let (mut grad_weight, mut grad_bias) = (views.write::<f32>(grads.weight)?, views.write::<f32>(grads.bias)?);
        let Places { sums: room, means: [mean_q, mean_u, ..], .. } = Places::of(pass.workspace, of);
        let (mut room, mut mean_q, mut mean_u) =
            (views.write::<f32>(room)?, views.write::<f32>(mean_q)?, views.write::<f32>(mean_u)?);
        let (eps, relu) = (spec.eps, u32::from(spec.relu));
        let (Shared { sums, each, per_group, per_channel, groups }, wide) =
            Shared::in_vectors::<T>(spec, of, pass.x.0.shape, &[x.region, grad_y.region, grad_x.region])?;
        let ColumnGrid { grid, matrix, parts } = sums;
        let Matrix { rows: pixels, columns, .. } = matrix;
        let mut partials = sums.partials(&mut room);
        let to = &mut partials;
        launch!(driver, grid, wide, [GroupGradientSums, GroupGradientSumsWide] {
            x, grad_y, weight, bias, mean, var, partials: to, eps, relu, groups, matrix
        })?;
        let partials = partials.read();
        let (q, u) = (&mut mean_q, &mut mean_u);
        kernels::GroupMeans { partials, weight: Some(weight), mean_a: q, mean_b: u, pixels, columns, parts, groups }
            .launch(driver, per_group)?;
        let (dw, db) = (&mut grad_weight, &mut grad_bias);
        kernels::GroupChannels { partials, grad_weight: dw, grad_bias: db, columns, channels: groups.channels, parts }
            .launch(driver, per_channel)?;
        let ColumnGrid { grid, matrix, .. } = each;
        let (mean_q, mean_u, grad_x) = (mean_q.read(), mean_u.read(), &mut grad_x);
        launch!(driver, grid, wide, [GroupGradient, GroupGradientWide] {
            x, grad_y, weight, bias, mean, var, mean_q, mean_u, grad_x, eps, relu, groups, matrix
        })
    }
}
