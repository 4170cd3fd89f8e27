// A weight gradient whose rows are split among blocks: the last blocks of a tile add what all have left.
//
// Up to FEW_SPLITS splits the last block adds all of them. Of more, splits are in groups of about as many as there are groups: the last block of a group
// adds its splits into the place of the group's first, and the last group's block adds the groups. So the way from the last product to the sum is that
// of 2√splits parts, not of all. In each the order is that of the splits, whichever block it is.
#pragma once
#include "descent.cuh"
#include "tickets.cuh"

// Splits that one block adds. src/ops/implicit_gemm.rs has the same number.
constexpr unsigned FEW_SPLITS = 4;

// Splits of a group, groups, and tickets of a tile: one a group, and one for the groups. src/ops/implicit_gemm.rs counts them too.
__device__ __forceinline__ unsigned splits_of_group(unsigned splits) {
    if (splits <= FEW_SPLITS) return splits;
    unsigned each = 3;
    while (each * each < splits) ++each;
    return each;
}
__device__ __forceinline__ unsigned groups_of(unsigned splits) {
    unsigned each = splits_of_group(splits);
    return (splits + each - 1) / each;
}
__device__ __forceinline__ unsigned split_tickets(unsigned splits) { return groups_of(splits) + 1; }

// A tile of TALL × WIDE of (c, k) under a tap of dw [taps, inner, columns], and under so many more after it.
struct SplitTile {
    unsigned tap, taps, inner, columns, first_c, first_k, more;
};

// Where sums go: to their places,
struct Stored {
    float* to;
    __device__ __forceinline__ bool fours() const { return in_fours(to); }
    template <unsigned COUNT> __device__ __forceinline__ void put(const u64 (&at)[COUNT], const Four (&sums)[COUNT], const bool (&there)[COUNT]) const {
#pragma unroll
        for (unsigned i = 0; i < COUNT; ++i)
            if (there[i]) store4(to + at[i], sums[i]);
    }
    __device__ __forceinline__ void put(u64 at, float sum) const { to[at] = sum; }
};
// or into the update of the parameters whose gradients they are.
struct Descended {
    Descent by;
    Parameters of;
    __device__ __forceinline__ bool fours() const { return of.fours(); }
    template <unsigned COUNT> __device__ __forceinline__ void put(const u64 (&at)[COUNT], const Four (&sums)[COUNT], const bool (&there)[COUNT]) const {
        if (of.velocity_or_null) by.update<true>(of, at, sums, there);
        else by.update<false>(of, at, sums, there);
    }
    __device__ __forceinline__ void put(u64 at, float sum) const { by.update(of, at, sum); }
};

// `to` takes Σ of `count` parts in order, `apart` elements from one to the next, of a tile. It may be the first of them.
// A thread has two parts of four places under way at once.
template <unsigned TALL, unsigned WIDE, typename To>
__device__ __forceinline__ void add_parts_of_tap(const float* from, const To& to, u64 apart, unsigned count, const SplitTile& of, unsigned number) {
    constexpr unsigned PLACES = 4, AT_ONCE = 2, FOURS = TALL * WIDE / 4;
    const u64 tap = (u64)number * of.inner * of.columns;
    if (of.columns % 4 == 0 && in_fours(from) && to.fours()) {
#pragma unroll 1
        for (unsigned i = threadIdx.x; i < FOURS; i += PLACES * blockDim.x) {
            u64 at[PLACES];
            bool there[PLACES];
#pragma unroll
            for (unsigned j = 0; j < PLACES; ++j) {
                unsigned place = i + j * blockDim.x, c = of.first_c + place / (WIDE / 4), k = of.first_k + place % (WIDE / 4) * 4;
                there[j] = place < FOURS && c < of.inner && k < of.columns;
                at[j] = tap + (u64)c * of.columns + k;
            }
            // What is added to −0 stays what it is.
            Four sums[PLACES];
#pragma unroll
            for (unsigned j = 0; j < PLACES; ++j) sums[j] = {{-0.0f, -0.0f, -0.0f, -0.0f}};
#pragma unroll 1
            for (unsigned first = 0; first < count; first += AT_ONCE) {
                Four v[AT_ONCE][PLACES];
#pragma unroll
                for (unsigned part = 0; part < AT_ONCE; ++part)
#pragma unroll
                    for (unsigned j = 0; j < PLACES; ++j)
                        if (first + part < count && there[j]) v[part][j] = load4(from + (first + part) * apart + at[j]);
#pragma unroll
                for (unsigned part = 0; part < AT_ONCE; ++part)
#pragma unroll
                    for (unsigned j = 0; j < PLACES; ++j)
#pragma unroll
                        for (unsigned e = 0; e < 4; ++e)
                            if (first + part < count && there[j]) sums[j].v[e] += v[part][j].v[e];
            }
            to.put(at, sums, there);
        }
        return;
    }
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < TALL * WIDE; i += blockDim.x) {
        unsigned c = of.first_c + i / WIDE, k = of.first_k + i % WIDE;
        if (c >= of.inner || k >= of.columns) continue;
        u64 at = tap + (u64)c * of.columns + k;
        float sum = from[at];
#pragma unroll 1
        for (unsigned part = 1; part < count; ++part) sum += from[part * apart + at];
        to.put(at, sum);
    }
}

template <unsigned TALL, unsigned WIDE, typename To>
__device__ __forceinline__ void add_parts(const float* from, const To& to, u64 apart, unsigned count, const SplitTile& of) {
#pragma unroll 1
    for (unsigned tap = of.tap; tap <= of.tap + of.more; ++tap) add_parts_of_tap<TALL, WIDE>(from, to, apart, count, of, tap);
}

// `to` takes the sum of the parts that `splits` splits have left of a tile, if this is the last of their blocks. `tickets` are the tile's. All threads must
// call it, after they have stored theirs.
// Not part of its caller: the registers of that one's loops are to be given out as if it were not there.
template <unsigned TALL, unsigned WIDE, typename To>
__device__ __noinline__ void take_splits_of_tile(float* partials, To to, unsigned* tickets, unsigned split, unsigned splits, SplitTile of) {
    const u64 len = (u64)of.taps * of.inner * of.columns;
    unsigned each = splits_of_group(splits), groups = groups_of(splits), group = split / each;
    unsigned count = min(each, splits - group * each);
    if (!is_last(tickets + group, count)) return;
    float* own = partials + group * each * len;
    if (groups > 1) add_parts<TALL, WIDE>(own, Stored{own}, len, count, of);
    else add_parts<TALL, WIDE>(own, to, len, count, of);
    if (groups == 1 || !is_last(tickets + groups, groups)) return;
    add_parts<TALL, WIDE>(partials, to, each * len, groups, of);
}

// out ← that sum. Nothing is done without `out`.
template <unsigned TALL, unsigned WIDE = TALL>
__device__ __forceinline__ void add_splits_of_tile(float* partials, float* out, unsigned* tickets, unsigned split, unsigned splits, const SplitTile& of) {
    if (out) take_splits_of_tile<TALL, WIDE>(partials, Stored{out}, tickets, split, splits, of);
}
