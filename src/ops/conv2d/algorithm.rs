//! The algorithm that the CPU uses for a convolution. The shape and the type alone decide it, so that a run's bits do not depend on the machine.

use super::Map;
use crate::runtime::tensor::DType;
use std::fmt;

/// How a convolution is computed: the same algorithm for its output and both gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The sums of the definition. f64 always uses this one: everything else is checked against it.
    Direct,
    /// Winograd's F(4×4, 3×3): computes a tile of 4×4 outputs from 36 products for each pair of channels, where the definition takes 144.
    Winograd,
    /// Toeplitz products along both axes, for maps of 2×2: 9 products for each pair of channels, where the definition takes 16 on the whole map.
    Toeplitz,
}

/// Channels must come in multiples of this, which fills whole registers.
const CHANNELS: usize = 8;
/// The fewest images for the fast algorithms; with fewer, the rows of their products would stay half empty.
const IMAGES: usize = 8;

impl Algorithm {
    /// The algorithm for a convolution of these extents in `dtype`. `direct` asks for the definition.
    pub fn of(map: &Map, dtype: DType, direct: bool) -> Algorithm {
        let Map { h, w, n, c, k } = *map;
        let whole = |channels: usize| channels > 0 && channels.is_multiple_of(CHANNELS);
        if direct || dtype != DType::F32 || h * w == 0 || n < IMAGES || !whole(c) || !whole(k) {
            return Algorithm::Direct;
        }
        if (h, w) == (2, 2) {
            return Algorithm::Toeplitz;
        }
        // The last tiles may reach far beyond the map; half as many products again pay for the transforms.
        match 3 * Algorithm::Winograd.products(map) <= 2 * Algorithm::Direct.products(map) {
            true => Algorithm::Winograd,
            false => Algorithm::Direct,
        }
    }

    /// The number of products that a pass takes for each pair of channels and each image. The direct algorithm counts only the taps that lie on the
    /// map.
    pub fn products(self, map: &Map) -> usize {
        let taps = |side: usize| (3 * side).saturating_sub(2);
        match self {
            Algorithm::Direct => taps(map.h) * taps(map.w),
            Algorithm::Winograd => 36 * map.h.div_ceil(4) * map.w.div_ceil(4),
            Algorithm::Toeplitz => 9,
        }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Direct => "direct",
            Algorithm::Winograd => "Winograd 4×4",
            Algorithm::Toeplitz => "Toeplitz 2×2",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_and_the_type_decide() {
        let of = |h, w, n, c, k| Algorithm::of(&Map { h, w, n, c, k }, DType::F32, false);
        for side in [32, 16, 8, 4] {
            assert_eq!(of(side, side, 128, 16, 64), Algorithm::Winograd, "{side}");
        }
        assert_eq!(of(2, 2, 128, 512, 512), Algorithm::Toeplitz);
        // The first layer, narrow ones, widths that fill no register, a handful of images, maps of which tiles cover little.
        for (h, w, n, c, k) in
            [(32, 32, 128, 3, 64), (8, 8, 128, 4, 16), (8, 8, 128, 19, 19), (8, 8, 7, 16, 16), (5, 5, 9, 16, 16)]
        {
            assert_eq!(of(h, w, n, c, k), Algorithm::Direct, "{h}×{w}, {n}, {c}→{k}");
        }
        assert_eq!([of(7, 7, 9, 16, 16), of(6, 13, 9, 8, 40)], [Algorithm::Winograd; 2]);
        let map = Map { h: 32, w: 32, n: 128, c: 64, k: 64 };
        assert_eq!(Algorithm::of(&map, DType::F64, false), Algorithm::Direct);
        assert_eq!(Algorithm::of(&map, DType::F32, true), Algorithm::Direct);
    }

    #[test]
    fn products_are_those_of_the_map() {
        let map = |h, w| Map { h, w, n: 1, c: 1, k: 1 };
        let direct = |h: usize, w: usize| {
            let taps = |side: usize| (0..side).map(|i| (0..side).filter(|j| i.abs_diff(*j) < 2).count()).sum::<usize>();
            taps(h) * taps(w)
        };
        for (h, w) in [(1, 1), (2, 2), (4, 7), (32, 32)] {
            assert_eq!(Algorithm::Direct.products(&map(h, w)), direct(h, w), "{h}×{w}");
        }
        assert_eq!(Algorithm::Winograd.products(&map(32, 32)), 64 * 36);
        assert_eq!(Algorithm::Winograd.products(&map(5, 9)), 2 * 3 * 36);
    }
}
