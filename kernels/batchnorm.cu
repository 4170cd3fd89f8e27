// BatchNorm, forward and backward, with the ReLU that may follow: src/ops/batch_norm. Forward reads x twice (statistics, apply) and
// writes y once; backward reads x and dy twice and writes dx once.
#include "prelude.cuh"

// Each part's Σx and Σx² of every column.
template <typename T>
__device__ void moments(const T* x, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double sum = 0.0, square = 0.0;
    if (at.column < columns) {
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            double v = to_f32(x[(u64)row * columns + at.column]);
            sum += v;
            square = fma(v, v, square);
        }
    }
    store_partials<Sum>(sum, square, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
moments_partial_f32(const float* x, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    moments(x, partials, rows, columns, rows_per_part, width);
}
extern "C" __global__ void __launch_bounds__(256)
moments_partial_bf16(const bf16* x, double* partials, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    moments(x, partials, rows, columns, rows_per_part, width);
}

// μ and σ² from the partial sums.
extern "C" __global__ void __launch_bounds__(256)
moments_finish(const double* partials, float* mean, float* var, unsigned rows, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    if (column >= columns) return;
    Pair pair = merge_parts<Sum>(partials, columns, column, parts);
    if (lane_id() != 0) return;
    double average = pair.a / rows, variance = pair.b / rows - average * average;
    mean[column] = (float)average;
    // Rounding may leave a hair below 0 where all samples are equal.
    var[column] = (float)(variance < 0.0 ? 0.0 : variance);
}

// y = γ (x − μ)/S + β, then the ReLU. S comes from σ² (kind 0: √(σ² + ε)) or s (kind 1: s + ε): running statistics and ℓp norms too.
__device__ __forceinline__ double divisor(float spread, double eps, unsigned kind) {
    return kind ? (double)spread + eps : sqrt((double)spread + eps);
}
template <typename T, unsigned COUNT>
__device__ void affine(const T* x, const float* weight, const float* bias, const float* mean, const float* spread, T* y, double eps,
                       unsigned kind, unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, Pool pool) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    if (at.column >= columns) return;
    float m = mean[at.column], b = bias[at.column], floor = relu_floor(relu);
    double s = divisor(spread[at.column], eps, kind);
    float lift = lift_of(s), gain = (float)((double)weight[at.column] / (s * lift));
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float v[COUNT];
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) v[k] = above(fmaf((to_f32(x[(u64)window.row[k] * columns + at.column]) - m) * lift, gain, b), floor);
        float most = v[0];
#pragma unroll
        for (unsigned k = 1; k < COUNT; ++k) most = larger(most, v[k]);
        y[(u64)row * columns + at.column] = from_f32<T>(most);
    }
}
extern "C" __global__ void __launch_bounds__(256)
norm_apply_f32(const float* x, const float* weight, const float* bias, const float* mean, const float* spread, float* y, double eps, unsigned kind,
               unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width) affine<float, 4>(x, weight, bias, mean, spread, y, eps, kind, relu, rows, columns, rows_per_part, width, {pool_width, pool_batch});
    else affine<float, 1>(x, weight, bias, mean, spread, y, eps, kind, relu, rows, columns, rows_per_part, width, {});
}
extern "C" __global__ void __launch_bounds__(256)
norm_apply_bf16(const bf16* x, const float* weight, const float* bias, const float* mean, const float* spread, bf16* y, double eps, unsigned kind,
                unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width) affine<bf16, 4>(x, weight, bias, mean, spread, y, eps, kind, relu, rows, columns, rows_per_part, width, {pool_width, pool_batch});
    else affine<bf16, 1>(x, weight, bias, mean, spread, y, eps, kind, relu, rows, columns, rows_per_part, width, {});
}

