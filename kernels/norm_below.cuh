// The norm below a product that makes an input's gradient. What the product stores is the norm's dy; while it is at hand, the product takes the sums of
// the norm's gradient too, and leaves dγ and dβ: what is norm_gradient_sums elsewhere.
//
// Where a 2×2 max-pool stands between, dy has the pool's shape, and x is what the pool chose of each window, which norm_apply has left.
#pragma once
#include "columns.cuh"

// How the norm divides, as its own kernels take it, and whether the ReLU follows it.
BY_VALUE Norming { double eps; unsigned kind, relu; };

struct NormColumn {
    float gamma, beta, mean, spread;
};

// `sums` are the parts' Σdy and Σdy·ŷ; x lies like dy.
template <typename T> struct NormBelow {
    const T* x;
    const float *gamma, *beta, *mean, *spread;
    double* sums;
    float *grad_gamma, *grad_beta;
    unsigned* tickets;
    Norming norming;
    __device__ __forceinline__ NormColumn column(unsigned c) const { return {gamma[c], beta[c], mean[c], spread[c]}; }
    __device__ __forceinline__ Lifted lifted(const NormColumn& of) const {
        return lifted_of(of.gamma, of.beta, of.mean, divisor(of.spread, norming.eps, norming.kind));
    }
};

// The norm below, of the operands of a kernel that makes both gradients.
#define NORM_BELOW_OPERANDS \
    { norm_x_or_null, gamma_or_null, beta_or_null, mean_or_null, spread_or_null, sums_or_null, grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming }

// The constants of a tile's columns in shared memory: COLUMNS of each of lift, shift, gain and bias.
template <unsigned COLUMNS> struct SharedColumns {
    float* place;
    __device__ __forceinline__ void put(unsigned column, const Lifted& of) const {
        place[column] = of.lift;
        place[COLUMNS + column] = of.shift;
        place[2 * COLUMNS + column] = of.gain;
        place[3 * COLUMNS + column] = of.bias;
    }
    __device__ __forceinline__ Lifted get(unsigned column) const {
        return {place[column], place[COLUMNS + column], place[2 * COLUMNS + column], place[3 * COLUMNS + column], 0.0};
    }
};

// Four columns of a lane.
struct FourColumns {
    Four lift, shift, gain, bias;
    float floor;
    template <unsigned COLUMNS>
    __device__ __forceinline__ FourColumns(const SharedColumns<COLUMNS>& of, unsigned column, const Norming& norming)
        : lift(load4(of.place + column)), shift(load4(of.place + COLUMNS + column)), gain(load4(of.place + 2 * COLUMNS + column)),
          bias(load4(of.place + 3 * COLUMNS + column)), floor(relu_floor(norming.relu)) {}
    // Adds dy, and dy · lift (x − μ), where the ReLU let y through.
    __device__ __forceinline__ void add(const Four& x, const Four& dy, float (&sum)[4], float (&sum_u)[4]) const {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
            float centred = fmaf(x.v[j], lift.v[j], shift.v[j]);
            if (fmaf(centred, gain.v[j], bias.v[j]) <= floor) continue;
            sum[j] += dy.v[j];
            sum_u[j] = fmaf(dy.v[j], centred, sum_u[j]);
        }
    }
};

// dβ and dγ of a block's columns, as merge_gradients. Not part of its caller: the registers of that one's main loop are given out as if it were not there.
template <unsigned FOURS>
__device__ __noinline__ void merge_gradients_apart(double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, PartsOf of) {
    merge_gradients<FOURS>(sums, grad_gamma, grad_beta, tickets, of);
}
