// Products of warpgroups, in whole tiles: which operands are asked for, how tiles are stored, and which sums of their columns are left.
#pragma once
#include "norm_below.cuh"
#include "taps.cuh"
#include "warpgroups.cuh"

#if HOPPER

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

#endif
