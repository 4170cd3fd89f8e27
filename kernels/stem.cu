// The convolution of a network's first layer, whose input has at most three channels: src/ops/implicit_gemm.rs. All taps and channels
// together are at most 27 terms, fewer than the general kernels take in one step for a single tap. So here they are gathered next to each
// other, once for all taps. Tensor cores are not needed, because the layer is limited by memory. Operands are f32 (rounded to tf32 where
// asked) or bf16; sums are f32.
#include "columns.cuh"
#include "splits.cuh"
#include "taps.cuh"

constexpr unsigned TERMS = 32, ROWS = 128, COLUMNS = 64, THREADS = 256;

__device__ __forceinline__ float operand(float v, unsigned tf32) { return tf32 ? __uint_as_float(to_tf32(v)) : v; }
__device__ __forceinline__ float operand(bf16 v, unsigned) { return to_f32(v); }

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
            float v = on_map(map, pixel, shift) ? operand(shifted_row(x, map, first, shift)[element], tf32) : 0.0f;
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
        for (unsigned c = 0; c < map.inner; ++c) put(tap * map.inner + c, at, there ? operand(p[c], tf32) : 0.0f);
    }
}

// out[r, j] = bias[j] + Σ_terms x · w, then the ReLU; moments as in conv_mma.cu, by way of a pair of sums for each column and `sum_rows` rows. A
// thread has eight rows of four columns.
KERNEL_OF_T(256, 4)
stem(const T* x, const T* weight, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
     unsigned* tickets_or_null, Map map, unsigned sum_rows, unsigned relu, unsigned tf32) {
    wait_for_predecessor();
    // Three terms of a row are stored together: twelve banks apart, eleven rows of them meet in but two.
    SHARED(float, terms, [TERMS][ROWS + 12]);
    SHARED(float, weights, [TERMS][COLUMNS + 4]);
    unsigned first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS, t = threadIdx.x, count = map.taps * map.inner;
    gather_terms<T, ROWS>(x, map, pixel_of(map, first_row), first_row, map.rows, tf32, [&](unsigned term, unsigned at, float v) { terms[term][at] = v; });
    for (unsigned i = t; i < count * COLUMNS; i += THREADS) {
        unsigned term = i / COLUMNS, j = i % COLUMNS;
        weights[term][j] = first_column + j < map.columns ? operand(weight[(u64)term * map.columns + first_column + j], tf32) : 0.0f;
    }
    __syncthreads();
    unsigned own_row = t / 16 * 8, own_column = t % 16 * 4;
    float sum[8][4] = {};
    for (unsigned term = 0; term < count; ++term) {
        Four low = load4(&terms[term][own_row]), high = load4(&terms[term][own_row + 4]), w = load4(&weights[term][own_column]);
#pragma unroll
        for (unsigned i = 0; i < 8; ++i)
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) sum[i][j] = fmaf(i < 4 ? low.v[i % 4] : high.v[i % 4], w.v[j], sum[i][j]);
    }
    float floor = relu_floor(relu), shift[4];
    // A thread has few rows: float is enough for their sums.
    float column_sum[4] = {}, column_square[4] = {};
    bool fours = map.columns % 4 == 0 && in_fours(out);
    unsigned columns = first_column + own_column < map.columns ? min(map.columns - first_column - own_column, 4u) : 0;
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) shift[j] = j < columns ? given(bias_or_null, first_column + own_column + j) : 0.0f;
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) {
        unsigned row = first_row + own_row + i;
        if (row >= map.rows || columns == 0) break;
        T* to = out + (u64)row * map.columns + first_column + own_column;
        Four stored;
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) stored.v[j] = above(sum[i][j] + shift[j], floor);
        if (fours) stored = store_rounded(to, stored);
        else
#pragma unroll
            for (unsigned j = 0; j < 4; ++j)
                if (j < columns) stored.v[j] = to_f32(to[j] = from_f32<T>(stored.v[j]));
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
            if (j >= columns) break;
            column_sum[j] += stored.v[j];
            column_square[j] = fmaf(stored.v[j], stored.v[j], column_square[j]);
        }
    }
    if (!sums_or_null) return;
    SHARED(float, merging, [2][16][COLUMNS]);
    store4(&merging[0][t / 16][own_column], Four{{column_sum[0], column_sum[1], column_sum[2], column_sum[3]}});
    store4(&merging[1][t / 16][own_column], Four{{column_square[0], column_square[1], column_square[2], column_square[3]}});
    __syncthreads();
    unsigned parts = ROWS / sum_rows, column = t % COLUMNS, which = t / COLUMNS % 2, each = 16 / parts;
    for (unsigned part = t / (2 * COLUMNS); part < parts; part += THREADS / (2 * COLUMNS)) {
        if (first_row + part * sum_rows >= map.rows || first_column + column >= map.columns) continue;
        double all = merging[which][part * each][column];
        for (unsigned group = 1; group < each; ++group) all += merging[which][part * each + group][column];
        sums_or_null[(u64)(2 * (blockIdx.x * parts + part) + which) * map.columns + first_column + column] = all;
    }
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    merge_moments_apart<4>(to, map.rows, tile_parts(map.columns, COLUMNS, blockIdx.x, parts, (map.rows + sum_rows - 1) / sum_rows));
}

