// The linear layer to ten outputs in which a classifier of CIFAR-10 ends: src/ops/linear/cuda_head.rs. A product of ten columns is too narrow for tiles,
// and nearly all of its time is latency. So a warp makes a sample's outputs, and its loss where that is asked for, all operands under way at once; and a
// block makes the gradients of eight inputs, and of the norm below these, from all samples, so that no sums are left to merge.
//
// Operands are bf16 or f32 (rounded to tf32 where asked), sums are float.
#include "losses.cuh"
#include "norm_below.cuh"
#include "wide.cuh"

constexpr unsigned OUTPUTS = 10, WARPS = 4;
// Inputs of a block's gradients, and samples that its threads have at once, four each.
constexpr unsigned INPUTS = 8, SAMPLES = 32, AHEAD = 4;

// y = x w + b of one sample, as stored in T: every lane has all ten. A lane takes every 32nd vector of x, and the ten vectors that w has under it.
// x and w are aligned to 16 bytes, and rows of x are whole vectors.
template <typename T>
__device__ __forceinline__ void outputs_of(const T* x, const T* weight, const float* bias_or_null, unsigned inputs, unsigned tf32, float (&y)[OUTPUTS]) {
    constexpr unsigned N = EACH<T>;
    float bias[OUTPUTS], sum[OUTPUTS] = {};
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS; ++k) bias[k] = given(bias_or_null, k);
    const Vector *own = (const Vector*)x, *all = (const Vector*)weight;
#pragma unroll 2
    for (unsigned at = lane_id(); at < inputs / N; at += 32) {
        Vector of_x = own[at], of_w[OUTPUTS];
#pragma unroll
        for (unsigned i = 0; i < OUTPUTS; ++i) of_w[i] = all[at * OUTPUTS + i];
        float v[N];
        unpack(of_x, v);
#pragma unroll
        for (unsigned i = 0; i < OUTPUTS; ++i) {
            float w[N];
            unpack(of_w[i], w);
#pragma unroll
            for (unsigned j = 0; j < N; ++j) {
                // Element `place` of the rows of w that belong to this vector of x.
                unsigned place = i * N + j, k = place % OUTPUTS;
                sum[k] = fmaf(operand(v[place / OUTPUTS], tf32), operand(w[j], tf32), sum[k]);
            }
        }
    }
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS; ++k) y[k] = to_f32(from_f32<T>(warp_sum(sum[k]) + bias[k]));
}

// The one of ten that has this lane's number; 0 on other lanes.
__device__ __forceinline__ float own_of(const float (&y)[OUTPUTS]) {
    float own = 0.0f;
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS; ++k) own = lane_id() == k ? y[k] : own;
    return own;
}

// out = x w + b; a warp a sample.
KERNEL_OF_T(128) head(const T* x, const T* weight, const float* bias_or_null, T* out, unsigned samples, unsigned inputs, unsigned tf32) {
    wait_for_predecessor();
    unsigned n = blockIdx.x * WARPS + warp_id();
    if (n >= samples) return;
    float y[OUTPUTS];
    outputs_of(x + (u64)n * inputs, weight, bias_or_null, inputs, tf32, y);
    if (lane_id() < OUTPUTS) out[(u64)n * OUTPUTS + lane_id()] = from_f32<T>(own_of(y));
}

