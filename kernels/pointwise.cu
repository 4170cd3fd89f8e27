// A linear layer's bias, and 2×2 max-pooling, in which a NaN wins: src/ops/linear, src/ops/max_pool2d.
#include "prelude.cuh"

// y ← y + bias, which the columns of a dense product have in common.
KERNEL_OF_T(256) add_bias(const float* bias, T* y, unsigned columns, unsigned len) {
    wait_for_predecessor();
    for (u64 i = global_thread(); i < len; i += global_threads()) y[i] = from_f32<T>(to_f32(y[i]) + bias[i % columns]);
}

// The window of output element i: its four inputs in row order, and their places.
struct PoolWindow {
    u64 at[4];
};
// `pixel` = N·C elements lie at each place of the map; `width` is the input's. i counts elements of the output.
__device__ __forceinline__ PoolWindow pool_window(u64 i, unsigned width, unsigned pixel) {
    unsigned half = width / 2;
    u64 place = i / pixel, inner = i % pixel;
    u64 corner = (place / half * 2 * width + place % half * 2) * pixel + inner;
    return {{corner, corner + pixel, corner + (u64)width * pixel, corner + (u64)(width + 1) * pixel}};
}

// The place of the first largest of the window.
template <typename T> __device__ __forceinline__ unsigned first_largest(const T* x, const PoolWindow& window, float& best) {
    best = to_f32(x[window.at[0]]);
    unsigned place = 0;
#pragma unroll
    for (unsigned k = 1; k < 4; ++k) {
        float v = to_f32(x[window.at[k]]);
        if (v > best || v != v) {
            best = v;
            place = k;
        }
    }
    return place;
}

// y = the largest of each 2×2 window of x.
KERNEL_OF_T(256) max_pool(const T* x, T* y, unsigned width, unsigned pixel, unsigned len) {
    wait_for_predecessor();
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float best;
        first_largest(x, pool_window(i, width, pixel), best);
        y[i] = from_f32<T>(best);
    }
}

// Each window's four gradients: dy at its first largest, 0 elsewhere. A last odd row or column has no window: its elements get 0.
KERNEL_OF_T(256)
max_pool_gradient(const T* x, const T* grad_y, T* grad_x, unsigned height, unsigned width, unsigned pixel) {
    wait_for_predecessor();
    u64 half = width / 2, windows = height / 2 * half * pixel;
    for (u64 i = global_thread(); i < windows; i += global_threads()) {
        PoolWindow window = pool_window(i, width, pixel);
        float best;
        unsigned place = first_largest(x, window, best);
        T zero = from_f32<T>(0.0f), dy = grad_y[i];
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) grad_x[window.at[k]] = k == place ? dy : zero;
    }
    if (width % 2) {
        u64 edge = (u64)(height - height % 2) * pixel;
        for (u64 i = global_thread(); i < edge; i += global_threads())
            grad_x[(i / pixel * width + width - 1) * pixel + i % pixel] = from_f32<T>(0.0f);
    }
    if (height % 2) {
        u64 row = (u64)width * pixel;
        for (u64 i = global_thread(); i < row; i += global_threads()) grad_x[(height - 1) * row + i] = from_f32<T>(0.0f);
    }
}
// ẏ of a 2×2 max-pool: ẋ at the first largest of each window.
extern "C" __global__ void __launch_bounds__(256)
max_pool_tangent(const float* x, const float* x_tangent, float* y_tangent, unsigned width, unsigned pixel, unsigned len) {
    wait_for_predecessor();
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        PoolWindow window = pool_window(i, width, pixel);
        float best;
        unsigned place = first_largest(x, window, best);
        // Chosen one by one: an array at a computed place is a thread's own memory.
        y_tangent[i] = x_tangent[place < 2 ? (place ? window.at[1] : window.at[0]) : place == 2 ? window.at[2] : window.at[3]];
    }
}
