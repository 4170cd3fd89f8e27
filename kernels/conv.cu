// Convolution and linear layers in exact f32, as sums of dense products over the valid taps (src/ops/conv2d), without tensor cores. A block
// computes a tile of rows × columns. Each thread computes a part of it in registers, from tiles in shared memory that hold 16 of the inner
// dimension at a time. The next tiles are read into registers while the current ones are multiplied.
#include "norm_below.cuh"
#include "taps.cuh"

constexpr unsigned DEPTH = 16;

// Four elements from p on, of which the first `valid` are there; whole fours are aligned where `vector`.
__device__ __forceinline__ Four some4(const float* p, unsigned valid, bool vector) {
    if (vector && valid >= 4) return load4(p);
    Four f = {};
#pragma unroll
    for (unsigned i = 0; i < 4; ++i)
        if (i < valid) f.v[i] = p[i];
    return f;
}
__device__ __forceinline__ unsigned left_of(unsigned at, unsigned end) { return at < end ? end - at : 0; }

// What a product leaves of its columns: the moments of what is stored, for BatchNorm; where what is stored is a norm's dy, the sums of that one's gradient.
struct MomentsLeft {
    Moments to;
    __device__ __forceinline__ double* sums() const { return to.sums; }
    // Adds a thread's numbers of a column, of its rows from `row` on, of which those that are not there are 0.
    template <unsigned N> __device__ __forceinline__ Pair add(const float (&v)[N], const Map&, unsigned, unsigned) const {
        Pair all = {};
#pragma unroll
        for (unsigned i = 0; i < N; ++i) {
            all.a += (double)v[i];
            all.b = fma((double)v[i], (double)v[i], all.b);
        }
        return all;
    }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { merge_moments_apart<2>(to, map.rows, of); }
};
struct GradientLeft {
    NormBelow<float> below;
    __device__ __forceinline__ double* sums() const { return below.sums; }
    template <unsigned N> __device__ __forceinline__ Pair add(const float (&v)[N], const Map& map, unsigned row, unsigned column) const {
        Pair all = {};
        if (column >= map.columns) return all;
        Lifted of = below.lifted(below.column(column));
        float floor = relu_floor(below.norming.relu);
        for (unsigned i = 0; i < N && row + i < map.rows; ++i) {
            float centred = fmaf(below.x[(u64)(row + i) * map.columns + column], of.lift, of.shift);
            if (fmaf(centred, of.gain, of.bias) <= floor) continue;
            all.a += (double)v[i];
            all.b = fma((double)v[i], (double)centred, all.b);
        }
        return {all.a, all.b * of.inverse};
    }
    __device__ __forceinline__ void merge(const Map&, const PartsOf& of) const {
        merge_gradients_apart<2>(below.sums, below.grad_gamma, below.grad_beta, below.tickets, of);
    }
};

