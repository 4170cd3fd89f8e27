// Convolution and linear layers in exact f32 where all tiles are whole: rows of activations of which a tile of 128 has one pixel (the batch is a multiple
// of 128), and channels in multiples of 64 forward and 32 along the sum. Nothing is checked in the main loops (exact_tile.cuh), which are all but
// multiplications. conv.cu has the rest.
#include "exact_gradient.cuh"

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_128x128.
extern "C" __global__ void __launch_bounds__(256, 1)
product_exact_128(const float* a, const float* b, const float* bias_or_null, float* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                  unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    exact_whole_product<128>(a, b, out, Plain<float>{bias_or_null, to, relu}, map, place_in_grid<128>(1), transposed);
}
// As product_exact_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(256, 1)
product_exact_64(const float* a, const float* b, const float* bias_or_null, float* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                 unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    exact_whole_product<64>(a, b, out, Plain<float>{bias_or_null, to, relu}, map, place_in_grid<64>(1), transposed);
}
#if CLUSTERS
// As product_exact_64 where there are few tiles.
extern "C" __global__ void __launch_bounds__(256, 1) __cluster_dims__(4, 1, 1)
product_exact_split(const float* a, const float* b, const float* bias_or_null, float* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                    unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    exact_split_product(a, b, out, Plain<float>{bias_or_null, to, relu}, map, place_in_grid<64>(RANKS), transposed);
}
#endif

// The gradient of an input that a norm has made, as product_exact_128 transposed; and dγ and dβ of that norm.
extern "C" __global__ void __launch_bounds__(256, 1)
input_gradient_exact_128(const float* a, const float* b, float* out, const float* x, const float* gamma, const float* beta, const float* mean,
                         const float* spread, double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient<float> with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    exact_whole_product<128>(a, b, out, with, map, place_in_grid<128>(1), 1);
}
// As input_gradient_exact_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(256, 1)
input_gradient_exact_64(const float* a, const float* b, float* out, const float* x, const float* gamma, const float* beta, const float* mean,
                        const float* spread, double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient<float> with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    exact_whole_product<64>(a, b, out, with, map, place_in_grid<64>(1), 1);
}
#if CLUSTERS
// As input_gradient_exact_64 where there are few tiles.
extern "C" __global__ void __launch_bounds__(256, 1) __cluster_dims__(4, 1, 1)
input_gradient_exact_split(const float* a, const float* b, float* out, const float* x, const float* gamma, const float* beta, const float* mean,
                           const float* spread, double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient<float> with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    exact_split_product(a, b, out, with, map, place_in_grid<64>(RANKS), 1);
}
#endif

// dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k] over the q that have the tap on the map; in whole tiles of 128 × 128. `partials` has room for two
// tiles of each block; there is a ticket for each tile under each tap.
extern "C" __global__ void __launch_bounds__(256, 1)
weight_gradient_exact_128(const float* x, const float* grad_y, float* partials, float* out, unsigned* tickets, Map map) {
    wait_for_predecessor();
    exact_weight_gradient<128, 128>(x, grad_y, partials, out, tickets, map);
}
// As weight_gradient_exact_128, in whole tiles of 64 × 64.
extern "C" __global__ void __launch_bounds__(256, 1)
weight_gradient_exact_64(const float* x, const float* grad_y, float* partials, float* out, unsigned* tickets, Map map) {
    wait_for_predecessor();
    exact_weight_gradient<64, 64>(x, grad_y, partials, out, tickets, map);
}
