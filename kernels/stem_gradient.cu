// The gradient of the first layer's weight: stem.cuh.
#include "splits.cuh"
#include "stem.cuh"

// A block's sums over rows: four groups of 64 threads take sixteen of each 64 rows. A thread has 32 of the group's 32 × 64, of which term() and column() tell
// the place. multiply() adds a step's rows, between barriers, and add_lines() all of them, where lines can be copied as they lie; room() is where 32 × 68
// floats may be, after the last.
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
    __device__ __forceinline__ bool add_lines(const float*, const float*, const Map&, unsigned, unsigned, unsigned) { return false; }
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
    typedef StemLines<STEM_STEP, 32> Lines;
    float sum[32];
    bf16 (*terms)[PITCH], (*dy)[WIDE];
    // Bytes of a stage: terms, or lines, and then dy.
    static constexpr unsigned TERMS_BYTES = 2 * STEM_STEP * PITCH, STAGE = TERMS_BYTES + 2 * STEM_STEP * WIDE;
    static_assert(Lines::BYTES <= TERMS_BYTES, "lines lie where terms would");
    unsigned char* stages;
    __device__ __forceinline__ StemSums() : sum{} {
        SHARED(unsigned char, memory, [2 * STAGE]);
        stages = memory;
        terms = (bf16(*)[PITCH])stages, dy = (bf16(*)[WIDE])(stages + TERMS_BYTES);
    }
    __device__ __forceinline__ void put(unsigned at, unsigned term, bf16 v) { terms[at][term] = v; }
    __device__ __forceinline__ void put_four(unsigned at, unsigned column, const Four& v, unsigned) { store4(&dy[at][column], v); }
    __device__ __forceinline__ void copy_four(unsigned at, unsigned column, const bf16* from, unsigned) { *(TwoWords*)&dy[at][column] = *(const TwoWords*)from; }
    __device__ __forceinline__ void add(const unsigned (&a)[2][4], const unsigned (&b)[4][2]) {
#pragma unroll
        for (unsigned i = 0; i < 2; ++i)
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
                float(&d)[4] = *(float(*)[4])(sum + 16 * i + 4 * j);
                mma_bf16(d, a[i], b[j]);
            }
    }
    __device__ __forceinline__ void multiply() {
        unsigned first = warp_id() / 2 * 16, warp_column = warp_id() % 2 * 32, a[2][4], b[4][2];
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) left_fragment_across(a[i], &terms[first][16 * i], PITCH);
#pragma unroll
        for (unsigned j = 0; j < 4; j += 2) right_fragments(b[j], b[j + 1], &dy[first][warp_column + 8 * j], WIDE);
        add(a, b);
    }
    // Of each eight rows the products take row t and then row t + 4 where others take rows 2 t and 2 t + 1: so terms are read without a conflict.
    __device__ __forceinline__ bool add_lines(const bf16* x, const bf16* grad_y, const Map& map, unsigned begin, unsigned end, unsigned first_column) {
        if (!Lines::there(x, grad_y, map)) return false;
        constexpr unsigned ROW = 2 * Lines::CHANNELS, CHUNKS = COLUMNS / 8;
        const unsigned t = threadIdx.x, line = t / Lines::VECTORS, at = t % Lines::VECTORS * 16;
        const unsigned row = t / CHUNKS, column = t % CHUNKS * 8, g = lane_id() / 4, own = lane_id() % 4;
        const unsigned warp_row = warp_id() / 2 * 16, warp_column = warp_id() % 2 * 32, matrix = lane_id() / 8;
        auto place_y = [](unsigned row, unsigned column) { return TERMS_BYTES + 2 * (row * WIDE + column); };
        auto copy = [&](unsigned stage, unsigned first, Pixel pixel) {
            unsigned char* lines = stages + stage * STAGE;
            if (line <= Lines::TAPS) Lines::copy(lines, x, map, pixel, first, line, at);
#pragma unroll
            for (unsigned more = 0; more < STEM_STEP; more += THREADS / CHUNKS)
                cp_async_16(lines + place_y(row + more, column), grad_y + (u64)(first + row + more) * map.columns + first_column + column, true);
        };
        unsigned place[4];
#pragma unroll
        for (unsigned eight = 0; eight < 4; ++eight) place[eight] = Lines::place_of(8 * eight + g, eight == 3) + (warp_row + own) * ROW;
        // This lane's row of the matrices that ldmatrix reads.
        const unsigned row_y = warp_row + matrix % 2 * 8 + lane_id() % 8 / 2 + lane_id() % 2 * 4, column_y = warp_column + matrix / 2 * 8;
        unsigned sample = begin % map.batch, stage = 0;
        Pixel pixel = pixel_of(map, begin);
        copy(0, begin, pixel);
        cp_async_commit();
        for (unsigned first = begin; first < end; first += STEM_STEP, stage ^= 1) {
            if (first + STEM_STEP < end) {
                if ((sample += STEM_STEP) == map.batch) {
                    sample = 0;
                    pixel = pixel_after(map, pixel);
                }
                copy(stage ^ 1, first + STEM_STEP, pixel);
            }
            cp_async_commit();
            cp_async_wait<1>();
            __syncthreads();
            const unsigned char* lines = stages + stage * STAGE;
            unsigned a[2][4], b[4][2];
#pragma unroll
            for (unsigned eight = 0; eight < 4; ++eight)
#pragma unroll
                for (unsigned half = 0; half < 2; ++half) {
                    const unsigned char* from = lines + place[eight] + half * 8 * ROW;
                    a[eight / 2][half * 2 + eight % 2] = Lines::two_terms(from, from + 4 * ROW);
                }
#pragma unroll
            for (unsigned j = 0; j < 4; j += 2) {
                unsigned r[4];
                ldmatrix_x4_trans(r, lines + place_y(row_y, column_y + 8 * j));
                b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
            }
            add(a, b);
            // The next copies go where these rows are.
            __syncthreads();
        }
        return true;
    }
    static __device__ __forceinline__ unsigned term(unsigned i) { return i / 16 * 16 + lane_id() / 4 + i % 4 / 2 * 8; }
    static __device__ __forceinline__ unsigned column(unsigned i) { return warp_id() % 2 * 32 + i % 16 / 4 * 8 + lane_id() % 4 * 2 + i % 2; }
    __device__ __forceinline__ float* room() const {
        SHARED(float, sums, [TERMS][COLUMNS + 4]);
        return sums[0];
    }
};

