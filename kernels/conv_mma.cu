// Convolution and linear layers on tensor cores: the products of conv.cu with operands in bf16, or in f32 rounded to tf32. cp.async loads
// the tiles, three stages deep, 64 bytes of the inner dimension at a time; rows that are not aligned to 16 bytes use ordinary loads. Eight
// warps share a tile of 128 rows × 64 columns, each 32 × 32. Where there are too few such tiles for a device, four warps share one of 64 ×
// 64. The pitches of tiles are chosen so that ldmatrix has no bank conflicts; storing rows of 64 bytes 80 apart has some. conv_tile.cu has what
// comes in whole tiles, which is what networks are mostly made of.
#include "norm_below.cuh"
#include "taps.cuh"
#include "tensor_cores.cuh"

constexpr unsigned STAGES = 3, COLUMNS = 64;

// What differs between the operand types: elements in 16 bytes, and in a tile's depth of 64 bytes.
template <typename T> struct Kind;
template <> struct Kind<bf16> {
    static constexpr unsigned CHUNK = 8, DEPTH = 32, STEP = 16;
};
template <> struct Kind<float> {
    static constexpr unsigned CHUNK = 4, DEPTH = 16, STEP = 8;
};

// Sixteen bytes to shared memory: `valid` elements from p on, zeros after them.
template <typename T> struct Chunk {
    T* to;
    const T* p;
    unsigned valid;
};
// So many of them. Where rows are not aligned, all elements are asked for before the first is stored, which might be one of them for all that the
// compiler knows.
template <typename T, unsigned COUNT> __device__ __forceinline__ void fetch(const Chunk<T> (&chunks)[COUNT], const T* somewhere, bool vector) {
    constexpr unsigned CHUNK = Kind<T>::CHUNK;
    if (vector) {
#pragma unroll
        for (unsigned k = 0; k < COUNT; ++k) cp_async_16(chunks[k].to, chunks[k].valid ? chunks[k].p : somewhere, chunks[k].valid != 0);
        return;
    }
    T all[COUNT][CHUNK];
#pragma unroll
    for (unsigned k = 0; k < COUNT; ++k)
#pragma unroll
        for (unsigned i = 0; i < CHUNK; ++i) all[k][i] = i < chunks[k].valid ? chunks[k].p[i] : from_f32<T>(0.0f);
#pragma unroll
    for (unsigned k = 0; k < COUNT; ++k)
#pragma unroll
        for (unsigned i = 0; i < CHUNK; ++i) chunks[k].to[i] = all[k][i];
}
__device__ __forceinline__ unsigned chunk_left(unsigned at, unsigned end, unsigned chunk) {
    return min(at < end ? end - at : 0u, chunk);
}

// What of a product is stored, and which sums of its columns are left: begin() prepares, last() is what an element is stored as, add() adds it to the two
// sums of its column, and the second one counts `scale` times, with the thread that has the column's number in the tile. Here: bias and ReLU, and the
// moments of what is stored, where they are asked for: the norm that follows would otherwise read all of it for them.
template <typename T> struct Plain {
    const float* bias;
    Moments to;
    unsigned relu;
    __device__ __forceinline__ double* sums() const { return to.sums; }
    __device__ __forceinline__ double begin(float*, const Map&, unsigned) const { return 1.0; }
    __device__ __forceinline__ float last(float v, unsigned column) const { return above(v + given(bias, column), relu_floor(relu)); }
    __device__ __forceinline__ void add(const float*, u64, unsigned, double stored, double& sum, double& square) const {
        sum += stored;
        square = fma(stored, stored, square);
    }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { merge_moments_apart<2>(to, map.rows, of); }
};
// What is stored is a norm's dy, and the sums are those of its gradient.
template <typename T> struct Gradient {
    NormBelow<T> below;
    __device__ __forceinline__ double* sums() const { return below.sums; }
    __device__ __forceinline__ double begin(float* room, const Map& map, unsigned first_column) const {
        // Nobody needs the operands any more that were there.
        __syncthreads();
        double scale = 0.0;
        if (threadIdx.x < COLUMNS && first_column + threadIdx.x < map.columns) {
            Lifted own = below.lifted(below.column(first_column + threadIdx.x));
            SharedColumns<COLUMNS>{room}.put(threadIdx.x, own);
            scale = own.inverse;
        }
        __syncthreads();
        return scale;
    }
    __device__ __forceinline__ float last(float v, unsigned) const { return v; }
    __device__ __forceinline__ void add(float* room, u64 at, unsigned column, double dy, double& sum, double& sum_u) const {
        Lifted of = SharedColumns<COLUMNS>{room}.get(column);
        float centred = fmaf(to_f32(below.x[at]), of.lift, of.shift);
        if (fmaf(centred, of.gain, of.bias) <= relu_floor(below.norming.relu)) return;
        sum += dy;
        sum_u = fma(dy, (double)centred, sum_u);
    }
    __device__ __forceinline__ void merge(const Map&, const PartsOf& of) const {
        merge_gradients_apart<2>(below.sums, below.grad_gamma, below.grad_beta, below.tickets, of);
    }
};

