// Whole tiles on tensor cores, what conv_tile.cu's products and weight gradients share: operands in shared memory, and the main loop over them.
//
// A stage is 128 bytes of the inner dimension: 64 of bf16, 32 of tf32, four steps of mma. It comes by cp.async, and its 16-byte chunks are
// permuted within their rows, so that neither ldmatrix nor cp.async has two lanes in one bank.
#pragma once
#include "along.cuh"

// Threads of a block. Exact tiles (exact_tile.cuh) have more, and the epilogues of these.
#ifndef TILE_THREADS
#define TILE_THREADS 128
#endif
constexpr unsigned STAGES = 3, THREADS = TILE_THREADS;
template <typename T> __device__ constexpr unsigned depth() { return STAGE_BYTES / sizeof(T); }

// ---- operands in shared memory ------------------------------------------------------------------------------------------------------

// A thread's part in fetching a tile of rows of BYTES each: two chunks of a row, half a row apart, of every AT_ONCE-th row. Eight lanes that store
// together have chunks in eight places: where a row has but four of the lanes, the next row is one that is swizzled to the other half.
template <typename T, unsigned BYTES, bool LDMATRIX> struct Fetch {
    static constexpr unsigned LANES = BYTES / 32, AT_ONCE = THREADS / LANES;
    unsigned row, element, first, second;
    __device__ __forceinline__ Fetch() {
        unsigned line = threadIdx.x / LANES, chunk = threadIdx.x % LANES;
        row = LANES == 4 ? (line & ~7u) | (line & 1) << 2 | (line >> 1 & 3) : line;
        element = chunk * (16 / sizeof(T));
        first = row * BYTES + ((chunk ^ swizzle<LDMATRIX>(row)) << 4);
        second = LANES == 4 ? first ^ BYTES / 2 : first + BYTES / 2;
    }
    // ROWS of them; `from` is this thread's first element, and its next row is `step` elements on.
    template <unsigned ROWS> __device__ __forceinline__ void rows(Shared tile, const T* from, u64 step) const {
#pragma unroll
        for (unsigned i = 0; i < ROWS / AT_ONCE; ++i) {
            cp_async_16(tile + first + i * AT_ONCE * BYTES, from + i * step);
            cp_async_16(tile + second + i * AT_ONCE * BYTES, from + i * step + BYTES / 2 / sizeof(T));
        }
    }
};

// An operand that lies as [inner][row], in rows of SIDE elements. Of bf16 ldmatrix transposes; of tf32 lanes read their elements one by one.
template <typename T, unsigned SIDE> struct Across;
template <unsigned SIDE> struct Across<bf16, SIDE> {
    // This lane's chunk by the block of 16 rows: the swizzle comes back after four.
    unsigned place[4];
    static __device__ __forceinline__ Across of(unsigned k, unsigned chunk) {
        Across across;
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) across.place[i] = k * SIDE * 2 + (((chunk + 2 * i) ^ swizzle<true>(k)) << 4);
        return across;
    }
    static __device__ __forceinline__ Across right(unsigned first_column) { return of(lane_id() % 16, first_column / 8 + lane_id() / 16); }
    __device__ __forceinline__ void load(unsigned (&r)[4], Shared tile, unsigned block, unsigned step) const {
        ldmatrix_x4_trans(r, tile + place[block] + step * 16 * SIDE * 2);
    }
    __device__ __forceinline__ void skip(unsigned steps) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) place[i] += steps * 16 * SIDE * 2;
    }
    __device__ __forceinline__ void right_fragments(unsigned (&b0)[2], unsigned (&b1)[2], Shared tile, unsigned block, unsigned step) const {
        unsigned r[4];
        load(r, tile, block, step);
        b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
    }
};
template <unsigned SIDE> struct Across<float, SIDE> {
    // Byte of this lane's element (k = t, row g) and of those 8, 16 and 24 rows on; 32 rows on all lie 128 bytes further.
    unsigned place[4];
    static __device__ __forceinline__ Across right(unsigned first_column) {
        unsigned g = lane_id() / 4, t = lane_id() % 4;
        Across across;
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) across.place[i] = t * SIDE * 4 + first_column * 4 + (((2 * i + g / 4) ^ swizzle<false>(t)) << 4) + g % 4 * 4;
        return across;
    }
    // Element (k = t + 4 half, row g of the eight rows `eight`).
    __device__ __forceinline__ unsigned element(Shared tile, unsigned eight, unsigned step, unsigned half) const {
        return load_word(tile + place[eight % 4] + (eight / 4 * 128 + (8 * step + 4 * half) * SIDE * 4));
    }
    __device__ __forceinline__ void skip(unsigned steps) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) place[i] += steps * 8 * SIDE * 4;
    }
    __device__ __forceinline__ void right_fragments(unsigned (&b0)[2], unsigned (&b1)[2], Shared tile, unsigned block, unsigned step) const {
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
            b0[i] = element(tile, 2 * block, step, i);
            b1[i] = element(tile, 2 * block + 1, step, i);
        }
    }
};

