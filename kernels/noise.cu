// Algorithm 1's noise, drawn where it is used: src/ops/noise, src/ops/norm/batch. A thread stays with a pair of units, whose two samples
// share one draw of Philox. `matrix.width` counts pairs here. Rows of whole vectors are noise_wide.cu's.
#include "noise.cuh"

// What a thread knows of its pair.
struct NoisePlace {
    ColumnPlace at[2];
    NoiseKey key;
    NoiseUnit units[2];
    unsigned pair, batch, pixels;
};
// `windows`: rows of x that each row of the matrix stands for.
__device__ __forceinline__ NoisePlace noise_place(const u64* state, const NoiseOptions& noise, const Matrix& matrix, unsigned batch,
                                                  unsigned windows = 1) {
    NoiseKey key = noise_key(state, noise);
    ColumnPlace pairs = column_place(matrix), first = pairs, second = pairs;
    first.column = 2 * pairs.column;
    second.column = 2 * pairs.column + 1;
    return {{first, second}, key, {noise_unit(key, first.column), noise_unit(key, second.column)}, pairs.column, batch,
            matrix.rows / batch * windows};
}
template <typename Walk> __device__ __forceinline__ NoisePair noise_at(const NoisePlace& place, const Walk& walk, unsigned k) {
    return noise_pair(place.key, place.units, sample_of(walk, k, place.pixels), place.pair);
}

// Calls f(element, shift, scale) for every element of this thread's pair.
template <typename F> __device__ __forceinline__ void for_noise(const NoisePlace& place, F f) {
    const ColumnPlace(&at)[2] = place.at;
    if (!at[0].there()) return;
    SampleWalk walk = sample_walk(at[0].first_row, at[0].step, place.batch);
    for (unsigned row = at[0].first_row; row < at[0].end_row; row += at[0].step, walk.move()) {
        NoisePair drawn = noise_at(place, walk, 0);
#pragma unroll
        for (int half = 0; half < 2; ++half)
            if (at[half].there()) f(at[half].element(row), drawn.shift[half], drawn.scale[half]);
    }
}

// y = s x + m, then the ReLU.
KERNEL_OF_T(256) noise(const T* x, const u64* state, T* y, NoiseOptions noise, unsigned relu, Matrix matrix, unsigned batch) {
    wait_for_predecessor();
    float floor = relu_floor(relu);
    for_noise(noise_place(state, noise, matrix, batch), [&](u64 i, float m, float s) {
        y[i] = from_f32<T>(above(fmaf(to_f32(x[i]), s, m), floor));
    });
}

// dx = s dy where the ReLU let y through.
KERNEL_OF_T(256)
noise_gradient(const T* x, const T* grad_y, const u64* state, T* grad_x, NoiseOptions noise, unsigned relu, Matrix matrix, unsigned batch) {
    wait_for_predecessor();
    float floor = relu_floor(relu);
    for_noise(noise_place(state, noise, matrix, batch), [&](u64 i, float m, float s) {
        grad_x[i] = from_f32<T>(fmaf(to_f32(x[i]), s, m) <= floor ? 0.0f : s * to_f32(grad_y[i]));
    });
}

// The draws themselves: shift ← m, drawn_scale ← s.
KERNEL_OF_T(256) noise_draws(const u64* state, T* shift, T* drawn_scale, NoiseOptions noise, Matrix matrix, unsigned batch) {
    wait_for_predecessor();
    for_noise(noise_place(state, noise, matrix, batch), [&](u64 i, float m, float s) {
        shift[i] = from_f32<T>(m);
        drawn_scale[i] = from_f32<T>(s);
    });
}

// ---- noisy BatchNorm, its statistics being there: y = s (γ ŷ + β) + m, then the ReLU ------------------------------------------------------

