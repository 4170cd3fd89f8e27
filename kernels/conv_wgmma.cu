// Convolution and linear layers in bf16 on Hopper's tensor cores (wgmma), in whole tiles as in conv_tile.cu: a tile of 128 rows has one pixel.
//
// A block goes through tiles in a fixed order: block b has tiles b, b + blocks, and so on, so no number depends on how many blocks there are. One warp asks
// for the operands of stage after stage of 64 of the inner dimension (TMA), and two warpgroups multiply them, 64 rows each; a ring of stages lies
// between, of which `full` says what has come and `empty` what has been multiplied. So the next tile's operands come while a tile is stored.
#include "hopper.cuh"
#include "norm_below.cuh"
#include "splits.cuh"
#include "taps.cuh"

#if HOPPER

constexpr unsigned ROWS = 128, DEPTH = 64, STAGES = 4, STEPS = 4, MULTIPLIERS = 256;
// A tile of 64 of one dimension by 64 of the other: what a copy of weights brings.
constexpr unsigned SQUARE_BYTES = 8192, A_BYTES = 2 * SQUARE_BYTES;
struct __align__(8) Two {
    float v[2];
};
template <unsigned COLUMNS> __device__ constexpr unsigned stage_bytes() { return A_BYTES + COLUMNS * 128; }

