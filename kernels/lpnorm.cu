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
        if (!(largest > 0.0f)) largest = 1.0f;
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

// dx = γ/D (dy − Σdy/m − dγ ∂s/∂x), `rows` being those of grad_y and m those of x; at p = ∞ (power 3) without the last term, which one element a column has.
template <typename T, unsigned COUNT>
__device__ void lp_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                            const float* grad_weight, const float* grad_bias, T* grad_x, double eps, float exponent, unsigned power,
                            unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, Pool pool) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    if (at.column >= columns) return;
    double s = (double)scale[at.column], d = s + eps, samples = (double)rows * COUNT;
    float m = mean[at.column], b = bias[at.column], floor = relu_floor(relu), gain = (float)((double)weight[at.column] / d);
    float mean_dy = (float)((double)grad_bias[at.column] / samples), inverse = s > 0.0 ? (float)(1.0 / s) : 0.0f;
    float factor = power == 3 ? 0.0f : (float)((double)grad_weight[at.column] / samples);
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float given[COUNT], made[COUNT], upstream = to_f32(grad_y[(u64)row * columns + at.column]);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            given[k] = to_f32(x[(u64)window.row[k] * columns + at.column]);
            made[k] = above(fmaf(given[k] - m, gain, b), floor);
        }
        unsigned place = COUNT > 1 ? largest_place<T>(made) : 0;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float v = given[k], dy = k == place && !(fmaf(v - m, gain, b) <= floor) ? upstream : 0.0f, slope = 0.0f;
            if (power == 1) slope = factor;
            else if (power == 2) slope = fabsf(v) * inverse * factor;
            else if (power == 0 && factor != 0.0f && v != 0.0f) slope = factor * powf(fabsf(v) * inverse, exponent);
            if (v < 0.0f) slope = -slope;
            if (v == 0.0f) slope = 0.0f;
            grad_x[(u64)window.row[k] * columns + at.column] = from_f32<T>(gain * (dy - mean_dy - slope));
        }
    }
}
extern "C" __global__ void __launch_bounds__(256)
lp_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                const float* grad_weight, const float* grad_bias, float* grad_x, double eps, float exponent, unsigned power, unsigned relu,
                unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        lp_gradient<float, 4>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, grad_x, eps, exponent, power, relu, rows, columns,
                              rows_per_part, width, {pool_width, pool_batch});
    else
        lp_gradient<float, 1>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, grad_x, eps, exponent, power, relu, rows, columns,
                              rows_per_part, width, {});
}
extern "C" __global__ void __launch_bounds__(256)
lp_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                 const float* grad_weight, const float* grad_bias, bf16* grad_x, double eps, float exponent, unsigned power, unsigned relu,
                 unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        lp_gradient<bf16, 4>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, grad_x, eps, exponent, power, relu, rows, columns,
                             rows_per_part, width, {pool_width, pool_batch});
    else
        lp_gradient<bf16, 1>(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, grad_x, eps, exponent, power, relu, rows, columns,
                             rows_per_part, width, {});
}

// Each part's first element, in (n, h, w) order, whose |x| is the column's s: its rank n·pixels + (h·W + w), or 1e18 where none is.
template <typename T>
__device__ void first_largest(const T* x, const float* scale, double* partials, unsigned batch, unsigned rows, unsigned columns,
                              unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double first = 1e18;
    if (at.column < columns) {
        float s = scale[at.column];
        for (unsigned row = at.first_row; row < at.end_row; row += at.step)
            if (fabsf(to_f32(x[(u64)row * columns + at.column])) == s)
                first = Least::merge(first, (double)(row % batch) * (rows / batch) + row / batch);
    }
    store_partials<Least>(first, first, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
lp_first_f32(const float* x, const float* scale, double* partials, unsigned batch, unsigned rows, unsigned columns, unsigned rows_per_part,
             unsigned width) {
    first_largest(x, scale, partials, batch, rows, columns, rows_per_part, width);
}
extern "C" __global__ void __launch_bounds__(256)
lp_first_bf16(const bf16* x, const float* scale, double* partials, unsigned batch, unsigned rows, unsigned columns, unsigned rows_per_part,
              unsigned width) {
    first_largest(x, scale, partials, batch, rows, columns, rows_per_part, width);
}

// At p = ∞ that element alone carries ∂s/∂x: γ/D · dγ · sign(x) comes off its gradient, which is computed anew and rounded once.
template <typename T>
__device__ void linf_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                              const float* grad_weight, const float* grad_bias, const double* partials, T* grad_x, double eps, unsigned relu,
                              unsigned batch, unsigned rows, unsigned columns, unsigned parts, unsigned pool_width) {
    unsigned column = merged_column();
    if (column >= columns || !(scale[column] > 0.0f)) return;
    double first = merge_parts<Least>(partials, columns, column, parts).a;
    if (first >= 1e18 || lane_id() != 0) return;
    u64 rank = (u64)first;
    unsigned pixels = rows / batch, pixel = (unsigned)(rank % pixels), n = (unsigned)(rank / pixels), row = pixel * batch + n;
    float m = mean[column], b = bias[column], floor = relu_floor(relu), gain = (float)((double)weight[column] / ((double)scale[column] + eps));
    float v = to_f32(x[(u64)row * columns + column]), dy;
    if (pool_width) {
        // It has a gradient only where it is the first largest of its window.
        unsigned h = pixel / pool_width, w = pixel % pool_width, output = (h / 2 * (pool_width / 2) + w / 2) * batch + n;
        Window<4> window = window_of<4>({pool_width, batch}, output);
        float made[4];
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) made[k] = above(fmaf(to_f32(x[(u64)window.row[k] * columns + column]) - m, gain, b), floor);
        dy = largest_place<T>(made) == h % 2 * 2 + w % 2 ? to_f32(grad_y[(u64)output * columns + column]) : 0.0f;
    } else dy = to_f32(grad_y[(u64)row * columns + column]);
    if (fmaf(v - m, gain, b) <= floor) dy = 0.0f;
    float mean_dy = (float)((double)grad_bias[column] / rows), slope = v > 0.0f ? grad_weight[column] : -grad_weight[column];
    grad_x[(u64)row * columns + column] = from_f32<T>(gain * (dy - mean_dy - slope));
}
extern "C" __global__ void __launch_bounds__(256)
linf_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                  const float* grad_weight, const float* grad_bias, const double* partials, float* grad_x, double eps, unsigned relu,
                  unsigned batch, unsigned rows, unsigned columns, unsigned parts, unsigned pool_width) {
    linf_gradient(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, partials, grad_x, eps, relu, batch, rows, columns, parts, pool_width);
}
extern "C" __global__ void __launch_bounds__(256)
linf_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                   const float* grad_weight, const float* grad_bias, const double* partials, bf16* grad_x, double eps, unsigned relu,
                   unsigned batch, unsigned rows, unsigned columns, unsigned parts, unsigned pool_width) {
    linf_gradient(x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, partials, grad_x, eps, relu, batch, rows, columns, parts, pool_width);
}
