// Norms over groups of each sample's channels: forward, backward and the tangents of both, with the ReLU that may follow. See
// src/ops/norm/group.
//
// A pixel's rows are a dense N × C matrix. So all of x is a `matrix` of pixels × (N·C), whose `rows` are the pixels: a column is one
// channel of a sample, and lanes run along it as in BatchNorm's passes. The sums over the pixels come first (BatchNorm's kernel leaves Σx
// and Σx²). Then a warp adds up the columns and parts of each sample's group, or of each channel, in a fixed order.
#include "groupnorm.cuh"

// The column that a warp has where a warp merges one: eight in a block of 256 threads.
__device__ __forceinline__ unsigned merged_column() { return blockIdx.x * 8u + warp_id(); }

__device__ __forceinline__ Pair warp_pair(Pair pair) { return {warp_sum(pair.a), warp_sum(pair.b)}; }

// What a warp adds up: the partial sums of its group's columns.
struct GroupSums {
    unsigned group, columns, parts;
    Groups groups;
    __device__ __forceinline__ bool there() const { return group < columns / groups.channels * groups.count; }
    // Elements of the group.
    __device__ __forceinline__ double size(unsigned pixels) const { return (double)pixels * (groups.channels / groups.count); }
    // A lane's share of the two sums, each channel's times its weight where one is given, added to `pair`.
    __device__ __forceinline__ Pair add(Pair pair, const double* partials, const float* weight) const {
        unsigned each = groups.channels / groups.count, channel = group % groups.count * each;
        unsigned first = group / groups.count * groups.channels + channel;
        for (unsigned k = lane_id(); k < parts * each; k += 32) {
            unsigned part = k / each, at = k % each;
            double w = weight ? (double)weight[channel + at] : 1.0;
            pair.a = fma(w, partials[(u64)(2 * part) * columns + first + at], pair.a);
            pair.b = fma(w, partials[(u64)(2 * part + 1) * columns + first + at], pair.b);
        }
        return pair;
    }
};

// μ and σ² of every sample's groups from Σx and Σx².
extern "C" __global__ void __launch_bounds__(256)
group_moments_finish(const double* partials, float* mean, float* var, unsigned pixels, unsigned columns, Groups groups, unsigned parts) {
    wait_for_predecessor();
    GroupSums of = {merged_column(), columns, parts, groups};
    if (!of.there()) return;
    Pair sums = warp_pair(of.add({}, partials, nullptr));
    if (lane_id() != 0) return;
    double size = of.size(pixels);
    // Where the mean stays in, μ is 0 and σ² the mean square.
    Pair moments = groups.centre ? moments_of(sums.a, sums.b, size) : Pair{0.0, sums.b / size};
    mean[of.group] = (float)moments.a;
    var[of.group] = (float)moments.b;
}

// The means of two sums over every sample's groups, times each channel's weight where one is given; the first is what centring takes off.
extern "C" __global__ void __launch_bounds__(256)
group_means(const double* partials, const float* weight_or_null, float* mean_a, float* mean_b, unsigned pixels, unsigned columns, Groups groups,
            unsigned parts) {
    wait_for_predecessor();
    GroupSums of = {merged_column(), columns, parts, groups};
    if (!of.there()) return;
    Pair sums = warp_pair(of.add({}, partials, weight_or_null));
    if (lane_id() != 0) return;
    mean_a[of.group] = groups.centre ? (float)(sums.a / of.size(pixels)) : 0.0f;
    mean_b[of.group] = (float)(sums.b / of.size(pixels));
}

// How the means of γ dy and γ dy·x̂ move: those of γ̇ times the sums, and of γ times their own tangents.
extern "C" __global__ void __launch_bounds__(256)
group_means_tangent(const double* partials, const double* partials_tangent, const float* weight, const float* weight_tangent_or_null,
                    float* mean_a, float* mean_b, unsigned pixels, unsigned columns, Groups groups, unsigned parts) {
    wait_for_predecessor();
    GroupSums of = {merged_column(), columns, parts, groups};
    if (!of.there()) return;
    Pair sums = of.add({}, partials_tangent, weight);
    if (weight_tangent_or_null) sums = of.add(sums, partials, weight_tangent_or_null);
    sums = warp_pair(sums);
    if (lane_id() != 0) return;
    mean_a[of.group] = groups.centre ? (float)(sums.a / of.size(pixels)) : 0.0f;
    mean_b[of.group] = (float)(sums.b / of.size(pixels));
}