struct Ring {
    u64 *full, *empty;
    unsigned stage, parity;
    __device__ __forceinline__ void next() {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};
// Arrivals: one of the thread that asks for copies; one of every warp that multiplies.
__device__ __forceinline__ Ring ring(u64* full, u64* empty) {
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < STAGES; ++i) {
            mbarrier_init(full + i, 1);
            mbarrier_init(empty + i, MULTIPLIERS / 32);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    return {full, empty, 0, 0};
}

// The first of the things after `before` others that a block has, where it has every gridDim.x-th of all of them.
__device__ __forceinline__ unsigned first_after(unsigned before) {
    unsigned past = before % gridDim.x;
    return blockIdx.x >= past ? blockIdx.x - past : blockIdx.x + gridDim.x - past;
}

// ---- forward, and the input's gradient ----------------------------------------------------------------------------------------------

// Tile `tile` of the output: tiles that share rows of activations follow one another.
struct Place {
    unsigned row_tile, first_column;
    Pixel pixel;
    __device__ __forceinline__ Place(const Map& map, unsigned tile, unsigned columns) {
        unsigned across = map.columns / columns;
        row_tile = tile / across;
        first_column = tile % across * columns;
        pixel = pixel_of(map, row_tile * ROWS);
    }
    // The taps that are on the map.
    __device__ __forceinline__ unsigned taps(const Map& map) const {
        if (map.taps == 1) return 1;
        unsigned tall = 1 + (pixel.h > 0) + (pixel.h + 1 < (int)map.height), wide = 1 + (pixel.w > 0) + (pixel.w + 1 < (int)map.width);
        return tall * wide;
    }
};
__device__ __forceinline__ unsigned tiles_of(const Map& map, unsigned columns) { return map.rows / ROWS * (map.columns / columns); }

// Asks for the stages of all tiles of this block, from tile `first` on; one thread does. A stage lies STRIDE bytes after the last.
template <unsigned COLUMNS, bool TRANSPOSED, unsigned STRIDE>
__device__ __forceinline__ void fetch_operands(const TensorMap* a, const TensorMap* b, const Map& map, unsigned first, Ring& ring, unsigned char* stages) {
    for (unsigned tile = first; tile < tiles_of(map, COLUMNS); tile += gridDim.x) {
        Place place(map, tile, COLUMNS);
        for (unsigned tap = 0; tap < map.taps; ++tap) {
            Pixel shift = tap_shift(map, tap);
            if (!on_map(map, place.pixel, shift)) continue;
            int row = (int)(place.row_tile * ROWS) + (shift.h * (int)map.width + shift.w) * (int)map.batch;
            for (unsigned k = 0; k < map.inner; k += DEPTH) {
                mbarrier_wait(ring.empty + ring.stage, ring.parity ^ 1);
                u64* full = ring.full + ring.stage;
                mbarrier_expect(full, stage_bytes<COLUMNS>());
                unsigned char* to = stages + ring.stage * STRIDE;
                bulk_copy(to, a, full, (int)k, row);
                // Weights lie as [inner][column], and as [column][inner] where they are taken transposed.
                if (TRANSPOSED) bulk_copy(to + A_BYTES, b, full, (int)k, (int)(tap * map.columns + place.first_column));
                else
                    for (unsigned i = 0; i < COLUMNS / 64; ++i)
                        bulk_copy(to + A_BYTES + i * SQUARE_BYTES, b, full, (int)(place.first_column + 64 * i), (int)(tap * map.inner + k));
                ring.next();
            }
        }
    }
}

// Sets d to the sum of `total` stages, 64 rows of this warpgroup. A stage is given back when the products of the one after it are under way.
template <unsigned STAGE_BYTES, bool A_ACROSS, bool B_ACROSS, unsigned COUNT>
__device__ __forceinline__ void multiply_stages(float (&d)[COUNT], Ring& ring, u64 a, u64 b, unsigned total) {
    u64* last = nullptr;
#pragma unroll
    for (unsigned i = 0; i < COUNT; ++i) d[i] = 0.0f;
    for (unsigned i = 0; i < total; ++i) {
        mbarrier_wait(ring.full + ring.stage, ring.parity);
        unsigned from = ring.stage * (STAGE_BYTES >> 4);
        wgmma_fence();
#pragma unroll
        for (unsigned step = 0; step < STEPS; ++step)
            wgmma<A_ACROSS, B_ACROSS>(d, moved(a, from + step * next_step<A_ACROSS>()), moved(b, from + step * next_step<B_ACROSS>()), 1);
        wgmma_commit();
        wgmma_wait<1>();
        if (last && lane_id() == 0) mbarrier_arrive(last);
        last = ring.empty + ring.stage;
        ring.next();
    }
    wgmma_wait<0>();
    if (last && lane_id() == 0) mbarrier_arrive(last);
}

// How a warp stores 16 rows of a tile, and which sums of their columns it takes: begin() prepares a tile before its products, store() stores the rows from
// `staged` and adds to two sums of each lane's four columns; the second sum counts `scale` times, with the thread that has the column's number. Here:
// bias and ReLU, and Σ and Σ² of what is stored.
template <unsigned COLUMNS> struct Lanes {
    static constexpr unsigned ACROSS = COLUMNS / 4, TALL = 32 / ACROSS, EACH = 16 / TALL;
    static __device__ __forceinline__ unsigned column() { return lane_id() % ACROSS * 4; }
    static __device__ __forceinline__ unsigned row() { return lane_id() / ACROSS; }
    static __device__ __forceinline__ Four staged_four(const float* staged, unsigned row) { return load4(staged + row * (COLUMNS + 8) + column()); }
};
struct Plain {
    const float* bias;
    Moments to;
    unsigned relu;
    __device__ __forceinline__ double* sums() const { return to.sums; }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { merge_moments_apart<4>(to, map.rows, of); }
    template <unsigned COLUMNS> struct Rows : Lanes<COLUMNS> {
        using Of = Lanes<COLUMNS>;
        static constexpr double scale = 1.0;
        const Plain& with;
        __device__ __forceinline__ Rows(const Plain& of) : with(of) {}
        __device__ __forceinline__ void begin(const Map&, const Place&) {}
        __device__ __forceinline__ void store(const float* staged, bf16* to, const Map& map, const Place& at, Four& sum, Four& square) const {
            float floor = relu_floor(with.relu), shift[4];
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) shift[j] = given(with.bias, at.first_column + Of::column() + j);
#pragma unroll 4
            for (unsigned row = Of::row(); row < 16; row += Of::TALL) {
                Four all = Of::staged_four(staged, row);
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) all.v[j] = above(all.v[j] + shift[j], floor);
                Four stored = store_rounded(to + (u64)row * map.columns + Of::column(), all);
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) {
                    sum.v[j] += stored.v[j];
                    square.v[j] = fmaf(stored.v[j], stored.v[j], square.v[j]);
                }
            }
        }
    };
};
// What is stored is a norm's dy, and the sums are those of its gradient. x is asked for before the products, and is there after them.
struct Gradient {
    NormBelow<bf16> below;
    __device__ __forceinline__ double* sums() const { return below.sums; }
    __device__ __forceinline__ void merge(const Map&, const PartsOf& of) const {
        merge_gradients_apart<4>(below.sums, below.grad_gamma, below.grad_beta, below.tickets, of);
    }
    template <unsigned COLUMNS> struct Rows : Lanes<COLUMNS> {
        using Of = Lanes<COLUMNS>;
        const Gradient& with;
        SharedColumns<COLUMNS> shared;
        unsigned known;
        double scale;
        TwoWords x[Of::EACH];
        __device__ __forceinline__ Rows(const Gradient& of) : with(of), known(~0u), scale(0.0) {
            SHARED(float, columns, [4 * COLUMNS]);
            shared.place = columns;
        }
        __device__ __forceinline__ void begin(const Map& map, const Place& at) {
            const bf16* from = with.below.x + (u64)(at.row_tile * ROWS + warp_id() * 16 + Of::row()) * map.columns + at.first_column + Of::column();
#pragma unroll
            for (unsigned i = 0; i < Of::EACH; ++i) x[i] = *(const TwoWords*)(from + (u64)(i * Of::TALL) * map.columns);
            if (at.first_column == known) return;
            known = at.first_column;
            // Nobody needs the last tile's columns any more.
            named_barrier<1>(MULTIPLIERS);
            if (threadIdx.x < COLUMNS) {
                Lifted own = with.below.lifted(with.below.column(known + threadIdx.x));
                shared.put(threadIdx.x, own);
                scale = own.inverse;
            }
            named_barrier<1>(MULTIPLIERS);
        }
        __device__ __forceinline__ void store(const float* staged, bf16* to, const Map& map, const Place&, Four& sum, Four& sum_u) const {
            FourColumns of(shared, Of::column(), with.below.norming);
#pragma unroll
            for (unsigned i = 0; i < Of::EACH; ++i) {
                unsigned row = Of::row() + i * Of::TALL;
                Four dy = store_rounded(to + (u64)row * map.columns + Of::column(), Of::staged_four(staged, row));
                of.add(four_of(x[i]), dy, sum.v, sum_u.v);
            }
        }
    };
};

