//! Convolution by its definition: for each output pixel, a sum of dense products over the taps that lie on the map.

use super::Map;
use crate::ops::gemm::few::{self, Few};
use crate::ops::gemm::{Block, Segment, pack, pack_transposed, panel_len, panel_width, panels};
use crate::runtime::float::Float;
use rayon::prelude::*;

/// The nine taps as offsets (dh, dw), in the order of the weights.
const TAPS: [(isize, isize); 9] = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1)];

/// The pixel at offset `sign` times tap `tap` from (`h`, `w`), if it lies on the map.
fn neighbour(map: &Map, h: usize, w: usize, tap: usize, sign: isize) -> Option<usize> {
    let (dh, dw) = TAPS[tap];
    let h = h.checked_add_signed(sign * dh).filter(|&h| h < map.h)?;
    let w = w.checked_add_signed(sign * dw).filter(|&w| w < map.w)?;
    Some(h * map.w + w)
}

/// The number of pieces that the map's rows are cut into for the weight gradient; each piece is summed on its own, and the sums are merged in order.
/// There are enough pieces to occupy the threads where there are few panels. The number depends on the shape alone, and not on any instruction set's
/// width.
fn pieces(map: &Map) -> usize {
    (16 / map.k.div_ceil(32).max(1)).clamp(1, map.h)
}

/// `out[p] = Σ_taps input[p + sign·tap] · panel[tap]` for every pixel p, or `out[p] += …` with `accumulate`.
///
/// Shapes: `input [H·W, N, depth]`, `panels [panel, 9, depth, width]`, `out [H·W, N, columns]`.
fn taps<T: Float>(
    map: &Map,
    sign: isize,
    input: &[T],
    depth: usize,
    panels: &[T],
    out: &mut [T],
    columns: usize,
    accumulate: bool,
) {
    let width = panel_width::<T>();
    out.par_chunks_exact_mut(map.n * columns).enumerate().for_each(|(p, out)| {
        let (h, w) = (p / map.w, p % map.w);
        for (j, panel) in panels.chunks_exact(9 * depth * width).enumerate() {
            let mut segments = [Segment { a: std::ptr::null(), b: std::ptr::null() }; 9];
            let mut count = 0;
            for tap in 0..9 {
                if let Some(q) = neighbour(map, h, w, tap, sign) {
                    let a = input[q * map.n * depth..][..map.n * depth].as_ptr();
                    segments[count] = Segment { a, b: panel[tap * depth * width..].as_ptr() };
                    count += 1;
                }
            }
            let first = j * width;
            let block = Block {
                segments: &segments[..count],
                depth,
                a_row: depth,
                a_depth: 1,
                b_depth: width,
                packed: true,
                out: out[first..].as_mut_ptr(),
                out_row: columns,
                rows: map.n,
                columns: width.min(columns - first),
                accumulate,
            };
            // SAFETY: every `a` is a whole pixel of N × depth, every `b` a whole tap of the panel; `out` is this pixel's
            // N × columns, of which the panel's columns are written.
            unsafe { block.run() }
        }
    });
}

/// `y = x ∗ w (+ bias)`
pub fn forward<T: Float>(map: &Map, x: &[T], weight: &[T], bias: Option<&[T]>, y: &mut [T], workspace: &mut [T]) {
    let width = panel_width::<T>();
    let packed = &mut workspace[..panel_len::<T>(9, map.c, map.k)];
    packed.par_chunks_exact_mut(9 * map.c * width).enumerate().for_each(|(j, panel)| {
        pack(weight, map.k, j * width, width, panel);
    });
    if let Some(bias) = bias {
        y.par_chunks_exact_mut(map.n * map.k)
            .for_each(|y| y.chunks_exact_mut(map.k).for_each(|row| row.copy_from_slice(bias)));
    }
    taps(map, 1, x, map.c, packed, y, map.k, bias.is_some());
}

/// `dx[p] = Σ_taps dy[p − tap] · w[tap]ᵀ`
pub fn grad_input<T: Float>(map: &Map, weight: &[T], grad_y: &[T], grad_x: &mut [T], workspace: &mut [T]) {
    let width = panel_width::<T>();
    let packed = &mut workspace[..panel_len::<T>(9, map.k, map.c)];
    packed.par_chunks_exact_mut(9 * map.k * width).enumerate().for_each(|(j, panel)| {
        for (tap, out) in panel.chunks_exact_mut(map.k * width).enumerate() {
            pack_transposed(&weight[tap * map.c * map.k..][..map.c * map.k], map.k, j * width, width, out);
        }
    });
    taps(map, -1, grad_y, map.k, packed, grad_x, map.c, false);
}

