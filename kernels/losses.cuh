// What kernels that end in a loss share: softmax's numbers of a sample, and the sum of all samples' losses.
#pragma once
#include "tickets.cuh"

// −ln softmax(z)_label, from the largest logit, Σ exp(z − most), and the label's own. A label that is no class has no loss: NaN shows it.
__device__ __forceinline__ double loss_of_sample(float most, double sum, float at_label, unsigned label, unsigned classes) {
    return label < classes ? log(sum) + (double)most - (double)at_label : (double)NAN_F32;
}
// How the mean loss of `samples` samples changes with a logit, whose exp(z − most) is given: (p − onehot)/N.
template <typename T> __device__ __forceinline__ T gradient_of_logit(double exponential, double sum, bool is_label, unsigned samples) {
    double p = exponential / sum;
    return from_f64<T>((p - (is_label ? 1.0 : 0.0)) / samples);
}

// Σ of `count` numbers, whose order does not depend on `count`: every 256th, then the tree of a warp, then eight warps in order. A block of 128 threads,
// each of which stands for two; all must call it, and all have the sum.
__device__ __forceinline__ double ordered_sum(const double* v, unsigned count) {
    SHARED(double, sums, [8]);
    __syncthreads();
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
        double sum = 0.0;
        for (unsigned n = threadIdx.x + 128 * half; n < count; n += 256) sum += v[n];
        sum = warp_sum(sum);
        if (lane_id() == 0) sums[4 * half + warp_id()] = sum;
    }
    __syncthreads();
    double sum = sums[0];
    for (unsigned warp = 1; warp < 8; ++warp) sum += sums[warp];
    return sum;
}

// loss ← Σ sample / divisor; correct ← Σ right over the grid's blocks, or NaN where nothing is right or wrong: on one thread of the block that comes
// last. All threads must call it. Not part of its caller, whose registers are few.
__device__ __noinline__ void merge_losses(const double* sample, const double* right_or_null, double* loss, double* correct, unsigned* tickets,
                                          double divisor, unsigned samples) {
    if (!is_last(tickets, gridDim.x)) return;
    double sum = ordered_sum(sample, samples), right = right_or_null ? ordered_sum(right_or_null, gridDim.x) : (double)NAN_F32;
    if (threadIdx.x != 0) return;
    loss[0] = sum / divisor;
    correct[0] = right;
}