// A gradient, where there is a norm below; elsewhere it is stored as it is.
struct Either {
    Gradient with;
    __device__ __forceinline__ double* sums() const { return with.sums(); }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { with.merge(map, of); }
    template <unsigned COLUMNS> struct Rows : Gradient::Rows<COLUMNS> {
        using Of = Lanes<COLUMNS>;
        using Base = Gradient::Rows<COLUMNS>;
        __device__ __forceinline__ Rows(const Either& of) : Base(of.with) {}
        __device__ __forceinline__ void begin(const Map& map, const Place& at) {
            if (this->with.sums()) Base::begin(map, at);
        }
        __device__ __forceinline__ void store(const float* staged, bf16* to, const Map& map, const Place& at, Four& sum, Four& sum_u) const {
            if (this->with.sums()) Base::store(staged, to, map, at, sum, sum_u);
            else
                for (unsigned row = Of::row(); row < 16; row += Of::TALL) store_rounded(to + (u64)row * map.columns + Of::column(), Of::staged_four(staged, row));
        }
    };
};

// A warp's 16 rows of a tile, of COLUMNS + 8 floats: a pitch at which four rows of eight bytes a lane lie side by side.
template <unsigned COLUMNS> __device__ constexpr unsigned staged_floats() { return 16 * (COLUMNS + 8); }

