// The ℓp norms' own passes over rows of whole vectors of 16 bytes: what lpnorm.cu does, several columns a thread. `power` is p for 1 and 2, 3 for ∞, and 0 for
// any other p, which takes a power of every element: that hides what memory takes, so that one row of a thread is under way at once.
#include "lpnorm.cuh"
#include "wide.cuh"

// What lp_maxima_partial does.
KERNEL_OF_T(256) lp_maxima_wide(const T* x, double* partials, Matrix matrix) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    SHARED(float, total, [2][MOST_COLUMNS]);
    WidePlace<N> at = wide_place<N>(matrix);
    float most[N] = {}, none[N] = {};
    for_values(at, x, at.begin, at.end, [&](unsigned j, float value) { most[j] = max_or_nan(fabsf(value), most[j]); });
    join_up<Larger>(most, none, at, total);
    if (at.owns()) store_own(Pair{total[0][threadIdx.x], total[0][threadIdx.x]}, at, partials);
}

// Each part's Σx and Σ|x| or Σx² of every column, as lp_powers leaves them; at p = ∞ the second is Σ|x| too, and nobody reads it. Float takes the sums over
// a run of rows. A column whose squares leave float's range is summed in double; the others keep their bits.
KERNEL_OF_T(256) lp_powers_wide(const T* x, double* partials, unsigned power, Matrix matrix) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    SHARED(float, total, [2][MOST_COLUMNS]);
    WidePlace<N> at = wide_place<N>(matrix);
    Pair sums = {};
    bool again = false;
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        float a[N] = {}, b[N] = {};
        auto add = [&](auto term) {
            for_values(at, x, begin, min(begin + RUN * at.step, at.end), [&](unsigned j, float value) {
                a[j] += value;
                b[j] = term(value, b[j]);
            });
        };
        if (power == 2) add([](float value, float sum) { return fmaf(value, value, sum); });
        else add([](float value, float sum) { return sum + fabsf(value); });
        add_up(a, b, at, total);
        if (at.owns()) {
            float term = total[1][threadIdx.x];
            again = again || !(power != 2 || (term >= 1e-30f && term < INF_F32));
            sums.a += total[0][threadIdx.x];
            sums.b += term;
        }
    }
    if (!again) store_own(sums, at, partials);
    SHARED(unsigned, left, [256]);
    left[threadIdx.x] = again;
    if (!block_any(again)) return;
    unsigned columns = at.width * N;
    ColumnPlace narrow = column_place({matrix.rows, matrix.columns, matrix.rows_per_part, columns});
    // Nobody looks after a column that is done.
    if (!left[threadIdx.x % columns]) narrow.columns = 0;
    store_powers(x, 1.0f, partials, 2.0f, power, narrow);
}

// Each part's Σx and Σ(|x|/M)^p of every column, M in `most`: what lp_powers does where `power` is 0. Float takes the sums over a run of rows: the
// largest x has the power 1, beside which nothing counts that float loses.
KERNEL_OF_T(256) lp_any_powers_wide(const T* x, const float* most, double* partials, float p, Matrix matrix) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    SHARED(float, total, [2][MOST_COLUMNS]);
    SHARED(float, shared, [2][MOST_COLUMNS]);
    WidePlace<N> at = wide_place<N>(matrix);
    if (at.owns()) {
        float largest = most[at.own()];
        // An infinity is to reach the sum as one.
        if (!(largest > 0.0f) || largest == INF_F32) largest = 1.0f;
        // A power of two near 1/M, and what is left of 1/M.
        float near = near_inverse(largest, 0.0f);
        shared[0][threadIdx.x] = near;
        shared[1][threadIdx.x] = (float)(1.0 / ((double)largest * near));
    }
    __syncthreads();
    float near[N], left[N];
    at.take(shared[0], near);
    at.take(shared[1], left);
    const Vector* from = (const Vector*)x;
    Pair sums = {};
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        float a[N] = {}, b[N] = {};
        for_slow_rows(at, begin, min(begin + RUN * at.step, at.end), [&](unsigned i) {
            Vector v = from[i];
            float value[N];
            unpack(v, value);
#pragma unroll
            for (unsigned j = 0; j < N; ++j) {
                a[j] += value[j];
                b[j] += powf(fabsf(value[j]) * near[j] * left[j], p);
            }
        });
        add_up(a, b, at, total);
        if (!at.owns()) continue;
        sums.a += total[0][threadIdx.x];
        sums.b += total[1][threadIdx.x];
    }
    store_own(sums, at, partials);
}

