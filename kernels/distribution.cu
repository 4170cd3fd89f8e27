// The distribution of one unit's values: src/ops/distribution. Each thread owns some bins and counts those in what the block has read, so
// that no two threads ever add to the same number.
#include "columns.cuh"

// Each part's counts (below the range, bins, above it), and its Σv and Σv² about 0.
KERNEL_OF_T(256)
distribution(const T* x, unsigned* counts, double* sums, double low, double high, double scale, unsigned unit, unsigned rows, unsigned columns,
             unsigned bins, unsigned each) {
    wait_for_predecessor();
    SHARED(unsigned, places, [256]);
    unsigned begin = blockIdx.x * each, end = min(begin + each, rows), found[3] = {};
    double sum = 0.0, square = 0.0;
    for (unsigned first = begin; first < end; first += 256) {
        unsigned row = first + threadIdx.x, place = 0xffffffffu;
        if (row < end) {
            double v = (double)to_f32(x[(u64)row * columns + unit]);
            sum += v;
            square = fma(v, v, square);
            if (v < low) place = 0;
            else if (v > high) place = bins + 1;
            else if (v == v) {
                place = (unsigned)((v - low) * scale);
                place = 1 + min(place, bins - 1);
            }
        }
        __syncthreads();
        places[threadIdx.x] = place;
        __syncthreads();
        for (unsigned i = 0; i < 256; ++i)
#pragma unroll
            for (unsigned k = 0; k < 3; ++k) found[k] += places[i] == threadIdx.x + 256 * k;
    }
#pragma unroll
    for (unsigned k = 0; k < 3; ++k)
        if (threadIdx.x + 256 * k < bins + 2) counts[blockIdx.x * (bins + 2) + threadIdx.x + 256 * k] = found[k];
    sum = block_sum(sum);
    square = block_sum(square);
    if (threadIdx.x == 0) {
        sums[2 * blockIdx.x] = sum;
        sums[2 * blockIdx.x + 1] = square;
    }
}

// The parts of `distribution` added up; mean and variance. One block.
extern "C" __global__ void __launch_bounds__(256)
distribution_finish(const unsigned* counts, const double* sums, unsigned* count, double* moments, unsigned rows, unsigned bins, unsigned parts) {
    wait_for_predecessor();
    for (unsigned bin = threadIdx.x; bin < bins + 2; bin += 256) {
        unsigned all = 0;
        for (unsigned part = 0; part < parts; ++part) all += counts[part * (bins + 2) + bin];
        count[bin] = all;
    }
    if (threadIdx.x != 0) return;
    double sum = 0.0, square = 0.0;
    for (unsigned part = 0; part < parts; ++part) {
        sum += sums[2 * part];
        square += sums[2 * part + 1];
    }
    Pair both = moments_of(sum, square, rows);
    moments[0] = both.a;
    moments[1] = both.b;
}
