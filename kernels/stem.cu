// The convolution of a network's first layer, whose input has at most three channels: src/ops/implicit_gemm.rs. All taps and channels
// together are at most 27 terms, fewer than the general kernels take in one step for a single tap. So here they are gathered next to each
// other, once for all taps. Operands are f32 (rounded to tf32 where asked) or bf16, which tensor cores multiply; sums are f32.
#include "columns.cuh"
#include "splits.cuh"
#include "taps.cuh"
#include "tensor_cores.cuh"

constexpr unsigned TERMS = 32, ROWS = 128, COLUMNS = 64, THREADS = 256, STEM_STEP = 64;

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
            auto v = on_map(map, pixel, shift) ? operand(shifted_row(x, map, first, shift)[element], tf32) : operand(T(), tf32);
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
        for (unsigned c = 0; c < map.inner; ++c) put(tap * map.inner + c, at, there ? operand(p[c], tf32) : operand(T(), tf32));
    }
}

// A block's 128 rows of 64 columns: what is stored of a thread's eight rows of four columns, from its first row and column; and how that is stored where
// four elements can be moved as one.
template <typename T> struct StemTile;
template <> struct StemTile<float> {
    float sum[8][4], shift[4], floor;
    __device__ __forceinline__ StemTile(const float* x, const float* weight, const float* bias, const Map& map, unsigned first_row, unsigned first_column,
                                        unsigned relu, unsigned tf32)
        : sum{}, floor(relu_floor(relu)) {
        // Three terms of a row are stored together: twelve banks apart, eleven rows of them meet in but two.
        SHARED(float, terms, [TERMS][ROWS + 12]);
        SHARED(float, weights, [TERMS][COLUMNS + 4]);
        unsigned t = threadIdx.x, count = map.taps * map.inner, own_row = t / 16 * 8, own_column = t % 16 * 4;
        gather_terms<float, ROWS>(x, map, pixel_of(map, first_row), first_row, map.rows, tf32, [&](unsigned term, unsigned at, float v) { terms[term][at] = v; });
        for (unsigned i = t; i < count * COLUMNS; i += THREADS) {
            unsigned term = i / COLUMNS, j = i % COLUMNS;
            weights[term][j] = first_column + j < map.columns ? operand(weight[(u64)term * map.columns + first_column + j], tf32) : 0.0f;
        }
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) shift[j] = first_column + own_column + j < map.columns ? given(bias, first_column + own_column + j) : 0.0f;
        __syncthreads();
        for (unsigned term = 0; term < count; ++term) {
            Four low = load4(&terms[term][own_row]), high = load4(&terms[term][own_row + 4]), w = load4(&weights[term][own_column]);
#pragma unroll
            for (unsigned i = 0; i < 8; ++i)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) sum[i][j] = fmaf(i < 4 ? low.v[i % 4] : high.v[i % 4], w.v[j], sum[i][j]);
        }
    }
    __device__ __forceinline__ Four row(unsigned i) const {
        Four stored;
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) stored.v[j] = above(sum[i][j] + shift[j], floor);
        return stored;
    }
    __device__ __forceinline__ Four store(unsigned i, float* to) const { return store_rounded(to, row(i)); }
};
// On tensor cores a warp has 16 rows, which it leaves rounded in shared memory.
//
// Where a block's rows are all the samples of one pixel, or 128 of them, three channels of these lie next to one another in memory under every tap. They are
// copied as they lie, sixteen bytes at a time, and the warps find the terms of their operands there: nobody puts terms next to one another.
template <> struct StemTile<bf16> {
    static constexpr unsigned PITCH = TERMS + 8, WIDE = COLUMNS + 8, CHANNELS = 3, TAPS = 9;
    // Bytes of a tap's rows and vectors of them; taps are so far apart that no two terms of a row and its seven neighbours lie in one bank.
    static constexpr unsigned LINE = 2 * CHANNELS * ROWS, VECTORS = LINE / 16, APART = LINE + 48;
    const bf16* own;
    // Where a term is, from a row's beginning in the first tap's; those that there are not are in a line of zeros after the taps.
    static __device__ __forceinline__ unsigned place_of(unsigned term, bool may_miss) {
        return may_miss && term >= CHANNELS * TAPS ? TAPS * APART : term / CHANNELS * APART + 2 * (term % CHANNELS);
    }
    static __device__ __forceinline__ unsigned two_terms(const unsigned char* first, const unsigned char* second) {
        return *(const unsigned short*)first | (unsigned)*(const unsigned short*)second << 16;
    }
    __device__ __forceinline__ StemTile(const bf16* x, const bf16* weight, const float* bias, const Map& map, unsigned first_row, unsigned first_column,
                                        unsigned relu, unsigned) {
        SHARED(bf16, terms, [ROWS][PITCH]);
        SHARED(bf16, weights, [TERMS][WIDE]);
        SHARED(bf16, tile, [ROWS][WIDE]);
        static_assert((TAPS + 1) * APART <= sizeof(terms), "ten lines lie where the terms would");
        unsigned t = threadIdx.x, count = map.taps * map.inner, warp_row = warp_id() * 16, g = lane_id() / 4, two = lane_id() % 4 * 2, a[2][4];
        Pixel pixel = pixel_of(map, first_row);
        bool whole = map.inner == CHANNELS && map.taps == TAPS && map.batch % ROWS == 0 && map.columns % COLUMNS == 0 && ((u64)x | (u64)weight) % 16 == 0;
        if (whole) {
            unsigned char* lines = (unsigned char*)terms[0];
            // A thread has one vector of two lines.
            unsigned line = t / VECTORS, at = t % VECTORS * 16;
            auto copy = [&](unsigned tap) {
                Pixel shift = {(int)(tap / 3) - 1, (int)(tap % 3) - 1};
                bool there = tap < TAPS && on_map(map, pixel, shift);
                // The host sees to it that elements are counted in 32 bits.
                unsigned row = first_row + (unsigned)((shift.h * (int)map.width + shift.w) * (int)map.batch);
                const unsigned char* from = (const unsigned char*)(x + (there ? row * CHANNELS : 0u));
                cp_async_16(lines + tap * APART + at, from + at, there);
            };
            if (line < (TAPS + 1) / 2) {
                copy(line);
                copy(line + (TAPS + 1) / 2);
            }
            static_assert(TERMS * COLUMNS / 8 == THREADS, "a thread has one vector of the weights");
            unsigned term = t / (COLUMNS / 8), j = t % (COLUMNS / 8) * 8;
            bool there = term < CHANNELS * TAPS;
            cp_async_16(&weights[term][j], there ? weight + term * map.columns + first_column + j : weight, there);
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();
            const unsigned char* row = lines + (warp_row + g) * (2 * CHANNELS);
            // The terms `two`, and the next, of each of four eights; rows g and g + 8.
#pragma unroll
            for (unsigned eight = 0; eight < 4; ++eight) {
                const unsigned char *first = row + place_of(8 * eight + two, eight == 3), *second = row + place_of(8 * eight + two + 1, eight == 3);
                a[eight / 2][eight % 2 * 2] = two_terms(first, second);
                a[eight / 2][eight % 2 * 2 + 1] = two_terms(first + 16 * CHANNELS, second + 16 * CHANNELS);
            }
        } else {
            // Terms that there are not are 0.
            if (t < ROWS)
#pragma unroll 1
                for (unsigned term = count; term < TERMS; ++term) terms[t][term] = bf16{0};
            gather_terms<bf16, ROWS>(x, map, pixel, first_row, map.rows, 0, [&](unsigned term, unsigned at, bf16 v) { terms[at][term] = v; });
#pragma unroll 1
            for (unsigned i = t; i < TERMS * COLUMNS; i += THREADS) {
                unsigned term = i / COLUMNS, j = i % COLUMNS;
                bool there = term < count && first_column + j < map.columns;
                weights[term][j] = there ? weight[(u64)term * map.columns + first_column + j] : bf16{0};
            }
            __syncthreads();
#pragma unroll
            for (unsigned k = 0; k < 2; ++k) left_fragment(a[k], &terms[warp_row][16 * k], PITCH);
        }
        float d[8][4] = {};
#pragma unroll
        for (unsigned k = 0; k < 2; ++k)
#pragma unroll
            for (unsigned j = 0; j < 8; j += 2) {
                unsigned b[2][2];
                right_fragments(b[0], b[1], &weights[16 * k][8 * j], WIDE);
                mma_bf16(d[j], a[k], b[0]);
                mma_bf16(d[j + 1], a[k], b[1]);
            }
        if (bias || relu) {
            float floor = relu ? 0.0f : -INF_F32;
#pragma unroll
            for (unsigned j = 0; j < 8; ++j)
#pragma unroll
                for (unsigned e = 0; e < 2; ++e) {
                    unsigned column = first_column + 8 * j + two + e;
                    float shift = column < map.columns ? given(bias, column) : 0.0f;
                    d[j][e] = max_or_nan(d[j][e] + shift, floor);
                    d[j][2 + e] = max_or_nan(d[j][2 + e] + shift, floor);
                }
        }
#pragma unroll
        for (unsigned j = 0; j < 8; ++j)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e)
                *(unsigned*)&tile[warp_row + g + 8 * e][8 * j + two] = pack_bf16(d[j][2 * e], d[j][2 * e + 1]);
        // A thread's eight rows are its own warp's.
        __syncwarp();
        own = &tile[t / 16 * 8][t % 16 * 4];
    }
    __device__ __forceinline__ Four row(unsigned i) const { return load4(own + i * WIDE); }
    __device__ __forceinline__ Four store(unsigned i, bf16* to) const {
        TwoWords words = *(const TwoWords*)(own + i * WIDE);
        *(TwoWords*)to = words;
        return four_of(words);
    }
};

