// Norms over groups of each sample's channels, forward, backward and how both move, with the ReLU that may follow: src/ops/group_norm.
//
// A pixel's rows are a dense N × C matrix, so that all of x is a matrix of pixels × (N·C): a column is a sample's channel, and lanes lie along
// it as in BatchNorm's passes. Its sums over the pixels come first (BatchNorm's kernel leaves Σx and Σx²), then a warp adds up the
// columns and parts of each sample's group, or of each channel, in a fixed order.
#include "prelude.cuh"

// A column's channel, and its group among those of all samples.
struct GroupColumn {
    unsigned channel, group;
};
__device__ __forceinline__ GroupColumn group_column(unsigned column, unsigned channels, unsigned groups) {
    unsigned channel = column % channels;
    return {channel, column / channels * groups + channel / (channels / groups)};
}

__device__ __forceinline__ Pair warp_pair(Pair pair) { return {warp_sum(pair.a), warp_sum(pair.b)}; }

// Adds the two sums of a group over all parts and its channels, each times its channel's weight, to `pair`: a lane's share of them.
__device__ __forceinline__ Pair add_group(Pair pair, const double* partials, const float* weight, unsigned columns, unsigned channels,
                                          unsigned groups, unsigned group, unsigned parts) {
    unsigned each = channels / groups, channel = group % groups * each, first = group / groups * channels + channel;
    for (unsigned k = lane_id(); k < parts * each; k += 32) {
        unsigned part = k / each, at = k % each;
        double w = weight ? (double)weight[channel + at] : 1.0;
        pair.a = fma(w, partials[(u64)(2 * part) * columns + first + at], pair.a);
        pair.b = fma(w, partials[(u64)(2 * part + 1) * columns + first + at], pair.b);
    }
    return pair;
}

// μ and σ² of every sample's groups from Σx and Σx².
extern "C" __global__ void __launch_bounds__(256)
group_moments_finish(const double* partials, float* mean, float* var, unsigned pixels, unsigned columns, unsigned channels, unsigned groups,
                     unsigned parts) {
    unsigned group = merged_column();
    if (group >= columns / channels * groups) return;
    Pair pair = warp_pair(add_group({0.0, 0.0}, partials, nullptr, columns, channels, groups, group, parts));
    if (lane_id() != 0) return;
    double size = (double)pixels * (channels / groups), average = pair.a / size, variance = pair.b / size - average * average;
    mean[group] = (float)average;
    // Rounding may leave a hair below 0 where all values are equal.
    var[group] = (float)(variance < 0.0 ? 0.0 : variance);
}

// The means of two sums over every sample's groups, times each channel's weight where one is given.
extern "C" __global__ void __launch_bounds__(256)
group_means(const double* partials, const float* weight_or_null, float* mean_a, float* mean_b, unsigned pixels, unsigned columns,
            unsigned channels, unsigned groups, unsigned parts) {
    unsigned group = merged_column();
    if (group >= columns / channels * groups) return;
    Pair pair = warp_pair(add_group({0.0, 0.0}, partials, weight_or_null, columns, channels, groups, group, parts));
    if (lane_id() != 0) return;
    double size = (double)pixels * (channels / groups);
    mean_a[group] = (float)(pair.a / size);
    mean_b[group] = (float)(pair.b / size);
}

// How those of γ dy and γ dy·x̂ move: γ̇ times the sums, and γ times their own tangents.
extern "C" __global__ void __launch_bounds__(256)
group_means_tangent(const double* partials, const double* partials_tangent, const float* weight, const float* weight_tangent_or_null,
                    float* mean_a, float* mean_b, unsigned pixels, unsigned columns, unsigned channels, unsigned groups, unsigned parts) {
    unsigned group = merged_column();
    if (group >= columns / channels * groups) return;
    Pair pair = add_group({0.0, 0.0}, partials_tangent, weight, columns, channels, groups, group, parts);
    if (weight_tangent_or_null) pair = add_group(pair, partials, weight_tangent_or_null, columns, channels, groups, group, parts);
    pair = warp_pair(pair);
    if (lane_id() != 0) return;
    double size = (double)pixels * (channels / groups);
    mean_a[group] = (float)(pair.a / size);
    mean_b[group] = (float)(pair.b / size);
}

