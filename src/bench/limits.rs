//! The measured limits of the machine, against which every time is compared.

use super::timing::time;
use crate::ops::gemm::{Block, Segment, panel_width};
use rayon::prelude::*;
use serde::Serialize;

/// Limits of a device. On the CPU, of all threads of the pool together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Floating-point operations per second of a dense product in the precision at hand. On the CPU all operands are in the first-level
    /// cache; on a GPU it is cuBLAS's product of 4096³. `None` where cuBLAS is missing.
    pub matrix: Option<f64>,
    /// Bytes read and written per second by copies far larger than any cache.
    pub copy: f64,
}

/// Measures both limits; takes half a second.
pub fn measure() -> Limits {
    Limits { matrix: Some(flops()), copy: copy() }
}

/// Rows and inner dimension of a product whose operands take 15 KiB.
const ROWS: usize = 24;
const DEPTH: usize = 96;

fn flops() -> f64 {
    let (threads, width, repeats) = (rayon::current_num_threads(), panel_width::<f32>(), 4000);
    let work = || {
        (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
            let (a, b) = (vec![0.5f32; ROWS * DEPTH], vec![0.25f32; DEPTH * width]);
            let mut out = vec![0.0f32; ROWS * width];
            for _ in 0..repeats {
                let block = Block {
                    segments: &[Segment { a: a.as_ptr(), b: b.as_ptr() }],
                    depth: DEPTH,
                    a_row: DEPTH,
                    a_depth: 1,
                    b_depth: width,
                    packed: true,
                    out: out.as_mut_ptr(),
                    out_row: width,
                    rows: ROWS,
                    columns: width,
                    accumulate: false,
                };
                // SAFETY: `a` is ROWS × DEPTH, `b` DEPTH × width, `out` ROWS × width.
                unsafe { block.run() };
                std::hint::black_box(&mut out);
            }
        });
    };
    let flop = 2.0 * (threads * repeats * ROWS * DEPTH * width) as f64;
    flop / time(0.25, work).min
}

fn copy() -> f64 {
    const LEN: usize = 1 << 24;
    let from = vec![1.0f32; LEN];
    let mut to = vec![0.0f32; LEN];
    let work = || {
        to.par_chunks_mut(1 << 18).zip(from.par_chunks(1 << 18)).for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&to);
    };
    2.0 * (4 * LEN) as f64 / time(0.25, work).min
}
