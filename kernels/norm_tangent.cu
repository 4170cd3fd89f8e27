// The tangents of the norms, that is their changes when their operands change: src/ops/norm/batch. They exist only in f32, because they are
// used in Hessian-vector products and never in training.
#include "columns.cuh"

// What a norm's spread is: the power mean of order 1, 2, any other p, ∞, or σ².
enum { P_OTHER = 0, P_ONE = 1, P_TWO = 2, P_INFINITE = 3, VARIANCE = 4 };

__device__ __forceinline__ double spread_divisor(float spread, double eps, unsigned law) {
    return law == VARIANCE ? sqrt((double)spread + eps) : (double)spread + eps;
}

// A unit's constants: μ, 1/D, and of an ℓp norm s and 1/s. What has no inverse in a float is lifted, and so is what it divides.
struct Unit {
    unsigned law;
    float mean, lift, inverse, most, lift_s, scaled;
    // u, and how it moves.
    __device__ __forceinline__ float normalised(float x) const { return (x - mean) * lift * inverse; }
    __device__ __forceinline__ float moving(float u, float x_tangent, float mean_tangent, float divisor_tangent) const {
        return (x_tangent - mean_tangent - u * divisor_tangent) * lift * inverse;
    }
    // r = m ∂D/∂x; at p = ∞ without the factor m/k, for the k elements of largest |x|.
    __device__ __forceinline__ float slope(float p, float x, float u) const {
        if (law == VARIANCE) return u;
        if (x == 0.0f || (law == P_INFINITE && fabsf(x) != most)) return 0.0f;
        float size = 1.0f;
        if (law == P_TWO) size = fabsf(x) * lift_s * scaled;
        else if (law == P_OTHER) size = powf(fabsf(x) * lift_s * scaled, p - 1.0f);
        return x > 0.0f ? size : -size;
    }
    // w ṙ: ṙ by itself may be out of range.
    __device__ __forceinline__ float times_slope_moving(float w, float p, float x, float r, float xt, float ut, float dt) const {
        if (law == VARIANCE) return w * ut;
        if (law == P_INFINITE || law == P_ONE || (law == P_OTHER && x == 0.0f)) return 0.0f;
        float size = law == P_TWO ? 1.0f : (p - 1.0f) * powf(fabsf(x) * lift_s * scaled, p - 2.0f);
        float own = law == P_TWO ? 1.0f : p - 1.0f;
        return w * lift_s * scaled * (size * xt - own * r * dt);
    }
};
__device__ __forceinline__ Unit unit_of(float mean, float spread, double eps, unsigned law) {
    double d = spread_divisor(spread, eps, law), s = (double)spread;
    float lift = lift_of(d), lift_s = lift_of(s);
    return {law, mean, lift, (float)(1.0 / (d * lift)), spread, lift_s, spread > 0.0f ? (float)(1.0 / (s * lift_s)) : 0.0f};
}

// Each part's Σẋ and Σ r ẋ of every column.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_sums(const float* x, const float* x_tangent, const float* mean, const float* spread, double* partials, double eps, float p,
                  unsigned law, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    double sum = 0.0, sum_r = 0.0;
    if (at.there()) {
        Unit unit = unit_of(mean[at.column], spread[at.column], eps, law);
        for_column(at, [&](u64 i) {
            float v = x[i], vt = x_tangent[i];
            sum += vt;
            sum_r = fma((double)unit.slope(p, v, unit.normalised(v)), (double)vt, sum_r);
        });
    }
    store_partials<Sum>(sum, sum_r, at, partials);
}

// μ̇ and Ḋ from the sums; of p = ∞ the second is that of all largest elements.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_finish(const double* partials, float* mean_tangent, float* divisor_tangent, unsigned law, unsigned rows, unsigned columns,
                    unsigned parts) {
    wait_for_predecessor();
    finish_columns<Sum>(partials, columns, parts, [&](unsigned column, double sum, double sum_r) {
        mean_tangent[column] = (float)(sum / rows);
        divisor_tangent[column] = (float)(law == P_INFINITE ? sum_r : sum_r / rows);
    });
}

// Ḋ at p = ∞: the mean over the largest elements, whose number lp_ties_finish left.
extern "C" __global__ void __launch_bounds__(256) linf_tangent(const double* ties, float* divisor_tangent, unsigned columns) {
    wait_for_predecessor();
    for (u64 column = global_thread(); column < columns; column += global_threads())
        divisor_tangent[column] = (float)((double)divisor_tangent[column] / ties[column]);
}