// A tile of ROWS × COLUMNS of the output. b_tap lies as [inner, columns], or transposed. What `left` leaves of the columns goes by way of each row tile's
// two sums.
template <unsigned ROWS, unsigned COLUMNS, unsigned EACH_ROWS, unsigned EACH_COLUMNS, typename Left>
__device__ void product(const float* a, const float* b, const float* bias, float* out, const Left& left, const Map& map, unsigned transposed,
                        unsigned relu, unsigned vector) {
    constexpr unsigned ACROSS = COLUMNS / EACH_COLUMNS, THREADS = ROWS / EACH_ROWS * ACROSS;
    constexpr unsigned FOURS_A = ROWS * DEPTH / 4 / THREADS, FOURS_B = COLUMNS * DEPTH / 4 / THREADS;
    SHARED(float, tile_a, [DEPTH][ROWS + 4]);
    SHARED(float, tile_b, [DEPTH][COLUMNS + 4]);
    unsigned first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS, t = threadIdx.x;
    unsigned own_row = t / ACROSS * EACH_ROWS, own_column = t % ACROSS * EACH_COLUMNS;
    Pixel pixels[FOURS_A];
#pragma unroll
    for (unsigned i = 0; i < FOURS_A; ++i) pixels[i] = pixel_of(map, first_row + (t + i * THREADS) / (DEPTH / 4));
    Four next_a[FOURS_A], next_b[FOURS_B];
    float sums[EACH_ROWS][EACH_COLUMNS] = {};

    auto read = [&](const Walk& walk) {
        Pixel shift = tap_shift(map, walk.tap);
#pragma unroll
        for (unsigned i = 0; i < FOURS_A; ++i) {
            unsigned row = first_row + (t + i * THREADS) / (DEPTH / 4), k = walk.begin + (t + i * THREADS) % (DEPTH / 4) * 4;
            bool there = row < map.rows && on_map(map, pixels[i], shift);
            next_a[i] = there ? some4(shifted_row(a, map, row, shift) + k, left_of(k, map.inner), vector) : Four{};
        }
        const float* own = b + (u64)walk.tap * map.inner * map.columns;
#pragma unroll
        for (unsigned i = 0; i < FOURS_B; ++i) {
            unsigned four = t + i * THREADS;
            if (transposed) {
                unsigned j = first_column + four / (DEPTH / 4), k = walk.begin + four % (DEPTH / 4) * 4;
                next_b[i] = j < map.columns ? some4(own + (u64)j * map.inner + k, left_of(k, map.inner), vector) : Four{};
            } else {
                unsigned k = walk.begin + four / (COLUMNS / 4), j = first_column + four % (COLUMNS / 4) * 4;
                next_b[i] = k < map.inner ? some4(own + (u64)k * map.columns + j, left_of(j, map.columns), vector) : Four{};
            }
        }
    };
    auto write = [&]() {
#pragma unroll
        for (unsigned i = 0; i < FOURS_A; ++i) {
            unsigned four = t + i * THREADS;
#pragma unroll
            for (unsigned e = 0; e < 4; ++e) tile_a[four % (DEPTH / 4) * 4 + e][four / (DEPTH / 4)] = next_a[i].v[e];
        }
#pragma unroll
        for (unsigned i = 0; i < FOURS_B; ++i) {
            unsigned four = t + i * THREADS;
            if (transposed) {
#pragma unroll
                for (unsigned e = 0; e < 4; ++e) tile_b[four % (DEPTH / 4) * 4 + e][four / (DEPTH / 4)] = next_b[i].v[e];
            } else {
                store4(&tile_b[four / (COLUMNS / 4)][four % (COLUMNS / 4) * 4], next_b[i]);
            }
        }
    };

    Walk walk = walk_from(taps_of(map, first_row, ROWS));
    read(walk);
    while (!walk_ended(walk)) {
        write();
        __syncthreads();
        walk_on(walk, map.inner, DEPTH);
        if (!walk_ended(walk)) read(walk);
#pragma unroll
        for (unsigned k = 0; k < DEPTH; ++k) {
            float x[EACH_ROWS], y[EACH_COLUMNS];
#pragma unroll
            for (unsigned i = 0; i < EACH_ROWS; i += 4) *(Four*)&x[i] = load4(&tile_a[k][own_row + i]);
#pragma unroll
            for (unsigned j = 0; j < EACH_COLUMNS; j += 4) *(Four*)&y[j] = load4(&tile_b[k][own_column + j]);
#pragma unroll
            for (unsigned i = 0; i < EACH_ROWS; ++i)
#pragma unroll
                for (unsigned j = 0; j < EACH_COLUMNS; ++j) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
        }
        __syncthreads();
    }
    float floor = relu_floor(relu);
#pragma unroll
    for (unsigned i = 0; i < EACH_ROWS; ++i) {
        unsigned row = first_row + own_row + i;
#pragma unroll
        for (unsigned j = 0; j < EACH_COLUMNS; ++j) {
            unsigned column = first_column + own_column + j;
            bool there = row < map.rows && column < map.columns;
            float v = above(sums[i][j] + given(bias, column < map.columns ? column : 0), floor);
            if (there) out[(u64)row * map.columns + column] = v;
            // What is not there adds nothing below.
            sums[i][j] = there ? v : 0.0f;
        }
    }
    if (!left.sums()) return;
    SHARED(double, merging, [2][THREADS]);
#pragma unroll
    for (unsigned j = 0; j < EACH_COLUMNS; ++j) {
        float own[EACH_ROWS];
#pragma unroll
        for (unsigned i = 0; i < EACH_ROWS; ++i) own[i] = sums[i][j];
        Pair all_own = left.add(own, map, first_row + own_row, first_column + own_column + j);
        merging[0][t] = all_own.a;
        merging[1][t] = all_own.b;
        __syncthreads();
        unsigned which = t / ACROSS, column = first_column + t % ACROSS * EACH_COLUMNS + j;
        if (which < 2 && column < map.columns) {
            double all = merging[which][t % ACROSS];
            for (unsigned above_it = t % ACROSS + ACROSS; above_it < THREADS; above_it += ACROSS) all += merging[which][above_it];
            left.sums()[(u64)(2 * blockIdx.x + which) * map.columns + column] = all;
        }
        __syncthreads();
    }
    left.merge(map, tile_parts(map.columns, COLUMNS, blockIdx.x, 1, gridDim.x));
}

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in tiles of 128 × 128.
extern "C" __global__ void __launch_bounds__(256, 1)
product_128x128(const float* a, const float* b, const float* bias_or_null, float* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu, unsigned vector) {
    wait_for_predecessor();
    product<128, 128, 8, 8>(a, b, bias_or_null, out, MomentsLeft{{sums_or_null, mean_or_null, var_or_null, tickets_or_null}}, map, transposed, relu, vector);
}
// As product_128x128, in tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(256, 2)
product_128x64(const float* a, const float* b, const float* bias_or_null, float* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
               unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu, unsigned vector) {
    wait_for_predecessor();
    product<128, 64, 8, 4>(a, b, bias_or_null, out, MomentsLeft{{sums_or_null, mean_or_null, var_or_null, tickets_or_null}}, map, transposed, relu, vector);
}
// As product_128x128, in tiles of 32 × 32, for small problems: blocks of two warps.
extern "C" __global__ void __launch_bounds__(64)
product_32x32(const float* a, const float* b, const float* bias_or_null, float* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
              unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu, unsigned vector) {
    wait_for_predecessor();
    product<32, 32, 4, 4>(a, b, bias_or_null, out, MomentsLeft{{sums_or_null, mean_or_null, var_or_null, tickets_or_null}}, map, transposed, relu, vector);
}