template <unsigned COLUMNS, bool TRANSPOSED, unsigned STRIDE, typename Epilogue>
__device__ __forceinline__ void multiply_tiles(const Epilogue& epilogue, bf16* out, const Map& map, unsigned first, Ring& ring, unsigned char* stages) {
    constexpr unsigned LANES = COLUMNS / 4, PARTS = MULTIPLIERS / LANES;
    float* all_staged = (float*)(stages + STAGES * STRIDE);
    float* staged = all_staged + warp_id() * staged_floats<COLUMNS>();
    // Of the threads that share a column: [part][sum, second sum][column].
    float* columns = all_staged + MULTIPLIERS / 32 * staged_floats<COLUMNS>();
    u64 place = place_of_tile(stages), a = descriptor(place + threadIdx.x / 128 * SQUARE_BYTES), b = descriptor(place + A_BYTES, SQUARE_BYTES);
    typename Epilogue::template Rows<COLUMNS> rows(epilogue);
    for (unsigned tile = first; tile < tiles_of(map, COLUMNS); tile += gridDim.x) {
        Place at(map, tile, COLUMNS);
        rows.begin(map, at);
        float d[COLUMNS / 2];
        multiply_stages<STRIDE, false, !TRANSPOSED>(d, ring, a, b, at.taps(map) * (map.inner / DEPTH));
        __syncwarp();
#pragma unroll
        for (unsigned n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) {
                float* to = staged + (lane_id() / 4 + 8 * e) * (COLUMNS + 8) + 8 * n + lane_id() % 4 * 2;
                *(Two*)to = Two{{d[4 * n + 2 * e], d[4 * n + 2 * e + 1]}};
            }
        __syncwarp();
        Four sum = {}, second = {};
        rows.store(staged, out + (u64)(at.row_tile * ROWS + warp_id() * 16) * map.columns + at.first_column, map, at, sum, second);
        if (!epilogue.sums()) continue;
        // Nobody adds the last tile's sums any more.
        named_barrier<1>(MULTIPLIERS);
        float* own = columns + threadIdx.x / LANES * 2 * COLUMNS + lane_id() % LANES * 4;
        store4(own, sum);
        store4(own + COLUMNS, second);
        named_barrier<1>(MULTIPLIERS);
        if (threadIdx.x >= COLUMNS) continue;
        Pair all = {};
        for (unsigned i = 0; i < PARTS; ++i) {
            all.a += columns[2 * i * COLUMNS + threadIdx.x];
            all.b += columns[(2 * i + 1) * COLUMNS + threadIdx.x];
        }
        double* left = epilogue.sums() + (u64)(2 * at.row_tile) * map.columns + at.first_column + threadIdx.x;
        left[0] = all.a;
        left[map.columns] = all.b * rows.scale;
    }
}

// What is left of the sums of a block's tiles, once all are stored. Only then, since the whole block takes a ticket: until there one warp of it is ahead.
template <unsigned COLUMNS, typename Epilogue>
__device__ __forceinline__ void merge_tiles(const Epilogue& epilogue, const Map& map, unsigned first) {
    if (!epilogue.sums()) return;
    for (unsigned tile = first; tile < tiles_of(map, COLUMNS); tile += gridDim.x) {
        Place at(map, tile, COLUMNS);
        epilogue.merge(map, {map.columns, at.first_column, COLUMNS, at.first_column / COLUMNS, at.row_tile, 1, map.rows / ROWS});
    }
}