// dβ and dγ: the two sums of each channel over parts and samples.
extern "C" __global__ void __launch_bounds__(256)
group_channels(const double* partials, float* grad_weight, float* grad_bias, unsigned columns, unsigned channels, unsigned parts) {
    wait_for_predecessor();
    unsigned channel = merged_column(), samples = columns / channels;
    if (channel >= channels) return;
    Pair pair = {};
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

// Sums over a column: of four rows in f32, and of these in f64, since a conversion and a sum in f64 take as long on some cards as 64 in f32. A thread
// has the rows that it has in other passes; f(element, float& a, float& b) adds an element's two numbers.
template <typename F> __device__ __forceinline__ Pair sums_of_fours(const ColumnPlace& at, F f) {
    Pair sums = {};
    for (unsigned row = at.first_row; row < at.end_row; row += 4 * at.step) {
        float a = 0.0f, b = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < 4; ++k)
            if (row + k * at.step < at.end_row) f(at.element(row + k * at.step), a, b);
        sums.a += a;
        sums.b += b;
    }
    return sums;
}

// y = γ (x − μ)/S + β, then the ReLU.
KERNEL_OF_T(256)
group_apply(const T* x, const float* weight, const float* bias, const float* mean, const float* var, T* y, double eps, unsigned relu,
            Matrix matrix, Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    auto [c, g] = group_column(at.column, groups);
    Affine of = affine_of(weight[c], bias[c], mean[g], sqrt((double)var[g] + eps), relu);
    for_column(at, [&](u64 i) { y[i] = from_f32<T>(of.y(to_f32(x[i]))); });
}

// Each part's Σdy and Σdy·x̂ of every column, dy counting only where the ReLU let y through.
KERNEL_OF_T(256)
group_gradient_sums(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var, double* partials,
                    double eps, unsigned relu, Matrix matrix, Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    Pair sums = {};
    if (at.there()) {
        auto [c, g] = group_column(at.column, groups);
        double s = sqrt((double)var[g] + eps);
        Affine of = affine_of(weight[c], bias[c], mean[g], s, relu);
        float inverse = (float)(1.0 / s);
        sums = sums_of_fours(at, [&](u64 i, float& sum, float& sum_u) {
            float v = to_f32(x[i]), dy = of.upstream(v, to_f32(grad_y[i]));
            sum += dy;
            sum_u = fmaf(dy, of.centred(v) * inverse, sum_u);
        });
    }
    store_partials<Sum>(sums.a, sums.b, at, partials);
}

// dx = (γ dy − mean(γ dy) − x̂ mean(γ dy·x̂))/S, the means in `mean_q` and `mean_u`.
KERNEL_OF_T(256)
group_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var, const float* mean_q,
               const float* mean_u, T* grad_x, double eps, unsigned relu, Matrix matrix, Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    auto [c, g] = group_column(at.column, groups);
    double s = sqrt((double)var[g] + eps);
    Affine of = affine_of(weight[c], bias[c], mean[g], s, relu);
    GroupSlope slope = group_slope(s, mean_q[g], mean_u[g]);
    for_column(at, [&](u64 i) {
        float v = to_f32(x[i]);
        bool through = !(of.before_relu(v) <= of.floor);
        grad_x[i] = from_f32<T>(group_dx(of.centred(v), to_f32(grad_y[i]), through, of.gain, slope.inverse, slope.rest, slope.slope));
    });
}

// ---- tangents: in f32 alone, as those of the other norms ---------------------------------------------------------------------------------

__device__ __forceinline__ float inverse_of(float var, double eps) { return (float)(1.0 / sqrt((double)var + eps)); }
// x̂ and how it moves.
struct Normalised {
    float u, moving;
};
// A group's constants: μ and 1/S, and μ̇ and Ṡ.
struct MovingGroup {
    float mean, inverse, mean_tangent, divisor_tangent;
    __device__ __forceinline__ Normalised normalised(float x, float x_tangent) const {
        float u = (x - mean) * inverse;
        return {u, (x_tangent - mean_tangent - u * divisor_tangent) * inverse};
    }
};

