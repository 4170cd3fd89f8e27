// What all kernels share; the only header. Text for two compilers: NVRTC (no CUDA header is needed) and, with NORMSCAPE_HOST,
// the host's C++ compiler for the emulator, which declares the built-ins (threadIdx, __syncthreads, shuffles) in host.h.
//
// - KERNEL_OF_T and BY_VALUE: how kernels of both element types are written, and the structs of numbers that they take
// - numbers: f32, bf16 (round to nearest even), tf32; no kernel relies on the compiler fusing a·b + c: it is written fmaf
// - vectors of 4 elements; sums over a warp and a block, in a fixed order
// - shared memory by macros: SHARED(type, name, [N][M]) and DYNAMIC_SHARED(name)
// - Philox4x32-10 and the laws drawn from it: the same bits as src/runtime/rng.rs
// - cp.async, ldmatrix, mma.sync, clusters: each wrapper has a version for the host
//
// Names of indices: n sample, h w pixel, c input channel, k output channel, r row = sample of a unit ((h·W + w)·N + n).
#pragma once

typedef unsigned long long u64;

#ifdef NORMSCAPE_HOST
#define SHARED(type, name, dims)                                                                                          \
    static char name##_key;                                                                                               \
    typedef type name##_type dims;                                                                                        \
    name##_type& name = *(name##_type*)emu_shared(&name##_key, sizeof(name##_type))
#define DYNAMIC_SHARED(name) unsigned char* const name = (unsigned char*)emu_dynamic()
#else
#define SHARED(type, name, dims) __shared__ __align__(16) type name dims
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif

// ---- kernels and what they take -------------------------------------------------------------------------------------------

// A kernel for both types in which activations are stored, T = float and T = bf16: build.rs appends its two entries, NAME_f32 and NAME_bf16,
// to the file's text. The arguments are those of __launch_bounds__.
#define KERNEL_OF_T(...) template <typename T> __device__ __forceinline__ void

// Numbers that always go together, passed by value: build.rs makes the same struct of them for the host.
#define BY_VALUE struct

// A matrix, and how a pass over its columns shares it out: a block takes `width` columns, `rows_per_part` rows of them.
BY_VALUE Matrix { unsigned rows, columns, rows_per_part, width; };

// The map of a norm's input that a 2×2 max-pool follows: its `width`, 0 where no pool does, and the `batch` N.
BY_VALUE Pool { unsigned width, batch; };

// A convolution, or a linear layer, as products: `rows` and `columns` of the output, the `inner` dimension, the map's `height` and `width`, the
// `batch` N, `taps` (9, or 1 of a linear layer); `direction` is 1 forward and -1 for the input's gradient.
BY_VALUE Map { unsigned rows, inner, columns, height, width, batch, taps; int direction; };

// Algorithm 1's noise at a `layer`, which is part of the draws' key: `mean` n_μ, `scale` n_σ, `spread` r_μ = r_σ.
BY_VALUE NoiseOptions { float mean, scale, spread; unsigned layer; };

// The `channels` of a sample, the `count` of groups that they are in, and whether these are normalised about their mean (`centre`).
BY_VALUE Groups { unsigned channels, count, centre; };

// Where a test plants a wrong number: NaN with a payload of its own.
#define NAN_F32 __int_as_float(0x7fffffff)
#define INF_F32 __int_as_float(0x7f800000)

// ---- numbers ------------------------------------------------------------------------------------------------------------

// bfloat16: the upper half of an f32.
struct __align__(2) bf16 {
    unsigned short bits;
};

__device__ __forceinline__ float to_f32(float x) { return x; }
__device__ __forceinline__ float to_f32(bf16 x) { return __int_as_float((unsigned)x.bits << 16); }

// x rounded to T, to nearest even; a NaN stays one.
template <typename T> __device__ __forceinline__ T from_f32(float x);
template <> __device__ __forceinline__ float from_f32<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_f32<bf16>(float x) {
    unsigned bits = __float_as_uint(x);
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    bf16 result;
    result.bits = (unsigned short)(nan ? (bits >> 16) | 0x40u : rounded);
    return result;
}

