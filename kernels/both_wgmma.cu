// Both gradients of a layer in bf16 by warpgroups in one launch, as both_tile.cu, in whole tiles as in conv_wgmma.cu.
#include "hopper.cuh"
#include "warpgroup_gradient.cuh"
#include "warpgroup_product.cuh"

#if HOPPER

// As the kernels of conv_tile.cu that make both: a block has every gridDim.x-th of the tiles of the one and the parts of the other together, those of the
// one that takes longer first. Boxes of `grad_y` are 128 rows of 64, as a product takes them, those of `rows_y` as a weight gradient does.
template <unsigned COLUMNS, unsigned SIDE>
__device__ __forceinline__ void gradients(const TensorMap* x, const TensorMap* weight, const TensorMap* grad_y, const TensorMap* rows_y, bf16* grad_x,
                                          const NormBelow<bf16>& below, float* partials, float* out, unsigned* tickets, const Map& map, const Both& both) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Ring between = ring(full, empty);
    Map back = turned(map);
    Either epilogue = {{below}};
    bool parts_first = both.weights_first != 0;
    unsigned parts = parts_of<SIDE>(map, both.splits), tiles = tiles_of(back, COLUMNS);
    unsigned first_part = parts_first ? blockIdx.x : first_after(tiles), first_tile = parts_first ? first_after(parts) : blockIdx.x;
    // One after the other, through one ring.
#pragma unroll 1
    for (unsigned turn = 0; turn < 2; ++turn) {
        bool of_parts = (turn == 0) == parts_first;
        if (threadIdx.x < MULTIPLIERS) {
            if (of_parts) multiply_parts<SIDE>(partials, map, both.per_split, parts, first_part, between, stages);
            else multiply_tiles<COLUMNS, true, GRADIENT_STAGE>(epilogue, grad_x, back, first_tile, between, stages);
            // Where results are put together, nobody reads the last of the one any more.
            named_barrier<1>(MULTIPLIERS);
        } else if (lane_id() == 0) {
            if (of_parts) fetch_parts<SIDE>(x, rows_y, map, both.per_split, parts, first_part, between, stages);
            else fetch_operands<COLUMNS, true, GRADIENT_STAGE>(grad_y, weight, back, first_tile, between, stages);
        }
    }
    add_splits<SIDE>(partials, out, tickets, map, both.splits, first_part);
    merge_tiles<COLUMNS>(epilogue, back, first_tile);
}

// Tiles of 128 × 128 of both. Boxes of `weight` are 128 rows of 64, and those of `x` and `rows_y` 64 rows.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                    const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                    const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                    unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    gradients<128, 128>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// Of the input's gradient tiles of 128 × 64. Boxes of `weight` are 64 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_mixed(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                      const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                      const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                      unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    gradients<64, 128>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// And of the weight's tiles of 64 × 64. Boxes of `x` and `rows_y` are 128 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                   const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                   const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                   unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    gradients<64, 64>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}

#endif