// What a thread knows of its pair, and how both units are normalised.
struct NoisyPlace {
    NoisePlace noise;
    Affine affine[2];
    float inverse[2];
};
__device__ __forceinline__ NoisyPlace noisy_place(const float* weight, const float* bias, const float* mean, const float* var, const u64* state,
                                                  double eps, const NoiseOptions& noise, unsigned relu, const Matrix& matrix,
                                                  const Pool& pool) {
    NoisyPlace place = {noise_place(state, noise, matrix, pool.batch, pool.width ? 4 : 1)};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        // Of a unit that is not there, the last one's: nobody uses them.
        unsigned c = min(place.noise.at[half].column, matrix.columns - 1);
        double s = sqrt((double)var[c] + eps);
        place.affine[half] = affine_of(weight[c], bias[c], mean[c], s, relu);
        place.inverse[half] = (float)(1.0 / s);
    }
    return place;
}

// Calls f(window, row, shift, scale, half) for every window of this thread's pair: of each of its rows m_ij and s_ij.
template <unsigned COUNT, typename F> __device__ __forceinline__ void for_noise_windows(const NoisePlace& place, const Pool& pool, F f) {
    const ColumnPlace(&at)[2] = place.at;
    if (!at[0].there()) return;
    auto for_walk = [&](auto walk) {
        for (unsigned row = at[0].first_row; row < at[0].end_row; row += at[0].step, walk.move()) {
            Window<COUNT> window;
            float shift[2][COUNT], scale[2][COUNT];
#pragma unroll
            for (unsigned k = 0; k < COUNT; ++k) {
                window.row[k] = pixel_of(walk, k) * walk.batch + walk.n;
                NoisePair drawn = noise_at(place, walk, k);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    shift[half][k] = drawn.shift[half];
                    scale[half][k] = drawn.scale[half];
                }
            }
#pragma unroll
            for (int half = 0; half < 2; ++half)
                if (at[half].there()) f(window, row, shift[half], scale[half], half);
        }
    };
    if constexpr (COUNT == 1) for_walk(sample_walk(at[0].first_row, at[0].step, place.batch));
    else for_walk(window_walk(pool, at[0].first_row, at[0].step, 0, 0));
}

template <typename T, unsigned COUNT> __device__ __forceinline__ void apply(const T* x, T* y, const NoisyPlace& place, const Pool& pool) {
    auto each = [&](const Window<COUNT>& window, unsigned row, const float (&m)[COUNT], const float (&s)[COUNT], int half) {
        const ColumnPlace& at = place.noise.at[half];
        const Affine& of = place.affine[half];
        float most = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            float v = above(fmaf(of.before_relu(to_f32(x[at.element(window.row[k])])), s[k], m[k]), of.floor);
            most = k == 0 ? v : larger(most, v);
        }
        y[at.element(row)] = from_f32<T>(most);
    };
    for_noise_windows<COUNT>(place.noise, pool, each);
}
// y = s (γ ŷ + β) + m, then the ReLU and the largest of a pool's window. `matrix` is that of y.
KERNEL_OF_T(256)
noisy_apply(const T* x, const float* weight, const float* bias, const float* mean, const float* var, const u64* state, T* y, double eps,
            NoiseOptions noise, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    NoisyPlace place = noisy_place(weight, bias, mean, var, state, eps, noise, relu, matrix, pool);
    if (pool.width) apply<T, 4>(x, y, place, pool);
    else apply<T, 1>(x, y, place, pool);
}

