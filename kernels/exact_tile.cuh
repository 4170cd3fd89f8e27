// Whole tiles of products in exact f32, without tensor cores: what conv_exact.cu's products and weight gradients share.
//
// A thread has 8 × 16 elements of a tile, so that it takes 24 numbers from shared memory for 128 multiplications. Where a tile has fewer elements than
// 256 threads have, several groups of threads have the whole tile each, and share a stage's part of the inner dimension: 8 of it each. In the end the
// groups' sums are added in a fixed order.
//
// Operands come by cp.async into a ring of stages. One that lies as [row][inner] stays so: a thread takes four of the inner dimension of a row at once.
// Its 16-byte chunks are permuted within their rows, so that eight lanes that take or store a chunk each meet in no bank.
#pragma once
#define TILE_THREADS 256
#include "tile_epilogue.cuh"

// Of the inner dimension, what a group has of a stage; and the rows and columns of a thread.
constexpr unsigned GROUP_DEPTH = 8, OWN_ROWS = 8, OWN_COLUMNS = 16, EXACT_STAGES = 4;

// Groups of threads that share a stage of a tile of so many elements.
__device__ constexpr unsigned groups_of_tile(unsigned rows, unsigned columns) { return THREADS * OWN_ROWS * OWN_COLUMNS / (rows * columns); }

// An operand that lies as [row][inner], DEPTH of the inner dimension in a stage. Chunk c of a row is at c ^ chunk_shift(row): the chunks c of eight
// rows that follow one another lie in eight different groups of banks.
template <unsigned DEPTH> __device__ __forceinline__ unsigned chunk_shift(unsigned row) {
    constexpr unsigned CHUNKS = DEPTH / 4;
    return row / (8 / CHUNKS) % CHUNKS;
}
template <unsigned DEPTH> struct FetchAlong {
    static constexpr unsigned CHUNKS = DEPTH / 4, AT_ONCE = THREADS / CHUNKS;
    unsigned row, element, place;
    __device__ __forceinline__ FetchAlong()
        : row(threadIdx.x / CHUNKS), element(threadIdx.x % CHUNKS * 4), place((row * DEPTH + ((threadIdx.x % CHUNKS ^ chunk_shift<DEPTH>(row)) << 2)) * 4) {}
    // ROWS of them; `from` is this thread's first element, and its next row is `step` elements on.
    template <unsigned ROWS> __device__ __forceinline__ void rows(Shared tile, const float* from, u64 step) const {
#pragma unroll
        for (unsigned i = 0; i < ROWS / AT_ONCE; ++i) cp_async_16(tile + place + i * AT_ONCE * DEPTH * 4, from + i * step);
    }
};
// One that lies as [inner][column], in rows of COLUMNS.
template <unsigned COLUMNS> struct FetchAcross {
    static constexpr unsigned CHUNKS = COLUMNS / 4, AT_ONCE = THREADS / CHUNKS;
    unsigned row, element, place;
    __device__ __forceinline__ FetchAcross() : row(threadIdx.x / CHUNKS), element(threadIdx.x % CHUNKS * 4), place((row * COLUMNS + element) * 4) {}
    template <unsigned ROWS> __device__ __forceinline__ void rows(Shared tile, const float* from, u64 step) const {
#pragma unroll
        for (unsigned i = 0; i < ROWS / AT_ONCE; ++i) cp_async_16(tile + place + i * AT_ONCE * COLUMNS * 4, from + i * step);
    }
};

template <bool FIRST, typename A, typename B> struct ChoiceOf {
    typedef A Type;
};
template <typename A, typename B> struct ChoiceOf<false, A, B> {
    typedef B Type;
};
template <bool FIRST, typename A, typename B> using Choice = typename ChoiceOf<FIRST, A, B>::Type;

// Goes through `total` stages: `load` asks for the next one that is left, or for none, and closes its group of copies; `multiply` takes the floats of one.
template <unsigned STAGES, unsigned STAGE, typename Load, typename Multiply>
__device__ __forceinline__ void for_stages(const float* stages, unsigned total, Load load, Multiply multiply) {
#pragma unroll
    for (unsigned stage = 0; stage + 1 < STAGES; ++stage) load();
    unsigned at = 0;
#pragma unroll 1
    for (unsigned i = 0; i < total; ++i) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        // Into the stage that was multiplied last: the barrier has seen to it that nobody reads it any more.
        load();
        multiply(stages + at);
        at = at + STAGE == STAGES * STAGE ? 0 : at + STAGE;
    }
    cp_async_wait<0>();
    __syncthreads();
}

