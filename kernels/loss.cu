// The losses: softmax cross-entropy with its gradient, and the squared error. A warp takes a sample; the block that comes last adds up all samples, in
// order.
#include "losses.cuh"

// −ln softmax(z)_label of each sample and its gradient (p − onehot)/N, and each block's count of right answers; the mean of all samples, and all right
// answers. Exponentials in double, about the row's maximum: a batch has few of them. Warps take samples in turn; all of a block's threads meet at its end.
KERNEL_OF_T(128)
cross_entropy(const T* logits, const unsigned* labels, double* sample, double* right, double* loss, double* correct, T* grad_or_null,
              unsigned* tickets, unsigned samples, unsigned classes) {
    wait_for_predecessor();
    unsigned lane = lane_id(), warps = blockDim.x / 32u;
    double answers = 0.0;
    for (unsigned n = blockIdx.x * warps + warp_id(); n < samples; n += gridDim.x * warps) {
        const T* z = logits + (u64)n * classes;
        unsigned label = labels[n];
        float most = -INF_F32;
        for (unsigned k = lane; k < classes; k += 32) most = larger(most, to_f32(z[k]));
        most = warp_max(most);
        double sum = 0.0;
        // The first class that has the maximum.
        unsigned first = classes;
#pragma unroll 1
        for (unsigned k = lane; k < classes; k += 32) {
            float v = to_f32(z[k]);
            sum += exp((double)v - (double)most);
            if (v == most && k < first) first = k;
        }
        sum = warp_sum(sum);
        for (int distance = 16; distance > 0; distance >>= 1) {
            unsigned other = __shfl_xor_sync(0xffffffffu, first, distance);
            first = other < first ? other : first;
        }
        if (lane == 0) {
            sample[n] = loss_of_sample(most, sum, label < classes ? to_f32(z[label]) : 0.0f, label, classes);
            answers += first == label ? 1.0 : 0.0;
        }
        if (!grad_or_null) continue;
#pragma unroll 1
        for (unsigned k = lane; k < classes; k += 32) {
            double exponential = exp((double)to_f32(z[k]) - (double)most);
            grad_or_null[(u64)n * classes + k] = gradient_of_logit<T>(exponential, sum, k == label, samples);
        }
    }
    answers = block_sum(answers);
    if (threadIdx.x == 0) right[blockIdx.x] = answers;
    merge_losses(sample, right, loss, correct, tickets, samples, samples);
}

// scale Σ (x − t)² of each sample, and 2 scale (x − t); and the sum of all samples. Nothing is right or wrong: `correct` is NaN.
KERNEL_OF_T(128)
squared_error(const T* x, const T* target, double* sample, double* loss, double* correct, T* grad_or_null, unsigned* tickets, double scale,
              unsigned samples, unsigned columns) {
    wait_for_predecessor();
    unsigned n = blockIdx.x * (blockDim.x / 32u) + warp_id();
    double sum = 0.0;
    float factor = (float)(2.0 * scale);
    for (unsigned k = n < samples ? lane_id() : columns; k < columns; k += 32) {
        u64 i = (u64)n * columns + k;
        float a = to_f32(x[i]), b = to_f32(target[i]);
        double d = (double)a - (double)b;
        sum = fma(d, d, sum);
        if (grad_or_null) grad_or_null[i] = from_f32<T>(factor * (a - b));
    }
    sum = warp_sum(sum);
    if (lane_id() == 0 && n < samples) sample[n] = scale * sum;
    merge_losses(sample, nullptr, loss, correct, tickets, 1.0, samples);
}

// How softmax's gradient (p − onehot)/N moves: p (ż − Σ p ż)/N. A warp for each sample.
extern "C" __global__ void __launch_bounds__(128)
cross_entropy_tangent(const float* logits, const float* logits_tangent, float* grad_tangent, unsigned samples, unsigned classes) {
    wait_for_predecessor();
    unsigned n = blockIdx.x * (blockDim.x / 32u) + warp_id();
    if (n >= samples) return;
    const float *z = logits + (u64)n * classes, *zt = logits_tangent + (u64)n * classes;
    float most = -INF_F32;
    for (unsigned k = lane_id(); k < classes; k += 32) most = larger(most, z[k]);
    most = warp_max(most);
    double sum = 0.0, along = 0.0;
#pragma unroll 1
    for (unsigned k = lane_id(); k < classes; k += 32) {
        double p = exp((double)z[k] - (double)most);
        sum += p;
        along = fma(p, (double)zt[k], along);
    }
    sum = warp_sum(sum);
    along = warp_sum(along) / sum;
#pragma unroll 1
    for (unsigned k = lane_id(); k < classes; k += 32) {
        double p = exp((double)z[k] - (double)most) / sum;
        grad_tangent[(u64)n * classes + k] = (float)(p * ((double)zt[k] - along) / samples);
    }
}

// How the squared error's gradient moves: 2 scale ẋ.
extern "C" __global__ void __launch_bounds__(256)
squared_error_tangent(const float* x_tangent, float* grad_tangent, double scale, unsigned len) {
    wait_for_predecessor();
    float factor = (float)(2.0 * scale);
    for (u64 i = global_thread(); i < len; i += global_threads()) grad_tangent[i] = factor * x_tangent[i];
}
