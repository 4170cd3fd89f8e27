// Clusters: blocks that can access each other's shared memory (sm_90 and later).
//
// A kernel with __cluster_dims__ stands between #if CLUSTERS and #endif: older devices do not have it. So does one of T with CLUSTER_OF(N), whose
// entries build.rs gives clusters of N blocks along x.
#pragma once
#include "prelude.cuh"

#define CLUSTER_OF(N)

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
