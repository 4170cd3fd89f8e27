// Algorithm 1's noise, drawn where it is used: src/ops/noise, src/ops/noisy_batch_norm. A thread keeps to a pair of units, whose two
// samples share one draw of Philox; rows lie as (h·W + w)·N + n.
#include "prelude.cuh"

// What a thread knows of its pair: `width` pairs a block, 256 / width rows at a time.
struct NoisePlace {
    ColumnPlace at;
    NoiseKey key;
    NoiseUnit units[2];
    unsigned batch, pixels, columns;
};
__device__ __forceinline__ NoisePlace noise_place(const u64* state, float mean, float scale, float spread, unsigned layer, unsigned rows,
                                                  unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width,
                                                  unsigned pool_width = 0) {
    NoiseKey key = {state_seed(state), (unsigned)state_step(state), layer, mean, scale, spread};
    ColumnPlace at = column_place(rows, rows_per_part, width);
    return {at, key, {noise_unit(key, 2 * at.column), noise_unit(key, 2 * at.column + 1)}, batch, rows / batch * (pool_width ? 4u : 1u), columns};
}

// Calls f(element, shift, scale, half) for every element of this thread's pair.
template <typename F> __device__ __forceinline__ void for_noise(const NoisePlace& place, F f) {
    if (2 * place.at.column >= place.columns) return;
    for (unsigned row = place.at.first_row; row < place.at.end_row; row += place.at.step) {
        NoisePair drawn = noise_pair(place.key, place.units, noise_sample(row, place.batch, place.pixels), place.at.column);
        u64 i = (u64)row * place.columns + 2 * place.at.column;
#pragma unroll
        for (int half = 0; half < 2; ++half)
            if (2 * place.at.column + half < place.columns) f(i + half, drawn.shift[half], drawn.scale[half], half);
    }
}

// y = s x + m, then the ReLU
template <typename T> __device__ void noise(const T* x, T* y, unsigned relu, const NoisePlace& place) {
    float floor = relu_floor(relu);
    for_noise(place, [&](u64 i, float m, float s, int) { y[i] = from_f32<T>(above(fmaf(to_f32(x[i]), s, m), floor)); });
}
extern "C" __global__ void __launch_bounds__(256)
noise_f32(const float* x, const u64* state, float* y, float mean, float scale, float spread, unsigned layer, unsigned relu, unsigned rows,
          unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    noise(x, y, relu, noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width));
}
extern "C" __global__ void __launch_bounds__(256)
noise_bf16(const bf16* x, const u64* state, bf16* y, float mean, float scale, float spread, unsigned layer, unsigned relu, unsigned rows,
           unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    noise(x, y, relu, noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width));
}

// dx = s dy where the ReLU let y through
template <typename T> __device__ void noise_gradient(const T* x, const T* grad_y, T* grad_x, unsigned relu, const NoisePlace& place) {
    float floor = relu_floor(relu);
    for_noise(place, [&](u64 i, float m, float s, int) {
        grad_x[i] = from_f32<T>(fmaf(to_f32(x[i]), s, m) <= floor ? 0.0f : s * to_f32(grad_y[i]));
    });
}
extern "C" __global__ void __launch_bounds__(256)
noise_gradient_f32(const float* x, const float* grad_y, const u64* state, float* grad_x, float mean, float scale, float spread, unsigned layer,
                   unsigned relu, unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    noise_gradient(x, grad_y, grad_x, relu, noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width));
}
extern "C" __global__ void __launch_bounds__(256)
noise_gradient_bf16(const bf16* x, const bf16* grad_y, const u64* state, bf16* grad_x, float mean, float scale, float spread, unsigned layer,
                    unsigned relu, unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    noise_gradient(x, grad_y, grad_x, relu, noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width));
}

// The draws themselves
template <typename T> __device__ void draws(T* shift, T* scale, const NoisePlace& place) {
    for_noise(place, [&](u64 i, float m, float s, int) {
        shift[i] = from_f32<T>(m);
        scale[i] = from_f32<T>(s);
    });
}
extern "C" __global__ void __launch_bounds__(256)
noise_draws_f32(const u64* state, float* shift, float* drawn_scale, float mean, float scale, float spread, unsigned layer, unsigned rows,
                unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    draws(shift, drawn_scale, noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width));
}
extern "C" __global__ void __launch_bounds__(256)
noise_draws_bf16(const u64* state, bf16* shift, bf16* drawn_scale, float mean, float scale, float spread, unsigned layer, unsigned rows,
                 unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    draws(shift, drawn_scale, noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width));
}

