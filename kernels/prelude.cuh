// Code that all kernels share. Two compilers read it: NVRTC (no CUDA header is needed), and, with NORMSCAPE_HOST, the host's C++ compiler
// for the emulator, which declares the built-ins (threadIdx, __syncthreads, shuffles) in host.h.
//
// - KERNEL_OF_T and BY_VALUE: macros for kernels of both element types, and for structs of numbers passed to them
// - wait_for_predecessor(): what every kernel begins with
// - numbers: f32, bf16 (round to nearest even), tf32; no kernel relies on the compiler to fuse a·b + c: it writes fmaf
// - vectors of 4 elements; sums over a warp and a block, in a fixed order
// - macros for shared memory: SHARED(type, name, [N][M]) and DYNAMIC_SHARED(name)
//
// The other headers: random.cuh, tensor_cores.cuh, cluster.cuh, tickets.cuh (which block comes last); columns.cuh (a norm's passes), wide.cuh (the
// same, several columns a thread), noise.cuh (Algorithm 1's draws), norm_below.cuh (a norm's sums where a product makes its dy), taps.cuh (a convolution's),
// splits.cuh (a weight gradient's parts), losses.cuh, tiles.cuh (whole tiles of products on tensor cores), hopper.cuh (asynchronous copies and products of
// sm_90a), groupnorm.cuh, lpnorm.cuh.
//
// Names of indices: n sample, h and w pixel, c input channel, k output channel, r row, that is a sample of a unit ((h·W + w)·N + n).
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

// The first statement of every kernel. On sm_90 a kernel's blocks may come to a multiprocessor while the launch before it still runs, which saves the
// time in which one has ended and the next has not begun. This waits until that launch has ended and what it wrote is there, so that everything after
// it is as if they had run one after the other; then it allows the same to the launch that follows. A launch that did not wait would let its successor
// overtake what both came after: so all threads wait, and before it none touches global memory or leaves.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ void wait_for_predecessor() { emu_wait_for_predecessor(); }
#else
__device__ __forceinline__ void wait_for_predecessor() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

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

// Two numbers as bf16, to nearest even, the first in the lower half: an operand of mma. A NaN becomes 0x7fff, as cvt makes it.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ unsigned bits_of_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
__device__ __forceinline__ unsigned pack_bf16(float low, float high) { return bits_of_bf16(low) | bits_of_bf16(high) << 16; }
#else
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
#endif

// x rounded to T, to nearest even; a NaN stays one.
template <typename T> __device__ __forceinline__ T from_f32(float x);
template <> __device__ __forceinline__ float from_f32<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_f32<bf16>(float x) { return {(unsigned short)pack_bf16(x, 0.0f)}; }

// The same of a double, rounded once: by way of a float that is cut off, with its last bit set where anything was lost.
template <typename T> __device__ __forceinline__ T from_f64(double x);
template <> __device__ __forceinline__ float from_f64<float>(double x) { return (float)x; }
template <> __device__ __forceinline__ bf16 from_f64<bf16>(double x) {
    float near = (float)x;
    unsigned bits = __float_as_uint(near);
    if ((double)near != x && x == x) bits = (bits - (fabs((double)near) > fabs(x) ? 1u : 0u)) | 1u;
    return from_f32<bf16>(__uint_as_float(bits));
}

// x rounded to tf32 (10 bits of mantissa), to nearest even; an infinity or a NaN stays one. sm_90 has an instruction for it, where rounding ties away
// from 0 (cvt.rna) takes two on every device.
__device__ __forceinline__ unsigned to_tf32(float x) {
#if !defined(NORMSCAPE_HOST) && __CUDA_ARCH__ >= 900
    unsigned rounded;
    asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
#else
    unsigned bits = __float_as_uint(x);
    bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return finite ? (bits + 0xfffu + (bits >> 13 & 1u)) & 0xffffe000u : bits;
#endif
}

// An operand of a product that is not on tensor cores: rounded to tf32 where asked.
__device__ __forceinline__ float operand(float x, unsigned tf32) { return tf32 ? __uint_as_float(to_tf32(x)) : x; }
__device__ __forceinline__ bf16 operand(bf16 x, unsigned) { return x; }

