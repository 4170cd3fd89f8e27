// A whole tile of a weight's gradient on tensor cores: one split of its rows, and the sum of all splits by whichever block comes last.
#pragma once
#include "splits.cuh"
#include "taps.cuh"
#include "tiles.cuh"

// Which tile, under which tap, and which of how many splits of its rows a block has.
struct Part {
    unsigned tile, tap, split, splits;
};
__device__ __forceinline__ Part part_in_grid() { return {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.z}; }

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], as weight_gradient_mma, in whole tiles of SIDE × SIDE: q counts the rows of
// the rectangle of pixels that have the tap on the map, of which one stage has one pixel. Warps have 64 × 64 each; where that is the whole tile, they
// share the steps of a stage.
template <typename T, unsigned SIDE>
__device__ __forceinline__ void weight_gradient(const T* x, const T* grad_y, float* partials, float* all, unsigned* tickets, const Map& map,
                                                const Part& part, unsigned per_split) {
    constexpr unsigned DEPTH = depth<T>() * 64 / SIDE * 2, TILE = DEPTH * SIDE * sizeof(T), STAGE = 2 * TILE;
    constexpr unsigned ALL_STEPS = STEPS * 64 / SIDE * 2, WARP_STEPS = SIDE == 128 ? ALL_STEPS : ALL_STEPS / 4;
    DYNAMIC_SHARED(bytes);
    unsigned across = map.columns / SIDE, t = threadIdx.x;
    unsigned first_c = part.tile / across * SIDE, first_k = part.tile % across * SIDE;
    Pixel shift = tap_shift(map, part.tap);
    Rectangle rectangle = rectangle_of(map, shift);
    unsigned length = rectangle.width * map.batch, begin = part.split * per_split, end = min(begin + per_split, rectangle.height * length);
    unsigned total = begin < end ? (end - begin) / DEPTH : 0;

    Fetch<T, SIDE * sizeof(T), sizeof(T) == 2> fetch;
    u64 q_row = total ? rectangle_row(map, rectangle, begin) + fetch.row : 0;
    const T* from_x = x + (q_row + (long long)(shift.h * (int)map.width + shift.w) * map.batch) * map.inner + first_c + fetch.element;
    const T* from_y = grad_y + q_row * map.columns + first_k + fetch.element;
    u64 step_x = fetch.AT_ONCE * (u64)map.inner, step_y = fetch.AT_ONCE * (u64)map.columns;
    // Rows of one line of the rectangle lie one after the other; then the rest of the map's line is passed over.
    unsigned left = total ? (length - begin % length) / DEPTH : 0, asked = 0, stage_to = 0;
    u64 gap = (u64)(map.width - rectangle.width) * map.batch;
    Shared stages = shared_place(bytes);
    auto load = [&]() {
        if (asked++ < total) {
            Shared stage = stages + stage_to;
            fetch.template rows<DEPTH>(stage, from_x, step_x);
            fetch.template rows<DEPTH>(stage + TILE, from_y, step_y);
            u64 rows = DEPTH;
            if (--left == 0) {
                left = length / DEPTH;
                rows += gap;
            }
            from_x += rows * map.inner;
            from_y += rows * map.columns;
            stage_to = stage_to + STAGE == STAGES * STAGE ? 0 : stage_to + STAGE;
        }
        cp_async_commit();
    };
    unsigned warp_c = SIDE == 128 ? warp_id() / 2 * 64 : 0, warp_k = SIDE == 128 ? warp_id() % 2 * 64 : 0, share = SIDE == 128 ? 0 : warp_id();
    LeftAcross<T, SIDE> left_of(warp_c);
    Across<T, SIDE> right_of = Across<T, SIDE>::right(warp_k);
    left_of.skip(share * WARP_STEPS);
    right_of.skip(share * WARP_STEPS);
    float d[4][8][4] = {};
    multiply_stages<T, STAGE, TILE, WARP_STEPS>(d, stages, total, load, left_of, right_of);
    float* out = partials + ((u64)part.split * map.taps + part.tap) * map.inner * map.columns + (u64)first_c * map.columns + first_k;
    unsigned k = warp_k + lane_id() % 4 * 2;
    if constexpr (SIDE == 128) {
#pragma unroll
        for (unsigned m = 0; m < 4; ++m)
#pragma unroll
            for (unsigned n = 0; n < 8; ++n)
#pragma unroll
                for (unsigned e = 0; e < 2; ++e)
                    *(Two*)(out + (u64)(warp_c + 16 * m + left_of.row(e)) * map.columns + k + 8 * n) = Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
    } else {
        // The warps' shares, added in order.
        constexpr unsigned PITCH = SIDE + 8;
        float* staged = (float*)bytes;
#pragma unroll
        for (unsigned m = 0; m < 4; ++m)
#pragma unroll
            for (unsigned n = 0; n < 8; ++n)
#pragma unroll
                for (unsigned e = 0; e < 2; ++e)
                    *(Two*)(staged + (share * SIDE + 16 * m + left_of.row(e)) * PITCH + k + 8 * n) = Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
        __syncthreads();
        for (unsigned i = t; i < SIDE * SIDE / 4; i += THREADS) {
            unsigned at_c = i / (SIDE / 4), at_k = i % (SIDE / 4) * 4;
            Four sum = load4(staged + at_c * PITCH + at_k);
#pragma unroll
            for (unsigned other = 1; other < 4; ++other) {
                Four more = load4(staged + (other * SIDE + at_c) * PITCH + at_k);
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) sum.v[j] += more.v[j];
            }
            store4(out + (u64)at_c * map.columns + at_k, sum);
        }
    }
    unsigned* own_tickets = tickets + (part.tap * (map.inner / SIDE * across) + part.tile) * split_tickets(part.splits);
    add_splits_of_tile<SIDE>(partials, all, own_tickets, part.split, part.splits, {part.tap, map.taps, map.inner, map.columns, first_c, first_k, 0});
}
