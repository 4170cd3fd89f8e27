// Convolution and linear layers in bf16 on Hopper's tensor cores (wgmma), in whole tiles as in conv_tile.cu: a tile of 128 rows has one pixel.
//
// A block goes through tiles in a fixed order: block b has tiles b, b + blocks, and so on, so no number depends on how many blocks there are. One warp asks
// for the operands of stage after stage of 64 of the inner dimension (TMA), and two warpgroups multiply them, 64 rows each; a ring of stages lies
// between, of which `full` says what has come and `empty` what has been multiplied. So the next tile's operands come while a tile is stored.
//
// warpgroups.cuh has the ring, warpgroup_product.cuh the products, warpgroup_gradient.cuh the weights' gradients; both_wgmma.cu makes both gradients.
#include "hopper.cuh"
#include "warpgroup_gradient.cuh"
#include "warpgroup_product.cuh"

#if HOPPER

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_mma. Boxes of a are
// 128 rows of 64; those of b 64 rows of 64, and of 128 rows where it is taken transposed.
extern "C" __global__ void __launch_bounds__(288, 1)
product_wgmma_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                  float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<128, true>(&a, &b, out, with, map);
    else product<128, false>(&a, &b, out, with, map);
}
// As product_wgmma_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1)
product_wgmma_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                 float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<64, true>(&a, &b, out, with, map);
    else product<64, false>(&a, &b, out, with, map);
}
// The gradient of an input that a norm has made, as product_wgmma_128 transposed; and dγ and dβ of that norm.
extern "C" __global__ void __launch_bounds__(288, 1)
input_gradient_wgmma_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, bf16* out, const bf16* x, const float* gamma,
                         const float* beta, const float* mean, const float* spread, double* sums, float* grad_gamma, float* grad_beta,
                         unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<128, true>(&a, &b, out, with, map);
}
// As input_gradient_wgmma_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1)
input_gradient_wgmma_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, bf16* out, const bf16* x, const float* gamma,
                         const float* beta, const float* mean, const float* spread, double* sums, float* grad_gamma, float* grad_beta,
                         unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<64, true>(&a, &b, out, with, map);
}

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], in whole tiles of 128 × 128. Boxes are 64 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
weight_gradient_wgmma_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                          unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient<128>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}
// As weight_gradient_wgmma_128, in whole tiles of 64 × 64. Boxes are 128 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
weight_gradient_wgmma_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                         unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient<64>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}

#endif
