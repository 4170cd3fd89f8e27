// Products of warps in tf32, in whole tiles whose operands are copied and shared by clusters as those of warpgroups are (warpgroup_product.cuh).
//
// wgmma would cut its operands off to tf32, where they are to be rounded, and takes no operand of four bytes whose rows are those of the inner dimension. So
// warps take fragments from what the copies brought, round them and multiply them by mma. A warp has 64 × 64 of a tile; where warps are left over they share the
// steps of a stage, and add what they have at the end.
#pragma once
#include "warpgroup_product.cuh"

#if HOPPER

// Elements of the inner dimension in a stage; warps that share a stage's steps, the steps of each, and its blocks of 16 rows at the end.
constexpr unsigned WARP_DEPTH = 32, WARP_SQUARE_BYTES = 4096;
template <unsigned COLUMNS> __device__ constexpr unsigned step_shares() { return MULTIPLIERS / 32 / (2 * (COLUMNS / 64)); }

// Of an operand that lies as [inner][element], in squares of 32 elements, what a lane takes of a square: one element of each of its four eights, in rows t and
// t + 4 of a step of 8. Element n of eight i is 16 (n / 4) + 4 i + n mod 4 of the square: so no two of the 32 that a warp loads at once lie in one bank.
struct Eights {
    // Byte of the element of each eight, in row t; and how far that in row t + 4 is.
    unsigned place[4];
    int below;
    static __device__ __forceinline__ unsigned element(unsigned eight, unsigned n) { return n / 4 * 16 + 4 * eight + n % 4; }
    __device__ __forceinline__ Eights(unsigned first) {
        unsigned g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) place[i] = first + t * 128 + (((i + g / 4 * 4) ^ t) << 4) + g % 4 * 4;
        below = 4 * 128 + (g / 4 ? -64 : 64);
    }
    __device__ __forceinline__ void skip(unsigned steps) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) place[i] += steps * 8 * 128;
    }
    // As a right operand: four blocks of 8 × 8.
    __device__ __forceinline__ void right(unsigned (*b)[2], Shared square, unsigned step) const {
        Shared other = square + below;
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
            b[i][0] = to_tf32(__uint_as_float(load_word(square + place[i] + step * 8 * 128)));
            b[i][1] = to_tf32(__uint_as_float(load_word(other + place[i] + step * 8 * 128)));
        }
    }
    // As a left one: two blocks of 16 × 8, each of two eights.
    __device__ __forceinline__ void left(unsigned (*a)[4], Shared square, unsigned step) const {
        unsigned of[4][2];
        right(of, square, step);
#pragma unroll
        for (unsigned m = 0; m < 2; ++m)
#pragma unroll
            for (unsigned i = 0; i < 4; ++i) a[m][i] = of[2 * m + i % 2][i / 2];
    }
};
// A right operand that lies so, two squares of it.
struct Beside {
    static constexpr bool TRANSPOSED = false;
    Eights eights;
    __device__ __forceinline__ Beside(unsigned first_column) : eights(first_column / 32 * WARP_SQUARE_BYTES) {}
    __device__ __forceinline__ void skip(unsigned steps) { eights.skip(steps); }
    __device__ __forceinline__ void load(unsigned (&b)[8][2], Shared tile, unsigned step) const {
        eights.right(b, tile, step);
        eights.right(b + 4, tile + WARP_SQUARE_BYTES, step);
    }
    // Stages a row of sums that this lane has of a warp's 64 columns: those of columns 2 t and 2 t + 1 of every block.
    static __device__ __forceinline__ void put(float* row, const float (&d)[8][4], unsigned e) {
#pragma unroll
        for (unsigned n = 0; n < 8; ++n) *(Two*)(row + n / 4 * 32 + Eights::element(n % 4, lane_id() % 4 * 2)) = Two{{d[n][2 * e], d[n][2 * e + 1]}};
    }
};
// One that lies as [column][inner].
struct Transposed {
    static constexpr bool TRANSPOSED = true;
    Along along;
    __device__ __forceinline__ Transposed(unsigned first_column) : along(Along::right(first_column)) {}
    __device__ __forceinline__ void skip(unsigned steps) { along.skip(steps); }
    __device__ __forceinline__ void load(unsigned (&b)[8][2], Shared tile, unsigned step) const {
#pragma unroll
        for (unsigned n = 0; n < 8; n += 2) {
            along.right_fragments(b[n], b[n + 1], tile, n / 2, step);
            round_fragment(0.0f, b[n]);
            round_fragment(0.0f, b[n + 1]);
        }
    }
    static __device__ __forceinline__ void put(float* row, const float (&d)[8][4], unsigned e) {
#pragma unroll
        for (unsigned n = 0; n < 8; ++n) *(Two*)(row + 8 * n + lane_id() % 4 * 2) = Two{{d[n][2 * e], d[n][2 * e + 1]}};
    }
};

// Adds `total` stages to d: those of a warp's steps that `left` and `right` begin with.
template <unsigned STRIDE, unsigned WARP_STEPS, typename Right, typename Stages>
__device__ __forceinline__ void add_stages_by_warps(float (&d)[4][8][4], Ring& ring, Shared tiles, unsigned total, const Along& left, const Right& right,
                                                    const Stages& stages) {
#pragma unroll 1
    for (unsigned i = 0; i < total; ++i) {
        mbarrier_wait(ring.full + ring.stage, ring.parity);
        Shared tile_a = tiles + ring.stage * STRIDE, tile_b = tile_a + A_BYTES;
#pragma unroll
        for (unsigned step = 0; step < WARP_STEPS; ++step) {
            unsigned y[8][2];
            right.load(y, tile_b, step);
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
                unsigned x[4];
                left.load(x, tile_a, m, step);
                if (m == 3 && step + 1 == WARP_STEPS) {
                    // All lanes have read the last of the stage.
                    __syncwarp();
                    stages.give_back(ring.stage);
                }
                round_fragment(0.0f, x);
#pragma unroll
                for (unsigned n = 0; n < 8; ++n) mma_tf32(d[m][n], x, y[n]);
            }
        }
        ring.next();
    }
}

