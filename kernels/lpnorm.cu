// The ℓp norms: src/ops/norm/batch. s = M (mean (|x|/M)^p)^(1/p) with M = max|x|, so that no power overflows; p = 1 and 2 need no M, and
// p = ∞ is M itself. BatchNorm's kernels, with D = s + ε, apply the norm and compute the gradient's Σdy and Σdy·u. `power` encodes p: 1, 2,
// 3 for ∞, 0 for any other.
#include "lpnorm.cuh"

// Each part's max|x| of every column.
KERNEL_OF_T(256) lp_maxima_partial(const T* x, double* partials, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    // The largest of floats is one of them: nothing is gained by doubles.
    float most = 0.0f;
    for_column(at, [&](u64 i) { most = larger(most, fabsf(to_f32(x[i]))); });
    store_partials<Most>((double)most, (double)most, at, partials);
}

// scale ← max|x|.
extern "C" __global__ void __launch_bounds__(256) lp_maxima_finish(const double* partials, float* scale, unsigned columns, unsigned parts) {
    wait_for_predecessor();
    finish_columns<Most>(partials, columns, parts, [&](unsigned column, double most, double) { scale[column] = (float)most; });
}

// Each part's Σx and Σ(|x|/M)^p of every column, M in `most` where `power` is 0 and 1 elsewhere; at p = ∞ the second is 0.
KERNEL_OF_T(256) lp_powers(const T* x, const float* most, double* partials, float p, unsigned power, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    float largest = at.there() && power == 0 ? most[at.column] : 1.0f;
    // An infinity is to reach the sum as one.
    if (!(largest > 0.0f) || largest == INF_F32) largest = 1.0f;
    store_powers(x, largest, partials, p, power, at);
}

// μ and s from the sums; scale holds M before where `power` is 0, and s already where it is 3.
extern "C" __global__ void __launch_bounds__(256)
lp_finish(const double* partials, float* mean, float* scale, double p, unsigned power, unsigned rows, unsigned columns, unsigned parts) {
    wait_for_predecessor();
    finish_columns<Sum>(partials, columns, parts, [&](unsigned column, double sum, double total) {
        mean[column] = (float)(sum / rows);
        double average = total / rows;
        if (power == 1) scale[column] = (float)average;
        else if (power == 2) scale[column] = (float)sqrt(average);
        else if (power == 0) {
            double most = scale[column] > 0.0f ? (double)scale[column] : 1.0;
            scale[column] = (float)(most * pow(average, 1.0 / p));
        }
    });
}

// Each part's number of elements of every column whose |x| is its s.
KERNEL_OF_T(256) lp_ties(const T* x, const float* scale, double* partials, Matrix matrix) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    unsigned count = 0;
    float s = at.there() ? scale[at.column] : 0.0f;
    for_column(at, [&](u64 i) { count += fabsf(to_f32(x[i])) == s ? 1u : 0u; });
    store_partials<Sum>((double)count, (double)count, at, partials);
}

// Σ of lp_ties's parts of every column, in place of the first part.
extern "C" __global__ void __launch_bounds__(256) lp_ties_finish(double* partials, unsigned columns, unsigned parts) {
    wait_for_predecessor();
    finish_columns<Sum>(partials, columns, parts, [&](unsigned column, double count, double) { partials[column] = count; });
}

// dx = γ/D (dy − Σdy/m − dγ ∂s/∂x); `matrix` is that of grad_y, m the rows of x. `ties` are the numbers of largest |x|, for p = ∞.
KERNEL_OF_T(256)
lp_gradient(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
            const float* grad_weight, const float* grad_bias, const double* ties_or_null, T* grad_x, double eps, float exponent, unsigned power,
            unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    ColumnPlace at = column_place(matrix);
    if (!at.there()) return;
    unsigned c = at.column;
    double samples = (double)matrix.rows * (pool.width ? 4 : 1), shares = power == 3 ? ties_or_null[c] : samples;
    column_gradient(x, grad_y, grad_x, weight[c], bias[c], mean[c], scale[c], (double)grad_weight[c] / shares, (double)grad_bias[c] / samples, eps, exponent,
                    power, relu, at, pool);
}
