// A weight's gradient by warpgroups, in whole tiles: the splits of its rows, and their sum by whichever block comes last.
#pragma once
#include "cluster.cuh"
#include "splits.cuh"
#include "taps.cuh"
#include "warpgroups.cuh"

#if HOPPER

// A tile is SIDE channels of x by 64 of dy, under the three taps of a line of them, which have the same rows of the map: at a pixel of dy, each tap takes x
// of another pixel of one line. So a walk along that line brings every pixel of both once, and each stage is multiplied by itself and by the one before.
//
// Rows of a stage, all of one pixel: of a tile of 64 × 64 the warpgroups have half of them each, of one of 128 × 64 all, and half of the tile's rows.
template <unsigned SIDE> __device__ constexpr unsigned rows_of_stage() { return SIDE == 128 ? 64 : 128; }
constexpr unsigned GRADIENT_STAGE = 32768, NARROW = 64;
// What a stage brings of x, and of dy.
constexpr unsigned X_BYTES = 2 * SQUARE_BYTES;
template <unsigned SIDE> __device__ constexpr unsigned dy_bytes() { return rows_of_stage<SIDE>() * 128; }

__device__ __forceinline__ unsigned lines_of_taps(const Map& map) { return map.taps == 9 ? 3 : 1; }

// One split's part of a tile: `left` places of dy, which are counted along a line of the map, for one chunk of its samples after the other.
template <unsigned SIDE, unsigned EACH = rows_of_stage<SIDE>()> struct Part {
    unsigned line, split, first_c, first_k, left;
    // The place that comes next: its pixel (h, w), and its first sample; and by how many lines x lies below dy.
    unsigned h, w, sample;
    int below;
    __device__ __forceinline__ Part(const Map& map, unsigned number, unsigned per_split) {
        unsigned across = map.columns / NARROW, tiles = map.inner / SIDE * across, tile = number % tiles, lines = lines_of_taps(map);
        line = number / tiles % lines;
        split = number / tiles / lines;
        first_c = tile / across * SIDE;
        first_k = tile % across * NARROW;
        below = lines == 3 ? (int)line - 1 : 0;
        unsigned chunks = map.batch / EACH, all = (map.height - (below != 0)) * chunks * map.width;
        unsigned begin = split * (per_split / EACH), end = min(begin + per_split / EACH, all);
        left = begin < end ? end - begin : 0;
        w = begin % map.width;
        sample = begin / map.width % chunks * EACH;
        h = begin / map.width / chunks + (below < 0);
    }
    // How many places follow one another along this line.
    __device__ __forceinline__ unsigned run(const Map& map) const { return min(left, map.width - w); }
    __device__ __forceinline__ void next(const Map& map) {
        left -= run(map);
        w = 0;
        sample += EACH;
        if (sample == map.batch) {
            sample = 0;
            ++h;
        }
    }
};
// The stages of a run: pixels of x from `from` on, beginning with the left neighbour of the run's first pixel and ending with the right one of its last, as
// far as they are on the map; dy has those in between.
struct Run {
    unsigned from, first, after, end;
    template <unsigned SIDE, unsigned EACH> __device__ __forceinline__ Run(const Map& map, const Part<SIDE, EACH>& part) {
        first = part.w;
        after = first + part.run(map);
        from = first - (first > 0);
        end = after + (after < map.width);
        // There is but one tap.
        if (map.taps == 1) from = first, end = after;
    }
    __device__ __forceinline__ bool has_dy(unsigned at) const { return at >= first && at < after; }
};

template <unsigned SIDE> __device__ __forceinline__ unsigned parts_of(const Map& map, unsigned splits) {
    return map.inner / SIDE * (map.columns / NARROW) * lines_of_taps(map) * splits;
}

// Whether the four blocks of a cluster share x: they have parts that follow one another, whose tiles are of the same channels of x and the same rows.
__device__ __forceinline__ bool parts_share(const Map& map) { return map.columns % (4 * NARROW) == 0; }

