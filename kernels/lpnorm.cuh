// What lpnorm.cu and lpnorm_wide.cu share.
#pragma once
#include "columns.cuh"

// Each part's Σx and Σ(|x|/M)^p of this thread's column, in double, M being `most`.
template <typename T>
__device__ __forceinline__ void store_powers(const T* x, float most, double* partials, float p, unsigned power, const ColumnPlace& at) {
    double sum = 0.0, total = 0.0;
    for_column(at, [&](u64 i) {
        float v = to_f32(x[i]);
        sum += v;
        if (power == 1) total += fabsf(v);
        else if (power == 2) total = fma((double)v, (double)v, total);
        else if (power == 0) total += powf(fabsf(v) / most, p);
    });
    store_partials<Sum>(sum, total, at, partials);
}

// dγ ∂s/∂x of a column: the sign of x times factor (|x|/s)^(p − 1). `lift · inverse` is 1/s.
struct Spread {
    unsigned power;
    float exponent, most, lift, inverse, factor;
    __device__ __forceinline__ float slope(float v) const {
        if (v == 0.0f) return 0.0f;
        float slope = 0.0f;
        if (power == 1) slope = factor;
        else if (power == 2) slope = fabsf(v) * lift * inverse * factor;
        else if (power == 3) slope = fabsf(v) == most ? factor : 0.0f;
        else if (factor != 0.0f) slope = factor * powf(fabsf(v) * lift * inverse, exponent);
        return v < 0.0f ? -slope : slope;
    }
};
template <typename T, unsigned COUNT>
__device__ __forceinline__ void window_gradient(const T* x, const T* grad_y, T* grad_x, const Affine& of, const Spread& spread, float mean_dy,
                                         const ColumnPlace& at, const Pool& pool) {
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float v[COUNT], upstream = to_f32(grad_y[at.element(row)]);
        unsigned largest = read_window(x, of, at, window, v);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float dy = k == largest ? of.upstream(v[k], upstream) : 0.0f;
            grad_x[at.element(window.row[k])] = from_f32<T>((dy - mean_dy - spread.slope(v[k])) * of.lift * of.gain);
        }
    }
}
// This thread's column of dx = γ/D (dy − Σdy/m − dγ ∂s/∂x): `share` is what of dγ a sample has, `mean_dy` Σdy/m.
template <typename T>
__device__ __forceinline__ void column_gradient(const T* x, const T* grad_y, T* grad_x, float weight, float bias, float mean, float scale, double share,
                                                double mean_dy, double eps, float exponent, unsigned power, unsigned relu, const ColumnPlace& at,
                                                const Pool& pool) {
    double s = (double)scale, d = s + eps;
    float lift = lift_of(s), inverse = s > 0.0 ? (float)(1.0 / (s * lift)) : 0.0f;
    Affine of = affine_of(weight, bias, mean, d, relu, lift_of(d));
    Spread spread = {power, exponent, scale, lift, inverse, (float)share};
    if (pool.width) window_gradient<T, 4>(x, grad_y, grad_x, of, spread, (float)mean_dy, at, pool);
    else window_gradient<T, 1>(x, grad_y, grad_x, of, spread, (float)mean_dy, at, pool);
}
