// Per-column work on a matrix of rows × columns, shared by the norms.
//
// A block of 256 threads takes `width` columns (a power of two, at most 256) and 256 / width rows at a time. So lanes run along a row, and
// every thread stays with one column, whose constants it keeps in registers. blockIdx.x counts groups of columns, blockIdx.y parts of the
// rows. Sums are taken in double, so that a column of 131,072 samples far from 0 loses no digits. The partial sums are merged in the order
// of the parts, whatever the device.
#pragma once
#include "prelude.cuh"

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
