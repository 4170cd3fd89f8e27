// Convolution and linear layers in bf16 on Hopper's tensor cores (wgmma), in whole tiles as in conv_tile.cu: a tile of 128 rows has one pixel.
//
// A block goes through tiles in a fixed order, every so many-th, and no number depends on how many blocks there are. One warp asks
// for the operands of stage after stage of 64 of the inner dimension (TMA), and two warpgroups multiply them, 64 rows each; a ring of stages lies
// between, of which `full` says what has come and `empty` what has been multiplied. So the next tile's operands come while a tile is stored.
//
// warpgroups.cuh has the ring, warpgroup_product.cuh the products, warpgroup_line.cuh those along lines, warpgroup_gradient.cuh the weights' gradients;
// both_wgmma.cu makes both gradients.
#include "hopper.cuh"
#include "warpgroup_gradient.cuh"
#include "warpgroup_line.cuh"
#include "warpgroup_product.cuh"

#if HOPPER

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_mma. A cluster's
// rectangle is 4 / across by `across` tiles: boxes of a are 128 / across rows of 64; those of b a block's share of its tile's columns, 128 · across / 4 rows
// of 64, where it is taken transposed, and 64 of them at the most where it is not.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
product_wgmma_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                  float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned across, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<128, true>(&a, &b, out, with, map, across);
    else product<128, false>(&a, &b, out, with, map, across);
}
// As product_wgmma_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
product_wgmma_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                 float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned across, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<64, true>(&a, &b, out, with, map, across);
    else product<64, false>(&a, &b, out, with, map, across);
}
// The gradient of an input that a norm has made, as product_wgmma_128 transposed; and dγ and dβ of that norm.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
input_gradient_wgmma_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, bf16* out, const bf16* x, const float* gamma,
                         const float* beta, const float* mean, const float* spread, double* sums, float* grad_gamma, float* grad_beta,
                         unsigned* tickets, Norming norming, Map map, unsigned across) {
    wait_for_predecessor();
    Gradient with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<128, true>(&a, &b, out, with, map, across);
}
// As input_gradient_wgmma_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
input_gradient_wgmma_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, bf16* out, const bf16* x, const float* gamma,
                         const float* beta, const float* mean, const float* spread, double* sums, float* grad_gamma, float* grad_beta,
                         unsigned* tickets, Norming norming, Map map, unsigned across) {
    wait_for_predecessor();
    Gradient with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<64, true>(&a, &b, out, with, map, across);
}

// As product_wgmma_64 with nine taps and 64 channels both in and out, forward. Boxes of a are 128 rows of 64, those of b 64.
extern "C" __global__ void __launch_bounds__(288, 1)
product_wgmma_line(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                   float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned relu) {
    wait_for_predecessor();
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES + 1]);
    SHARED(u64, empty, [STAGES]);
    if (threadIdx.x == 0) mbarrier_init(full + STAGES, 1);
    Ring between = ring(full, empty);
    __syncthreads();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (multiplies()) multiply_lines<false>(with, out, map, blockIdx.x, between, full + STAGES, stages);
    else if (lane_id() == 0) fetch_lines(&a, &b, map, blockIdx.x, between, full + STAGES, stages);
    merge_lines(with, map, blockIdx.x);
}

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], in tiles of 128 × 64 under three taps. Boxes are 64 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
weight_gradient_wgmma_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                          unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient<128>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}
// As weight_gradient_wgmma_128, in tiles of 64 × 64. Boxes are 128 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
weight_gradient_wgmma_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                         unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient<64>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}

#endif
