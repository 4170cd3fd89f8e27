// How whole tiles of products are stored, and which sums of their columns are left: of an output its moments, of an input's gradient those of the norm
// below. And the whole of a product: by one block a tile, or by a cluster.
#pragma once
#include "cluster.cuh"
#include "norm_below.cuh"
#include "tile_product.cuh"

// Where the column sums of a tile's threads are put together: behind the staged tile.
template <unsigned COLUMNS> __device__ __forceinline__ float* column_sums(unsigned char* bytes) {
    return (float*)bytes + step_shares(COLUMNS) * ROWS * (COLUMNS + 8);
}

// Rows that a thread stores of a tile's 128 are every TALL-th: it has four columns.
template <unsigned COLUMNS> __device__ constexpr unsigned lanes() { return COLUMNS / 4; }
template <unsigned COLUMNS> __device__ constexpr unsigned tall() { return THREADS / lanes<COLUMNS>(); }

// Four elements of a tile: the sum of the `PARTS` staged tiles, in order.
template <unsigned PARTS> __device__ __forceinline__ Four staged_sum(float* const (&staged)[PARTS], unsigned at) {
    Four all = load4(staged[0] + at);
#pragma unroll
    for (unsigned part = 1; part < PARTS; ++part) {
        Four more = load4(staged[part] + at);
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) all.v[j] += more.v[j];
    }
    return all;
}
// Two sums of every column, with the threads below COLUMNS: each thread has those of its few rows in float, which are added in double, in order.
template <unsigned COLUMNS>
__device__ __forceinline__ Pair add_threads(const float (&a)[4], const float (&b)[4], float* columns) {
    float* own = columns + threadIdx.x / lanes<COLUMNS>() * 2 * COLUMNS + threadIdx.x % lanes<COLUMNS>() * 4;
    store4(own, Four{{a[0], a[1], a[2], a[3]}});
    store4(own + COLUMNS, Four{{b[0], b[1], b[2], b[3]}});
    __syncthreads();
    Pair all = {};
    if (threadIdx.x < COLUMNS)
        for (unsigned i = 0; i < tall<COLUMNS>(); ++i) {
            all.a += columns[i * 2 * COLUMNS + threadIdx.x];
            all.b += columns[(i * 2 + 1) * COLUMNS + threadIdx.x];
        }
    return all;
}

// How a product's tiles are stored, and which sums of their columns are left: before the product begin() prepares, and after it, while blocks or warps
// still wait for one another, ask() asks for what rows first … first + COUNT need; store() stores these and leaves two sums of every column with the
// threads below COLUMNS; merge() is what the last block makes of the parts of all tiles. Here: bias and ReLU, and the moments of what is stored, where
// they are asked for.
template <typename T> struct Plain {
    const float* bias;
    Moments to;
    unsigned relu;
    template <unsigned COLUMNS, unsigned COUNT> struct Held {};
    __device__ __forceinline__ double* sums() const { return to.sums; }
    template <unsigned COLUMNS, unsigned COUNT> __device__ __forceinline__ void begin(Held<COLUMNS, COUNT>&, Place) const {}
    template <unsigned COLUMNS, unsigned COUNT> __device__ __forceinline__ void ask(Held<COLUMNS, COUNT>&, const Map&, Place, unsigned) const {}
    template <unsigned COLUMNS, unsigned COUNT, unsigned PARTS>
    __device__ __forceinline__ Pair store(const Held<COLUMNS, COUNT>&, float* const (&staged)[PARTS], T* out, const Map& map, Place place,
                                          unsigned first, float* columns) const {
        unsigned column = threadIdx.x % lanes<COLUMNS>() * 4, own_row = threadIdx.x / lanes<COLUMNS>(), first_column = place.first_column;
        float floor = relu_floor(relu), shift[4], sum[4] = {}, square[4] = {};
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) shift[j] = given(bias, first_column + column + j);
        T* at = out + (u64)(place.row_tile * ROWS) * map.columns + first_column + column;
#pragma unroll 4
        for (unsigned row = first + own_row; row < first + COUNT; row += tall<COLUMNS>()) {
            Four all = staged_sum(staged, row * (COLUMNS + 8) + column);
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) all.v[j] = above(all.v[j] + shift[j], floor);
            Four stored = store_rounded(at + (u64)row * map.columns, all);
#pragma unroll
            for (unsigned j = 0; j < 4; ++j) {
                sum[j] += stored.v[j];
                square[j] = fmaf(stored.v[j], stored.v[j], square[j]);
            }
        }
        return to.sums ? add_threads<COLUMNS>(sum, square, columns) : Pair{};
    }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { merge_moments_apart<8>(to, map.rows, of); }
};

