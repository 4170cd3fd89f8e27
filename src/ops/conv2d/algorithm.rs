//! Which algorithm the CPU takes for a convolution: by its shape and type alone, so that a run's bits do not depend on the machine.

use super::Map;
use crate::runtime::tensor::DType;
use std::fmt;

/// How a convolution is computed; the same for its output and both gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The sums of the definition. In f64 always: it is what everything else is judged by.
    Direct,
    /// Winograd's F(4×4, 3×3): tiles of 4×4 outputs from 36 products a pair of channels, where the definition has 144.
    Winograd,
    /// Maps of 2×2 as Toeplitz products along both axes: 9 products a pair of channels, where the definition has 16 on the map.
    Toeplitz,
}

/// Channels come in whole registers.
const CHANNELS: usize = 8;
/// Images below which the products' rows stay half empty.
const IMAGES: usize = 8;

impl Algorithm {
    /// The algorithm for a convolution of these extents in `dtype`. `direct`: the definition is asked for.
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

    /// Products that a pass takes for each pair of channels and each image. Direct: the taps that meet the map.
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
