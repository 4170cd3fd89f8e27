// Hopper's asynchronous products: bulk copies of tiles through tensor maps (TMA), the barriers that count their bytes (mbarrier), and products of a
// warpgroup whose operands stay in shared memory (wgmma). Only sm_90a has all of them: a kernel that uses them stands between #if HOPPER and #endif,
// and a file that includes this one is compiled for sm_90a alone. Each wrapper has a version for the host.
//
// A tile's rows have 128 bytes, and the copy permutes their 16-byte chunks: chunk c of row r lies at c ^ (r mod 8). So tiles begin at multiples of
// 1024 bytes. Copies and products use shared memory through a proxy of their own: what threads wrote there themselves is seen by it only after
// fence_proxy, and it is ordered with other work by mbarriers and wgmma_wait alone.
#pragma once
#include "tensor_cores.cuh"

// What a bulk copy needs to know of a matrix in global memory, made by the driver: its place, extents and pitch, and the box that one copy brings.
struct __align__(64) TensorMap {
    u64 opaque[16];
};

#ifdef NORMSCAPE_HOST
#define HOPPER 1
#define TILES_SHARED(name) DYNAMIC_SHARED(name)
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HOPPER 1
// Dynamic shared memory for tiles.
#define TILES_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#else
#define HOPPER 0
#endif

#if HOPPER

// ---- barriers in shared memory: mbarrier ---------------------------------------------------------------------------------------------
//
// A barrier's phases follow one another; a phase ends when all arrivals and all bytes that it expects have come. mbarrier_wait(barrier, parity) waits
// for the end of the phase of that parity: 0 for the first, 1 for the second, and so on; of the phase before the first it passes at once.

#ifdef NORMSCAPE_HOST
__device__ __forceinline__ void mbarrier_init(u64* barrier, unsigned arrivals) { EMU_ASYNC(mbarrier_init, barrier, arrivals); }
__device__ __forceinline__ void mbarrier_arrive(u64* barrier) { EMU_ASYNC(mbarrier_arrive, barrier, 0); }
__device__ __forceinline__ void mbarrier_expect(u64* barrier, unsigned bytes) { EMU_ASYNC(mbarrier_arrive, barrier, bytes); }
__device__ __forceinline__ unsigned mbarrier_of(u64* barrier, unsigned rank) { return (unsigned)EMU_ASYNC(shared_offset, barrier) | rank << 24; }
__device__ __forceinline__ void mbarrier_arrive_at(unsigned barrier) { EMU_ASYNC(mbarrier_arrive_at, barrier); }
__device__ __forceinline__ void mbarrier_wait(u64* barrier, unsigned parity) { EMU_ASYNC(mbarrier_wait, barrier, parity); }
__device__ __forceinline__ void fence_mbarrier_init() { EMU_ASYNC(fence, 1); }
__device__ __forceinline__ void fence_proxy() { EMU_ASYNC(fence, 0); }
#else
__device__ __forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void mbarrier_init(u64* barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and has the phase expect so many bytes of copies besides.
__device__ __forceinline__ void mbarrier_expect(u64* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// Block `rank`'s copy of a barrier, for mbarrier_arrive_at; those of an array follow one another by 8.
__device__ __forceinline__ unsigned mbarrier_of(u64* barrier, unsigned rank) {
    unsigned there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(barrier)), "r"(rank));
    return there;
}
// Arrives there. Who waits learns that this warp's copies and products have ended; nothing of its stores, which would need a fence.
__device__ __forceinline__ void mbarrier_arrive_at(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void mbarrier_wait(u64* barrier, unsigned parity) {
    unsigned ended;
    do {
        asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                     : "=r"(ended)
                     : "r"(shared_address(barrier)), "r"(parity)
                     : "memory");
    } while (!ended);
}
// What follows mbarrier_init, on the same thread, before a barrier of the block: copies see the barrier only then.
__device__ __forceinline__ void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// Has what this thread wrote to shared memory be seen by copies and by wgmma.
__device__ __forceinline__ void fence_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#endif

// ---- bulk copies: cp.async.bulk.tensor ---------------------------------------------------------------------------------------------------

// One thread asks for the box of `map` whose first element is (x, y), x along a row; the bytes are counted by the barrier. What lies beyond the
// matrix comes as zeros.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ void bulk_copy(void* to, const TensorMap* map, u64* barrier, int x, int y) {
    EMU_ASYNC(bulk_copy, to, (const void*)map, barrier, x, y, 0);
}
__device__ __forceinline__ void bulk_copy_to(unsigned blocks, void* to, const TensorMap* map, u64* barrier, int x, int y) {
    EMU_ASYNC(bulk_copy, to, (const void*)map, barrier, x, y, blocks);
}
#else
__device__ __forceinline__ void bulk_copy(void* to, const TensorMap* map, u64* barrier, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
                 "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
                 : "memory");
}
// The same for each block of the cluster that is a bit of `blocks`: the box comes to the same place in each, and is counted by the barrier at the same
// place. It is read once.
__device__ __forceinline__ void bulk_copy_to(unsigned blocks, void* to, const TensorMap* map, u64* barrier, int x, int y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(
            shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "h"((unsigned short)blocks)
        : "memory");
}
#endif