// What lp_ties does.
KERNEL_OF_T(256) lp_ties_wide(const T* x, const float* scale, double* partials, Matrix matrix) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    SHARED(float, total, [2][MOST_COLUMNS]);
    SHARED(float, scales, [MOST_COLUMNS]);
    WidePlace<N> at = wide_place<N>(matrix);
    if (at.owns()) scales[threadIdx.x] = scale[at.own()];
    __syncthreads();
    float most[N], count[N] = {}, none[N] = {};
    at.take(scales, most);
    for_values(at, x, at.begin, at.end, [&](unsigned j, float value) { count[j] += fabsf(value) == most[j] ? 1.0f : 0.0f; });
    add_up(count, none, at, total);
    if (at.owns()) store_own(Pair{total[0][threadIdx.x], total[0][threadIdx.x]}, at, partials);
}

// What the gradient takes of a thread's columns: dx = gain (dy + rest − slope), where the ReLU let y through; the slope is the sign of x times `factor`, at
// p = 2 times |x| `size` too, at p = ∞ where |x| is `size`, and at any other p times (|x| `size`)^`exponent`.
template <unsigned N, unsigned POWER> struct WideLp {
    float mean[N], gain[N], bias[N], rest[N], size[N], factor[N], exponent;
    __device__ __forceinline__ float before_relu(unsigned j, float x) const { return fmaf(x - mean[j], gain[j], bias[j]); }
    __device__ __forceinline__ float dx(unsigned j, float x, float dy, bool through) const {
        float slope = factor[j];
        if (POWER == 0) slope *= powf(fabsf(x) * size[j], exponent);
        if (POWER == 2) slope *= fabsf(x) * size[j];
        if (POWER == 3) slope = fabsf(x) == size[j] ? slope : 0.0f;
        slope = x == 0.0f ? 0.0f : x < 0.0f ? -slope : slope;
        return gain[j] * ((through ? dy : 0.0f) + rest[j] - slope);
    }
};

// As store_gradient, one row of a thread after the other.
template <typename T, typename Of>
__device__ __forceinline__ void store_slow_gradient(const T* x, const T* grad_y, T* grad_x, const WidePlace<EACH<T>>& at, const Of& of, float floor) {
    constexpr unsigned N = EACH<T>;
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Vector* to = (Vector*)grad_x;
    for_slow_rows(at, at.begin, at.end, [&](unsigned i) {
        Vector v = from_x[i], w = from_dy[i];
        float value[N], dy[N];
        unpack(v, value);
        unpack(w, dy);
#pragma unroll
        for (unsigned j = 0; j < N; ++j) value[j] = of.dx(j, value[j], dy[j], !(of.before_relu(j, value[j]) <= floor));
        to[i] = packed(value);
    });
}

// The operands of a gradient, as lp_gradient has them.
template <typename T> struct LpOperands {
    const T *x, *grad_y;
    const float *weight, *bias, *mean, *scale, *grad_weight, *grad_bias;
    const double* ties;
    T* grad_x;
    double eps;
    float exponent;
    unsigned power, relu;
    Matrix matrix;
    Pool pool;
};