// The same of a double, rounded once: by way of a float that is cut off, with its last bit set where anything was lost.
template <typename T> __device__ __forceinline__ T from_f64(double x);
template <> __device__ __forceinline__ float from_f64<float>(double x) { return (float)x; }
template <> __device__ __forceinline__ bf16 from_f64<bf16>(double x) {
    float near = (float)x;
    unsigned bits = __float_as_uint(near);
    if ((double)near != x && x == x) bits = (bits - (fabs((double)near) > fabs(x) ? 1u : 0u)) | 1u;
    return from_f32<bf16>(__uint_as_float(bits));
}

// Two numbers as bf16, the first in the lower half: an operand of mma.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    return (unsigned)from_f32<bf16>(low).bits | ((unsigned)from_f32<bf16>(high).bits << 16);
}

// x rounded to tf32 (10 bits of mantissa), to nearest, ties away from 0, as cvt.rna does.
__device__ __forceinline__ unsigned to_tf32(float x) {
    unsigned bits = __float_as_uint(x);
    bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return finite ? (bits + 0x1000u) & 0xffffe000u : bits;
}

// ---- vectors of four ----------------------------------------------------------------------------------------------------

struct __align__(16) Four {
    float v[4];
};
struct __align__(8) FourHalves {
    bf16 v[4];
};

// Four elements that follow one another; p is aligned to four elements.
__device__ __forceinline__ Four load4(const float* p) { return *(const Four*)p; }
__device__ __forceinline__ Four load4(const bf16* p) {
    FourHalves h = *(const FourHalves*)p;
    Four f;
#pragma unroll
    for (int i = 0; i < 4; ++i) f.v[i] = to_f32(h.v[i]);
    return f;
}
__device__ __forceinline__ void store4(float* p, Four f) { *(Four*)p = f; }
__device__ __forceinline__ void store4(bf16* p, Four f) {
    FourHalves h;
#pragma unroll
    for (int i = 0; i < 4; ++i) h.v[i] = from_f32<bf16>(f.v[i]);
    *(FourHalves*)p = h;
}

// ---- indices and sums -----------------------------------------------------------------------------------------------------

__device__ __forceinline__ unsigned lane_id() { return threadIdx.x & 31u; }
__device__ __forceinline__ unsigned warp_id() { return threadIdx.x >> 5; }
// The index of this thread in the grid, and the number of threads in it (along x): 64 bits, so that a stride never wraps.
__device__ __forceinline__ u64 global_thread() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ u64 global_threads() { return (u64)gridDim.x * blockDim.x; }

// The sum of v over the 32 lanes, as a tree of fixed shape; every lane has it. T is float, double or an integer.
template <typename T> __device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) v += __shfl_xor_sync(0xffffffffu, v, distance);
    return v;
}

// The largest v of the 32 lanes; a NaN is the largest.
template <typename T> __device__ __forceinline__ T larger(T a, T b) { return (b > a || b != b) ? b : a; }
template <typename T> __device__ __forceinline__ T warp_max(T v) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) v = larger(v, __shfl_xor_sync(0xffffffffu, v, distance));
    return v;
}

// The sum of v over the block, warps in order; every thread has it. All threads must call it; whole warps only.
template <typename T> __device__ T block_sum(T v) {
    SHARED(T, sums, [32]);
    v = warp_sum(v);
    __syncthreads();
    if (lane_id() == 0) sums[warp_id()] = v;
    __syncthreads();
    T sum = sums[0];
    for (unsigned warp = 1; warp < (blockDim.x >> 5); ++warp) sum += sums[warp];
    return sum;
}

// ---- the step state ---------------------------------------------------------------------------------------------------------

// What src/runtime/state.rs lays out, as four words: seed, step, learning rate (f64), halted.
__device__ __forceinline__ u64 state_seed(const u64* state) { return state[0]; }
__device__ __forceinline__ u64 state_step(const u64* state) { return state[1]; }
__device__ __forceinline__ double state_rate(const u64* state) { return __longlong_as_double((long long)state[2]); }
__device__ __forceinline__ bool state_halted(const u64* state) { return state[3] != 0; }