// What is stored is a norm's dy, and the sums are those of its gradient.
template <typename T> struct Gradient {
    NormBelow<T> below;
    // What the norm has of a thread's column, its constants, and x of the thread's first rows.
    template <unsigned COLUMNS, unsigned COUNT> struct Held {
        static constexpr unsigned TALL = tall<COLUMNS>(), AT_ONCE = COUNT / TALL < 8 ? COUNT / TALL : 8;
        NormColumn column;
        Lifted own;
        u64 at;
        Four x[AT_ONCE];
        __device__ __forceinline__ void ask(const T* from, const Map& map) {
#pragma unroll
            for (unsigned k = 0; k < AT_ONCE; ++k) x[k] = load4(from + at + k * TALL * (u64)map.columns);
        }
    };
    __device__ __forceinline__ double* sums() const { return below.sums; }
    template <unsigned COLUMNS, unsigned COUNT> __device__ __forceinline__ void begin(Held<COLUMNS, COUNT>& held, Place place) const {
        held.column = {};
        if (threadIdx.x < COLUMNS) held.column = below.column(place.first_column + threadIdx.x);
    }
    template <unsigned COLUMNS, unsigned COUNT>
    __device__ __forceinline__ void ask(Held<COLUMNS, COUNT>& held, const Map& map, Place place, unsigned first) const {
        unsigned row = place.row_tile * ROWS + first + threadIdx.x / lanes<COLUMNS>();
        held.at = (u64)row * map.columns + place.first_column + threadIdx.x % lanes<COLUMNS>() * 4;
        held.ask(below.x, map);
        // Roots and divisions while x comes.
        if (threadIdx.x < COLUMNS) held.own = below.lifted(held.column);
    }
    template <unsigned COLUMNS, unsigned COUNT, unsigned PARTS>
    __device__ __forceinline__ Pair store(Held<COLUMNS, COUNT>& held, float* const (&staged)[PARTS], T* out, const Map& map, Place,
                                          unsigned first, float* columns) const {
        constexpr unsigned TALL = tall<COLUMNS>(), AT_ONCE = Held<COLUMNS, COUNT>::AT_ONCE;
        unsigned column = threadIdx.x % lanes<COLUMNS>() * 4;
        // Behind the sums of all threads.
        SharedColumns<COLUMNS> shared = {columns + TALL * 2 * COLUMNS};
        if (threadIdx.x < COLUMNS) shared.put(threadIdx.x, held.own);
        __syncthreads();
        FourColumns of(shared, column, below.norming);
        float sum[4] = {}, sum_u[4] = {};
        u64 next = TALL * (u64)map.columns;
        unsigned row = first + threadIdx.x / lanes<COLUMNS>();
#pragma unroll 1
        while (true) {
#pragma unroll
            for (unsigned k = 0; k < AT_ONCE; ++k)
                of.add(held.x[k], store_rounded(out + held.at + k * next, staged_sum(staged, (row + k * TALL) * (COLUMNS + 8) + column)), sum, sum_u);
            row += AT_ONCE * TALL;
            if (row >= first + COUNT) break;
            held.at += AT_ONCE * next;
            held.ask(below.x, map);
        }
        Pair all = add_threads<COLUMNS>(sum, sum_u, columns);
        return {all.a, all.b * held.own.inverse};
    }
    __device__ __forceinline__ void merge(const Map&, const PartsOf& of) const {
        merge_gradients_apart<8>(below.sums, below.grad_gamma, below.grad_beta, below.tickets, of);
    }
};

// A gradient, where there is a norm below; elsewhere it is stored as it is.
template <typename T> struct Either {
    Gradient<T> with;
    __device__ __forceinline__ double* sums() const { return with.sums(); }
    template <unsigned COLUMNS, unsigned COUNT> using Held = typename Gradient<T>::template Held<COLUMNS, COUNT>;
    template <unsigned COLUMNS, unsigned COUNT> __device__ __forceinline__ void begin(typename Gradient<T>::template Held<COLUMNS, COUNT>& held, Place place) const {
        if (sums()) with.begin(held, place);
    }
    template <unsigned COLUMNS, unsigned COUNT>
    __device__ __forceinline__ void ask(typename Gradient<T>::template Held<COLUMNS, COUNT>& held, const Map& map, Place place, unsigned first) const {
        if (sums()) with.ask(held, map, place, first);
    }
    template <unsigned COLUMNS, unsigned COUNT, unsigned PARTS>
    __device__ __forceinline__ Pair store(typename Gradient<T>::template Held<COLUMNS, COUNT>& held, float* const (&staged)[PARTS], T* out, const Map& map, Place place,
                                          unsigned first, float* columns) const {
        if (sums()) return with.store(held, staged, out, map, place, first, columns);
        typename Plain<T>::template Held<COLUMNS, COUNT> none;
        return Plain<T>{nullptr, {}, 0}.store(none, staged, out, map, place, first, columns);
    }
    __device__ __forceinline__ void merge(const Map& map, const PartsOf& of) const { with.merge(map, of); }
};

