// The deep linear network on the coordinates of its batch: src/ops/deep_linear. A batch's inputs span at most `dim` directions and the constant, and
// every value between the layers lies in that span, so a sum over a thousand samples is a sum over eleven coordinates. One block computes a run; a
// thread has one coordinate of one unit. Several runs (points of a probe, seeds) are several blocks of one launch.
//
// Rows are coordinates: those of the directions first, then the constant's, whose number of a column of samples is √samples × its mean. Everything is
// f64. A layer takes two barriers: after the product, since a norm's spread is over all rows of a unit, and before the next product.
//
// A training step's launch also moves the running statistics and θ, as move_running and sgd_plain do.
#include "prelude.cuh"

// What follows a product, as in dln.cu; the other ℓp norms' spreads are not functions of the coordinates alone.
enum CoordinateNorm : unsigned { NONE, BATCH, L2 = 3 };

// A chain of `depth` layers; the coordinates of the batch's inputs and of the last prediction begin at doubles x and `last` of the workspace, in rows of
// `row`. The workspace's first double is the part of Σ target² that lies outside the inputs' span.
BY_VALUE Coordinates {
    unsigned depth, dim, norms, samples, kind, row, x, last;
};

// What a training step does after its pass: the running statistics' momentum, and the weight decay.
BY_VALUE AfterPass { double momentum; float decay; };

// The same with its operands; and nothing.
struct Step {
    float* theta;
    const double* factors;
    float* running;
    const u64* state;
    AfterPass after;
    static constexpr bool MOVES = true;
};
struct NoStep {
    static constexpr bool MOVES = false;
};

// A block's shared memory, in doubles. Rows are an odd number of doubles apart, so that a column lies in as many banks as it has rows.
template <unsigned WIDTH> struct Room {
    static constexpr unsigned PITCH = WIDTH | 1;
    unsigned dim, depth;
    // [layer][in][out]; [layer][row][unit], the norms' inputs divided by their spread, or the layers' outputs where there is no norm, and before them
    // all the batch itself.
    double *weight, *tape;
    // By layer and unit: γ, β; of the batch 1/D, the spread, the constant's row of the norm's input.
    double *gamma, *beta, *inverse, *spread, *constant;
    // Two matrices [row][unit] to work in.
    double *work[2];

    // The same order as the sizes in src/ops/deep_linear/cuda_coordinates.rs.
    __device__ __forceinline__ Room(double* memory, const Coordinates& of) : dim(of.dim), depth(of.depth) {
        double* next = memory;
        auto take = [&](unsigned count) {
            double* taken = next;
            next += count;
            return taken;
        };
        weight = take(depth * dim * PITCH);
        tape = take((depth + 1) * (dim + 1) * PITCH);
        work[0] = take((dim + 1) * PITCH);
        work[1] = take((dim + 1) * PITCH);
        gamma = take(depth * dim);
        beta = take(depth * dim);
        inverse = take(depth * dim);
        spread = take(depth * dim);
        constant = take(depth * dim);
    }
    __device__ __forceinline__ double* tape_of(unsigned layer) const { return tape + layer * (dim + 1) * PITCH; }
    __device__ __forceinline__ double* weight_of(unsigned layer) const { return weight + layer * dim * PITCH; }
};

