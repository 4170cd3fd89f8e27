// A weight's gradient by warpgroups, in whole tiles: the splits of its rows, and their sum by whichever block comes last.
#pragma once
#include "splits.cuh"
#include "taps.cuh"
#include "warpgroups.cuh"

#if HOPPER

// Rows of a stage: of a tile of 64 × 64 the warpgroups have half of them each, of one of 128 × 128 all, and half of the tile's rows.
template <unsigned SIDE> __device__ constexpr unsigned rows_of_stage() { return SIDE == 128 ? 64 : 128; }
constexpr unsigned GRADIENT_STAGE = 32768;

// One split's part of a tile of one tap's dw: `total` stages, the first of which begins at `row` of dy.
template <unsigned SIDE> struct Part {
    unsigned tap, split, first_c, first_k, total, left, length;
    int row, shift, gap;
    __device__ __forceinline__ Part(const Map& map, unsigned number, unsigned per_split) {
        unsigned across = map.columns / SIDE, tiles = map.inner / SIDE * across, tile = number % tiles;
        tap = number / tiles % map.taps;
        split = number / tiles / map.taps;
        first_c = tile / across * SIDE;
        first_k = tile % across * SIDE;
        Pixel by = tap_shift(map, tap);
        Rectangle rectangle = rectangle_of(map, by);
        unsigned line = rectangle.width * map.batch, begin = split * per_split, end = min(begin + per_split, rectangle.height * line);
        total = begin < end ? (end - begin) / rows_of_stage<SIDE>() : 0;
        row = total ? (int)rectangle_row(map, rectangle, begin) : 0;
        // Rows of one line of the rectangle lie one after the other; then the rest of the map's line is passed over.
        left = total ? (line - begin % line) / rows_of_stage<SIDE>() : 0;
        length = line / rows_of_stage<SIDE>();
        gap = (int)((map.width - rectangle.width) * map.batch);
        shift = (by.h * (int)map.width + by.w) * (int)map.batch;
    }
    __device__ __forceinline__ void next() {
        row += rows_of_stage<SIDE>();
        if (--left == 0) {
            left = length;
            row += gap;
        }
    }
};

template <unsigned SIDE> __device__ __forceinline__ unsigned parts_of(const Map& map, unsigned splits) {
    return map.inner / SIDE * (map.columns / SIDE) * map.taps * splits;
}

// Asks for the stages of all parts of this block, from part `first` on; one thread does.
template <unsigned SIDE>
__device__ __forceinline__ void fetch_parts(const TensorMap* x, const TensorMap* grad_y, const Map& map, unsigned per_split, unsigned parts, unsigned first,
                                            Ring& between, unsigned char* stages) {
    for (unsigned number = first; number < parts; number += gridDim.x) {
        Part<SIDE> part(map, number, per_split);
        for (unsigned i = 0; i < part.total; ++i) {
            mbarrier_wait(between.empty + between.stage, between.parity ^ 1);
            u64* barrier = between.full + between.stage;
            mbarrier_expect(barrier, GRADIENT_STAGE);
            unsigned char* to = stages + between.stage * GRADIENT_STAGE;
#pragma unroll
            for (unsigned j = 0; j < SIDE / 64; ++j) {
                bulk_copy(to + j * SQUARE_BYTES, x, barrier, (int)(part.first_c + 64 * j), part.row + part.shift);
                bulk_copy(to + GRADIENT_STAGE / 2 + j * SQUARE_BYTES, grad_y, barrier, (int)(part.first_k + 64 * j), part.row);
            }
            part.next();
            between.next();
        }
    }
}

template <unsigned SIDE>
__device__ __forceinline__ void multiply_parts(float* partials, const Map& map, unsigned per_split, unsigned parts, unsigned first, Ring& between,
                                               unsigned char* stages) {
    // Where warpgroups share the rows of a stage, the second one leaves its sums to the first.
    constexpr bool SHARED_SUM = SIDE == 64;
    unsigned group = threadIdx.x / 128;
    float* other = (float*)(stages + STAGES * GRADIENT_STAGE) + threadIdx.x % 128;
    u64 place = place_of_tile(stages) + (SHARED_SUM ? group * SQUARE_BYTES : 0);
    u64 a = descriptor(place + (SHARED_SUM ? 0 : group * SQUARE_BYTES), SQUARE_BYTES), b = descriptor(place + GRADIENT_STAGE / 2, SQUARE_BYTES);
    for (unsigned number = first; number < parts; number += gridDim.x) {
        Part<SIDE> part(map, number, per_split);
        float d[SIDE / 2];
        multiply_stages<GRADIENT_STAGE, true, true>(d, between, a, b, part.total);
        if constexpr (SHARED_SUM) {
            if (group == 1)
#pragma unroll
                for (unsigned i = 0; i < SIDE / 2; ++i) other[i * 128] = d[i];
            named_barrier<1>(MULTIPLIERS);
            if (group == 0)
#pragma unroll
                for (unsigned i = 0; i < SIDE / 2; ++i) d[i] += other[i * 128];
            // It is not written again before it has been read.
            named_barrier<1>(MULTIPLIERS);
            if (group == 1) continue;
        }
        unsigned c = part.first_c + warp_id() * 16 + lane_id() / 4, k = part.first_k + lane_id() % 4 * 2;
        float* to = partials + (((u64)part.split * map.taps + part.tap) * map.inner + c) * map.columns + k;
#pragma unroll
        for (unsigned n = 0; n < SIDE / 8; ++n)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) *(Two*)(to + (u64)(8 * e) * map.columns + 8 * n) = Two{{d[4 * n + 2 * e], d[4 * n + 2 * e + 1]}};
    }
}

// The splits of a block's parts are added, as splits.cuh says, once all are stored. Only then, since the whole block takes a ticket: until there one warp
// of it is ahead.
template <unsigned SIDE>
__device__ __forceinline__ void add_splits(float* partials, float* out, unsigned* tickets, const Map& map, unsigned splits, unsigned first) {
    if (!out) return;
    unsigned across = map.columns / SIDE, tiles = map.inner / SIDE * across, all = tiles * map.taps;
    for (unsigned number = first; number < all * splits; number += gridDim.x) {
        unsigned tile = number % tiles;
        add_splits_of_tile<SIDE>(partials, out, tickets + number % all * split_tickets(splits), number / all, splits,
                                 {number / tiles % map.taps, map.taps, map.inner, map.columns, tile / across * SIDE, tile % across * SIDE});
    }
}

template <unsigned SIDE>
__device__ __forceinline__ void weight_gradient(const TensorMap* x, const TensorMap* grad_y, float* partials, float* out, unsigned* tickets, const Map& map,
                                                unsigned per_split, unsigned splits) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Ring between = ring(full, empty);
    unsigned parts = parts_of<SIDE>(map, splits);
    if (threadIdx.x < MULTIPLIERS) multiply_parts<SIDE>(partials, map, per_split, parts, blockIdx.x, between, stages);
    else if (lane_id() == 0) fetch_parts<SIDE>(x, grad_y, map, per_split, parts, blockIdx.x, between, stages);
    add_splits<SIDE>(partials, out, tickets, map, splits, blockIdx.x);
}

#endif