// ---- random numbers: src/runtime/rng.rs, to the bit ---------------------------------------------------------------------------

enum Purpose : unsigned {
    INIT = 1, NOISE_UNIT = 2, NOISE_SAMPLE = 3, ORDER = 4, AUGMENT = 5, DATA = 6, DIRECTION = 7, CASE = 8
};

struct Words {
    unsigned w[4];
};

__device__ __forceinline__ Words philox(Words c, unsigned key0, unsigned key1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u64 p0 = (u64)0xD2511F53u * c.w[0], p1 = (u64)0xCD9E8D57u * c.w[2];
        Words next = {{(unsigned)(p1 >> 32) ^ c.w[1] ^ key0, (unsigned)p1, (unsigned)(p0 >> 32) ^ c.w[3] ^ key1, (unsigned)p0}};
        c = next;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

// The four words at (seed, purpose, layer, step, i, j).
__device__ __forceinline__ Words draw(u64 seed, Purpose purpose, unsigned layer, unsigned step, unsigned i, unsigned j) {
    Words counter = {{i, j, step, ((unsigned)purpose << 24) | (layer & 0x00FFFFFFu)}};
    return philox(counter, (unsigned)seed, (unsigned)(seed >> 32));
}

// Uniform in [0, 1): the upper 24 bits, exact.
__device__ __forceinline__ float uniform(unsigned word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }
// Uniform in [lo, lo + width), one rounding.
__device__ __forceinline__ float uniform_in(unsigned word, float lo, float width) { return fmaf(uniform(word), width, lo); }

__device__ __forceinline__ float polynomial_ln(float t) {
    unsigned shifted = __float_as_uint(t) - 0x3F3504F3u;
    int exponent = (int)shifted >> 23;
    float f = __uint_as_float((shifted & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    float p = 0.087222435f;
    p = fmaf(p, f, -0.14366788f);
    p = fmaf(p, f, 0.14952283f);
    p = fmaf(p, f, -0.16562402f);
    p = fmaf(p, f, 0.19956833f);
    p = fmaf(p, f, -0.25002074f);
    p = fmaf(p, f, 0.33334187f);
    p = fmaf(p, f, -0.49999988f);
    p = fmaf(p, f, 1.0f);
    return fmaf((float)exponent, 0.693147182f, p * f);
}

// A standard normal number by the inverse distribution function; see rng.rs for the polynomials.
__device__ __forceinline__ float normal(unsigned word) {
    float a = (float)((word << 1) | 1u) * (1.0f / 4294967296.0f);
    float w = -polynomial_ln(a * (2.0f - a));
    float x = w - 2.5f;
    float centre = 4.0354287e-8f;
    centre = fmaf(centre, x, 4.861035e-7f);
    centre = fmaf(centre, x, -4.990561e-6f);
    centre = fmaf(centre, x, -6.217988e-6f);
    centre = fmaf(centre, x, 3.091502e-4f);
    centre = fmaf(centre, x, -1.7730101e-3f);
    centre = fmaf(centre, x, -5.908171e-3f);
    centre = fmaf(centre, x, 0.34880266f);
    centre = fmaf(centre, x, 2.1233137f);
    float y = sqrtf(w > 0.0f ? w : 0.0f) - 3.473878f;
    float tail = -2.3952972e-4f;
    tail = fmaf(tail, y, 8.4230845e-4f);
    tail = fmaf(tail, y, -1.2252075e-3f);
    tail = fmaf(tail, y, 1.5633003e-3f);
    tail = fmaf(tail, y, -3.0051582e-3f);
    tail = fmaf(tail, y, 4.8986636e-3f);
    tail = fmaf(tail, y, 1.4243764f);
    tail = fmaf(tail, y, 4.6798763f);
    float z = (w < 5.0f ? centre : tail) * (1.0f - a);
    return __uint_as_float(__float_as_uint(z) ^ (word & 0x80000000u));
}

// The image at `position` of epoch `epoch`'s order of n images: a Feistel network, walked until it lands inside.
__device__ inline unsigned shuffled(u64 seed, unsigned epoch, unsigned position, unsigned n) {
    unsigned bits = 32u - (n > 1u ? (unsigned)__clz((int)(n - 1u)) : 32u);
    unsigned half_bits = (bits + 1u) / 2u > 1u ? (bits + 1u) / 2u : 1u;
    unsigned mask = (1u << half_bits) - 1u;
    u64 v = position;
    do {
        unsigned left = (unsigned)(v >> half_bits) & mask, right = (unsigned)v & mask;
        for (unsigned round = 0; round < 7; ++round) {
            unsigned f = draw(seed, ORDER, round, epoch, right, 0).w[0];
            unsigned next = left ^ (f & mask);
            left = right;
            right = next;
        }
        v = ((u64)left << half_bits) | right;
    } while (v >= n);
    return (unsigned)v;
}

// ---- asynchronous copies to shared memory: cp.async ------------------------------------------------------------------------------

#ifdef NORMSCAPE_HOST
// The emulator makes the copy when a wait asks for it: reading too early finds what was there before.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
    emu_copy_async(shared, global, 16, valid ? 16 : 0);
}
__device__ __forceinline__ void cp_async_commit() { emu_copy_commit(); }
template <int LEFT> __device__ __forceinline__ void cp_async_wait() { emu_copy_wait(LEFT); }
#else
// 16 bytes from global to shared memory, both aligned to 16; zeros where not valid (global must be an address all the same).
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
    unsigned to = (unsigned)__cvta_generic_to_shared(shared), bytes = valid ? 16u : 0u;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}
// Closes a group of copies.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most LEFT of this thread's groups are under way; a barrier must follow before others' copies are read.
template <int LEFT> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }
#endif

