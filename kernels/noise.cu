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
                                                  unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    NoiseKey key = {state_seed(state), (unsigned)state_step(state), layer, mean, scale, spread};
    ColumnPlace at = column_place(rows, rows_per_part, width);
    return {at, key, {noise_unit(key, 2 * at.column), noise_unit(key, 2 * at.column + 1)}, batch, rows / batch, columns};
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

// y = s (γ ŷ + β) + m, then the ReLU: noisy BatchNorm, its statistics being there
template <typename T>
__device__ void noisy_apply(const T* x, T* y, const AffinePair& affine, unsigned relu, const NoisePlace& place) {
    float floor = relu_floor(relu);
    for_noise(place, [&](u64 i, float m, float s, int half) {
        float v = fmaf(to_f32(x[i]) - affine.mean[half], affine.gain[half], affine.bias[half]);
        y[i] = from_f32<T>(above(fmaf(v, s, m), floor));
    });
}
extern "C" __global__ void __launch_bounds__(256)
noisy_apply_f32(const float* x, const float* weight, const float* bias, const float* batch_mean, const float* var, const u64* state, float* y,
                double eps, float mean, float scale, float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch,
                unsigned rows_per_part, unsigned width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width);
    noisy_apply(x, y, affine_pair(place, weight, bias, batch_mean, var, eps), relu, place);
}
extern "C" __global__ void __launch_bounds__(256)
noisy_apply_bf16(const bf16* x, const float* weight, const float* bias, const float* batch_mean, const float* var, const u64* state, bf16* y,
                 double eps, float mean, float scale, float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch,
                 unsigned rows_per_part, unsigned width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width);
    noisy_apply(x, y, affine_pair(place, weight, bias, batch_mean, var, eps), relu, place);
}

// BatchNorm's upstream gradient is s dy where the ReLU let y through: drawn again in both passes, so that it is never rounded to T.
__device__ __forceinline__ float noisy_upstream(float v, float m, float s, float dy, float floor) { return fmaf(v, s, m) <= floor ? 0.0f : s * dy; }

// Each part's Σ of it, and Σ of it times ŷ
template <typename T>
__device__ void noisy_sums(const T* x, const T* grad_y, double* partials, const float* var, double eps, const AffinePair& affine, unsigned relu,
                           unsigned width, const NoisePlace& place) {
    float floor = relu_floor(relu), inverse[2] = {};
    double sum[2] = {}, sum_u[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half)
        if (2 * place.at.column + half < place.columns) inverse[half] = (float)(1.0 / sqrt((double)var[2 * place.at.column + half] + eps));
    for_noise(place, [&](u64 i, float m, float s, int half) {
        float d = to_f32(x[i]) - affine.mean[half];
        float dy = noisy_upstream(fmaf(d, affine.gain[half], affine.bias[half]), m, s, to_f32(grad_y[i]), floor);
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
                        unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width);
    noisy_sums(x, grad_y, partials, var, eps, affine_pair(place, weight, bias, batch_mean, var, eps), relu, width, place);
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_sums_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                         const u64* state, double* partials, double eps, float mean, float scale, float spread, unsigned layer, unsigned relu,
                         unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part, unsigned width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width);
    noisy_sums(x, grad_y, partials, var, eps, affine_pair(place, weight, bias, batch_mean, var, eps), relu, width, place);
}

// dx = γ/S (d − Σd/m − ŷ Σd·ŷ/m), d being the upstream gradient
template <typename T>
__device__ void noisy_gradient(const T* x, const T* grad_y, const float* grad_weight, const float* grad_bias, T* grad_x, const float* var,
                               double eps, const AffinePair& affine, unsigned relu, unsigned rows, const NoisePlace& place) {
    float floor = relu_floor(relu), inverse[2] = {}, mean_dy[2] = {}, mean_u[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned column = 2 * place.at.column + half;
        if (column < place.columns) {
            inverse[half] = (float)(1.0 / sqrt((double)var[column] + eps));
            mean_dy[half] = (float)((double)grad_bias[column] / rows);
            mean_u[half] = (float)((double)grad_weight[column] / rows);
        }
    }
    for_noise(place, [&](u64 i, float m, float s, int half) {
        float d = to_f32(x[i]) - affine.mean[half];
        float dy = noisy_upstream(fmaf(d, affine.gain[half], affine.bias[half]), m, s, to_f32(grad_y[i]), floor);
        grad_x[i] = from_f32<T>(affine.gain[half] * fmaf(-(d * inverse[half]), mean_u[half], dy - mean_dy[half]));
    });
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                   const float* grad_weight, const float* grad_bias, const u64* state, float* grad_x, double eps, float mean, float scale,
                   float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part,
                   unsigned width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width);
    noisy_gradient(x, grad_y, grad_weight, grad_bias, grad_x, var, eps, affine_pair(place, weight, bias, batch_mean, var, eps), relu, rows, place);
}
extern "C" __global__ void __launch_bounds__(256)
noisy_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* batch_mean, const float* var,
                    const float* grad_weight, const float* grad_bias, const u64* state, bf16* grad_x, double eps, float mean, float scale,
                    float spread, unsigned layer, unsigned relu, unsigned rows, unsigned columns, unsigned batch, unsigned rows_per_part,
                    unsigned width) {
    NoisePlace place = noise_place(state, mean, scale, spread, layer, rows, columns, batch, rows_per_part, width);
    noisy_gradient(x, grad_y, grad_weight, grad_bias, grad_x, var, eps, affine_pair(place, weight, bias, batch_mean, var, eps), relu, rows, place);
}
