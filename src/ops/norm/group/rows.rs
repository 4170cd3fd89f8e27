//! Norms over groups on the CPU where a sample is one row of channels (no map, as in the deep linear network).
//!
//! A group is then a few neighbouring numbers, too few for a vector register, and summing them one after another is slow. So several samples at a
//! time, a *strip*, are transposed. A vector then holds one channel of each sample, and all work goes lane by lane. All sums are taken in f64.
//! Samples are cut into tasks by the shape alone; each task leaves its part of the gradients of γ and β, and these are added up in order. So the
//! number of threads changes no bit.

use super::Grouped;
use super::transpose::transpose;
use crate::ops::affine::floor;
use crate::ops::channel_reduce::{Extremes, Shared, not_below_0, out_of_range};
use crate::ops::norm::NormSpec;
use crate::runtime::float::Float;
use crate::runtime::simd::vectorize;
use rayon::prelude::*;
use std::hint::black_box;

/// The number of samples in a strip.
const WIDTH: usize = 16;
/// The approximate number of elements in a task.
const TASK: usize = 1 << 14;
/// The most channels; a strip with more would not stay in the first-level cache.
const MOST: usize = 128;

/// Whether this module computes the norm.
pub fn takes(of: Grouped) -> bool {
    of.pixels == 1 && of.channels <= MOST
}

/// The number of samples in a task: whole strips.
fn samples_each(of: Grouped) -> usize {
    (TASK / of.channels).next_multiple_of(WIDTH)
}

/// The workspace of a task, in f64 elements: two strips of T, two of f64, and two sums for each channel.
fn room(of: Grouped) -> usize {
    4 * WIDTH * of.channels + 2 * of.channels
}

/// The workspace, in f64 elements.
pub fn workspace(of: Grouped) -> usize {
    of.samples.div_ceil(samples_each(of)) * room(of)
}

