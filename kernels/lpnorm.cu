// The ℓp norms: src/ops/lp_norm. s = M (mean (|x|/M)^p)^(1/p), M = max|x|, so that no power overflows; p = 1 and 2 need no M, and p = ∞
// is M itself. Applying, and Σdy and Σdy·u of the gradient, are BatchNorm's kernels with D = s + ε.
#include "prelude.cuh"

// Each part's max|x| of every column (and Σx, which p = ∞ needs).
template <typename T>
__device__ void maxima(const T* x, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double most = 0.0;
    if (at.column < columns)
        for (unsigned row = at.first_row; row < at.end_row; row += at.step)
            most = larger(most, (double)fabsf(to_f32(x[(u64)row * columns + at.column])));
    store_partials<Most>(most, most, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
lp_maxima_partial_f32(const float* x, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    maxima(x, partials, rows, columns, rows_per_part, width);
}
extern "C" __global__ void __launch_bounds__(256)
lp_maxima_partial_bf16(const bf16* x, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    maxima(x, partials, rows, columns, rows_per_part, width);
}

// scale ← max|x|
extern "C" __global__ void __launch_bounds__(256) lp_maxima_finish(const double* partials, float* scale, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    if (column >= columns) return;
    Pair pair = merge_parts<Most>(partials, columns, column, parts);
    if (lane_id() == 0) scale[column] = (float)pair.a;
}

// Each part's Σx and Σ(|x|/M)^p. `power` tells p: 1, 2, 0 for any (with M in `most`), 3 for none (p = ∞).
template <typename T>
__device__ void powers(const T* x, const float* most, double* partials, float p, unsigned power, unsigned rows, unsigned columns,
                       unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double sum = 0.0, total = 0.0;
    if (at.column < columns) {
        float largest = power == 0 ? most[at.column] : 1.0f;
        // An infinity is to reach the sum as one.
        if (!(largest > 0.0f) || largest == INF_F32) largest = 1.0f;
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            float v = to_f32(x[(u64)row * columns + at.column]);
            sum += v;
            if (power == 1) total += fabsf(v);
            else if (power == 2) total = fma((double)v, (double)v, total);
            else if (power == 0) total += powf(fabsf(v) / largest, p);
        }
    }
    store_partials<Sum>(sum, total, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
lp_powers_f32(const float* x, const float* most, double* partials, float p, unsigned power, unsigned rows, unsigned columns,
              unsigned rows_per_part, unsigned width) {
    powers(x, most, partials, p, power, rows, columns, rows_per_part, width);
}
extern "C" __global__ void __launch_bounds__(256)
lp_powers_bf16(const bf16* x, const float* most, double* partials, float p, unsigned power, unsigned rows, unsigned columns,
               unsigned rows_per_part, unsigned width) {
    powers(x, most, partials, p, power, rows, columns, rows_per_part, width);
}

// μ and s from the sums; scale holds M before where `power` is 0, and s already where it is 3.
extern "C" __global__ void __launch_bounds__(256)
lp_finish(const double* partials, float* mean, float* scale, double p, unsigned power, unsigned rows, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    if (column >= columns) return;
    Pair pair = merge_parts<Sum>(partials, columns, column, parts);
    if (lane_id() != 0) return;
    mean[column] = (float)(pair.a / rows);
    double average = pair.b / rows;
    if (power == 1) scale[column] = (float)average;
    else if (power == 2) scale[column] = (float)sqrt(average);
    else if (power == 0) {
        double most = scale[column] > 0.0f ? (double)scale[column] : 1.0;
        scale[column] = (float)(most * pow(average, 1.0 / p));
    }
}

// Each part's elements of every column whose |x| is its s.
template <typename T>
__device__ void ties(const T* x, const float* scale, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double count = 0.0;
    if (at.column < columns) {
        float s = scale[at.column];
        for (unsigned row = at.first_row; row < at.end_row; row += at.step)
            count += fabsf(to_f32(x[(u64)row * columns + at.column])) == s ? 1.0 : 0.0;
    }
    store_partials<Sum>(count, count, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
lp_ties_f32(const float* x, const float* scale, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ties(x, scale, partials, rows, columns, rows_per_part, width);
}
extern "C" __global__ void __launch_bounds__(256)
lp_ties_bf16(const bf16* x, const float* scale, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ties(x, scale, partials, rows, columns, rows_per_part, width);
}

// All parts' elements of a column, in place of the first part's.
extern "C" __global__ void __launch_bounds__(256) lp_ties_finish(double* partials, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    if (column >= columns) return;
    Pair pair = merge_parts<Sum>(partials, columns, column, parts);
    if (lane_id() == 0) partials[column] = pair.a;
}

// dx = γ/D (dy − Σdy/m − dγ ∂s/∂x), `rows` being those of grad_y and m those of x. `ties` are the elements of largest |x|, for p = ∞ (power 3).
template <typename T, unsigned COUNT>
__device__ void lp_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                            const float* grad_weight, const float* grad_bias, const double* ties, T* grad_x, double eps, float exponent,
                            unsigned power, unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, Pool pool) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    if (at.column >= columns) return;
    double s = (double)scale[at.column], d = s + eps, samples = (double)rows * COUNT;
    float m = mean[at.column], b = bias[at.column], floor = relu_floor(relu), most = scale[at.column];
    float lift = lift_of(d), gain = (float)((double)weight[at.column] / (d * lift)), lift_s = lift_of(s);
    float mean_dy = (float)((double)grad_bias[at.column] / samples), inverse = s > 0.0 ? (float)(1.0 / (s * lift_s)) : 0.0f;
    float factor = (float)((double)grad_weight[at.column] / (power == 3 ? ties[at.column] : samples));
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float given[COUNT], made[COUNT], upstream = to_f32(grad_y[(u64)row * columns + at.column]);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            given[k] = to_f32(x[(u64)window.row[k] * columns + at.column]);
            made[k] = above(fmaf((given[k] - m) * lift, gain, b), floor);
        }
        unsigned place = COUNT > 1 ? largest_place<T>(made) : 0;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float v = given[k], dy = k == place && !(fmaf((v - m) * lift, gain, b) <= floor) ? upstream : 0.0f, slope = 0.0f;
            if (power == 1) slope = factor;
            else if (power == 2) slope = fabsf(v) * lift_s * inverse * factor;
            else if (power == 3) slope = fabsf(v) == most ? factor : 0.0f;
            else if (factor != 0.0f && v != 0.0f) slope = factor * powf(fabsf(v) * lift_s * inverse, exponent);
            if (v < 0.0f) slope = -slope;
            if (v == 0.0f) slope = 0.0f;
            grad_x[(u64)window.row[k] * columns + at.column] = from_f32<T>((dy - mean_dy - slope) * lift * gain);
        }
    }
}
extern "C" __global__ void __launch_bounds__(256)
lp_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                const float* grad_weight, const float* grad_bias, const double* ties_or_null, float* grad_x, double eps, float exponent,
                unsigned power, unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        lp_gradient<float, 4>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, rows,
                              columns, rows_per_part, width, {pool_width, pool_batch});
    else
        lp_gradient<float, 1>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, rows,
                              columns, rows_per_part, width, {});
}
extern "C" __global__ void __launch_bounds__(256)
lp_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                 const float* grad_weight, const float* grad_bias, const double* ties_or_null, bf16* grad_x, double eps, float exponent,
                 unsigned power, unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        lp_gradient<bf16, 4>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, rows, columns,
                             rows_per_part, width, {pool_width, pool_batch});
    else
        lp_gradient<bf16, 1>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, rows, columns,
                             rows_per_part, width, {});
}