// Asks for the stages of all parts of this block, from part `number` on; one thread does. Where a cluster shares x, each asks for a quarter of its rows for
// all of them.
template <unsigned SIDE, bool CLUSTERED>
__device__ __forceinline__ void fetch_parts(const TensorMap* x, const TensorMap* grad_y, const Map& map, unsigned per_split, unsigned parts, unsigned first,
                                            Ring& between, unsigned char* stages) {
    bool shared = CLUSTERED && parts_share(map);
    unsigned quarter = shared ? cluster_rank() * (rows_of_stage<SIDE>() / 4) : 0;
    for (unsigned number = first; number < parts; number += gridDim.x)
        for (Part<SIDE> part(map, number, per_split); part.left; part.next(map)) {
            Run run(map, part);
            for (unsigned at = run.from; at < run.end; ++at) {
                mbarrier_wait(between.empty + between.stage, between.parity);
                u64* barrier = between.full + between.stage;
                bool with_dy = run.has_dy(at);
                mbarrier_expect(barrier, X_BYTES + (with_dy ? dy_bytes<SIDE>() : 0u));
                unsigned char* to = stages + between.stage * GRADIENT_STAGE;
                int row = (int)((part.h * map.width + at) * map.batch + part.sample);
#pragma unroll
                for (unsigned j = 0; j < SIDE / 64; ++j) {
                    unsigned char* square = to + j * SQUARE_BYTES + quarter * 128;
                    int c = (int)(part.first_c + 64 * j), row_x = row + (int)quarter + part.below * (int)(map.width * map.batch);
                    if (shared) bulk_copy_to(15, square, x, barrier, c, row_x);
                    else bulk_copy(square, x, barrier, c, row_x);
                }
                if (with_dy) bulk_copy(to + X_BYTES, grad_y, barrier, (int)part.first_k, row);
                between.next();
            }
        }
}

// d += xᵀ · dy of two stages' chunks.
__device__ __forceinline__ void add_tap(float (&d)[NARROW / 2], u64 x, u64 dy) {
#pragma unroll
    for (unsigned step = 0; step < STEPS; ++step) wgmma<true, true>(d, moved(x, step * next_step<true>()), moved(dy, step * next_step<true>()), 1);
}

// What becomes of a weight's gradient: it goes to `out`, or the weight is updated by it, or, without either, it is where its only split is.
struct Outcome {
    float* out;
    Parameters weight;
    const u64* state;
    Descending by;
};

// Whether whoever makes a tile of the gradient makes all of it, and updates the weight from registers: AT_ONCE, where there are enough.
template <bool AT_ONCE> __device__ __forceinline__ bool updates_at_once(const Outcome& outcome, unsigned splits) {
    return AT_ONCE && splits == 1 && outcome.weight.theta;
}

// Stores a tap's part of a tile.
__device__ __forceinline__ void store_tap(float* to, const Map& map, const float (&d)[NARROW / 2]) {
#pragma unroll
    for (unsigned n = 0; n < NARROW / 8; ++n)
#pragma unroll
        for (unsigned e = 0; e < 2; ++e) *(Two*)(to + (u64)(8 * e) * map.columns + 8 * n) = Two{{d[4 * n + 2 * e], d[4 * n + 2 * e + 1]}};
}

// Updates a weight by a tap's part of a tile that is all of its gradient, from `at` on.
__device__ __forceinline__ void update_tap(const Descent& by, const Parameters& weight, u64 at, const Map& map, const float (&d)[NARROW / 2]) {
    const bool odd = lane_id() % 2 != 0;
#pragma unroll
    for (unsigned e = 0; e < 2; ++e) {
        Two t[NARROW / 8], v[NARROW / 8];
        const u64 first = at + (u64)(8 * e) * map.columns;
#pragma unroll
        for (unsigned n = 0; n < NARROW / 8; ++n) t[n] = *(const Two*)(weight.theta + first + 8 * n);
        if (weight.velocity_or_null)
#pragma unroll
            for (unsigned n = 0; n < NARROW / 8; ++n) v[n] = *(const Two*)(weight.velocity_or_null + first + 8 * n);
#pragma unroll
        for (unsigned n = 0; n < NARROW / 8; ++n) {
            if (weight.velocity_or_null) {
#pragma unroll
                for (unsigned k = 0; k < 2; ++k) by.move(t[n].v[k], v[n].v[k], d[4 * n + 2 * e + k]);
                *(Two*)(weight.velocity_or_null + first + 8 * n) = v[n];
            } else {
#pragma unroll
                for (unsigned k = 0; k < 2; ++k) by.move(t[n].v[k], d[4 * n + 2 * e + k]);
            }
            *(Two*)(weight.theta + first + 8 * n) = t[n];
        }
        if (!weight.operands_or_null) continue;
        // Lanes in pairs exchange what they have of two neighbouring blocks of eight columns: each stores four columns of one, a sector by four lanes.
#pragma unroll
        for (unsigned n = 0; n < NARROW / 8; n += 2) {
            unsigned low = pack_bf16(t[n].v[0], t[n].v[1]), high = pack_bf16(t[n + 1].v[0], t[n + 1].v[1]);
            unsigned got = __shfl_xor_sync(0xffffffffu, odd ? low : high, 1);
            *(TwoWords*)(weight.operands_or_null + first + 8 * n + (odd ? 6 : 0)) = odd ? TwoWords{{got, high}} : TwoWords{{low, got}};
        }
    }
}