template <typename T, unsigned POWER, bool POOLED>
__device__ __forceinline__ void gradient(const LpOperands<T>& on, const WidePlace<EACH<T>>& at, const float (&shared)[6][MOST_COLUMNS]) {
    constexpr unsigned N = EACH<T>;
    WideLp<N, POWER> of;
    at.take(shared[0], of.mean);
    at.take(shared[1], of.gain);
    at.take(shared[2], of.bias);
    at.take(shared[3], of.rest);
    at.take(shared[4], of.size);
    at.take(shared[5], of.factor);
    of.exponent = on.exponent;
    if constexpr (POOLED) store_gradient(on.x, on.grad_y, on.grad_x, at, of, relu_floor(on.relu), on.pool);
    else if constexpr (POWER == 0) store_slow_gradient(on.x, on.grad_y, on.grad_x, at, of, relu_floor(on.relu));
    else store_gradient(on.x, on.grad_y, on.grad_x, at, of, relu_floor(on.relu));
}
// ANY: for any p but 1, 2 and ∞, and for none of these.
template <typename T, bool POOLED, bool ANY> __device__ __forceinline__ void gradient(const LpOperands<T>& on) {
    constexpr unsigned N = EACH<T>;
    SHARED(float, shared, [6][MOST_COLUMNS]);
    WidePlace<N> at = wide_place<N>(on.matrix);
    double samples = (double)on.matrix.rows * (POOLED ? 4 : 1);
    bool tiny = false;
    if (at.owns()) {
        unsigned c = at.own(), mine = threadIdx.x;
        double s = (double)on.scale[c], d = s + on.eps, factor = (double)on.grad_weight[c] / (on.power == 3 ? on.ties[c] : samples);
        // At p = 2 a power of two near 1/s, and in the factor what is left of 1/s: |x| times the first is in a float's range.
        float near = near_inverse(s, 0.0f);
        tiny = d < 1e-30 || (ANY && s > 0.0 && s < 1e-30);
        shared[0][mine] = on.mean[c];
        shared[1][mine] = (float)((double)on.weight[c] / d);
        shared[2][mine] = on.bias[c];
        shared[3][mine] = -(float)((double)on.grad_bias[c] / samples);
        shared[4][mine] = ANY ? (s > 0.0 ? (float)(1.0 / s) : 0.0f) : on.power == 3 ? (float)s : near;
        shared[5][mine] = (float)(on.power != 2 ? factor : s > 0.0 ? factor / (s * near) : 0.0);
    }
    // Where γ/D may leave a float's range, or 1/s: column by column, in steps that stay in it.
    if (block_any(tiny)) {
        ColumnPlace narrow = column_place({on.matrix.rows, on.matrix.columns, on.matrix.rows_per_part, at.width * N});
        if (!narrow.there()) return;
        unsigned c = narrow.column;
        double share = (double)on.grad_weight[c] / (on.power == 3 ? on.ties[c] : samples);
        column_gradient(on.x, on.grad_y, on.grad_x, on.weight[c], on.bias[c], on.mean[c], on.scale[c], share, (double)on.grad_bias[c] / samples, on.eps,
                        ANY ? on.exponent : 1.0f, ANY ? 0 : on.power, on.relu, narrow, on.pool);
        return;
    }
    if constexpr (ANY) gradient<T, 0, POOLED>(on, at, shared);
    else if (on.power == 1) gradient<T, 1, POOLED>(on, at, shared);
    else if (on.power == 2) gradient<T, 2, POOLED>(on, at, shared);
    else gradient<T, 3, POOLED>(on, at, shared);
}
// What lp_gradient does.
KERNEL_OF_T(256, 2)
lp_gradient_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                 const float* grad_weight, const float* grad_bias, const double* ties_or_null, T* grad_x, double eps, float exponent, unsigned power,
                 unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    gradient<T, false, false>({x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, matrix, {}});
}
KERNEL_OF_T(256)
lp_gradient_wide_pool(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                      const float* grad_weight, const float* grad_bias, const double* ties_or_null, T* grad_x, double eps, float exponent,
                      unsigned power, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    gradient<T, true, false>({x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, matrix, pool});
}

// The same for any p but 1, 2 and ∞.
KERNEL_OF_T(256)
lp_any_gradient_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                     const float* grad_weight, const float* grad_bias, const double* ties_or_null, T* grad_x, double eps, float exponent,
                     unsigned power, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    gradient<T, false, true>({x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, matrix, {}});
}
KERNEL_OF_T(256)
lp_any_gradient_wide_pool(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* scale,
                          const float* grad_weight, const float* grad_bias, const double* ties_or_null, T* grad_x, double eps, float exponent,
                          unsigned power, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    gradient<T, true, true>({x, grad_y, weight, bias, mean, scale, grad_weight, grad_bias, ties_or_null, grad_x, eps, exponent, power, relu, matrix, pool});
}