// Stores a tile's sums, which the threads below COLUMNS have; the last tile in these columns merges all. All threads must call it.
template <unsigned COLUMNS, typename Epilogue>
__device__ __forceinline__ void put_sums(const Epilogue& epilogue, const Map& map, Place place, Pair of) {
    if (!epilogue.sums()) return;
    if (threadIdx.x < COLUMNS) {
        double* own = epilogue.sums() + (u64)(2 * place.row_tile) * map.columns + place.first_column + threadIdx.x;
        own[0] = of.a;
        own[map.columns] = of.b;
    }
    epilogue.merge(map, {map.columns, place.first_column, COLUMNS, place.first_column / COLUMNS, place.row_tile, 1, map.rows / ROWS});
}

template <unsigned COLUMNS, typename T, typename Epilogue>
__device__ __forceinline__ void whole_product(const T* a, const T* b, T* out, const Epilogue& epilogue, const Map& map, Place place, unsigned transposed) {
    constexpr unsigned PARTS = step_shares(COLUMNS);
    DYNAMIC_SHARED(bytes);
    typename Epilogue::template Held<COLUMNS, ROWS> held;
    epilogue.begin(held, place);
    if (transposed) product<T, COLUMNS, true>(a, b, map, place, 0, 1, bytes);
    else product<T, COLUMNS, false>(a, b, map, place, 0, 1, bytes);
    epilogue.ask(held, map, place, 0);
    __syncthreads();
    float* staged[PARTS];
#pragma unroll
    for (unsigned part = 0; part < PARTS; ++part) staged[part] = (float*)bytes + part * ROWS * (COLUMNS + 8);
    Pair of = epilogue.store(held, staged, out, map, place, 0, column_sums<COLUMNS>(bytes));
    put_sums<COLUMNS>(epilogue, map, place, of);
}

#if CLUSTERS
// What the blocks of a cluster do with a tile that all have staged, after they have met: each stores a part of the rows. For an element the staged sums are
// added in the order of the ranks, through distributed shared memory.
constexpr unsigned RANKS = 4;
template <unsigned COLUMNS, typename Epilogue, typename Held, unsigned PARTS, typename T>
__device__ __forceinline__ void store_shares(const Epilogue& epilogue, Held& held, float* const (&staged)[PARTS], T* out, const Map& map, Place place, float* columns) {
    SHARED(Pair, of_ranks, [RANKS][COLUMNS]);
    unsigned rank = cluster_rank();
    Pair of = epilogue.store(held, staged, out, map, place, rank * (ROWS / RANKS), columns);
    if (epilogue.sums() && threadIdx.x < COLUMNS) *cluster_map(&of_ranks[rank][threadIdx.x], 0) = of;
    // Nobody's shared memory goes before all have read it.
    cluster_sync();
    if (!epilogue.sums() || rank != 0) return;
    Pair all = {};
    if (threadIdx.x < COLUMNS)
        for (unsigned other = 0; other < RANKS; ++other) {
            all.a += of_ranks[other][threadIdx.x].a;
            all.b += of_ranks[other][threadIdx.x].b;
        }
    put_sums<COLUMNS>(epilogue, map, place, all);
}

// The same in tiles of 128 × 64 where there are few: a cluster shares the sum of each, every block a part of the walk over taps and inner dimension.
template <typename T, typename Epilogue>
__device__ __forceinline__ void split_product(const T* a, const T* b, T* out, const Epilogue& epilogue, const Map& map, Place place, unsigned transposed) {
    constexpr unsigned COLUMNS = 64, SHARES = step_shares(COLUMNS);
    DYNAMIC_SHARED(bytes);
    unsigned rank = cluster_rank(), first = rank * (ROWS / RANKS);
    typename Epilogue::template Held<COLUMNS, ROWS / RANKS> held;
    epilogue.begin(held, place);
    if (transposed) product<T, COLUMNS, true>(a, b, map, place, rank, RANKS, bytes);
    else product<T, COLUMNS, false>(a, b, map, place, rank, RANKS, bytes);
    epilogue.ask(held, map, place, first);
    cluster_sync();
    float* staged[RANKS * SHARES];
#pragma unroll
    for (unsigned part = 0; part < RANKS * SHARES; ++part)
        staged[part] = cluster_map((float*)bytes + part % SHARES * ROWS * (COLUMNS + 8), part / SHARES);
    store_shares<COLUMNS>(epilogue, held, staged, out, map, place, column_sums<COLUMNS>(bytes));
}
#endif