template <unsigned SIDE, bool AT_ONCE, typename Stages>
__device__ __forceinline__ void multiply_parts(float* partials, const Outcome& outcome, const Map& map, unsigned per_split, unsigned splits,
                                               unsigned parts, unsigned first, Ring& between, unsigned char* stages, const Stages& own) {
    // Where warpgroups share the rows of a stage, the second one leaves its sums to the first.
    constexpr bool SHARED_SUM = SIDE == 64;
    constexpr unsigned COUNT = NARROW / 2;
    unsigned group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
    float* other = (float*)(stages + STAGES * GRADIENT_STAGE) + threadIdx.x % 128;
    u64 place = place_of_tile(stages) + group * SQUARE_BYTES;
    u64 x = descriptor(place, SQUARE_BYTES), dy = descriptor(place_of_tile(stages) + X_BYTES + (SHARED_SUM ? group * SQUARE_BYTES : 0), SQUARE_BYTES);
    give_all_back(own);
    for (unsigned number = first; number < parts; number += gridDim.x) {
        Part<SIDE> part(map, number, per_split);
        // Of the left, the middle and the right tap.
        float left[COUNT], middle[COUNT], right[COUNT];
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) left[i] = middle[i] = right[i] = 0.0f;
        // The stage before the next one, and the one before that, which products may still read; STAGES where there is none.
        unsigned before = STAGES, oldest = STAGES;
        auto x_of = [&](unsigned stage) { return moved(x, stage * (GRADIENT_STAGE >> 4)); };
        auto dy_of = [&](unsigned stage) { return moved(dy, stage * (GRADIENT_STAGE >> 4)); };
        auto pass = [&] {
            if (oldest < STAGES) own.give_back(oldest);
            oldest = before;
            before = between.stage;
            between.next();
        };
        for (; part.left; part.next(map)) {
            Run run(map, part);
            mbarrier_wait(between.full + between.stage, between.parity);
            if (run.from < run.first) {
                // The left neighbour's dy is another part's.
                wgmma_wait<0>();
                pass();
                mbarrier_wait(between.full + between.stage, between.parity);
                wgmma_fence();
                add_tap(middle, x_of(between.stage), dy_of(between.stage));
                add_tap(left, x_of(before), dy_of(between.stage));
                wgmma_commit();
            } else {
                wgmma_fence();
                add_tap(middle, x_of(between.stage), dy_of(between.stage));
                wgmma_commit();
            }
            wgmma_wait<1>();
            pass();
            for (unsigned at = run.first + 1; at < run.after; ++at) {
                mbarrier_wait(between.full + between.stage, between.parity);
                wgmma_fence();
                add_tap(middle, x_of(between.stage), dy_of(between.stage));
                add_tap(left, x_of(before), dy_of(between.stage));
                add_tap(right, x_of(between.stage), dy_of(before));
                wgmma_commit();
                wgmma_wait<1>();
                pass();
            }
            if (run.end > run.after) {
                // And the right neighbour's.
                mbarrier_wait(between.full + between.stage, between.parity);
                wgmma_fence();
                add_tap(right, x_of(between.stage), dy_of(before));
                wgmma_commit();
                wgmma_wait<1>();
                pass();
            }
        }
        end_stages(oldest, own);
        end_stages(before, own);
        if constexpr (SHARED_SUM) {
            if (group == 1)
#pragma unroll
                for (unsigned i = 0; i < COUNT; ++i) {
                    other[i * 128] = left[i];
                    other[(COUNT + i) * 128] = middle[i];
                    other[(2 * COUNT + i) * 128] = right[i];
                }
            named_barrier<1>(MULTIPLIERS);
            if (group == 0)
#pragma unroll
                for (unsigned i = 0; i < COUNT; ++i) {
                    left[i] += other[i * 128];
                    middle[i] += other[(COUNT + i) * 128];
                    right[i] += other[(2 * COUNT + i) * 128];
                }
            // It is not written again before it has been read.
            named_barrier<1>(MULTIPLIERS);
            if (group == 1) continue;
        }
        unsigned c = part.first_c + warp_id() * 16 + lane_id() / 4, k = part.first_k + lane_id() % 4 * 2;
        const u64 tap = (u64)map.inner * map.columns;
        u64 at = ((u64)part.split * map.taps + part.line * 3) * tap + (u64)c * map.columns + k;
        auto put = [&](u64 at, const float (&d)[COUNT]) {
            if (updates_at_once<AT_ONCE>(outcome, splits)) update_tap(Descent(outcome.state, outcome.by), outcome.weight, at, map, d);
            else store_tap(partials + at, map, d);
        };
        if (map.taps == 9) {
            put(at, left);
            put(at + 2 * tap, right);
            at += tap;
        }
        put(at, middle);
    }
}