// dβ and dγ: the two sums of each channel over parts and samples.
extern "C" __global__ void __launch_bounds__(256)
group_channels(const double* partials, float* grad_weight, float* grad_bias, unsigned columns, unsigned channels, unsigned parts) {
    unsigned channel = merged_column(), samples = columns / channels;
    if (channel >= channels) return;
    Pair pair = {0.0, 0.0};
    for (unsigned k = lane_id(); k < parts * samples; k += 32) {
        unsigned part = k / samples, column = k % samples * channels + channel;
        pair.a += partials[(u64)(2 * part) * columns + column];
        pair.b += partials[(u64)(2 * part + 1) * columns + column];
    }
    pair = warp_pair(pair);
    if (lane_id() != 0) return;
    grad_bias[channel] = (float)pair.a;
    grad_weight[channel] = (float)pair.b;
}

// y = γ (x − μ)/S + β, then the ReLU
template <typename T>
__device__ void apply(const T* x, const float* weight, const float* bias, const float* mean, const float* var, T* y, double eps, unsigned relu,
                      unsigned pixels, unsigned columns, unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    if (at.column >= columns) return;
    GroupColumn of = group_column(at.column, channels, groups);
    float m = mean[of.group], b = bias[of.channel], floor = relu_floor(relu);
    float gain = (float)((double)weight[of.channel] / sqrt((double)var[of.group] + eps));
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        u64 i = (u64)row * columns + at.column;
        y[i] = from_f32<T>(above(fmaf(to_f32(x[i]) - m, gain, b), floor));
    }
}
extern "C" __global__ void __launch_bounds__(256)
group_apply_f32(const float* x, const float* weight, const float* bias, const float* mean, const float* var, float* y, double eps, unsigned relu,
                unsigned pixels, unsigned columns, unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    apply(x, weight, bias, mean, var, y, eps, relu, pixels, columns, rows_per_part, width, channels, groups);
}
extern "C" __global__ void __launch_bounds__(256)
group_apply_bf16(const bf16* x, const float* weight, const float* bias, const float* mean, const float* var, bf16* y, double eps, unsigned relu,
                 unsigned pixels, unsigned columns, unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    apply(x, weight, bias, mean, var, y, eps, relu, pixels, columns, rows_per_part, width, channels, groups);
}

// Each part's Σdy and Σdy·x̂ of every column, dy counting only where the ReLU let y through.
template <typename T>
__device__ void gradient_sums(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                              double* partials, double eps, unsigned relu, unsigned pixels, unsigned columns, unsigned rows_per_part,
                              unsigned width, unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    double sum = 0.0, sum_u = 0.0;
    if (at.column < columns) {
        GroupColumn of = group_column(at.column, channels, groups);
        double s = sqrt((double)var[of.group] + eps);
        float m = mean[of.group], b = bias[of.channel], floor = relu_floor(relu);
        float gain = (float)((double)weight[of.channel] / s), inverse = (float)(1.0 / s);
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            u64 i = (u64)row * columns + at.column;
            float d = to_f32(x[i]) - m, dy = to_f32(grad_y[i]);
            if (fmaf(d, gain, b) <= floor) dy = 0.0f;
            sum += dy;
            sum_u = fma((double)dy, (double)(d * inverse), sum_u);
        }
    }
    store_partials<Sum>(sum, sum_u, at, columns, width, partials);
}
extern "C" __global__ void __launch_bounds__(256)
group_gradient_sums_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                        double* partials, double eps, unsigned relu, unsigned pixels, unsigned columns, unsigned rows_per_part, unsigned width,
                        unsigned channels, unsigned groups) {
    gradient_sums(x, grad_y, weight, bias, mean, var, partials, eps, relu, pixels, columns, rows_per_part, width, channels, groups);
}
extern "C" __global__ void __launch_bounds__(256)
group_gradient_sums_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         double* partials, double eps, unsigned relu, unsigned pixels, unsigned columns, unsigned rows_per_part, unsigned width,
                         unsigned channels, unsigned groups) {
    gradient_sums(x, grad_y, weight, bias, mean, var, partials, eps, relu, pixels, columns, rows_per_part, width, channels, groups);
}