// The gradient of an input that a norm has made, as product_128x128 transposed; and dγ and dβ of that norm.
extern "C" __global__ void __launch_bounds__(256, 1)
input_gradient_128x128(const float* a, const float* b, float* out, const float* x, const float* gamma, const float* beta, const float* mean,
                       const float* spread, double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map, unsigned vector) {
    wait_for_predecessor();
    GradientLeft left = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<128, 128, 8, 8>(a, b, nullptr, out, left, map, 1, 0, vector);
}
// As input_gradient_128x128, in tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(256, 1)
input_gradient_128x64(const float* a, const float* b, float* out, const float* x, const float* gamma, const float* beta, const float* mean,
                      const float* spread, double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map, unsigned vector) {
    wait_for_predecessor();
    GradientLeft left = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<128, 64, 8, 4>(a, b, nullptr, out, left, map, 1, 0, vector);
}

// A tile of SIDE × SIDE of (c, k). blockIdx.y is the tap, blockIdx.z the split of `per_split` rows; blockIdx.x counts tiles of c and of k.
// map.inner is C, map.columns K.
template <unsigned SIDE, unsigned EACH>
__device__ void weight_gradient(const float* x, const float* grad_y, float* partials, const Map& map, unsigned per_split, unsigned vector) {
    constexpr unsigned ACROSS = SIDE / EACH, THREADS = ACROSS * ACROSS, FOURS = SIDE * DEPTH / 4 / THREADS;
    SHARED(float, tile_x, [DEPTH][SIDE + 4]);
    SHARED(float, tile_y, [DEPTH][SIDE + 4]);
    unsigned tiles = (map.columns + SIDE - 1) / SIDE, t = threadIdx.x;
    unsigned first_c = blockIdx.x / tiles * SIDE, first_k = blockIdx.x % tiles * SIDE;
    unsigned own_c = t / ACROSS * EACH, own_k = t % ACROSS * EACH;
    Pixel shift = tap_shift(map, blockIdx.y);
    Rectangle rectangle = rectangle_of(map, shift);
    unsigned begin = blockIdx.z * per_split, end = min(begin + per_split, rectangle.height * rectangle.width * map.batch);
    float sums[EACH][EACH] = {};
    Four next_x[FOURS], next_y[FOURS];
    auto read = [&](unsigned q0) {
#pragma unroll
        for (unsigned i = 0; i < FOURS; ++i) {
            unsigned four = t + i * THREADS, q = q0 + four / (SIDE / 4), at = four % (SIDE / 4) * 4;
            next_x[i] = Four{};
            next_y[i] = Four{};
            if (q >= end) continue;
            unsigned row = rectangle_row(map, rectangle, q);
            next_x[i] = some4(shifted_row(x, map, row, shift) + first_c + at, left_of(first_c + at, map.inner), vector);
            next_y[i] = some4(grad_y + (u64)row * map.columns + first_k + at, left_of(first_k + at, map.columns), vector);
        }
    };
    if (begin < end) read(begin);
    for (unsigned q = begin; q < end; q += DEPTH) {
#pragma unroll
        for (unsigned i = 0; i < FOURS; ++i) {
            unsigned four = t + i * THREADS;
            store4(&tile_x[four / (SIDE / 4)][four % (SIDE / 4) * 4], next_x[i]);
            store4(&tile_y[four / (SIDE / 4)][four % (SIDE / 4) * 4], next_y[i]);
        }
        __syncthreads();
        if (q + DEPTH < end) read(q + DEPTH);
#pragma unroll
        for (unsigned k = 0; k < DEPTH; ++k) {
            float a[EACH], b[EACH];
#pragma unroll
            for (unsigned i = 0; i < EACH; i += 4) {
                *(Four*)&a[i] = load4(&tile_x[k][own_c + i]);
                *(Four*)&b[i] = load4(&tile_y[k][own_k + i]);
            }
#pragma unroll
            for (unsigned i = 0; i < EACH; ++i)
#pragma unroll
                for (unsigned j = 0; j < EACH; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
        }
        __syncthreads();
    }
    float* out = partials + ((u64)blockIdx.z * map.taps + blockIdx.y) * map.inner * map.columns;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i)
#pragma unroll
        for (unsigned j = 0; j < EACH; ++j) {
            unsigned c = first_c + own_c + i, k = first_k + own_k + j;
            if (c < map.inner && k < map.columns) out[(u64)c * map.columns + k] = sums[i][j];
        }
}
// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k] over the q that have the tap on the map; in tiles of 64 × 64.
extern "C" __global__ void __launch_bounds__(256)
weight_gradient_64(const float* x, const float* grad_y, float* partials, Map map, unsigned per_split, unsigned vector) {
    wait_for_predecessor();
    weight_gradient<64, 4>(x, grad_y, partials, map, per_split, vector);
}
// As weight_gradient_64, in tiles of 32 × 32.
extern "C" __global__ void __launch_bounds__(64)
weight_gradient_32(const float* x, const float* grad_y, float* partials, Map map, unsigned per_split, unsigned vector) {
    wait_for_predecessor();
    weight_gradient<32, 4>(x, grad_y, partials, map, per_split, vector);
}

