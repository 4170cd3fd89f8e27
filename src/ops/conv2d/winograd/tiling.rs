//! A map is cut into tiles. A block is one tile of several images, which are transformed and multiplied together.

use super::super::Map;
use super::filtering::Filtering;
use super::tile::{MOST_PIXELS, Window};

/// The tiles of a map. The last ones may reach beyond it.
#[derive(Debug, Clone, Copy)]
pub struct Tiling {
    h: usize,
    w: usize,
    n: usize,
    /// The number of outputs of a tile along an axis.
    side: usize,
    /// The number of tiles in a row, and on the map.
    across: usize,
    count: usize,
    /// The number of images in a block.
    images: usize,
}

/// One tile of the images `first..first + images`.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// The first output's pixel.
    h: usize,
    w: usize,
    /// Its first image.
    pub first: usize,
    /// The number of its images.
    pub images: usize,
}

impl Tiling {
    /// Cuts a map into the tiles of `A`, in blocks of at most `images` images.
    pub fn new<A: Filtering>(map: &Map, images: usize) -> Tiling {
        let Map { h, w, n, .. } = *map;
        let across = w.div_ceil(A::OUT);
        Tiling { h, w, n, side: A::OUT, across, count: across * h.div_ceil(A::OUT), images: images.min(n) }
    }

    /// The number of tiles in all images.
    pub fn rows(&self) -> usize {
        self.count * self.n
    }

    /// The most images that a block has.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The number of blocks. Blocks of the first images come first, so that neighbouring tiles share pixels in the cache.
    pub fn blocks(&self) -> usize {
        self.count * self.n.div_ceil(self.images)
    }

    /// Block number `index`.
    pub fn block(&self, index: usize) -> Block {
        let (tile, first) = (index % self.count, index / self.count * self.images);
        let (h, w) = (tile / self.across * self.side, tile % self.across * self.side);
        Block { h, w, first, images: self.images.min(self.n - first) }
    }

    /// The inputs of a block's tile in `x [H, W, N, channels]`; pixels outside the map are zeros.
    pub fn inputs<A: Filtering>(&self, block: &Block, x: &[f32], channels: usize) -> Window<*const f32> {
        self.window(block, A::IN, A::BEFORE, ZEROS.0.as_ptr(), |pixel| x[pixel * self.n * channels..].as_ptr())
    }

    /// The outputs of a block's tile in `y [H, W, N, channels]`, for reading; pixels outside the map are zeros.
    pub fn gradients<A: Filtering>(&self, block: &Block, y: &[f32], channels: usize) -> Window<*const f32> {
        self.window(block, A::OUT, 0, ZEROS.0.as_ptr(), |pixel| y[pixel * self.n * channels..].as_ptr())
    }

    /// The same, for writing: `y` points to the outputs, and pixels outside the map are written to `aside`.
    pub fn outputs<A: Filtering>(
        &self,
        block: &Block,
        y: *mut f32,
        channels: usize,
        aside: *mut f32,
    ) -> Window<*mut f32> {
        self.window(block, A::OUT, 0, aside, |pixel| y.wrapping_add(pixel * self.n * channels))
    }

    fn window<P: Copy>(
        &self,
        block: &Block,
        side: usize,
        before: usize,
        outside: P,
        at: impl Fn(usize) -> P,
    ) -> Window<P> {
        let mut window = Window { at: [outside; MOST_PIXELS], mask: [0; MOST_PIXELS] };
        for i in 0..side {
            for j in 0..side {
                let h = (block.h + i).checked_sub(before).filter(|&h| h < self.h);
                let w = (block.w + j).checked_sub(before).filter(|&w| w < self.w);
                if let (Some(h), Some(w)) = (h, w) {
                    window.at[i * side + j] = at(h * self.w + w);
                    window.mask[i * side + j] = usize::MAX;
                }
            }
        }
        window
    }
}

/// One register of zeros, as wide as the widest.
#[repr(align(64))]
struct Line([f32; 16]);

static ZEROS: Line = Line([0.0; 16]);
