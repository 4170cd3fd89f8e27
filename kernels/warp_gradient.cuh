// A weight's gradient by warps in tf32, in the tiles, parts and walks of warpgroup_gradient.cuh: mma takes fragments from what bulk copies brought, rounded.
//
// A warp has 32 channels of x by 32 of dy, under three taps. Of a tile of 128 × 64 the warps have all; of one of 64 × 64 there are two to a place, which have
// half of a stage's rows each, and add what they have at the end.
#pragma once
#include "warp_product.cuh"
#include "warpgroup_gradient.cuh"

#if HOPPER

// Rows of a stage, all of one pixel; a stage has the squares of x, of 32 channels each, and then those of dy.
template <unsigned SIDE> __device__ constexpr unsigned warp_rows() { return SIDE == 128 ? 32 : 64; }

// As fetch_parts, in a cluster.
template <unsigned SIDE>
__device__ __forceinline__ void fetch_parts_for_warps(const TensorMap* x, const TensorMap* grad_y, const Map& map, unsigned per_split, unsigned parts,
                                                      unsigned first, Ring& between, unsigned char* stages) {
    constexpr unsigned EACH = warp_rows<SIDE>(), SQUARE = EACH * 128;
    bool shared = parts_share(map);
    unsigned quarter = shared ? cluster_rank() * (EACH / 4) : 0;
    for (unsigned number = first; number < parts; number += gridDim.x)
        for (Part<SIDE, EACH> part(map, number, per_split); part.left; part.next(map)) {
            Run run(map, part);
            for (unsigned at = run.from; at < run.end; ++at) {
                mbarrier_wait(between.empty + between.stage, between.parity);
                u64* barrier = between.full + between.stage;
                bool with_dy = run.has_dy(at);
                mbarrier_expect(barrier, SIDE / 32 * SQUARE + (with_dy ? NARROW / 32 * SQUARE : 0u));
                unsigned char* to = stages + between.stage * GRADIENT_STAGE;
                int row = (int)((part.h * map.width + at) * map.batch + part.sample);
                int row_x = row + (int)quarter + part.below * (int)(map.width * map.batch);
#pragma unroll
                for (unsigned j = 0; j < SIDE / 32; ++j) {
                    unsigned char* square = to + j * SQUARE + quarter * 128;
                    int c = (int)(part.first_c + 32 * j);
                    if (shared) bulk_copy_to(15, square, x, barrier, c, row_x);
                    else bulk_copy(square, x, barrier, c, row_x);
                }
                if (with_dy)
#pragma unroll
                    for (unsigned j = 0; j < NARROW / 32; ++j)
                        bulk_copy(to + (SIDE / 32 + j) * SQUARE, grad_y, barrier, (int)(part.first_k + 32 * j), row);
                between.next();
            }
        }
}

// Sums of a warp's 32 × 32 under a tap: blocks of 16 × 8.
typedef float WarpSums[2][4][4];

// Adds a stage's products: under the middle tap x and dy of the stage itself, under the left one x of the stage before, under the right one its dy.
template <bool MIDDLE, bool LEFT, bool RIGHT>
__device__ __forceinline__ void add_rows(WarpSums& middle, WarpSums& left, WarpSums& right, Shared here, Shared before, unsigned offset_dy,
                                         const Eights& of_x, const Eights& of_dy) {
#pragma unroll
    for (unsigned step = 0; step < STEPS; ++step) {
        unsigned x[2][4], dy[4][2];
        auto multiply_all = [&](WarpSums& d) {
#pragma unroll
            for (unsigned m = 0; m < 2; ++m)
#pragma unroll
                for (unsigned n = 0; n < 4; ++n) mma_tf32(d[m][n], x[m], dy[n]);
        };
        if (LEFT) {
            of_x.left(x, before, step);
            of_dy.right(dy, here + offset_dy, step);
            multiply_all(left);
        }
        if (MIDDLE || RIGHT) of_x.left(x, here, step);
        if (MIDDLE) {
            if (!LEFT) of_dy.right(dy, here + offset_dy, step);
            multiply_all(middle);
        }
        if (RIGHT) {
            of_dy.right(dy, before + offset_dy, step);
            multiply_all(right);
        }
    }
}

