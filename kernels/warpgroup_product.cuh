// Products of warpgroups, in whole tiles: which operands are asked for, how tiles are stored, and which sums of their columns are left.
//
// The four blocks of a cluster have the tiles of a rectangle of the output. Blocks with the same rows need the same activations, those with the same
// columns the same weights: each asks for its share of what it needs, and the copy brings that to all who need it. So all of them go through the same
// stages, and one that has multiplied a stage says so to all who copy to it. A tap that is on the map for some rows of the rectangle is a stage for all.
#pragma once
#include "cluster.cuh"
#include "norm_below.cuh"
#include "taps.cuh"
#include "warpgroups.cuh"

#if HOPPER

// How a cluster's blocks share operands: its rectangle of tiles is `down` by `across`, and this block's place in it. Clusters go through the rectangles.
constexpr unsigned CLUSTER = 4;
struct Share {
    unsigned across, down, row, column;
    __device__ __forceinline__ Share(unsigned across)
        : across(across), down(CLUSTER / across), row(cluster_rank() / across), column(cluster_rank() % across) {}
    // The blocks with the same rows, and those with the same columns, as bits; and how many these are together.
    __device__ __forceinline__ unsigned of_row() const { return ((1u << across) - 1u) << row * across; }
    __device__ __forceinline__ unsigned of_column() const { return (across == 1 ? 15u : across == 2 ? 5u : 1u) << column; }
    __device__ __forceinline__ unsigned blocks() const { return across + down - 1; }
    static __device__ __forceinline__ unsigned cluster() { return blockIdx.x / CLUSTER; }
    static __device__ __forceinline__ unsigned clusters() { return gridDim.x / CLUSTER; }
};
// The taps that pixel has on the map, as bits.
__device__ __forceinline__ unsigned taps_at(const Map& map, Pixel pixel) {
    if (map.taps == 1) return 1;
    auto three = [&](int at, unsigned extent) {
        unsigned before = at > 0, after = at + 1 < (int)extent;
        return map.direction > 0 ? before | 2u | after << 2 : after | 2u | before << 2;
    };
    unsigned wide = three(pixel.w, map.width), tall = three(pixel.h, map.height);
    return (tall & 1u ? wide : 0u) | wide << 3 | (tall & 4u ? wide << 6 : 0u);
}

// The tile of this block in rectangle `number` of the output: rectangles that share rows of activations follow one another.
struct Place {
    unsigned row_tile, first_column;
    // Taps on the map: of this tile's rows, none of a tile that is not there; and of any rows of the rectangle.
    unsigned own, all;
    __device__ __forceinline__ Place(const Map& map, const Share& share, unsigned number, unsigned columns) {
        unsigned across = map.columns / columns / share.across, first = number / across * share.down;
        row_tile = first + share.row;
        first_column = (number % across * share.across + share.column) * columns;
        own = all = 0;
        for (unsigned i = 0; i < share.down && first + i < map.rows / ROWS; ++i) {
            unsigned taps = taps_at(map, pixel_of(map, (first + i) * ROWS));
            all |= taps;
            if (i == share.row) own = taps;
        }
    }
    // A tile that has all columns.
    __device__ __forceinline__ Place(unsigned row_tile) : row_tile(row_tile), first_column(0), own(0), all(0) {}
    __device__ __forceinline__ bool there(const Map& map) const { return row_tile < map.rows / ROWS; }
};
__device__ __forceinline__ unsigned rectangles_of(const Map& map, const Share& share, unsigned columns) {
    return (map.rows / ROWS + share.down - 1) / share.down * (map.columns / columns / share.across);
}

