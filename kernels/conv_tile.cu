// Convolution and linear layers on tensor cores where all tiles are whole: rows of activations of which a tile of 128 has one pixel (the batch is a
// multiple of 128), and channels in multiples of a tile. Nothing is checked in the main loops (tiles.cuh) then, pointers are advanced and never
// computed anew, and a warp has a tile of 64 × 64, which takes each operand from shared memory as seldom as registers allow.
// conv_mma.cu has the rest; for an element of an output both add the same products in the same order, but where a product is split.
//
// tile_product.cuh has a product's walk, tile_epilogue.cuh how it is stored, tile_gradient.cuh a weight's gradient.
#include "tile_epilogue.cuh"
#include "tile_gradient.cuh"

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_mma.
KERNEL_OF_T(128, 2)
product_tile_128(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                 unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    whole_product<128>(a, b, out, Plain<T>{bias_or_null, to, relu}, map, place_in_grid<128>(1), transposed);
}
// As product_tile_128, in whole tiles of 128 × 64.
KERNEL_OF_T(128, 2)
product_tile_64(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    whole_product<64>(a, b, out, Plain<T>{bias_or_null, to, relu}, map, place_in_grid<64>(1), transposed);
}

// The gradient of an input that a norm has made, as product_tile_128 transposed; and dγ and dβ of that norm.
KERNEL_OF_T(128, 2)
input_gradient_tile_128(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                        double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    whole_product<128>(a, b, out, Gradient<T>{{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}}, map, place_in_grid<128>(1), 1);
}
// As input_gradient_tile_128, in whole tiles of 128 × 64.
KERNEL_OF_T(128, 2)
input_gradient_tile_64(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                       double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    whole_product<64>(a, b, out, Gradient<T>{{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}}, map, place_in_grid<64>(1), 1);
}

#if CLUSTERS
// As product_tile_64 where there are few tiles.
KERNEL_OF_T(128, 2) CLUSTER_OF(4)
product_tile_split(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                   unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    split_product(a, b, out, Plain<T>{bias_or_null, to, relu}, map, place_in_grid<64>(RANKS), transposed);
}
// As input_gradient_tile_64 where there are few tiles.
KERNEL_OF_T(128, 2) CLUSTER_OF(4)
input_gradient_tile_split(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                          double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    split_product(a, b, out, Gradient<T>{{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}}, map, place_in_grid<64>(RANKS), 1);
}
#endif

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], and the sum of all in `out`; in whole tiles of 128 × 128.
KERNEL_OF_T(128, 2)
weight_gradient_tile_128(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split) {
    wait_for_predecessor();
    weight_gradient<T, 128>(x, grad_y, partials, out_or_null, tickets_or_null, map, part_in_grid(), per_split);
}
// As weight_gradient_tile_128, in whole tiles of 64 × 64.
KERNEL_OF_T(128, 2)
weight_gradient_tile_64(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split) {
    wait_for_predecessor();
    weight_gradient<T, 64>(x, grad_y, partials, out_or_null, tickets_or_null, map, part_in_grid(), per_split);
}
