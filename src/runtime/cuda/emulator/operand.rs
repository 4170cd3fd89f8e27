//! The operands of wgmma in shared memory: how descriptors say where each element is, and the product itself.

/// Rows of a warpgroup's product.
pub const ROWS: usize = 64;
/// Bytes of the inner dimension that one product has: 16 elements of bf16, 8 of tf32.
const INNER_BYTES: usize = 32;
/// Bytes that lie together in every layout.
pub const CHUNK: usize = 16;

/// What one wgmma multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// The descriptors of both operands.
    pub a: u64,
    pub b: u64,
    /// Columns of b.
    pub columns: usize,
    /// Whether an operand's rows in memory are those of the inner dimension.
    pub a_across: bool,
    pub b_across: bool,
    /// Whether d is added to, and not overwritten.
    pub onto: bool,
    /// Whether elements are tf32, rather than bf16.
    pub tf32: bool,
}

/// One operand: its descriptor, taken apart.
#[derive(Debug, Clone, Copy)]
struct Operand {
    start: usize,
    lead: usize,
    stride: usize,
    permuted: bool,
    across: bool,
    element: usize,
    extent: usize,
}

/// The place of what a copy or a product addresses at `offset` bytes, where 16-byte chunks are permuted within rows of 128 bytes.
pub fn permuted(offset: usize) -> usize {
    offset ^ ((offset >> 7 & 7) << 4)
}

impl Operand {
    fn read(descriptor: u64, across: bool, extent: usize, element: usize) -> Result<Operand, String> {
        let field = |bit: u32| ((descriptor >> bit & 0x3fff) << 4) as usize;
        let permuted = match descriptor >> 62 {
            0 => false,
            1 => true,
            _ => return Err(format!("gives wgmma a descriptor, {descriptor:#x}, of a layout that is not known here")),
        };
        if descriptor >> 49 & 7 != 0 || (across && element == 4) {
            return Err(format!("gives wgmma a descriptor, {descriptor:#x}, that it does not take"));
        }
        Ok(Operand { start: field(0), lead: field(16), stride: field(32), permuted, across, element, extent })
    }

    /// The byte of element (row or column `at`, `k` of the inner dimension).
    fn place(&self, at: usize, k: usize) -> usize {
        let Operand { start, lead, stride, element, .. } = *self;
        let chunk = CHUNK / element;
        let offset = match (self.permuted, self.across) {
            (true, false) => at / 8 * stride + at % 8 * 128 + k * element,
            (true, true) => at / (8 * chunk) * lead + at % (8 * chunk) * element + k / 8 * stride + k % 8 * 128,
            (false, false) => at / 8 * stride + at % 8 * CHUNK + k / chunk * lead + k % chunk * element,
            (false, true) => at / chunk * stride + at % chunk * element + k / 8 * lead + k % 8 * CHUNK,
        };
        if self.permuted { permuted(start + offset) } else { start + offset }
    }

    /// The places of all its chunks.
    fn chunks(&self) -> Vec<usize> {
        let (inner, chunk) = (INNER_BYTES / self.element, CHUNK / self.element);
        match self.across {
            false => {
                (0..self.extent).flat_map(|at| (0..inner).step_by(chunk).map(move |k| (at, k))).collect::<Vec<_>>()
            }
            true => (0..inner).flat_map(|k| (0..self.extent).step_by(chunk).map(move |at| (at, k))).collect(),
        }
        .into_iter()
        .map(|(at, k)| self.place(at, k))
        .collect()
    }

    /// All elements, as `[k][row or column]`, or as `[row or column][k]` with `rows_first`.
    fn elements(&self, memory: &[u8], rows_first: bool) -> Vec<f32> {
        let inner = INNER_BYTES / self.element;
        let mut out = vec![0.0; self.extent * inner];
        for at in 0..self.extent {
            for k in 0..inner {
                let bytes = &memory[self.place(at, k)..][..self.element];
                let bits = match *bytes {
                    [a, b] => u32::from_le_bytes([0, 0, a, b]),
                    // The lowest bits are not looked at.
                    [a, b, c, d] => u32::from_le_bytes([a, b, c, d]) & 0xffff_e000,
                    _ => 0,
                };
                out[if rows_first { at * inner + k } else { k * self.extent + at }] = f32::from_bits(bits);
            }
        }
        out
    }
}

