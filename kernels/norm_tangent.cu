// How the norms move where their operands do: src/ops/norm_tangent. In f32 alone: these are parts of Hessian-vector products, with which
// nobody trains.
#include "prelude.cuh"

// What a norm's spread is: the power mean of order 1, 2, any other p, ∞, or σ².
enum { P_OTHER = 0, P_ONE = 1, P_TWO = 2, P_INFINITE = 3, VARIANCE = 4 };

// A unit's constants: μ, 1/D, and 1/s of an ℓp norm.
struct Unit {
    float mean, inverse, scaled;
};
__device__ __forceinline__ double spread_divisor(float spread, double eps, unsigned law) {
    return law == VARIANCE ? sqrt((double)spread + eps) : (double)spread + eps;
}
__device__ __forceinline__ Unit unit_of(float mean, float spread, double eps, unsigned law) {
    return {mean, (float)(1.0 / spread_divisor(spread, eps, law)), spread > 0.0f ? (float)(1.0 / (double)spread) : 0.0f};
}

// r = m ∂D/∂x, but for p = ∞, where one element alone has it.
__device__ __forceinline__ float slope_of(unsigned law, float p, float x, float u, float scaled) {
    if (law == VARIANCE) return u;
    if (law == P_INFINITE || x == 0.0f) return 0.0f;
    float size = law == P_ONE ? 1.0f : law == P_TWO ? fabsf(x) * scaled : powf(fabsf(x) * scaled, p - 1.0f);
    return x > 0.0f ? size : -size;
}
// ṙ
__device__ __forceinline__ float slope_moving(unsigned law, float p, float x, float r, float xt, float ut, float dt, float scaled) {
    if (law == VARIANCE) return ut;
    if (law == P_INFINITE || law == P_ONE) return 0.0f;
    if (law == P_TWO) return (xt - r * dt) * scaled;
    if (x == 0.0f) return 0.0f;
    return (p - 1.0f) * (powf(fabsf(x) * scaled, p - 2.0f) * xt - r * dt) * scaled;
}

// Each part's Σẋ and Σ r ẋ of every column.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_sums(const float* x, const float* x_tangent, const float* mean, const float* spread, double* partials, double eps, float p,
                  unsigned law, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double sum = 0.0, sum_r = 0.0;
    if (at.column < columns) {
        Unit unit = unit_of(mean[at.column], spread[at.column], eps, law);
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            u64 i = (u64)row * columns + at.column;
            float v = x[i], vt = x_tangent[i];
            sum += vt;
            sum_r = fma((double)slope_of(law, p, v, (v - unit.mean) * unit.inverse, unit.scaled), (double)vt, sum_r);
        }
    }
    store_partials<Sum>(sum, sum_r, at, columns, width, partials);
}

// μ̇ and Ḋ from the sums.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_finish(const double* partials, float* mean_tangent, float* divisor_tangent, unsigned rows, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    if (column >= columns) return;
    Pair pair = merge_parts<Sum>(partials, columns, column, parts);
    if (lane_id() != 0) return;
    mean_tangent[column] = (float)(pair.a / rows);
    divisor_tangent[column] = (float)(pair.b / rows);
}

// The element of a column that p = ∞ looks at, from the ranks that lp_first left; false where there is none.
__device__ __forceinline__ bool largest_element(const double* partials, const float* spread, unsigned batch, unsigned rows, unsigned columns,
                                                unsigned column, unsigned parts, u64& at) {
    if (column >= columns || !(spread[column] > 0.0f)) return false;
    double first = merge_parts<Least>(partials, columns, column, parts).a;
    if (first >= 1e18 || lane_id() != 0) return false;
    u64 rank = (u64)first;
    unsigned pixels = rows / batch;
    at = (rank % pixels * batch + rank / pixels) * columns + column;
    return true;
}

// Ḋ at p = ∞: how the largest |x| moves.
extern "C" __global__ void __launch_bounds__(256)
linf_tangent(const float* x, const float* x_tangent, const float* spread, const double* partials, float* divisor_tangent, unsigned batch,
             unsigned rows, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    u64 at;
    if (!largest_element(partials, spread, batch, rows, columns, column, parts, at)) return;
    divisor_tangent[column] = x[at] > 0.0f ? x_tangent[at] : -x_tangent[at];
}

// ẏ = γ̇ u + γ u̇ + β̇, where the ReLU let y through
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_apply(const float* x, const float* x_tangent, const float* y_or_null, const float* weight, const float* weight_tangent_or_null,
                   const float* bias_tangent_or_null, const float* mean, const float* spread, const float* mean_tangent,
                   const float* divisor_tangent, float* y_tangent, double eps, unsigned law, unsigned rows, unsigned columns,
                   unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    if (at.column >= columns) return;
    Unit unit = unit_of(mean[at.column], spread[at.column], eps, law);
    float w = weight[at.column], wt = weight_tangent_or_null ? weight_tangent_or_null[at.column] : 0.0f;
    float bt = bias_tangent_or_null ? bias_tangent_or_null[at.column] : 0.0f, mt = mean_tangent[at.column], dt = divisor_tangent[at.column];
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        u64 i = (u64)row * columns + at.column;
        float u = (x[i] - unit.mean) * unit.inverse, ut = (x_tangent[i] - mt - u * dt) * unit.inverse;
        y_tangent[i] = y_or_null && y_or_null[i] <= 0.0f ? 0.0f : fmaf(wt, u, fmaf(w, ut, bt));
    }
}

