// Per-column work on a matrix whose rows are whole vectors of 16 bytes: eight columns in bf16, four in float.
//
// A block of 256 threads takes `matrix.width` vectors of a row (a power of two, at most 8) and 256 / width rows at a time; a thread keeps to its
// vector's columns and has four rows under way. What a column's constants take of roots and divisions is done by one thread for the block.
// Sums are in float over a run of rows, then over the block's threads as a tree, and in double from there on: of a float's
// terms there are RUN and a few more, and no thread converts to double in its loop.
#pragma once
#include "columns.cuh"

// Columns that a block takes at most, but for norms over groups.
constexpr unsigned MOST_COLUMNS = 64;
// Rows that a thread adds in float before double takes over.
constexpr unsigned RUN = 64;

struct __align__(16) Vector {
    unsigned w[4];
};
__device__ __forceinline__ void unpack(const Vector& from, float (&v)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = __uint_as_float(from.w[i]);
}
__device__ __forceinline__ void unpack(const Vector& from, float (&v)[8]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        v[2 * i] = __uint_as_float(from.w[i] << 16);
        v[2 * i + 1] = __uint_as_float(from.w[i] & 0xffff0000u);
    }
}
__device__ __forceinline__ Vector packed(const float (&v)[4]) {
    Vector to;
#pragma unroll
    for (int i = 0; i < 4; ++i) to.w[i] = __float_as_uint(v[i]);
    return to;
}
__device__ __forceinline__ Vector packed(const float (&v)[8]) {
    Vector to;
#pragma unroll
    for (int i = 0; i < 4; ++i) to.w[i] = pack_bf16(v[2 * i], v[2 * i + 1]);
    return to;
}

// Where a thread of a wide pass stands.
template <unsigned N> struct WidePlace {
    unsigned lane, vectors, width, first_row, step, begin, end, columns;
    // Whether the matrix has this thread's columns.
    __device__ __forceinline__ bool there() const { return lane < vectors; }
    // The one column of the block's that this thread looks after, if it has one.
    __device__ __forceinline__ unsigned own() const { return blockIdx.x * width * N + threadIdx.x; }
    __device__ __forceinline__ bool owns() const { return threadIdx.x < width * N && own() < columns; }
    // This thread's columns of what all owners have left in a row of shared memory; 0 where it has none.
    template <unsigned MOST> __device__ __forceinline__ void take(const float (&shared)[MOST], float (&v)[N]) const {
#pragma unroll
        for (unsigned i = 0; i < N; ++i) v[i] = there() ? shared[threadIdx.x % width * N + i] : 0.0f;
    }
};
// Columns of a vector.
template <typename T> constexpr unsigned EACH = 16 / sizeof(T);
template <unsigned N> __device__ __forceinline__ WidePlace<N> wide_place(const Matrix& matrix) {
    unsigned width = matrix.width, begin = blockIdx.y * matrix.rows_per_part;
    return {blockIdx.x * width + threadIdx.x % width, matrix.columns / N, width, threadIdx.x / width, 256u / width, begin,
            min(begin + matrix.rows_per_part, matrix.rows), matrix.columns};
}

// Calls load(k, vector) and then use(k, vector) for this thread's rows from `begin` to `end`, k < 4 counting rows that are under way
// together; the host sees to it that vectors are counted in 32 bits.
template <unsigned N, typename Load, typename Use>
__device__ __forceinline__ void for_rows(const WidePlace<N>& at, unsigned begin, unsigned end, Load load, Use use) {
    if (!at.there()) return;
    unsigned row = begin + at.first_row, ahead = at.step * at.vectors, vector = row * at.vectors + at.lane;
    for (; row + 3 * at.step < end; row += 4 * at.step, vector += 4 * ahead) {
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) load(k, vector + k * ahead);
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) use(k, vector + k * ahead);
    }
    // Up to three rows are left.
#pragma unroll
    for (unsigned k = 0; k < 3; ++k)
        if (row + k * at.step < end) load(k, vector + k * ahead);
#pragma unroll
    for (unsigned k = 0; k < 3; ++k)
        if (row + k * at.step < end) use(k, vector + k * ahead);
}

// Calls f(vector) for this thread's rows from `begin` to `end`, one after the other: for what takes so long of each that nobody waits for memory.
template <unsigned N, typename F> __device__ __forceinline__ void for_slow_rows(const WidePlace<N>& at, unsigned begin, unsigned end, F f) {
    if (!at.there()) return;
    unsigned row = begin + at.first_row, vector = row * at.vectors + at.lane;
#pragma unroll 1
    for (; row < end; row += at.step, vector += at.step * at.vectors) f(vector);
}

