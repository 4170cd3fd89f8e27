// Stochastic gradient descent on the flat parameter vector. The learning rate comes from the step state.
#include "prelude.cuh"

// θ ← θ − lr (g + λ θ), and θ rounded to bf16 where there is a place for it: the operands of the next pass's products. Where the step has
// halted θ stays, and is rounded all the same: a probe may have left another one there.
extern "C" __global__ void __launch_bounds__(256)
sgd_plain(float* theta, const float* grad, bf16* operands_or_null, const u64* state, float decay, unsigned len) {
    wait_for_predecessor();
    bool halted = state_halted(state), fours = in_fours(theta) && in_fours(grad) && in_fours(operands_or_null);
    float rate = (float)state_rate(state);
    auto moved = [&](float t, float g) { return halted ? t : fmaf(-rate, fmaf(t, decay, g), t); };
    for_elements(
        len, fours,
        [&](u64 i) {
            Four t = load4(theta + i), g = load4(grad + i);
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) t.v[k] = moved(t.v[k], g.v[k]);
            store4(theta + i, t);
            if (operands_or_null) store4(operands_or_null + i, t);
        },
        [&](u64 i) {
            float t = theta[i] = moved(theta[i], grad[i]);
            if (operands_or_null) operands_or_null[i] = from_f32<bf16>(t);
        });
}

// v ← μ v + g + λ θ, then θ ← θ − lr v, and rounded as by sgd_plain; where the step has halted v stays too.
extern "C" __global__ void __launch_bounds__(256)
sgd_momentum(float* theta, const float* grad, float* velocity, bf16* operands_or_null, const u64* state, float momentum, float decay,
             unsigned len) {
    wait_for_predecessor();
    bool halted = state_halted(state);
    bool fours = in_fours(theta) && in_fours(grad) && in_fours(velocity) && in_fours(operands_or_null);
    float rate = (float)state_rate(state);
    auto move = [&](float& t, float& v, float g) {
        if (halted) return;
        v = fmaf(v, momentum, fmaf(t, decay, g));
        t = fmaf(-rate, v, t);
    };
    for_elements(
        len, fours,
        [&](u64 i) {
            Four t = load4(theta + i), v = load4(velocity + i), g = load4(grad + i);
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) move(t.v[k], v.v[k], g.v[k]);
            store4(velocity + i, v);
            store4(theta + i, t);
            if (operands_or_null) store4(operands_or_null + i, t);
        },
        [&](u64 i) {
            move(theta[i], velocity[i], grad[i]);
            if (operands_or_null) operands_or_null[i] = from_f32<bf16>(theta[i]);
        });
}

// The next step, unless this one has halted.
extern "C" __global__ void __launch_bounds__(32) advance(u64* state) {
    wait_for_predecessor();
    if (threadIdx.x == 0 && !state_halted(state)) state[1] += 1;
}
