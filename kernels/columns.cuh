// Per-column work on a matrix of rows × columns, shared by the norms.
//
// A block of 256 threads takes `width` columns (a power of two, at most 256) and 256 / width rows at a time. So lanes run along a row, and
// every thread stays with one column, whose constants it keeps in registers. blockIdx.x counts groups of columns, blockIdx.y parts of the
// rows. Sums are taken in double, so that a column of 131,072 samples far from 0 loses no digits. The partial sums are merged in the order
// of the parts, whatever the device: by the block that comes last (merge_parts), or by a launch of its own (finish_columns), in the same order.
#pragma once
#include "tickets.cuh"

// A matrix, and how a pass over its columns shares it out: a block takes `width` columns, `rows_per_part` rows of them.
BY_VALUE Matrix { unsigned rows, columns, rows_per_part, width; };

// The map of a norm's input that a 2×2 max-pool follows: its `width`, 0 where no pool does, and the `batch` N.
BY_VALUE Pool { unsigned width, batch; };

struct ColumnPlace {
    unsigned column, first_row, step, end_row, columns, width;
    // Whether the matrix has this column.
    __device__ __forceinline__ bool there() const { return column < columns; }
    __device__ __forceinline__ u64 element(unsigned row) const { return (u64)row * columns + column; }
};
__device__ __forceinline__ ColumnPlace column_place(const Matrix& matrix) {
    unsigned width = matrix.width, begin = blockIdx.y * matrix.rows_per_part, end = min(begin + matrix.rows_per_part, matrix.rows);
    return {blockIdx.x * width + threadIdx.x % width, begin + threadIdx.x / width, 256u / width, end, matrix.columns, width};
}
// Calls f(element) for every element of this thread, if it has a column.
template <typename F> __device__ __forceinline__ void for_column(const ColumnPlace& at, F f) {
    if (!at.there()) return;
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) f(at.element(row));
}

// Merges a and b of the threads that share a column, in order of their rows, and stores them as
// partials[(part · 2) · columns + column] and the next row of it.
template <typename Merge>
__device__ __forceinline__ void store_partials(double a, double b, const ColumnPlace& at, double* partials) {
    SHARED(double, pairs, [512]);
    pairs[threadIdx.x] = a;
    pairs[256 + threadIdx.x] = b;
    __syncthreads();
    if (threadIdx.x >= at.width || !at.there()) return;
    for (unsigned other = threadIdx.x + at.width; other < 256; other += at.width) {
        a = Merge::merge(a, pairs[other]);
        b = Merge::merge(b, pairs[256 + other]);
    }
    partials[at.element(2 * blockIdx.y)] = a;
    partials[at.element(2 * blockIdx.y + 1)] = b;
}

// Each part's Σx and Σx² of every column.
template <typename T> __device__ __forceinline__ void store_moments(const T* x, double* partials, const ColumnPlace& at) {
    double sum = 0.0, square = 0.0;
    for_column(at, [&](u64 i) {
        double v = to_f32(x[i]);
        sum += v;
        square = fma(v, v, square);
    });
    store_partials<Sum>(sum, square, at, partials);
}

// Parts are merged in classes: every 32nd part in order, then the classes in fours as a tree, then these in order.
constexpr unsigned CLASSES = 32;
// Tickets of a tile of columns: one for each group of blocks that share classes, and one for all of them. src/ops/launch_grid.rs has the same number.
constexpr unsigned TILE_TICKETS = CLASSES + 1;

// The columns that a block has partial sums of, `count` from `first`; `tile` counts such columns, `block` the blocks that have the same. A block has
// `each` of the `parts` (1, 2 or 4), which follow one another.
struct PartsOf {
    unsigned columns, first, count, tile, block, each, parts;
};

