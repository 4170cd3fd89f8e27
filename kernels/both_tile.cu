// Both gradients of a layer on tensor cores in one launch, in whole tiles as in conv_tile.cu.
//
// Neither of the two needs the other, and on small maps neither fills a device: so some blocks make the one and the others the other. The longer ones
// come first: a device begins blocks in the order of their numbers.
#include "tile_epilogue.cuh"
#include "tile_gradient.cuh"

// A layer's input gradient in tiles of 128 × COLUMNS, each by a cluster where it has more blocks than one, as input_gradient_tile_128; and its weight's gradient as
// weight_gradient_tile_128. `map` is that of the latter. Where no norm is below, `sums` is null.
template <unsigned COLUMNS, unsigned SIDE, unsigned BLOCKS_OF_TILE, typename T>
__device__ __forceinline__ void gradients(const T* x, const T* weight, const T* grad_y, T* grad_x, const NormBelow<T>& below, float* partials, float* out,
                                          unsigned* tickets, const Map& map, const Both& both) {
    Turn turn = turn_of(both, blockIdx.x);
    if (turn.weights) {
        unsigned tiles = map.inner / SIDE * (map.columns / SIDE), of_tap = turn.number % (tiles * map.taps);
        if (turn.number >= tiles * map.taps * both.splits) return;
        Part part = {of_tap % tiles, of_tap / tiles, turn.number / (tiles * map.taps), both.splits};
        weight_gradient<T, SIDE>(x, grad_y, partials, out, tickets, map, part, both.per_split);
        return;
    }
    Map back = turned(map);
    unsigned tall = back.rows / ROWS, tile = turn.number / BLOCKS_OF_TILE;
    Place place = {tile % tall, tile / tall * COLUMNS};
    Either<T> with = {{below}};
#if CLUSTERS
    if constexpr (BLOCKS_OF_TILE > 1) {
        split_product(grad_y, weight, grad_x, with, back, place, 1);
        return;
    }
#endif
    whole_product<COLUMNS>(grad_y, weight, grad_x, with, back, place, 1);
}
// Tiles of 128 × 128 of both.
KERNEL_OF_T(128, 2)
gradients_tile_128(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                   const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                   unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = NORM_BELOW_OPERANDS;
    gradients<128, 128, 1>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// Of the input's gradient tiles of 128 × 64.
KERNEL_OF_T(128, 2)
gradients_tile_mixed(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                     const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                     unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = NORM_BELOW_OPERANDS;
    gradients<64, 128, 1>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// And of the weight's tiles of 64 × 64.
KERNEL_OF_T(128, 2)
gradients_tile_64(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                  const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                  unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = NORM_BELOW_OPERANDS;
    gradients<64, 64, 1>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
#if CLUSTERS
// As gradients_tile_mixed; a cluster shares a tile of the input's gradient.
KERNEL_OF_T(128, 2) CLUSTER_OF(4)
gradients_tile_split(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                     const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                     unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = NORM_BELOW_OPERANDS;
    gradients<64, 128, RANKS>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
#endif