// A tile of ROWS × 64 of the output.
template <bool TRANSPOSED, unsigned ROWS, typename T, typename Epilogue>
__device__ void product(const T* a, const T* b, T* out, const Epilogue& epilogue, const Map& map, unsigned vector) {
    constexpr unsigned CHUNK = Kind<T>::CHUNK, DEPTH = Kind<T>::DEPTH, STEP = Kind<T>::STEP, CHUNKS = DEPTH / CHUNK, THREADS = 2 * ROWS;
    constexpr unsigned PITCH_A = DEPTH + CHUNK, PITCH_B = TRANSPOSED ? DEPTH + CHUNK : COLUMNS + 8;
    constexpr unsigned TILE_A = ROWS * PITCH_A, TILE_B = TRANSPOSED ? COLUMNS * PITCH_B : DEPTH * PITCH_B;
    DYNAMIC_SHARED(bytes);
    T* tiles_a = (T*)bytes;
    T* tiles_b = tiles_a + STAGES * TILE_A;
    unsigned first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS, t = threadIdx.x;
    unsigned warp_row = warp_id() / 2 * 32, warp_column = warp_id() % 2 * 32;
    Pixel pixels[2];
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) pixels[i] = pixel_of(map, first_row + (t + i * THREADS) / CHUNKS);
    float d[2][4][4] = {};

    auto load = [&](const Walk& walk, unsigned stage) {
        Pixel shift = tap_shift(map, walk.tap);
        constexpr unsigned OF_B = COLUMNS * CHUNKS / THREADS;
        Chunk<T> chunks[2 + OF_B];
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
            unsigned at = (t + i * THREADS) / CHUNKS, row = first_row + at, k = (t + i * THREADS) % CHUNKS * CHUNK;
            bool there = row < map.rows && on_map(map, pixels[i], shift);
            unsigned valid = there ? chunk_left(walk.begin + k, map.inner, CHUNK) : 0;
            const T* p = there ? shifted_row(a, map, row, shift) + walk.begin + k : a;
            chunks[i] = {tiles_a + stage * TILE_A + at * PITCH_A + k, p, valid};
        }
        const T* own = b + (u64)walk.tap * map.inner * map.columns;
#pragma unroll
        for (unsigned each = 0; each < OF_B; ++each) {
            unsigned i = t + each * THREADS;
            if (TRANSPOSED) {
                unsigned at = i / CHUNKS, j = first_column + at, k = i % CHUNKS * CHUNK;
                unsigned valid = j < map.columns ? chunk_left(walk.begin + k, map.inner, CHUNK) : 0;
                chunks[2 + each] = {tiles_b + stage * TILE_B + at * PITCH_B + k, own + (u64)j * map.inner + walk.begin + k, valid};
            } else {
                constexpr unsigned ACROSS = COLUMNS / CHUNK;
                unsigned at = i / ACROSS, k = walk.begin + at, j = i % ACROSS * CHUNK;
                unsigned valid = k < map.inner ? chunk_left(first_column + j, map.columns, CHUNK) : 0;
                chunks[2 + each] = {tiles_b + stage * TILE_B + at * PITCH_B + j, own + (u64)k * map.columns + first_column + j, valid};
            }
        }
        fetch(chunks, a, vector);
    };

    Walk loading = walk_from(taps_of(map, first_row, ROWS)), walk = loading;
    for (unsigned stage = 0; stage + 1 < STAGES; ++stage) {
        if (!walk_ended(loading)) {
            load(loading, stage);
            walk_on(loading, map.inner, DEPTH);
        }
        cp_async_commit();
    }
    for (unsigned stage = 0; !walk_ended(walk); walk_on(walk, map.inner, DEPTH), stage = stage + 1 == STAGES ? 0 : stage + 1) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (!walk_ended(loading)) {
            // Into the tile that was multiplied last: the barrier has seen to it that nobody reads it any more.
            load(loading, stage == 0 ? STAGES - 1 : stage - 1);
            walk_on(loading, map.inner, DEPTH);
        }
        cp_async_commit();
        const T* tile_a = tiles_a + stage * TILE_A + warp_row * PITCH_A;
        const T* tile_b = tiles_b + stage * TILE_B + (TRANSPOSED ? warp_column * PITCH_B : warp_column);
