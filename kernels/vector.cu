// Operations on flat vectors, from which the probes are built. Sums are in f64, in two stages of fixed shape: one partial sum per block,
// then one block.
#include "random.cuh"

// from + a to.
__device__ __forceinline__ Four along(Four from, float a, Four to) {
#pragma unroll
    for (unsigned k = 0; k < 4; ++k) from.v[k] = fmaf(a, to.v[k], from.v[k]);
    return from;
}

// y ← y + a x.
extern "C" __global__ void __launch_bounds__(256) axpy(float a, const float* x, float* y, unsigned len) {
    wait_for_predecessor();
    for_elements(
        len, in_fours(x) && in_fours(y), [&](u64 i) { store4(y + i, along(load4(y + i), a, load4(x + i))); },
        [&](u64 i) { y[i] = fmaf(a, x[i], y[i]); });
}

// out ← x + a y.
extern "C" __global__ void __launch_bounds__(256) displace(const float* x, float a, const float* y, float* out, unsigned len) {
    wait_for_predecessor();
    for_elements(
        len, in_fours(x) && in_fours(y) && in_fours(out), [&](u64 i) { store4(out + i, along(load4(x + i), a, load4(y + i))); },
        [&](u64 i) { out[i] = fmaf(a, y[i], x[i]); });
}

// Every row out_r ← x + a_r y; rows lie `stride` apart.
extern "C" __global__ void __launch_bounds__(256)
displace_rows(const float* x, const double* a, const float* y, float* out, unsigned len, unsigned rows, unsigned stride) {
    wait_for_predecessor();
    for_elements(
        len, in_fours(x) && in_fours(y) && in_fours(out) && stride % 4 == 0,
        [&](u64 i) {
            Four from = load4(x + i), to = load4(y + i);
            for (unsigned row = 0; row < rows; ++row) store4(out + (u64)row * stride + i, along(from, (float)a[row], to));
        },
        [&](u64 i) {
            for (unsigned row = 0; row < rows; ++row) out[(u64)row * stride + i] = fmaf((float)a[row], y[i], x[i]);
        });
}

// Calls f(element, its word of a direction's draws) for every element; a thread takes the four of a block of Philox.
template <typename F> __device__ __forceinline__ void for_draws(const u64* state, unsigned index, unsigned len, F f) {
    u64 seed = state_seed(state), blocks = ((u64)len + 3) / 4;
    unsigned step = (unsigned)state_step(state);
    for (u64 i = global_thread(); i < blocks; i += global_threads()) {
        Words words = draw(seed, DIRECTION, index, step, (unsigned)i, 0);
#pragma unroll
        for (unsigned k = 0; k < 4; ++k)
            if (4 * i + k < len) f(4 * i + k, words.w[k]);
    }
}

// A standard normal number for every element, or a sign.
extern "C" __global__ void __launch_bounds__(256) direction(const u64* state, float* out, unsigned index, unsigned signs, unsigned len) {
    wait_for_predecessor();
    for_draws(state, index, len, [&](u64 i, unsigned word) { out[i] = signs ? (word & 1u ? -1.0f : 1.0f) : normal(word); });
}

// out ← x, each element moved by `part` of itself, up or down as the signs of a direction.
extern "C" __global__ void __launch_bounds__(256)
jitter(const float* x, const u64* state, float* out, float part, unsigned index, unsigned len) {
    wait_for_predecessor();
    for_draws(state, index, len, [&](u64 i, unsigned word) { out[i] = fmaf(word & 1u ? -part : part, x[i], x[i]); });
}

// out ← lengths · by/over.
extern "C" __global__ void __launch_bounds__(256)
stretch(const double* lengths, const double* by, const double* over, double* out, unsigned len) {
    wait_for_predecessor();
    for (u64 i = global_thread(); i < len; i += global_threads()) out[i] = lengths[i] * (by[0] / over[0]);
}

// to ← from, rounded to bf16: the operands of a pass's matrix products.
extern "C" __global__ void __launch_bounds__(256) recast(const float* from, bf16* to, unsigned len) {
    wait_for_predecessor();
    for_elements(
        len, in_fours(from) && in_fours(to), [&](u64 i) { store4(to + i, load4(from + i)); }, [&](u64 i) { to[i] = from_f32<bf16>(from[i]); });
}

// One number of a pair of elements, and how those are merged.
struct Product : Sum {
    static __device__ __forceinline__ double of(float x, float y) { return (double)x * (double)y; }
};
struct Square : Sum {
    static __device__ __forceinline__ double of(float x, float y) { return ((double)x - (double)y) * ((double)x - (double)y); }
};
struct Absolute : Sum {
    static __device__ __forceinline__ double of(float x, float y) { return fabs((double)x - (double)y); }
};
struct Largest : Most {
    static __device__ __forceinline__ double of(float x, float y) { return fabs((double)x - (double)y); }
};

// v of all threads of the block, merged: lanes as a tree, warps in order.
template <typename Merge> __device__ double block_merge(double v) {
    SHARED(double, warps, [32]);
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) v = Merge::merge(v, __shfl_xor_sync(0xffffffffu, v, distance));
    if (lane_id() == 0) warps[warp_id()] = v;
    __syncthreads();
    double all = warps[0];
    for (unsigned warp = 1; warp < (blockDim.x >> 5); ++warp) all = Merge::merge(all, warps[warp]);
    return all;
}