// Adds the sums of the warps that share steps, in their order, and stages the tile in `room`: each of them does so for a part of the blocks of 16 rows.
template <unsigned COLUMNS, typename Right> __device__ __forceinline__ void stage_shares(float (&d)[4][8][4], float* room) {
    constexpr unsigned SHARES = step_shares<COLUMNS>(), BLOCKS = 4 / SHARES, THREADS = MULTIPLIERS / SHARES, COUNT = 32 * BLOCKS;
    unsigned share = warp_id() % SHARES, warp = warp_id() / SHARES, own = warp * 32 + lane_id();
    auto place = [&](unsigned from, unsigned to) { return room + ((from * (SHARES - 1) + to - (to > from)) * COUNT) * THREADS + own; };
    // Nobody reads the last tile any more.
    named_barrier<1>(MULTIPLIERS);
#pragma unroll
    for (unsigned to = 0; to < SHARES; ++to) {
        if (to == share) continue;
        float* left = place(share, to);
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) left[i * THREADS] = d[to * BLOCKS + i / 32][i / 4 % 8][i % 4];
    }
    named_barrier<1>(MULTIPLIERS);
#pragma unroll
    for (unsigned part = 0; part < SHARES; ++part) {
        if (part != share) continue;
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i) {
            float& of = d[part * BLOCKS + i / 32][i / 4 % 8][i % 4];
            float sum = part == 0 ? of : place(0, part)[i * THREADS];
#pragma unroll
            for (unsigned from = 1; from < SHARES; ++from) sum += from == part ? of : place(from, part)[i * THREADS];
            of = sum;
        }
    }
    named_barrier<1>(MULTIPLIERS);
    unsigned first_row = warp % 2 * 64 + lane_id() / 4, first_column = warp / 2 * 64;
#pragma unroll
    for (unsigned part = 0; part < SHARES; ++part) {
        if (part != share) continue;
#pragma unroll
        for (unsigned m = part * BLOCKS; m < (part + 1) * BLOCKS; ++m)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) Right::put(room + (first_row + 16 * m + 8 * e) * (COLUMNS + 8) + first_column, d[m], e);
    }
    named_barrier<1>(MULTIPLIERS);
}

// As multiply_tiles.
template <unsigned COLUMNS, typename Right, unsigned STRIDE, typename Epilogue>
__device__ __forceinline__ void multiply_tiles_by_warps(const Epilogue& epilogue, float* out, const Map& map, const Share& share, unsigned first, Ring& ring,
                                                        unsigned char* stages) {
    constexpr unsigned SHARES = step_shares<COLUMNS>(), WARP_STEPS = STEPS / SHARES;
    float* room = (float*)(stages + STAGES * STRIDE);
    Shared tiles = shared_place(stages);
    unsigned warp = warp_id() / SHARES, skipped = warp_id() % SHARES * WARP_STEPS;
    Along left = Along::left(warp % 2 * 64);
    Right right(warp / 2 * 64);
    // The steps of a warp are those after its first.
    left.skip(skipped);
    right.skip(skipped);
    typename Epilogue::template Rows<COLUMNS> rows(epilogue);
    SharedStages shared(share.of_row() | share.of_column(), ring.empty);
    give_all_back(shared);
    for (unsigned number = first; number < rectangles_of(map, share, COLUMNS); number += Share::clusters()) {
        Place at(map, share, number, COLUMNS);
        if (at.there(map)) rows.begin(map, at);
        float d[4][8][4] = {};
        for (unsigned all = at.all; all; all &= all - 1u) {
            unsigned total = map.inner / WARP_DEPTH;
            if (at.own & all & (0u - all)) {
                add_stages_by_warps<STRIDE, WARP_STEPS>(d, ring, tiles, total, left, right, shared);
                continue;
            }
            // Others' weights come, and there is nothing to multiply them by.
            for (unsigned i = 0; i < total; ++i) {
                mbarrier_wait(ring.full + ring.stage, ring.parity);
                shared.give_back(ring.stage);
                ring.next();
            }
        }
        if (!at.there(map)) continue;
        stage_shares<COLUMNS, Right>(d, room);
        put_staged<COLUMNS>(epilogue, rows, out, map, at, room);
    }
}

template <unsigned COLUMNS, typename Right, typename Epilogue>
__device__ __forceinline__ void product_by_warps(const TensorMap* a, const TensorMap* b, float* out, const Epilogue& epilogue, const Map& map, unsigned across) {
    constexpr unsigned STRIDE = stage_bytes<COLUMNS>();
    clustered<COLUMNS>(
        epilogue, map, across,
        [&](const Share& share, unsigned first, Ring& between, unsigned char* stages) {
            multiply_tiles_by_warps<COLUMNS, Right, STRIDE>(epilogue, out, map, share, first, between, stages);
        },
        [&](const Share& share, unsigned first, Ring& between, unsigned char* stages) {
            fetch_operands<COLUMNS, Right::TRANSPOSED, STRIDE, WARP_DEPTH>(a, b, map, share, first, between, stages);
        });
}

#endif