// out[r, j] = bias[j] + Σ_terms x · w, then the ReLU; moments as in conv_mma.cu, by way of a pair of sums for each column and `sum_rows` rows. A
// thread has eight rows of four columns.
KERNEL_OF_T(256, 4)
stem(const T* x, const T* weight, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
     unsigned* tickets_or_null, Map map, unsigned sum_rows, unsigned relu, unsigned tf32) {
    wait_for_predecessor();
    unsigned first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS, t = threadIdx.x, own_row = t / 16 * 8, own_column = t % 16 * 4;
    StemTile<T> tile(x, weight, bias_or_null, map, first_row, first_column, relu, tf32);
    // A thread has few rows: float is enough for their sums.
    float column_sum[4] = {}, column_square[4] = {};
    bool fours = map.columns % 4 == 0 && in_fours(out);
    unsigned columns = first_column + own_column < map.columns ? min(map.columns - first_column - own_column, 4u) : 0;
    T* to = out + (u64)(first_row + own_row) * map.columns + first_column + own_column;
    auto add = [&](const Four& stored, unsigned j) {
        column_sum[j] += stored.v[j];
        column_square[j] = fmaf(stored.v[j], stored.v[j], column_square[j]);
    };
    if (fours && columns == 4 && first_row + own_row + 8 <= map.rows) {
#pragma unroll
        for (unsigned i = 0; i < 8; ++i, to += map.columns) {
            Four stored = tile.store(i, to);
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) add(stored, j);
        }
    } else {
#pragma unroll
        for (unsigned i = 0; i < 8; ++i, to += map.columns) {
            if (first_row + own_row + i >= map.rows) break;
            Four stored = tile.row(i);
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
                if (j >= columns) break;
                stored.v[j] = to_f32(to[j] = from_f32<T>(stored.v[j]));
                add(stored, j);
            }
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
    Moments moments = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    merge_moments_apart<4>(moments, map.rows, tile_parts(map.columns, COLUMNS, blockIdx.x, parts, (map.rows + sum_rows - 1) / sum_rows));
}

