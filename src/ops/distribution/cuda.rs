//! The distribution of a unit's values on a device: `kernels/distribution.cu`.

use super::{Bins, Distribution};
use crate::Result;
use crate::runtime::cuda::backend::PARTIALS;
use crate::runtime::cuda::driver::{Driver, Grid, Stored};
use crate::runtime::cuda::{Cuda, Mode, count, kernels};
use crate::runtime::tensor::{In, Out, Shape};
use half::bf16;

const OP: &str = "distribution";
/// The most parts that a column is cut into. Each part has its counts and two sums, and the buffer of partial results has room for this many.
const MOST_PARTS: usize = 16;
/// The number of 64-bit words that the sums take in that buffer; the counts come after them.
const SUMS: usize = 2 * MOST_PARTS;
const _: () = assert!(SUMS + MOST_PARTS * (super::MOST_BINS + 2).div_ceil(2) <= PARTIALS);

impl<D: Driver> Cuda<D> {
    fn distribution_in<T: Stored>(&mut self, x: In, bins: Bins, counts: Out, moments: Out) -> Result<()> {
        let (rows, units, many, scale) = bins.check(x.0.shape, counts.0.shape, moments.0.shape)?;
        let parts = rows.div_ceil(1024).clamp(1, MOST_PARTS);
        let whole = self.partials().0;
        let (sums, rest) = (whole.slice(0, Shape::new([SUMS])), whole.slice(SUMS, Shape::new([PARTIALS - SUMS])));
        let (driver, mut views) = self.begin(OP);
        let (x, mut counts, mut moments) =
            (views.read::<T>(x)?, views.write::<u32>(counts)?, views.write::<f64>(moments)?);
        let (mut sums, mut rest) = (views.write::<f64>(Out(sums))?, views.write::<f64>(Out(rest))?);
        let (mut sums, mut partial) = (sums.first(2 * parts), rest.cast::<u32>(parts * (many + 2)));
        let each = count(OP, rows.div_ceil(parts))?;
        let (unit, rows, units, many) = (count(OP, bins.unit)?, count(OP, rows)?, count(OP, units)?, count(OP, many)?);
        kernels::Distribution {
            x,
            counts: &mut partial,
            sums: &mut sums,
            low: bins.low,
            high: bins.high,
            scale,
            unit,
            rows,
            columns: units,
            bins: many,
            each,
        }
        .launch(driver, Grid::new(parts, 256))?;
        let (partial, sums) = (partial.read(), sums.read());
        let (one, parts) = (Grid::new(1, 256), count(OP, parts)?);
        kernels::DistributionFinish {
            counts: partial,
            sums,
            count: &mut counts,
            moments: &mut moments,
            rows,
            bins: many,
            parts,
        }
        .launch(driver, one)
    }
}

impl<D: Driver> Distribution for Cuda<D> {
    fn distribution(&mut self, x: In, bins: Bins, count: Out, moments: Out) -> Result<()> {
        match self.mode() {
            Mode::Bf16 => self.distribution_in::<bf16>(x, bins, count, moments),
            _ => self.distribution_in::<f32>(x, bins, count, moments),
        }
    }
}