// Calls f(i, value) for columns i of this thread's rows of x from `begin` to `end`.
template <typename T, typename F>
__device__ __forceinline__ void for_values(const WidePlace<EACH<T>>& at, const T* x, unsigned begin, unsigned end, F f) {
    const Vector* from = (const Vector*)x;
    Vector v[4];
    for_rows(
        at, begin, end, [&](unsigned k, unsigned i) { v[k] = from[i]; },
        [&](unsigned k, unsigned) {
            float value[EACH<T>];
            unpack(v[k], value);
#pragma unroll
            for (unsigned i = 0; i < EACH<T>; ++i) f(i, value[i]);
        });
}

// How two numbers of threads that share a column become one.
struct Added {
    static __device__ __forceinline__ float join(float a, float b) { return a + b; }
};
struct Larger {
    static __device__ __forceinline__ float join(float a, float b) { return max_or_nan(a, b); }
};

// Joins a and b of the threads that share columns, as a tree whose shape is the width's alone, and leaves each owner's two in `total`.
// All threads must call it. MOST: columns of a block, at most.
template <typename Join, unsigned N, unsigned MOST>
__device__ __forceinline__ void join_up(float (&a)[N], float (&b)[N], const WidePlace<N>& at, float (&total)[2][MOST]) {
    SHARED(Four, others, [N / 2][128]);
    unsigned mine = threadIdx.x;
    for (unsigned distance = 128; distance >= at.width; distance >>= 1) {
        if (mine >= distance && mine < 2 * distance) {
#pragma unroll
            for (unsigned i = 0; i < N; i += 4) {
                others[i / 4][mine - distance] = {a[i], a[i + 1], a[i + 2], a[i + 3]};
                others[(N + i) / 4][mine - distance] = {b[i], b[i + 1], b[i + 2], b[i + 3]};
            }
        }
        __syncthreads();
        if (mine < distance) {
#pragma unroll
            for (unsigned i = 0; i < N; i += 4) {
                Four other_a = others[i / 4][mine], other_b = others[(N + i) / 4][mine];
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) {
                    a[i + j] = Join::join(a[i + j], other_a.v[j]);
                    b[i + j] = Join::join(b[i + j], other_b.v[j]);
                }
            }
        }
        __syncthreads();
    }
    if (mine < at.width) {
#pragma unroll
        for (unsigned i = 0; i < N; ++i) {
            total[0][mine * N + i] = a[i];
            total[1][mine * N + i] = b[i];
        }
    }
    __syncthreads();
}

// The same, added.
template <unsigned N, unsigned MOST>
__device__ __forceinline__ void add_up(float (&a)[N], float (&b)[N], const WidePlace<N>& at, float (&total)[2][MOST]) {
    join_up<Added>(a, b, at, total);
}

// Whether any thread of the block says so.
__device__ __forceinline__ bool block_any(bool vote) {
    SHARED(unsigned, votes, [8]);
    bool any = __any_sync(0xffffffffu, vote);
    if (lane_id() == 0) votes[warp_id()] = any;
    __syncthreads();
    unsigned all = 0;
    for (unsigned warp = 0; warp < 8; ++warp) all |= votes[warp];
    return all != 0;
}

// Stores an owner's two sums over a part, where store_partials would.
template <unsigned N> __device__ __forceinline__ void store_own(const Pair& sums, const WidePlace<N>& at, double* partials) {
    if (!at.owns()) return;
    partials[(u64)(2 * blockIdx.y) * at.columns + at.own()] = sums.a;
    partials[(u64)(2 * blockIdx.y + 1) * at.columns + at.own()] = sums.b;
}

// Each part's Σx and Σx² of every column, of which a block has MOST at most; all threads must call it. Float takes the sums about a pivot, the mean of the
// threads' first rows: whatever the samples are, Σ of squares about it is at most by the factor of a thread's rows, and one, above that about their mean. A
// column whose squares leave float's range is summed in double; the others keep their bits. One row alone is its own pivot, and its square exact.
template <unsigned MOST, typename T>
__device__ __forceinline__ void store_wide_moments(const T* x, double* partials, const WidePlace<EACH<T>>& at, const Matrix& matrix) {
    constexpr unsigned N = EACH<T>;
    SHARED(float, total, [2][MOST]);
    SHARED(float, pivots, [MOST]);
    const Vector* from = (const Vector*)x;
    Pair sums = {};
    bool again = false;
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        unsigned end = min(begin + RUN * at.step, at.end), rows = end - begin;
        float pivot[N] = {}, none[N] = {};
        if (at.there() && at.first_row < rows) unpack(from[(begin + at.first_row) * at.vectors + at.lane], pivot);
        add_up(pivot, none, at, total);
        if (at.owns()) pivots[threadIdx.x] = total[0][threadIdx.x] / min(rows, at.step);
        __syncthreads();
        at.take(pivots, pivot);
        float a[N] = {}, b[N] = {};
        for_values(at, x, begin, end, [&](unsigned j, float value) {
            float d = value - pivot[j];
            a[j] += d;
            b[j] = fmaf(d, d, b[j]);
        });
        add_up(a, b, at, total);
        if (at.owns()) {
            double p = pivots[threadIdx.x], d = total[0][threadIdx.x], dd = total[1][threadIdx.x];
            again = again || !((dd >= 1e-30 && dd < INF_F32) || (rows == 1 && dd == 0.0));
            sums.a += fma(p, (double)rows, d);
            sums.b += fma(p, fma(p, (double)rows, 2.0 * d), dd);
        }
    }
    if (!again) store_own(sums, at, partials);
    SHARED(unsigned, left, [256]);
    left[threadIdx.x] = again;
    if (block_any(again)) {
        unsigned columns = at.width * N;
        ColumnPlace narrow = column_place({matrix.rows, matrix.columns, matrix.rows_per_part, columns});
        // Nobody looks after a column that is done.
        if (!left[threadIdx.x % columns]) narrow.columns = 0;
        store_moments(x, partials, narrow);
    }
}

