// The deep linear network's whole pass as one launch: src/ops/deep_linear. A cluster of eight blocks takes a run. Each block keeps its
// share of the samples, and their inputs to all layers, in shared memory. Per-column sums are exchanged through distributed shared memory
// and merged in the order of the ranks. Several runs (points of a probe, seeds) are several clusters of one launch.
#include "cluster.cuh"

#if CLUSTERS

// Blocks of a cluster, threads of a block; numbers that a rank sends of a turn: two of each column.
constexpr unsigned RANKS = 8, THREADS = 256, MOST_SENT = 32;

// What follows a product: as src/ops/deep_linear says.
enum ChainNorm : unsigned { NONE, BATCH, L1, L2, LINF, LP };

// A block's shared memory; what has no samples in it is small. `most` is how many samples a block may have, `mine` how many it has.
struct Chain {
    unsigned depth, dim, norms, samples, most, first, mine;
    // Inputs of the layers, as [layer][column][sample]; two matrices [column][sample] to work in.
    float *inputs, *work[2];
    // [layer][in][out], and this block's part of its gradient.
    float *weight, *grad_weight;
    // Of every norm: γ, β; of the batch μ, γ/D, 1/D; of an ℓp norm s, and at p = ∞ the number of largest |z|.
    float *gamma, *beta, *mean, *gain, *inverse, *scale, *largest;
    // Of the present norm's gradient: Σdy/m, Σdy·u/m.
    float *mean_dy, *mean_u;
    // Sums of parts of the block; what the ranks sent, for two turns.
    double *parts, *sent;
};

// The same order as the sizes in src/ops/deep_linear/cuda.rs.
__device__ __forceinline__ Chain chain_of(unsigned char* memory, unsigned depth, unsigned dim, unsigned norms, unsigned samples) {
    Chain c;
    c.depth = depth;
    c.dim = dim;
    c.norms = norms;
    c.samples = samples;
    c.most = (samples + RANKS - 1) / RANKS;
    c.first = min(cluster_rank() * c.most, samples);
    c.mine = min(samples - c.first, c.most);
    c.parts = (double*)memory;
    c.sent = c.parts + 512;
    float* next = (float*)(c.sent + 2 * RANKS * MOST_SENT);
    auto take = [&](unsigned count) {
        float* taken = next;
        next += count;
        return taken;
    };
    c.mean_dy = take(dim);
    c.mean_u = take(dim);
    c.gamma = take(norms * dim);
    c.beta = take(norms * dim);
    c.mean = take(norms * dim);
    c.gain = take(norms * dim);
    c.inverse = take(norms * dim);
    c.scale = take(norms * dim);
    c.largest = take(norms * dim);
    c.weight = take(depth * dim * dim);
    c.grad_weight = take(depth * dim * dim);
    c.work[0] = take(dim * c.most);
    c.work[1] = take(dim * c.most);
    c.inputs = take(depth * dim * c.most);
    return c;
}

// Two numbers of every column, f(column, sample) and g(column, sample), merged over all samples of the cluster: a thread's in order,
// then threads, then ranks. Then finish(column, number, other), in every block. `turn` counts the calls: a rank that is ahead sends
// where no other still reads.
template <typename Merge, typename F, typename G, typename Finish>
__device__ __forceinline__ void merge_columns(const Chain& c, unsigned& turn, F f, G g, Finish finish) {
    unsigned half = threadIdx.x / 128u, lane = threadIdx.x % 128u, groups = 128u / c.dim, width = 2 * c.dim;
    unsigned column = lane % c.dim, group = lane / c.dim;
    if (group < groups) {
        double v = Merge::none();
        if (half == 0) {
            for (unsigned n = group; n < c.mine; n += groups) v = Merge::merge(v, f(column, n));
        } else {
            for (unsigned n = group; n < c.mine; n += groups) v = Merge::merge(v, g(column, n));
        }
        c.parts[group * width + half * c.dim + column] = v;
    }
    __syncthreads();
    double* sent = c.sent + turn % 2 * (RANKS * MOST_SENT);
    for (unsigned i = threadIdx.x; i < width * RANKS; i += THREADS) {
        unsigned which = i % width;
        double v = c.parts[which];
        for (unsigned part = 1; part < groups; ++part) v = Merge::merge(v, c.parts[part * width + which]);
        cluster_map(sent, i / width)[cluster_rank() * MOST_SENT + which] = v;
    }
    cluster_sync();
    if (threadIdx.x < c.dim) {
        double a = sent[threadIdx.x], b = sent[c.dim + threadIdx.x];
        for (unsigned rank = 1; rank < RANKS; ++rank) {
            a = Merge::merge(a, sent[rank * MOST_SENT + threadIdx.x]);
            b = Merge::merge(b, sent[rank * MOST_SENT + c.dim + threadIdx.x]);
        }
        finish(threadIdx.x, a, b);
    }
    __syncthreads();
    turn += 1;
}