// ẏ = γ̇ u + γ u̇ + β̇, where the ReLU let y through.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_apply(const float* x, const float* x_tangent, const float* y_or_null, const float* weight, const float* weight_tangent_or_null,
                   const float* bias_tangent_or_null, const float* mean, const float* spread, const float* mean_tangent,
                   const float* divisor_tangent, float* y_tangent, double eps, unsigned law, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    unsigned c = at.column;
    Unit unit = unit_of(mean[c], spread[c], eps, law);
    float w = weight[c], wt = given(weight_tangent_or_null, c), bt = given(bias_tangent_or_null, c), mt = mean_tangent[c], dt = divisor_tangent[c];
    for_column(at, [&](u64 i) {
        float u = unit.normalised(x[i]), ut = unit.moving(u, x_tangent[i], mt, dt);
        y_tangent[i] = stopped(y_or_null, i) ? 0.0f : fmaf(wt, u, fmaf(w, ut, bt));
    });
}

// Each part's Σḋy and Σ(ḋy u + dy u̇), and of all parts ḋβ and ḋγ.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_gradient_sums(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                           const float* mean, const float* spread, const float* mean_tangent, const float* divisor_tangent, double* partials,
                           float* grad_weight, float* grad_bias, unsigned* tickets, double eps, unsigned law, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    double sum = 0.0, sum_u = 0.0;
    if (at.there()) {
        Unit unit = unit_of(mean[at.column], spread[at.column], eps, law);
        float mt = mean_tangent[at.column], dt = divisor_tangent[at.column];
        for_column(at, [&](u64 i) {
            if (stopped(y_or_null, i)) return;
            float u = unit.normalised(x[i]), ut = unit.moving(u, x_tangent[i], mt, dt);
            sum += grad_y_tangent[i];
            sum_u = fma((double)grad_y_tangent[i], (double)u, fma((double)grad_y[i], (double)ut, sum_u));
        });
    }
    store_partials<Sum>(sum, sum_u, at, partials);
    merge_gradients<1>(partials, grad_weight, grad_bias, tickets, block_parts(at.columns, at.width));
}

// ḋx = (γ/D)˙ (dy − dβ/m − r dγ/m) + γ/D (ḋy − ḋβ/m − r ḋγ/m − ṙ dγ/m); at p = ∞ the k largest elements, of which `ties` tells, share dγ.
extern "C" __global__ void __launch_bounds__(256)
norm_tangent_gradient(const float* x, const float* x_tangent, const float* y_or_null, const float* grad_y, const float* grad_y_tangent,
                      const float* weight, const float* weight_tangent_or_null, const float* mean, const float* spread,
                      const float* mean_tangent, const float* divisor_tangent, const float* grad_weight, const float* grad_bias,
                      const float* grad_weight_tangent, const float* grad_bias_tangent, const double* ties_or_null, float* grad_x_tangent,
                      double eps, float p, unsigned law, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    unsigned c = at.column;
    Unit unit = unit_of(mean[c], spread[c], eps, law);
    double divisor = spread_divisor(spread[c], eps, law), samples = matrix.rows, shared = law == P_INFINITE ? ties_or_null[c] : samples;
    float w = weight[c], wt = given(weight_tangent_or_null, c), mt = mean_tangent[c], dt = divisor_tangent[c];
    // γ/D, and how it moves.
    float gain = (float)(w / divisor), gain_moving = (float)((wt - w * (double)dt / divisor) / divisor);
    float mean_b = (float)((double)grad_bias[c] / samples), mean_bt = (float)((double)grad_bias_tangent[c] / samples);
    float mean_w = (float)((double)grad_weight[c] / shared), mean_wt = (float)((double)grad_weight_tangent[c] / shared);
    for_column(at, [&](u64 i) {
        bool through = !stopped(y_or_null, i);
        float dy = through ? grad_y[i] : 0.0f, dyt = through ? grad_y_tangent[i] : 0.0f, v = x[i], vt = x_tangent[i];
        float u = unit.normalised(v), ut = unit.moving(u, vt, mt, dt), r = unit.slope(p, v, u);
        float own = dy - mean_b - mean_w * r;
        float moved = dyt - mean_bt - mean_wt * r - unit.times_slope_moving(mean_w, p, v, r, vt, ut, dt);
        grad_x_tangent[i] = fmaf(gain_moving, own, gain * moved);
    });
}