// Asks for this block's share of the stages of all its tiles, from rectangle `first` on; one thread does. A stage lies STRIDE bytes after the last, and has
// DEEP elements of the inner dimension, which are 128 bytes.
template <unsigned COLUMNS, bool TRANSPOSED, unsigned STRIDE, unsigned DEEP = DEPTH>
__device__ __forceinline__ void fetch_operands(const TensorMap* a, const TensorMap* b, const Map& map, const Share& share, unsigned first, Ring& ring,
                                               unsigned char* stages) {
    constexpr unsigned B_BYTES = COLUMNS * 128;
    unsigned a_rows = ROWS / share.across, b_rows = COLUMNS / share.down, b_first = share.row * b_rows;
    for (unsigned number = first; number < rectangles_of(map, share, COLUMNS); number += Share::clusters()) {
        Place place(map, share, number, COLUMNS);
        for (unsigned taps = place.all; taps; taps &= taps - 1u) {
            unsigned tap = (unsigned)__ffs((int)taps) - 1u;
            Pixel shift = tap_shift(map, tap);
            bool own = place.own >> tap & 1u;
            int row = (int)(place.row_tile * ROWS + share.column * a_rows) + (shift.h * (int)map.width + shift.w) * (int)map.batch;
            for (unsigned k = 0; k < map.inner; k += DEEP) {
                mbarrier_wait(ring.empty + ring.stage, ring.parity);
                u64* full = ring.full + ring.stage;
                mbarrier_expect(full, B_BYTES + (own ? A_BYTES : 0u));
                unsigned char* to = stages + ring.stage * STRIDE;
                if (own) bulk_copy_to(share.of_row(), to + share.column * a_rows * 128, a, full, (int)k, row);
                to += A_BYTES;
                // Weights lie as [inner][column], and as [column][inner] where they are taken transposed.
                if (TRANSPOSED)
                    bulk_copy_to(share.of_column(), to + b_first * 128, b, full, (int)k, (int)(tap * map.columns + place.first_column + b_first));
                else
                    for (unsigned i = b_first; i < b_first + b_rows; i += DEEP)
                        bulk_copy_to(share.of_column(), to + i * 128, b, full, (int)(place.first_column + i / DEEP * DEEP),
                                     (int)(tap * map.inner + k + i % DEEP));
                ring.next();
            }
        }
    }
}