// A block's sums over rows: four groups of 64 threads take sixteen of each 64 rows. A thread has 32 of the group's 32 × 64, of which place() tells the
// term and the column. multiply() adds a step's rows, between barriers; room() is where 32 × 68 floats may be, after the last.
template <typename T> struct StemSums;
template <> struct StemSums<float> {
    float sum[32], (*terms)[TERMS + 4], (*dy)[COLUMNS + 4];
    __device__ __forceinline__ StemSums() : sum{} {
        SHARED(float, of_terms, [STEM_STEP][TERMS + 4]);
        SHARED(float, of_dy, [STEM_STEP][COLUMNS + 4]);
        terms = of_terms, dy = of_dy;
    }
    __device__ __forceinline__ void put(unsigned at, unsigned term, float v) { terms[at][term] = v; }
    __device__ __forceinline__ void put_four(unsigned at, unsigned column, const Four& v, unsigned tf32) {
        Four rounded;
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) rounded.v[j] = operand(v.v[j], tf32);
        store4(&dy[at][column], rounded);
    }
    __device__ __forceinline__ void copy_four(unsigned at, unsigned column, const float* from, unsigned tf32) { put_four(at, column, load4(from), tf32); }
    __device__ __forceinline__ void multiply() {
        unsigned t = threadIdx.x, own_term = t % 64 / 16 * 8, own_column = t % 16 * 4;
#pragma unroll 4
        for (unsigned i = 0; i < STEM_STEP / 4; ++i) {
            unsigned at = t / 64 * (STEM_STEP / 4) + i;
            Four low = load4(&terms[at][own_term]), high = load4(&terms[at][own_term + 4]), d = load4(&dy[at][own_column]);
#pragma unroll
            for (unsigned k = 0; k < 8; ++k)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) sum[4 * k + j] = fmaf(k < 4 ? low.v[k % 4] : high.v[k % 4], d.v[j], sum[4 * k + j]);
        }
    }
    static __device__ __forceinline__ unsigned term(unsigned i) { return threadIdx.x % 64 / 16 * 8 + i / 4; }
    static __device__ __forceinline__ unsigned column(unsigned i) { return threadIdx.x % 16 * 4 + i % 4; }
    __device__ __forceinline__ float* room() const { return dy[0]; }
};
// On tensor cores a warp of a group has all terms of 32 columns.
template <> struct StemSums<bf16> {
    static constexpr unsigned PITCH = TERMS + 8, WIDE = COLUMNS + 8;
    float sum[32];
    bf16 (*terms)[PITCH], (*dy)[WIDE];
    __device__ __forceinline__ StemSums() : sum{} {
        SHARED(bf16, of_terms, [STEM_STEP][PITCH]);
        SHARED(bf16, of_dy, [STEM_STEP][WIDE]);
        terms = of_terms, dy = of_dy;
    }
    __device__ __forceinline__ void put(unsigned at, unsigned term, bf16 v) { terms[at][term] = v; }
    __device__ __forceinline__ void put_four(unsigned at, unsigned column, const Four& v, unsigned) { store4(&dy[at][column], v); }
    __device__ __forceinline__ void copy_four(unsigned at, unsigned column, const bf16* from, unsigned) { *(TwoWords*)&dy[at][column] = *(const TwoWords*)from; }
    __device__ __forceinline__ void multiply() {
        unsigned first = warp_id() / 2 * 16, warp_column = warp_id() % 2 * 32, a[2][4], b[4][2];
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) left_fragment_across(a[i], &terms[first][16 * i], PITCH);
#pragma unroll
        for (unsigned j = 0; j < 4; j += 2) right_fragments(b[j], b[j + 1], &dy[first][warp_column + 8 * j], WIDE);
#pragma unroll
        for (unsigned i = 0; i < 2; ++i)
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
                float(&d)[4] = *(float(*)[4])(sum + 16 * i + 4 * j);
                mma_bf16(d, a[i], b[j]);
            }
    }
    static __device__ __forceinline__ unsigned term(unsigned i) { return i / 16 * 16 + lane_id() / 4 + i % 4 / 2 * 8; }
    static __device__ __forceinline__ unsigned column(unsigned i) { return warp_id() % 2 * 32 + i % 16 / 4 * 8 + lane_id() % 4 * 2 + i % 2; }
    __device__ __forceinline__ float* room() const {
        SHARED(float, sums, [TERMS][COLUMNS + 4]);
        return sums[0];
    }
};