template <unsigned COLUMNS, bool TRANSPOSED, typename Epilogue>
__device__ __forceinline__ void product(const TensorMap* a, const TensorMap* b, bf16* out, const Epilogue& epilogue, const Map& map) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Ring between = ring(full, empty);
    if (threadIdx.x < MULTIPLIERS) multiply_tiles<COLUMNS, TRANSPOSED, stage_bytes<COLUMNS>()>(epilogue, out, map, blockIdx.x, between, stages);
    else if (lane_id() == 0) fetch_operands<COLUMNS, TRANSPOSED, stage_bytes<COLUMNS>()>(a, b, map, blockIdx.x, between, stages);
    merge_tiles<COLUMNS>(epilogue, map, blockIdx.x);
}

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_mma. Boxes of a are
// 128 rows of 64; those of b 64 rows of 64, and of 128 rows where it is taken transposed.
extern "C" __global__ void __launch_bounds__(288, 1)
product_wgmma_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                  float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<128, true>(&a, &b, out, with, map);
    else product<128, false>(&a, &b, out, with, map);
}
// As product_wgmma_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1)
product_wgmma_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const float* bias_or_null, bf16* out, double* sums_or_null,
                 float* mean_or_null, float* var_or_null, unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Plain with = {bias_or_null, {sums_or_null, mean_or_null, var_or_null, tickets_or_null}, relu};
    if (transposed) product<64, true>(&a, &b, out, with, map);
    else product<64, false>(&a, &b, out, with, map);
}
// The gradient of an input that a norm has made, as product_wgmma_128 transposed; and dγ and dβ of that norm.
extern "C" __global__ void __launch_bounds__(288, 1)
input_gradient_wgmma_128(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, bf16* out, const bf16* x, const float* gamma,
                         const float* beta, const float* mean, const float* spread, double* sums, float* grad_gamma, float* grad_beta,
                         unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<128, true>(&a, &b, out, with, map);
}
// As input_gradient_wgmma_128, in whole tiles of 128 × 64.
extern "C" __global__ void __launch_bounds__(288, 1)
input_gradient_wgmma_64(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, bf16* out, const bf16* x, const float* gamma,
                         const float* beta, const float* mean, const float* spread, double* sums, float* grad_gamma, float* grad_beta,
                         unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    Gradient with = {{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}};
    product<64, true>(&a, &b, out, with, map);
}

// ---- the weight's gradient ----------------------------------------------------------------------------------------------------------

// Rows of a stage: of a tile of 64 × 64 the warpgroups have half of them each, of one of 128 × 128 all, and half of the tile's rows.
template <unsigned SIDE> __device__ constexpr unsigned rows_of_stage() { return SIDE == 128 ? 64 : 128; }
constexpr unsigned GRADIENT_STAGE = 32768;

// One split's part of a tile of one tap's dw: `total` stages, the first of which begins at `row` of dy.
template <unsigned SIDE> struct Part {
    unsigned tap, split, first_c, first_k, total, left, length;
    int row, shift, gap;
    __device__ __forceinline__ Part(const Map& map, unsigned number, unsigned per_split) {
        unsigned across = map.columns / SIDE, tiles = map.inner / SIDE * across, tile = number % tiles;
        tap = number / tiles % map.taps;
        split = number / tiles / map.taps;
        first_c = tile / across * SIDE;
        first_k = tile % across * SIDE;
        Pixel by = tap_shift(map, tap);
        Rectangle rectangle = rectangle_of(map, by);
        unsigned line = rectangle.width * map.batch, begin = split * per_split, end = min(begin + per_split, rectangle.height * line);
        total = begin < end ? (end - begin) / rows_of_stage<SIDE>() : 0;
        row = total ? (int)rectangle_row(map, rectangle, begin) : 0;
        // Rows of one line of the rectangle lie one after the other; then the rest of the map's line is passed over.
        left = total ? (line - begin % line) / rows_of_stage<SIDE>() : 0;
        length = line / rows_of_stage<SIDE>();
        gap = (int)((map.width - rectangle.width) * map.batch);
        shift = (by.h * (int)map.width + by.w) * (int)map.batch;
    }
    __device__ __forceinline__ void next() {
        row += rows_of_stage<SIDE>();
        if (--left == 0) {
            left = length;
            row += gap;
        }
    }
};

template <unsigned SIDE> __device__ __forceinline__ unsigned parts_of(const Map& map, unsigned splits) {
    return map.inner / SIDE * (map.columns / SIDE) * map.taps * splits;
}