// dx = (γ dy − mean(γ dy) − x̂ mean(γ dy·x̂))/S
template <typename T>
__device__ void gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         const float* mean_q, const float* mean_u, T* grad_x, double eps, unsigned relu, unsigned pixels, unsigned columns,
                         unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    if (at.column >= columns) return;
    GroupColumn of = group_column(at.column, channels, groups);
    double s = sqrt((double)var[of.group] + eps);
    float m = mean[of.group], b = bias[of.channel], floor = relu_floor(relu), w = weight[of.channel];
    float gain = (float)((double)w / s), inverse = (float)(1.0 / s), mq = mean_q[of.group], mu = mean_u[of.group];
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        u64 i = (u64)row * columns + at.column;
        float d = to_f32(x[i]) - m, dy = to_f32(grad_y[i]);
        if (fmaf(d, gain, b) <= floor) dy = 0.0f;
        grad_x[i] = from_f32<T>(inverse * fmaf(-(d * inverse), mu, fmaf(w, dy, -mq)));
    }
}
extern "C" __global__ void __launch_bounds__(256)
group_gradient_f32(const float* x, const float* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                   const float* mean_q, const float* mean_u, float* grad_x, double eps, unsigned relu, unsigned pixels, unsigned columns,
                   unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    gradient(x, grad_y, weight, bias, mean, var, mean_q, mean_u, grad_x, eps, relu, pixels, columns, rows_per_part, width, channels, groups);
}
extern "C" __global__ void __launch_bounds__(256)
group_gradient_bf16(const bf16* x, const bf16* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                    const float* mean_q, const float* mean_u, bf16* grad_x, double eps, unsigned relu, unsigned pixels, unsigned columns,
                    unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    gradient(x, grad_y, weight, bias, mean, var, mean_q, mean_u, grad_x, eps, relu, pixels, columns, rows_per_part, width, channels, groups);
}

// ---- tangents: in f32 alone, as those of the other norms ---------------------------------------------------------------------------------

// A group's constants: μ and 1/S, and μ̇ and Ṡ.
struct MovingGroup {
    float mean, inverse, mean_tangent, divisor_tangent;
};
// x̂ and how it moves.
struct Normalised {
    float u, moving;
};
__device__ __forceinline__ float inverse_of(float var, double eps) { return (float)(1.0 / sqrt((double)var + eps)); }
__device__ __forceinline__ Normalised normalised(MovingGroup of, float x, float x_tangent) {
    float u = (x - of.mean) * of.inverse;
    return {u, (x_tangent - of.mean_tangent - u * of.divisor_tangent) * of.inverse};
}

// Each part's Σẋ and Σx̂ ẋ of every column, of which group_means makes μ̇ and Ṡ.
extern "C" __global__ void __launch_bounds__(256)
group_tangent_sums(const float* x, const float* x_tangent, const float* mean, const float* var, double* partials, double eps, unsigned pixels,
                   unsigned columns, unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    double sum = 0.0, sum_u = 0.0;
    if (at.column < columns) {
        unsigned group = group_column(at.column, channels, groups).group;
        float m = mean[group], inverse = inverse_of(var[group], eps);
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            u64 i = (u64)row * columns + at.column;
            float xt = x_tangent[i];
            sum += xt;
            sum_u = fma((double)((x[i] - m) * inverse), (double)xt, sum_u);
        }
    }
    store_partials<Sum>(sum, sum_u, at, columns, width, partials);
}

