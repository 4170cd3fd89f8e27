// Sums of products over the valid taps of a 3×3 convolution, shared by conv.cu, conv_mma.cu and stem.cuh.
//
// Rows of activations are numbered r = pixel·batch + n, and a tap moves all rows of a pixel to those of its neighbour. So a convolution is
// a sum of dense products of the same rows, shifted.
#pragma once
#include "prelude.cuh"

// A convolution, or a linear layer, as products: `rows` and `columns` of the output, the `inner` dimension, the map's `height` and `width`, the
// `batch` N, `taps` (9, or 1 of a linear layer); `direction` is 1 forward and -1 for the input's gradient.
BY_VALUE Map { unsigned rows, inner, columns, height, width, batch, taps; int direction; };

// Row r of the output as pixel (h, w).
struct Pixel {
    int h, w;
};
__device__ __forceinline__ Pixel pixel_at(const Map& map, unsigned pixel) { return {(int)(pixel / map.width), (int)(pixel % map.width)}; }
__device__ __forceinline__ Pixel pixel_of(const Map& map, unsigned row) { return pixel_at(map, row / map.batch); }
// The one after it, row by row.
__device__ __forceinline__ Pixel pixel_after(const Map& map, Pixel pixel) {
    bool next_line = pixel.w + 1 == (int)map.width;
    return {pixel.h + next_line, next_line ? 0 : pixel.w + 1};
}
// How far tap moves a pixel.
__device__ __forceinline__ Pixel tap_shift(const Map& map, unsigned tap) {
    if (map.taps == 1) return {0, 0};
    return {map.direction * ((int)(tap / 3) - 1), map.direction * ((int)(tap % 3) - 1)};
}
__device__ __forceinline__ bool on_map(const Map& map, Pixel pixel, Pixel shift) {
    unsigned h = (unsigned)(pixel.h + shift.h), w = (unsigned)(pixel.w + shift.w);
    return h < map.height && w < map.width;
}
// The first element of the row that row r, at `pixel`, takes from `a` under `shift`; it must be on the map.
template <typename T> __device__ __forceinline__ const T* shifted_row(const T* a, const Map& map, unsigned row, Pixel shift) {
    return a + (row + (long long)(shift.h * (int)map.width + shift.w) * map.batch) * map.inner;
}

// The taps of which at least one of the rows first … first + count is on the map, as bits: others are never multiplied.
__device__ __forceinline__ unsigned taps_of(const Map& map, unsigned first, unsigned count) {
    SHARED(unsigned, found, [9]);
    if (threadIdx.x < map.taps) {
        Pixel shift = tap_shift(map, threadIdx.x);
        unsigned last = min(first + count, map.rows) - 1;
        bool any = false;
        for (unsigned pixel = first / map.batch; pixel <= last / map.batch && !any; ++pixel) any = on_map(map, pixel_at(map, pixel), shift);
        found[threadIdx.x] = any;
    }
    __syncthreads();
    unsigned taps = 0;
    for (unsigned tap = 0; tap < map.taps; ++tap) taps |= found[tap] << tap;
    return taps;
}

// A walk over (tap, chunk of the inner dimension), invalid taps left out.
struct Walk {
    unsigned taps, tap, begin;
};
__device__ __forceinline__ Walk walk_from(unsigned taps) { return {taps, (unsigned)__ffs((int)taps) - 1u, 0}; }
__device__ __forceinline__ bool walk_ended(const Walk& walk) { return walk.taps == 0; }
__device__ __forceinline__ void walk_on(Walk& walk, unsigned inner, unsigned chunk) {
    walk.begin += chunk;
    if (walk.begin < inner) return;
    walk.taps &= walk.taps - 1u;
    walk.tap = (unsigned)__ffs((int)walk.taps) - 1u;
    walk.begin = 0;
}

// The rectangle of output pixels that have `tap` on the map, for the weight's gradient: q counts its rows, pixel by pixel.
struct Rectangle {
    unsigned top, left, height, width;
};
__device__ __forceinline__ Rectangle rectangle_of(const Map& map, Pixel shift) {
    return {shift.h < 0, shift.w < 0, map.height - (shift.h != 0), map.width - (shift.w != 0)};
}
// Row q of the rectangle as a row of the whole map.
__device__ __forceinline__ unsigned rectangle_row(const Map& map, const Rectangle& r, unsigned q) {
    unsigned pixel = q / map.batch;
    return ((r.top + pixel / r.width) * map.width + r.left + pixel % r.width) * map.batch + q % map.batch;
}

// ---- both gradients of a layer in one launch

// The first `blocks` of a launch's blocks make the weight's gradient where `weights_first`, the input's otherwise; those after them the other one.
BY_VALUE Both { unsigned blocks, weights_first, splits, per_split; };
// Which of the two a block has, or a turn of it, and its number among those.
struct Turn {
    bool weights;
    unsigned number;
};
__device__ __forceinline__ Turn turn_of(const Both& both, unsigned at) {
    bool second = at >= both.blocks;
    return {second != (both.weights_first != 0), second ? at - both.blocks : at};
}
// The map of an input's gradient, given that of the weight's.
__device__ __forceinline__ Map turned(Map map) {
    unsigned inner = map.inner;
    map.inner = map.columns;
    map.columns = inner;
    map.direction = -map.direction;
    return map;
}
