// The convolution of a network's first layer, whose input has at most three channels: src/ops/implicit_gemm.rs. All taps and channels
// together are at most 27 terms, fewer than the general kernels take in one step for a single tap. So here they are gathered next to each
// other, once for all taps. Operands are f32 (rounded to tf32 where asked) or bf16, which tensor cores multiply; sums are f32.
#pragma once
#include "taps.cuh"
#include "tensor_cores.cuh"

constexpr unsigned TERMS = 32, ROWS = 128, COLUMNS = 64, THREADS = 256, STEM_STEP = 64;

// Calls put(term, row of the tile, value) for all terms of COUNT rows from `first` on: x under every tap, 0 beyond the map and beyond `end`; terms that
// there are not are left out. `pixel` is the first row's.
template <typename T, unsigned COUNT, typename F>
__device__ __forceinline__ void gather_terms(const T* x, const Map& map, Pixel pixel, unsigned first, unsigned end, unsigned tf32, F put) {
    // Rows of one pixel lie next to each other under every tap, and lanes take what lies next to each other: all that is divided by is constant.
    constexpr unsigned INNER = 3, LINE = COUNT * INNER;
    if (map.inner == INNER && map.batch % COUNT == 0) {
        for (unsigned i = threadIdx.x; i < map.taps * LINE; i += THREADS) {
            unsigned tap = i / LINE, element = i % LINE;
            Pixel shift = tap_shift(map, tap);
            auto v = on_map(map, pixel, shift) ? operand(shifted_row(x, map, first, shift)[element], tf32) : operand(T(), tf32);
            put(tap * INNER + element % INNER, element / INNER, v);
        }
        return;
    }
    // A thread stays with a row, and takes every so manieth tap.
    unsigned at = threadIdx.x % COUNT, row = first + at;
    Pixel own = pixel_of(map, row);
    for (unsigned tap = threadIdx.x / COUNT; tap < map.taps; tap += THREADS / COUNT) {
        Pixel shift = tap_shift(map, tap);
        bool there = row < end && on_map(map, own, shift);
        const T* p = there ? shifted_row(x, map, row, shift) : x;
        for (unsigned c = 0; c < map.inner; ++c) put(tap * map.inner + c, at, there ? operand(p[c], tf32) : operand(T(), tf32));
    }
}

// Where rows of a block are samples of one pixel, three channels of theirs lie next to one another in memory under every tap. So these lines are copied as
// they lie, sixteen bytes at a time, and warps find the terms of their operands there: nobody puts terms next to one another. In bf16, under nine taps; COUNT
// rows, and so many bytes between taps that no two of the terms that a warp reads at once lie in one bank.
template <unsigned COUNT, unsigned BETWEEN> struct StemLines {
    static constexpr unsigned CHANNELS = 3, TAPS = 9, LINE = 2 * CHANNELS * COUNT, VECTORS = LINE / 16, APART = LINE + BETWEEN, BYTES = (TAPS + 1) * APART;
    static __device__ __forceinline__ bool there(const bf16* x, const bf16* other, const Map& map) {
        return map.inner == CHANNELS && map.taps == TAPS && map.batch % COUNT == 0 && map.columns % COLUMNS == 0 && ((u64)x | (u64)other) % 16 == 0;
    }
    // Where a term is, from a row's beginning in the first tap's; those that there are not are in a line of zeros after the taps.
    static __device__ __forceinline__ unsigned place_of(unsigned term, bool may_miss) {
        return may_miss && term >= CHANNELS * TAPS ? TAPS * APART : term / CHANNELS * APART + 2 * (term % CHANNELS);
    }
    static __device__ __forceinline__ unsigned two_terms(const unsigned char* first, const unsigned char* second) {
        return *(const unsigned short*)first | (unsigned)*(const unsigned short*)second << 16;
    }
    // Asks for the sixteen bytes from byte `at` on of a tap's line, whose rows are those from `first_row` on, of `pixel`; for zeros beyond the map and the taps.
    static __device__ __forceinline__ void copy(unsigned char* lines, const bf16* x, const Map& map, Pixel pixel, unsigned first_row, unsigned tap, unsigned at) {
        Pixel shift = {(int)(tap / 3) - 1, (int)(tap % 3) - 1};
        bool there = tap < TAPS && on_map(map, pixel, shift);
        // The host sees to it that elements are counted in 32 bits.
        unsigned row = first_row + (unsigned)((shift.h * (int)map.width + shift.w) * (int)map.batch);
        const unsigned char* from = (const unsigned char*)(x + (there ? row * CHANNELS : 0u));
        cp_async_16(lines + tap * APART + at, from + at, there);
    }
};