// Asks for the stages of all parts of this block, from part `first` on; one thread does.
template <unsigned SIDE>
__device__ __forceinline__ void fetch_parts(const TensorMap* x, const TensorMap* grad_y, const Map& map, unsigned per_split, unsigned parts, unsigned first,
                                            Ring& between, unsigned char* stages) {
    for (unsigned number = first; number < parts; number += gridDim.x) {
        Part<SIDE> part(map, number, per_split);
        for (unsigned i = 0; i < part.total; ++i) {
            mbarrier_wait(between.empty + between.stage, between.parity ^ 1);
            u64* barrier = between.full + between.stage;
            mbarrier_expect(barrier, GRADIENT_STAGE);
            unsigned char* to = stages + between.stage * GRADIENT_STAGE;
#pragma unroll
            for (unsigned j = 0; j < SIDE / 64; ++j) {
                bulk_copy(to + j * SQUARE_BYTES, x, barrier, (int)(part.first_c + 64 * j), part.row + part.shift);
                bulk_copy(to + GRADIENT_STAGE / 2 + j * SQUARE_BYTES, grad_y, barrier, (int)(part.first_k + 64 * j), part.row);
            }
            part.next();
            between.next();
        }
    }
}

template <unsigned SIDE>
__device__ __forceinline__ void multiply_parts(float* partials, const Map& map, unsigned per_split, unsigned parts, unsigned first, Ring& between,
                                               unsigned char* stages) {
    // Where warpgroups share the rows of a stage, the second one leaves its sums to the first.
    constexpr bool SHARED_SUM = SIDE == 64;
    unsigned group = threadIdx.x / 128;
    float* other = (float*)(stages + STAGES * GRADIENT_STAGE) + threadIdx.x % 128;
    u64 place = place_of_tile(stages) + (SHARED_SUM ? group * SQUARE_BYTES : 0);
    u64 a = descriptor(place + (SHARED_SUM ? 0 : group * SQUARE_BYTES), SQUARE_BYTES), b = descriptor(place + GRADIENT_STAGE / 2, SQUARE_BYTES);
    for (unsigned number = first; number < parts; number += gridDim.x) {
        Part<SIDE> part(map, number, per_split);
        float d[SIDE / 2];
        multiply_stages<GRADIENT_STAGE, true, true>(d, between, a, b, part.total);
        if constexpr (SHARED_SUM) {
            if (group == 1)
#pragma unroll
                for (unsigned i = 0; i < SIDE / 2; ++i) other[i * 128] = d[i];
            named_barrier<1>(MULTIPLIERS);
            if (group == 0)
#pragma unroll
                for (unsigned i = 0; i < SIDE / 2; ++i) d[i] += other[i * 128];
            // It is not written again before it has been read.
            named_barrier<1>(MULTIPLIERS);
            if (group == 1) continue;
        }
        unsigned c = part.first_c + warp_id() * 16 + lane_id() / 4, k = part.first_k + lane_id() % 4 * 2;
        float* to = partials + (((u64)part.split * map.taps + part.tap) * map.inner + c) * map.columns + k;
#pragma unroll
        for (unsigned n = 0; n < SIDE / 8; ++n)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) *(Two*)(to + (u64)(8 * e) * map.columns + 8 * n) = Two{{d[4 * n + 2 * e], d[4 * n + 2 * e + 1]}};
    }
}

// The splits of a block's parts are added, as splits.cuh says, once all are stored. Only then, since the whole block takes a ticket: until there one warp
// of it is ahead.
template <unsigned SIDE>
__device__ __forceinline__ void add_splits(float* partials, float* out, unsigned* tickets, const Map& map, unsigned splits, unsigned first) {
    if (!out) return;
    unsigned across = map.columns / SIDE, tiles = map.inner / SIDE * across, all = tiles * map.taps;
    for (unsigned number = first; number < all * splits; number += gridDim.x) {
        unsigned tile = number % tiles;
        add_splits_of_tile<SIDE>(partials, out, tickets + number % all * split_tickets(splits), number / all, splits,
                                 {number / tiles % map.taps, map.taps, map.inner, map.columns, tile / across * SIDE, tile % across * SIDE});
    }
}