// Four elements from p on, read as one where they can be.
__device__ __forceinline__ Four four_at(const float* p, bool as_one) { return as_one ? load4(p) : Four{{p[0], p[1], p[2], p[3]}}; }

template <typename Kind> __device__ void partial(const float* x, const float* y, double* partials, unsigned len) {
    double v = 0.0;
    // A thread takes four elements that follow one another wherever the vectors lie: the same numbers have the same sum.
    bool x_in_fours = in_fours(x), y_in_fours = in_fours(y);
    for_elements(
        len, true,
        [&](u64 i) {
            Four a = four_at(x + i, x_in_fours), b = y ? four_at(y + i, y_in_fours) : Four();
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) v = Kind::merge(v, Kind::of(a.v[k], b.v[k]));
        },
        [&](u64 i) { v = Kind::merge(v, Kind::of(x[i], y ? y[i] : 0.0f)); });
    v = block_merge<Kind>(v);
    if (threadIdx.x == 0) partials[blockIdx.x] = v;
}

// Each block's part of ⟨x, y⟩.
extern "C" __global__ void __launch_bounds__(256) dot_partial(const float* x, const float* y, double* partials, unsigned len) {
    wait_for_predecessor();
    partial<Product>(x, y, partials, len);
}
// Each block's part of Σ (x − y)², y being 0 where it is not there.
extern "C" __global__ void __launch_bounds__(256) square_partial(const float* x, const float* y_or_null, double* partials, unsigned len) {
    wait_for_predecessor();
    partial<Square>(x, y_or_null, partials, len);
}
// Each block's part of Σ |x − y|.
extern "C" __global__ void __launch_bounds__(256) absolute_partial(const float* x, const float* y_or_null, double* partials, unsigned len) {
    wait_for_predecessor();
    partial<Absolute>(x, y_or_null, partials, len);
}
// Each block's part of max |x − y|.
extern "C" __global__ void __launch_bounds__(256) largest_partial(const float* x, const float* y_or_null, double* partials, unsigned len) {
    wait_for_predecessor();
    partial<Largest>(x, y_or_null, partials, len);
}

// slot ← Σ partials, or its root.
extern "C" __global__ void __launch_bounds__(256) sum_partials(const double* partials, double* slot, unsigned count, unsigned root) {
    wait_for_predecessor();
    double v = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) v += partials[i];
    v = block_merge<Sum>(v);
    if (threadIdx.x == 0) slot[0] = root ? sqrt(v) : v;
}
// slot ← max partials.
extern "C" __global__ void __launch_bounds__(256) largest_partials(const double* partials, double* slot, unsigned count) {
    wait_for_predecessor();
    double v = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) v = larger(v, partials[i]);
    v = block_merge<Most>(v);
    if (threadIdx.x == 0) slot[0] = v;
}

// Of every row each block's part of Σ (row − y)², ⟨row, y⟩ and ‖row‖². A block takes `each` elements that follow one another, of all rows in turn, so
// that y is near when the next row asks for it; its threads take them in fours as those of dot_partial do, so that vectors of one block have the same
// products by either.
extern "C" __global__ void __launch_bounds__(256)
compare_partial(const float* matrix, const float* y, double* partials, unsigned len, unsigned rows, unsigned stride, unsigned each) {
    wait_for_predecessor();
    u64 begin = min((u64)blockIdx.x * each, (u64)len), end = min(begin + each, (u64)len), whole = begin + (end - begin) / 4 * 4;
    for (unsigned row = 0; row < rows; ++row) {
        const float* x = matrix + (u64)row * stride;
        double apart = 0.0, along = 0.0, own = 0.0;
        auto add = [&](float of_x, float of_y) {
            double a = (double)of_x, b = (double)of_y, d = a - b;
            apart = fma(d, d, apart);
            along = fma(a, b, along);
            own = fma(a, a, own);
        };
        bool x_in_fours = in_fours(x), y_in_fours = in_fours(y);
#pragma unroll 1
        for (u64 i = begin + 4 * threadIdx.x; i < whole; i += 4 * 256) {
            Four a = four_at(x + i, x_in_fours), b = four_at(y + i, y_in_fours);
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) add(a.v[k], b.v[k]);
        }
#pragma unroll 1
        for (u64 i = whole + threadIdx.x; i < end; i += 256) add(x[i], y[i]);
        apart = block_sum(apart);
        along = block_sum(along);
        own = block_sum(own);
        if (threadIdx.x == 0) {
            double* to = partials + ((u64)row * gridDim.x + blockIdx.x) * 3;
            to[0] = apart;
            to[1] = along;
            to[2] = own;
        }
    }
}
// compare_partial's parts added up: a block for each of a row's three numbers.
extern "C" __global__ void __launch_bounds__(256) compare_finish(const double* partials, double* out, unsigned blocks) {
    wait_for_predecessor();
    unsigned row = blockIdx.x / 3, which = blockIdx.x % 3;
    double v = 0.0;
    for (unsigned i = threadIdx.x; i < blocks; i += 256) v += partials[((u64)row * blocks + i) * 3 + which];
    v = block_sum(v);
    if (threadIdx.x == 0) out[blockIdx.x] = v;
}