/// `dw[tap] = Σ_p x[p + tap]ᵀ · dy[p]`, over the pixels where the tap lies on the map.
///
/// There is one task for each piece of the map's rows and each panel of columns, and each task owns its part of `dw`. So threads merge nothing but
/// the pieces, and those in order.
pub fn grad_weight<T: Float>(map: &Map, x: &[T], grad_y: &[T], grad_weight: &mut [T], workspace: &mut [T]) {
    let (width, count, pieces) = (panel_width::<T>(), panels::<T>(map.k), pieces(map));
    let (block, lines) = (9 * map.c * width, map.n * width);
    let (sums, scratch) = workspace.split_at_mut(pieces * count * block);
    let scratch = &mut scratch[..pieces * count * lines];
    let tasks = sums.par_chunks_exact_mut(block).zip(scratch.par_chunks_exact_mut(lines));
    tasks.enumerate().for_each(|(task, (sums, lines))| {
        let (piece, first) = (task / count, task % count * width);
        sums.fill(T::ZERO);
        for h in piece * map.h / pieces..(piece + 1) * map.h / pieces {
            for w in 0..map.w {
                let p = h * map.w + w;
                pack(&grad_y[p * map.n * map.k..][..map.n * map.k], map.k, first, width, lines);
                if map.c == few::CHANNELS {
                    of_image(map, (h, w), x, lines, width.min(map.k - first), sums);
                    continue;
                }
                for tap in 0..9 {
                    let Some(q) = neighbour(map, h, w, tap, 1) else { continue };
                    let a = x[q * map.n * map.c..][..map.n * map.c].as_ptr();
                    let block = Block {
                        segments: &[Segment { a, b: lines.as_ptr() }],
                        depth: map.n,
                        a_row: 1,
                        a_depth: map.c,
                        b_depth: width,
                        packed: true,
                        out: sums[tap * map.c * width..].as_mut_ptr(),
                        out_row: width,
                        rows: map.c,
                        // A panel that is half empty is half the work.
                        columns: width.min(map.k - first),
                        accumulate: true,
                    };
                    // SAFETY: `a` is a pixel of N × C read as C rows of depth N, `b` N packed lines; `out` is this task's
                    // C × width of one tap.
                    unsafe { block.run() }
                }
            }
        }
    });
    let sums = &*sums;
    grad_weight.par_chunks_exact_mut(map.k).enumerate().for_each(|(row, out)| {
        for (j, out) in out.chunks_mut(width).enumerate() {
            out.copy_from_slice(&sums[j * block + row * width..][..out.len()]);
            for piece in 1..pieces {
                let part = &sums[(piece * count + j) * block + row * width..][..out.len()];
                out.iter_mut().zip(part).for_each(|(o, &p)| *o += p);
            }
        }
    });
}

/// Adds one pixel's contribution to `dw` where the input is an image: handles all taps of a row of the map at once.
fn of_image<T: Float>(map: &Map, (h, w): (usize, usize), x: &[T], lines: &[T], columns: usize, sums: &mut [T]) {
    let (pixel, width) = (map.n * map.c, lines.len() / map.n);
    let first = usize::from(w == 0);
    let taps = (3 - usize::from(w + 1 == map.w)).saturating_sub(first);
    for row in 0..3 {
        let Some(q) = neighbour(map, h, w, 3 * row + first, 1) else { continue };
        let few = Few {
            taps,
            a: x[q * pixel..][..taps * pixel].as_ptr(),
            a_tap: pixel,
            lines: lines.as_ptr(),
            depth: map.n,
            out: sums[(3 * row + first) * map.c * width..][..taps * map.c * width].as_mut_ptr(),
            columns,
            width,
        };
        // SAFETY: `a` is as many pixels of N × 3, `lines` N packed rows, `out` these taps of this task's sums.
        unsafe { few.run() }
    }
}

/// The workspace, in elements, that the three products need: the largest of the three.
pub fn workspace<T: Float>(map: &Map) -> usize {
    let tasks = pieces(map) * panels::<T>(map.k);
    let weights = tasks * (9 * map.c + map.n) * panel_width::<T>();
    panel_len::<T>(9, map.c, map.k).max(panel_len::<T>(9, map.k, map.c)).max(weights)
}