// Σ_k a[k stride_a] b[k stride_b], in four chains: at ten terms three products and two sums follow one another.
template <unsigned WIDTH> __device__ __forceinline__ double along(const double* a, unsigned stride_a, const double* b, unsigned stride_b, unsigned dim) {
    double sum[4] = {};
#pragma unroll
    for (unsigned k = 0; k < WIDTH; ++k) {
        if (k >= dim) break;
        sum[k % 4] = fma(a[k * stride_a], b[k * stride_b], sum[k % 4]);
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// θ to shared memory. A thread has a place of a layer's numbers in all layers, and asks for 25 of these at once.
template <unsigned WIDTH> __device__ __forceinline__ void take_parameters(const float* theta, const Room<WIDTH>& room, unsigned norms) {
    constexpr unsigned PITCH = Room<WIDTH>::PITCH, AHEAD = WIDTH == 10 ? 25 : 8;
    const unsigned dim = room.dim, square = dim * dim, step = norms > 0 ? square + 2 * dim : square;
    for (unsigned t = threadIdx.x; t < step; t += blockDim.x) {
        bool weighs = t < square;
        unsigned unit = t - square, layers = weighs ? room.depth : norms, apart = weighs ? dim * PITCH : dim;
        double* to = weighs ? room.weight + t / dim * PITCH + t % dim : unit < dim ? room.gamma + unit : room.beta + (unit - dim);
#pragma unroll 1
        for (unsigned first = 0; first < layers; first += AHEAD) {
            float v[AHEAD];
#pragma unroll
            for (unsigned k = 0; k < AHEAD; ++k) {
                // The last one again beyond the end: loads under conditions would wait for one another's predicates.
                unsigned layer = first + k < layers ? first + k : layers - 1;
                v[k] = theta[layer * step + t];
            }
#pragma unroll
            for (unsigned k = 0; k < AHEAD; ++k)
                if (first + k < layers) to[(first + k) * apart] = (double)v[k];
        }
    }
}

// running ← (1 − α) running + α f · the batch's statistics.
template <unsigned WIDTH> __device__ __forceinline__ void move_running_of(const Step& of, const Room<WIDTH>& room, double each_root, unsigned norms) {
    constexpr unsigned AHEAD = 4;
    const double kept = 1.0 - of.after.momentum;
    const unsigned dim = room.dim, count = 2 * norms * dim;
#pragma unroll 1
    for (unsigned first = threadIdx.x; first < count; first += AHEAD * blockDim.x) {
        float running[AHEAD];
        double factor[AHEAD];
#pragma unroll
        for (unsigned k = 0; k < AHEAD; ++k) {
            unsigned i = first + k * blockDim.x;
            running[k] = i < count ? of.running[i] : 0.0f;
            factor[k] = i < count ? of.factors[i] : 0.0;
        }
#pragma unroll
        for (unsigned k = 0; k < AHEAD; ++k) {
            unsigned i = first + k * blockDim.x, unit = i / (2 * dim) * dim + i % dim;
            if (i >= count) break;
            float found = i / dim % 2 ? (float)room.spread[unit] : (float)(room.constant[unit] * each_root);
            of.running[i] = (float)(kept * running[k] + of.after.momentum * (found * factor[k]));
        }
    }
}

// θ ← θ − lr (g + λ θ), from the gradient that the block has left.
template <unsigned WIDTH> __device__ __forceinline__ void move_parameters(const Step& of, const float* grad, float rate, unsigned count) {
    constexpr unsigned AHEAD = WIDTH == 10 ? 24 : 8;
    const float decay = of.after.decay;
#pragma unroll 1
    for (unsigned first = threadIdx.x; first < count; first += AHEAD * blockDim.x) {
        float t[AHEAD], g[AHEAD];
#pragma unroll
        for (unsigned k = 0; k < AHEAD; ++k) {
            unsigned i = first + k * blockDim.x;
            t[k] = i < count ? of.theta[i] : 0.0f;
            g[k] = i < count ? grad[i] : 0.0f;
        }
#pragma unroll
        for (unsigned k = 0; k < AHEAD; ++k) {
            unsigned i = first + k * blockDim.x;
            if (i < count) of.theta[i] = fmaf(-rate, fmaf(t[k], decay, g[k]), t[k]);
        }
    }
}

template <unsigned WIDTH, typename After>
__device__ __forceinline__ void on_coordinates(const float* theta, double* batch, float* grad, float* statistics, double* loss, double* correct,
                                               double scale, double eps, unsigned stride, unsigned target, const After& after, const Coordinates& of) {
    constexpr unsigned PITCH = Room<WIDTH>::PITCH;
    DYNAMIC_SHARED(memory);
    Room<WIDTH> room((double*)memory, of);
    const unsigned dim = of.dim, depth = of.depth, square = dim * dim, step = of.norms > 0 ? square + 2 * dim : square;
    // This thread's row and unit; threads beyond the matrix only wait with the others.
    const unsigned p = threadIdx.x / dim, u = threadIdx.x % dim, at = p * PITCH + u;
    const bool inside = p <= dim;
    const double own = inside ? batch[of.x + p * of.row + u] : 0.0;
    // Asked for with θ: at the end each would have to be waited for.
    bool halted = false;
    double rate = 0.0;
    if constexpr (After::MOVES) {
        halted = state_halted(after.state);
        rate = state_rate(after.state);
    }
    take_parameters(theta + (u64)blockIdx.x * stride, room, of.norms);
    if (inside) room.tape[at] = own;
    const double root = sqrt((double)of.samples), each = 1.0 / (double)of.samples, each_root = 1.0 / root;
    __syncthreads();

    // The layer's input; a thread's number of its output.
    const double* in = room.tape;
    double value = 0.0;
    for (unsigned l = 0; l < depth; ++l) {
        double *product = room.work[0], *out = room.work[1], *tape = room.tape_of(l + 1);
        if (inside) value = along<WIDTH>(in + p * PITCH, 1, room.weight_of(l) + u, PITCH, dim);
        if (l >= of.norms) {
            // The input of the next layer is what is kept of this one.
            if (inside) tape[at] = value;
            in = tape;
            __syncthreads();
            continue;
        }
        if (inside) product[at] = value;
        __syncthreads();
        if (inside) {
            double squares = along<WIDTH>(product + u, PITCH, product + u, PITCH, dim), a = product[dim * PITCH + u];
            // One root for both: a warp would wait for either in turn.
            const bool euclidean = of.kind == L2;
            double mean = (euclidean ? fma(a, a, squares) : squares) * each, rooted = sqrt(euclidean ? mean : mean + eps);
            double spread = euclidean ? rooted : mean, inverse = 1.0 / (euclidean ? rooted + eps : rooted);
            if (p == dim) {
                unsigned unit = l * dim + u;
                value = root * room.beta[unit];
                tape[at] = value;
                room.constant[unit] = a;
                room.inverse[unit] = inverse;
                room.spread[unit] = spread;
                if (statistics) {
                    statistics[2 * l * dim + u] = (float)(a * each_root);
                    statistics[(2 * l + 1) * dim + u] = (float)spread;
                }
            } else {
                double y = value * inverse;
                tape[at] = y;
                value = room.gamma[l * dim + u] * y;
            }
            out[at] = value;
        }
        in = out;
        __syncthreads();
    }

    // The squared error, and its gradient.
    double *error = room.work[0], *other = room.work[1], residual = 0.0;
    if (inside) {
        residual = value - batch[target + p * of.row + u];
        if (gridDim.x == 1) batch[of.last + p * of.row + u] = value;
    }
    double sum = block_sum(residual * residual);
    if (threadIdx.x == 0) {
        loss[blockIdx.x] = scale * (sum + batch[0]);
        // Nothing is right or wrong.
        correct[blockIdx.x] = (double)NAN_F32;
    }
    if (!grad) return;
    grad += (u64)blockIdx.x * stride;
    if (inside) error[at] = value = 2.0 * scale * residual;
    __syncthreads();
    for (unsigned l = depth; l-- > 0;) {
        // From the gradient of the layer's output, which `error` has, to that of its product.
        if (l < of.norms && inside) {
            const double* y = room.tape_of(l + 1);
            unsigned unit = l * dim + u;
            double inverse = room.inverse[unit], spread = room.spread[unit], factor = room.gamma[unit] * inverse;
            double over = along<WIDTH>(error + u, PITCH, y + u, PITCH, dim), part = over * each;
            // Where s is 0 so is every sample, and s moves with none.
            if (of.kind == L2) part = spread > 0.0 ? part / (spread * inverse) : spread == 0.0 ? 0.0 : spread;
            if (p == 0) grad[l * step + square + u] = (float)over;
            if (p == dim) {
                grad[l * step + square + dim + u] = (float)(root * value);
                value = of.kind == L2 ? factor * (-part * (room.constant[unit] * inverse)) : 0.0;
            } else value = factor * fma(-part, y[at], value);
            other[at] = value;
        }
        if (l < of.norms) {
            __syncthreads();
            double* old = error;
            error = other;
            other = old;
        }
        if (inside) {
            // The batch, and what no norm follows, are inputs as they are kept. Both sums are taken side by side: the first layer has no use for the one,
            // and the constant's row none for the other.
            const double* before = room.tape_of(l);
            const unsigned row = p < dim ? p : 0;
            value = along<WIDTH>(error + p * PITCH, 1, room.weight_of(l) + u * PITCH, 1, dim);
            double of_weight = along<WIDTH>(before + row, PITCH, error + u, PITCH, dim);
            other[at] = value;
            if (l > 0 && l <= of.norms) of_weight *= room.gamma[(l - 1) * dim + row];
            of_weight = fma(before[dim * PITCH + row], error[dim * PITCH + u], of_weight);
            if (p < dim) grad[l * step + p * dim + u] = (float)of_weight;
        }
        __syncthreads();
        double* old = error;
        error = other;
        other = old;
    }
    if constexpr (After::MOVES) {
        // Where the loss is not finite the step halts, and θ stays: what less itself is not 0 is no number, or infinite.
        const double mean = scale * (sum + batch[0]);
        move_running_of(after, room, each_root, of.norms);
        if (!halted && mean - mean == 0.0) move_parameters<WIDTH>(after, grad, (float)rate, depth * square + 2 * of.norms * dim);
    }
}

// Loss and gradient of the paper's width, ten: each run at its own θ, `stride` apart, on one batch, whose coordinates `batch` has, the target's from
// double `target` on. A single run leaves the coordinates of its prediction there.
extern "C" __global__ void __launch_bounds__(128, 3)
deep_linear_coordinates_10(const float* theta, double* batch, float* grad_or_null, float* statistics_or_null, double* loss, double* correct, double scale,
                           double eps, unsigned stride, unsigned target, Coordinates of) {
    wait_for_predecessor();
    of.dim = 10;
    on_coordinates<10>(theta, batch, grad_or_null, statistics_or_null, loss, correct, scale, eps, stride, target, NoStep{}, of);
}
// As deep_linear_coordinates_10, at any width up to sixteen.
extern "C" __global__ void __launch_bounds__(288)
deep_linear_coordinates_16(const float* theta, double* batch, float* grad_or_null, float* statistics_or_null, double* loss, double* correct, double scale,
                           double eps, unsigned stride, unsigned target, Coordinates of) {
    wait_for_predecessor();
    on_coordinates<16>(theta, batch, grad_or_null, statistics_or_null, loss, correct, scale, eps, stride, target, NoStep{}, of);
}

// As deep_linear_coordinates_10, of a single run; then running ← (1 − α) running + α f · statistics, and θ ← θ − lr (g + λ θ). θ stays where the loss is
// not finite, or the step has halted.
extern "C" __global__ void __launch_bounds__(128, 3)
deep_linear_step_10(float* theta, double* batch, float* grad, float* statistics_or_null, double* loss, double* correct, const double* factors_or_null,
                    float* running_or_null, const u64* state, double scale, double eps, unsigned target, AfterPass after, Coordinates of) {
    wait_for_predecessor();
    of.dim = 10;
    Step step = {theta, factors_or_null, running_or_null, state, after};
    on_coordinates<10>(theta, batch, grad, statistics_or_null, loss, correct, scale, eps, 0, target, step, of);
}
// As deep_linear_step_10, at any width up to sixteen.
extern "C" __global__ void __launch_bounds__(288)
deep_linear_step_16(float* theta, double* batch, float* grad, float* statistics_or_null, double* loss, double* correct, const double* factors_or_null,
                    float* running_or_null, const u64* state, double scale, double eps, unsigned target, AfterPass after, Coordinates of) {
    wait_for_predecessor();
    Step step = {theta, factors_or_null, running_or_null, state, after};
    on_coordinates<16>(theta, batch, grad, statistics_or_null, loss, correct, scale, eps, 0, target, step, of);
}

// The prediction and the loss of every sample, from the prediction's coordinates. `basis` has a row for each direction, and the constant's,
// `padded` doubles each.
extern "C" __global__ void __launch_bounds__(128)
deep_linear_samples(const double* batch, const float* target, float* y, double* sample, double scale, unsigned basis, unsigned padded, Coordinates of) {
    wait_for_predecessor();
    for (unsigned n = blockIdx.x * blockDim.x + threadIdx.x; n < of.samples; n += gridDim.x * blockDim.x) {
        double squares = 0.0;
        for (unsigned u = 0; u < of.dim; ++u) {
            double value = 0.0;
            for (unsigned p = 0; p <= of.dim; ++p) value = fma(batch[basis + p * padded + n], batch[of.last + p * of.row + u], value);
            double away = value - (double)target[n * of.dim + u];
            squares = fma(away, away, squares);
            y[n * of.dim + u] = (float)value;
        }
        sample[n] = scale * squares;
    }
}