// Calls take(number of the part's tickets, its split, its tile) for each of a block's parts, so that their splits are added, as splits.cuh says, once all are
// stored. Only then, since the whole block takes a ticket: until there one warp of it is ahead.
template <unsigned SIDE, typename Take>
__device__ __forceinline__ void for_parts(const Map& map, unsigned splits, unsigned first, Take take) {
    unsigned across = map.columns / NARROW, tiles = map.inner / SIDE * across, lines = lines_of_taps(map), all = tiles * lines;
    for (unsigned number = first; number < all * splits; number += gridDim.x) {
        unsigned tile = number % tiles, tap = number / tiles % lines * 3;
        take(number % all * split_tickets(splits), number / all,
             SplitTile{tap, map.taps, map.inner, map.columns, tile / across * SIDE, tile % across * NARROW, lines == 3 ? 2u : 0u});
    }
}
template <unsigned SIDE>
__device__ __forceinline__ void add_splits(float* partials, float* out, unsigned* tickets, const Map& map, unsigned splits, unsigned first) {
    if (!out) return;
    for_parts<SIDE>(map, splits, first, [&](unsigned ticket, unsigned split, const SplitTile& of) {
        add_splits_of_tile<SIDE, NARROW>(partials, out, tickets + ticket, split, splits, of);
    });
}

template <unsigned SIDE, bool AT_ONCE>
__device__ __forceinline__ void take_splits(float* partials, const Outcome& outcome, unsigned* tickets, const Map& map, unsigned splits, unsigned first) {
    if (updates_at_once<AT_ONCE>(outcome, splits)) return;
    if (!outcome.weight.theta) {
        add_splits<SIDE>(partials, outcome.out, tickets, map, splits, first);
        return;
    }
    Descended to = {Descent(outcome.state, outcome.by), outcome.weight};
    for_parts<SIDE>(map, splits, first, [&](unsigned ticket, unsigned split, const SplitTile& of) {
        take_splits_of_tile<SIDE, NARROW>(partials, to, tickets + ticket, split, splits, of);
    });
}

template <unsigned SIDE>
__device__ __forceinline__ void weight_gradient(const TensorMap* x, const TensorMap* grad_y, float* partials, float* out, unsigned* tickets, const Map& map,
                                                unsigned per_split, unsigned splits) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Ring between = ring(full, empty);
    __syncthreads();
    unsigned parts = parts_of<SIDE>(map, splits);
    if (multiplies()) multiply_parts<SIDE, false>(partials, Outcome{}, map, per_split, splits, parts, blockIdx.x, between, stages, OwnStages{between.empty});
    else if (lane_id() == 0) fetch_parts<SIDE, false>(x, grad_y, map, per_split, parts, blockIdx.x, between, stages);
    add_splits<SIDE>(partials, out, tickets, map, splits, blockIdx.x);
}

#endif