// What a norm makes of a thread's columns, each as Lifted.
template <unsigned N> struct WideAffine {
    float lift[N], shift[N], gain[N], bias[N];
    __device__ __forceinline__ float centred(unsigned i, float x) const { return fmaf(x, lift[i], shift[i]); }
    __device__ __forceinline__ float before_relu(unsigned i, float x) const { return fmaf(centred(i, x), gain[i], bias[i]); }
};
// Of what column(c) finds of each column, as Lifted; a block has MOST columns at most. All threads must call it. `inverse` of an owner's column is what
// lift (x − μ) times makes ŷ.
template <unsigned MOST, unsigned N, typename Column>
__device__ __forceinline__ WideAffine<N> wide_affine_of(const WidePlace<N>& at, Column column, double& inverse) {
    SHARED(float, shared, [4][MOST]);
    inverse = 0.0;
    if (at.owns()) {
        unsigned mine = threadIdx.x;
        Lifted own = column(at.own());
        inverse = own.inverse;
        shared[0][mine] = own.lift;
        shared[1][mine] = own.shift;
        shared[2][mine] = own.gain;
        shared[3][mine] = own.bias;
    }
    __syncthreads();
    WideAffine<N> of;
    at.take(shared[0], of.lift);
    at.take(shared[1], of.shift);
    at.take(shared[2], of.gain);
    at.take(shared[3], of.bias);
    return of;
}
// The same of a norm over the batch.
template <unsigned N>
__device__ __forceinline__ WideAffine<N> wide_affine(const WidePlace<N>& at, const float* weight, const float* bias, const float* mean,
                                                     const float* spread, double eps, unsigned kind, double& inverse) {
    auto column = [&](unsigned c) { return lifted_of(weight[c], bias[c], mean[c], divisor(spread[c], eps, kind)); };
    return wide_affine_of<MOST_COLUMNS>(at, column, inverse);
}

// Adds a run's two sums over each column to an owner's over the part, the second times `inverse`: of dy · lift (x − μ) what makes Σ dy·ŷ. A block has MOST columns
// at most; all threads must call it.
template <unsigned MOST, unsigned N>
__device__ __forceinline__ void add_run(float (&a)[N], float (&b)[N], double inverse, const WidePlace<N>& at, Pair& sums) {
    SHARED(float, total, [2][MOST]);
    add_up(a, b, at, total);
    if (!at.owns()) return;
    sums.a += total[0][threadIdx.x];
    sums.b = fma((double)total[1][threadIdx.x], inverse, sums.b);
}

// Where a thread stands on a map that a 2×2 max-pool makes smaller: it goes from row to row of the pool's output, and divides only at the
// beginning.
struct WindowWalk {
    unsigned n, x, y, next_n, next_x, next_y, batch, half, map_width, vectors, lane;
    // The k-th of the four vectors of x that the output stands for.
    __device__ __forceinline__ unsigned vector(unsigned k) const {
        return ((2 * y * map_width + 2 * x) * batch + n) * vectors + lane + ((k >> 1) * map_width + (k & 1)) * batch * vectors;
    }
    __device__ __forceinline__ void move() {
        n += next_n;
        x += next_x;
        y += next_y;
        if (n >= batch) {
            n -= batch;
            ++x;
        }
        if (x >= half) {
            x -= half;
            ++y;
        }
    }
};
__device__ __forceinline__ WindowWalk window_walk(const Pool& pool, unsigned row, unsigned step, unsigned vectors, unsigned lane) {
    unsigned half = pool.width / 2, pixel = row / pool.batch, pixels = step / pool.batch;
    return {row % pool.batch, pixel % half, pixel / half, step % pool.batch, pixels % half, pixels / half,
            pool.batch,       half,         pool.width,   vectors,           lane};
}