// Each part's Σdy and Σdy·ŷ, dy counting only where the ReLU let y through, of a pool's window only at its largest; ŷ = (x − μ)/S.
template <typename T, unsigned COUNT>
__device__ void gradient_sums(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* spread,
                              double* partials, double eps, unsigned kind, unsigned relu, unsigned rows, unsigned columns,
                              unsigned rows_per_part, unsigned width, Pool pool) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double sum = 0.0, sum_u = 0.0;
    if (at.column < columns) {
        double s = divisor(spread[at.column], eps, kind);
        float m = mean[at.column], b = bias[at.column], floor = relu_floor(relu), lift = lift_of(s);
        float gain = (float)((double)weight[at.column] / (s * lift)), inverse = (float)(1.0 / (s * lift));
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            Window<COUNT> window = window_of<COUNT>(pool, row);
            float d[COUNT], v[COUNT], dy = to_f32(grad_y[(u64)row * columns + at.column]);
#pragma unroll
            for (unsigned k = 0; k < COUNT; ++k) {
                d[k] = (to_f32(x[(u64)window.row[k] * columns + at.column]) - m) * lift;
                v[k] = above(fmaf(d[k], gain, b), floor);
            }
            unsigned place = COUNT > 1 ? largest_place<T>(v) : 0;
            float chosen = d[0];
#pragma unroll
            for (unsigned k = 1; k < COUNT; ++k) chosen = k == place ? d[k] : chosen;
            if (fmaf(chosen, gain, b) <= floor) dy = 0.0f;
            sum += dy;
            sum_u = fma((double)dy, (double)(chosen * inverse), sum_u);
        }
    }
    store_partials<Sum>(sum, sum_u, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
norm_gradient_sums_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* spread,
                       double* partials, double eps, unsigned kind, unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part,
                       unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        gradient_sums<float, 4>(x, grad_y, weight, bias, mean, spread, partials, eps, kind, relu, rows, columns, rows_per_part, width,
                                {pool_width, pool_batch});
    else gradient_sums<float, 1>(x, grad_y, weight, bias, mean, spread, partials, eps, kind, relu, rows, columns, rows_per_part, width, {});
}
extern "C" __global__ void __launch_bounds__(256)
norm_gradient_sums_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* spread,
                        double* partials, double eps, unsigned kind, unsigned relu, unsigned rows, unsigned columns, unsigned rows_per_part,
                        unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        gradient_sums<bf16, 4>(x, grad_y, weight, bias, mean, spread, partials, eps, kind, relu, rows, columns, rows_per_part, width,
                               {pool_width, pool_batch});
    else gradient_sums<bf16, 1>(x, grad_y, weight, bias, mean, spread, partials, eps, kind, relu, rows, columns, rows_per_part, width, {});
}

// dβ and dγ from the partial sums.
extern "C" __global__ void __launch_bounds__(256)
norm_gradient_finish(const double* partials, float* grad_weight, float* grad_bias, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    if (column >= columns) return;
    Pair pair = merge_parts<Sum>(partials, columns, column, parts);
    if (lane_id() != 0) return;
    grad_bias[column] = (float)pair.a;
    grad_weight[column] = (float)pair.b;
}

// dx = γ/S (dy − Σdy/m − ŷ Σdy·ŷ/m), `rows` being those of grad_y and m those of x
template <typename T, unsigned COUNT>
__device__ void gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         const float* grad_weight, const float* grad_bias, T* grad_x, double eps, unsigned relu, unsigned rows,
                         unsigned columns, unsigned rows_per_part, unsigned width, Pool pool) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    if (at.column >= columns) return;
    double s = divisor(var[at.column], eps, 0), samples = (double)rows * COUNT;
    float m = mean[at.column], b = bias[at.column], floor = relu_floor(relu);
    float gain = (float)((double)weight[at.column] / s), inverse = (float)(1.0 / s);
    float mean_dy = (float)((double)grad_bias[at.column] / samples), mean_u = (float)((double)grad_weight[at.column] / samples);
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float d[COUNT], v[COUNT], upstream = to_f32(grad_y[(u64)row * columns + at.column]);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            d[k] = to_f32(x[(u64)window.row[k] * columns + at.column]) - m;
            v[k] = above(fmaf(d[k], gain, b), floor);
        }
        unsigned place = COUNT > 1 ? largest_place<T>(v) : 0;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float dy = k == place && !(fmaf(d[k], gain, b) <= floor) ? upstream : 0.0f;
            grad_x[(u64)window.row[k] * columns + at.column] = from_f32<T>(gain * fmaf(-(d[k] * inverse), mean_u, dy - mean_dy));
        }
    }
}
extern "C" __global__ void __launch_bounds__(256)
batch_norm_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                        const float* grad_weight, const float* grad_bias, float* grad_x, double eps, unsigned relu, unsigned rows,
                        unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        gradient<float, 4>(x, grad_y, weight, bias, mean, var, grad_weight, grad_bias, grad_x, eps, relu, rows, columns, rows_per_part, width,
                           {pool_width, pool_batch});
    else gradient<float, 1>(x, grad_y, weight, bias, mean, var, grad_weight, grad_bias, grad_x, eps, relu, rows, columns, rows_per_part, width, {});
}
extern "C" __global__ void __launch_bounds__(256)
batch_norm_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         const float* grad_weight, const float* grad_bias, bf16* grad_x, double eps, unsigned relu, unsigned rows,
                         unsigned columns, unsigned rows_per_part, unsigned width, unsigned pool_width, unsigned pool_batch) {
    if (pool_width)
        gradient<bf16, 4>(x, grad_y, weight, bias, mean, var, grad_weight, grad_bias, grad_x, eps, relu, rows, columns, rows_per_part, width,
                          {pool_width, pool_batch});
    else gradient<bf16, 1>(x, grad_y, weight, bias, mean, var, grad_weight, grad_bias, grad_x, eps, relu, rows, columns, rows_per_part, width, {});
}

// r ← (1 − α) r + α f v, of all norms' statistics at once; f is what makes a variance unbiased
extern "C" __global__ void __launch_bounds__(256)
move_running(const float* batch, const double* factors, float* running, double momentum, unsigned len) {
    double kept = 1.0 - momentum;
    for (u64 i = global_thread(); i < len; i += global_threads())
        running[i] = (float)(kept * running[i] + momentum * (batch[i] * factors[i]));
}