// The same, and what cross_entropy finds of out: its bits.
KERNEL_OF_T(128)
head_cross_entropy(const T* x, const T* weight, const float* bias_or_null, T* out, const unsigned* labels, double* sample, double* right, double* loss,
                   double* correct, T* grad_or_null, unsigned* tickets, unsigned samples, unsigned inputs, unsigned tf32) {
    wait_for_predecessor();
    unsigned lane = lane_id();
    bool has_one = lane < OUTPUTS;
    double answers = 0.0;
#pragma unroll 1
    for (unsigned n = blockIdx.x * WARPS + warp_id(); n < samples; n += gridDim.x * WARPS) {
        unsigned label = labels[n];
        float z[OUTPUTS];
        outputs_of(x + (u64)n * inputs, weight, bias_or_null, inputs, tf32, z);
        float own = own_of(z), most = -INF_F32;
        u64 at = (u64)n * OUTPUTS + lane;
        if (has_one) out[at] = from_f32<T>(own);
#pragma unroll
        for (unsigned k = 0; k < OUTPUTS; ++k) most = larger(most, z[k]);
        // The first class that has the maximum.
        unsigned first = OUTPUTS;
#pragma unroll
        for (unsigned k = OUTPUTS; k-- > 0;) first = z[k] == most ? k : first;
        double exponential = has_one ? exp((double)own - (double)most) : 0.0, sum = warp_sum(exponential);
        float at_label = __shfl_sync(0xffffffffu, own, (int)(label % 32u));
        if (lane == 0) {
            sample[n] = loss_of_sample(most, sum, at_label, label, OUTPUTS);
            answers += first == label ? 1.0 : 0.0;
        }
        if (grad_or_null && has_one) grad_or_null[at] = gradient_of_logit<T>(exponential, sum, lane == label, samples);
    }
    answers = block_sum(answers);
    if (threadIdx.x == 0) right[blockIdx.x] = answers;
    merge_losses(sample, right, loss, correct, tickets, samples, samples);
}

// Ten elements that follow one another, two at a time; p is aligned to two.
__device__ __forceinline__ void load_ten(const float* p, float (&v)[OUTPUTS]) {
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS; k += 2) {
        TwoWords words = *(const TwoWords*)(p + k);
        v[k] = __uint_as_float(words.v[0]);
        v[k + 1] = __uint_as_float(words.v[1]);
    }
}
__device__ __forceinline__ void load_ten(const bf16* p, float (&v)[OUTPUTS]) {
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS; k += 2) {
        unsigned word = *(const unsigned*)(p + k);
        v[k] = __uint_as_float(word << 16);
        v[k + 1] = __uint_as_float(word & 0xffff0000u);
    }
}

