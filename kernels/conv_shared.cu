// Convolution and linear layers in tf32 on Hopper, in whole tiles as in conv_tile.cu, whose operands are copied in bulk and shared by clusters as in
// conv_wgmma.cu. warp_product.cuh and warp_gradient.cuh say how they are multiplied.
#include "hopper.cuh"
#include "warp_gradient.cuh"
#include "warp_product.cuh"

#if HOPPER

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_mma. A cluster's
// rectangle is 4 / across by `across` tiles: boxes of a are 128 / across rows of 32; those of b a block's share of its tile's columns, 128 · across / 4 rows
// of 32, and 32 of them at the most.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
product_shared_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, float* out, double* sums_or_null,
                   float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned across, unsigned relu) {
    wait_for_predecessor();
    PlainOf<float> with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    product_by_warps<128, Beside>(&a, &b, out, with, map, across);
}
// As product_shared_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
product_shared_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, float* out, double* sums_or_null,
                  float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned across, unsigned relu) {
    wait_for_predecessor();
    PlainOf<float> with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    product_by_warps<64, Beside>(&a, &b, out, with, map, across);
}
// The gradient of an input: as product_shared_128, but that b is taken transposed, in boxes of a block's share of its tile's columns. Where a norm has made the
// input, also dγ and dβ of that norm.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
input_gradient_shared_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* out, const float* norm_x_or_null, const float* gamma_or_null,
                          const float* beta_or_null, const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null,
                          float* grad_beta_or_null, unsigned* norm_tickets_or_null, Norming norming, Map map, unsigned across) {
    wait_for_predecessor();
    NormBelow<float> below = NORM_BELOW_OPERANDS;
    EitherOf<float> with = {{below}};
    product_by_warps<128, Transposed>(&a, &b, out, with, map, across);
}
// As input_gradient_shared_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
input_gradient_shared_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* out, const float* norm_x_or_null, const float* gamma_or_null,
                          const float* beta_or_null, const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null,
                          float* grad_beta_or_null, unsigned* norm_tickets_or_null, Norming norming, Map map, unsigned across) {
    wait_for_predecessor();
    NormBelow<float> below = NORM_BELOW_OPERANDS;
    EitherOf<float> with = {{below}};
    product_by_warps<64, Transposed>(&a, &b, out, with, map, across);
}

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], in tiles of 128 × 64 under three taps. Boxes are 32 rows of 32, and those of x a
// quarter of the rows where columns are a multiple of 256.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
weight_gradient_shared_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                           unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient_by_warps<128>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}
// As weight_gradient_shared_128, in tiles of 64 × 64. Boxes have 64 rows.
extern "C" __global__ void __launch_bounds__(288, 1) __cluster_dims__(4, 1, 1)
weight_gradient_shared_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                          unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient_by_warps<64>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}

#endif
