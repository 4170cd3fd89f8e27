//! A matrix that bulk copies read boxes of, as its tensor map describes it.

use super::operand::permuted;

/// A matrix, as a kernel of the emulator has it: the words of its `TensorMap`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Matrix {
    pub kind: u64,
    pub address: u64,
    pub element: u64,
    pub extents: [u64; 2],
    pub pitch: u64,
    pub tile: [u64; 2],
    pub rest: [u64; 8],
}

impl Matrix {
    /// What says that these words are a matrix.
    pub const KIND: u64 = 0x6e6f_726d_5f6d_6170;

    /// Bytes of a box.
    pub fn box_bytes(&self) -> usize {
        (self.element * self.tile[0] * self.tile[1]) as usize
    }

    /// The rows of the box whose first element is (x, y), each as an address and bytes, as far as they lie within the matrix.
    pub fn rows(self, x: i32, y: i32) -> impl Iterator<Item = (usize, usize)> {
        let within = |first: i32, count: u64, extent: u64| {
            let clamped = |at: i64| at.clamp(0, extent as i64) as usize;
            clamped(i64::from(first))..clamped(i64::from(first) + count as i64)
        };
        let columns = within(x, self.tile[0], self.extents[0]);
        let element = self.element as usize;
        let begin = self.address as usize + columns.start * element;
        within(y, self.tile[1], self.extents[1])
            .map(move |row| (begin + row * self.pitch as usize, columns.len() * element))
    }

    /// Writes the box whose first element is (x, y) to `to`, from its byte `first` on, in rows of 128 bytes whose chunks are permuted; zeros beyond the
    /// matrix.
    ///
    /// # Safety
    /// The whole matrix may be read.
    pub unsafe fn bring(self, x: i32, y: i32, to: &mut [u8], first: usize) {
        let Matrix { address, element, extents, pitch, tile, .. } = self;
        let element = element as usize;
        for row in 0..tile[1] as usize {
            for column in 0..tile[0] as usize {
                let [x, y] = [i64::from(x) + column as i64, i64::from(y) + row as i64];
                let inside = x >= 0 && y >= 0 && (x as u64) < extents[0] && (y as u64) < extents[1];
                let place = permuted(first + row * 128 + column * element);
                let to = &mut to[place..place + element];
                if inside {
                    let from = address as usize + y as usize * pitch as usize + x as usize * element;
                    // SAFETY: it lies in the matrix.
                    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), element) };
                } else {
                    to.fill(0);
                }
            }
        }
    }
}