// γ/S, μ and β of a thread's two units.
struct AffinePair {
    float mean[2], gain[2], bias[2];
};
__device__ __forceinline__ AffinePair affine_pair(const NoisePlace& place, const float* weight, const float* bias, const float* mean,
                                                  const float* var, double eps) {
    AffinePair pair = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned column = 2 * place.at.column + half;
        if (column < place.columns) {
            pair.mean[half] = mean[column];
            pair.gain[half] = (float)((double)weight[column] / sqrt((double)var[column] + eps));
            pair.bias[half] = bias[column];
        }
    }
    return pair;
}

// Calls f(window, row, shift, scale, half) for every window of this thread's pair: of each of its rows m_ij and s_ij.
template <unsigned COUNT, typename F> __device__ __forceinline__ void for_noise_windows(const NoisePlace& place, const Pool& pool, F f) {
    if (2 * place.at.column >= place.columns) return;
    for (unsigned row = place.at.first_row; row < place.at.end_row; row += place.at.step) {
        Window<COUNT> window = window_of<COUNT>(pool, row);
        float shift[2][COUNT], scale[2][COUNT];
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            NoisePair drawn = noise_pair(place.key, place.units, noise_sample(window.row[k], place.batch, place.pixels), place.at.column);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                shift[half][k] = drawn.shift[half];
                scale[half][k] = drawn.scale[half];
            }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half)
            if (2 * place.at.column + half < place.columns) f(window, row, shift[half], scale[half], half);
    }
}

// y = s (γ ŷ + β) + m, then the ReLU: noisy BatchNorm, its statistics being there
template <typename T, unsigned COUNT>
__device__ void noisy_apply(const T* x, T* y, const AffinePair& affine, unsigned relu, const NoisePlace& place, Pool pool) {
    float floor = relu_floor(relu);
    for_noise_windows<COUNT>(place, pool, [&](const Window<COUNT>& window, unsigned row, const float (&m)[COUNT], const float (&s)[COUNT], int half) {
        unsigned column = 2 * place.at.column + half;
        float most = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float d = to_f32(x[(u64)window.row[k] * place.columns + column]) - affine.mean[half];
            float v = above(fmaf(fmaf(d, affine.gain[half], affine.bias[half]), s[k], m[k]), floor);
            most = k == 0 ? v : larger(most, v);
        }
        y[(u64)row * place.columns + column] = from_f32<T>(most);
    });
}
template <typename T>
__device__ __forceinline__ void noisy_apply_any(const T* x, T* y, const AffinePair& affine, unsigned relu, const NoisePlace& place, Pool pool) {
    if (pool.width) noisy_apply<T, 4>(x, y, affine, relu, place, pool);
    else noisy_apply<T, 1>(x, y, affine, relu, place, pool);
}
extern "C" __global__ void __launch_bounds__(256)
noisy_apply_f32(const float* x, const float* weight, const float* bias, const float* batch_mean, const float* var, const u64* state, float* y,
                double eps, float mean, float scale, float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch,
                unsigned rows_per_part, unsigned width, unsigned pool_width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width, pool_width);
    noisy_apply_any(x, y, affine_pair(place, weight, bias, batch_mean, var, eps), relu, place, {pool_width, batch});
}
extern "C" __global__ void __launch_bounds__(256)
noisy_apply_bf16(const bf16* x, const float* weight, const float* bias, const float* batch_mean, const float* var, const u64* state, bf16* y,
                 double eps, float mean, float scale, float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch,
                 unsigned rows_per_part, unsigned width, unsigned pool_width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width, pool_width);
    noisy_apply_any(x, y, affine_pair(place, weight, bias, batch_mean, var, eps), relu, place, {pool_width, batch});
}

// BatchNorm's upstream gradient is s dy where the ReLU let y through, and of a pool's window only at its largest: drawn again in both
// passes, so that it is never rounded to T. Calls f(element of x, x − μ, upstream gradient, half).
template <typename T, unsigned COUNT, typename F>
__device__ __forceinline__ void for_upstream(const T* x, const T* grad_y, const AffinePair& affine, float floor, const NoisePlace& place,
                                             const Pool& pool, F f) {
    for_noise_windows<COUNT>(place, pool, [&](const Window<COUNT>& window, unsigned row, const float (&m)[COUNT], const float (&s)[COUNT], int half) {
        unsigned column = 2 * place.at.column + half;
        float d[COUNT], before[COUNT], v[COUNT], dy = to_f32(grad_y[(u64)row * place.columns + column]);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            d[k] = to_f32(x[(u64)window.row[k] * place.columns + column]) - affine.mean[half];
            before[k] = fmaf(fmaf(d[k], affine.gain[half], affine.bias[half]), s[k], m[k]);
            v[k] = above(before[k], floor);
        }
        unsigned chosen = COUNT > 1 ? largest_place<T>(v) : 0;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k)
            f((u64)window.row[k] * place.columns + column, d[k], k == chosen && !(before[k] <= floor) ? s[k] * dy : 0.0f, half);
    });
}

