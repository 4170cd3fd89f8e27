// What the products and the weight gradients of warpgroups share: the ring of stages between the warp that asks for operands and those that multiply them,
// and the multiplication of stages.
#pragma once
#include "hopper.cuh"

#if HOPPER

constexpr unsigned ROWS = 128, DEPTH = 64, STAGES = 4, STEPS = 4, MULTIPLIERS = 256;
// A tile of 64 of one dimension by 64 of the other: what a copy of weights brings.
constexpr unsigned SQUARE_BYTES = 8192, A_BYTES = 2 * SQUARE_BYTES;
struct __align__(8) Two {
    float v[2];
};
template <unsigned COLUMNS> __device__ constexpr unsigned stage_bytes() { return A_BYTES + COLUMNS * 128; }

struct Ring {
    u64 *full, *empty;
    unsigned stage, parity;
    __device__ __forceinline__ void next() {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};
// Arrivals: one of the thread that asks for copies; one of every warp that multiplies.
__device__ __forceinline__ Ring ring(u64* full, u64* empty) {
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < STAGES; ++i) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, MULTIPLIERS / 32);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    return {full, empty, 0, 0};
}

// The first of the things after `before` others that a block has, where it has every gridDim.x-th of all of them.
__device__ __forceinline__ unsigned first_after(unsigned before) {
    unsigned past = before % gridDim.x;
    return blockIdx.x >= past ? blockIdx.x - past : blockIdx.x + gridDim.x - past;
}

// Sets d to the sum of `total` stages, 64 rows of this warpgroup. A stage is given back when the products of the one after it are under way.
template <unsigned STAGE_BYTES, bool A_ACROSS, bool B_ACROSS, unsigned COUNT>
__device__ __forceinline__ void multiply_stages(float (&d)[COUNT], Ring& ring, u64 a, u64 b, unsigned total) {
    u64* last = nullptr;
#pragma unroll
    for (unsigned i = 0; i < COUNT; ++i) d[i] = 0.0f;
    for (unsigned i = 0; i < total; ++i) {
        mbarrier_wait(ring.full + ring.stage, ring.parity);
        unsigned from = ring.stage * (STAGE_BYTES >> 4);
        wgmma_fence();
#pragma unroll
        for (unsigned step = 0; step < STEPS; ++step)
            wgmma<A_ACROSS, B_ACROSS>(d, moved(a, from + step * next_step<A_ACROSS>()), moved(b, from + step * next_step<B_ACROSS>()), 1);
        wgmma_commit();
        wgmma_wait<1>();
        if (last && lane_id() == 0) mbarrier_arrive(last);
        last = ring.empty + ring.stage;
        ring.next();
    }
    wgmma_wait<0>();
    if (last && lane_id() == 0) mbarrier_arrive(last);
}

#endif