// Where a thread's elements of a tile are: rows row + i · DOWN; columns column + j · ACROSS, or, where they are taken in fours, of four 4 · ACROSS apart.
template <unsigned ROWS, unsigned COLUMNS> struct Own {
    static constexpr unsigned ACROSS = COLUMNS / OWN_COLUMNS, DOWN = ROWS / OWN_ROWS, GROUP = ACROSS * DOWN;
    unsigned group, row, across;
    __device__ __forceinline__ Own() : group(threadIdx.x / GROUP), row(threadIdx.x % GROUP / ACROSS), across(threadIdx.x % ACROSS) {}
};

// Calls f with each of a thread's sums, and its place in a staged tile.
template <typename PlaceOf, typename F> __device__ __forceinline__ void for_sums(float (&sums)[OWN_ROWS][OWN_COLUMNS], PlaceOf place_of, F f) {
#pragma unroll
    for (unsigned i = 0; i < OWN_ROWS; ++i)
#pragma unroll
        for (unsigned j = 0; j < OWN_COLUMNS; ++j) f(sums[i][j], place_of(i, j));
}
// Adds the sums of all groups to those of the first: those of the upper half of the groups to those of the lower, until one is left. A staged tile has rows
// of COLUMNS + 8.
template <unsigned ROWS, unsigned COLUMNS, typename PlaceOf>
__device__ __forceinline__ void add_groups(float (&sums)[OWN_ROWS][OWN_COLUMNS], const Own<ROWS, COLUMNS>& own, float* staged, PlaceOf place_of) {
    constexpr unsigned TILE = ROWS * (COLUMNS + 8);
#pragma unroll
    for (unsigned half = groups_of_tile(ROWS, COLUMNS) / 2; half > 0; half /= 2) {
        if (own.group >= half && own.group < 2 * half) for_sums(sums, place_of, [&](float sum, unsigned at) { staged[(own.group - half) * TILE + at] = sum; });
        __syncthreads();
        if (own.group < half) for_sums(sums, place_of, [&](float& sum, unsigned at) { sum += staged[own.group * TILE + at]; });
        __syncthreads();
    }
}

// A tile of 128 × COLUMNS of out[r, j] = Σ_taps Σ_k a[shifted r, k] · b_tap[k, j]: the share `part` of `parts` of the walk over (tap, chunk of the inner
// dimension). The sums are left in shared memory as [row][COLUMNS + 8].
template <unsigned COLUMNS, bool TRANSPOSED>
__device__ __forceinline__ void exact_product(const float* a, const float* b, const Map& map, Place place, unsigned part, unsigned parts, unsigned char* bytes) {
    constexpr unsigned GROUPS = groups_of_tile(ROWS, COLUMNS), DEPTH = GROUP_DEPTH * GROUPS, STAGE = (ROWS + COLUMNS) * DEPTH;
    unsigned first_row = place.row_tile * ROWS, first_column = place.first_column;
    TapTable taps(map, pixel_of(map, first_row));

    // Weights lie as [inner][column], and as [column][inner] where they are taken transposed.
    FetchAlong<DEPTH> fetch_a;
    Choice<TRANSPOSED, FetchAlong<DEPTH>, FetchAcross<COLUMNS>> fetch_b;
    u64 line_b = TRANSPOSED ? map.inner : map.columns;
    const float* own_a = a + (u64)(first_row + fetch_a.row) * map.inner + fetch_a.element;
    const float* own_b = b + (TRANSPOSED ? first_column * line_b : first_column) + fetch_b.row * line_b + fetch_b.element;
    u64 step_a = fetch_a.AT_ONCE * (u64)map.inner, step_b = fetch_b.AT_ONCE * line_b, next_b = TRANSPOSED ? DEPTH : DEPTH * line_b;
    float* stages = (float*)bytes;
    Shared to = shared_place(bytes);

    TapWalk<float, DEPTH> walk(taps, own_a, own_b, map.inner, next_b, part, parts);
    unsigned stage_to = 0;
    auto load = [&]() {
        walk.ask([&](const float* from_a, const float* from_b) {
            fetch_a.template rows<ROWS>(to + stage_to, from_a, step_a);
            fetch_b.template rows<TRANSPOSED ? COLUMNS : DEPTH>(to + stage_to + ROWS * DEPTH * 4, from_b, step_b);
            stage_to = stage_to + STAGE * 4 == EXACT_STAGES * STAGE * 4 ? 0 : stage_to + STAGE * 4;
        });
        cp_async_commit();
    };

    Own<ROWS, COLUMNS> own;
    float sums[OWN_ROWS][OWN_COLUMNS] = {};
    unsigned place_a[2], place_b[2][2];
#pragma unroll
    for (unsigned h = 0; h < 2; ++h) {
        place_a[h] = own.row * DEPTH + ((own.group * 2 + h ^ chunk_shift<DEPTH>(own.row)) << 2);
#pragma unroll
        for (unsigned odd = 0; odd < 2; ++odd) {
            unsigned column = own.across + odd * own.ACROSS;
            place_b[h][odd] = ROWS * DEPTH + (TRANSPOSED ? column * DEPTH + ((own.group * 2 + h ^ chunk_shift<DEPTH>(column)) << 2)
                                                         : (own.group * GROUP_DEPTH + 4 * h) * COLUMNS + column * 4);
        }
    }
    for_stages<EXACT_STAGES, STAGE>(stages, walk.total, load, [&](const float* stage) {
#pragma unroll
        for (unsigned h = 0; h < 2; ++h) {
            Four x[OWN_ROWS];
#pragma unroll
            for (unsigned i = 0; i < OWN_ROWS; ++i) x[i] = load4(stage + place_a[h] + i * own.DOWN * DEPTH);
            if constexpr (TRANSPOSED) {
#pragma unroll
                for (unsigned j = 0; j < OWN_COLUMNS; ++j) {
                    Four y = load4(stage + place_b[h][j % 2] + j / 2 * 2 * own.ACROSS * DEPTH);
#pragma unroll
                    for (unsigned k = 0; k < 4; ++k)
#pragma unroll
                        for (unsigned i = 0; i < OWN_ROWS; ++i) sums[i][j] = fmaf(x[i].v[k], y.v[k], sums[i][j]);
                }
            } else {
#pragma unroll
                for (unsigned k = 0; k < 4; ++k)
#pragma unroll
                    for (unsigned j = 0; j < OWN_COLUMNS; j += 4) {
                        Four y = load4(stage + place_b[h][0] + k * COLUMNS + j * own.ACROSS);
#pragma unroll
                        for (unsigned e = 0; e < 4; ++e)
#pragma unroll
                            for (unsigned i = 0; i < OWN_ROWS; ++i) sums[i][j + e] = fmaf(x[i].v[k], y.v[e], sums[i][j + e]);
                    }
            }
        }
    });
    auto place_of = [&](unsigned i, unsigned j) {
        unsigned column = TRANSPOSED ? own.across + j * own.ACROSS : own.across * 4 + j / 4 * 4 * own.ACROSS + j % 4;
        return (own.row + i * own.DOWN) * (COLUMNS + 8) + column;
    };
    add_groups<ROWS, COLUMNS>(sums, own, stages, place_of);
    if (own.group == 0) for_sums(sums, place_of, [&](float sum, unsigned at) { stages[at] = sum; });
}

