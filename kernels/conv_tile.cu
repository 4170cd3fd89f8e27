// Convolution and linear layers on tensor cores where all tiles are whole: rows of activations of which a tile of 128 has one pixel (the batch is a
// multiple of 128), and channels in multiples of a tile. Nothing is checked in the main loops (tiles.cuh) then, pointers are advanced and never
// computed anew, and a warp has a tile of 64 × 64, which takes each operand from shared memory as seldom as registers allow.
// conv_mma.cu has the rest; for an element of an output both add the same products in the same order, but where a product is split.
#include "cluster.cuh"
#include "norm_below.cuh"
#include "splits.cuh"
#include "taps.cuh"
#include "tiles.cuh"

constexpr unsigned ROWS = 128;
// How many warps share the steps of a stage of a product: two have half of them each where a tile has 64 columns.
__device__ constexpr unsigned step_shares(unsigned columns) { return columns == 128 ? 1 : 2; }

// ---- forward, and the input's gradient ----------------------------------------------------------------------------------------------

// How far the rows and the weights of each tap are that is on the map at a tile's pixel, in elements; others are never multiplied.
struct TapTable {
    unsigned count;
    long long (*rows)[2];
    __device__ __forceinline__ TapTable(const Map& map, Pixel pixel) {
        SHARED(long long, table, [9][2]);
        rows = table;
        count = 0;
        for (unsigned tap = 0; tap < map.taps; ++tap) {
            Pixel shift = tap_shift(map, tap);
            if (!on_map(map, pixel, shift)) continue;
            if (threadIdx.x == 0) {
                table[count][0] = (long long)(shift.h * (int)map.width + shift.w) * map.batch * map.inner;
                table[count][1] = (long long)tap * map.inner * map.columns;
            }
            ++count;
        }
        __syncthreads();
    }
};

// Where a block's tile of a product is.
struct Place {
    unsigned row_tile, first_column;
};
// Where blockIdx.x counts tiles of rows, or of each `parts` parts, and blockIdx.y those of columns.
template <unsigned COLUMNS> __device__ __forceinline__ Place place_in_grid(unsigned parts) { return {blockIdx.x / parts, blockIdx.y * COLUMNS}; }