// Adds the rows from `begin` to `end`, whose terms are gathered, to a block's sums.
template <typename T>
__device__ __forceinline__ void add_gathered(StemSums<T>& sums, const T* x, const T* grad_y, const Map& map, unsigned begin, unsigned end,
                                             unsigned first_column, unsigned tf32) {
    const unsigned t = threadIdx.x;
    bool fours = map.columns % 4 == 0 && in_fours(grad_y);
    // Terms that there are not stay 0.
    for (unsigned i = t; i < STEM_STEP * TERMS; i += THREADS) sums.put(i / TERMS, i % TERMS, operand(T(), tf32));
    // The first row's sample and pixel, which go along without a division.
    unsigned sample = begin % map.batch;
    Pixel pixel = pixel_of(map, begin);
    for (unsigned first = begin; first < end; first += STEM_STEP) {
        __syncthreads();
        gather_terms<T, STEM_STEP>(x, map, pixel, first, end, tf32, [&](unsigned term, unsigned at, auto v) { sums.put(at, term, v); });
        for (sample += STEM_STEP; sample >= map.batch; sample -= map.batch) pixel = pixel_after(map, pixel);
        for (unsigned i = t; i < STEM_STEP * COLUMNS / 4; i += THREADS) {
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
}

// One split's part of dw[term, k] = Σ_rows x · dy. The groups are added up in order, and all splits in `out`. There are two blocks for each multiprocessor, so that is how many must fit.
KERNEL_OF_T(256, 2)
stem_gradient(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split, unsigned tf32) {
    wait_for_predecessor();
    StemSums<T> sums;
    unsigned t = threadIdx.x, group = t / 64, first_column = blockIdx.x * COLUMNS;
    unsigned begin = blockIdx.y * per_split, end = min(begin + per_split, map.rows);
    if (!sums.add_lines(x, grad_y, map, begin, end, first_column)) add_gathered(sums, x, grad_y, map, begin, end, first_column, tf32);
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