// The left operand that lies so, in blocks of 16 rows. Which row of a block a fragment's two are is free, as long as `row` says it: of tf32 they are
// neighbours, which are read as one.
template <typename T, unsigned SIDE> struct LeftAcross;
template <unsigned SIDE> struct LeftAcross<bf16, SIDE> {
    Across<bf16, SIDE> of;
    __device__ __forceinline__ LeftAcross(unsigned first_row)
        : of(Across<bf16, SIDE>::of(lane_id() % 8 + lane_id() / 16 * 8, first_row / 8 + lane_id() / 8 % 2)) {}
    static __device__ __forceinline__ unsigned row(unsigned which) { return lane_id() / 4 + 8 * which; }
    __device__ __forceinline__ void skip(unsigned steps) { of.skip(steps); }
    __device__ __forceinline__ void load(unsigned (&a)[4], Shared tile, unsigned block, unsigned step) const { of.load(a, tile, block, step); }
};
template <unsigned SIDE> struct LeftAcross<float, SIDE> {
    // Byte of this lane's two elements (k = t, rows 2g and 2g + 1) in even blocks and in odd ones.
    unsigned place[2];
    __device__ __forceinline__ LeftAcross(unsigned first_row) {
        unsigned g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) place[i] = t * SIDE * 4 + first_row * 4 + (((4 * i + g / 2) ^ swizzle<false>(t)) << 4) + g % 2 * 8;
    }
    static __device__ __forceinline__ unsigned row(unsigned which) { return lane_id() / 4 * 2 + which; }
    __device__ __forceinline__ void skip(unsigned steps) {
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) place[i] += steps * 8 * SIDE * 4;
    }
    __device__ __forceinline__ void load(unsigned (&a)[4], Shared tile, unsigned block, unsigned step) const {
#pragma unroll
        for (unsigned half = 0; half < 2; ++half)
            load_words(a[2 * half], a[2 * half + 1], tile + place[block % 2] + (block / 2 * 128 + (8 * step + 4 * half) * SIDE * 4));
    }
};

// ---- the main loop --------------------------------------------------------------------------------------------------------------------

// Adds the products of `total` stages to d, a warp's 64 × 64: `load` asks for the next stage that is left, or for none, and closes its group of copies.
// A stage has the left operand's tile, then SECOND bytes on the right one's; STEPS of its steps are the warp's.
template <typename T, unsigned STAGE, unsigned SECOND, unsigned WARP_STEPS, typename Load, typename Left, typename Right>
__device__ __forceinline__ void multiply_stages(float (&d)[4][8][4], Shared stages, unsigned total, Load load, const Left& left, const Right& right) {
#pragma unroll
    for (unsigned stage = 0; stage + 1 < STAGES; ++stage) load();
    unsigned at = 0;
    for (unsigned i = 0; i < total; ++i) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        // Into the stage that was multiplied last: the barrier has seen to it that nobody reads it any more.
        load();
        Shared tile_a = stages + at, tile_b = tile_a + SECOND;
#pragma unroll
        for (unsigned step = 0; step < WARP_STEPS; ++step) {
            unsigned x[4][4], y[8][2];
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
                left.load(x[m], tile_a, m, step);
                round_fragment(T(), x[m]);
            }
#pragma unroll
            for (unsigned n = 0; n < 8; n += 2) {
                right.right_fragments(y[n], y[n + 1], tile_b, n / 2, step);
                round_fragment(T(), y[n]);
                round_fragment(T(), y[n + 1]);
            }
#pragma unroll
            for (unsigned m = 0; m < 4; ++m)
#pragma unroll
                for (unsigned n = 0; n < 8; ++n) multiply(T(), d[m][n], x[m], y[n]);
        }
        at = at + STAGE == STAGES * STAGE ? 0 : at + STAGE;
    }
    cp_async_wait<0>();
    __syncthreads();
}