// ---- tensor cores: ldmatrix and mma.sync; all 32 lanes call together ---------------------------------------------------------------
//
// With g = lane / 4 and t = lane % 4, lane holds
//   mma_bf16 (16×8×16): a[0..3] = rows (g, g+8, g, g+8) × columns (2t, 2t, 2t+8, 2t+8) and the next, packed;
//                       b[0..1] = column g × rows (2t, 2t+8) and the next, packed;
//   mma_tf32 (16×8×8):  a[0..3] = rows (g, g+8, g, g+8) × columns (t, t, t+4, t+4); b[0..1] = column g × rows (t, t+4);
//   both:               d[0..3] = rows (g, g, g+8, g+8) × columns (2t, 2t+1, 2t, 2t+1), updated.

#ifdef NORMSCAPE_HOST
__device__ inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    u64 mine[3] = {a[0] | (u64)a[1] << 32, a[2] | (u64)a[3] << 32, b[0] | (u64)b[1] << 32};
    u64 all[96];
    emu_exchange_into(all, 0xffffffffu, mine, 3);
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned row = i / 2, column = 2 * t + i % 2;
        for (unsigned k = 0; k < 16; ++k) {
            // Lane that holds (row, k) of a, and (k, column) of b; word and half within.
            unsigned from_a = 4 * g + k % 8 / 2, from_b = 4 * column + k % 8 / 2;
            unsigned word_a = (unsigned)(all[3 * from_a + k / 8] >> (32 * row));
            unsigned word_b = (unsigned)(all[3 * from_b + 2] >> (32 * (k / 8)));
            float x = __uint_as_float(k % 2 ? word_a & 0xffff0000u : word_a << 16);
            float y = __uint_as_float(k % 2 ? word_b & 0xffff0000u : word_b << 16);
            d[i] = fmaf(x, y, d[i]);
        }
    }
}
__device__ inline void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    u64 mine[3] = {a[0] | (u64)a[1] << 32, a[2] | (u64)a[3] << 32, b[0] | (u64)b[1] << 32};
    u64 all[96];
    emu_exchange_into(all, 0xffffffffu, mine, 3);
    unsigned g = lane_id() / 4, t = lane_id() % 4;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned row = i / 2, column = 2 * t + i % 2;
        for (unsigned k = 0; k < 8; ++k) {
            unsigned from_a = 4 * g + k % 4, from_b = 4 * column + k % 4;
            float x = __uint_as_float((unsigned)(all[3 * from_a + k / 4] >> (32 * row)) & 0xffffe000u);
            float y = __uint_as_float((unsigned)(all[3 * from_b + 2] >> (32 * (k / 4))) & 0xffffe000u);
            d[i] = fmaf(x, y, d[i]);
        }
    }
}
// Four 8×8 matrices of 16-bit elements: lane 8i + j gives the address of row j of matrix i, 16 bytes, aligned to 16; lane
// gets in r[i] the elements (g, 2t) and (g, 2t + 1) of matrix i; with trans of its transpose.
__device__ inline void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    u64 mine = (u64)row;
    u64 rows[32];
    emu_exchange_into(rows, 0xffffffffu, &mine, 1);
    for (unsigned i = 0; i < 4; ++i) r[i] = ((const unsigned*)rows[8 * i + lane_id() / 4])[lane_id() % 4];
}
__device__ inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
    u64 mine = (u64)row;
    u64 rows[32];
    emu_exchange_into(rows, 0xffffffffu, &mine, 1);
    for (unsigned i = 0; i < 4; ++i) {
        unsigned j = 8 * i + 2 * (lane_id() % 4), column = lane_id() / 4;
        r[i] = ((const unsigned short*)rows[j])[column] | (unsigned)((const unsigned short*)rows[j + 1])[column] << 16;
    }
}
#else
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}
#endif

