// BatchNorm's passes over rows of whole vectors of 16 bytes: what batchnorm.cu does, several columns a thread; which of the two runs, the host
// tells by the shapes. Where a 2×2 max-pool follows, `matrix` is that of its output, and the passes are kernels of their own. All take the operands of
// batchnorm.cu's, so that the host launches any of the three alike: without a pool `pool` says nothing.
#include "wide.cuh"

// Each part's Σx and Σx² of every column, and of all parts μ and σ².
KERNEL_OF_T(256) moments_wide(const T* x, double* partials, float* mean, float* var, unsigned* tickets, Matrix matrix) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    store_wide_moments<MOST_COLUMNS>(x, partials, at, matrix);
    Moments to = {partials, mean, var, tickets};
    merge_moments<4>(to, matrix.rows, block_parts(at.columns, at.width * N));
}

// What norm_apply does.
KERNEL_OF_T(256)
norm_apply_wide(const T* x, const float* weight, const float* bias, const float* mean, const float* spread, T* y, T* chosen_or_null, double eps,
                unsigned kind, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    double inverse;
    WideAffine<N> of = wide_affine(at, weight, bias, mean, spread, eps, kind, inverse);
    float floor = relu ? 0.0f : -INF_F32;
    const Vector* from = (const Vector*)x;
    Vector v[4], *to = (Vector*)y;
    for_rows(
        at, at.begin, at.end, [&](unsigned k, unsigned i) { v[k] = from[i]; },
        [&](unsigned k, unsigned i) {
            float value[N];
            unpack(v[k], value);
#pragma unroll
            for (unsigned j = 0; j < N; ++j) value[j] = max_or_nan(of.before_relu(j, value[j]), floor);
            to[i] = packed(value);
        });
}

KERNEL_OF_T(256)
norm_apply_wide_pool(const T* x, const float* weight, const float* bias, const float* mean, const float* spread, T* y, T* chosen_or_null, double eps,
                     unsigned kind, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    double inverse;
    WideAffine<N> of = wide_affine(at, weight, bias, mean, spread, eps, kind, inverse);
    float floor = relu ? 0.0f : -INF_F32;
    const Vector* from = (const Vector*)x;
    Vector *to = (Vector*)y, *to_chosen = (Vector*)chosen_or_null;
    for_windows(at, pool, at.begin, at.end, [&](const WindowWalk& walk, unsigned output) {
        Vector v[4];
        float value[4][N], most[N], chosen[N];
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) v[k] = from[walk.vector(k)];
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) unpack(v[k], value[k]);
#pragma unroll
        for (unsigned j = 0; j < N; ++j) {
            float before[4], own[4];
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) {
                own[k] = value[k][j];
                before[k] = of.before_relu(j, own[k]);
            }
            Chosen largest = choose<T>(before, own);
            most[j] = max_or_nan(largest.y, floor);
            chosen[j] = largest.x;
        }
        to[output] = packed(most);
        if (to_chosen) to_chosen[output] = packed(chosen);
    });
}

// What norm_gradient_sums does.
KERNEL_OF_T(256)
norm_gradient_sums_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* spread,
                        double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, double eps, unsigned kind,
                        unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    double inverse;
    WideAffine<N> of = wide_affine(at, weight, bias, mean, spread, eps, kind, inverse);
    store_own(gradient_sums<MOST_COLUMNS>(x, grad_y, at, of, inverse, relu_floor(relu)), at, partials);
    merge_gradients<4>(partials, grad_weight, grad_bias, tickets, block_parts(at.columns, at.width * N));
}

// Of a window's four the largest before the ReLU, not after it: where nothing is above 0 the ReLU lets nothing through, whichever it is.
KERNEL_OF_T(256)
norm_gradient_sums_wide_pool(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* spread,
                             double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, double eps, unsigned kind,
                             unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    double inverse;
    WideAffine<N> of = wide_affine(at, weight, bias, mean, spread, eps, kind, inverse);
    float floor = relu_floor(relu);
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Pair sums = {};
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        float a[N] = {}, b[N] = {};
        for_windows(at, pool, begin, min(begin + RUN * at.step, at.end), [&](const WindowWalk& walk, unsigned output) {
            float value[4][N];
            for_chosen<T>(walk, from_x, from_dy[output], of, value, [&](unsigned j, const float (&before)[4], unsigned largest, float dy) {
                float chosen = value[0][j];
#pragma unroll
                for (unsigned k = 1; k < 4; ++k) chosen = k == largest ? value[k][j] : chosen;
                float centred = of.centred(j, chosen);
                if (fmaf(centred, of.gain[j], of.bias[j]) <= floor) return;
                a[j] += dy;
                b[j] = fmaf(dy, centred, b[j]);
            });
        });
        add_run<MOST_COLUMNS>(a, b, inverse, at, sums);
    }
    store_own(sums, at, partials);
    merge_gradients<4>(partials, grad_weight, grad_bias, tickets, block_parts(at.columns, at.width * N));
}

// What dx = gain (dy + rest + slope (x − μ)) takes of a thread's columns: γ/S, −Σdy/m and −Σdy·ŷ/m/S; and what the ReLU let through.
template <unsigned N> struct WideSlope {
    float mean[N], gain[N], bias[N], rest[N], slope[N];
    __device__ __forceinline__ float before_relu(unsigned i, float x) const { return fmaf(x - mean[i], gain[i], bias[i]); }
    __device__ __forceinline__ float dx(unsigned i, float x, float dy, bool through) const {
        float slant = fmaf(x - mean[i], slope[i], rest[i]);
        if (through) slant += dy;
        return gain[i] * slant;
    }
};
template <unsigned N>
__device__ __forceinline__ WideSlope<N> wide_slope(const WidePlace<N>& at, const float* weight, const float* bias, const float* mean,
                                                   const float* var, const float* grad_weight, const float* grad_bias, double eps,
                                                   double samples) {
    SHARED(float, shared, [5][MOST_COLUMNS]);
    if (at.owns()) {
        unsigned c = at.own(), mine = threadIdx.x;
        double s = divisor(var[c], eps, 0);
        shared[0][mine] = mean[c];
        shared[1][mine] = (float)((double)weight[c] / s);
        shared[2][mine] = bias[c];
        shared[3][mine] = -(float)((double)grad_bias[c] / samples);
        shared[4][mine] = -(float)((double)grad_weight[c] / samples / s);
    }
    __syncthreads();
    WideSlope<N> of;
    at.take(shared[0], of.mean);
    at.take(shared[1], of.gain);
    at.take(shared[2], of.bias);
    at.take(shared[3], of.rest);
    at.take(shared[4], of.slope);
    return of;
}

// What batch_norm_gradient does.
KERNEL_OF_T(256)
batch_norm_gradient_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         const float* grad_weight, const float* grad_bias, T* grad_x, double eps, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideSlope<N> of = wide_slope(at, weight, bias, mean, var, grad_weight, grad_bias, eps, matrix.rows);
    store_gradient(x, grad_y, grad_x, at, of, relu_floor(relu));
}

KERNEL_OF_T(256)
batch_norm_gradient_wide_pool(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                              const float* grad_weight, const float* grad_bias, T* grad_x, double eps, unsigned relu, Matrix matrix,
                              Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideSlope<N> of = wide_slope(at, weight, bias, mean, var, grad_weight, grad_bias, eps, 4.0 * matrix.rows);
    store_gradient(x, grad_y, grad_x, at, of, relu_floor(relu), pool);
}
