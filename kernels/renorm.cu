// Batch renormalisation's corrections, one thread per channel: src/ops/norm/renorm.
#include "prelude.cuh"

// Holds v between two bounds. A NaN passes: a diverged run must show it.
__device__ __forceinline__ double clip(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

extern "C" __global__ void __launch_bounds__(256)
renorm_correct(const float* mean, const float* var, const float* running_mean, const float* running_var, const float* weight,
               const float* bias, float* ratio, float* shift, float* new_weight, float* new_bias, double eps, double r_max, double d_max,
               unsigned columns) {
    wait_for_predecessor();
    // One at a time: several would keep more registers across calls of the division than some architectures leave it.
#pragma unroll 1
    for (u64 c = global_thread(); c < columns; c += global_threads()) {
        double s = sqrt((double)var[c] + eps), running = sqrt((double)running_var[c] + eps);
        float r = (float)clip(s / running, 1.0 / r_max, r_max);
        float d = (float)clip(((double)mean[c] - (double)running_mean[c]) / running, -d_max, d_max);
        ratio[c] = r;
        shift[c] = d;
        new_weight[c] = (float)((double)weight[c] * (double)r);
        new_bias[c] = (float)fma((double)weight[c], (double)d, (double)bias[c]);
    }
}

// γ̇ r, and β̇ + γ̇ d.
extern "C" __global__ void __launch_bounds__(256)
renorm_tangent(const float* ratio, const float* shift, const float* weight_or_null, const float* bias_or_null,
               float* weight_tangent, float* bias_tangent, unsigned columns) {
    wait_for_predecessor();
    for (u64 c = global_thread(); c < columns; c += global_threads()) {
        double w = weight_or_null ? (double)weight_or_null[c] : 0.0, b = bias_or_null ? (double)bias_or_null[c] : 0.0;
        weight_tangent[c] = (float)(w * (double)ratio[c]);
        bias_tangent[c] = (float)fma(w, (double)shift[c], b);
    }
}

// dγ = r dγ' + d dβ
extern "C" __global__ void __launch_bounds__(256)
renorm_gradient(const float* ratio, const float* shift, const float* raw, const float* grad_bias, float* grad_weight, unsigned columns) {
    wait_for_predecessor();
    for (u64 c = global_thread(); c < columns; c += global_threads())
        grad_weight[c] = (float)fma((double)ratio[c], (double)raw[c], (double)shift[c] * (double)grad_bias[c]);
}
