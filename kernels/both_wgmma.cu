// Both gradients of a layer in bf16 by warpgroups in one launch, as both_tile.cu, in whole tiles as in conv_wgmma.cu.
#include "hopper.cuh"
#include "warpgroup_gradient.cuh"
#include "warpgroup_line.cuh"
#include "warpgroup_product.cuh"

#if HOPPER

#define OUTCOME \
    Outcome { out_or_null, {theta_or_null, velocity_or_null, operands_or_null}, state_or_null, descending }

// As the kernels of conv_tile.cu that make both: a cluster has every so many-th of the rectangles of the one, a block of the parts of the other, and those
// of the one that takes longer come first; the other begins with whoever has fewer of these. Rectangles are 4 / across by `across` tiles: boxes of
// `grad_y` are 128 / across rows of 64, those of `weight` a block's share of its tile's columns; those of `rows_y` are as a weight gradient takes them.
template <unsigned COLUMNS, unsigned SIDE>
__device__ __forceinline__ void gradients(const TensorMap* x, const TensorMap* weight, const TensorMap* grad_y, const TensorMap* rows_y, bf16* grad_x,
                                          const NormBelow<bf16>& below, float* partials, const Outcome& outcome, unsigned* tickets, const Map& map,
                                          const Both& both, unsigned across) {
    TILES_SHARED(stages);
    SHARED(u64, full, [2 * STAGES]);
    SHARED(u64, empty, [2 * STAGES]);
    constexpr bool AT_ONCE = COLUMNS == 64;
    Share share(across);
    // Both have the same stages one after the other, each with barriers of its own: those of tiles are other blocks' too.
    bool share_parts = parts_share(map);
    Ring tiles_between = ring(full, empty, share.blocks()), parts_between = ring(full + STAGES, empty + STAGES, share_parts ? CLUSTER : 1);
    cluster_sync();
    Map back = turned(map);
    Either epilogue = {{below}};
    bool parts_first = both.weights_first != 0;
    unsigned parts = parts_of<SIDE>(map, both.splits), clusters = Share::clusters();
    unsigned before = parts_first ? 0 : rectangles_of(back, share, COLUMNS) % clusters * CLUSTER;
    unsigned first_part = first_after(before, blockIdx.x, gridDim.x);
    unsigned first_tile = first_after(parts_first ? (parts % gridDim.x + CLUSTER - 1) / CLUSTER : 0, Share::cluster(), clusters);
    // A warp that multiplies has the stages of both in uniform registers, where nothing else of them is known after a branch of some lanes alone.
    if (multiplies()) {
        SharedStages of_parts(share_parts ? 15u : 1u << cluster_rank(), parts_between.empty);
#pragma unroll 1
        for (unsigned turn = 0; turn < 2; ++turn) {
            if ((turn == 0) == parts_first) multiply_parts<SIDE, AT_ONCE>(partials, outcome, map, both.per_split, both.splits, parts, first_part, parts_between, stages, of_parts);
            else multiply_tiles<COLUMNS, true, GRADIENT_STAGE>(epilogue, grad_x, back, share, first_tile, tiles_between, stages);
            // Where results are put together, nobody reads the last of the one any more.
            named_barrier<1>(MULTIPLIERS);
        }
    } else if (lane_id() == 0) {
#pragma unroll 1
        for (unsigned turn = 0; turn < 2; ++turn) {
            if ((turn == 0) == parts_first) fetch_parts<SIDE, true>(x, rows_y, map, both.per_split, parts, first_part, parts_between, stages);
            else fetch_operands<COLUMNS, true, GRADIENT_STAGE>(grad_y, weight, back, share, first_tile, tiles_between, stages);
        }
    }
    // Nobody leaves while others copy to it, or arrive at its barriers.
    cluster_sync();
    take_splits<SIDE, AT_ONCE>(partials, outcome, tickets, map, both.splits, first_part);
    merge_tiles<COLUMNS>(epilogue, back, share, first_tile);
}

// Tiles of 128 × 128 of the input's gradient, and of 128 × 64 of the weight's. Boxes of `rows_y` are 64 rows of 64, and those of `x` as many, or a quarter
// where a cluster's blocks share it: where columns are a multiple of 256.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
gradients_wgmma_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                    const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                    const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                    unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, float* theta_or_null,
                    float* velocity_or_null, bf16* operands_or_null, const u64* state_or_null, Norming norming, Map map, Both both,
                    Descending descending, unsigned across) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    gradients<128, 128>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, OUTCOME, tickets_or_null, map, both, across);
}
// Of the input's gradient tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
gradients_wgmma_mixed(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                      const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                      const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                      unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, float* theta_or_null,
                      float* velocity_or_null, bf16* operands_or_null, const u64* state_or_null, Norming norming, Map map, Both both,
                      Descending descending, unsigned across) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    gradients<64, 128>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, OUTCOME, tickets_or_null, map, both, across);
}
// And of the weight's tiles of 64 × 64. Boxes of `x` and `rows_y` are 128 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
gradients_wgmma_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                   const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                   const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                   unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, float* theta_or_null,
                   float* velocity_or_null, bf16* operands_or_null, const u64* state_or_null, Norming norming, Map map, Both both,
                   Descending descending, unsigned across) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    gradients<64, 64>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, OUTCOME, tickets_or_null, map, both, across);
}

// As gradients_wgmma_64 with nine taps and 64 channels both in and out. Boxes of `grad_y` are 128 rows of 64, those of `weight` 64.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_line(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                     const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                     const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                     unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, float* theta_or_null,
                     float* velocity_or_null, bf16* operands_or_null, const u64* state_or_null, Norming norming, Map map, Both both,
                     Descending descending) {
    wait_for_predecessor();
    NormBelow<bf16> below = NORM_BELOW_OPERANDS;
    Outcome outcome = OUTCOME;
    TILES_SHARED(stages);
    SHARED(u64, full, [2 * STAGES + 1]);
    SHARED(u64, empty, [2 * STAGES]);
    u64* weights = full + 2 * STAGES;
    if (threadIdx.x == 0) mbarrier_init(weights, 1);
    Ring lines_between = ring(full, empty), parts_between = ring(full + STAGES, empty + STAGES);
    __syncthreads();
    Map back = turned(map);
    Either epilogue = {{below}};
    bool parts_first = both.weights_first != 0;
    unsigned parts = parts_of<64>(map, both.splits), first_part = first_after(parts_first ? 0 : segments_of(back), blockIdx.x, gridDim.x);
    unsigned first_segment = first_after(parts_first ? parts : 0, blockIdx.x, gridDim.x);
    if (multiplies()) {
#pragma unroll 1
        for (unsigned turn = 0; turn < 2; ++turn) {
            if ((turn == 0) == parts_first) multiply_parts<64, true>(partials, outcome, map, both.per_split, both.splits, parts, first_part, parts_between, stages, OwnStages{parts_between.empty});
            else multiply_lines<true>(epilogue, grad_x, back, first_segment, lines_between, weights, stages);
            named_barrier<1>(MULTIPLIERS);
        }
    } else if (lane_id() == 0) {
#pragma unroll 1
        for (unsigned turn = 0; turn < 2; ++turn) {
            if ((turn == 0) == parts_first) fetch_parts<64, false>(&x, &rows_y, map, both.per_split, parts, first_part, parts_between, stages);
            else fetch_lines(&grad_y, &weight, back, first_segment, lines_between, weights, stages);
        }
    }
    take_splits<64, true>(partials, outcome, tickets_or_null, map, both.splits, first_part);
    merge_lines(epilogue, back, first_segment);
}

#endif
