// Activations: src/ops/activation. Each is a struct of f, f′ and f″. The kernels' `kind` is an index into the rows of rows.rs, which are in
// the order of with_activation. Where f′ is 0, no gradient passes; a NaN in x stays NaN.
#include "prelude.cuh"

struct Relu {
    static __device__ __forceinline__ float value(float x) { return above(x, 0.0f); }
    static __device__ __forceinline__ float slope(float x) { return x <= 0.0f ? 0.0f : 1.0f; }
    static __device__ __forceinline__ float curve(float) { return 0.0f; }
};

// λ x above 0, λ α (eˣ − 1) elsewhere. At 0 the first derivative is that from below, the second 0.
__device__ __forceinline__ float exponential(float x, float scale, float slope) { return x > 0.0f ? scale * x : slope * expm1f(x); }
__device__ __forceinline__ float exponential_slope(float x, float scale, float slope) { return x > 0.0f ? scale : slope * expf(x); }
__device__ __forceinline__ float exponential_curve(float x, float slope) { return x >= 0.0f ? 0.0f : slope * expf(x); }

struct Elu {
    static __device__ __forceinline__ float value(float x) { return exponential(x, 1.0f, 1.0f); }
    static __device__ __forceinline__ float slope(float x) { return exponential_slope(x, 1.0f, 1.0f); }
    static __device__ __forceinline__ float curve(float x) { return exponential_curve(x, 1.0f); }
};

// λ, and λ α.
#define SELU_SCALE 1.0507009873554805f
#define SELU_SLOPE 1.7580993408473766f
struct Selu {
    static __device__ __forceinline__ float value(float x) { return exponential(x, SELU_SCALE, SELU_SLOPE); }
    static __device__ __forceinline__ float slope(float x) { return exponential_slope(x, SELU_SCALE, SELU_SLOPE); }
    static __device__ __forceinline__ float curve(float x) { return exponential_curve(x, SELU_SLOPE); }
};

// x Φ(x), Φ the normal distribution's.
struct Gelu {
    static __device__ __forceinline__ float below(float x) { return 0.5f * erfcf(x * -0.70710678f); }
    static __device__ __forceinline__ float density(float x) { return 0.3989422804f * expf(-0.5f * x * x); }
    static __device__ __forceinline__ float value(float x) { return x * below(x); }
    static __device__ __forceinline__ float slope(float x) { return fmaf(x, density(x), below(x)); }
    static __device__ __forceinline__ float curve(float x) { return fmaf(-x, x * density(x), 2.0f * density(x)); }
};

// x σ(x), σ the logistic function.
struct Silu {
    static __device__ __forceinline__ float logistic(float x) {
        float small = expf(-fabsf(x));
        return (x < 0.0f ? small : 1.0f) / (1.0f + small);
    }
    static __device__ __forceinline__ float value(float x) { return x * logistic(x); }
    static __device__ __forceinline__ float slope(float x) { return logistic(x) * fmaf(x, logistic(-x), 1.0f); }
    static __device__ __forceinline__ float curve(float x) { return logistic(x) * logistic(-x) * fmaf(x, logistic(-x) - logistic(x), 2.0f); }
};

// Calls pass(f) for the activation of that number.
template <typename Pass> __device__ __forceinline__ void with_activation(unsigned kind, Pass pass) {
    switch (kind) {
        case 0: return pass(Relu{});
        case 1: return pass(Elu{});
        case 2: return pass(Selu{});
        case 3: return pass(Gelu{});
        case 4: return pass(Silu{});
    }
}

// slope · dy; nothing passes where the slope is 0.
__device__ __forceinline__ float times(float slope, float dy) { return slope == 0.0f ? 0.0f : slope * dy; }

// y = f(x)
KERNEL_OF_T(256) activation(const T* x, T* y, unsigned kind, unsigned len) {
    wait_for_predecessor();
    with_activation(kind, [&](auto f) {
        for (u64 i = global_thread(); i < len; i += global_threads()) y[i] = from_f32<T>(f.value(to_f32(x[i])));
    });
}

// dx = f′(x) dy
KERNEL_OF_T(256) activation_gradient(const T* x, const T* grad_y, T* grad_x, unsigned kind, unsigned len) {
    wait_for_predecessor();
    with_activation(kind, [&](auto f) {
        for (u64 i = global_thread(); i < len; i += global_threads())
            grad_x[i] = from_f32<T>(times(f.slope(to_f32(x[i])), to_f32(grad_y[i])));
    });
}

// How the gradient moves: f″(x) ẋ dy + f′(x) ḋy
extern "C" __global__ void __launch_bounds__(256)
activation_gradient_tangent(const float* x, const float* x_tangent, const float* grad_y, const float* grad_y_tangent, float* grad_x_tangent,
                            unsigned kind, unsigned len) {
    wait_for_predecessor();
    with_activation(kind, [&](auto f) {
        for (u64 i = global_thread(); i < len; i += global_threads()) {
            float slope = f.slope(x[i]), curve = f.curve(x[i]), dyt = grad_y_tangent[i];
            grad_x_tangent[i] = curve == 0.0f ? times(slope, dyt) : fmaf(slope, dyt, curve * x_tangent[i] * grad_y[i]);
        }
    });
}
