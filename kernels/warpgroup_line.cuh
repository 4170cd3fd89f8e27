// Products of warpgroups under nine taps where all weights, of 64 channels by 64, stay in a block's shared memory.
//
// A block goes along lines of the map in segments of LINE pixels. Each pixel of the input is a stage, for each of up to three lines of taps, and is
// multiplied for the three outputs beside one another that need it: so it is copied once for them, where other products copy it for each tap.
#pragma once
#include "warpgroup_product.cuh"

#if HOPPER

constexpr unsigned LINE = 8, NARROW_WEIGHTS = STAGES * A_BYTES, LINE_STAGED = NARROW_WEIGHTS + 9 * SQUARE_BYTES;

// Pixels first … after of a line of the output, of one chunk of samples; and those of the input that they need, from … end.
struct Segment {
    unsigned h, chunk, first, after, from, end;
    __device__ __forceinline__ Segment(const Map& map, unsigned number) {
        unsigned across = (map.width + LINE - 1) / LINE, chunks = map.batch / ROWS;
        chunk = number / across % chunks;
        h = number / across / chunks;
        first = number % across * LINE;
        after = min(first + LINE, map.width);
        from = first - (first > 0);
        end = after + (after < map.width);
    }
    __device__ __forceinline__ Place tile(const Map& map, unsigned w) const { return Place((h * map.width + w) * (map.batch / ROWS) + chunk); }
    // The line of the input under line `i` of taps; beyond the map where there is none.
    __device__ __forceinline__ unsigned line(const Map& map, unsigned i) const { return h + (unsigned)(map.direction * ((int)i - 1)); }
};
__device__ __forceinline__ unsigned segments_of(const Map& map) { return map.height * (map.batch / ROWS) * ((map.width + LINE - 1) / LINE); }

// Asks for the weights, and for the stages of all segments of this block, from segment `number` on; one thread does.
__device__ __forceinline__ void fetch_lines(const TensorMap* a, const TensorMap* b, const Map& map, unsigned number, Ring& ring, u64* weights,
                                            unsigned char* stages) {
    // Whoever multiplies has come here: nothing else is done where the weights will be.
    mbarrier_wait(ring.empty, 0);
    mbarrier_expect(weights, 9 * SQUARE_BYTES);
    for (unsigned tap = 0; tap < 9; ++tap) bulk_copy(stages + NARROW_WEIGHTS + tap * SQUARE_BYTES, b, weights, 0, (int)(64 * tap));
    for (; number < segments_of(map); number += gridDim.x) {
        Segment of(map, number);
        for (unsigned at = of.from; at < of.end; ++at)
            for (unsigned i = 0; i < 3; ++i) {
                unsigned line = of.line(map, i);
                if (line >= map.height) continue;
                mbarrier_wait(ring.empty + ring.stage, ring.parity);
                u64* full = ring.full + ring.stage;
                mbarrier_expect(full, A_BYTES);
                bulk_copy(stages + ring.stage * A_BYTES, a, full, 0, (int)((line * map.width + at) * map.batch + of.chunk * ROWS));
                ring.next();
            }
    }
}