// Each part's Σḋy and Σ(ḋy u + dy u̇), which norm_gradient_finish makes ḋβ and ḋγ of.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_gradient_sums(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                           const float* mean, const float* spread, const float* mean_tangent, const float* divisor_tangent, double* partials,
                           double eps, unsigned law, unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    double sum = 0.0, sum_u = 0.0;
    if (at.column < columns) {
        Unit unit = unit_of(mean[at.column], spread[at.column], eps, law);
        float mt = mean_tangent[at.column], dt = divisor_tangent[at.column];
        for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
            u64 i = (u64)row * columns + at.column;
            if (y_or_null && y_or_null[i] <= 0.0f) continue;
            float u = (x[i] - unit.mean) * unit.inverse, ut = (x_tangent[i] - mt - u * dt) * unit.inverse;
            sum += grad_y_tangent[i];
            sum_u = fma((double)grad_y_tangent[i], (double)u, fma((double)grad_y[i], (double)ut, sum_u));
        }
    }
    store_partials<Sum>(sum, sum_u, at, columns, width, partials);
}

// γ/D, and how it moves.
struct Gain {
    float gain, moving;
};
__device__ __forceinline__ Gain gain_of(float weight, float weight_tangent, float divisor_tangent, double divisor) {
    return {(float)(weight / divisor), (float)((weight_tangent - weight * (double)divisor_tangent / divisor) / divisor)};
}

// ḋx = (γ/D)˙ (dy − dβ/m − r dγ/m) + γ/D (ḋy − ḋβ/m − r ḋγ/m − ṙ dγ/m); at p = ∞ without what one element has of r.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_gradient(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                      const float* weight, const float* weight_tangent_or_null, const float* mean, const float* spread,
                      const float* mean_tangent, const float* divisor_tangent, const float* grad_weight, const float* grad_bias,
                      const float* grad_weight_tangent, const float* grad_bias_tangent, float* grad_x_tangent, double eps, float p, unsigned law,
                      unsigned rows, unsigned columns, unsigned rows_per_part, unsigned width) {
    ColumnPlace at = column_place(rows, rows_per_part, width);
    if (at.column >= columns) return;
    unsigned c = at.column;
    Unit unit = unit_of(mean[c], spread[c], eps, law);
    float mt = mean_tangent[c], dt = divisor_tangent[c];
    Gain gain = gain_of(weight[c], weight_tangent_or_null ? weight_tangent_or_null[c] : 0.0f, dt, spread_divisor(spread[c], eps, law));
    double samples = rows;
    float mean_b = (float)((double)grad_bias[c] / samples), mean_bt = (float)((double)grad_bias_tangent[c] / samples);
    float mean_w = law == P_INFINITE ? 0.0f : (float)((double)grad_weight[c] / samples);
    float mean_wt = law == P_INFINITE ? 0.0f : (float)((double)grad_weight_tangent[c] / samples);
    for (unsigned row = at.first_row; row < at.end_row; row += at.step) {
        u64 i = (u64)row * columns + c;
        bool through = !(y_or_null && y_or_null[i] <= 0.0f);
        float dy = through ? grad_y[i] : 0.0f, dyt = through ? grad_y_tangent[i] : 0.0f, v = x[i], vt = x_tangent[i];
        float u = (v - unit.mean) * unit.inverse, ut = (vt - mt - u * dt) * unit.inverse;
        float r = slope_of(law, p, v, u, unit.scaled), rt = slope_moving(law, p, v, r, vt, ut, dt, unit.scaled);
        float own = dy - mean_b - mean_w * r, moved = dyt - mean_bt - mean_wt * r - mean_w * rt;
        grad_x_tangent[i] = fmaf(gain.moving, own, gain.gain * moved);
    }
}

// At p = ∞ that element alone: sign(x) ((γ/D)˙ dγ + γ/D ḋγ) comes off.
extern "C" __global__ void __launch_bounds__(256)
linf_tangent_gradient(const float* x, const float* weight, const float* weight_tangent_or_null, const float* spread,
                      const float* divisor_tangent, const float* grad_weight, const float* grad_weight_tangent, const double* partials,
                      float* grad_x_tangent, double eps, unsigned batch, unsigned rows, unsigned columns, unsigned parts) {
    unsigned column = merged_column();
    u64 at;
    if (!largest_element(partials, spread, batch, rows, columns, column, parts, at)) return;
    float wt = weight_tangent_or_null ? weight_tangent_or_null[column] : 0.0f;
    Gain gain = gain_of(weight[column], wt, divisor_tangent[column], spread_divisor(spread[column], eps, P_INFINITE));
    float off = gain.moving * grad_weight[column] + gain.gain * grad_weight_tangent[column];
    grad_x_tangent[at] -= x[at] > 0.0f ? off : -off;
}