// dx = dy wᵀ, dw = xᵀ dy and db = Σ dy; and dγ and dβ of the norm below, whose dy dx is. A block has eight inputs, and all samples of them. The bias is an
// input after the last, which is 1 in every sample. grad_y is aligned to 16 bytes.
KERNEL_OF_T(256)
head_gradients(const T* x, const T* weight, const T* grad_y, T* grad_x_or_null, float* grad_weight_or_null, float* grad_bias_or_null,
               const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null, const float* mean_or_null, const float* spread_or_null,
               float* grad_gamma_or_null, float* grad_beta_or_null, Norming norming, unsigned samples, unsigned inputs, unsigned tf32) {
    wait_for_predecessor();
    SHARED(float, of_weights, [8][INPUTS][OUTPUTS]);
    SHARED(double, of_norm, [8][2][INPUTS]);
    const unsigned input = blockIdx.x * INPUTS + threadIdx.x % INPUTS;
    const bool there = input < inputs, is_bias = input == inputs;
    const bool of_x = there && grad_x_or_null, of_w = there && grad_weight_or_null, normed = of_x && norm_x_or_null;
    // A bias is no operand of a product.
    const unsigned rounding = is_bias ? 0 : tf32;
    float w[OUTPUTS];
#pragma unroll
    for (unsigned k = 0; k < OUTPUTS; ++k) w[k] = of_x ? to_f32(operand(weight[(u64)input * OUTPUTS + k], tf32)) : 0.0f;
    Lifted of = {};
    if (normed)
        of = lifted_of(gamma_or_null[input], beta_or_null[input], mean_or_null[input], divisor(spread_or_null[input], norming.eps, norming.kind));
    const float floor = relu_floor(norming.relu);
    float sum[OUTPUTS] = {};
    double sum_dy = 0.0, sum_u = 0.0;
#pragma unroll 1
    for (unsigned begin = threadIdx.x / INPUTS; begin < samples; begin += AHEAD * SAMPLES) {
        float dy[AHEAD][OUTPUTS], v[AHEAD], below[AHEAD];
#pragma unroll
        for (unsigned i = 0; i < AHEAD; ++i) {
            unsigned n = begin + i * SAMPLES;
            u64 at = (u64)n * inputs + input;
            bool has = n < samples;
            if (has) load_ten(grad_y + (u64)n * OUTPUTS, dy[i]);
            else
#pragma unroll
                for (unsigned k = 0; k < OUTPUTS; ++k) dy[i][k] = 0.0f;
            v[i] = has && of_w ? operand(to_f32(x[at]), tf32) : is_bias ? 1.0f : 0.0f;
            below[i] = has && normed ? to_f32(norm_x_or_null[at]) : 0.0f;
        }
        // A thread has few samples of a turn: float is enough for their sums.
        float few_dy = 0.0f, few_u = 0.0f;
#pragma unroll
        for (unsigned i = 0; i < AHEAD; ++i) {
            float dx = 0.0f;
#pragma unroll
            for (unsigned k = 0; k < OUTPUTS; ++k) {
                float d = operand(dy[i][k], rounding);
                sum[k] = fmaf(v[i], d, sum[k]);
                dx = fmaf(d, w[k], dx);
            }
            unsigned n = begin + i * SAMPLES;
            if (n >= samples || !of_x) continue;
            T stored = from_f32<T>(dx);
            grad_x_or_null[(u64)n * inputs + input] = stored;
            float centred = fmaf(below[i], of.lift, of.shift);
            // Where no norm is below, nobody looks at these.
            if (fmaf(centred, of.gain, of.bias) <= floor) continue;
            few_dy += to_f32(stored);
            few_u = fmaf(to_f32(stored), centred, few_u);
        }
        sum_dy += few_dy;
        sum_u += few_u;
    }
    // The lanes of an input, then the warps in order.
#pragma unroll
    for (int distance = INPUTS; distance < 32; distance <<= 1) {
#pragma unroll
        for (unsigned k = 0; k < OUTPUTS; ++k) sum[k] += __shfl_xor_sync(0xffffffffu, sum[k], distance);
        sum_dy += __shfl_xor_sync(0xffffffffu, sum_dy, distance);
        sum_u += __shfl_xor_sync(0xffffffffu, sum_u, distance);
    }
    if (lane_id() < INPUTS) {
#pragma unroll
        for (unsigned k = 0; k < OUTPUTS; ++k) of_weights[warp_id()][lane_id()][k] = sum[k];
        of_norm[warp_id()][0][lane_id()] = sum_dy;
        of_norm[warp_id()][1][lane_id()] = sum_u;
    }
    __syncthreads();
    unsigned t = threadIdx.x;
    if (t < INPUTS * OUTPUTS) {
        unsigned row = blockIdx.x * INPUTS + t / OUTPUTS, k = t % OUTPUTS;
        float all = of_weights[0][t / OUTPUTS][k];
#pragma unroll
        for (unsigned warp = 1; warp < 8; ++warp) all += of_weights[warp][t / OUTPUTS][k];
        if (row < inputs && grad_weight_or_null) grad_weight_or_null[(u64)row * OUTPUTS + k] = all;
        if (row == inputs && grad_bias_or_null) grad_bias_or_null[k] = all;
    } else if (t >= 128 && t < 128 + 2 * INPUTS && normed) {
        // This thread's own input too.
        unsigned which = t / INPUTS % 2;
        double all = of_norm[0][which][t % INPUTS];
#pragma unroll
        for (unsigned warp = 1; warp < 8; ++warp) all += of_norm[warp][which][t % INPUTS];
        if (which == 0) grad_beta_or_null[input] = (float)all;
        else grad_gamma_or_null[input] = (float)(all * of.inverse);
    }
}
