// What the products and the weight gradients of warpgroups share: the ring of stages between the warp that asks for operands and those that multiply them,
// and the multiplication of stages.
#pragma once
#include "along.cuh"
#include "hopper.cuh"

#if HOPPER

constexpr unsigned ROWS = 128, DEPTH = 64, STAGES = 4, MULTIPLIERS = 256;
// A tile of 64 of one dimension by 64 of the other: what a copy of weights brings.
constexpr unsigned SQUARE_BYTES = 8192, A_BYTES = 2 * SQUARE_BYTES;
template <unsigned COLUMNS> __device__ constexpr unsigned stage_bytes() { return A_BYTES + COLUMNS * 128; }

// Whether this warp multiplies. The compiler sees that a warp's lanes agree, so that addresses of stages are one for all of them.
__device__ __forceinline__ bool multiplies() { return __shfl_sync(0xffffffffu, threadIdx.x / 32, 0) < MULTIPLIERS / 32; }

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
// Arrivals: one of the thread that asks for copies; one of every warp that multiplies what this block copies, which may be `blocks` blocks' warps. Whoever
// multiplies gives all stages back at first: they are free then. A barrier of the block, or of the cluster, follows.
__device__ __forceinline__ Ring ring(u64* full, u64* empty, unsigned blocks = 1) {
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < STAGES; ++i) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, blocks * (MULTIPLIERS / 32));
        }
        fence_mbarrier_init();
    }
    return {full, empty, 0, 0};
}

// The first of the things after `before` others that number `own` of `all` has, where it has every all-th of them.
__device__ __forceinline__ unsigned first_after(unsigned before, unsigned own, unsigned all) {
    unsigned past = before % all;
    return own >= past ? own - past : own + all - past;
}

// How a warp says that it needs a stage no more: to its own block, of stages that no other block copies.
struct OwnStages {
    u64* empty;
    __device__ __forceinline__ void give_back(unsigned stage) const {
        if (lane_id() == 0) mbarrier_arrive(empty + stage);
    }
};
// The same to those blocks of the cluster that are bits of `blocks`, which copy to this one: a lane for each.
struct SharedStages {
    bool says;
    unsigned empty;
    __device__ __forceinline__ SharedStages(unsigned blocks, u64* own) : says(blocks >> lane_id() & 1u), empty(mbarrier_of(own, says ? lane_id() : 0)) {}
    __device__ __forceinline__ void give_back(unsigned stage) const {
        if (says) mbarrier_arrive_at(empty + 8 * stage);
    }
};
template <typename Stages> __device__ __forceinline__ void give_all_back(const Stages& stages) {
#pragma unroll
    for (unsigned i = 0; i < STAGES; ++i) stages.give_back(i);
}

// Adds `total` stages to d, 64 rows of this warpgroup. A stage is given back when the products of the one after it are under way: `last` is one that is
// not yet, or none (STAGES).
template <unsigned STRIDE, bool A_ACROSS, bool B_ACROSS, unsigned COUNT, typename Stages>
__device__ __forceinline__ void add_stages(float (&d)[COUNT], Ring& ring, u64 a, u64 b, unsigned total, unsigned& last, const Stages& stages) {
    for (unsigned i = 0; i < total; ++i) {
        mbarrier_wait(ring.full + ring.stage, ring.parity);
        unsigned from = ring.stage * (STRIDE >> 4);
        wgmma_fence();
#pragma unroll
        for (unsigned step = 0; step < STEPS; ++step)
            wgmma<A_ACROSS, B_ACROSS>(d, moved(a, from + step * next_step<A_ACROSS>()), moved(b, from + step * next_step<B_ACROSS>()), 1);
        wgmma_commit();
        wgmma_wait<1>();
        if (last < STAGES) stages.give_back(last);
        last = ring.stage;
        ring.next();
    }
}
// After it d may be used, and no stage is kept.
template <typename Stages> __device__ __forceinline__ void end_stages(unsigned& last, const Stages& stages) {
    wgmma_wait<0>();
    if (last < STAGES) stages.give_back(last);
    last = STAGES;
}

#endif