// Each part's Σ of it, and Σ of it times ŷ
template <typename T, unsigned COUNT>
__device__ void noisy_sums(const T* x, const T* grad_y, double* partials, const float* var, double eps, const AffinePair& affine, unsigned relu,
                           unsigned width, const NoisePlace& place, Pool pool) {
    float inverse[2] = {};
    double sum[2] = {}, sum_u[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half)
        if (2 * place.at.column + half < place.columns) inverse[half] = (float)(1.0 / sqrt((double)var[2 * place.at.column + half] + eps));
    for_upstream<T, COUNT>(x, grad_y, affine, relu_floor(relu), place, pool, [&](u64, float d, float dy, int half) {
        sum[half] += dy;
        sum_u[half] = fma((double)dy, (double)(d * inverse[half]), sum_u[half]);
    });
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        ColumnPlace at = place.at;
        at.column = 2 * at.column + half;
        __syncthreads();
        store_partials<Sum>(sum[half], sum_u[half], at, place.columns, width, partials);
    }
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_sums_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                        const u64* state, double* partials, double eps, float mean, float scale, float spread, unsigned layer, unsigned relu,
                        unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width, unsigned pool_width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width, pool_width);
    AffinePair affine = affine_pair(place, weight, bias, batch_mean, var, eps);
    if (pool_width) noisy_sums<float, 4>(x, grad_y, partials, var, eps, affine, relu, width, place, {pool_width, batch});
    else noisy_sums<float, 1>(x, grad_y, partials, var, eps, affine, relu, width, place, {});
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_sums_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                         const u64* state, double* partials, double eps, float mean, float scale, float spread, unsigned layer, unsigned relu,
                         unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width, unsigned pool_width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width, pool_width);
    AffinePair affine = affine_pair(place, weight, bias, batch_mean, var, eps);
    if (pool_width) noisy_sums<bf16, 4>(x, grad_y, partials, var, eps, affine, relu, width, place, {pool_width, batch});
    else noisy_sums<bf16, 1>(x, grad_y, partials, var, eps, affine, relu, width, place, {});
}

// dx = γ/S (d − Σd/m − ŷ Σd·ŷ/m), d being the upstream gradient, `rows` those of grad_y and m those of x
template <typename T, unsigned COUNT>
__device__ void noisy_gradient(const T* x, const T* grad_y, const float* grad_weight, const float* grad_bias, T* grad_x, const float* var,
                               double eps, const AffinePair& affine, unsigned relu, unsigned rows, const NoisePlace& place, Pool pool) {
    float inverse[2] = {}, mean_dy[2] = {}, mean_u[2] = {};
    double samples = (double)rows * COUNT;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned column = 2 * place.at.column + half;
        if (column < place.columns) {
            inverse[half] = (float)(1.0 / sqrt((double)var[column] + eps));
            mean_dy[half] = (float)((double)grad_bias[column] / samples);
            mean_u[half] = (float)((double)grad_weight[column] / samples);
        }
    }
    for_upstream<T, COUNT>(x, grad_y, affine, relu_floor(relu), place, pool, [&](u64 i, float d, float dy, int half) {
        grad_x[i] = from_f32<T>(affine.gain[half] * fmaf(-(d * inverse[half]), mean_u[half], dy - mean_dy[half]));
    });
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                   const float* grad_weight, const float* grad_bias, const u64* state, float* grad_x, double eps, float mean, float scale,
                   float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part,
                   unsigned width, unsigned pool_width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width, pool_width);
    AffinePair affine = affine_pair(place, weight, bias, batch_mean, var, eps);
    if (pool_width) noisy_gradient<float, 4>(x, grad_y, grad_weight, grad_bias, grad_x, var, eps, affine, relu, rows, place, {pool_width, batch});
    else noisy_gradient<float, 1>(x, grad_y, grad_weight, grad_bias, grad_x, var, eps, affine, relu, rows, place, {});
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                    const float* grad_weight, const float* grad_bias, const u64* state, bf16* grad_x, double eps, float mean, float scale,
                    float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part,
                    unsigned width, unsigned pool_width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width, pool_width);
    AffinePair affine = affine_pair(place, weight, bias, batch_mean, var, eps);
    if (pool_width) noisy_gradient<bf16, 4>(x, grad_y, grad_weight, grad_bias, grad_x, var, eps, affine, relu, rows, place, {pool_width, batch});
    else noisy_gradient<bf16, 1>(x, grad_y, grad_weight, grad_bias, grad_x, var, eps, affine, relu, rows, place, {});
}
