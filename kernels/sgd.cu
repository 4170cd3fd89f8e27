// Stochastic gradient descent on the flat parameter vector; the learning rate is the step state's.
#include "prelude.cuh"

// θ ← θ − lr (g + λ θ)
extern "C" __global__ void __launch_bounds__(256)
sgd_plain(float* theta, const float* grad, const u64* state, float decay, unsigned len) {
    if (state_halted(state)) return;
    float rate = (float)state_rate(state);
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float t = theta[i];
        theta[i] = fmaf(-rate, fmaf(t, decay, grad[i]), t);
    }
}

// v ← μ v + g + λ θ, then θ ← θ − lr v
extern "C" __global__ void __launch_bounds__(256)
sgd_momentum(float* theta, const float* grad, float* velocity, const u64* state, float momentum, float decay, unsigned len) {
    if (state_halted(state)) return;
    float rate = (float)state_rate(state);
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float t = theta[i];
        float v = fmaf(velocity[i], momentum, fmaf(t, decay, grad[i]));
        velocity[i] = v;
        theta[i] = fmaf(-rate, v, t);
    }
}

// The next step, unless this one has halted.
extern "C" __global__ void __launch_bounds__(32) advance(u64* state) {
    if (threadIdx.x == 0 && !state_halted(state)) state[1] += 1;
}