// out[o][n] ← Σ_i in[i][n] w[i][o], or with the transpose of w. Two threads share a sample, each with half of the columns.
template <unsigned WIDTH, bool TRANSPOSED>
__device__ __forceinline__ void multiply(const Chain& c, const float* in, const float* weight, float* out) {
    constexpr unsigned HALF = WIDTH / 2;
    for (unsigned item = threadIdx.x; item < 2 * c.mine; item += THREADS) {
        unsigned n = item % c.mine, begin = item / c.mine * HALF;
        float sum[HALF] = {};
#pragma unroll
        for (unsigned i = 0; i < WIDTH; ++i) {
            if (i >= c.dim) break;
            float v = in[i * c.most + n];
#pragma unroll
            for (unsigned o = 0; o < HALF; ++o)
                if (begin + o < c.dim) sum[o] = fmaf(v, TRANSPOSED ? weight[(begin + o) * c.dim + i] : weight[i * c.dim + begin + o], sum[o]);
        }
#pragma unroll
        for (unsigned o = 0; o < HALF; ++o)
            if (begin + o < c.dim) out[(begin + o) * c.most + n] = sum[o];
    }
}

// This block's part of dw[i][o] = Σ_n in[i][n] dz[o][n]. A thread has two by two of them over some of the samples; `parts` has room for
// 1,024 such sums. Rows and columns beyond the matrix are counted as the last one's, and left out.
__device__ __forceinline__ void weight_gradient(const Chain& c, const float* in, const float* dz, float* grad) {
    float* parts = (float*)c.parts;
    unsigned side = (c.dim + 1) / 2, tiles = side * side, groups = THREADS / tiles, group = threadIdx.x / tiles, tile = threadIdx.x % tiles;
    if (group < groups) {
        unsigned i = tile / side * 2, o = tile % side * 2, last = c.dim - 1;
        const float *a0 = in + i * c.most, *a1 = in + (i < last ? i + 1 : last) * c.most;
        const float *b0 = dz + o * c.most, *b1 = dz + (o < last ? o + 1 : last) * c.most;
        float sum[4] = {};
        for (unsigned n = group; n < c.mine; n += groups) {
            sum[0] = fmaf(a0[n], b0[n], sum[0]);
            sum[1] = fmaf(a0[n], b1[n], sum[1]);
            sum[2] = fmaf(a1[n], b0[n], sum[2]);
            sum[3] = fmaf(a1[n], b1[n], sum[3]);
        }
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) parts[(group * tiles + tile) * 4 + k] = sum[k];
    }
    __syncthreads();
    for (unsigned e = threadIdx.x; e < c.dim * c.dim; e += THREADS) {
        unsigned i = e / c.dim, o = e % c.dim, at = (i / 2 * side + o / 2) * 4 + i % 2 * 2 + o % 2;
        double sum = 0.0;
        for (unsigned part = 0; part < groups; ++part) sum += parts[part * tiles * 4 + at];
        grad[e] = (float)sum;
    }
}

// Calls f(column, sample, place in a matrix [column][sample]) for this block's samples.
template <typename F> __device__ __forceinline__ void for_elements(const Chain& c, F f) {
    for (unsigned i = threadIdx.x; i < c.dim * c.mine; i += THREADS) f(i / c.mine, i % c.mine, i / c.mine * c.most + i % c.mine);
}

// The statistics of norm `l` over z.
__device__ __forceinline__ void statistics_of(const Chain& c, unsigned& turn, const float* z, unsigned l, unsigned kind, double eps, double p,
                                              float* statistics) {
    unsigned at = l * c.dim;
    auto value = [&](unsigned column, unsigned n) { return (double)z[column * c.most + n]; };
    auto magnitude = [&](unsigned column, unsigned n) { return (double)fabsf(z[column * c.most + n]); };
    // max|z| waits in scale.
    if (kind == LINF || kind == LP)
        merge_columns<Most>(c, turn, magnitude, magnitude, [&](unsigned column, double most, double) { c.scale[at + column] = (float)most; });
    auto power = [&](unsigned column, unsigned n) {
        double v = value(column, n);
        if (kind == BATCH || kind == L2) return v * v;
        if (kind == L1) return fabs(v);
        float most = c.scale[at + column];
        if (kind == LINF) return fabs(v) == (double)most ? 1.0 : 0.0;
        return (double)powf(fabsf((float)v) / (most > 0.0f && most < INF_F32 ? most : 1.0f), (float)p);
    };
    merge_columns<Sum>(c, turn, value, power, [&](unsigned column, double sum, double powers) {
        c.largest[at + column] = (float)powers;
        double mean = sum / c.samples, average = powers / c.samples, spread = average;
        double most = kind == LINF || kind == LP ? (double)c.scale[at + column] : 0.0;
        // Rounding may leave a variance a hair below 0 where all samples are equal.
        if (kind == BATCH) spread = average > mean * mean ? average - mean * mean : 0.0;
        else if (kind == L2) spread = sqrt(average);
        else if (kind == LINF) spread = most;
        else if (kind == LP) spread = (most > 0.0 ? most : 1.0) * pow(average, 1.0 / p);
        spread = (double)(float)spread;
        double divisor = kind == BATCH ? sqrt(spread + eps) : spread + eps;
        c.mean[at + column] = (float)mean;
        c.gain[at + column] = (float)((double)c.gamma[at + column] / divisor);
        c.inverse[at + column] = (float)(1.0 / divisor);
        c.scale[at + column] = (float)spread;
        if (statistics && cluster_rank() == 0) {
            statistics[2 * at + column] = (float)mean;
            statistics[2 * at + c.dim + column] = (float)spread;
        }
    });
}

