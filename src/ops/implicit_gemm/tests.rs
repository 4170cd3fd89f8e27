//! Which kernels take VGG-16's layers, and what they need of a block.

use super::exact::{exact_gradient_shared, exact_shared};
use super::extents::{
    Direction, Extents, LINE_SHARED, WARPGROUP_GRADIENT_SHARED, warp_shared, warpgroup_shared, whole_shared,
};
use crate::runtime::cuda::Mode;

/// Columns of the tiles of VGG-16's products forward and backward, and the side of its weight gradients', with their splits.
#[test]
fn every_layer_of_vgg_16_but_the_first_is_made_of_whole_tiles() {
    for (size, inputs, outputs, [forward, backward, gradient], of_rows) in [
        (32, 64, 64, [64, 64, 64], 14),
        (16, 64, 128, [128, 64, 64], 7),
        (16, 128, 128, [128, 128, 128], 14),
        (8, 128, 256, [128, 64, 128], 7),
        (8, 256, 256, [128, 128, 128], 4),
        (4, 256, 512, [64, 64, 128], 2),
        (4, 512, 512, [64, 64, 128], 1),
        (2, 512, 512, [64, 64, 128], 1),
    ] {
        let of = Extents { height: size, width: size, batch: 128, inputs, outputs, taps: 9 };
        for mode in [Mode::Bf16, Mode::Tf32] {
            let wide = |direction| of.whole_product(mode, direction);
            let found = [wide(Direction::Forward), wide(Direction::Backward), of.whole_gradient()];
            assert_eq!(found, [forward, backward, gradient].map(Some), "{of:?}");
            let (splits, each) = of.splits();
            assert_eq!(splits, of_rows, "{of:?}");
            assert!(each.is_multiple_of(128) && splits * each >= of.rows(), "{of:?}: {splits} of {each}");
        }
        let wide = |direction| of.whole_product(Mode::F32, direction);
        assert_eq!([Direction::Forward, Direction::Backward].map(wide), [forward, backward].map(Some), "{of:?}");
        // A block for each multiprocessor of a large device; on the smallest maps one for every 256 rows.
        assert_eq!(of.exact_blocks(gradient), if size == 2 { 128 } else { 132 }, "{of:?}");
    }
    let stem = Extents { height: 32, width: 32, batch: 128, inputs: 3, outputs: 64, taps: 9 };
    assert_eq!(stem.whole_product(Mode::Bf16, Direction::Forward), None);
}

/// Splits of VGG-16's weight gradients by warpgroups, and parts in all: for most about one for each block of clusters.
#[test]
fn parts_by_warpgroups_are_as_many_as_blocks() {
    for (size, inputs, outputs, splits, parts) in [
        (32, 64, 64, 41, 123),
        (16, 64, 128, 20, 120),
        (16, 128, 128, 21, 126),
        (8, 128, 256, 10, 120),
        (8, 256, 256, 5, 120),
        // As many blocks as there are besides have tiles of the input's gradient.
        (4, 256, 512, 1, 48),
        (4, 512, 512, 1, 96),
        (2, 512, 512, 1, 96),
    ] {
        let of = Extents { height: size, width: size, batch: 128, inputs, outputs, taps: 9 };
        let side = of.whole_gradient().unwrap();
        // In tf32 no blocks are kept for the input's gradient.
        let all = of.warpgroup_splits(Mode::Tf32, side).0 * of.warpgroup_tiles(side);
        assert!(all >= parts && (86..=128).contains(&all), "{of:?}: {all}");
        let (found, each) = of.warpgroup_splits(Mode::Bf16, side);
        assert_eq!((found, found * of.warpgroup_tiles(side)), (splits, parts), "{of:?}");
        assert!(each.is_multiple_of(64) && splits * each >= of.rows(), "{of:?}: {splits} of {each}");
        assert!(of.workspace(Mode::Bf16).len() >= splits * of.weights() || splits == 1, "{of:?}");
    }
}

/// Tiles of VGG-16's products that lie side by side in a cluster, forward and backward, by the columns of a tile: (2, 2) of 128 × 128 copy 128 rows and
/// columns for a tile, (1, 4) of 128 × 64 96.
#[test]
fn clusters_are_laid_so_that_they_copy_least() {
    for (size, inputs, outputs, across) in [
        (32, 64, 64, [1, 1]),
        (16, 64, 128, [1, 1]),
        (16, 128, 128, [1, 1]),
        (8, 256, 256, [2, 2]),
        (4, 512, 512, [4, 4]),
    ] {
        let of = Extents { height: size, width: size, batch: 128, inputs, outputs, taps: 9 };
        let found = [Direction::Forward, Direction::Backward]
            .map(|direction| of.whole_product(Mode::Bf16, direction).map(|wide| of.tiles_across(direction, wide)));
        assert_eq!(found, across.map(Some), "{of:?}");
    }
}

#[test]
fn shared_memory_holds_the_stages_and_the_tile_that_is_put_together() {
    assert_eq!([whole_shared(128), whole_shared(64)], [98_304, 78_848]);
    assert_eq!([exact_shared(128), exact_shared(64)], [79_872, 98_304]);
    assert_eq!([exact_gradient_shared(128), exact_gradient_shared(64)], [69_632, 98_304]);
    assert_eq!([warpgroup_shared(128), warpgroup_shared(64)], [208_896, 143_360]);
    assert_eq!([warp_shared(128), warp_shared(64)], [208_896, 196_608]);
    // The launch of both gradients has room for either.
    assert!(LINE_SHARED.max(WARPGROUP_GRADIENT_SHARED) <= warpgroup_shared(128));
}