// ---- some warps' barrier ------------------------------------------------------------------------------------------------------------------

// A barrier of `threads` threads, whole warps; barrier 0 is that of __syncthreads.
#ifdef NORMSCAPE_HOST
template <unsigned WHICH> __device__ __forceinline__ void named_barrier(unsigned threads) { EMU_ASYNC(named_barrier, WHICH, threads); }
#else
template <unsigned WHICH> __device__ __forceinline__ void named_barrier(unsigned threads) {
    asm volatile("bar.sync %0, %1;" ::"n"(WHICH), "r"(threads) : "memory");
}
#endif

// ---- products of a warpgroup: wgmma -------------------------------------------------------------------------------------------------------
//
// The 128 threads of a warpgroup, four warps from a multiple of four on, call together. d += a · b, where a is 64 × 16 and b 16 × N, both of bf16
// where descriptors say. With g = lane / 4 and t = lane % 4, a lane of the warpgroup's warp w has in d[4 n + e] the element of row 16 w + g + 8 (e / 2)
// and column 8 n + 2 t + e % 2. Reads go on, and d may not be touched, until wgmma_wait.

#ifdef NORMSCAPE_HOST
__device__ __forceinline__ u64 place_of_tile(const void* tile) { return EMU_ASYNC(shared_offset, tile); }
#else
__device__ __forceinline__ u64 place_of_tile(const void* tile) { return shared_address(tile); }
#endif

// An operand in rows of 128 bytes that a copy has permuted. Where rows are those of the product (or columns, of b), they are in eights `eights` bytes
// apart; where a row has 64 of them and its number is that of the inner dimension, `across` says how far the next 64 are.
__device__ __forceinline__ u64 descriptor(u64 place, unsigned across = 16) {
    constexpr u64 PERMUTED = 1ull << 62, EIGHTS = 1024;
    return PERMUTED | EIGHTS >> 4 << 32 | (u64)(across >> 4) << 16 | (place & 0x3ffff) >> 4;
}
// The descriptor of what lies so many 16-byte chunks further: only its lower word changes.
__device__ __forceinline__ u64 moved(u64 descriptor, unsigned chunks) { return (descriptor & ~0xffffffffull) | ((unsigned)descriptor + chunks); }
// By how much a descriptor moves for each step of 16 of the inner dimension.
template <bool ACROSS> __device__ constexpr unsigned next_step() { return ACROSS ? 16 * 128 >> 4 : 32 >> 4; }

// A_ACROSS and B_ACROSS: the operand's rows are those of the inner dimension. With `onto` 0, d is overwritten.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ void wgmma_fence() { EMU_ASYNC(wgmma_fence); }
__device__ __forceinline__ void wgmma_commit() { EMU_ASYNC(wgmma_commit); }
template <int LEFT> __device__ __forceinline__ void wgmma_wait() { EMU_ASYNC(wgmma_wait, LEFT); }
template <bool A_ACROSS, bool B_ACROSS, unsigned COUNT> __device__ __forceinline__ void wgmma(float (&d)[COUNT], u64 a, u64 b, unsigned onto) {
    EMU_ASYNC(wgmma, d, a, b, 2 * COUNT, A_ACROSS | B_ACROSS << 1 | (onto != 0) << 2);
}
#else
// Before the first wgmma, and between other uses of d and the next wgmma of it.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Closes a group of products.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most LEFT groups are under way.
template <int LEFT> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory"); }
template <bool A_ACROSS, bool B_ACROSS> __device__ __forceinline__ void wgmma(float (&d)[32], u64 a, u64 b, unsigned onto) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, p, 1, 1, %35, %36;\n}"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
        : "l"(a), "l"(b), "r"(onto), "n"(A_ACROSS), "n"(B_ACROSS));
}
template <bool A_ACROSS, bool B_ACROSS> __device__ __forceinline__ void wgmma(float (&d)[64], u64 a, u64 b, unsigned onto) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, p, 1, 1, %67, %68;\n}"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
          "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
          "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
          "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
        : "l"(a), "l"(b), "r"(onto), "n"(A_ACROSS), "n"(B_ACROSS));
}
#endif

#endif