// Calls f(column, a, b) for every column of this block: its two numbers over all parts, on one thread of the block that comes last. All threads must
// call it, after they have stored theirs. Where there are many parts, the last block of those that share a class merges the class before, in
// place of its first part. FOURS: how many fours of numbers a thread has under way.
template <typename Merge, unsigned FOURS, typename F>
__device__ __forceinline__ void merge_parts(double* partials, unsigned* tickets, const PartsOf& of, F f) {
    constexpr unsigned AT_ONCE = FOURS < 4 ? 4 * FOURS : 16;
    SHARED(double, merged, [2][128]);
    unsigned groups = CLASSES / of.each, group = of.block % groups, blocks = (of.parts + of.each - 1) / of.each;
    u64 row = of.columns;
    double* own = partials + of.first;
    tickets += of.tile * TILE_TICKETS;
    if (blocks > groups) {
        if (!is_last(tickets + group, (blocks - group + groups - 1) / groups)) return;
        for (unsigned i = threadIdx.x; i < 2 * of.count * of.each; i += blockDim.x) {
            // Of a class its two rows.
            unsigned at = group * of.each * 2 + i / of.count;
            double *to = own + at * row + i % of.count, all = Merge::none();
#pragma unroll AT_ONCE
            for (unsigned part = at; part < 2 * of.parts; part += 2 * CLASSES) all = Merge::merge(all, to[(part - at) * row]);
            to[0] = all;
        }
    }
    if (blocks == 1) __syncthreads();
    else if (!is_last(tickets + CLASSES, min(blocks, groups))) return;
    for (unsigned i = threadIdx.x; i < 2 * of.count; i += blockDim.x) {
        unsigned which = i / of.count, column = i % of.count;
        double all = Merge::none();
#pragma unroll FOURS
        for (unsigned four = 0; four < CLASSES; four += 4) {
            double v[4];
#pragma unroll
            for (unsigned k = 0; k < 4; ++k)
                v[k] = four + k < of.parts ? Merge::merge(Merge::none(), own[(2 * (four + k) + which) * row + column]) : Merge::none();
            double merged_four = Merge::merge(Merge::merge(v[0], v[1]), Merge::merge(v[2], v[3]));
            all = four == 0 ? merged_four : Merge::merge(all, merged_four);
        }
        merged[which][column] = all;
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < of.count; i += blockDim.x) f(of.first + i, merged[0][i], merged[1][i]);
}
// What a block has in a pass over columns, of which it takes `width`.
__device__ __forceinline__ PartsOf block_parts(unsigned columns, unsigned width) {
    unsigned first = blockIdx.x * width;
    return {columns, first, min(width, columns - first), blockIdx.x, blockIdx.y, 1, gridDim.y};
}
// And in a product in tiles of `width` columns: there blockIdx.x counts tiles of rows, blockIdx.y those of columns.
__device__ __forceinline__ PartsOf tile_parts(unsigned columns, unsigned width, unsigned block, unsigned each, unsigned parts) {
    unsigned first = blockIdx.y * width;
    return {columns, first, min(width, columns - first), blockIdx.y, block, each, parts};
}
// dβ and dγ of a block's columns, from the parts' Σdy and Σdy·ŷ. Like merge_parts.
template <unsigned FOURS>
__device__ __forceinline__ void merge_gradients(double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, const PartsOf& of) {
    merge_parts<Sum, FOURS>(partials, tickets, of, [&](unsigned column, double sum, double sum_u) {
        grad_bias[column] = (float)sum;
        grad_weight[column] = (float)sum_u;
    });
}

// Calls f(column, a, b) on one thread for every column: its two numbers over all parts. A block of 256 threads has eight columns, so that what its
// lanes read lies in whole sectors; each of 32 threads of a column merges every 32nd part in order, and these are merged in a fixed order too.
template <typename Merge, typename F>
__device__ __forceinline__ void finish_columns(const double* partials, unsigned columns, unsigned parts, F f) {
    SHARED(double, warps, [2][8][8]);
    unsigned column = blockIdx.x * 8u + threadIdx.x % 8;
    double a = Merge::none(), b = Merge::none();
    if (column < columns)
        for (unsigned part = threadIdx.x / 8; part < parts; part += 32) {
            a = Merge::merge(a, partials[(u64)(2 * part) * columns + column]);
            b = Merge::merge(b, partials[(u64)(2 * part + 1) * columns + column]);
        }
#pragma unroll
    for (int distance = 8; distance < 32; distance <<= 1) {
        a = Merge::merge(a, __shfl_xor_sync(0xffffffffu, a, distance));
        b = Merge::merge(b, __shfl_xor_sync(0xffffffffu, b, distance));
    }
    if (lane_id() < 8) {
        warps[0][warp_id()][lane_id()] = a;
        warps[1][warp_id()][lane_id()] = b;
    }
    __syncthreads();
    if (threadIdx.x >= 8 || column >= columns) return;
    for (unsigned warp = 1; warp < 8; ++warp) {
        a = Merge::merge(a, warps[0][warp][threadIdx.x]);
        b = Merge::merge(b, warps[1][warp][threadIdx.x]);
    }
    f(column, a, b);
}

struct Pair {
    double a, b;
};
// Mean and variance of `count` numbers from Σv and Σv². Rounding may leave a hair below 0 where all are equal; a NaN stays one.
__device__ __forceinline__ Pair moments_of(double sum, double square, double count) {
    double mean = sum / count, variance = square / count - mean * mean;
    return {mean, variance < 0.0 ? 0.0 : variance};
}

// Where the moments of columns go: `sums` are the parts' Σ and Σ².
struct Moments {
    double* sums;
    float *mean, *var;
    unsigned* tickets;
};
// μ and σ² of a block's columns, which have `rows`. Like merge_parts.
template <unsigned FOURS> __device__ __forceinline__ void merge_moments(const Moments& to, unsigned rows, const PartsOf& of) {
    merge_parts<Sum, FOURS>(to.sums, to.tickets, of, [&](unsigned column, double sum, double square) {
        Pair moments = moments_of(sum, square, rows);
        to.mean[column] = (float)moments.a;
        to.var[column] = (float)moments.b;
    });
}

// The same, but not part of its caller, a product: the registers of that one's main loop are given out as if it were not there.
template <unsigned FOURS> __device__ __noinline__ void merge_moments_apart(Moments to, unsigned rows, PartsOf of) {
    merge_moments<FOURS>(to, rows, of);
}