impl Product {
    fn operands(&self) -> Result<[Operand; 2], String> {
        let element = if self.tf32 { 4 } else { 2 };
        Ok([
            Operand::read(self.a, self.a_across, ROWS, element)?,
            Operand::read(self.b, self.b_across, self.columns, element)?,
        ])
    }

    /// Bytes of shared memory that its operands have.
    pub fn bytes(&self) -> usize {
        INNER_BYTES * (ROWS + self.columns)
    }

    /// The places of the 16-byte chunks that it reads. Errors: a descriptor that is none.
    pub fn chunks(&self) -> Result<Vec<usize>, String> {
        let [a, b] = self.operands()?;
        Ok([a.chunks(), b.chunks()].concat())
    }

    /// a · b + d, or a · b, as [row][column]: for each element the products are added in order, each rounded once with the sum.
    pub fn add(&self, memory: &[u8], d: &mut [f32]) -> Result<(), String> {
        let [a, b] = self.operands()?;
        let (a, b) = (a.elements(memory, true), b.elements(memory, false));
        if !self.onto {
            d.fill(0.0);
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has both.
            unsafe { rows_with_fma(&a, &b, d, self.columns) };
            return Ok(());
        }
        rows(&a, &b, d, self.columns);
        Ok(())
    }
}

#[inline(always)]
fn rows(a: &[f32], b: &[f32], d: &mut [f32], columns: usize) {
    let inner = a.len() / ROWS;
    for (a, d) in a.chunks_exact(inner).zip(d.chunks_exact_mut(columns)) {
        for (x, b) in a.iter().zip(b.chunks_exact(columns)) {
            d.iter_mut().zip(b).for_each(|(d, y)| *d = x.mul_add(*y, *d));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn rows_with_fma(a: &[f32], b: &[f32], d: &mut [f32], columns: usize) {
    rows(a, b, d, columns);
}

/// Row, column and place in a thread's d of each element that thread `thread` of a warpgroup has.
pub fn fragment(thread: usize, columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let (warp, g, t) = (thread / 32, thread % 32 / 4, thread % 4);
    (0..columns / 2).map(move |i| {
        let (n, e) = (i / 4, i % 4);
        (16 * warp + g + e / 2 * 8, 8 * n + 2 * t + e % 2, i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor of the 128-byte swizzle as CUDA's tables have it: the start, both offsets in units of 16 bytes, and the layout.
    fn swizzled(start: u64, lead: u64, stride: u64) -> u64 {
        start >> 4 | lead >> 4 << 16 | stride >> 4 << 32 | 1 << 62
    }

    #[test]
    fn elements_lie_where_a_copy_has_put_them() {
        // Rows of 64 elements at 1024, as [row][k]; step 2 of the inner dimension.
        let along = Operand::read(swizzled(1024 + 64, 16, 1024), false, 64, 2).unwrap();
        // Row 11, element 2 · 16 + 9 of it: chunk 5, which lies at 5 ^ 3.
        assert_eq!(along.place(11, 9), 1024 + 11 * 128 + (5 ^ 3) * 16 + 2);
        // Two squares of 64 × 64 as [k][column], 8192 bytes apart; step 1.
        let across = Operand::read(swizzled(2048, 8192, 1024), true, 128, 2).unwrap();
        // Column 64 + 17, k 16 + 3 is of the row 19.
        let step = Operand::read(swizzled(2048 + 16 * 128, 8192, 1024), true, 128, 2).unwrap();
        // Chunk 2 of the row, which lies at 2 ^ 3.
        let chunk = 16;
        assert_eq!(across.place(64 + 17, 3), 2048 + 8192 + 3 * 128 + chunk + 2);
        assert_eq!(step.place(64 + 17, 3), 2048 + 8192 + 19 * 128 + chunk + 2);
        assert!(Operand::read(3 << 62, false, 64, 2).is_err());
    }

    #[test]
    fn every_element_of_d_is_one_threads() {
        let mut seen = vec![0; 64 * 128];
        (0..128).for_each(|thread| fragment(thread, 128).for_each(|(row, column, _)| seen[row * 128 + column] += 1));
        assert!(seen.iter().all(|&times| times == 1));
    }
}