// Calls f(walk, output) for this thread's rows of the pool's output from `begin` to `end`, `output` being the output's vector.
template <unsigned N, typename F>
__device__ __forceinline__ void for_windows(const WidePlace<N>& at, const Pool& pool, unsigned begin, unsigned end, F f) {
    if (!at.there()) return;
    unsigned row = begin + at.first_row, output = row * at.vectors + at.lane;
    WindowWalk walk = window_walk(pool, row, at.step, at.vectors, at.lane);
    for (; row < end; row += at.step, output += at.step * at.vectors, walk.move()) f(walk, output);
}

// ---- the gradient of a norm's input --------------------------------------------------------------------------------------------------

// Σ dy and Σ dy·ŷ of an owner's column over the part, where dy reached x through the ReLU; all threads must call it.
template <unsigned MOST, typename T>
__device__ __forceinline__ Pair gradient_sums(const T* x, const T* grad_y, const WidePlace<EACH<T>>& at, const WideAffine<EACH<T>>& of, double inverse, float floor) {
    constexpr unsigned N = EACH<T>;
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Pair sums = {};
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        float a[N] = {}, b[N] = {};
        Vector v[4], w[4];
        for_rows(
            at, begin, min(begin + RUN * at.step, at.end),
            [&](unsigned k, unsigned i) {
                v[k] = from_x[i];
                w[k] = from_dy[i];
            },
            [&](unsigned k, unsigned) {
                float value[N], dy[N];
                unpack(v[k], value);
                unpack(w[k], dy);
#pragma unroll
                for (unsigned j = 0; j < N; ++j) {
                    float centred = of.centred(j, value[j]);
                    if (fmaf(centred, of.gain[j], of.bias[j]) <= floor) continue;
                    a[j] += dy[j];
                    b[j] = fmaf(dy[j], centred, b[j]);
                }
            });
        add_run<MOST>(a, b, inverse, at, sums);
    }
    return sums;
}

// dx of this thread's rows, where `of` has what a norm takes of its columns: of.before_relu(i, x), and of.dx(i, x, dy, through), `through` telling
// whether dy reached x through the ReLU.
template <typename T, typename Of>
__device__ __forceinline__ void store_gradient(const T* x, const T* grad_y, T* grad_x, const WidePlace<EACH<T>>& at, const Of& of, float floor) {
    constexpr unsigned N = EACH<T>;
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Vector v[4], w[4], *to = (Vector*)grad_x;
    for_rows(
        at, at.begin, at.end,
        [&](unsigned k, unsigned i) {
            v[k] = from_x[i];
            w[k] = from_dy[i];
        },
        [&](unsigned k, unsigned i) {
            float value[N], dy[N];
            unpack(v[k], value);
            unpack(w[k], dy);
#pragma unroll
            for (unsigned j = 0; j < N; ++j) value[j] = of.dx(j, value[j], dy[j], !(of.before_relu(j, value[j]) <= floor));
            to[i] = packed(value);
        });
}
// Reads a vector of a 2×2 max-pool's windows into `value`, the four places' x. For each column j of it, visit(j, before, largest, dy) has the four values
// before the ReLU, which of them is the largest, and dy.
template <typename T, typename Of, typename Visit>
__device__ __forceinline__ void for_chosen(const WindowWalk& walk, const Vector* x, Vector grad_y, const Of& of, float (&value)[4][EACH<T>], Visit visit) {
    constexpr unsigned N = EACH<T>;
    Vector v[4];
    float dy[N];
#pragma unroll
    for (unsigned k = 0; k < 4; ++k) v[k] = x[walk.vector(k)];
    unpack(grad_y, dy);
#pragma unroll
    for (unsigned k = 0; k < 4; ++k) unpack(v[k], value[k]);
#pragma unroll
    for (unsigned j = 0; j < N; ++j) {
        float before[4];
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) before[k] = of.before_relu(j, value[k][j]);
        visit(j, before, largest_place<T>(before), dy[j]);
    }
}

// As store_gradient, through a 2×2 max-pool: of a window's four only the largest had a part in the pool's output.
template <typename T, typename Of>
__device__ __forceinline__ void store_gradient(const T* x, const T* grad_y, T* grad_x, const WidePlace<EACH<T>>& at, const Of& of, float floor,
                                               const Pool& pool) {
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Vector* to = (Vector*)grad_x;
    for_windows(at, pool, at.begin, at.end, [&](const WindowWalk& walk, unsigned output) {
        float value[4][EACH<T>];
        for_chosen<T>(walk, from_x, from_dy[output], of, value, [&](unsigned j, const float (&before)[4], unsigned largest, float dy) {
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) value[k][j] = of.dx(j, value[k][j], dy, k == largest && !(before[k] <= floor));
        });
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) to[walk.vector(k)] = packed(value[k]);
    });
}