// dz in place of dy, from z: γ/D (dy − Σdy/m − what the spread does).
__device__ __forceinline__ void norm_gradient(const Chain& c, unsigned& turn, float* dy, const float* z, unsigned l, unsigned kind, double p,
                                              float* grad_gamma, float* grad_beta) {
    unsigned at = l * c.dim;
    auto value = [&](unsigned column, unsigned n) { return (double)dy[column * c.most + n]; };
    auto along = [&](unsigned column, unsigned n) {
        float u = (z[column * c.most + n] - c.mean[at + column]) * c.inverse[at + column];
        return (double)dy[column * c.most + n] * (double)u;
    };
    merge_columns<Sum>(c, turn, value, along, [&](unsigned column, double sum, double sum_u) {
        c.mean_dy[column] = (float)((double)(float)sum / c.samples);
        // At p = ∞ the largest share it; at p = 2 it is multiplied by |z|/s, of which 1/s is taken here, where it has a range to be in.
        double by = kind == LINF ? (double)c.largest[at + column] : (double)c.samples;
        if (kind == L2) by *= (double)c.scale[at + column];
        c.mean_u[column] = by > 0.0 ? (float)((double)(float)sum_u / by) : 0.0f;
        if (cluster_rank() == 0) {
            grad_beta[column] = (float)sum;
            grad_gamma[column] = (float)sum_u;
        }
    });
    float exponent = (float)(p - 1.0);
    for_elements(c, [&](unsigned column, unsigned n, unsigned i) {
        float v = z[i], factor = c.mean_u[column], d = dy[i] - c.mean_dy[column], slope = 0.0f;
        if (kind == BATCH) {
            float u = (v - c.mean[at + column]) * c.inverse[at + column];
            dy[i] = c.gain[at + column] * fmaf(-u, factor, d);
            return;
        }
        if (kind == L1) slope = factor;
        else if (kind == L2) slope = fabsf(v) * factor;
        else if (kind == LINF) slope = fabsf(v) == c.scale[at + column] ? factor : 0.0f;
        else if (factor != 0.0f && v != 0.0f) slope = factor * powf(fabsf(v) / c.scale[at + column], exponent);
        slope = v < 0.0f ? -slope : v == 0.0f ? 0.0f : slope;
        dy[i] = c.gain[at + column] * (d - slope);
    });
}