// One split's part of dw[term, k] = Σ_rows x · dy. The groups are added up in order, and all splits in `out`. There are two blocks for each multiprocessor, so that is how many must fit.
KERNEL_OF_T(256, 2)
stem_gradient(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split, unsigned tf32) {
    wait_for_predecessor();
    constexpr unsigned TALL = STEM_STEP;
    StemSums<T> sums;
    unsigned t = threadIdx.x, group = t / 64, first_column = blockIdx.x * COLUMNS;
    unsigned begin = blockIdx.y * per_split, end = min(begin + per_split, map.rows);
    bool fours = map.columns % 4 == 0 && in_fours(grad_y);
    // Terms that there are not stay 0.
    for (unsigned i = t; i < TALL * TERMS; i += THREADS) sums.put(i / TERMS, i % TERMS, operand(T(), tf32));
    // The first row's sample and pixel, which go along without a division.
    unsigned sample = begin % map.batch;
    Pixel pixel = pixel_of(map, begin);
    for (unsigned first = begin; first < end; first += TALL) {
        __syncthreads();
        gather_terms<T, TALL>(x, map, pixel, first, end, tf32, [&](unsigned term, unsigned at, auto v) { sums.put(at, term, v); });
        for (sample += TALL; sample >= map.batch; sample -= map.batch) {
            bool next_line = ++pixel.w == (int)map.width;
            if (next_line) pixel.w = 0;
            pixel.h += next_line;
        }
        for (unsigned i = t; i < TALL * COLUMNS / 4; i += THREADS) {
            unsigned at = i / (COLUMNS / 4), place = i % (COLUMNS / 4) * 4, row = first + at, column = first_column + place;
            const T* from = grad_y + (u64)row * map.columns + column;
            if (fours && row < end && column < map.columns) {
                sums.copy_four(at, place, from, tf32);
                continue;
            }
            Four v = {};
#pragma unroll
            for (unsigned j = 0; j < 4; ++j)
                if (row < end && column + j < map.columns) v.v[j] = to_f32(from[j]);
            sums.put_four(at, place, v, tf32);
        }
        __syncthreads();
        sums.multiply();
    }
    // The first group adds the others' sums to its own.
    float* room = sums.room();
    for (unsigned other = 1; other < 4; ++other) {
        __syncthreads();
        if (group == other) {
#pragma unroll
            for (unsigned i = 0; i < 32; ++i) room[sums.term(i) * (COLUMNS + 4) + sums.column(i)] = sums.sum[i];
        }
        __syncthreads();
        if (group != 0) continue;
#pragma unroll
        for (unsigned i = 0; i < 32; ++i) sums.sum[i] += room[sums.term(i) * (COLUMNS + 4) + sums.column(i)];
    }
    float* out = partials + (u64)blockIdx.y * map.taps * map.inner * map.columns;
    if (group == 0)
#pragma unroll
        for (unsigned i = 0; i < 32; ++i)
            if (sums.term(i) < map.taps * map.inner && first_column + sums.column(i) < map.columns)
                out[(u64)sums.term(i) * map.columns + first_column + sums.column(i)] = sums.sum[i];
    // All terms of these columns are one tile.
    unsigned* tickets = tickets_or_null + blockIdx.x * split_tickets(gridDim.y);
    add_splits_of_tile<COLUMNS>(partials, out_or_null, tickets, blockIdx.y, gridDim.y, {0, 1, map.taps * map.inner, map.columns, 0, first_column, 0});
}