template <unsigned SIDE>
__device__ __forceinline__ void weight_gradient(const TensorMap* x, const TensorMap* grad_y, float* partials, float* out, unsigned* tickets, const Map& map,
                                                unsigned per_split, unsigned splits) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Ring between = ring(full, empty);
    unsigned parts = parts_of<SIDE>(map, splits);
    if (threadIdx.x < MULTIPLIERS) multiply_parts<SIDE>(partials, map, per_split, parts, blockIdx.x, between, stages);
    else if (lane_id() == 0) fetch_parts<SIDE>(x, grad_y, map, per_split, parts, blockIdx.x, between, stages);
    add_splits<SIDE>(partials, out, tickets, map, splits, blockIdx.x);
}

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], in whole tiles of 128 × 128. Boxes are 64 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
weight_gradient_wgmma_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                          unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient<128>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}
// As weight_gradient_wgmma_128, in whole tiles of 64 × 64. Boxes are 128 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
weight_gradient_wgmma_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap grad_y, float* partials, float* out_or_null,
                         unsigned* tickets_or_null, Map map, unsigned per_split, unsigned splits) {
    wait_for_predecessor();
    weight_gradient<64>(&x, &grad_y, partials, out_or_null, tickets_or_null, map, per_split, splits);
}

// ---- both gradients of a layer ------------------------------------------------------------------------------------------------------

// As the kernels of conv_tile.cu that make both: a block has every gridDim.x-th of the tiles of the one and the parts of the other together, those of the
// one that takes longer first. Boxes of `grad_y` are 128 rows of 64, as a product takes them, those of `rows_y` as a weight gradient does.
template <unsigned COLUMNS, unsigned SIDE>
__device__ __forceinline__ void gradients(const TensorMap* x, const TensorMap* weight, const TensorMap* grad_y, const TensorMap* rows_y, bf16* grad_x,
                                          const NormBelow<bf16>& below, float* partials, float* out, unsigned* tickets, const Map& map, const Both& both) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Ring between = ring(full, empty);
    Map back = turned(map);
    Either epilogue = {{below}};
    bool parts_first = both.weights_first != 0;
    unsigned parts = parts_of<SIDE>(map, both.splits), tiles = tiles_of(back, COLUMNS);
    unsigned first_part = parts_first ? blockIdx.x : first_after(tiles), first_tile = parts_first ? first_after(parts) : blockIdx.x;
    // One after the other, through one ring.
#pragma unroll 1
    for (unsigned turn = 0; turn < 2; ++turn) {
        bool of_parts = (turn == 0) == parts_first;
        if (threadIdx.x < MULTIPLIERS) {
            if (of_parts) multiply_parts<SIDE>(partials, map, both.per_split, parts, first_part, between, stages);
            else multiply_tiles<COLUMNS, true, GRADIENT_STAGE>(epilogue, grad_x, back, first_tile, between, stages);
            // Where results are put together, nobody reads the last of the one any more.
            named_barrier<1>(MULTIPLIERS);
        } else if (lane_id() == 0) {
            if (of_parts) fetch_parts<SIDE>(x, rows_y, map, both.per_split, parts, first_part, between, stages);
            else fetch_operands<COLUMNS, true, GRADIENT_STAGE>(grad_y, weight, back, first_tile, between, stages);
        }
    }
    add_splits<SIDE>(partials, out, tickets, map, both.splits, first_part);
    merge_tiles<COLUMNS>(epilogue, back, first_tile);
}

// Tiles of 128 × 128 of both. Boxes of `weight` are 128 rows of 64, and those of `x` and `rows_y` 64 rows.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_128(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                    const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                    const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                    unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<bf16> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                             grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<128, 128>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// Of the input's gradient tiles of 128 × 64. Boxes of `weight` are 64 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_mixed(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                      const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                      const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                      unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<bf16> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                             grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<64, 128>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// And of the weight's tiles of 64 × 64. Boxes of `x` and `rows_y` are 128 rows of 64.
extern "C" __global__ void __launch_bounds__(288, 1)
gradients_wgmma_64(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight, const __grid_constant__ TensorMap grad_y,
                   const __grid_constant__ TensorMap rows_y, bf16* grad_x, const bf16* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                   const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                   unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<bf16> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                             grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<64, 64>(&x, &weight, &grad_y, &rows_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}

#endif
