// A weight gradient whose rows are split among blocks: the last block of a tile adds what all have left, where they are few.
#pragma once
#include "tickets.cuh"

// Splits that the last block of a tile adds; it has all of them under way at once. src/ops/implicit_gemm.rs has the same number.
constexpr unsigned FEW_SPLITS = 4;

// out ← the parts that `splits` splits have left of a tile of SIDE × SIDE of (c, k) under a tap, added in order, if this is the last of their blocks: as add_splits.
// `ticket` is the tile's. Nothing is done without `out`. All threads must call it, after they have stored theirs.
// Not part of its caller: the registers of that one's loops are to be given out as if it were not there.
template <unsigned SIDE>
__device__ __noinline__ void add_few_splits(const float* partials, float* out, unsigned* ticket, unsigned splits, unsigned which_tap, unsigned taps,
                                        unsigned inner, unsigned columns, unsigned first_c, unsigned first_k) {
    if (!out || !is_last(ticket, splits)) return;
    u64 len = (u64)taps * inner * columns, tap = (u64)which_tap * inner * columns;
    bool fours = columns % 4 == 0 && in_fours(partials) && in_fours(out);
    if (fours)
#pragma unroll 2
        for (unsigned i = threadIdx.x; i < SIDE * SIDE / 4; i += blockDim.x) {
            unsigned c = first_c + i / (SIDE / 4), k = first_k + i % (SIDE / 4) * 4;
            if (c >= inner || k >= columns) continue;
            u64 at = tap + (u64)c * columns + k;
            Four v[FEW_SPLITS];
#pragma unroll
            for (unsigned split = 0; split < FEW_SPLITS; ++split)
                if (split < splits) v[split] = load4(partials + split * len + at);
            Four sum = v[0];
#pragma unroll
            for (unsigned split = 1; split < FEW_SPLITS; ++split)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j)
                    if (split < splits) sum.v[j] += v[split].v[j];
            store4(out + at, sum);
        }
    else
        for (unsigned i = threadIdx.x; i < SIDE * SIDE; i += blockDim.x) {
            unsigned c = first_c + i / SIDE, k = first_k + i % SIDE;
            if (c >= inner || k >= columns) continue;
            u64 at = tap + (u64)c * columns + k;
            float sum = partials[at];
            for (unsigned split = 1; split < splits; ++split) sum += partials[split * len + at];
            out[at] = sum;
        }
}
// The same where blockIdx.x counts tiles, blockIdx.y taps and blockIdx.z splits.
template <unsigned SIDE>
__device__ __forceinline__ void add_few_splits(const float* partials, float* out, unsigned* tickets, unsigned taps, unsigned inner, unsigned columns,
                                               unsigned first_c, unsigned first_k) {
    add_few_splits<SIDE>(partials, out, tickets + blockIdx.y * gridDim.x + blockIdx.x, gridDim.z, blockIdx.y, taps, inner, columns, first_c, first_k);
}