template <unsigned WIDTH>
__device__ __forceinline__ void deep_linear(const float* theta, const float* x, const float* target, float* grad, float* y, float* statistics,
                                            double* sample, double* loss, double* correct, double scale, double eps, double p, unsigned kind,
                                            unsigned norm_last, unsigned depth, unsigned dim, unsigned samples, unsigned stride) {
    DYNAMIC_SHARED(memory);
    unsigned run = blockIdx.x / RANKS, norms = kind == NONE ? 0 : norm_last ? depth : depth - 1, turn = 0;
    unsigned square = dim * dim, step = kind == NONE ? square : square + 2 * dim;
    Chain c = chain_of(memory, depth, dim, norms, samples);
    theta += (u64)run * stride;
    for (unsigned i = threadIdx.x; i < depth * square; i += THREADS) c.weight[i] = theta[i / square * step + i % square];
    for (unsigned i = threadIdx.x; i < norms * dim; i += THREADS) {
        c.gamma[i] = theta[i / dim * step + square + i % dim];
        c.beta[i] = theta[i / dim * step + square + dim + i % dim];
    }
    for (unsigned i = threadIdx.x; i < c.mine * dim; i += THREADS) c.inputs[i % dim * c.most + i / dim] = x[c.first * dim + i];
    // No rank sends before all have begun.
    cluster_sync();

    for (unsigned l = 0; l < depth; ++l) {
        const float* in = c.inputs + l * dim * c.most;
        float *z = c.work[0], *out = l + 1 < depth ? c.inputs + (l + 1) * dim * c.most : c.work[1];
        multiply<WIDTH, false>(c, in, c.weight + l * square, l < norms ? z : out);
        __syncthreads();
        if (l >= norms) continue;
        statistics_of(c, turn, z, l, kind, eps, p, statistics);
        unsigned at = l * dim;
        for_elements(c, [&](unsigned column, unsigned, unsigned i) {
            out[i] = fmaf(z[i] - c.mean[at + column], c.gain[at + column], c.beta[at + column]);
        });
        __syncthreads();
    }

    // The squared error, its gradient in place of the prediction.
    float *dy = c.work[1], *spare = c.work[0], factor = (float)(2.0 * scale);
    double total = 0.0;
    for (unsigned n = threadIdx.x; n < c.mine; n += THREADS) {
        double sum = 0.0;
        for (unsigned column = 0; column < dim; ++column) {
            float a = dy[column * c.most + n], b = target[(c.first + n) * dim + column];
            double d = (double)a - (double)b;
            sum = fma(d, d, sum);
            dy[column * c.most + n] = factor * (a - b);
            if (y) y[(c.first + n) * dim + column] = a;
        }
        if (sample) sample[c.first + n] = scale * sum;
        total += scale * sum;
    }
    total = block_sum(total);
    double* sent = c.sent + turn % 2 * (RANKS * MOST_SENT);
    if (threadIdx.x == 0) cluster_map(sent, 0)[cluster_rank() * MOST_SENT] = total;
    cluster_sync();
    turn += 1;
    if (cluster_rank() == 0 && threadIdx.x == 0) {
        double sum = sent[0];
        for (unsigned rank = 1; rank < RANKS; ++rank) sum += sent[rank * MOST_SENT];
        loss[run] = sum;
        // Nothing is right or wrong.
        correct[run] = (double)NAN_F32;
    }
    if (!grad) return;

    grad += (u64)run * stride;
    for (unsigned l = depth; l-- > 0;) {
        const float *in = c.inputs + l * dim * c.most, *weight = c.weight + l * square;
        if (l < norms) {
            multiply<WIDTH, false>(c, in, weight, spare);
            __syncthreads();
            norm_gradient(c, turn, dy, spare, l, kind, p, grad + l * step + square, grad + l * step + square + dim);
        }
        __syncthreads();
        if (l > 0) multiply<WIDTH, true>(c, dy, weight, spare);
        weight_gradient(c, in, dy, c.grad_weight + l * square);
        float* other = dy;
        dy = spare;
        spare = other;
    }
    cluster_sync();
    for (unsigned i = cluster_rank() * THREADS + threadIdx.x; i < depth * square; i += RANKS * THREADS) {
        double sum = 0.0;
        for (unsigned rank = 0; rank < RANKS; ++rank) sum += cluster_map(c.grad_weight, rank)[i];
        grad[i / square * step + i % square] = (float)sum;
    }
    // No block ends while others read from it.
    cluster_sync();
}

// Loss and gradient of the paper's width, ten: each run at its own θ, `stride` apart, on one batch.
// Without the second bound ptxas gives it 64 registers, and spills; with a greater one it spills on newer architectures. At the paper's size shared
// memory has room for one block on a multiprocessor.
extern "C" __global__ void __launch_bounds__(256, 1) __cluster_dims__(8, 1, 1)
deep_linear_10(const float* theta, const float* x, const float* target, float* grad_or_null, float* y_or_null, float* statistics_or_null,
               double* sample_or_null, double* loss, double* correct, double scale, double eps, double p, unsigned kind, unsigned norm_last,
               unsigned depth, unsigned dim, unsigned samples, unsigned stride) {
    wait_for_predecessor();
    deep_linear<10>(theta, x, target, grad_or_null, y_or_null, statistics_or_null, sample_or_null, loss, correct, scale, eps, p, kind, norm_last,
                    depth, 10, samples, stride);
}
// As deep_linear_10, at any width up to sixteen.
extern "C" __global__ void __launch_bounds__(256) __cluster_dims__(8, 1, 1)
deep_linear_16(const float* theta, const float* x, const float* target, float* grad_or_null, float* y_or_null, float* statistics_or_null,
               double* sample_or_null, double* loss, double* correct, double scale, double eps, double p, unsigned kind, unsigned norm_last,
               unsigned depth, unsigned dim, unsigned samples, unsigned stride) {
    wait_for_predecessor();
    deep_linear<16>(theta, x, target, grad_or_null, y_or_null, statistics_or_null, sample_or_null, loss, correct, scale, eps, p, kind, norm_last,
                    depth, dim, samples, stride);
}
#endif
