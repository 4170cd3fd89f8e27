// Stochastic gradient descent of single parameters: for the launch that updates all of them (sgd.cu), and for those that update a weight where they make
// its gradient.
#pragma once
#include "prelude.cuh"

// Parameters that are updated, at the same place in each vector: θ, its velocity where there is momentum, and θ rounded to bf16 where there is a place for
// it, the operands of the next pass's products.
struct Parameters {
    float *theta, *velocity_or_null;
    bf16* operands_or_null;
    __device__ __forceinline__ bool fours() const { return in_fours(theta) && in_fours(velocity_or_null) && in_fours(operands_or_null); }
};

// θ ← θ − lr (g + λ θ); with momentum v ← μ v + g + λ θ, then θ ← θ − lr v. Where the step has halted θ and v stay; θ is rounded all the same: a probe may
// have left another one there.
struct Descent {
    float rate, momentum, decay;
    bool halted;
    __device__ __forceinline__ Descent(const u64* state, float momentum, float decay)
        : rate((float)state_rate(state)), momentum(momentum), decay(decay), halted(state_halted(state)) {}
    __device__ __forceinline__ void move(float& t, float g) const {
        if (!halted) t = fmaf(-rate, fmaf(t, decay, g), t);
    }
    __device__ __forceinline__ void move(float& t, float& v, float g) const {
        if (halted) return;
        v = fmaf(v, momentum, fmaf(t, decay, g));
        t = fmaf(-rate, v, t);
    }
    // Updates the four parameters from `at` on by their gradient.
    __device__ __forceinline__ void update(const Parameters& of, u64 at, const Four& g) const {
        Four t = load4(of.theta + at);
        if (of.velocity_or_null) {
            Four v = load4(of.velocity_or_null + at);
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) move(t.v[k], v.v[k], g.v[k]);
            store4(of.velocity_or_null + at, v);
        } else {
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) move(t.v[k], g.v[k]);
        }
        store4(of.theta + at, t);
        if (of.operands_or_null) store4(of.operands_or_null + at, t);
    }
    // Or one of them.
    __device__ __forceinline__ void update(const Parameters& of, u64 at, float g) const {
        float t = of.theta[at];
        if (of.velocity_or_null) move(t, of.velocity_or_null[at], g);
        else move(t, g);
        of.theta[at] = t;
        if (of.operands_or_null) of.operands_or_null[at] = from_f32<bf16>(t);
    }
};