// out ← the splits' parts, added in order.
extern "C" __global__ void __launch_bounds__(256) add_splits(const float* partials, float* out, unsigned splits, unsigned len) {
    wait_for_predecessor();
    for (u64 i = global_thread(); i < len; i += global_threads()) {
        float sum = partials[i];
        for (unsigned split = 1; split < splits; ++split) sum += partials[(u64)split * len + i];
        out[i] = sum;
    }
}

// As add_splits, of many splits of few elements: a block takes 32 of these, each warp every eighth split; then the warps are added in order.
extern "C" __global__ void __launch_bounds__(256) add_many_splits(const float* partials, float* out, unsigned splits, unsigned len) {
    wait_for_predecessor();
    SHARED(float, sums, [8][32]);
    unsigned i = blockIdx.x * 32 + lane_id();
    float sum = 0.0f;
    if (i < len)
        for (unsigned split = warp_id(); split < splits; split += 8) sum += partials[(u64)split * len + i];
    sums[warp_id()][lane_id()] = sum;
    __syncthreads();
    if (threadIdx.x >= 32 || i >= len) return;
    for (unsigned warp = 1; warp < 8; ++warp) sum += sums[warp][threadIdx.x];
    out[i] = sum;
}

__device__ __noinline__ void merge_sums(double* partials, float* sums, unsigned* tickets, PartsOf of) {
    merge_parts<Sum, 1>(partials, tickets, of, [&](unsigned column, double all, double) { sums[column] = (float)all; });
}
// Each part's Σ of every column, and of all parts: a bias's gradient.
KERNEL_OF_T(256) column_sums(const T* x, double* partials, float* sums, unsigned* tickets, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    double sum = 0.0;
    for_column(at, [&](u64 i) { sum += to_f32(x[i]); });
    store_partials<Sum>(sum, 0.0, at, partials);
    merge_sums(partials, sums, tickets, block_parts(at.columns, at.width));
}
