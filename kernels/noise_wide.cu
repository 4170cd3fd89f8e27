// Algorithm 1's noise in passes over rows of whole vectors of 16 bytes: what noise.cu does, several pairs of units a thread. The host tells by the
// shapes which of the two runs. What is made of each element has the same bits in both; sums are taken in another order. Where a 2×2 max-pool follows,
// `matrix` is that of its output, and the passes are kernels of their own that take the same operands: without a pool `pool.width` is not read.
#include "noise.cuh"

// ---- pairs of units ----------------------------------------------------------------------------------------------------------------------------

// The first two elements of a vector.
template <typename T> __device__ __forceinline__ void first_two(const Vector& v, float (&two)[2]) {
    if constexpr (sizeof(T) == 2) {
        two[0] = __uint_as_float(v.w[0] << 16);
        two[1] = __uint_as_float(v.w[0] & 0xffff0000u);
    } else {
        two[0] = __uint_as_float(v.w[0]);
        two[1] = __uint_as_float(v.w[1]);
    }
}
// Takes the first two elements away and puts these behind the last. After as many turns as there are pairs, each pair is where it was: so a loop over
// pairs can be a loop in the machine code too, where registers cannot be indexed.
template <typename T> __device__ __forceinline__ void turn(Vector& v, const float (&two)[2]) {
    if constexpr (sizeof(T) == 2) v = {{v.w[1], v.w[2], v.w[3], pack_bf16(two[0], two[1])}};
    else v = {{v.w[2], v.w[3], __float_as_uint(two[0]), __float_as_uint(two[1])}};
}
template <unsigned N> __device__ __forceinline__ void turn(float (&v)[N], const float (&two)[2]) {
#pragma unroll
    for (unsigned i = 0; i + 2 < N; ++i) v[i] = v[i + 2];
    v[N - 2] = two[0];
    v[N - 1] = two[1];
}

// Two numbers of each unit of a block, side by side for the two of a pair: {a, b} of the first, {a, b} of the second. Threads side by side read vectors
// side by side.
template <unsigned N> struct PairTable {
    Four pairs[N / 2][MOST_COLUMNS / 4];
    // By the unit's owner.
    __device__ __forceinline__ void put(float a, float b) {
        unsigned unit = threadIdx.x % N, at = unit % 2 * 2;
        Four& pair = pairs[unit / 2][threadIdx.x / N];
        pair.v[at] = a;
        pair.v[at + 1] = b;
    }
    __device__ __forceinline__ const Four& of(const WidePlace<N>& at, unsigned pair) const { return pairs[pair][threadIdx.x % at.width]; }
};

// What a thread knows of its units' noise: μ_j − r_μ and σ_j in shared memory.
template <unsigned N> struct WideNoise {
    NoiseKey key;
    const PairTable<N>& units;
    // m_ij and s_ij of a pair of its units at a sample.
    __device__ __forceinline__ NoisePair draw(const WidePlace<N>& at, unsigned sample, unsigned pair) const {
        Four four = units.of(at, pair);
        NoiseUnit two[2] = {{four.v[0], four.v[1]}, {four.v[2], four.v[3]}};
        return noise_pair(key, two, sample, at.lane * (N / 2) + pair);
    }
};
// A block draws each of its units once. All threads must call it; its barrier shows them what owners have put into other tables before, too.
template <unsigned N> __device__ __forceinline__ WideNoise<N> wide_noise(const WidePlace<N>& at, const u64* state, const NoiseOptions& noise) {
    SHARED(PairTable<N>, units, [1]);
    NoiseKey key = noise_key(state, noise);
    if (at.owns()) {
        NoiseUnit unit = noise_unit(key, at.own());
        units[0].put(unit.low, unit.sigma);
    }
    __syncthreads();
    return {key, units[0]};
}