// BatchNorm's upstream gradient d is s dy where the ReLU let y through, and of a pool's window only at its largest: drawn again in both
// passes, so that it is never rounded to T. Calls f(element of x, x − μ, d, half).
template <typename T, unsigned COUNT, typename F>
__device__ __forceinline__ void for_upstream(const T* x, const T* grad_y, const NoisyPlace& place, const Pool& pool, F f) {
    auto each = [&](const Window<COUNT>& window, unsigned row, const float (&m)[COUNT], const float (&s)[COUNT], int half) {
        const ColumnPlace& at = place.noise.at[half];
        const Affine& of = place.affine[half];
        float v[COUNT], before[COUNT], y[COUNT], dy = to_f32(grad_y[at.element(row)]);
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) {
            v[k] = to_f32(x[at.element(window.row[k])]);
            before[k] = fmaf(of.before_relu(v[k]), s[k], m[k]);
            y[k] = above(before[k], of.floor);
        }
        unsigned chosen = COUNT > 1 ? largest_place<T>(y) : 0;
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k)
            f(at.element(window.row[k]), of.centred(v[k]), k == chosen && !(before[k] <= of.floor) ? s[k] * dy : 0.0f, half);
    };
    for_noise_windows<COUNT>(place.noise, pool, each);
}

template <typename T, unsigned COUNT>
__device__ __forceinline__ void gradient_sums(const T* x, const T* grad_y, double* partials, const NoisyPlace& place, const Pool& pool) {
    double sum[2] = {}, sum_u[2] = {};
    for_upstream<T, COUNT>(x, grad_y, place, pool, [&](u64, float centred, float d, int half) {
        sum[half] += d;
        sum_u[half] = fma((double)d, (double)(centred * place.inverse[half]), sum_u[half]);
    });
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        __syncthreads();
        store_partials<Sum>(sum[half], sum_u[half], place.noise.at[half], partials);
    }
}
// Not part of its caller, which needs its registers for what it draws.
__device__ __noinline__ void merge_gradients_apart(double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, PartsOf of) {
    merge_gradients<1>(partials, grad_weight, grad_bias, tickets, of);
}
// Each part's Σd and Σd·ŷ of every column, and of all parts dβ and dγ.
KERNEL_OF_T(256)
noisy_gradient_sums(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var, const u64* state,
                    double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, double eps, NoiseOptions noise, unsigned relu,
                    Matrix matrix, Pool pool) {
    wait_for_predecessor();
    NoisyPlace place = noisy_place(weight, bias, mean, var, state, eps, noise, relu, matrix, pool);
    if (pool.width) gradient_sums<T, 4>(x, grad_y, partials, place, pool);
    else gradient_sums<T, 1>(x, grad_y, partials, place, pool);
    merge_gradients_apart(partials, grad_weight, grad_bias, tickets, block_parts(matrix.columns, 2 * matrix.width));
}

template <typename T, unsigned COUNT>
__device__ __forceinline__ void gradient(const T* x, const T* grad_y, const float* grad_weight, const float* grad_bias, T* grad_x,
                                         unsigned rows, const NoisyPlace& place, const Pool& pool) {
    float mean_d[2] = {}, mean_u[2] = {};
    double samples = (double)rows * COUNT;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const ColumnPlace& at = place.noise.at[half];
        if (!at.there()) continue;
        mean_d[half] = (float)((double)grad_bias[at.column] / samples);
        mean_u[half] = (float)((double)grad_weight[at.column] / samples);
    }
    for_upstream<T, COUNT>(x, grad_y, place, pool, [&](u64 i, float centred, float d, int half) {
        grad_x[i] = from_f32<T>(place.affine[half].gain * fmaf(-(centred * place.inverse[half]), mean_u[half], d - mean_d[half]));
    });
}
// dx = γ/S (d − Σd/m − ŷ Σd·ŷ/m); `matrix` is that of grad_y, m the rows of x.
KERNEL_OF_T(256)
noisy_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
               const float* grad_weight, const float* grad_bias, const u64* state, T* grad_x, double eps, NoiseOptions noise, unsigned relu,
               Matrix matrix, Pool pool) {
    wait_for_predecessor();
    NoisyPlace place = noisy_place(weight, bias, mean, var, state, eps, noise, relu, matrix, pool);
    if (pool.width) gradient<T, 4>(x, grad_y, grad_weight, grad_bias, grad_x, matrix.rows, place, pool);
    else gradient<T, 1>(x, grad_y, grad_weight, grad_bias, grad_x, matrix.rows, place, pool);
}