// ---- clusters: blocks that see each other's shared memory (sm_90 and later) ----------------------------------------------------------
//
// A kernel with __cluster_dims__ stands between #if CLUSTERS and #endif: older devices do not have it.

#ifdef NORMSCAPE_HOST
#define CLUSTERS 1
__device__ __forceinline__ unsigned cluster_rank() { return emu_cluster_rank(); }
__device__ __forceinline__ unsigned cluster_blocks() { return emu_cluster_blocks(); }
__device__ __forceinline__ void cluster_sync() { emu_cluster_sync(__LINE__); }
template <typename T> __device__ __forceinline__ T* cluster_map(T* shared, unsigned rank) {
    return (T*)emu_cluster_map((void*)shared, rank);
}
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CLUSTERS 1
// This block's place in its cluster, and how many blocks that has.
__device__ __forceinline__ unsigned cluster_rank() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
__device__ __forceinline__ unsigned cluster_blocks() {
    unsigned blocks;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return blocks;
}
// A barrier of all threads of the cluster; what was written to shared memory before it is seen after it. Not the aligned form: a warp need
// not have come together again after a loop of which its lanes had different shares.
__device__ __forceinline__ void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}
// The address of block `rank`'s copy of something in shared memory.
template <typename T> __device__ __forceinline__ T* cluster_map(T* shared, unsigned rank) {
    T* mapped;
    asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(shared), "r"(rank));
    return mapped;
}
#else
#define CLUSTERS 0
#endif

// ---- per-column work on a matrix of rows × columns: what the norms share ---------------------------------------------------------------
//
// A block of 256 threads takes `width` columns (a power of two, at most 256) and 256 / width rows at a time, so that lanes lie
// along a row and every thread keeps to one column: its constants stay in registers. blockIdx.x counts groups of columns,
// blockIdx.y parts of the rows. Sums are taken in double: a column of 131,072 samples far from 0 loses no digits, and the
// partial sums of a part are merged in order, whatever the device.

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

struct Sum {
    static __device__ __forceinline__ double none() { return 0.0; }
    static __device__ __forceinline__ double merge(double a, double b) { return a + b; }
};
// Of magnitudes: none is below 0.
struct Most {
    static __device__ __forceinline__ double none() { return 0.0; }
    static __device__ __forceinline__ double merge(double a, double b) { return larger(a, b); }
};

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