// Calls f(vector, sample) for this thread's rows from `begin` to `end`, where `walk` goes along. One row at a time: what is loaded arrives while its
// noise is drawn.
template <unsigned N, typename F>
__device__ __forceinline__ void for_samples(const WidePlace<N>& at, unsigned begin, unsigned end, unsigned pixels, SampleWalk& walk, F f) {
    if (!at.there()) return;
    unsigned row = begin + at.first_row, vector = row * at.vectors + at.lane;
#pragma unroll 1
    for (; row < end; row += at.step, vector += at.step * at.vectors, walk.move()) f(vector, sample_of(walk, 0, pixels));
}
template <unsigned N> __device__ __forceinline__ SampleWalk first_sample(const WidePlace<N>& at, unsigned batch) {
    return sample_walk(at.begin + at.first_row, at.step, batch);
}

// v ← f(pair, half, m, s, v, w) for each element of v, which a thread has at a sample; w is another vector there.
template <typename T, typename F>
__device__ __forceinline__ void through_noise(const WideNoise<EACH<T>>& of, const WidePlace<EACH<T>>& at, unsigned sample, Vector& v, Vector w, F f) {
#pragma unroll
    for (unsigned pair = 0; pair < EACH<T> / 2; ++pair) {
        NoisePair drawn = of.draw(at, sample, pair);
        float two[2], other[2];
        first_two<T>(v, two);
        first_two<T>(w, other);
#pragma unroll
        for (int half = 0; half < 2; ++half) two[half] = f(pair, half, drawn.shift[half], drawn.scale[half], two[half], other[half]);
        turn<T>(v, two);
        turn<T>(w, two);
    }
}

// ---- noise alone -------------------------------------------------------------------------------------------------------------------------------

// What noise does.
KERNEL_OF_T(256) noise_wide(const T* x, const u64* state, T* y, NoiseOptions noise, unsigned relu, Matrix matrix, unsigned batch) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoise<N> of = wide_noise(at, state, noise);
    float floor = relu_floor(relu);
    const Vector* from = (const Vector*)x;
    Vector* to = (Vector*)y;
    SampleWalk walk = first_sample(at, batch);
    for_samples(at, at.begin, at.end, matrix.rows / batch, walk, [&](unsigned i, unsigned sample) {
        Vector v = from[i];
        through_noise<T>(of, at, sample, v, v, [&](unsigned, int, float m, float s, float x, float) { return above(fmaf(x, s, m), floor); });
        to[i] = v;
    });
}

// What noise_gradient does.
KERNEL_OF_T(256)
noise_gradient_wide(const T* x, const T* grad_y, const u64* state, T* grad_x, NoiseOptions noise, unsigned relu, Matrix matrix,
                    unsigned batch) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoise<N> of = wide_noise(at, state, noise);
    float floor = relu_floor(relu);
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Vector* to = (Vector*)grad_x;
    SampleWalk walk = first_sample(at, batch);
    for_samples(at, at.begin, at.end, matrix.rows / batch, walk, [&](unsigned i, unsigned sample) {
        Vector v = from_x[i], w = from_dy[i];
        through_noise<T>(of, at, sample, v, w, [&](unsigned, int, float m, float s, float x, float dy) { return fmaf(x, s, m) <= floor ? 0.0f : s * dy; });
        to[i] = v;
    });
}

// ---- noisy BatchNorm, its statistics being there -------------------------------------------------------------------------------------------

// What a thread knows of its units: their noise, and what BatchNorm makes of them.
template <unsigned N> struct WideNoisy {
    WideNoise<N> noise;
    // γ/S and β; μ and 1/S.
    const PairTable<N>&affine, &centre;
    unsigned relu;
};
template <unsigned N>
__device__ __forceinline__ WideNoisy<N> wide_noisy(const WidePlace<N>& at, const float* weight, const float* bias, const float* mean,
                                                   const float* var, const u64* state, double eps, const NoiseOptions& noise, unsigned relu) {
    SHARED(PairTable<N>, shared, [2]);
    if (at.owns()) {
        unsigned c = at.own();
        double s = divisor(var[c], eps, 0);
        Affine affine = affine_of(weight[c], bias[c], mean[c], s, relu);
        shared[0].put(affine.gain, affine.bias);
        shared[1].put(affine.mean, (float)(1.0 / s));
    }
    return {wide_noise(at, state, noise), shared[0], shared[1], relu};
}

