// ELU and SELU: src/ops/elu. `slope` is λ α. At 0 the first derivative is that from below, the second 0; a NaN stays one.
#include "prelude.cuh"

__device__ __forceinline__ float elu_value(float x, float scale, float slope) { return x > 0.0f ? scale * x : slope * expm1f(x); }
__device__ __forceinline__ float elu_slope(float x, float scale, float slope) { return x > 0.0f ? scale : slope * expf(x); }

template <typename T> __device__ void elu(const T* x, T* y, float scale, float slope, unsigned len) {
    for (u64 i = global_thread(); i < len; i += global_threads()) y[i] = from_f32<T>(elu_value(to_f32(x[i]), scale, slope));
}
extern "C" __global__ void __launch_bounds__(256) elu_f32(const float* x, float* y, float scale, float slope, unsigned len) {
    elu(x, y, scale, slope, len);
}
extern "C" __global__ void __launch_bounds__(256) elu_bf16(const bf16* x, bf16* y, float scale, float slope, unsigned len) {
    elu(x, y, scale, slope, len);
}

template <typename T> __device__ void elu_gradient(const T* x, const T* grad_y, T* grad_x, float scale, float slope, unsigned len) {
    for (u64 i = global_thread(); i < len; i += global_threads())
        grad_x[i] = from_f32<T>(elu_slope(to_f32(x[i]), scale, slope) * to_f32(grad_y[i]));
}
extern "C" __global__ void __launch_bounds__(256)
elu_gradient_f32(const float* x, const float* grad_y, float* grad_x, float scale, float slope, unsigned len) {
    elu_gradient(x, grad_y, grad_x, scale, slope, len);
}
extern "C" __global__ void __launch_bounds__(256)
elu_gradient_bf16(const bf16* x, const bf16* grad_y, bf16* grad_x, float scale, float slope, unsigned len) {
    elu_gradient(x, grad_y, grad_x, scale, slope, len);
}

// How the gradient moves: y'' ẋ dy + y' ḋy, where y'' is y' below 0, and 0 at it and above; a NaN stays one.
extern "C" __global__ void __launch_bounds__(256)
elu_gradient_tangent(const float* x, const float* x_tangent, const float* grad_y, const float* grad_y_tangent, float* grad_x_tangent,
                     float scale, float slope, unsigned len) {
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float first = elu_slope(x[i], scale, slope), second = x[i] >= 0.0f ? 0.0f : first;
        grad_x_tangent[i] = fmaf(first, grad_y_tangent[i], second * x_tangent[i] * grad_y[i]);
    }
}