// A whole product by one block a tile: as whole_product.
template <unsigned COLUMNS, typename Epilogue>
__device__ __forceinline__ void exact_whole_product(const float* a, const float* b, float* out, const Epilogue& epilogue, const Map& map, Place place, unsigned transposed) {
    DYNAMIC_SHARED(bytes);
    typename Epilogue::template Held<COLUMNS, ROWS> held;
    epilogue.begin(held, place);
    if (transposed) exact_product<COLUMNS, true>(a, b, map, place, 0, 1, bytes);
    else exact_product<COLUMNS, false>(a, b, map, place, 0, 1, bytes);
    epilogue.ask(held, map, place, 0);
    __syncthreads();
    float* staged[1] = {(float*)bytes};
    Pair of = epilogue.store(held, staged, out, map, place, 0, (float*)bytes + ROWS * (COLUMNS + 8));
    put_sums<COLUMNS>(epilogue, map, place, of);
}

#if CLUSTERS
// The same in tiles of 128 × 64 where there are few: as split_product.
template <typename Epilogue>
__device__ __forceinline__ void exact_split_product(const float* a, const float* b, float* out, const Epilogue& epilogue, const Map& map, Place place, unsigned transposed) {
    constexpr unsigned COLUMNS = 64;
    DYNAMIC_SHARED(bytes);
    typename Epilogue::template Held<COLUMNS, ROWS / RANKS> held;
    epilogue.begin(held, place);
    unsigned rank = cluster_rank();
    if (transposed) exact_product<COLUMNS, true>(a, b, map, place, rank, RANKS, bytes);
    else exact_product<COLUMNS, false>(a, b, map, place, rank, RANKS, bytes);
    epilogue.ask(held, map, place, rank * (ROWS / RANKS));
    cluster_sync();
    float* staged[RANKS];
#pragma unroll
    for (unsigned other = 0; other < RANKS; ++other) staged[other] = cluster_map((float*)bytes, other);
    store_shares<COLUMNS>(epilogue, held, staged, out, map, place, (float*)bytes + ROWS * (COLUMNS + 8));
}
#endif
