// BatchNorm, forward and backward, with the ReLU that may follow: src/ops/norm/batch. Forward reads x twice (statistics, apply) and
// writes y once; backward reads x and dy twice and writes dx once.
#include "columns.cuh"

// Each part's Σx and Σx² of every column; and where they are asked for, μ and σ².
KERNEL_OF_T(256, 8)
moments_partial(const T* x, double* partials, float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    store_moments(x, partials, at);
    if (!mean_or_null) return;
    Moments to = {partials, mean_or_null, var_or_null, tickets_or_null};
    merge_moments<1>(to, matrix.rows, block_parts(at.columns, at.width));
}

template <typename T, unsigned COUNT>
__device__ __forceinline__ void apply(const T* x, T* y, T* chosen, const Affine& of, const ColumnPlace& at, const Pool& pool) {
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float v[COUNT], before[COUNT];
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            v[k] = to_f32(x[at.element(window.row[k])]);
            before[k] = of.before_relu(v[k]);
        }
        Chosen largest = choose<T>(before, v);
        y[at.element(row)] = from_f32<T>(above(largest.y, of.floor));
        if (COUNT > 1 && chosen) chosen[at.element(row)] = from_f32<T>(largest.x);
    }
}
// y = γ (x − μ)/S + β, then the ReLU and the largest of a pool's window, of which x goes to `chosen`. `matrix` is that of y.
KERNEL_OF_T(256)
norm_apply(const T* x, const float* weight, const float* bias, const float* mean, const float* spread, T* y, T* chosen_or_null, double eps, unsigned kind,
           unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    double s = divisor(spread[at.column], eps, kind);
    Affine of = affine_of(weight[at.column], bias[at.column], mean[at.column], s, relu, lift_of(s));
    if (pool.width) apply<T, 4>(x, y, chosen_or_null, of, at, pool);
    else apply<T, 1>(x, y, chosen_or_null, of, at, pool);
}

template <typename T, unsigned COUNT>
__device__ __forceinline__ Pair gradient_sums(const T* x, const T* grad_y, const Affine& of, float inverse, const ColumnPlace& at, const Pool& pool) {
    double sum = 0.0, sum_u = 0.0;
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        float v[COUNT], dy = to_f32(grad_y[at.element(row)]);
        unsigned largest = read_window(x, of, at, window_of<COUNT>(pool, row), v);
        float chosen = v[0];
#pragma unroll
        for (unsigned k = 1; k < COUNT; ++k) chosen = k == largest ? v[k] : chosen;
        dy = of.upstream(chosen, dy);
        sum += dy;
        sum_u = fma((double)dy, (double)(of.centred(chosen) * inverse), sum_u);
    }
    return {sum, sum_u};
}
// Each part's Σdy and Σdy·ŷ, and of all parts dβ and dγ, dy counting only where the ReLU let y through, of a pool's window only at its largest; ŷ = (x − μ)/S.
KERNEL_OF_T(256)
norm_gradient_sums(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* spread,
                   double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, double eps, unsigned kind, unsigned relu,
                   Matrix matrix, Pool pool) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    Pair sums = {};
    if (at.there()) {
        double s = divisor(spread[at.column], eps, kind);
        Affine of = affine_of(weight[at.column], bias[at.column], mean[at.column], s, relu, lift_of(s));
        float inverse = (float)(1.0 / (s * of.lift));
        if (pool.width) sums = gradient_sums<T, 4>(x, grad_y, of, inverse, at, pool);
        else sums = gradient_sums<T, 1>(x, grad_y, of, inverse, at, pool);
    }
    store_partials<Sum>(sums.a, sums.b, at, partials);
    merge_gradients<1>(partials, grad_weight, grad_bias, tickets, block_parts(at.columns, at.width));
}

// A column's 1/S, Σdy/m and Σdy·ŷ/m.
struct Slope {
    float inverse, mean_dy, mean_u;
};
template <typename T, unsigned COUNT>
__device__ __forceinline__ void gradient(const T* x, const T* grad_y, T* grad_x, const Affine& of, const Slope& slope, const ColumnPlace& at,
                                         const Pool& pool) {
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float v[COUNT], upstream = to_f32(grad_y[at.element(row)]);
        unsigned largest = read_window(x, of, at, window, v);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float dy = k == largest ? of.upstream(v[k], upstream) : 0.0f, u = of.centred(v[k]) * slope.inverse;
            grad_x[at.element(window.row[k])] = from_f32<T>(of.gain * fmaf(-u, slope.mean_u, dy - slope.mean_dy));
        }
    }
}
// dx = γ/S (dy − Σdy/m − ŷ Σdy·ŷ/m); `matrix` is that of grad_y, m the rows of x.
KERNEL_OF_T(256)
batch_norm_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                    const float* grad_weight, const float* grad_bias, T* grad_x, double eps, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    double s = divisor(var[at.column], eps, 0), samples = (double)matrix.rows * (pool.width ? 4 : 1);
    Affine of = affine_of(weight[at.column], bias[at.column], mean[at.column], s, relu);
    Slope slope = {(float)(1.0 / s), (float)((double)grad_bias[at.column] / samples), (float)((double)grad_weight[at.column] / samples)};
    if (pool.width) gradient<T, 4>(x, grad_y, grad_x, of, slope, at, pool);
    else gradient<T, 1>(x, grad_y, grad_x, of, slope, at, pool);
}

// r ← (1 − α) r + α f v, of all norms' statistics at once; f is what makes a variance unbiased.
extern "C" __global__ void __launch_bounds__(256)
move_running(const float* batch, const double* factors, float* running, double momentum, unsigned len) {
    wait_for_predecessor();
    double kept = 1.0 - momentum;
    for (u64 i = global_thread(); i < len; i += global_threads())
        running[i] = (float)(kept * running[i] + momentum * (batch[i] * factors[i]));
}