#pragma unroll
        for (unsigned k = 0; k < DEPTH; k += STEP) {
            unsigned x[2][4], y[4][2];
#pragma unroll
            for (unsigned i = 0; i < 2; ++i) left_fragment(x[i], tile_a + 16 * i * PITCH_A + k, PITCH_A);
#pragma unroll
            for (unsigned j = 0; j < 4; j += 2) {
                if (TRANSPOSED) right_fragments_across(y[j], y[j + 1], tile_b + 8 * j * PITCH_B + k, PITCH_B);
                else right_fragments(y[j], y[j + 1], tile_b + k * PITCH_B + 8 * j, PITCH_B);
            }
#pragma unroll
            for (unsigned i = 0; i < 2; ++i)
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) multiply(T(), d[i][j], x[i], y[j]);
        }
    }
    cp_async_wait<0>();

    float* room = (float*)bytes;
    double scale = epilogue.begin(room, map, first_column), sum[8] = {}, second[8] = {};
#pragma unroll
    for (unsigned i = 0; i < 2; ++i)
#pragma unroll
        for (unsigned j = 0; j < 4; ++j)
#pragma unroll
            for (unsigned e = 0; e < 4; ++e) {
                unsigned row = first_row + warp_row + 16 * i + lane_id() / 4 + e / 2 * 8;
                unsigned own = warp_column + 8 * j + lane_id() % 4 * 2 + e % 2, column = first_column + own;
                if (row >= map.rows || column >= map.columns) continue;
                u64 at = (u64)row * map.columns + column;
                T v = from_f32<T>(epilogue.last(d[i][j][e], column));
                out[at] = v;
                if (epilogue.sums()) epilogue.add(room, at, own, to_f32(v), sum[2 * j + e % 2], second[2 * j + e % 2]);
            }
    if (!epilogue.sums()) return;
    // Lanes of one column, then the warps above one another, in order.
    SHARED(double, columns, [ROWS / 32][COLUMNS][2]);
