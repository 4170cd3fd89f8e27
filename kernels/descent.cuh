// Stochastic gradient descent of single parameters: for the launch that updates all of them (sgd.cu), and for those that update a weight where they make
// its gradient.
#pragma once
#include "prelude.cuh"

// μ and λ.
BY_VALUE Descending { float momentum, decay; };

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
    __device__ __forceinline__ Descent(const u64* state, const Descending& by)
        : rate((float)state_rate(state)), momentum(by.momentum), decay(by.decay), halted(state_halted(state)) {}
    __device__ __forceinline__ void move(float& t, float g) const {
        if (!halted) t = fmaf(-rate, fmaf(t, decay, g), t);
    }
    __device__ __forceinline__ void move(float& t, float& v, float g) const {
        if (halted) return;
        v = fmaf(v, momentum, fmaf(t, decay, g));
        t = fmaf(-rate, v, t);
    }
    // Updates the four parameters from each place of `at` on that is `there` by their gradients; all of them are under way at once. MOMENTUM: there is a velocity.
    template <bool MOMENTUM, unsigned COUNT>
    __device__ __forceinline__ void update(const Parameters& of, const u64 (&at)[COUNT], const Four (&g)[COUNT], const bool (&there)[COUNT]) const {
        Four t[COUNT], v[COUNT];
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) {
            if (!there[i]) continue;
            t[i] = load4(of.theta + at[i]);
            if (MOMENTUM) v[i] = load4(of.velocity_or_null + at[i]);
        }
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) {
            if (!there[i]) continue;
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) {
                if (MOMENTUM) move(t[i].v[k], v[i].v[k], g[i].v[k]);
                else move(t[i].v[k], g[i].v[k]);
            }
            if (MOMENTUM) store4(of.velocity_or_null + at[i], v[i]);
            store4(of.theta + at[i], t[i]);
            if (of.operands_or_null) store4(of.operands_or_null + at[i], t[i]);
        }
    }
    // Those from one place on.
    template <bool MOMENTUM> __device__ __forceinline__ void update(const Parameters& of, u64 at, const Four& g) const {
        update<MOMENTUM, 1>(of, {at}, {g}, {true});
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