/// The samples of one task, and its workspace.
struct Task<'a, T> {
    first: usize,
    count: usize,
    /// Two strips.
    strips: [&'a mut [T]; 2],
    /// Two sums for each lane of a strip.
    lanes: [&'a mut [f64]; 2],
    /// Two sums for each channel.
    channels: &'a mut [f64],
}

fn for_tasks<T: Float>(of: Grouped, workspace: &mut [f64], work: impl Fn(Task<'_, T>) + Sync) {
    let (each, size, strip) = (samples_each(of), room(of), WIDTH * of.channels);
    let one = |(index, room): (usize, &mut [f64])| {
        let first = index * each;
        let (channels, rest) = room.split_at_mut(2 * of.channels);
        let (a, rest) = rest.split_at_mut(strip);
        let (b, rest) = rest.split_at_mut(strip);
        // A strip of T fits in the room of as many f64.
        let (x, dy) = bytemuck::cast_slice_mut::<f64, T>(rest).split_at_mut(strip);
        let strips = [x, &mut dy[..strip]];
        work(Task { first, count: each.min(of.samples - first), strips, lanes: [a, b], channels });
    };
    let tasks = of.samples.div_ceil(each);
    let workspace = &mut workspace[..tasks * size];
    if tasks == 1 {
        one((0, workspace));
    } else {
        workspace.par_chunks_exact_mut(size).enumerate().for_each(one);
    }
}

/// Writes `y = γ (x − μ)/S + β`, followed by the ReLU if it is set, and the statistics. As in [`super::cpu`], what leaves T's range is computed
/// again.
pub fn forward<T: Float>(
    of: Grouped,
    x: &[T],
    params: (&[T], &[T]),
    spec: NormSpec,
    y: &mut [T],
    (mean, var): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let (y, mean, var) = (Shared::new(y), Shared::new(mean), Shared::new(var));
    for_tasks::<T>(of, workspace, |task| {
        let samples = task.first..task.first + task.count;
        let range = |each: usize| samples.start * each..samples.end * each;
        // SAFETY: tasks do not overlap.
        let (y, mean, var) =
            unsafe { (y.range(range(of.channels)), mean.range(range(of.groups)), var.range(range(of.groups))) };
        let [strip, _] = task.strips;
        forward_rows(of, &x[range(of.channels)], params, spec, y, mean, var, strip);
    });
}

/// Computes the gradients of [`forward`]; `mean` and `var` are what it wrote.
pub fn backward<T: Float>(
    of: Grouped,
    (x, dy): (&[T], &[T]),
    params: (&[T], &[T]),
    spec: NormSpec,
    (mean, var): (&[T], &[T]),
    dx: &mut [T],
    (grad_weight, grad_bias): (&mut [T], &mut [T]),
    workspace: &mut [f64],
) {
    let dx = Shared::new(dx);
    for_tasks::<T>(of, workspace, |task| {
        let samples = task.first..task.first + task.count;
        let range = |each: usize| samples.start * each..samples.end * each;
        let (rows, groups) = (range(of.channels), range(of.groups));
        // SAFETY: tasks do not overlap.
        let to = unsafe { dx.range(rows.clone()) };
        let statistics = (&mean[groups.clone()], &var[groups]);
        let Task { strips, lanes, channels, .. } = task;
        backward_rows(of, (&x[rows.clone()], &dy[rows]), params, spec, statistics, to, strips, lanes, channels);
    });
    let (tasks, size) = (of.samples.div_ceil(samples_each(of)), room(of));
    for c in 0..of.channels {
        let rooms = workspace[..tasks * size].chunks_exact(size);
        let (sum, sum_u) = rooms.fold((0.0, 0.0), |(a, b), room| (a + room[2 * c], b + room[2 * c + 1]));
        grad_bias[c] = T::of(sum);
        grad_weight[c] = T::of(sum_u);
    }
}

vectorize! {
    fn forward_rows<T>(
        of: Grouped, x: &[T], params: (&[T], &[T]), spec: NormSpec, y: &mut [T], mean: &mut [T], var: &mut [T], strip: &mut [T],
    ) {
        // The ReLU's place in the loop costs something, also where there is none.
        match spec.relu {
            true => forward_strips::<T, true>(of, x, params, spec, y, mean, var, strip),
            false => forward_strips::<T, false>(of, x, params, spec, y, mean, var, strip),
        }
    }

    fn backward_rows<T>(
        of: Grouped, tensors: (&[T], &[T]), params: (&[T], &[T]), spec: NormSpec, statistics: (&[T], &[T]), dx: &mut [T],
        strips: [&mut [T]; 2], lanes: [&mut [f64]; 2], channels: &mut [f64],
    ) {
        match spec.relu {
            true => backward_strips::<T, true>(of, tensors, params, spec, statistics, dx, strips, lanes, channels),
            false => backward_strips::<T, false>(of, tensors, params, spec, statistics, dx, strips, lanes, channels),
        }
    }
}

/// One channel of a strip.
#[inline(always)]
fn channel<T>(lanes: &mut [T]) -> &mut [T; WIDTH] {
    match lanes.first_chunk_mut() {
        Some(lanes) => lanes,
        None => unreachable!("a strip has whole channels"),
    }
}

#[inline(always)]
fn forward_strips<T: Float, const RELU: bool>(
    of: Grouped,
    x: &[T],
    (weight, bias): (&[T], &[T]),
    spec: NormSpec,
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    strip: &mut [T],
) {
    let (columns, each, size) = (of.channels, of.channels_each(), of.size());
    let (inverse_size, floor) = (1.0 / size, floor::<T>(true));
    let rows = x.chunks(WIDTH * columns).zip(y.chunks_mut(WIDTH * columns));
    let statistics = mean.chunks_mut(WIDTH * of.groups).zip(var.chunks_mut(WIDTH * of.groups));
    for ((x, y), (mean, var)) in rows.zip(statistics) {
        let count = x.len() / columns;
        if count < WIDTH {
            strip.fill(T::ZERO);
        }
        transpose(x, columns, (count, columns), strip, WIDTH);
        for (g, strip) in strip.chunks_exact_mut(WIDTH * each).enumerate() {
            let (mut center, mut s1, mut s2) = ([0.0; WIDTH], [0.0; WIDTH], [0.0; WIDTH]);
            // Here and below something of a channel is hidden from the compiler. Else it makes vectors of a lane's channels, and gathers them.
            for lanes in strip.chunks_exact_mut(WIDTH) {
                let x = *black_box(&*channel(lanes));
                for i in 0..WIDTH {
                    center[i] += x[i].f64();
                }
            }
            for center in &mut center {
                *center *= inverse_size;
            }
            for lanes in strip.chunks_exact_mut(WIDTH) {
                let x = *black_box(&*channel(lanes));
                for i in 0..WIDTH {
                    let d = x[i].f64() - center[i];
                    s1[i] += d;
                    s2[i] = d.mul_add(d, s2[i]);
                }
            }
            let (mut m, mut v, mut inverse) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH], [0.0; WIDTH]);
            let mut fine = true;
            for i in 0..WIDTH {
                let rest = s1[i] * inverse_size;
                m[i] = T::of(center[i] + rest);
                v[i] = T::of(not_below_0(s2[i] - s1[i] * rest) / size);
                // A sum beyond the range stands for either.
                fine &= v[i].f64() >= T::FAINT && (m[i].abs() + v[i]).is_finite();
            }
            if !fine {
                moments_again(of, g, x, &mut m, &mut v);
            }
            for i in 0..WIDTH {
                (m[i], v[i]) = of.statistics(m[i], v[i]);
                inverse[i] = 1.0 / (v[i].f64() + spec.eps).sqrt();
            }
            for i in 0..count {
                (mean[i * of.groups + g], var[i * of.groups + g]) = (m[i], v[i]);
            }
            let params = weight[g * each..].iter().zip(&bias[g * each..]);
            for (lanes, (&weight, &bias)) in strip.chunks_exact_mut(WIDTH).zip(params) {
                let (to, weight) = (channel(lanes), black_box(weight).f64());
                let mut x = *to;
                for i in 0..WIDTH {
                    let u = (x[i] - m[i]).fma(T::of(weight * inverse[i]), bias);
                    // A NaN passes: a diverged run must show it.
                    x[i] = if RELU && u <= floor { floor } else { u };
                }
                *to = x;
            }
        }
        transpose(strip, WIDTH, (columns, count), y, columns);
    }
}