// ẏ = γ̇ x̂ + γ x̂˙ + β̇, where the ReLU let y through
extern "C" __global__ void __launch_bounds__(256)
group_tangent_apply(const float* x, const float* x_tangent, const float* y_or_null, const float* weight, const float* weight_tangent_or_null,
                    const float* bias_tangent_or_null, const float* mean, const float* var, const float* mean_tangent,
                    const float* divisor_tangent, float* y_tangent, double eps, unsigned pixels, unsigned columns, unsigned rows_per_part,
                    unsigned width, unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    if (at.column >= columns) return;
    GroupColumn column = group_column(at.column, channels, groups);
    unsigned c = column.channel, g = column.group;
    MovingGroup of = {mean[g], inverse_of(var[g], eps), mean_tangent[g], divisor_tangent[g]};
    float w = weight[c], wt = weight_tangent_or_null ? weight_tangent_or_null[c] : 0.0f;
    float bt = bias_tangent_or_null ? bias_tangent_or_null[c] : 0.0f;
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        u64 i = (u64)row * columns + at.column;
        Normalised n = normalised(of, x[i], x_tangent[i]);
        y_tangent[i] = y_or_null && y_or_null[i] <= 0.0f ? 0.0f : fmaf(wt, n.u, fmaf(w, n.moving, bt));
    }
}

// Each part's Σdy and Σdy·x̂, and Σḋy and Σ(ḋy x̂ + dy x̂˙).
extern "C" __global__ void __launch_bounds__(256)
group_tangent_gradient_sums(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                            const float* mean, const float* var, const float* mean_tangent, const float* divisor_tangent, double* partials,
                            double* partials_tangent, double eps, unsigned pixels, unsigned columns, unsigned rows_per_part, unsigned width,
                            unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    double sum = 0.0, sum_u = 0.0, moving = 0.0, moving_u = 0.0;
    if (at.column < columns) {
        unsigned g = group_column(at.column, channels, groups).group;
        MovingGroup of = {mean[g], inverse_of(var[g], eps), mean_tangent[g], divisor_tangent[g]};
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            u64 i = (u64)row * columns + at.column;
            if (y_or_null && y_or_null[i] <= 0.0f) continue;
            Normalised n = normalised(of, x[i], x_tangent[i]);
            double dy = grad_y[i], dyt = grad_y_tangent[i];
            sum += dy;
            sum_u = fma(dy, (double)n.u, sum_u);
            moving += dyt;
            moving_u = fma(dyt, (double)n.u, fma(dy, (double)n.moving, moving_u));
        }
    }
    store_partials<Sum>(sum, sum_u, at, columns, width, partials);
    // Both go through the same shared memory.
    __syncthreads();
    store_partials<Sum>(moving, moving_u, at, columns, width, partials_tangent);
}

// ḋx = (q̇ − ȧ − x̂˙ b − x̂ ḃ)/S − Ṡ/S² (q − a − x̂ b), q = γ dy, with a, b and their tangents in `mean_…`
extern "C" __global__ void __launch_bounds__(256)
group_tangent_gradient(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                       const float* weight, const float* weight_tangent_or_null, const float* mean, const float* var,
                       const float* mean_tangent, const float* divisor_tangent, const float* mean_q, const float* mean_u,
                       const float* mean_q_tangent, const float* mean_u_tangent, float* grad_x_tangent, double eps, unsigned pixels,
                       unsigned columns, unsigned rows_per_part, unsigned width, unsigned channels, unsigned groups) {
    ColumnPlace at = column_place(pixels, rows_per_part, width);
    if (at.column >= columns) return;
    GroupColumn column = group_column(at.column, channels, groups);
    unsigned c = column.channel, g = column.group;
    MovingGroup of = {mean[g], inverse_of(var[g], eps), mean_tangent[g], divisor_tangent[g]};
    float w = weight[c], wt = weight_tangent_or_null ? weight_tangent_or_null[c] : 0.0f;
    float a = mean_q[g], b = mean_u[g], a_moving = mean_q_tangent[g], b_moving = mean_u_tangent[g], shrink = of.divisor_tangent * of.inverse;
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        u64 i = (u64)row * columns + at.column;
        bool through = !(y_or_null && y_or_null[i] <= 0.0f);
        float dy = through ? grad_y[i] : 0.0f, dyt = through ? grad_y_tangent[i] : 0.0f;
        Normalised n = normalised(of, x[i], x_tangent[i]);
        float own = fmaf(w, dy, -a) - n.u * b;
        float moved = fmaf(wt, dy, fmaf(w, dyt, -a_moving)) - n.moving * b - n.u * b_moving;
        grad_x_tangent[i] = of.inverse * fmaf(-shrink, own, moved);
    }
}