#pragma unroll
    for (unsigned j = 0; j < 8; ++j) {
#pragma unroll
        for (int distance = 4; distance < 32; distance <<= 1) {
            sum[j] += __shfl_xor_sync(0xffffffffu, sum[j], distance);
            second[j] += __shfl_xor_sync(0xffffffffu, second[j], distance);
        }
        if (lane_id() < 4) {
            unsigned column = warp_column + j / 2 * 8 + lane_id() * 2 + j % 2;
            columns[warp_id() / 2][column][0] = sum[j];
            columns[warp_id() / 2][column][1] = second[j];
        }
    }
    __syncthreads();
    if (t < COLUMNS && first_column + t < map.columns)
        for (unsigned which = 0; which < 2; ++which) {
            double all = columns[0][t][which];
            for (unsigned warp = 1; warp < ROWS / 32; ++warp) all += columns[warp][t][which];
            epilogue.sums()[(u64)(2 * blockIdx.x + which) * map.columns + first_column + t] = which ? all * scale : all;
        }
    epilogue.merge(map, tile_parts(map.columns, COLUMNS, blockIdx.x, 1, gridDim.x));
}
// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in tiles of 128 × 64.
KERNEL_OF_T(256, 3)
product_mma(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
            unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu, unsigned vector) {
    wait_for_predecessor();
    Plain<T> with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<true, 128>(a, b, out, with, map, vector);
    else product<false, 128>(a, b, out, with, map, vector);
}
// As product_mma, in tiles of 64 × 64.
KERNEL_OF_T(128, 4)
product_mma_64(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
               unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu, unsigned vector) {
    wait_for_predecessor();
    Plain<T> with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<true, 64>(a, b, out, with, map, vector);
    else product<false, 64>(a, b, out, with, map, vector);
}
// The gradient of an input that a norm has made, as product_mma transposed; and dγ and dβ of that norm.
KERNEL_OF_T(256, 3)
input_gradient_mma(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                   double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map, unsigned vector) {
    wait_for_predecessor();
    Gradient<T> with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<true, 128>(a, b, out, with, map, vector);
}
// As input_gradient_mma, in tiles of 64 × 64.
KERNEL_OF_T(128, 4)
input_gradient_mma_64(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                      double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map, unsigned vector) {
    wait_for_predecessor();
    Gradient<T> with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<true, 64>(a, b, out, with, map, vector);
}

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], as weight_gradient_64: a tile of 64 × 64, each warp 16 × 32.
KERNEL_OF_T(256) weight_gradient_mma(const T* x, const T* grad_y, float* partials, Map map, unsigned per_split, unsigned vector) {
    wait_for_predecessor();
    constexpr unsigned CHUNK = Kind<T>::CHUNK, DEPTH = Kind<T>::DEPTH, STEP = Kind<T>::STEP, SIDE = 64, PITCH = SIDE + 8;
    constexpr unsigned TILE = DEPTH * PITCH, ACROSS = SIDE / CHUNK;
    DYNAMIC_SHARED(bytes);
    T* tiles_x = (T*)bytes;
    T* tiles_y = tiles_x + STAGES * TILE;
    unsigned across = (map.columns + SIDE - 1) / SIDE, t = threadIdx.x;
    unsigned first_c = blockIdx.x / across * SIDE, first_k = blockIdx.x % across * SIDE;
    unsigned warp_c = warp_id() / 2 * 16, warp_k = warp_id() % 2 * 32;
    Pixel shift = tap_shift(map, blockIdx.y);
    Rectangle rectangle = rectangle_of(map, shift);
    unsigned begin = blockIdx.z * per_split, end = min(begin + per_split, rectangle.height * rectangle.width * map.batch);
    float d[4][4] = {};
    auto load = [&](unsigned q0, unsigned stage) {
        unsigned at = t / ACROSS, q = q0 + at, place = t % ACROSS * CHUNK;
        bool there = q < end;
        unsigned row = there ? rectangle_row(map, rectangle, q) : 0;
        const T* from_x = there ? shifted_row(x, map, row, shift) + first_c + place : x;
        const T* from_y = grad_y + (u64)row * map.columns + first_k + place;
        Chunk<T> chunks[2] = {
            {tiles_x + stage * TILE + at * PITCH + place, from_x, there ? chunk_left(first_c + place, map.inner, CHUNK) : 0},
            {tiles_y + stage * TILE + at * PITCH + place, from_y, there ? chunk_left(first_k + place, map.columns, CHUNK) : 0},
        };
        fetch(chunks, x, vector);
    };
    unsigned loading = begin;
    for (unsigned stage = 0; stage + 1 < STAGES; ++stage, loading += DEPTH) {
        if (loading < end) load(loading, stage);
        cp_async_commit();
    }
    for (unsigned q = begin, stage = 0; q < end; q += DEPTH, stage = stage + 1 == STAGES ? 0 : stage + 1, loading += DEPTH) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (loading < end) load(loading, stage == 0 ? STAGES - 1 : stage - 1);
        cp_async_commit();
        const T* tile_x = tiles_x + stage * TILE + warp_c;
        const T* tile_y = tiles_y + stage * TILE + warp_k;
#pragma unroll
        for (unsigned k = 0; k < DEPTH; k += STEP) {
            unsigned a[4], b[4][2];
            left_fragment_across(a, tile_x + k * PITCH, PITCH);
#pragma unroll
            for (unsigned j = 0; j < 4; j += 2) right_fragments(b[j], b[j + 1], tile_y + k * PITCH + 8 * j, PITCH);
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) multiply(T(), d[j], a, b[j]);
        }
    }
    cp_async_wait<0>();
    float* out = partials + ((u64)blockIdx.z * map.taps + blockIdx.y) * map.inner * map.columns;
#pragma unroll
    for (unsigned j = 0; j < 4; ++j)
#pragma unroll
        for (unsigned e = 0; e < 4; ++e) {
            unsigned c = first_c + warp_c + lane_id() / 4 + e / 2 * 8, k = first_k + warp_k + 8 * j + lane_id() % 4 * 2 + e % 2;
            if (c < map.inner && k < map.columns) out[(u64)c * map.columns + k] = d[j][e];
        }
}
