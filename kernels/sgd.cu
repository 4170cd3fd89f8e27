// Stochastic gradient descent on the flat parameter vector. The learning rate comes from the step state.
#include "prelude.cuh"

// θ ← θ − lr (g + λ θ), and θ rounded to bf16 where there is a place for it: the operands of the next pass's products. Where the step has
// halted θ stays, and is rounded all the same: a probe may have left another one there.
extern "C" __global__ void __launch_bounds__(256)
sgd_plain(float* theta, const float* grad, bf16* operands_or_null, const u64* state, float decay, unsigned len) {
    bool halted = state_halted(state);
    float rate = (float)state_rate(state);
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float t = theta[i];
        if (!halted) theta[i] = t = fmaf(-rate, fmaf(t, decay, grad[i]), t);
        if (operands_or_null) operands_or_null[i] = from_f32<bf16>(t);
    }
}

// v ← μ v + g + λ θ, then θ ← θ − lr v, and rounded as by sgd_plain; where the step has halted v stays too.
extern "C" __global__ void __launch_bounds__(256)
sgd_momentum(float* theta, const float* grad, float* velocity, bf16* operands_or_null, const u64* state, float momentum, float decay,
             unsigned len) {
    bool halted = state_halted(state);
    float rate = (float)state_rate(state);
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float t = theta[i];
        if (!halted) {
            float v = fmaf(velocity[i], momentum, fmaf(t, decay, grad[i]));
            velocity[i] = v;
            theta[i] = t = fmaf(-rate, v, t);
        }
        if (operands_or_null) operands_or_null[i] = from_f32<bf16>(t);
    }
}

// The next step, unless this one has halted.
extern "C" __global__ void __launch_bounds__(32) advance(u64* state) {
    if (threadIdx.x == 0 && !state_halted(state)) state[1] += 1;
}