// One of a thread's units: the first or the second of a pair.
struct NoisyUnit {
    Affine affine;
    float inverse;
    // s (γ ŷ + β) + m.
    __device__ __forceinline__ float before(float x, float m, float s) const { return fmaf(affine.before_relu(x), s, m); }
};
template <unsigned N>
__device__ __forceinline__ NoisyUnit noisy_unit(const WideNoisy<N>& of, const WidePlace<N>& at, unsigned pair, int half) {
    Four affine = of.affine.of(at, pair), centre = of.centre.of(at, pair);
    return {{centre.v[2 * half], 1.0f, affine.v[2 * half], affine.v[2 * half + 1], relu_floor(of.relu)}, centre.v[2 * half + 1]};
}

// What noisy_apply does.
KERNEL_OF_T(256)
noisy_apply_wide(const T* x, const float* weight, const float* bias, const float* mean, const float* var, const u64* state, T* y, double eps,
                 NoiseOptions noise, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoisy<N> of = wide_noisy(at, weight, bias, mean, var, state, eps, noise, relu);
    const Vector* from = (const Vector*)x;
    Vector* to = (Vector*)y;
    SampleWalk walk = first_sample(at, pool.batch);
    for_samples(at, at.begin, at.end, matrix.rows / pool.batch, walk, [&](unsigned i, unsigned sample) {
        Vector v = from[i];
        through_noise<T>(of.noise, at, sample, v, v, [&](unsigned pair, int half, float m, float s, float x, float) {
            NoisyUnit unit = noisy_unit(of, at, pair, half);
            return above(unit.before(x, m, s), unit.affine.floor);
        });
        to[i] = v;
    });
}

// x, of which the compiler does not learn that it is the same in every turn of a loop: so it computes anew what follows from x, and keeps none of that
// in registers.
#ifdef NORMSCAPE_HOST
__device__ __forceinline__ unsigned anew(unsigned x, unsigned) { return x; }
#else
__device__ __forceinline__ unsigned anew(unsigned x, unsigned turn) {
    asm("" : "+r"(x) : "r"(turn));
    return x;
}
#endif

// Calls f(k, half, before, s) for the four of a window and both units of the pair that comes first in their vectors: what is made of x before the ReLU,
// and s_ij.
template <typename T, unsigned N, typename F>
__device__ __forceinline__ void for_window(const WideNoisy<N>& of, const WidePlace<N>& at, const NoisyUnit (&units)[2], const WindowWalk& walk,
                                           unsigned pixels, const Vector (&v)[4], unsigned pair, F f) {
#pragma unroll
    for (unsigned k = 0; k < 4; ++k) {
        NoisePair drawn = of.noise.draw(at, anew(sample_of(walk, k, pixels), pair), pair);
        float two[2];
        first_two<T>(v[k], two);
#pragma unroll
        for (int half = 0; half < 2; ++half)
            f(k, half, units[half].before(two[half], drawn.shift[half], drawn.scale[half]), drawn.scale[half]);
    }
}
// Of a unit the largest of a window's four, as largest_place has it; and BatchNorm's upstream gradient d there.
struct WindowChosen {
    float largest, d;
    unsigned place;
    template <typename T> __device__ __forceinline__ void take(unsigned k, float before, float s, float dy, float floor) {
        float y = to_f32(from_f32<T>(above(before, floor)));
        if (k > 0 && !(y > largest || y != y)) return;
        largest = y;
        d = before <= floor ? 0.0f : s * dy;
        place = k;
    }
};

// With a pool, pairs are taken by a loop, which is not unrolled: the four draws of a window are code enough, and its four vectors registers enough.
KERNEL_OF_T(256)
noisy_apply_wide_pool(const T* x, const float* weight, const float* bias, const float* mean, const float* var, const u64* state, T* y, double eps,
                      NoiseOptions noise, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoisy<N> of = wide_noisy(at, weight, bias, mean, var, state, eps, noise, relu);
    unsigned pixels = matrix.rows / pool.batch * 4;
    const Vector* from = (const Vector*)x;
    Vector* to = (Vector*)y;
    for_windows(at, pool, at.begin, at.end, [&](const WindowWalk& walk, unsigned output) {
        Vector v[4], result;
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) v[k] = from[walk.vector(k)];
        result = v[0];
#pragma unroll 1
        for (unsigned pair = 0; pair < N / 2; ++pair) {
            NoisyUnit units[2] = {noisy_unit(of, at, pair, 0), noisy_unit(of, at, pair, 1)};
            float most[2];
            for_window<T>(of, at, units, walk, pixels, v, pair, [&](unsigned k, int half, float before, float) {
                float here = above(before, units[half].affine.floor);
                most[half] = k == 0 ? here : larger(most[half], here);
            });
            turn<T>(result, most);
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) turn<T>(v[k], most);
        }
        to[output] = result;
    });
}