// Calls f(column, a, b) on one thread for every column: its two numbers over all parts. A warp takes a column: each lane merges every 32nd part
// in order, then lanes are merged as a tree of fixed shape. A block of 256 threads has eight columns.
__device__ __forceinline__ unsigned merged_column() { return blockIdx.x * 8u + warp_id(); }
template <typename Merge, typename F>
__device__ __forceinline__ void finish_columns(const double* partials, unsigned columns, unsigned parts, F f) {
    unsigned column = merged_column();
    if (column >= columns) return;
    double a = Merge::none(), b = Merge::none();
    for (unsigned part = lane_id(); part < parts; part += 32) {
        a = Merge::merge(a, partials[(u64)(2 * part) * columns + column]);
        b = Merge::merge(b, partials[(u64)(2 * part + 1) * columns + column]);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) {
        a = Merge::merge(a, __shfl_xor_sync(0xffffffffu, a, distance));
        b = Merge::merge(b, __shfl_xor_sync(0xffffffffu, b, distance));
    }
    if (lane_id() == 0) f(column, a, b);
}

struct Pair {
    double a, b;
};
// Mean and variance of `count` numbers from Σv and Σv². Rounding may leave a hair below 0 where all are equal; a NaN stays one.
__device__ __forceinline__ Pair moments_of(double sum, double square, double count) {
    double mean = sum / count, variance = square / count - mean * mean;
    return {mean, variance < 0.0 ? 0.0 : variance};
}

// What a divisor that is all but 0 is multiplied by, and what it divides too: so that its inverse is a float. A power of two, nearly always 1.
__device__ __forceinline__ float lift_of(double divisor) { return divisor < 1e-30 ? 18446744073709551616.0f : 1.0f; }

// 0 with the ReLU, NaN without: nothing is at most NaN, so one formula serves both.
__device__ __forceinline__ float relu_floor(unsigned relu) { return relu ? 0.0f : NAN_F32; }
// max(v, floor); a NaN passes: a diverged run must show it.
__device__ __forceinline__ float above(float v, float floor) { return v <= floor ? floor : v; }
// Whether a ReLU that made y, if there is one, let nothing through at i.
__device__ __forceinline__ bool stopped(const float* y_or_null, u64 i) { return y_or_null && y_or_null[i] <= 0.0f; }
// What stands at i, 0 where nothing is given.
__device__ __forceinline__ float given(const float* p_or_null, unsigned i) { return p_or_null ? p_or_null[i] : 0.0f; }

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

// ---- Algorithm 1's noise of one pair of units (2·pair, 2·pair + 1): src/ops/noise ---------------------------------------------------------

struct NoiseKey {
    u64 seed;
    unsigned step;
    NoiseOptions noise;
};
// μ_j − r_μ and σ_j of a unit.
struct NoiseUnit {
    float low, sigma;
};
__device__ __forceinline__ NoiseUnit noise_unit(const NoiseKey& key, unsigned unit) {
    const NoiseOptions& noise = key.noise;
    Words words = draw(key.seed, NOISE_UNIT, noise.layer, key.step, unit, 0);
    return {uniform_in(words.w[0], -noise.mean, 2.0f * noise.mean) - noise.spread, uniform_in(words.w[1], 1.0f, noise.scale - 1.0f)};
}
// m_ij and s_ij of both units at a sample.
struct NoisePair {
    float shift[2], scale[2];
};
__device__ __forceinline__ NoisePair noise_pair(const NoiseKey& key, const NoiseUnit (&units)[2], unsigned sample, unsigned pair) {
    Words words = draw(key.seed, NOISE_SAMPLE, key.noise.layer, key.step, sample, pair);
    NoisePair drawn;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        drawn.shift[half] = uniform_in(words.w[2 * half], 0.0f, 2.0f * key.noise.spread) + units[half].low;
        drawn.scale[half] = fmaf(normal(words.w[2 * half + 1]), key.noise.spread, units[half].sigma);
    }
    return drawn;
}
// The number of the sample in row `row`, which does not depend on the batch size: rows lie as (h·W + w)·N + n.
__device__ __forceinline__ unsigned noise_sample(unsigned row, unsigned batch, unsigned pixels) {
    return row % batch * pixels + row / batch;
}