// S comes from σ² (kind 0: √(σ² + ε)) or s (kind 1: s + ε): running statistics and ℓp norms too.
__device__ __forceinline__ double divisor(float spread, double eps, unsigned kind) {
    return kind ? (double)spread + eps : sqrt((double)spread + eps);
}

// What a divisor that is all but 0 is multiplied by, and what it divides too: so that its inverse is a float. A power of two, nearly always 1.
__device__ __forceinline__ float lift_of(double divisor) { return divisor < 1e-30 ? 18446744073709551616.0f : 1.0f; }

// What a norm makes of a column, and the ReLU: y = max((x − μ) lift · gain + β, floor). `lift` is 1 but where a norm calls lift_of.
struct Affine {
    float mean, lift, gain, bias, floor;
    __device__ __forceinline__ float centred(float x) const { return (x - mean) * lift; }
    __device__ __forceinline__ float before_relu(float x) const { return fmaf(centred(x), gain, bias); }
    __device__ __forceinline__ float y(float x) const { return above(before_relu(x), floor); }
    // dy where the ReLU let y through.
    __device__ __forceinline__ float upstream(float x, float dy) const { return before_relu(x) <= floor ? 0.0f : dy; }
};
__device__ __forceinline__ Affine affine_of(float weight, float bias, float mean, double divisor, unsigned relu, float lift = 1.0f) {
    return {mean, lift, (float)((double)weight / (divisor * lift)), bias, relu_floor(relu)};
}

// A power of two near 1/S, by which x − μ is of the size of ŷ whatever x's is: products of such numbers stay in a float's range. No digit of y
// depends on it. μ times it is a float too.
__device__ __forceinline__ float near_inverse(double divisor, float mean) {
    double least = fabs((double)mean) * 0x1p-120;
    int exponent = (int)((u64)__double_as_longlong(divisor > least ? divisor : least) >> 52 & 0x7ff) - 1023;
    return __int_as_float((127 - max(-126, min(exponent, 126))) << 23);
}

// What a norm makes of a column, lifted near ŷ: y = max((lift x + shift) · gain + bias, floor), where lift x + shift is lift (x − μ), rounded once, and
// that times `inverse` is ŷ.
struct Lifted {
    float lift, shift, gain, bias;
    double inverse;
};
__device__ __forceinline__ Lifted lifted_of(float weight, float bias, float mean, double divisor) {
    float lift = near_inverse(divisor, mean);
    return {lift, -mean * lift, (float)((double)weight / (divisor * lift)), bias, 1.0 / (divisor * lift)};
}

// What a 2×2 max-pool that follows makes of a norm's passes: they then go over its outputs, of which each has a window of four rows of the
// map, and the norm's own output is never stored. Without one a window is the row itself. The map has an even number of rows and columns.
template <unsigned COUNT> struct Window {
    unsigned row[COUNT];
};
template <unsigned COUNT> __device__ __forceinline__ Window<COUNT> window_of(const Pool& pool, unsigned row) {
    if constexpr (COUNT == 1) return {{row}};
    else {
        unsigned half = pool.width / 2, pixel = row / pool.batch, n = row % pool.batch;
        unsigned corner = (pixel / half * 2 * pool.width + pixel % half * 2) * pool.batch + n;
        return {{corner, corner + pool.batch, corner + pool.width * pool.batch, corner + (pool.width + 1) * pool.batch}};
    }
}
// The place of the first largest, as stored in T; a NaN is the largest.
template <typename T, unsigned COUNT> __device__ __forceinline__ unsigned largest_place(const float (&v)[COUNT]) {
    unsigned place = 0;
    float best = to_f32(from_f32<T>(v[0]));
#pragma unroll
    for (unsigned k = 1; k < COUNT; ++k) {
        float other = to_f32(from_f32<T>(v[k]));
        if (other > best || other != other) {
            best = other;
            place = k;
        }
    }
    return place;
}

// The same of numbers that x were made into: the first largest as stored, and the x that it was made of.
struct Chosen {
    float y, x;
};
template <typename T, unsigned COUNT> __device__ __forceinline__ Chosen choose(const float (&y)[COUNT], const float (&x)[COUNT]) {
    Chosen of = {to_f32(from_f32<T>(y[0])), x[0]};
#pragma unroll
    for (unsigned k = 1; k < COUNT; ++k) {
        float other = to_f32(from_f32<T>(y[k]));
        if (other > of.y || other != other) of = {other, x[k]};
    }
    return of;
}

// Reads x at a window, and tells where its largest y is.
template <typename T, unsigned COUNT>
__device__ __forceinline__ unsigned read_window(const T* x, const Affine& of, const ColumnPlace& at, const Window<COUNT>& window, float (&v)[COUNT]) {
    float y[COUNT];
#pragma unroll
    for (unsigned k = 0; k < COUNT; ++k) {
        v[k] = to_f32(x[at.element(window.row[k])]);
        y[k] = of.y(v[k]);
    }
    return COUNT > 1 ? largest_place<T>(y) : 0;
}
