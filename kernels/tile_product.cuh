// A whole tile of a product on tensor cores: its walk over taps and inner dimension, which leaves the sums in shared memory. tile_epilogue.cuh stores them.
#pragma once
#include "taps.cuh"
#include "tiles.cuh"

constexpr unsigned ROWS = 128;
// How many warps share the steps of a stage of a product: two have half of them each where a tile has 64 columns.
__device__ constexpr unsigned step_shares(unsigned columns) { return columns == 128 ? 1 : 2; }


// How far the rows and the weights of each tap are that is on the map at a tile's pixel, in elements; others are never multiplied.
struct TapTable {
    unsigned count;
    long long (*rows)[2];
    __device__ __forceinline__ TapTable(const Map& map, Pixel pixel) {
        SHARED(long long, table, [9][2]);
        rows = table;
        count = 0;
        for (unsigned tap = 0; tap < map.taps; ++tap) {
            Pixel shift = tap_shift(map, tap);
            if (!on_map(map, pixel, shift)) continue;
            if (threadIdx.x == 0) {
                table[count][0] = (long long)(shift.h * (int)map.width + shift.w) * map.batch * map.inner;
                table[count][1] = (long long)tap * map.inner * map.columns;
            }
            ++count;
        }
        __syncthreads();
    }
};

// Where a block's tile of a product is.
struct Place {
    unsigned row_tile, first_column;
};
// Where blockIdx.x counts tiles of rows, or of each `parts` parts, and blockIdx.y those of columns.
template <unsigned COLUMNS> __device__ __forceinline__ Place place_in_grid(unsigned parts) { return {blockIdx.x / parts, blockIdx.y * COLUMNS}; }

// A block's walk over (tap, chunk of DEPTH of the inner dimension): the share `part` of `parts` of it, a stage for each.
template <typename T, unsigned DEPTH> struct TapWalk {
    const TapTable& taps;
    // This thread's first elements of the operands, and those of the stage that comes next; b's next chunk is `next_b` on.
    const T *own_a, *own_b, *from_a, *from_b;
    u64 next_b;
    // Stages of the walk, and those asked for; of a tap, and those left of the one that is being asked for.
    unsigned total, asked, chunks, left, tap;
    __device__ __forceinline__ TapWalk(const TapTable& taps, const T* own_a, const T* own_b, unsigned inner, u64 next_b, unsigned part, unsigned parts)
        : taps(taps), own_a(own_a), own_b(own_b), next_b(next_b), asked(0), chunks(inner / DEPTH) {
        unsigned all = taps.count * chunks, first = all * part / parts;
        total = all * (part + 1) / parts - first;
        tap = first / chunks;
        left = chunks - first % chunks;
        if (total > 0) enter_tap(first % chunks);
    }
    __device__ __forceinline__ void enter_tap(unsigned begin) {
        from_a = own_a + taps.rows[tap][0] + begin * DEPTH;
        from_b = own_b + taps.rows[tap][1] + begin * next_b;
    }
    // Calls fetch with the places of the next stage, if one is left.
    template <typename F> __device__ __forceinline__ void ask(F fetch) {
        if (asked++ >= total) return;
        fetch(from_a, from_b);
        from_a += DEPTH;
        from_b += next_b;
        if (--left == 0 && asked < total) {
            left = chunks;
            ++tap;
            enter_tap(0);
        }
    }
};

// A tile of 128 × COLUMNS of out[r, j] = Σ_taps Σ_k a[shifted r, k] · b_tap[k, j]: the share `part` of `parts` of the walk over (tap, chunk of the inner
// dimension). A warp has 64 rows and WARP_COLUMNS columns; where warps are left over they share the steps of a stage. The sums are left in shared
// memory as [share of the steps][row][COLUMNS + 8]: a pitch at which four rows of eight bytes a lane lie side by side.
template <typename T, unsigned COLUMNS, bool TRANSPOSED>
__device__ __forceinline__ void product(const T* a, const T* b, const Map& map, Place place, unsigned part, unsigned parts, unsigned char* bytes) {
    constexpr unsigned DEPTH = depth<T>(), WARP_STEPS = STEPS / step_shares(COLUMNS);
    constexpr unsigned A_BYTES = ROWS * STAGE_BYTES, STAGE = A_BYTES + COLUMNS * STAGE_BYTES;
    unsigned first_row = place.row_tile * ROWS, first_column = place.first_column;
    TapTable taps(map, pixel_of(map, first_row));

    // Weights lie as [inner][column], and as [column][inner] where they are taken transposed.
    Fetch<T, STAGE_BYTES, true> fetch_a;
    Fetch<T, TRANSPOSED ? STAGE_BYTES : COLUMNS * sizeof(T), TRANSPOSED || sizeof(T) == 2> fetch_b;
    u64 line_b = TRANSPOSED ? map.inner : map.columns;
    const T* own_a = a + (u64)(first_row + fetch_a.row) * map.inner + fetch_a.element;
    const T* own_b = b + (TRANSPOSED ? first_column * line_b : first_column) + fetch_b.row * line_b + fetch_b.element;
    u64 step_a = fetch_a.AT_ONCE * (u64)map.inner, step_b = fetch_b.AT_ONCE * line_b, next_b = TRANSPOSED ? DEPTH : DEPTH * line_b;
    Shared stages = shared_place(bytes);

    TapWalk<T, DEPTH> walk(taps, own_a, own_b, map.inner, next_b, part, parts);
    unsigned stage_to = 0;
    auto load = [&]() {
        walk.ask([&](const T* from_a, const T* from_b) {
            Shared stage = stages + stage_to;
            fetch_a.template rows<ROWS>(stage, from_a, step_a);
            fetch_b.template rows<TRANSPOSED ? COLUMNS : DEPTH>(stage + A_BYTES, from_b, step_b);
            stage_to = stage_to + STAGE == STAGES * STAGE ? 0 : stage_to + STAGE;
        });
        cp_async_commit();
    };
    unsigned warp_row = warp_id() / 2 * 64, warp_column = COLUMNS == 128 ? warp_id() % 2 * 64 : 0, share = COLUMNS == 128 ? 0 : warp_id() % 2;
    Along left_of = Along::left(warp_row);
    float d[4][8][4] = {};
    auto multiply_by = [&](auto right_of) {
        // The steps of a warp are those after its first.
        if (share) {
            left_of.skip(WARP_STEPS);
            right_of.skip(WARP_STEPS);
        }
        multiply_stages<T, STAGE, A_BYTES, WARP_STEPS>(d, stages, walk.total, load, left_of, right_of);
    };
    if constexpr (TRANSPOSED) multiply_by(Along::right(warp_column));
    else multiply_by(Across<T, COLUMNS>::right(warp_column));
    float* staged = (float*)bytes + share * ROWS * (COLUMNS + 8);
#pragma unroll
    for (unsigned m = 0; m < 4; ++m)
#pragma unroll
        for (unsigned n = 0; n < 8; ++n)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) {
                unsigned at_row = warp_row + 16 * m + e * 8 + lane_id() / 4, column = warp_column + 8 * n + lane_id() % 4 * 2;
                *(Two*)(staged + at_row * (COLUMNS + 8) + column) = Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
            }
}
