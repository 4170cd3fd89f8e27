// The passes of norms over groups over rows of whole vectors of 16 bytes: what groupnorm.cu does, several columns a thread; which of the two runs, the host
// tells by the shapes. Channels are whole vectors too, so that a thread's columns are one sample's; they may be in several groups.
//
// A row has the columns of every sample, and there are as few rows as pixels: so a block may take more columns than BatchNorm's, at most as many as it has
// threads. Each of these looks up what one column's channel and group have, and takes its root and its divisions. Of what comes of an element the bits
// are those of groupnorm.cu; sums are taken as wide.cuh says.
#include "groupnorm.cuh"
#include "wide.cuh"

// Columns that a block takes at most. src/ops/launch_grid.rs has the same number.
constexpr unsigned MOST_GROUPED = 256;

// What the norm is given of channels and of samples' groups.
struct GroupOperands {
    const float *weight, *bias, *mean, *var;
    double eps;
    Groups groups;
};

// What the norm makes of a thread's columns before the ReLU, as Affine does: γ (x − μ)/S + β.
template <unsigned N> struct WideGroups {
    float mean[N], gain[N], bias[N];
    __device__ __forceinline__ float centred(unsigned i, float x) const { return x - mean[i]; }
    __device__ __forceinline__ float before_relu(unsigned i, float x) const { return fmaf(centred(i, x), gain[i], bias[i]); }
};

// A group among those of all samples, and its S.
struct OwnGroup {
    unsigned group;
    double divisor;
};
// Leaves an owner's μ, γ/S and β in the first rows of `shared`.
template <unsigned ROWS, unsigned N>
__device__ __forceinline__ OwnGroup leave_column(const GroupOperands& on, const WidePlace<N>& at, float (&shared)[ROWS][MOST_GROUPED]) {
    GroupColumn own = group_column(at.own(), on.groups);
    double s = sqrt((double)on.var[own.group] + on.eps);
    Affine of = affine_of(on.weight[own.channel], on.bias[own.channel], on.mean[own.group], s, 0);
    shared[0][threadIdx.x] = of.mean;
    shared[1][threadIdx.x] = of.gain;
    shared[2][threadIdx.x] = of.bias;
    return {own.group, s};
}
template <unsigned ROWS, unsigned N>
__device__ __forceinline__ void take_columns(const WidePlace<N>& at, const float (&shared)[ROWS][MOST_GROUPED], WideGroups<N>& of) {
    at.take(shared[0], of.mean);
    at.take(shared[1], of.gain);
    at.take(shared[2], of.bias);
}

// Each part's Σx and Σx² of every column.
KERNEL_OF_T(256) group_moments_wide(const T* x, double* partials, Matrix matrix) {
    wait_for_predecessor();
    store_wide_moments<MOST_GROUPED>(x, partials, wide_place<EACH<T>>(matrix), matrix);
}

// What group_apply does.
KERNEL_OF_T(256)
group_apply_wide(const T* x, const float* weight, const float* bias, const float* mean, const float* var, T* y, double eps, unsigned relu,
                 Matrix matrix, Groups groups) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    SHARED(float, shared, [3][MOST_GROUPED]);
    WidePlace<N> at = wide_place<N>(matrix);
    if (at.owns()) leave_column({weight, bias, mean, var, eps, groups}, at, shared);
    __syncthreads();
    WideGroups<N> of;
    take_columns(at, shared, of);
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

// What group_gradient_sums does.
KERNEL_OF_T(256)
group_gradient_sums_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var, double* partials,
                         double eps, unsigned relu, Matrix matrix, Groups groups) {
    wait_for_predecessor();
    WidePlace<EACH<T>> at = wide_place<EACH<T>>(matrix);
    double inverse;
    auto of_column = [&](unsigned column) {
        GroupColumn own = group_column(column, groups);
        return lifted_of(weight[own.channel], bias[own.channel], mean[own.group], sqrt((double)var[own.group] + eps));
    };
    WideAffine<EACH<T>> of = wide_affine_of<MOST_GROUPED>(at, of_column, inverse);
    store_own(gradient_sums<MOST_GROUPED>(x, grad_y, at, of, inverse, relu_floor(relu)), at, partials);
}

// What the gradient takes of a thread's columns, each as GroupSlope, and what the ReLU let through.
template <unsigned N> struct WideGroupSlope : WideGroups<N> {
    float inverse[N], rest[N], slope[N];
    __device__ __forceinline__ float dx(unsigned i, float x, float dy, bool through) const {
        return group_dx(this->centred(i, x), dy, through, this->gain[i], inverse[i], rest[i], slope[i]);
    }
};

// What group_gradient does.
KERNEL_OF_T(256, 2)
group_gradient_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var, const float* mean_q,
                    const float* mean_u, T* grad_x, double eps, unsigned relu, Matrix matrix, Groups groups) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    SHARED(float, shared, [6][MOST_GROUPED]);
    WidePlace<N> at = wide_place<N>(matrix);
    if (at.owns()) {
        auto [g, s] = leave_column({weight, bias, mean, var, eps, groups}, at, shared);
        GroupSlope own = group_slope(s, mean_q[g], mean_u[g]);
        shared[3][threadIdx.x] = own.inverse;
        shared[4][threadIdx.x] = own.rest;
        shared[5][threadIdx.x] = own.slope;
    }
    __syncthreads();
    WideGroupSlope<N> of;
    take_columns(at, shared, of);
    at.take(shared[3], of.inverse);
    at.take(shared[4], of.rest);
    at.take(shared[5], of.slope);
    store_gradient(x, grad_y, grad_x, at, of, relu_floor(relu));
}