/// Mean and variance, in f64, of group `g` of the samples whose sums in T are not reliable; constant groups are left as they are.
#[cold]
#[inline(never)]
fn moments_again<T: Float>(of: Grouped, g: usize, x: &[T], mean: &mut [T], var: &mut [T]) {
    let each = of.channels_each();
    for ((x, mean), var) in x.chunks_exact(of.channels).zip(mean).zip(var) {
        let values = x[g * each..][..each].iter().map(|v| v.f64());
        let again = out_of_range::<T>(mean.f64(), var.f64());
        if let Some(found) = again.then(|| Extremes::of(values.clone()).moments(values)).flatten() {
            (*mean, *var) = (T::of(found.mean), T::of(found.var));
        }
    }
}

#[inline(always)]
fn backward_strips<T: Float, const RELU: bool>(
    of: Grouped,
    (x, dy): (&[T], &[T]),
    (weight, bias): (&[T], &[T]),
    spec: NormSpec,
    (mean, var): (&[T], &[T]),
    dx: &mut [T],
    [strip, strip_dy]: [&mut [T]; 2],
    [sums, sums_u]: [&mut [f64]; 2],
    channels: &mut [f64],
) {
    let (columns, each, inverse_size) = (of.channels, of.channels_each(), 1.0 / of.size());
    sums.fill(0.0);
    sums_u.fill(0.0);
    let rows = x.chunks(WIDTH * columns).zip(dy.chunks(WIDTH * columns)).zip(dx.chunks_mut(WIDTH * columns));
    let statistics = mean.chunks(WIDTH * of.groups).zip(var.chunks(WIDTH * of.groups));
    for (((x, dy), dx), (mean, var)) in rows.zip(statistics) {
        let count = x.len() / columns;
        if count < WIDTH {
            strip.fill(T::ZERO);
            strip_dy.fill(T::ZERO);
        }
        transpose(x, columns, (count, columns), strip, WIDTH);
        transpose(dy, columns, (count, columns), strip_dy, WIDTH);
        let groups = strip.chunks_exact_mut(WIDTH * each).zip(strip_dy.chunks_exact_mut(WIDTH * each));
        let sums = sums.chunks_exact_mut(WIDTH * each).zip(sums_u.chunks_exact_mut(WIDTH * each));
        for (g, ((strip, strip_dy), (sums, sums_u))) in groups.zip(sums).enumerate() {
            // 1/S of lanes that hold no sample is that of variance 1.
            let (mut m, mut exact, mut inverse) = ([T::ZERO; WIDTH], [1.0; WIDTH], [T::ZERO; WIDTH]);
            for i in 0..count {
                (m[i], exact[i]) = (mean[i * of.groups + g], var[i * of.groups + g].f64());
            }
            for i in 0..WIDTH {
                exact[i] = 1.0 / (exact[i] + spec.eps).sqrt();
                inverse[i] = T::of(exact[i]);
            }
            let (mut q, mut u) = ([0.0; WIDTH], [0.0; WIDTH]);
            let params = weight[g * each..].iter().zip(&bias[g * each..]);
            let tensors = strip.chunks_exact_mut(WIDTH).zip(strip_dy.chunks_exact_mut(WIDTH));
            let sums = sums.chunks_exact_mut(WIDTH).zip(sums_u.chunks_exact_mut(WIDTH));
            for (((x, dy), (sum, sum_u)), (&weight, &bias)) in tensors.zip(sums).zip(params) {
                let (to_x, to_dy, to_sum, to_sum_u) = (channel(x), channel(dy), channel(sum), channel(sum_u));
                let (mut x, mut dy, mut sum, mut sum_u) = (*to_x, *to_dy, *to_sum, *to_sum_u);
                let weight = black_box(weight).f64();
                for i in 0..WIDTH {
                    let d = x[i] - m[i];
                    let cut = RELU && d.fma(T::of(weight * exact[i]), bias) <= T::ZERO;
                    // From here on x̂ stands in x's place, and what the ReLU let through in dy's.
                    dy[i] = if cut { T::ZERO } else { dy[i] };
                    x[i] = d * inverse[i];
                    let (dy, normed) = (dy[i].f64(), x[i].f64());
                    q[i] += weight * dy;
                    u[i] = (weight * dy).mul_add(normed, u[i]);
                    sum[i] += dy;
                    sum_u[i] = dy.mul_add(normed, sum_u[i]);
                }
                (*to_x, *to_dy, *to_sum, *to_sum_u) = (x, dy, sum, sum_u);
            }
            let (mut mean_q, mut mean_u) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH]);
            for i in 0..WIDTH {
                (mean_q[i], mean_u[i]) = (of.mean(T::of(q[i] * inverse_size)), T::of(u[i] * inverse_size));
            }
            let tensors = strip.chunks_exact_mut(WIDTH).zip(strip_dy.chunks_exact_mut(WIDTH));
            for ((x, dy), &weight) in tensors.zip(&weight[g * each..]) {
                let (to, dy, weight) = (channel(x), *channel(dy), black_box(weight));
                let mut x = *to;
                for i in 0..WIDTH {
                    // dx = (γ dy − mean(γ dy) − x̂ mean(γ dy·x̂))/S
                    x[i] = inverse[i] * (-x[i]).fma(mean_u[i], weight.fma(dy[i], -mean_q[i]));
                }
                *to = x;
            }
        }
        transpose(strip, WIDTH, (columns, count), dx, columns);
    }
    let lanes = sums.chunks_exact(WIDTH).zip(sums_u.chunks_exact(WIDTH));
    for (channel, (sum, sum_u)) in channels.chunks_exact_mut(2).zip(lanes) {
        channel.copy_from_slice(&[sum.iter().sum(), sum_u.iter().sum()]);
    }
}