// Each part's Σẋ and Σx̂ ẋ of every column, of which group_means makes μ̇ and Ṡ.
extern "C" __global__ void __launch_bounds__(256)
group_tangent_sums(const float* x, const float* x_tangent, const float* mean, const float* var, double* partials, double eps, Matrix matrix,
                   Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    double sum = 0.0, sum_u = 0.0;
    if (at.there()) {
        unsigned g = group_column(at.column, groups).group;
        float m = mean[g], inverse = inverse_of(var[g], eps);
        for_column(at, [&](u64 i) {
            float xt = x_tangent[i];
            sum += xt;
            sum_u = fma((double)((x[i] - m) * inverse), (double)xt, sum_u);
        });
    }
    store_partials<Sum>(sum, sum_u, at, partials);
}

// ẏ = γ̇ x̂ + γ x̂˙ + β̇, where the ReLU let y through.
extern "C" __global__ void __launch_bounds__(256)
group_tangent_apply(const float* x, const float* x_tangent, const float* y_or_null, const float* weight, const float* weight_tangent_or_null,
                    const float* bias_tangent_or_null, const float* mean, const float* var, const float* mean_tangent,
                    const float* divisor_tangent, float* y_tangent, double eps, Matrix matrix, Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    auto [c, g] = group_column(at.column, groups);
    MovingGroup of = {mean[g], inverse_of(var[g], eps), mean_tangent[g], divisor_tangent[g]};
    float w = weight[c], wt = given(weight_tangent_or_null, c), bt = given(bias_tangent_or_null, c);
    for_column(at, [&](u64 i) {
        Normalised n = of.normalised(x[i], x_tangent[i]);
        y_tangent[i] = stopped(y_or_null, i) ? 0.0f : fmaf(wt, n.u, fmaf(w, n.moving, bt));
    });
}

// Each part's Σdy and Σdy·x̂, and Σḋy and Σ(ḋy x̂ + dy x̂˙).
extern "C" __global__ void __launch_bounds__(256)
group_tangent_gradient_sums(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                            const float* mean, const float* var, const float* mean_tangent, const float* divisor_tangent, double* partials,
                            double* partials_tangent, double eps, Matrix matrix, Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    double sum = 0.0, sum_u = 0.0, moving = 0.0, moving_u = 0.0;
    if (at.there()) {
        unsigned g = group_column(at.column, groups).group;
        MovingGroup of = {mean[g], inverse_of(var[g], eps), mean_tangent[g], divisor_tangent[g]};
        for_column(at, [&](u64 i) {
            if (stopped(y_or_null, i)) return;
            Normalised n = of.normalised(x[i], x_tangent[i]);
            double dy = grad_y[i], dyt = grad_y_tangent[i];
            sum += dy;
            sum_u = fma(dy, (double)n.u, sum_u);
            moving += dyt;
            moving_u = fma(dyt, (double)n.u, fma(dy, (double)n.moving, moving_u));
        });
    }
    store_partials<Sum>(sum, sum_u, at, partials);
    // Both go through the same shared memory.
    __syncthreads();
    store_partials<Sum>(moving, moving_u, at, partials_tangent);
}

// ḋx = (q̇ − ȧ − x̂˙ b − x̂ ḃ)/S − Ṡ/S² (q − a − x̂ b), q = γ dy, with a, b and their tangents in `mean_…`.
extern "C" __global__ void __launch_bounds__(256)
group_tangent_gradient(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                       const float* weight, const float* weight_tangent_or_null, const float* mean, const float* var,
                       const float* mean_tangent, const float* divisor_tangent, const float* mean_q, const float* mean_u,
                       const float* mean_q_tangent, const float* mean_u_tangent, float* grad_x_tangent, double eps, Matrix matrix,
                       Groups groups) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    auto [c, g] = group_column(at.column, groups);
    MovingGroup of = {mean[g], inverse_of(var[g], eps), mean_tangent[g], divisor_tangent[g]};
    float w = weight[c], wt = given(weight_tangent_or_null, c), shrink = of.divisor_tangent * of.inverse;
    float a = mean_q[g], b = mean_u[g], a_moving = mean_q_tangent[g], b_moving = mean_u_tangent[g];
    for_column(at, [&](u64 i) {
        bool through = !stopped(y_or_null, i);
        float dy = through ? grad_y[i] : 0.0f, dyt = through ? grad_y_tangent[i] : 0.0f;
        Normalised n = of.normalised(x[i], x_tangent[i]);
        float own = fmaf(w, dy, -a) - n.u * b;
        float moved = fmaf(wt, dy, fmaf(w, dyt, -a_moving)) - n.moving * b - n.u * b_moving;
        grad_x_tangent[i] = of.inverse * fmaf(-shrink, own, moved);
    });
}
