// A weight's gradient in whole tiles in exact f32, in one launch of blocks that all have as much to do.
//
// The work is one line: tile after tile of (c, k), of each the taps that are on some map, of each the stages of rows that have the tap on the map. Every
// block takes an equal part of the line. A tile under a tap is an item; where a block has a whole item it stores it, and where several blocks share one
// each leaves its part, and the one that comes last adds the parts in the order of the blocks.
#pragma once
#include "exact_tile.cuh"
#include "tickets.cuh"

// Stages of rows that have each tap on the map, and of all taps together.
struct TapStages {
    unsigned* of;
    unsigned all;
    __device__ __forceinline__ TapStages(const Map& map, unsigned depth) {
        SHARED(unsigned, stages, [9]);
        of = stages;
        all = 0;
        for (unsigned tap = 0; tap < map.taps; ++tap) {
            Rectangle rectangle = rectangle_of(map, tap_shift(map, tap));
            unsigned count = rectangle.height * rectangle.width * (map.batch / depth);
            if (threadIdx.x == 0) stages[tap] = count;
            all += count;
        }
        __syncthreads();
    }
};

// The line of work, of `total` stages, as `blocks` blocks share it.
struct Line {
    u64 total;
    unsigned blocks;
    __device__ __forceinline__ unsigned begin(unsigned block) const { return (unsigned)(total * block / blocks); }
    // The block that has stage `at`.
    __device__ __forceinline__ unsigned block_of(unsigned at) const { return (unsigned)(((u64)(at + 1) * blocks - 1) / total); }
};

// Where block `block` leaves its part of an item: of one that it begins, or of one that another block has begun. A block has at most one of each.
template <unsigned TILE> __device__ __forceinline__ u64 part_place(unsigned block, bool begun_by_other) { return (u64)(2 * block + begun_by_other) * TILE; }

// to ← Σ of the parts that blocks first … last have left of an item, in order. `to` is the item's first element, in rows of `line`.
// Not part of its caller: the registers of that one's loops are given out as if it were not there.
template <unsigned TALL, unsigned WIDE>
__device__ __noinline__ void add_parts_of_item(const float* partials, float* to, unsigned line, unsigned first, unsigned last) {
    constexpr unsigned TILE = TALL * WIDE, AT_ONCE = 8;
#pragma unroll 1
    for (unsigned i = threadIdx.x * 4; i < TILE; i += 4 * THREADS) {
        Four sum = load4(partials + part_place<TILE>(first, false) + i);
#pragma unroll 1
        for (unsigned block = first + 1; block <= last; block += AT_ONCE) {
            Four v[AT_ONCE];
#pragma unroll
            for (unsigned part = 0; part < AT_ONCE; ++part)
                if (block + part <= last) v[part] = load4(partials + part_place<TILE>(block + part, true) + i);
#pragma unroll
            for (unsigned part = 0; part < AT_ONCE; ++part)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j)
                    if (block + part <= last) sum.v[j] += v[part].v[j];
        }
        store4(to + i / WIDE * (u64)line + i % WIDE, sum);
    }
}

// dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], in tiles of TALL × WIDE: q counts the rows of the rectangle of pixels that have the tap on the
// map, of which one stage has one pixel. `partials` has room for two tiles of each block, and there is a ticket for each item.
template <unsigned TALL, unsigned WIDE>
__device__ __forceinline__ void exact_weight_gradient(const float* x, const float* grad_y, float* partials, float* out, unsigned* tickets, const Map& map) {
    constexpr unsigned TILE = TALL * WIDE, GROUPS = groups_of_tile(TALL, WIDE), DEPTH = GROUP_DEPTH * GROUPS, STAGE = (TALL + WIDE) * DEPTH;
    // As many as there is room for.
    constexpr unsigned STAGES = STAGE * 4 > 24576 ? 3 : 4;
    DYNAMIC_SHARED(bytes);
    TapStages of_taps(map, DEPTH);
    unsigned across = map.columns / WIDE;
    Line line = {(u64)(map.inner / TALL * across) * of_taps.all, gridDim.x};
    unsigned at = line.begin(blockIdx.x), end = line.begin(blockIdx.x + 1);
    FetchAcross<TALL> fetch_x;
    FetchAcross<WIDE> fetch_y;
    Own<TALL, WIDE> own;
    float* stages = (float*)bytes;
    Shared to = shared_place(bytes);
    // Under a tap that is on no map nothing is added.
    for (unsigned item = blockIdx.x; item < map.inner / TALL * across * map.taps; item += gridDim.x) {
        unsigned tile = item / map.taps, tap = item % map.taps;
        if (of_taps.of[tap] > 0) continue;
        float* place = out + ((u64)tap * map.inner + tile / across * TALL) * map.columns + tile % across * WIDE;
        for (unsigned i = threadIdx.x * 4; i < TILE; i += 4 * THREADS) store4(place + i / WIDE * (u64)map.columns + i % WIDE, Four{});
    }
#pragma unroll 1
    while (at < end) {
        // The item, and what of it is this block's: `total` stages from `first` on.
        unsigned tile = at / of_taps.all, first = at % of_taps.all, tap = 0;
        for (; first >= of_taps.of[tap]; ++tap) first -= of_taps.of[tap];
        unsigned of_item = of_taps.of[tap], total = min(of_item - first, end - at);
        unsigned first_c = tile / across * TALL, first_k = tile % across * WIDE;
        Pixel shift = tap_shift(map, tap);
        Rectangle rectangle = rectangle_of(map, shift);
        unsigned length = rectangle.width * map.batch / DEPTH, left = length - first % length, asked = 0, stage_to = 0;
        u64 row = rectangle_row(map, rectangle, first * DEPTH);
        const float* from_x = x + (row + fetch_x.row + (long long)(shift.h * (int)map.width + shift.w) * map.batch) * map.inner + first_c + fetch_x.element;
        const float* from_y = grad_y + (row + fetch_y.row) * map.columns + first_k + fetch_y.element;
        u64 step_x = fetch_x.AT_ONCE * (u64)map.inner, step_y = fetch_y.AT_ONCE * (u64)map.columns;
        // Rows of one line of the rectangle lie one after the other; then the rest of the map's line is passed over.
        u64 gap = (u64)(map.width - rectangle.width) * map.batch;
        auto load = [&]() {
            if (asked++ < total) {
                fetch_x.template rows<DEPTH>(to + stage_to, from_x, step_x);
                fetch_y.template rows<DEPTH>(to + stage_to + TALL * DEPTH * 4, from_y, step_y);
                u64 rows = DEPTH;
                if (--left == 0) {
                    left = length;
                    rows += gap;
                }
                from_x += rows * map.inner;
                from_y += rows * map.columns;
                stage_to = stage_to + STAGE * 4 == STAGES * STAGE * 4 ? 0 : stage_to + STAGE * 4;
            }
            cp_async_commit();
        };
        float sums[OWN_ROWS][OWN_COLUMNS] = {};
        unsigned place_x = own.group * GROUP_DEPTH * TALL + own.row * 4, place_y = TALL * DEPTH + own.group * GROUP_DEPTH * WIDE + own.across * 4;
        for_stages<STAGES, STAGE>(stages, total, load, [&](const float* stage) {
#pragma unroll
            for (unsigned q = 0; q < GROUP_DEPTH; ++q) {
                Four c[2];
#pragma unroll
                for (unsigned i = 0; i < 2; ++i) c[i] = load4(stage + place_x + q * TALL + i * 4 * own.DOWN);
#pragma unroll
                for (unsigned j = 0; j < OWN_COLUMNS; j += 4) {
                    Four k = load4(stage + place_y + q * WIDE + j * own.ACROSS);
#pragma unroll
                    for (unsigned e = 0; e < 4; ++e)
#pragma unroll
                        for (unsigned i = 0; i < OWN_ROWS; ++i) sums[i][j + e] = fmaf(c[i / 4].v[i % 4], k.v[e], sums[i][j + e]);
                }
            }
        });
        add_groups<TALL, WIDE>(sums, own, stages, [&](unsigned i, unsigned j) {
            return (own.row * 4 + i / 4 * 4 * own.DOWN + i % 4) * (WIDE + 8) + own.across * 4 + j / 4 * 4 * own.ACROSS + j % 4;
        });
        bool whole = total == of_item;
        float* item = out + (u64)tap * map.inner * map.columns + (u64)first_c * map.columns + first_k;
        float* place = whole ? item : partials + part_place<TILE>(blockIdx.x, first > 0);
        unsigned pitch = whole ? map.columns : WIDE;
        if (own.group == 0)
#pragma unroll
            for (unsigned i = 0; i < OWN_ROWS; ++i)
#pragma unroll
                for (unsigned j = 0; j < OWN_COLUMNS; j += 4) {
                    unsigned c = own.row * 4 + i / 4 * 4 * own.DOWN + i % 4, k = own.across * 4 + j * own.ACROSS;
                    store4(place + (u64)c * pitch + k, Four{{sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]}});
                }
        if (!whole) {
            unsigned begun = line.block_of(at - first), ended = line.block_of(at - first + of_item - 1);
            if (is_last(tickets + tile * map.taps + tap, ended - begun + 1)) add_parts_of_item<TALL, WIDE>(partials, item, map.columns, begun, ended);
        }
        at += total;
    }
}