// 0 with the ReLU, NaN without: nothing is at most NaN, so one formula serves both.
__device__ __forceinline__ float relu_floor(unsigned relu) { return relu ? 0.0f : NAN_F32; }
// max(v, floor); a NaN passes: a diverged run must show it.
__device__ __forceinline__ float above(float v, float floor) { return v <= floor ? floor : v; }
// max(a, b), NaN where one of them is: one instruction, where b is the floor of a ReLU or −∞.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ float max_or_nan(float a, float b) {
    if (a != a || b != b) return NAN_F32;
    // Of both zeros it is the positive one.
    return a == b ? __uint_as_float(__float_as_uint(a) & __float_as_uint(b)) : a > b ? a : b;
}
#else
__device__ __forceinline__ float max_or_nan(float a, float b) {
    float most;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(a), "f"(b));
    return most;
}
#endif
// Whether a ReLU that made y, if there is one, let nothing through at i.
__device__ __forceinline__ bool stopped(const float* y_or_null, u64 i) { return y_or_null && y_or_null[i] <= 0.0f; }
// What stands at i, 0 where nothing is given.
__device__ __forceinline__ float given(const float* p_or_null, unsigned i) { return p_or_null ? p_or_null[i] : 0.0f; }

// ---- vectors of four ----------------------------------------------------------------------------------------------------

struct __align__(16) Four {
    float v[4];
};
// Four bf16.
struct __align__(8) TwoWords {
    unsigned v[2];
};

__device__ __forceinline__ Four four_of(TwoWords words) {
    return {{__uint_as_float(words.v[0] << 16), __uint_as_float(words.v[0] & 0xffff0000u), __uint_as_float(words.v[1] << 16),
             __uint_as_float(words.v[1] & 0xffff0000u)}};
}

// Four elements that follow one another; p is aligned to four elements.
__device__ __forceinline__ Four load4(const float* p) { return *(const Four*)p; }
__device__ __forceinline__ Four load4(const bf16* p) { return four_of(*(const TwoWords*)p); }
__device__ __forceinline__ void store4(float* p, Four f) { *(Four*)p = f; }
__device__ __forceinline__ void store4(bf16* p, Four f) { *(TwoWords*)p = {{pack_bf16(f.v[0], f.v[1]), pack_bf16(f.v[2], f.v[3])}}; }

// The same, and what has been stored.
__device__ __forceinline__ Four store_rounded(float* p, Four f) {
    store4(p, f);
    return f;
}
__device__ __forceinline__ Four store_rounded(bf16* p, Four f) {
    TwoWords words = {{pack_bf16(f.v[0], f.v[1]), pack_bf16(f.v[2], f.v[3])}};
    *(TwoWords*)p = words;
    return four_of(words);
}

// Whether four elements at p, and at every fourth from there on, can be moved as one: vectors that are parts of others need not begin so.
template <typename T> __device__ __forceinline__ bool in_fours(const T* p) { return (u64)p % (4 * sizeof(T)) == 0; }

// ---- indices and sums -----------------------------------------------------------------------------------------------------

__device__ __forceinline__ unsigned lane_id() { return threadIdx.x & 31u; }
__device__ __forceinline__ unsigned warp_id() { return threadIdx.x >> 5; }
// The index of this thread in the grid, and the number of threads in it (along x): 64 bits, so that a stride never wraps.
__device__ __forceinline__ u64 global_thread() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ u64 global_threads() { return (u64)gridDim.x * blockDim.x; }

// Calls fours(i) for elements i … i + 3 and one(i) for each that is left over of `len`, or for all where they are not to be moved in fours; a
// thread takes every so manieth.
template <typename F, typename G> __device__ __forceinline__ void for_elements(u64 len, bool fours_too, F fours, G one) {
    u64 whole = fours_too ? len / 4 : 0;
    // Not unrolled: how often a loop of 64 bits is taken would be divided out first.
#pragma unroll 1
    for (u64 i = global_thread(); i < whole; i += global_threads()) fours(4 * i);
#pragma unroll 1
    for (u64 i = 4 * whole + global_thread(); i < len; i += global_threads()) one(i);
}

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

// How two numbers are merged into one, and what leaves the other as it is.
struct Sum {
    static __device__ __forceinline__ double none() { return 0.0; }
    static __device__ __forceinline__ double merge(double a, double b) { return a + b; }
};
// Of magnitudes: none is below 0.
struct Most {
    static __device__ __forceinline__ double none() { return 0.0; }
    static __device__ __forceinline__ double merge(double a, double b) { return larger(a, b); }
};

// ---- the step state ---------------------------------------------------------------------------------------------------------

// What src/runtime/state.rs lays out, as four words: seed, step, learning rate (f64), halted.
__device__ __forceinline__ u64 state_seed(const u64* state) { return state[0]; }
__device__ __forceinline__ u64 state_step(const u64* state) { return state[1]; }
__device__ __forceinline__ double state_rate(const u64* state) { return __longlong_as_double((long long)state[2]); }
__device__ __forceinline__ bool state_halted(const u64* state) { return state[3] != 0; }
