// A network's first layer forward: stem.cuh.
#include "columns.cuh"
#include "stem.cuh"

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
template <> struct StemTile<bf16> {
    static constexpr unsigned PITCH = TERMS + 8, WIDE = COLUMNS + 8;
    typedef StemLines<ROWS, 48> Lines;
    const bf16* own;
    // Where a term is among the products' inner places: of each eight, terms t and t + 4 are neighbours. A lane that reads these of a line, with three others and
    // eight rows, then shares no bank with them; neighbouring terms would.
    static __device__ __forceinline__ unsigned inner_place(unsigned term) { return term / 8 * 8 + term % 4 * 2 + term / 4 % 2; }
    __device__ __forceinline__ StemTile(const bf16* x, const bf16* weight, const float* bias, const Map& map, unsigned first_row, unsigned first_column,
                                        unsigned relu, unsigned) {
        SHARED(bf16, terms, [ROWS][PITCH]);
        SHARED(bf16, weights, [TERMS][WIDE]);
        SHARED(bf16, tile, [ROWS][WIDE]);
        static_assert(Lines::BYTES <= sizeof(terms), "ten lines lie where the terms would");
        unsigned t = threadIdx.x, count = map.taps * map.inner, warp_row = warp_id() * 16, g = lane_id() / 4, quad = lane_id() % 4, two = 2 * quad, a[2][4];
        Pixel pixel = pixel_of(map, first_row);
        if (Lines::there(x, weight, map)) {
            unsigned char* lines = (unsigned char*)terms[0];
            // A thread has one vector of two lines.
            unsigned line = t / Lines::VECTORS, at = t % Lines::VECTORS * 16;
            constexpr unsigned HALF = (Lines::TAPS + 1) / 2;
            if (line < HALF) {
                Lines::copy(lines, x, map, pixel, first_row, line, at);
                Lines::copy(lines, x, map, pixel, first_row, line + HALF, at);
            }
            static_assert(TERMS * COLUMNS / 8 == THREADS, "a thread has one vector of the weights");
            unsigned term = t / (COLUMNS / 8), j = t % (COLUMNS / 8) * 8;
            bool there = term < Lines::CHANNELS * Lines::TAPS;
            cp_async_16(&weights[inner_place(term)][j], there ? weight + term * map.columns + first_column + j : weight, there);
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();
            constexpr unsigned ROW = 2 * Lines::CHANNELS;
            const unsigned char* row = lines + (warp_row + g) * ROW;
            // Two terms of each of four eights; rows g and g + 8.
#pragma unroll
            for (unsigned eight = 0; eight < 4; ++eight) {
                const unsigned char *first = row + Lines::place_of(8 * eight + quad, eight == 3), *second = row + Lines::place_of(8 * eight + quad + 4, eight == 3);
                a[eight / 2][eight % 2 * 2] = Lines::two_terms(first, second);
                a[eight / 2][eight % 2 * 2 + 1] = Lines::two_terms(first + 8 * ROW, second + 8 * ROW);
            }
        } else {
            // Terms that there are not are 0.
            if (t < ROWS)
#pragma unroll 1
                for (unsigned term = count; term < TERMS; ++term) terms[t][inner_place(term)] = bf16{0};
            gather_terms<bf16, ROWS>(x, map, pixel, first_row, map.rows, 0, [&](unsigned term, unsigned at, bf16 v) { terms[at][inner_place(term)] = v; });
#pragma unroll 1
            for (unsigned i = t; i < TERMS * COLUMNS; i += THREADS) {
                unsigned term = i / COLUMNS, j = i % COLUMNS;
                bool there = term < count && first_column + j < map.columns;
                weights[inner_place(term)][j] = there ? weight[(u64)term * map.columns + first_column + j] : bf16{0};
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