// What noisy_gradient_sums does; float takes the sums over a run. Terms are d and d·ŷ, of one size whatever x's is.
KERNEL_OF_T(256, 2)
noisy_gradient_sums_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         const u64* state, double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, double eps,
                         NoiseOptions noise, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoisy<N> of = wide_noisy(at, weight, bias, mean, var, state, eps, noise, relu);
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    unsigned pixels = matrix.rows / pool.batch;
    SampleWalk walk = first_sample(at, pool.batch);
    Pair sums = {};
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        float a[N] = {}, b[N] = {};
        for_samples(at, begin, min(begin + RUN * at.step, at.end), pixels, walk, [&](unsigned i, unsigned sample) {
            Vector v = from_x[i], w = from_dy[i];
            through_noise<T>(of.noise, at, sample, v, w, [&](unsigned pair, int half, float m, float s, float x, float dy) {
                NoisyUnit unit = noisy_unit(of, at, pair, half);
                float d = unit.before(x, m, s) <= unit.affine.floor ? 0.0f : s * dy;
                a[2 * pair + half] += d;
                b[2 * pair + half] = fmaf(d, unit.affine.centred(x) * unit.inverse, b[2 * pair + half]);
                return x;
            });
        });
        add_run<MOST_COLUMNS>(a, b, 1.0, at, sums);
    }
    store_own(sums, at, partials);
    merge_gradients<4>(partials, grad_weight, grad_bias, tickets, block_parts(at.columns, at.width * N));
}

KERNEL_OF_T(256, 2)
noisy_gradient_sums_wide_pool(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                              const u64* state, double* partials, float* grad_weight, float* grad_bias, unsigned* tickets, double eps,
                              NoiseOptions noise, unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoisy<N> of = wide_noisy(at, weight, bias, mean, var, state, eps, noise, relu);
    unsigned pixels = matrix.rows / pool.batch * 4;
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Pair sums = {};
    for (unsigned begin = at.begin; begin < at.end; begin += RUN * at.step) {
        float a[N] = {}, b[N] = {};
        for_windows(at, pool, begin, min(begin + RUN * at.step, at.end), [&](const WindowWalk& walk, unsigned output) {
            Vector v[4], w = from_dy[output];
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) v[k] = from_x[walk.vector(k)];
#pragma unroll 1
            for (unsigned pair = 0; pair < N / 2; ++pair) {
                NoisyUnit units[2] = {noisy_unit(of, at, pair, 0), noisy_unit(of, at, pair, 1)};
                float dy[2], two_a[2], two_b[2];
                first_two<T>(w, dy);
                WindowChosen chosen[2] = {};
                for_window<T>(of, at, units, walk, pixels, v, pair, [&](unsigned k, int half, float before, float s) {
                    chosen[half].template take<T>(k, before, s, dy[half], units[half].affine.floor);
                });
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float here = 0.0f;
#pragma unroll
                    for (unsigned k = 0; k < 4; ++k) {
                        float two[2];
                        first_two<T>(v[k], two);
                        here = k == chosen[half].place ? two[half] : here;
                    }
                    two_a[half] = a[half] + chosen[half].d;
                    two_b[half] = fmaf(chosen[half].d, units[half].affine.centred(here) * units[half].inverse, b[half]);
                }
                turn(a, two_a);
                turn(b, two_b);
                turn<T>(w, dy);
#pragma unroll
                for (unsigned k = 0; k < 4; ++k) turn<T>(v[k], dy);
            }
        });
        add_run<MOST_COLUMNS>(a, b, 1.0, at, sums);
    }
    store_own(sums, at, partials);
    merge_gradients<4>(partials, grad_weight, grad_bias, tickets, block_parts(at.columns, at.width * N));
}

