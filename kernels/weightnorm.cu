// Weight normalisation: src/ops/weight_norm. A column of rows × columns is a unit, w = g u with u = v/n and n = ‖v‖. A block of 256 threads
// takes `width` columns (a power of two, at most 8) and 256 / width rows at a time. Sums are in double, in an order that depends only on
// the shape. Where v has length 0, u is 0.
#include "columns.cuh"

// All rows are one part.
__device__ __forceinline__ ColumnPlace unit_place(unsigned rows, unsigned columns, unsigned width) {
    return column_place({rows, columns, rows, width});
}

// The sums of a and b over the threads of a column, as a tree of fixed shape; each of them has them. All threads call it.
__device__ void unit_sums(double& a, double& b, unsigned width) {
    SHARED(double, room, [512]);
    room[threadIdx.x] = a;
    room[256 + threadIdx.x] = b;
    __syncthreads();
    for (unsigned distance = 128; distance >= width; distance /= 2) {
        if (threadIdx.x < distance) {
            room[threadIdx.x] += room[threadIdx.x + distance];
            room[256 + threadIdx.x] += room[256 + threadIdx.x + distance];
        }
        __syncthreads();
    }
    a = room[threadIdx.x % width];
    b = room[256 + threadIdx.x % width];
    __syncthreads();
}

__device__ __forceinline__ double over(double a, double n) { return n == 0.0 ? 0.0 : a / n; }

__device__ __forceinline__ double unit_length(const float* direction, const ColumnPlace& at) {
    double sum = 0.0, none = 0.0;
    for_column(at, [&](u64 i) {
        double v = direction[i];
        sum = fma(v, v, sum);
    });
    unit_sums(sum, none, at.width);
    return sqrt(sum);
}

// w = g u.
KERNEL_OF_T(256)
weight_norm(const float* direction, const float* gain, T* weight, unsigned rows, unsigned columns, unsigned width) {
    wait_for_predecessor();
    ColumnPlace at = unit_place(rows, columns, width);
    double n = unit_length(direction, at);
    if (!at.there()) return;
    double g = gain[at.column];
    for_column(at, [&](u64 i) { weight[i] = from_f64<T>(g * over(direction[i], n)); });
}

// dg = ⟨dw, u⟩, dv = g/n (dw − u dg).
extern "C" __global__ void __launch_bounds__(256)
weight_norm_gradient(const float* direction, const float* gain, const float* grad_weight, float* grad_direction, float* grad_gain,
                     unsigned rows, unsigned columns, unsigned width) {
    wait_for_predecessor();
    ColumnPlace at = unit_place(rows, columns, width);
    double n = unit_length(direction, at), dg = 0.0, none = 0.0;
    for_column(at, [&](u64 i) { dg = fma(over(direction[i], n), (double)grad_weight[i], dg); });
    unit_sums(dg, none, width);
    if (!at.there()) return;
    double scale = over(gain[at.column], n);
    if (at.first_row == 0) grad_gain[at.column] = (float)dg;
    for_column(at, [&](u64 i) { grad_direction[i] = (float)(scale * ((double)grad_weight[i] - over(direction[i], n) * dg)); });
}

// ẇ = ġ u + g/n (v̇ − u ṅ).
extern "C" __global__ void __launch_bounds__(256)
weight_norm_tangent(const float* direction, const float* gain, const float* direction_tangent, const float* gain_tangent,
                    float* weight_tangent, unsigned rows, unsigned columns, unsigned width) {
    wait_for_predecessor();
    ColumnPlace at = unit_place(rows, columns, width);
    double n = unit_length(direction, at), nt = 0.0, none = 0.0;
    for_column(at, [&](u64 i) { nt = fma(over(direction[i], n), (double)direction_tangent[i], nt); });
    unit_sums(nt, none, width);
    if (!at.there()) return;
    double scale = over(gain[at.column], n), gt = gain_tangent[at.column];
    for_column(at, [&](u64 i) {
        double u = over(direction[i], n);
        weight_tangent[i] = (float)fma(gt, u, scale * ((double)direction_tangent[i] - u * nt));
    });
}

// ḋg = ⟨ḋw, u⟩ + ⟨dw, u̇⟩, ḋv = (ġ − g ṅ/n)/n (dw − u dg) + g/n (ḋw − u̇ dg − u ḋg).
extern "C" __global__ void __launch_bounds__(256)
weight_norm_gradient_tangent(const float* direction, const float* gain, const float* direction_tangent, const float* gain_tangent,
                             const float* grad_weight, const float* grad_weight_tangent, float* grad_direction_tangent,
                             float* grad_gain_tangent, unsigned rows, unsigned columns, unsigned width) {
    wait_for_predecessor();
    ColumnPlace at = unit_place(rows, columns, width);
    double n = unit_length(direction, at), nt = 0.0, dg = 0.0, dgt = 0.0, none = 0.0;
    for_column(at, [&](u64 i) {
        double u = over(direction[i], n);
        nt = fma(u, (double)direction_tangent[i], nt);
        dg = fma(u, (double)grad_weight[i], dg);
    });
    unit_sums(nt, dg, width);
    for_column(at, [&](u64 i) {
        double u = over(direction[i], n), ut = over((double)direction_tangent[i] - u * nt, n);
        dgt += (double)grad_weight_tangent[i] * u + (double)grad_weight[i] * ut;
    });
    unit_sums(dgt, none, width);
    if (!at.there()) return;
    double scale = over(gain[at.column], n), rate = over((double)gain_tangent[at.column] - scale * nt, n);
    if (at.first_row == 0) grad_gain_tangent[at.column] = (float)dgt;
    for_column(at, [&](u64 i) {
        double u = over(direction[i], n), ut = over((double)direction_tangent[i] - u * nt, n);
        double across = (double)grad_weight[i] - u * dg, moved = (double)grad_weight_tangent[i] - u * dgt - ut * dg;
        grad_direction_tangent[i] = (float)(rate * across + scale * moved);
    });
}
