// CUDA's built-ins for kernels compiled as host C++: what a thread is comes from the emulator, through `emu_current`.
// The layouts of Thread and Calls are those of abi.rs.
#pragma once
#include <math.h>
#include <string.h>

#define NORMSCAPE_HOST 1
#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __restrict__ __restrict
#define __constant__ static const
#define __grid_constant__

typedef unsigned long long emu_u64;

struct Thread;
struct Calls {
    void* (*shared)(Thread*, const void* key, unsigned bytes);
    void* (*dynamic)(Thread*);
    void (*barrier)(Thread*, int line);
    void (*exchange)(Thread*, unsigned mask, const emu_u64* words, unsigned count, emu_u64* all);
    void (*warp_sync)(Thread*, unsigned mask, int line);
    void (*cluster_sync)(Thread*, int line);
    void* (*cluster_map)(Thread*, void* shared, unsigned rank);
    void (*copy_async)(Thread*, void* shared, const void* global, unsigned bytes, unsigned valid);
    void (*copy_commit)(Thread*);
    void (*copy_wait)(Thread*, unsigned left);
    void (*access)(Thread*, const void* address, unsigned bytes, int written);
    void (*count)(Thread*, const void* address, unsigned bytes, unsigned kind, unsigned widest, const void* site);
    void (*within)(Thread*, unsigned operation, emu_u64 amount);
    void (*fence)(Thread*);
    unsigned (*atomic)(Thread*, void* number, unsigned operand, unsigned wraps);
    void (*misaligned)(Thread*, const void* address, unsigned alignment, const char* file, unsigned line);
    void (*wait_for_predecessor)(Thread*);
};
// Hopper's asynchronous instructions: hopper.cuh calls these.
struct AsyncCalls {
    void (*mbarrier_init)(Thread*, void* barrier, unsigned arrivals);
    void (*mbarrier_arrive)(Thread*, void* barrier, unsigned bytes);
    void (*mbarrier_arrive_at)(Thread*, unsigned barrier);
    void (*mbarrier_wait)(Thread*, void* barrier, unsigned parity);
    void (*fence)(Thread*, unsigned kind);
    void (*bulk_copy)(Thread*, void* to, const void* map, void* barrier, int x, int y, unsigned blocks);
    void (*named_barrier)(Thread*, unsigned which, unsigned threads);
    emu_u64 (*shared_offset)(Thread*, const void* place);
    void (*wgmma_fence)(Thread*);
    void (*wgmma)(Thread*, float* d, emu_u64 a, emu_u64 b, unsigned columns, unsigned flags);
    void (*wgmma_commit)(Thread*);
    void (*wgmma_wait)(Thread*, unsigned left);
};
struct emu_dim3 {
    unsigned x, y, z;
};
struct Thread {
    emu_dim3 thread, block, threads, blocks;
    unsigned cluster_rank, cluster_blocks;
    const unsigned char* stack;
    emu_u64 stack_bytes;
    const Calls* calls;
    const AsyncCalls* async_calls;
};

// Set before a thread goes on. Initial-exec: one instruction to read, and kernels read it at every built-in.
extern "C" {
extern __thread Thread* emu_current __attribute__((tls_model("initial-exec")));
}

// A load that the compiler's instrumentation does not see: what a thread knows of itself is not the kernel's memory. A thread
// finds the same values whenever it looks, so loads may be moved and merged.
#if defined(__x86_64__)
#define EMU_LOAD "mov %1, %0"
#elif defined(__aarch64__)
#define EMU_LOAD "ldr %0, %1"
#else
#error "the emulator knows x86-64 and aarch64"
#endif
// The emulator's own memory is aligned, and looking whether it is takes longer than a load.
#define EMU_OWN static __forceinline__ __attribute__((no_sanitize("alignment")))
EMU_OWN Thread* emu_self() {
    Thread* self;
    __asm__(EMU_LOAD : "=r"(self) : "m"(emu_current));
    return self;
}
EMU_OWN unsigned emu_word(const unsigned* place) {
    unsigned word;
#if defined(__x86_64__)
    __asm__(EMU_LOAD : "=r"(word) : "m"(*place));
#else
    __asm__("ldr %w0, %1" : "=r"(word) : "m"(*place));
#endif
    return word;
}
EMU_OWN emu_dim3 emu_words(emu_dim3 Thread::*which) {
    const emu_dim3* place = &(emu_self()->*which);
    return emu_dim3{emu_word(&place->x), emu_word(&place->y), emu_word(&place->z)};
}
// One entry of the table; reading it is not an access of the kernel's either.
template <typename F> EMU_OWN F emu_call(F Calls::*entry) {
    Thread* self = emu_self();
    const Calls* calls;
    __asm__(EMU_LOAD : "=r"(calls) : "m"(self->calls));
    F call;
    __asm__(EMU_LOAD : "=r"(call) : "m"(calls->*entry));
    return call;
}
#define EMU(name, ...) (emu_call(&Calls::name)(emu_self(), ##__VA_ARGS__))
template <typename F> EMU_OWN F emu_async_call(F AsyncCalls::*entry) {
    Thread* self = emu_self();
    const AsyncCalls* calls;
    __asm__(EMU_LOAD : "=r"(calls) : "m"(self->async_calls));
    F call;
    __asm__(EMU_LOAD : "=r"(call) : "m"(calls->*entry));
    return call;
}
#define EMU_ASYNC(name, ...) (emu_async_call(&AsyncCalls::name)(emu_self(), ##__VA_ARGS__))
// For what stands for an instruction on registers: there is no memory to be watched, and watching its arrays takes most of its time.
#define EMU_REGISTERS __attribute__((noinline, no_sanitize("thread"), no_sanitize("alignment")))