// How a warp stores 16 rows of a tile, and which sums of their columns it takes: begin() prepares a tile before its products, store() stores the rows from
// `staged` and adds to two sums of each lane's four columns; the second sum counts scale() times, with the thread that has the column's number. Here:
// bias and ReLU, and Σ and Σ² of what is stored.
template <unsigned COLUMNS> struct Lanes {
    static constexpr unsigned ACROSS = COLUMNS / 4, TALL = 32 / ACROSS, EACH = 16 / TALL;
    static __device__ __forceinline__ unsigned column() { return lane_id() % ACROSS * 4; }
    static __device__ __forceinline__ unsigned row() { return lane_id() / ACROSS; }
    static __device__ __forceinline__ Four staged_four(const float* staged, unsigned row) { return load4(staged + row * (COLUMNS + 8) + column()); }
};
template <typename T> struct PlainOf {
    const float* bias;
    Moments to;
    unsigned relu;
    __device__ __forceinline__ double* sums() const { return to.sums; }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { merge_moments_apart<4>(to, map.rows, of); }
    template <unsigned COLUMNS> struct Rows : Lanes<COLUMNS> {
        using Of = Lanes<COLUMNS>;
        static __device__ __forceinline__ double scale() { return 1.0; }
        const PlainOf& with;
        __device__ __forceinline__ Rows(const PlainOf& of) : with(of) {}
        __device__ __forceinline__ void begin(const Map&, const Place&) {}
        __device__ __forceinline__ void store(const float* staged, T* to, const Map& map, const Place& at, Four& sum, Four& square) const {
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
// A lane's rows of a norm's x, `step` elements apart. Of bf16 they are asked for before the products, and are there after them; of float they would take too
// many registers.
template <typename T, unsigned COLUMNS> struct AskedRows;
template <unsigned COLUMNS> struct AskedRows<bf16, COLUMNS> {
    TwoWords x[Lanes<COLUMNS>::EACH];
    __device__ __forceinline__ void ask(const bf16* from, u64 step) {
#pragma unroll
        for (unsigned i = 0; i < Lanes<COLUMNS>::EACH; ++i) x[i] = *(const TwoWords*)(from + i * step);
    }
    __device__ __forceinline__ Four get(const bf16*, u64, unsigned i) const { return four_of(x[i]); }
};
template <unsigned COLUMNS> struct AskedRows<float, COLUMNS> {
    __device__ __forceinline__ void ask(const float*, u64) {}
    __device__ __forceinline__ Four get(const float* from, u64 step, unsigned i) const { return load4(from + i * step); }
};
// What is stored is a norm's dy, and the sums are those of its gradient.
template <typename T> struct GradientOf {
    NormBelow<T> below;
    __device__ __forceinline__ double* sums() const { return below.sums; }
    __device__ __forceinline__ void merge(const Map&, const PartsOf& of) const {
        merge_gradients_apart<4>(below.sums, below.grad_gamma, below.grad_beta, below.tickets, of);
    }
    template <unsigned COLUMNS> struct Rows : Lanes<COLUMNS> {
        using Of = Lanes<COLUMNS>;
        const GradientOf& with;
        SharedColumns<COLUMNS> shared;
        double* scales;
        unsigned known;
        AskedRows<T, COLUMNS> x;
        __device__ __forceinline__ double scale() const { return scales[threadIdx.x]; }
        __device__ __forceinline__ Rows(const GradientOf& of) : with(of), known(~0u) {
            SHARED(float, columns, [4 * COLUMNS]);
            SHARED(double, of_columns, [COLUMNS]);
            shared.place = columns;
            scales = of_columns;
        }
        __device__ __forceinline__ const T* first_of(const Map& map, const Place& at) const {
            return with.below.x + (u64)(at.row_tile * ROWS + warp_id() * 16 + Of::row()) * map.columns + at.first_column + Of::column();
        }
        __device__ __forceinline__ void begin(const Map& map, const Place& at) {
            x.ask(first_of(map, at), (u64)Of::TALL * map.columns);
            if (at.first_column == known) return;
            known = at.first_column;
            // Nobody needs the last tile's columns any more.
            named_barrier<1>(MULTIPLIERS);
            if (threadIdx.x < COLUMNS) {
                Lifted own = with.below.lifted(with.below.column(known + threadIdx.x));
                shared.put(threadIdx.x, own);
                scales[threadIdx.x] = own.inverse;
            }
            named_barrier<1>(MULTIPLIERS);
        }
        __device__ __forceinline__ void store(const float* staged, T* to, const Map& map, const Place& at, Four& sum, Four& sum_u) const {
            FourColumns of(shared, Of::column(), with.below.norming);
            const T* from = first_of(map, at);
            u64 step = (u64)Of::TALL * map.columns;
#pragma unroll
            for (unsigned i = 0; i < Of::EACH; ++i) {
                unsigned row = Of::row() + i * Of::TALL;
                Four dy = store_rounded(to + (u64)row * map.columns + Of::column(), Of::staged_four(staged, row));
                of.add(x.get(from, step, i), dy, sum.v, sum_u.v);
            }
        }
    };
};

// A gradient, where there is a norm below; elsewhere it is stored as it is.
template <typename T> struct EitherOf {
    GradientOf<T> with;
    __device__ __forceinline__ double* sums() const { return with.sums(); }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { with.merge(map, of); }
    template <unsigned COLUMNS> struct Rows : GradientOf<T>::template Rows<COLUMNS> {
        using Of = Lanes<COLUMNS>;
        using Base = typename GradientOf<T>::template Rows<COLUMNS>;
        __device__ __forceinline__ Rows(const EitherOf& of) : Base(of.with) {}
        __device__ __forceinline__ void begin(const Map& map, const Place& at) {
            if (this->with.sums()) Base::begin(map, at);
        }
        __device__ __forceinline__ void store(const float* staged, T* to, const Map& map, const Place& at, Four& sum, Four& sum_u) const {
            if (this->with.sums()) Base::store(staged, to, map, at, sum, sum_u);
            else
                for (unsigned row = Of::row(); row < 16; row += Of::TALL) store_rounded(to + (u64)row * map.columns + Of::column(), Of::staged_four(staged, row));
        }
    };
};
using Plain = PlainOf<bf16>;
using Gradient = GradientOf<bf16>;
using Either = EitherOf<bf16>;

// A warp's 16 rows of a tile, of COLUMNS + 8 floats: a pitch at which four rows of eight bytes a lane lie side by side.
template <unsigned COLUMNS> __device__ constexpr unsigned staged_floats() { return 16 * (COLUMNS + 8); }

// Stores a tile that is staged, of which each warp takes 16 rows, and leaves its sums. `all_staged` has the tile, and room for 8 KiB of sums.
template <unsigned COLUMNS, typename Epilogue, typename Rows, typename T>
__device__ __forceinline__ void put_staged(const Epilogue& epilogue, Rows& rows, T* out, const Map& map, const Place& at, float* all_staged) {
    constexpr unsigned LANES = COLUMNS / 4, PARTS = MULTIPLIERS / LANES;
    const float* staged = all_staged + warp_id() * staged_floats<COLUMNS>();
    // Of the threads that share a column: [part][sum, second sum][column].
    float* columns = all_staged + MULTIPLIERS / 32 * staged_floats<COLUMNS>();
    Four sum = {}, second = {};
    rows.store(staged, out + (u64)(at.row_tile * ROWS + warp_id() * 16) * map.columns + at.first_column, map, at, sum, second);
    if (!epilogue.sums()) return;
    // Nobody adds the last tile's sums any more.
    named_barrier<1>(MULTIPLIERS);
    float* own = columns + threadIdx.x / LANES * 2 * COLUMNS + lane_id() % LANES * 4;
    store4(own, sum);
    store4(own + COLUMNS, second);
    named_barrier<1>(MULTIPLIERS);
    if (threadIdx.x >= COLUMNS) return;
    Pair all = {};
    for (unsigned i = 0; i < PARTS; ++i) {
        all.a += columns[2 * i * COLUMNS + threadIdx.x];
        all.b += columns[(2 * i + 1) * COLUMNS + threadIdx.x];
    }
    double* left = epilogue.sums() + (u64)(2 * at.row_tile) * map.columns + at.first_column + threadIdx.x;
    left[0] = all.a;
    left[map.columns] = all.b * rows.scale();
}
// The same of a tile of which each warp has its 16 rows in d.
template <unsigned COLUMNS, typename Epilogue, typename Rows>
__device__ __forceinline__ void put_tile(const Epilogue& epilogue, Rows& rows, const float (&d)[COLUMNS / 2], bf16* out, const Map& map, const Place& at,
                                         float* all_staged) {
    float* staged = all_staged + warp_id() * staged_floats<COLUMNS>();
    __syncwarp();
#pragma unroll
    for (unsigned n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
        for (unsigned e = 0; e < 2; ++e) {
            float* to = staged + (lane_id() / 4 + 8 * e) * (COLUMNS + 8) + 8 * n + lane_id() % 4 * 2;
            *(Two*)to = Two{{d[4 * n + 2 * e], d[4 * n + 2 * e + 1]}};
        }
    __syncwarp();
    put_staged<COLUMNS>(epilogue, rows, out, map, at, all_staged);
}

template <unsigned COLUMNS, bool TRANSPOSED, unsigned STRIDE, typename Epilogue>
__device__ __forceinline__ void multiply_tiles(const Epilogue& epilogue, bf16* out, const Map& map, const Share& share, unsigned first, Ring& ring,
                                               unsigned char* stages) {
    float* all_staged = (float*)(stages + STAGES * STRIDE);
    u64 place = place_of_tile(stages), a = descriptor(place + __shfl_sync(0xffffffffu, threadIdx.x / 128, 0) * SQUARE_BYTES), b = descriptor(place + A_BYTES, SQUARE_BYTES);
    typename Epilogue::template Rows<COLUMNS> rows(epilogue);
    SharedStages shared(share.of_row() | share.of_column(), ring.empty);
    give_all_back(shared);
    for (unsigned number = first; number < rectangles_of(map, share, COLUMNS); number += Share::clusters()) {
        Place at(map, share, number, COLUMNS);
        if (at.there(map)) rows.begin(map, at);
        float d[COLUMNS / 2];
#pragma unroll
        for (unsigned i = 0; i < COLUMNS / 2; ++i) d[i] = 0.0f;
        unsigned last = STAGES;
        for (unsigned all = at.all; all;) {
            // Taps in order, as many at a time as are all this tile's, or all others' alone.
            bool own = at.own & all & (0u - all);
            unsigned after = all & (own ? ~at.own : at.own), run = after ? all & ((after & (0u - after)) - 1u) : all;
            unsigned total = (unsigned)__popc(run) * (map.inner / DEPTH);
            all &= ~run;
            if (own) add_stages<STRIDE, false, !TRANSPOSED>(d, ring, a, b, total, last, shared);
            else {
                // Others' weights come, and there is nothing to multiply them by. No stage may be kept meanwhile: they would wait for it.
                end_stages(last, shared);
                for (unsigned i = 0; i < total; ++i) {
                    mbarrier_wait(ring.full + ring.stage, ring.parity);
                    shared.give_back(ring.stage);
                    ring.next();
                }
            }
        }
        end_stages(last, shared);
        if (!at.there(map)) continue;
        put_tile<COLUMNS>(epilogue, rows, d, out, map, at, all_staged);
    }
}

// What is left of the sums of a block's tiles, once all are stored. Only then, since the whole block takes a ticket: until there one warp of it is ahead.
template <unsigned COLUMNS, typename Epilogue>
__device__ __forceinline__ void merge_tiles(const Epilogue& epilogue, const Map& map, const Share& share, unsigned first) {
    if (!epilogue.sums()) return;
    for (unsigned number = first; number < rectangles_of(map, share, COLUMNS); number += Share::clusters()) {
        Place at(map, share, number, COLUMNS);
        if (!at.there(map)) continue;
        epilogue.merge(map, {map.columns, at.first_column, COLUMNS, at.first_column / COLUMNS, at.row_tile, 1, map.rows / ROWS});
    }
}

// A product of a cluster's blocks: those of its warps that multiply, and a lane that asks for their operands, are given its share, the first of its
// rectangles, the ring and the stages.
template <unsigned COLUMNS, typename Epilogue, typename Multiply, typename Fetch>
__device__ __forceinline__ void clustered(const Epilogue& epilogue, const Map& map, unsigned across, Multiply multiply, Fetch fetch) {
    TILES_SHARED(stages);
    SHARED(u64, full, [STAGES]);
    SHARED(u64, empty, [STAGES]);
    Share share(across);
    Ring between = ring(full, empty, share.blocks());
    // Nobody copies to a block, or arrives at its barriers, before it has made them.
    cluster_sync();
    unsigned first = Share::cluster();
    if (multiplies()) multiply(share, first, between, stages);
    else if (lane_id() == 0) fetch(share, first, between, stages);
    // Nor after it has left.
    cluster_sync();
    merge_tiles<COLUMNS>(epilogue, map, share, first);
}

template <unsigned COLUMNS, bool TRANSPOSED, typename Epilogue>
__device__ __forceinline__ void product(const TensorMap* a, const TensorMap* b, bf16* out, const Epilogue& epilogue, const Map& map, unsigned across) {
    constexpr unsigned STRIDE = stage_bytes<COLUMNS>();
    clustered<COLUMNS>(
        epilogue, map, across,
        [&](const Share& share, unsigned first, Ring& between, unsigned char* stages) {
            multiply_tiles<COLUMNS, TRANSPOSED, STRIDE>(epilogue, out, map, share, first, between, stages);
        },
        [&](const Share& share, unsigned first, Ring& between, unsigned char* stages) {
            fetch_operands<COLUMNS, TRANSPOSED, STRIDE>(a, b, map, share, first, between, stages);
        });
}

#endif