// One split's part of dw[term, k] = Σ_rows x · dy. Four groups of 64 threads take sixteen of each 64 rows; a thread has eight terms of four
// columns. The groups are added up in order, and all splits in `out`. There are two blocks for each multiprocessor, so that is how many must fit.
KERNEL_OF_T(256, 2)
stem_gradient(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split, unsigned tf32) {
    wait_for_predecessor();
    constexpr unsigned TALL = 64;
    SHARED(float, terms, [TALL][TERMS + 4]);
    SHARED(float, dy, [TALL][COLUMNS + 4]);
    unsigned t = threadIdx.x, group = t / 64, own_term = t % 64 / 16 * 8, own_column = t % 16 * 4, first_column = blockIdx.x * COLUMNS;
    unsigned begin = blockIdx.y * per_split, end = min(begin + per_split, map.rows);
    bool fours = map.columns % 4 == 0 && in_fours(grad_y);
    // Terms that there are not stay 0.
    for (unsigned i = t; i < TALL * TERMS; i += THREADS) terms[i / TERMS][i % TERMS] = 0.0f;
    // The first row's sample and pixel, which go along without a division.
    unsigned sample = begin % map.batch;
    Pixel pixel = pixel_of(map, begin);
    float sum[8][4] = {};
    for (unsigned first = begin; first < end; first += TALL) {
        __syncthreads();
        gather_terms<T, TALL>(x, map, pixel, first, end, tf32, [&](unsigned term, unsigned at, float v) { terms[at][term] = v; });
        for (sample += TALL; sample >= map.batch; sample -= map.batch) {
            bool next_line = ++pixel.w == (int)map.width;
            if (next_line) pixel.w = 0;
            pixel.h += next_line;
        }
        for (unsigned i = t; i < TALL * COLUMNS / 4; i += THREADS) {
            unsigned at = i / (COLUMNS / 4), place = i % (COLUMNS / 4) * 4, row = first + at, column = first_column + place;
            const T* from = grad_y + (u64)row * map.columns + column;
            Four v = {};
            if (fours && row < end && column < map.columns) v = load4(from);
            else
#pragma unroll
                for (unsigned j = 0; j < 4; ++j)
                    if (row < end && column + j < map.columns) v.v[j] = to_f32(from[j]);
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) v.v[j] = operand(v.v[j], tf32);
            store4(&dy[at][place], v);
        }
        __syncthreads();
#pragma unroll 4
        for (unsigned i = 0; i < TALL / 4; ++i) {
            unsigned at = group * (TALL / 4) + i;
            Four low = load4(&terms[at][own_term]), high = load4(&terms[at][own_term + 4]), d = load4(&dy[at][own_column]);
#pragma unroll
            for (unsigned k = 0; k < 8; ++k)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) sum[k][j] = fmaf(k < 4 ? low.v[k % 4] : high.v[k % 4], d.v[j], sum[k][j]);
        }
    }
    // Where dy was; the first group adds the others' sums to its own.
    for (unsigned other = 1; other < 4; ++other) {
        __syncthreads();
        if (group == other) {
#pragma unroll
            for (unsigned k = 0; k < 8; ++k)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) dy[own_term + k][own_column + j] = sum[k][j];
        }
        __syncthreads();
        if (group != 0) continue;
#pragma unroll
        for (unsigned k = 0; k < 8; ++k)
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) sum[k][j] += dy[own_term + k][own_column + j];
    }
    float* out = partials + (u64)blockIdx.y * map.taps * map.inner * map.columns;
    if (group == 0)
#pragma unroll
        for (unsigned k = 0; k < 8; ++k)
#pragma unroll
            for (unsigned j = 0; j < 4; ++j)
                if (own_term + k < map.taps * map.inner && first_column + own_column + j < map.columns)
                    out[(u64)(own_term + k) * map.columns + first_column + own_column + j] = sum[k][j];
    // All terms of these columns are one tile.
    unsigned* tickets = tickets_or_null + blockIdx.x * split_tickets(gridDim.y);
    add_splits_of_tile<COLUMNS>(partials, out_or_null, tickets, blockIdx.y, gridDim.y, {0, 1, map.taps * map.inner, map.columns, 0, first_column, 0});
}