#define threadIdx (emu_words(&Thread::thread))
#define blockIdx (emu_words(&Thread::block))
#define blockDim (emu_words(&Thread::threads))
#define gridDim (emu_words(&Thread::blocks))

static inline void* emu_shared(const void* key, unsigned bytes) { return EMU(shared, key, bytes); }
static inline void emu_wait_for_predecessor() { EMU(wait_for_predecessor); }
static inline void* emu_dynamic() { return EMU(dynamic); }
// The emulator's own words: they are copied out of its memory by its own function.
static inline void emu_exchange_into(emu_u64* all, unsigned mask, const emu_u64* words, unsigned count) {
    EMU(exchange, mask, words, count, all);
}
// An address that an instruction needs to be a multiple of `alignment`.
#define emu_need_aligned(address, alignment)                                                                              \
    ((emu_u64)(address) % (alignment) ? EMU(misaligned, address, alignment, __FILE__, __LINE__) : (void)0)

// What an exchange, with the loads around it, is on a GPU: said for builds that count, since the emulator makes all of these alike.
enum emu_operation { EMU_SHUFFLE = 1, EMU_VOTE, EMU_MMA, EMU_LDMATRIX };
#ifdef NORMSCAPE_COUNTS
struct emu_within {
    __forceinline__ emu_within(unsigned operation, emu_u64 amount) { EMU(within, operation, amount); }
    __forceinline__ ~emu_within() { EMU(within, 0, 0); }
};
// To the end of the scope. `amount`: of a shuffle its words of 32 bits, of ldmatrix the lane's address.
#define EMU_WITHIN(operation, amount) emu_within emu_within_here(operation, amount)
extern "C" void emu_count_copy(const void* to, const void* from, unsigned bytes, unsigned valid);
#else
#define EMU_WITHIN(operation, amount)
#define emu_count_copy(to, from, bytes, valid)
#endif

static __forceinline__ void emu_copy_async(void* to, const void* from, unsigned bytes, unsigned valid) {
    EMU(copy_async, to, from, bytes, valid);
    emu_count_copy(to, from, bytes, valid);
}
static inline void emu_copy_commit() { EMU(copy_commit); }
static inline void emu_copy_wait(unsigned left) { EMU(copy_wait, left); }
EMU_OWN unsigned emu_cluster_rank() { return emu_word(&emu_self()->cluster_rank); }
EMU_OWN unsigned emu_cluster_blocks() { return emu_word(&emu_self()->cluster_blocks); }
static inline void emu_cluster_sync(int line) { EMU(cluster_sync, line); }
static inline void* emu_cluster_map(void* shared, unsigned rank) { return EMU(cluster_map, shared, rank); }

#define __syncthreads() (EMU(barrier, __LINE__))
static inline void __syncwarp(unsigned mask = 0xffffffffu) { EMU(warp_sync, mask, 0); }
static inline void __threadfence() { EMU(fence); }
static inline unsigned atomicAdd(unsigned* number, unsigned more) { return EMU(atomic, number, more, 0); }
static inline unsigned atomicInc(unsigned* number, unsigned last) { return EMU(atomic, number, last, 1); }
static inline void __threadfence_block() {}

template <typename T> static inline T emu_shuffle(unsigned mask, T value, unsigned lane) {
    EMU_WITHIN(EMU_SHUFFLE, (sizeof(T) + 3) / 4);
    emu_u64 word = 0, all[32];
    __builtin_memcpy(&word, &value, sizeof(T));
    emu_exchange_into(all, mask, &word, 1);
    word = all[lane & 31u];
    __builtin_memcpy(&value, &word, sizeof(T));
    return value;
}
template <typename T> static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    unsigned mine = threadIdx.x & 31u;
    return emu_shuffle(mask, value, (mine & ~(width - 1u)) | ((unsigned)lane & (width - 1u)));
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int distance) {
    return emu_shuffle(mask, value, (threadIdx.x & 31u) ^ (unsigned)distance);
}
template <typename T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
    unsigned lane = (threadIdx.x & 31u) + distance;
    return emu_shuffle(mask, value, lane > 31u ? threadIdx.x & 31u : lane);
}
template <typename T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
    unsigned lane = threadIdx.x & 31u;
    return emu_shuffle(mask, value, lane < distance ? lane : lane - distance);
}
static inline unsigned __ballot_sync(unsigned mask, int vote) {
    EMU_WITHIN(EMU_VOTE, 1);
    emu_u64 word = vote ? 1 : 0;
    emu_u64 votes[32];
    emu_exchange_into(votes, mask, &word, 1);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1u && votes[lane] == 1) ballot |= 1u << lane;
    return ballot;
}
static inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
static inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }

template <typename To, typename From> static inline To emu_bits(From from) {
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}
static inline float __int_as_float(int x) { return emu_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return emu_bits<float>(x); }
static inline int __float_as_int(float x) { return emu_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
static inline double __longlong_as_double(long long x) { return emu_bits<double>(x); }
static inline long long __double_as_longlong(double x) { return emu_bits<long long>(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
template <typename T> static inline T __ldg(const T* p) { return *p; }
template <typename T> static inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> static inline T max(T a, T b) { return a < b ? b : a; }
