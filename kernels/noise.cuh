// What noise.cu and noise_wide.cu share: Algorithm 1's draws at a unit and at a sample, and the walk from sample to sample.
#pragma once
#include "random.cuh"
#include "wide.cuh"

// Algorithm 1's noise at a `layer`, which is part of the draws' key: `mean` n_μ, `scale` n_σ, `spread` r_μ = r_σ.
BY_VALUE NoiseOptions { float mean, scale, spread; unsigned layer; };

struct NoiseKey {
    u64 seed;
    unsigned step;
    NoiseOptions noise;
};
__device__ __forceinline__ NoiseKey noise_key(const u64* state, const NoiseOptions& noise) {
    return {state_seed(state), (unsigned)state_step(state), noise};
}
// μ_j − r_μ and σ_j of a unit.
struct NoiseUnit {
    float low, sigma;
};
__device__ __forceinline__ NoiseUnit noise_unit(const NoiseKey& key, unsigned unit) {
    const NoiseOptions& noise = key.noise;
    Words words = draw(key.seed, NOISE_UNIT, noise.layer, key.step, unit, 0);
    return {uniform_in(words.w[0], -noise.mean, 2.0f * noise.mean) - noise.spread, uniform_in(words.w[1], 1.0f, noise.scale - 1.0f)};
}
// m_ij and s_ij of both units at a sample.
struct NoisePair {
    float shift[2], scale[2];
};
__device__ __forceinline__ NoisePair noise_pair(const NoiseKey& key, const NoiseUnit (&units)[2], unsigned sample, unsigned pair) {
    Words words = draw(key.seed, NOISE_SAMPLE, key.noise.layer, key.step, sample, pair);
    NoisePair drawn;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        drawn.shift[half] = uniform_in(words.w[2 * half], 0.0f, 2.0f * key.noise.spread) + units[half].low;
        drawn.scale[half] = fmaf(normal(words.w[2 * half + 1]), key.noise.spread, units[half].sigma);
    }
    return drawn;
}

// Where a thread stands that goes from row to row of a matrix whose rows lie as (h·W + w)·N + n: it divides only at the beginning. Through a 2×2
// max-pool it goes as a WindowWalk.
struct SampleWalk {
    unsigned n, pixel, next_n, next_pixel, batch;
    __device__ __forceinline__ void move() {
        n += next_n;
        pixel += next_pixel;
        if (n >= batch) {
            n -= batch;
            ++pixel;
        }
    }
};
__device__ __forceinline__ SampleWalk sample_walk(unsigned row, unsigned step, unsigned batch) {
    return {row % batch, row / batch, step % batch, step / batch, batch};
}
// The pixel of x at which a walk stands, of a window the k-th of its four.
__device__ __forceinline__ unsigned pixel_of(const SampleWalk& walk, unsigned) { return walk.pixel; }
__device__ __forceinline__ unsigned pixel_of(const WindowWalk& walk, unsigned k) {
    return (2 * walk.y + (k >> 1)) * walk.map_width + 2 * walk.x + (k & 1);
}
// The number of the sample there, of x's `pixels`: it does not depend on the batch size.
template <typename Walk> __device__ __forceinline__ unsigned sample_of(const Walk& walk, unsigned k, unsigned pixels) {
    return walk.n * pixels + pixel_of(walk, k);
}