template <unsigned SIDE, typename Stages>
__device__ __forceinline__ void multiply_parts_by_warps(float* partials, const Map& map, unsigned per_split, unsigned parts, unsigned first, Ring& between,
                                                        unsigned char* stages, const Stages& own) {
    constexpr unsigned EACH = warp_rows<SIDE>(), SQUARE = EACH * 128, TALL = SIDE / 32, OFFSET_DY = TALL * SQUARE;
    unsigned at_c = warp_id() % TALL, at_k = warp_id() / TALL % 2, share = warp_id() / (TALL * 2);
    Eights of_x(at_c * SQUARE + share * 32 * 128), of_dy(at_k * SQUARE + share * 32 * 128);
    Shared tiles = shared_place(stages);
    float* other = (float*)(stages + STAGES * GRADIENT_STAGE) + threadIdx.x % 128;
    give_all_back(own);
    for (unsigned number = first; number < parts; number += gridDim.x) {
        Part<SIDE, EACH> part(map, number, per_split);
        WarpSums left = {}, middle = {}, right = {};
        for (; part.left; part.next(map)) {
            Run run(map, part);
            Shared before = tiles;
            unsigned kept = STAGES;
#pragma unroll 1
            for (unsigned at = run.from; at < run.end; ++at) {
                mbarrier_wait(between.full + between.stage, between.parity);
                Shared here = tiles + between.stage * GRADIENT_STAGE;
                bool has_x = at > run.from, dy = run.has_dy(at), had_dy = at > run.first;
                if (dy && has_x && had_dy) add_rows<true, true, true>(middle, left, right, here, before, OFFSET_DY, of_x, of_dy);
                else if (dy && has_x) add_rows<true, true, false>(middle, left, right, here, before, OFFSET_DY, of_x, of_dy);
                else if (dy) add_rows<true, false, false>(middle, left, right, here, before, OFFSET_DY, of_x, of_dy);
                else if (had_dy) add_rows<false, false, true>(middle, left, right, here, before, OFFSET_DY, of_x, of_dy);
                // All lanes have read the stage before.
                __syncwarp();
                if (kept < STAGES) own.give_back(kept);
                kept = between.stage;
                before = here;
                between.next();
            }
            __syncwarp();
            own.give_back(kept);
        }
        if constexpr (SIDE == 64) {
            auto each = [&](auto work) {
                unsigned at = 0;
#pragma unroll
                for (unsigned m = 0; m < 2; ++m)
#pragma unroll
                    for (unsigned n = 0; n < 4; ++n)
#pragma unroll
                        for (unsigned e = 0; e < 4; ++e, at += 3) {
                            work(left[m][n][e], at);
                            work(middle[m][n][e], at + 1);
                            work(right[m][n][e], at + 2);
                        }
            };
            if (share == 1) each([&](float& d, unsigned at) { other[at * 128] = d; });
            named_barrier<1>(MULTIPLIERS);
            if (share == 0) each([&](float& d, unsigned at) { d += other[at * 128]; });
            // It is not written again before it has been read.
            named_barrier<1>(MULTIPLIERS);
            if (share == 1) continue;
        }
        const u64 tap = (u64)map.inner * map.columns;
        float* to = partials + ((u64)part.split * map.taps + part.line * 3) * tap + (u64)(part.first_c + 32 * at_c) * map.columns + part.first_k + 32 * at_k;
        auto store = [&](float* of_tap, const WarpSums& d) {
#pragma unroll
            for (unsigned m = 0; m < 2; ++m)
#pragma unroll
                for (unsigned n = 0; n < 4; ++n)
#pragma unroll
                    for (unsigned e = 0; e < 2; ++e)
                        *(Two*)(of_tap + (u64)Eights::element(2 * m + e, lane_id() / 4) * map.columns + Eights::element(n, lane_id() % 4 * 2)) =
                            Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
        };
        if (map.taps == 9) {
            store(to, left);
            store(to + 2 * tap, right);
            to += tap;
        }
        store(to, middle);
    }
}

template <unsigned SIDE>
__device__ __forceinline__ void weight_gradient_by_warps(const TensorMap* x, const TensorMap* grad_y, float* partials, float* out, unsigned* tickets,
                                                         const Map& map, unsigned per_split, unsigned splits) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    bool shared = parts_share(map);
    Ring between = ring(full, empty, shared ? CLUSTER : 1);
    cluster_sync();
    unsigned parts = parts_of<SIDE>(map, splits);
    if (multiplies()) {
        SharedStages own(shared ? 15u : 1u << cluster_rank(), between.empty);
        multiply_parts_by_warps<SIDE>(partials, map, per_split, parts, blockIdx.x, between, stages, own);
    } else if (lane_id() == 0) fetch_parts_for_warps<SIDE>(x, grad_y, map, per_split, parts, blockIdx.x, between, stages);
    cluster_sync();
    add_splits<SIDE>(partials, out, tickets, map, splits, blockIdx.x);
}

#endif
