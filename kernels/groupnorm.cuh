// What groupnorm.cu and groupnorm_wide.cu share.
#pragma once
#include "columns.cuh"

// The `channels` of a sample, the `count` of groups that they are in, and whether these are normalised about their mean (`centre`).
BY_VALUE Groups { unsigned channels, count, centre; };

// A column's channel, and its group among those of all samples.
struct GroupColumn {
    unsigned channel, group;
};
__device__ __forceinline__ GroupColumn group_column(unsigned column, const Groups& groups) {
    unsigned channel = column % groups.channels;
    return {channel, column / groups.channels * groups.count + channel / (groups.channels / groups.count)};
}

// What dx = (γ dy − mean_q − x̂ mean_u)/S takes of a column beside γ/S: 1/S, −mean_q/S and −mean_u/S.
struct GroupSlope {
    float inverse, rest, slope;
};
__device__ __forceinline__ GroupSlope group_slope(double divisor, float mean_q, float mean_u) {
    return {(float)(1.0 / divisor), -(float)(mean_q / divisor), -(float)(mean_u / divisor)};
}
// dx of one element; `through` tells whether dy reached it through the ReLU.
__device__ __forceinline__ float group_dx(float centred, float dy, bool through, float gain, float inverse, float rest, float slope) {
    float dx = fmaf(centred * inverse, slope, rest);
    if (through) dx = fmaf(gain, dy, dx);
    return dx;
}