// Σd/m and Σd·ŷ/m of each unit. All threads must call it.
template <unsigned N>
__device__ __forceinline__ const PairTable<N>& wide_means(const WidePlace<N>& at, const float* grad_weight, const float* grad_bias, double samples) {
    SHARED(PairTable<N>, means, [1]);
    if (at.owns()) means[0].put((float)((double)grad_bias[at.own()] / samples), (float)((double)grad_weight[at.own()] / samples));
    __syncthreads();
    return means[0];
}
// dx = γ/S (d − Σd/m − ŷ Σd·ŷ/m) of the first or the second unit of a pair.
__device__ __forceinline__ float noisy_dx(const NoisyUnit& unit, const Four& means, int half, float x, float d) {
    return unit.affine.gain * fmaf(-(unit.affine.centred(x) * unit.inverse), means.v[2 * half + 1], d - means.v[2 * half]);
}

// What noisy_gradient does.
KERNEL_OF_T(256)
noisy_gradient_wide(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                    const float* grad_weight, const float* grad_bias, const u64* state, T* grad_x, double eps, NoiseOptions noise,
                    unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoisy<N> of = wide_noisy(at, weight, bias, mean, var, state, eps, noise, relu);
    const PairTable<N>& means = wide_means(at, grad_weight, grad_bias, matrix.rows);
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Vector* to = (Vector*)grad_x;
    SampleWalk walk = first_sample(at, pool.batch);
    for_samples(at, at.begin, at.end, matrix.rows / pool.batch, walk, [&](unsigned i, unsigned sample) {
        Vector v = from_x[i], w = from_dy[i];
        through_noise<T>(of.noise, at, sample, v, w, [&](unsigned pair, int half, float m, float s, float x, float dy) {
            NoisyUnit unit = noisy_unit(of, at, pair, half);
            return noisy_dx(unit, means.of(at, pair), half, x, unit.before(x, m, s) <= unit.affine.floor ? 0.0f : s * dy);
        });
        to[i] = v;
    });
}

KERNEL_OF_T(256, 2)
noisy_gradient_wide_pool(const T* x, const T* grad_y, const float* weight, const float* bias, const float* mean, const float* var,
                         const float* grad_weight, const float* grad_bias, const u64* state, T* grad_x, double eps, NoiseOptions noise,
                         unsigned relu, Matrix matrix, Pool pool) {
    wait_for_predecessor();
    constexpr unsigned N = EACH<T>;
    WidePlace<N> at = wide_place<N>(matrix);
    WideNoisy<N> of = wide_noisy(at, weight, bias, mean, var, state, eps, noise, relu);
    const PairTable<N>& means = wide_means(at, grad_weight, grad_bias, 4.0 * matrix.rows);
    unsigned pixels = matrix.rows / pool.batch * 4;
    const Vector *from_x = (const Vector*)x, *from_dy = (const Vector*)grad_y;
    Vector* to = (Vector*)grad_x;
    for_windows(at, pool, at.begin, at.end, [&](const WindowWalk& walk, unsigned output) {
        Vector v[4], w = from_dy[output];
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) v[k] = from_x[walk.vector(k)];
#pragma unroll 1
        for (unsigned pair = 0; pair < N / 2; ++pair) {
            NoisyUnit units[2] = {noisy_unit(of, at, pair, 0), noisy_unit(of, at, pair, 1)};
            float dy[2];
            first_two<T>(w, dy);
            WindowChosen chosen[2] = {};
            for_window<T>(of, at, units, walk, pixels, v, pair, [&](unsigned k, int half, float before, float s) {
                chosen[half].template take<T>(k, before, s, dy[half], units[half].affine.floor);
            });
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) {
                float two[2];
                first_two<T>(v[k], two);
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    two[half] = noisy_dx(units[half], means.of(at, pair), half, two[half], k == chosen[half].place ? chosen[half].d : 0.0f);
                turn<T>(v[k], two);
            }
            turn<T>(w, dy);
        }
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) to[walk.vector(k)] = v[k];
    });
}