// The sums of three outputs beside one another: those of the pixel before the stage's, of its own, and of the one after.
struct LineSums {
    float before[32], here[32], next[32];
    __device__ __forceinline__ void move_on() {
#pragma unroll
        for (unsigned i = 0; i < 32; ++i) {
            before[i] = here[i];
            here[i] = next[i];
            next[i] = 0.0f;
        }
    }
};
template <bool TRANSPOSED> __device__ __forceinline__ void add_line_tap(float (&d)[32], u64 a, u64 b) {
#pragma unroll
    for (unsigned step = 0; step < STEPS; ++step)
        wgmma<false, !TRANSPOSED>(d, moved(a, step * next_step<false>()), moved(b, step * next_step<!TRANSPOSED>()), 1);
}
// Multiplies a pixel's stages for those outputs that there are. `b` is the middle one of the first line's three taps, and the pixel after takes the one
// `beside` further.
template <bool BEFORE, bool HERE, bool NEXT, bool TRANSPOSED>
__device__ __forceinline__ void add_pixel(LineSums& sums, const Map& map, const Segment& of, Ring& ring, const OwnStages& own, u64 a, u64 b, unsigned beside) {
    constexpr unsigned SQUARE = SQUARE_BYTES >> 4;
    unsigned last = STAGES;
#pragma unroll 1
    for (unsigned i = 0; i < 3; ++i) {
        if (of.line(map, i) >= map.height) continue;
        mbarrier_wait(ring.full + ring.stage, ring.parity);
        u64 stage = moved(a, ring.stage * (A_BYTES >> 4)), taps = moved(b, 3 * i * SQUARE);
        wgmma_fence();
        if (BEFORE) add_line_tap<TRANSPOSED>(sums.before, stage, moved(taps, 0u - beside));
        if (HERE) add_line_tap<TRANSPOSED>(sums.here, stage, taps);
        if (NEXT) add_line_tap<TRANSPOSED>(sums.next, stage, moved(taps, beside));
        wgmma_commit();
        wgmma_wait<1>();
        if (last < STAGES) own.give_back(last);
        last = ring.stage;
        ring.next();
    }
    end_stages(last, own);
}

template <bool TRANSPOSED, typename Epilogue>
__device__ __forceinline__ void multiply_lines(const Epilogue& epilogue, bf16* out, const Map& map, unsigned number, Ring& ring, u64* weights,
                                               unsigned char* stages) {
    constexpr unsigned SQUARE = SQUARE_BYTES >> 4;
    float* staged = (float*)(stages + LINE_STAGED);
    u64 place = place_of_tile(stages), a = descriptor(place + __shfl_sync(0xffffffffu, threadIdx.x / 128, 0) * SQUARE_BYTES);
    u64 b = descriptor(place + NARROW_WEIGHTS + SQUARE_BYTES, SQUARE_BYTES);
    // The pixel after the stage's is under the left tap, which is the first of a line, or the last where taps are taken the other way.
    unsigned beside = map.direction > 0 ? 0u - SQUARE : SQUARE;
    typename Epilogue::template Rows<64> rows(epilogue);
    OwnStages own = {ring.empty};
    // Copies come to where this thread may have written before.
    fence_proxy();
    give_all_back(own);
    mbarrier_wait(weights, 0);
    for (; number < segments_of(map); number += gridDim.x) {
        Segment of(map, number);
        LineSums sums;
#pragma unroll
        for (unsigned i = 0; i < 32; ++i) sums.before[i] = sums.here[i] = sums.next[i] = 0.0f;
#pragma unroll 1
        for (unsigned at = of.from; at <= of.after; ++at) {
            bool before = at > of.first, here = at >= of.first && at < of.after, next = at + 1 < of.after;
            if (before) rows.begin(map, of.tile(map, at - 1));
            if (before && here && next) add_pixel<true, true, true, TRANSPOSED>(sums, map, of, ring, own, a, b, beside);
            else if (before && here) add_pixel<true, true, false, TRANSPOSED>(sums, map, of, ring, own, a, b, beside);
            else if (here && next) add_pixel<false, true, true, TRANSPOSED>(sums, map, of, ring, own, a, b, beside);
            else if (here) add_pixel<false, true, false, TRANSPOSED>(sums, map, of, ring, own, a, b, beside);
            else if (next) add_pixel<false, false, true, TRANSPOSED>(sums, map, of, ring, own, a, b, beside);
            else if (at < of.end) add_pixel<true, false, false, TRANSPOSED>(sums, map, of, ring, own, a, b, beside);
            if (before) put_tile<64>(epilogue, rows, sums.before, out, map, of.tile(map, at - 1), staged);
            sums.move_on();
        }
    }
}

// What is left of the sums of a block's tiles, as merge_tiles does.
template <typename Epilogue> __device__ __forceinline__ void merge_lines(const Epilogue& epilogue, const Map& map, unsigned number) {
    if (!epilogue.sums()) return;
    for (; number < segments_of(map); number += gridDim.x) {
        Segment of(map, number);
        for (unsigned at = of.first; at < of.after; ++at)
            epilogue.merge(map, {map.columns, 0, 64, 0, of.tile(map, at).row_tile, 1, map.rows / ROWS});
    }
}

#endif