// ---- sums of products over the valid taps of a 3×3 convolution: what conv.cu and conv_mma.cu share ---------------------------------------
//
// Rows of activations are r = pixel·batch + n, and a tap moves all rows of a pixel to those of its neighbour: so a convolution is a sum
// of dense products of the same rows, shifted.

// Row r of the output as pixel (h, w).
struct Pixel {
    int h, w;
};
__device__ __forceinline__ Pixel pixel_at(const Map& map, unsigned pixel) { return {(int)(pixel / map.width), (int)(pixel % map.width)}; }
__device__ __forceinline__ Pixel pixel_of(const Map& map, unsigned row) { return pixel_at(map, row / map.batch); }
// How far tap moves a pixel.
__device__ __forceinline__ Pixel tap_shift(const Map& map, unsigned tap) {
    if (map.taps == 1) return {0, 0};
    return {map.direction * ((int)(tap / 3) - 1), map.direction * ((int)(tap % 3) - 1)};
}
__device__ __forceinline__ bool on_map(const Map& map, Pixel pixel, Pixel shift) {
    unsigned h = (unsigned)(pixel.h + shift.h), w = (unsigned)(pixel.w + shift.w);
    return h < map.height && w < map.width;
}
// The first element of the row that row r, at `pixel`, takes from `a` under `shift`; it must be on the map.
template <typename T> __device__ __forceinline__ const T* shifted_row(const T* a, const Map& map, unsigned row, Pixel shift) {
    return a + (row + (long long)(shift.h * (int)map.width + shift.w) * map.batch) * map.inner;
}

// The taps of which at least one of the rows first … first + count is on the map, as bits: others are never multiplied.
__device__ __forceinline__ unsigned taps_of(const Map& map, unsigned first, unsigned count) {
    SHARED(unsigned, found, [9]);
    if (threadIdx.x < map.taps) {
        Pixel shift = tap_shift(map, threadIdx.x);
        unsigned last = min(first + count, map.rows) - 1;
        bool any = false;
        for (unsigned pixel = first / map.batch; pixel <= last / map.batch && !any; ++pixel) any = on_map(map, pixel_at(map, pixel), shift);
        found[threadIdx.x] = any;
    }
    __syncthreads();
    unsigned taps = 0;
    for (unsigned tap = 0; tap < map.taps; ++tap) taps |= found[tap] << tap;
    return taps;
}

// A walk over (tap, chunk of the inner dimension), invalid taps left out.
struct Walk {
    unsigned taps, tap, begin;
};
__device__ __forceinline__ Walk walk_from(unsigned taps) { return {taps, (unsigned)__ffs((int)taps) - 1u, 0}; }
__device__ __forceinline__ bool walk_ended(const Walk& walk) { return walk.taps == 0; }
__device__ __forceinline__ void walk_on(Walk& walk, unsigned inner, unsigned chunk) {
    walk.begin += chunk;
    if (walk.begin < inner) return;
    walk.taps &= walk.taps - 1u;
    walk.tap = (unsigned)__ffs((int)walk.taps) - 1u;
    walk.begin = 0;
}

// The rectangle of output pixels that have `tap` on the map, for the weight's gradient: q counts its rows, pixel by pixel.
struct Rectangle {
    unsigned top, left, height, width;
};
__device__ __forceinline__ Rectangle rectangle_of(const Map& map, Pixel shift) {
    return {shift.h < 0, shift.w < 0, map.height - (shift.h != 0), map.width - (shift.w != 0)};
}
// Row q of the rectangle as a row of the whole map.
__device__ __forceinline__ unsigned rectangle_row(const Map& map, const Rectangle& r, unsigned q) {
    unsigned pixel = q / map.batch;
    return ((r.top + pixel / r.width) * map.width + r.left + pixel % r.width) * map.batch + q % map.batch;
}