// A tile of 128 × COLUMNS of out[r, j] = Σ_taps Σ_k a[shifted r, k] · b_tap[k, j]: the share `part` of `parts` of the walk over (tap, chunk of the inner
// dimension). A warp has 64 rows and WARP_COLUMNS columns; where warps are left over they share the steps of a stage. The sums are left in shared
// memory as [share of the steps][row][COLUMNS + 8]: a pitch at which four rows of eight bytes a lane lie side by side.
template <typename T, unsigned COLUMNS, bool TRANSPOSED>
__device__ __forceinline__ void product(const T* a, const T* b, const Map& map, Place place, unsigned part, unsigned parts, unsigned char* bytes) {
    constexpr unsigned DEPTH = depth<T>(), WARP_STEPS = STEPS / step_shares(COLUMNS);
    constexpr unsigned A_BYTES = ROWS * STAGE_BYTES, STAGE = A_BYTES + COLUMNS * STAGE_BYTES;
    unsigned first_row = place.row_tile * ROWS, first_column = place.first_column;
    TapTable taps(map, pixel_of(map, first_row));

    // Weights lie as [inner][column], and as [column][inner] where they are taken transposed.
    Fetch<T, STAGE_BYTES, true> fetch_a;
    Fetch<T, TRANSPOSED ? STAGE_BYTES : COLUMNS * sizeof(T), TRANSPOSED || sizeof(T) == 2> fetch_b;
    u64 line_b = TRANSPOSED ? map.inner : map.columns;
    const T* own_a = a + (u64)(first_row + fetch_a.row) * map.inner + fetch_a.element;
    const T* own_b = b + (TRANSPOSED ? first_column * line_b : first_column) + fetch_b.row * line_b + fetch_b.element;
    u64 step_a = fetch_a.AT_ONCE * (u64)map.inner, step_b = fetch_b.AT_ONCE * line_b, next_b = TRANSPOSED ? DEPTH : DEPTH * line_b;
    Shared stages = shared_place(bytes);

    // The walk: `asked` of `total` stages have been asked for; `left` of the tap that is being asked for remain.
    unsigned chunks = map.inner / DEPTH, all = taps.count * chunks, first = all * part / parts, total = all * (part + 1) / parts - first;
    unsigned tap = first / chunks, left = chunks - first % chunks, asked = 0, stage_to = 0;
    const T *from_a, *from_b;
    auto enter_tap = [&](unsigned begin) {
        from_a = own_a + taps.rows[tap][0] + begin * DEPTH;
        from_b = own_b + taps.rows[tap][1] + begin * next_b;
    };
    if (total > 0) enter_tap(first % chunks);
    auto load = [&]() {
        if (asked++ < total) {
            Shared stage = stages + stage_to;
            fetch_a.template rows<ROWS>(stage, from_a, step_a);
            fetch_b.template rows<TRANSPOSED ? COLUMNS : DEPTH>(stage + A_BYTES, from_b, step_b);
            from_a += DEPTH;
            from_b += next_b;
            if (--left == 0 && asked < total) {
                left = chunks;
                ++tap;
                enter_tap(0);
            }
            stage_to = stage_to + STAGE == STAGES * STAGE ? 0 : stage_to + STAGE;
        }
        cp_async_commit();
    };
    unsigned warp_row = warp_id() / 2 * 64, warp_column = COLUMNS == 128 ? warp_id() % 2 * 64 : 0, share = COLUMNS == 128 ? 0 : warp_id() % 2;
    Along left_of = Along::left(warp_row);
    float d[4][8][4] = {};
    auto multiply_by = [&](auto right_of) {
        // The steps of a warp are those after its first.
        if (share) {
            left_of.skip(WARP_STEPS);
            right_of.skip(WARP_STEPS);
        }
        multiply_stages<T, STAGE, A_BYTES, WARP_STEPS>(d, stages, total, load, left_of, right_of);
    };
    if constexpr (TRANSPOSED) multiply_by(Along::right(warp_column));
    else multiply_by(Across<T, COLUMNS>::right(warp_column));
    float* staged = (float*)bytes + share * ROWS * (COLUMNS + 8);
#pragma unroll
    for (unsigned m = 0; m < 4; ++m)
#pragma unroll
        for (unsigned n = 0; n < 8; ++n)
#pragma unroll
            for (unsigned e = 0; e < 2; ++e) {
                unsigned at_row = warp_row + 16 * m + e * 8 + lane_id() / 4, column = warp_column + 8 * n + lane_id() % 4 * 2;
                *(Two*)(staged + at_row * (COLUMNS + 8) + column) = Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
            }
}

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
// The same in tiles of 128 × 64 where there are few: a cluster shares the sum of each, every block a part of the walk over taps and inner dimension. Each
// then stores a part of the rows: for an element the parts are added in the order of the ranks, through distributed shared memory.
constexpr unsigned RANKS = 4;
template <typename T, typename Epilogue>
__device__ __forceinline__ void split_product(const T* a, const T* b, T* out, const Epilogue& epilogue, const Map& map, Place place, unsigned transposed) {
    constexpr unsigned COLUMNS = 64, SHARES = step_shares(COLUMNS);
    DYNAMIC_SHARED(bytes);
    SHARED(Pair, of_ranks, [RANKS][COLUMNS]);
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
    Pair of = epilogue.store(held, staged, out, map, place, first, column_sums<COLUMNS>(bytes));
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
#endif

// out[r, j] = bias[j] + Σ_taps Σ_k a[shifted r, k] · b_tap[k, j], then the ReLU; in whole tiles of 128 × 128. Moments as in product_mma.
KERNEL_OF_T(128, 2)
product_tile_128(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                 unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    whole_product<128>(a, b, out, Plain<T>{bias_or_null, to, relu}, map, place_in_grid<128>(1), transposed);
}
// As product_tile_128, in whole tiles of 128 × 64.
KERNEL_OF_T(128, 2)
product_tile_64(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    whole_product<64>(a, b, out, Plain<T>{bias_or_null, to, relu}, map, place_in_grid<64>(1), transposed);
}

// The gradient of an input that a norm has made, as product_tile_128 transposed; and dγ and dβ of that norm.
KERNEL_OF_T(128, 2)
input_gradient_tile_128(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                        double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    whole_product<128>(a, b, out, Gradient<T>{{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}}, map, place_in_grid<128>(1), 1);
}
// As input_gradient_tile_128, in whole tiles of 128 × 64.
KERNEL_OF_T(128, 2)
input_gradient_tile_64(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                       double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    whole_product<64>(a, b, out, Gradient<T>{{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}}, map, place_in_grid<64>(1), 1);
}

#if CLUSTERS
// As product_tile_64 where there are few tiles.
KERNEL_OF_T(128, 2) CLUSTER_OF(4)
product_tile_split(const T* a, const T* b, const float* bias_or_null, T* out, double* sums_or_null, float* mean_or_null, float* var_or_null,
                   unsigned* tickets_or_null, Map map, unsigned transposed, unsigned relu) {
    wait_for_predecessor();
    Moments to = {sums_or_null, mean_or_null, var_or_null, tickets_or_null};
    split_product(a, b, out, Plain<T>{bias_or_null, to, relu}, map, place_in_grid<64>(RANKS), transposed);
}
// As input_gradient_tile_64 where there are few tiles.
KERNEL_OF_T(128, 2) CLUSTER_OF(4)
input_gradient_tile_split(const T* a, const T* b, T* out, const T* x, const float* gamma, const float* beta, const float* mean, const float* spread,
                          double* sums, float* grad_gamma, float* grad_beta, unsigned* tickets, Norming norming, Map map) {
    wait_for_predecessor();
    split_product(a, b, out, Gradient<T>{{x, gamma, beta, mean, spread, sums, grad_gamma, grad_beta, tickets, norming}}, map, place_in_grid<64>(RANKS), 1);
}
#endif

// ---- the weight's gradient ----------------------------------------------------------------------------------------------------------

// Which tile, under which tap, and which of how many splits of its rows a block has.
struct Part {
    unsigned tile, tap, split, splits;
};
__device__ __forceinline__ Part part_in_grid() { return {blockIdx.x, blockIdx.y, blockIdx.z, gridDim.z}; }

// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], as weight_gradient_mma, in whole tiles of SIDE × SIDE: q counts the rows of
// the rectangle of pixels that have the tap on the map, of which one stage has one pixel. Warps have 64 × 64 each; where that is the whole tile, they
// share the steps of a stage.
template <typename T, unsigned SIDE>
__device__ __forceinline__ void weight_gradient(const T* x, const T* grad_y, float* partials, float* all, unsigned* tickets, const Map& map,
                                                const Part& part, unsigned per_split) {
    constexpr unsigned DEPTH = depth<T>() * 64 / SIDE * 2, TILE = DEPTH * SIDE * sizeof(T), STAGE = 2 * TILE;
    constexpr unsigned ALL_STEPS = STEPS * 64 / SIDE * 2, WARP_STEPS = SIDE == 128 ? ALL_STEPS : ALL_STEPS / 4;
    DYNAMIC_SHARED(bytes);
    unsigned across = map.columns / SIDE, t = threadIdx.x;
    unsigned first_c = part.tile / across * SIDE, first_k = part.tile % across * SIDE;
    Pixel shift = tap_shift(map, part.tap);
    Rectangle rectangle = rectangle_of(map, shift);
    unsigned length = rectangle.width * map.batch, begin = part.split * per_split, end = min(begin + per_split, rectangle.height * length);
    unsigned total = begin < end ? (end - begin) / DEPTH : 0;

    Fetch<T, SIDE * sizeof(T), sizeof(T) == 2> fetch;
    u64 q_row = total ? rectangle_row(map, rectangle, begin) + fetch.row : 0;
    const T* from_x = x + (q_row + (long long)(shift.h * (int)map.width + shift.w) * map.batch) * map.inner + first_c + fetch.element;
    const T* from_y = grad_y + q_row * map.columns + first_k + fetch.element;
    u64 step_x = fetch.AT_ONCE * (u64)map.inner, step_y = fetch.AT_ONCE * (u64)map.columns;
    // Rows of one line of the rectangle lie one after the other; then the rest of the map's line is passed over.
    unsigned left = total ? (length - begin % length) / DEPTH : 0, asked = 0, stage_to = 0;
    u64 gap = (u64)(map.width - rectangle.width) * map.batch;
    Shared stages = shared_place(bytes);
    auto load = [&]() {
        if (asked++ < total) {
            Shared stage = stages + stage_to;
            fetch.template rows<DEPTH>(stage, from_x, step_x);
            fetch.template rows<DEPTH>(stage + TILE, from_y, step_y);
            u64 rows = DEPTH;
            if (--left == 0) {
                left = length / DEPTH;
                rows += gap;
            }
            from_x += rows * map.inner;
            from_y += rows * map.columns;
            stage_to = stage_to + STAGE == STAGES * STAGE ? 0 : stage_to + STAGE;
        }
        cp_async_commit();
    };
    unsigned warp_c = SIDE == 128 ? warp_id() / 2 * 64 : 0, warp_k = SIDE == 128 ? warp_id() % 2 * 64 : 0, share = SIDE == 128 ? 0 : warp_id();
    LeftAcross<T, SIDE> left_of(warp_c);
    Across<T, SIDE> right_of = Across<T, SIDE>::right(warp_k);
    left_of.skip(share * WARP_STEPS);
    right_of.skip(share * WARP_STEPS);
    float d[4][8][4] = {};
    multiply_stages<T, STAGE, TILE, WARP_STEPS>(d, stages, total, load, left_of, right_of);
    float* out = partials + ((u64)part.split * map.taps + part.tap) * map.inner * map.columns + (u64)first_c * map.columns + first_k;
    unsigned k = warp_k + lane_id() % 4 * 2;
    if constexpr (SIDE == 128) {
#pragma unroll
        for (unsigned m = 0; m < 4; ++m)
#pragma unroll
            for (unsigned n = 0; n < 8; ++n)
#pragma unroll
                for (unsigned e = 0; e < 2; ++e)
                    *(Two*)(out + (u64)(warp_c + 16 * m + left_of.row(e)) * map.columns + k + 8 * n) = Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
    } else {
        // The warps' shares, added in order.
        constexpr unsigned PITCH = SIDE + 8;
        float* staged = (float*)bytes;
#pragma unroll
        for (unsigned m = 0; m < 4; ++m)
#pragma unroll
            for (unsigned n = 0; n < 8; ++n)
#pragma unroll
                for (unsigned e = 0; e < 2; ++e)
                    *(Two*)(staged + (share * SIDE + 16 * m + left_of.row(e)) * PITCH + k + 8 * n) = Two{{d[m][n][2 * e], d[m][n][2 * e + 1]}};
        __syncthreads();
        for (unsigned i = t; i < SIDE * SIDE / 4; i += THREADS) {
            unsigned at_c = i / (SIDE / 4), at_k = i % (SIDE / 4) * 4;
            Four sum = load4(staged + at_c * PITCH + at_k);
#pragma unroll
            for (unsigned other = 1; other < 4; ++other) {
                Four more = load4(staged + (other * SIDE + at_c) * PITCH + at_k);
#pragma unroll
                for (unsigned j = 0; j < 4; ++j) sum.v[j] += more.v[j];
            }
            store4(out + (u64)at_c * map.columns + at_k, sum);
        }
    }
    unsigned* own_tickets = tickets + (part.tap * (map.inner / SIDE * across) + part.tile) * split_tickets(part.splits);
    add_splits_of_tile<SIDE>(partials, all, own_tickets, part.split, part.splits, {part.tap, map.taps, map.inner, map.columns, first_c, first_k});
}
// One split's part of dw[tap][c, k] = Σ_q x[q shifted by tap, c] · dy[q, k], and the sum of all in `out`; in whole tiles of 128 × 128.
KERNEL_OF_T(128, 2)
weight_gradient_tile_128(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split) {
    wait_for_predecessor();
    weight_gradient<T, 128>(x, grad_y, partials, out_or_null, tickets_or_null, map, part_in_grid(), per_split);
}
// As weight_gradient_tile_128, in whole tiles of 64 × 64.
KERNEL_OF_T(128, 2)
weight_gradient_tile_64(const T* x, const T* grad_y, float* partials, float* out_or_null, unsigned* tickets_or_null, Map map, unsigned per_split) {
    wait_for_predecessor();
    weight_gradient<T, 64>(x, grad_y, partials, out_or_null, tickets_or_null, map, part_in_grid(), per_split);
}

// ---- both gradients of a layer ------------------------------------------------------------------------------------------------------

// Neither of the two needs the other, and on small maps neither fills a device: so some blocks make the one and the others the other. The longer ones
// come first: a device begins blocks in the order of their numbers.
//
// A layer's input gradient in tiles of 128 × COLUMNS, each by a cluster where it has more blocks than one, as input_gradient_tile_128; and its weight's gradient as
// weight_gradient_tile_128. `map` is that of the latter. Where no norm is below, `sums` is null.
template <unsigned COLUMNS, unsigned SIDE, unsigned BLOCKS_OF_TILE, typename T>
__device__ __forceinline__ void gradients(const T* x, const T* weight, const T* grad_y, T* grad_x, const NormBelow<T>& below, float* partials, float* out,
                                          unsigned* tickets, const Map& map, const Both& both) {
    Turn turn = turn_of(both, blockIdx.x);
    if (turn.weights) {
        unsigned tiles = map.inner / SIDE * (map.columns / SIDE), of_tap = turn.number % (tiles * map.taps);
        if (turn.number >= tiles * map.taps * both.splits) return;
        Part part = {of_tap % tiles, of_tap / tiles, turn.number / (tiles * map.taps), both.splits};
        weight_gradient<T, SIDE>(x, grad_y, partials, out, tickets, map, part, both.per_split);
        return;
    }
    Map back = turned(map);
    unsigned tall = back.rows / ROWS, tile = turn.number / BLOCKS_OF_TILE;
    Place place = {tile % tall, tile / tall * COLUMNS};
    Either<T> with = {{below}};
#if CLUSTERS
    if constexpr (BLOCKS_OF_TILE > 1) {
        split_product(grad_y, weight, grad_x, with, back, place, 1);
        return;
    }
#endif
    whole_product<COLUMNS>(grad_y, weight, grad_x, with, back, place, 1);
}
// Tiles of 128 × 128 of both.
KERNEL_OF_T(128, 2)
gradients_tile_128(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                   const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                   unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                          grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<128, 128, 1>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// Of the input's gradient tiles of 128 × 64.
KERNEL_OF_T(128, 2)
gradients_tile_mixed(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                     const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                     unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                          grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<64, 128, 1>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
// And of the weight's tiles of 64 × 64.
KERNEL_OF_T(128, 2)
gradients_tile_64(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                  const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                  unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                          grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<64, 64, 1>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
#if CLUSTERS
// As gradients_tile_mixed; a cluster shares a tile of the input's gradient.
KERNEL_OF_T(128, 2) CLUSTER_OF(4)
gradients_tile_split(const T* x, const T* weight, const T* grad_y, T* grad_x, const T* norm_x_or_null, const float* gamma_or_null, const float* beta_or_null,
                     const float* mean_or_null, const float* spread_or_null, double* sums_or_null, float* grad_gamma_or_null, float* grad_beta_or_null,
                     unsigned* norm_tickets_or_null, float* partials, float* out_or_null, unsigned* tickets_or_null, Norming norming, Map map, Both both) {
    wait_for_predecessor();
    NormBelow<T> below = {norm_x_or_null, gamma_or_null, beta_or_null,      mean_or_null, spread_or_null, sums_or_null,
                          grad_gamma_or_null, grad_beta_or_null, norm_tickets_or_null, norming};
    gradients<64, 128, RANKS>(x, weight, grad_y, grad_x, below, partials, out_or_null, tickets_or_null, map, both);
}
#endif
