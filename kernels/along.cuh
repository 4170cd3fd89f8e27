// Operands of products on tensor cores that lie in shared memory as [row][inner], in rows of 128 bytes whose 16-byte chunks are permuted: as conv_tile.cu's
// threads store them, and as bulk copies do (hopper.cuh).
#pragma once
#include "tensor_cores.cuh"

constexpr unsigned STAGE_BYTES = 128, STEPS = 4;

struct __align__(8) Two {
    float v[2];
};

// What of a fragment is to be rounded to the type that is multiplied: bf16 is that type.
template <unsigned N> __device__ __forceinline__ void round_fragment(bf16, unsigned (&)[N]) {}
template <unsigned N> __device__ __forceinline__ void round_fragment(float, unsigned (&r)[N]) {
#pragma unroll
    for (unsigned i = 0; i < N; ++i) r[i] = to_tf32(__uint_as_float(r[i]));
}

// Where chunk c of a row is: of an operand that ldmatrix takes at c ^ (row mod 8), so that eight rows' chunks meet in no bank; of tf32 that lies across
// at c ^ 2 (row mod 4), so that the four rows of a fragment do not.
template <bool LDMATRIX> __device__ __forceinline__ unsigned swizzle(unsigned row) { return LDMATRIX ? row & 7 : (row & 3) << 1; }

// An operand that lies as [row][inner] in rows of 128 bytes. ldmatrix takes its fragments, of 8×8 matrices of two bytes and of 8×4 of four alike.
struct Along {
    // This lane's row in the first block of 16, by step.
    unsigned place[STEPS];
    static __device__ __forceinline__ Along of(unsigned row, unsigned half) {
        Along along;
#pragma unroll
        for (unsigned step = 0; step < STEPS; ++step) along.place[step] = row * STAGE_BYTES + (((2 * step + half) ^ swizzle<true>(row)) << 4);
        return along;
    }
    // Of a left operand, whose blocks are 16 × step: matrices 0 and 1 are its rows, 2 and 3 the second halves of them.
    static __device__ __forceinline__ Along left(unsigned first_row) { return of(first_row + lane_id() % 16, lane_id() / 16); }
    // Of two neighbouring blocks of a right operand, step × 8 each.
    static __device__ __forceinline__ Along right(unsigned first_column) {
        return of(first_column + lane_id() % 8 + lane_id() / 16 * 8, lane_id() / 8 % 2);
    }
    // Makes step 0 the one after `steps`.
    __device__ __forceinline__ void skip(unsigned steps) {
#pragma unroll
        for (unsigned step = 0; step < STEPS; ++step) place[step] ^= steps << 5;
    }
    // Block `block` of 16 rows (or columns).
    __device__ __forceinline__ void load(unsigned (&r)[4], Shared tile, unsigned block, unsigned step) const {
        ldmatrix_x4(r, tile + place[step] + block * 16 * STAGE_BYTES);
    }
    __device__ __forceinline__ void right_fragments(unsigned (&b0)[2], unsigned (&b1)[2], Shared tile, unsigned block, unsigned step) const {
        unsigned r[4];
        load(r, tile, block, step);
        b0[0] = r[0], b0[1] = r[1], b1[0] = r[2], b1[1] = r[3];
    }
};
